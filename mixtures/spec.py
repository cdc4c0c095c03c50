"""`mixture.yaml`: what somebody wants in a mixture. Names and wishes here; what they came to is in the lock.

    schema: mixture/1
    name: vlm-general
    version: 1.0.0
    unit: samples                        # samples | tokens | images: what weights and budget count
    budget: {samples: 20000}             # or {tokens: N} | {images: N} for these units, or {epochs: "1.5"} for any
    seed: 7
    policy: {name: proportional}         # proportional | fixed | temperature (alpha) | unimax (default_max_epochs)
    splits: {method: hash-of-digest, fractions: {train: "0.98", val: "0.02"}}
    sources:
      - {ref: captions, weight: auto, max_epochs: "2.5"}
      - {ref: "docs@3fa2", name: receipts, source: sroie, tasks: [ocr], weight: "0.25", max_samples: 4000}

Numbers are read as the decimal that is written: no float ever stands between the file and the lock.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import yaml

from catalog.errors import UserError, nearest, unknown_keys
from catalog.schema import TASKS

SCHEMA = "mixture/1"
UNITS = ("samples", "tokens", "images")
POLICIES = ("proportional", "fixed", "temperature", "unimax")
METHODS = ("hash-of-digest",)
TOKENIZERS = ("words/1",)

_KEYS = ("schema", "name", "version", "unit", "budget", "seed", "policy", "tokenizer", "splits", "sources")
_POLICY_KEYS = ("name", "alpha", "default_max_epochs")
_SPLIT_KEYS = ("method", "fractions", "salt")
_SOURCE_KEYS = ("ref", "name", "source", "tasks", "weight", "split", "max_samples", "max_tokens", "max_epochs")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
_DECIMAL = re.compile(r"[0-9]{1,15}(\.[0-9]{1,12})?")
_MAX_SEED = 2**53


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How the sources whose weight is `auto` share what the given weights leave."""

    name: str = "proportional"
    alpha: Decimal | None = None  # temperature: weight ~ size ** alpha
    default_max_epochs: Decimal | None = None  # for every source that gives none


@dataclass(frozen=True, kw_only=True)
class Splits:
    """Which samples are in which split: a function of the sample's digest, so equal content is never on both sides."""

    method: str
    fractions: tuple[tuple[str, Decimal], ...]  # by name; they sum to 1
    salt: str = "v1"


@dataclass(frozen=True, kw_only=True)
class Source:
    """One component: rows of one dataset version."""

    name: str
    ref: str  # `dataset` or `dataset@version`
    sources: tuple[str, ...] = ()  # empty: every source of the dataset
    tasks: tuple[str, ...] = ()  # empty: every task
    weight: Decimal | None = None  # None: auto
    split: str | None = None
    max_samples: int | None = None
    max_tokens: int | None = None
    max_epochs: Decimal | None = None


@dataclass(frozen=True, kw_only=True)
class Spec:
    """A mixture as asked for."""

    name: str
    version: str
    unit: str
    budget: tuple[str, Decimal]  # (samples | tokens | images | epochs, how many)
    seed: int
    policy: Policy
    sources: tuple[Source, ...]  # by name: the order in the file means nothing
    splits: Splits | None = None
    tokenizer: str = TOKENIZERS[0]

    def to_json(self) -> dict[str, Any]:
        """Return the spec as JSON without floats, everything that was left out filled in."""
        policy = {"name": self.policy.name}
        if self.policy.alpha is not None:
            policy["alpha"] = plain(self.policy.alpha)
        if self.policy.default_max_epochs is not None:
            policy["default_max_epochs"] = plain(self.policy.default_max_epochs)
        out: dict[str, Any] = {
            "schema": SCHEMA,
            "name": self.name,
            "version": self.version,
            "unit": self.unit,
            "budget": {self.budget[0]: plain(self.budget[1])},
            "seed": self.seed,
            "policy": policy,
            "tokenizer": self.tokenizer,
            "sources": [_source_json(s) for s in self.sources],
        }
        if self.splits:
            fractions = {k: plain(v) for k, v in self.splits.fractions}
            out["splits"] = {"method": self.splits.method, "salt": self.splits.salt, "fractions": fractions}
        return out


def _source_json(source: Source) -> dict[str, Any]:
    out: dict[str, Any] = {"name": source.name, "ref": source.ref}
    out["weight"] = "auto" if source.weight is None else plain(source.weight)
    for key, value in (("source", source.sources), ("tasks", source.tasks)):
        if value:
            out[key] = list(value)
    for key in ("split", "max_samples", "max_tokens", "max_epochs"):
        value = getattr(source, key)
        if value is not None:
            out[key] = plain(value) if isinstance(value, Decimal) else value
    return out


def plain(value: Decimal) -> str:
    """Return a decimal without exponent and without trailing zeros: one string per number."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


# -- reading -----------------------------------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """Safe YAML in which `0.1` stays the text `0.1` and a key that is given twice is an error."""


def _number(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> Any:
    text = node.value.replace("_", "")
    try:
        return Decimal(text)
    except InvalidOperation:
        return text  # .inf, .nan, 1:30.5: no number that a spec may hold; the check of the key says so


def _mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    loader.flatten_mapping(node)
    pairs = loader.construct_pairs(node, deep=True)
    out: dict[Any, Any] = {}
    for key, value in pairs:
        if not isinstance(key, str):
            msg = f"line {node.start_mark.line + 1}: a key must be a word, not `{key}`"
            raise UserError(msg, usage=True)
        if key in out:
            msg = f"line {node.start_mark.line + 1}: key `{key}` is given twice"
            raise UserError(msg, usage=True)
        out[key] = value
    return out


_Loader.add_constructor("tag:yaml.org,2002:float", _number)
_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def read(path: Path) -> Spec:
    """Return the spec in a YAML file; raise `UserError` that names the key and what was expected."""
    try:
        text = path.read_bytes().decode()
    except FileNotFoundError:
        there = [p.name for p in path.parent.glob("*.yaml")] if path.parent.is_dir() else []
        msg = f"no such mixture spec: `{path}`{nearest(path.name, there)}"
        raise UserError(msg, usage=True) from None
    except (OSError, UnicodeDecodeError) as e:
        msg = f"cannot read `{path}`: {e}"
        raise UserError(msg, usage=True) from None
    return parse(text, str(path))


def parse(raw: Any, where: str = "mixture.yaml") -> Spec:
    """Return the spec in a YAML text, or in a value that was parsed already (a recipe's `mixture`).

    A float in a parsed value stands for its shortest decimal: 0.25 for what somebody wrote as 0.25.
    """
    if isinstance(raw, str):
        try:
            raw = yaml.load(raw, Loader=_Loader)
        except yaml.YAMLError as e:
            msg = f"`{where}` is not YAML: {' '.join(str(e).split())}"
            raise UserError(msg, usage=True) from None
    return _spec(raw, where)


def _spec(raw: Any, where: str) -> Spec:
    top = _map(raw, where)
    unknown_keys(top, _KEYS, where)
    _one_of(top.get("schema", SCHEMA), (SCHEMA,), f"`schema` in {where}")
    name = _word(_need(top, "name", where), f"`name` in {where}")
    version = top.get("version", "1.0.0")
    if not isinstance(version, str) or not _VERSION.fullmatch(version):
        _wrong(f"`version` in {where}", version, "three numbers like `1.0.0`")
    unit = _one_of(top.get("unit", "samples"), UNITS, f"`unit` in {where}")
    seed = _int(top.get("seed", 0), f"`seed` in {where}", low=0, high=_MAX_SEED - 1)
    tokenizer = _map(top.get("tokenizer", {"name": TOKENIZERS[0]}), f"`tokenizer` in {where}")
    unknown_keys(tokenizer, ("name",), f"`tokenizer` in {where}")
    token_name = _one_of(
        _need(tokenizer, "name", f"`tokenizer` in {where}"), TOKENIZERS, f"`tokenizer.name` in {where}"
    )
    policy = _policy(top.get("policy", {}), where)
    splits = _splits(top["splits"], where) if "splits" in top else None
    listed = _need(top, "sources", where)
    if not isinstance(listed, list) or not listed:
        _wrong(f"`sources` in {where}", listed, "a list with at least one source")
    sources = tuple(_source(s, splits, f"`sources[{i}]` in {where}") for i, s in enumerate(listed))
    _distinct(sources, where)
    _check_weights(sources, policy, where)
    return Spec(
        name=name,
        version=version,
        unit=unit,
        budget=_budget(_need(top, "budget", where), unit, where),
        seed=seed,
        policy=policy,
        splits=splits,
        tokenizer=token_name,
        sources=tuple(sorted(sources, key=lambda s: s.name)),
    )


def _budget(raw: Any, unit: str, where: str) -> tuple[str, Decimal]:
    at = f"`budget` in {where}"
    given = _map(raw, at)
    unknown_keys(given, (*UNITS, "epochs"), at)
    if len(given) != 1:
        _wrong(at, ", ".join(given) or "nothing", f"one of `{unit}` and `epochs`")
    key, value = next(iter(given.items()))
    if key == "epochs":
        return key, _decimal(value, f"`budget.epochs` in {where}")
    if key != unit:
        msg = f"`budget` in {where} counts {key}, but `unit` is {unit}"
        raise UserError(msg, hint=f"give `budget: {{{unit}: N}}` or `unit: {key}`", usage=True)
    return key, Decimal(_int(value, f"`budget.{key}` in {where}", low=1))


def _policy(raw: Any, where: str) -> Policy:
    at = f"`policy` in {where}"
    given = _map(raw, at)
    unknown_keys(given, _POLICY_KEYS, at)
    name = _one_of(given.get("name", "proportional"), POLICIES, f"`policy.name` in {where}")
    alpha = _decimal(given["alpha"], f"`policy.alpha` in {where}") if "alpha" in given else None
    cap = given.get("default_max_epochs")
    most = None if cap is None else _decimal(cap, f"`policy.default_max_epochs` in {where}")
    if (alpha is not None) != (name == "temperature"):
        msg = f"{at}: `alpha` and the policy `temperature` go together"
        raise UserError(msg, hint="`policy: {name: temperature, alpha: '0.5'}`", usage=True)
    if alpha is not None and alpha > 1:
        _wrong(f"`policy.alpha` in {where}", alpha, "a number above 0 and at most 1")
    if name == "unimax" and most is None:
        msg = f"{at}: `unimax` needs `default_max_epochs`"
        raise UserError(msg, hint="`policy: {name: unimax, default_max_epochs: 4}`", usage=True)
    return Policy(name=name, alpha=alpha, default_max_epochs=most)


def _splits(raw: Any, where: str) -> Splits:
    at = f"`splits` in {where}"
    given = _map(raw, at)
    unknown_keys(given, _SPLIT_KEYS, at)
    method = _one_of(given.get("method", METHODS[0]), METHODS, f"`splits.method` in {where}")
    fractions = _map(_need(given, "fractions", at), f"`splits.fractions` in {where}")
    parsed = {
        _word(k, f"a split's name in {where}"): _decimal(v, f"`splits.fractions.{k}` in {where}")
        for k, v in fractions.items()
    }
    if sum(parsed.values()) != 1:
        _wrong(f"`splits.fractions` in {where}", f"{sum(parsed.values())} in sum", "fractions that sum to exactly 1")
    salt = given.get("salt", "v1")
    if not isinstance(salt, str):
        _wrong(f"`splits.salt` in {where}", salt, "a string")
    return Splits(method=method, fractions=tuple(sorted(parsed.items())), salt=salt)


def _source(raw: Any, splits: Splits | None, at: str) -> Source:
    given = _map(raw, at)
    unknown_keys(given, _SOURCE_KEYS, at)
    ref = _need(given, "ref", at)
    if not isinstance(ref, str) or not ref.partition("@")[0]:
        _wrong(f"`ref` of {at}", ref, "`dataset` or `dataset@version`")
    inner = _strings(given.get("source", []), f"`source` of {at}")
    tasks = _strings(given.get("tasks", []), f"`tasks` of {at}")
    for task in tasks:
        _one_of(task, TASKS, f"`tasks` of {at}")
    default = "-".join([ref.partition("@")[0], *inner])
    weight = given.get("weight", "auto")
    caps = {k: _int(given[k], f"`{k}` of {at}", low=1) for k in ("max_samples", "max_tokens") if k in given}
    epochs = _decimal(given["max_epochs"], f"`max_epochs` of {at}") if "max_epochs" in given else None
    return Source(
        name=_word(given.get("name", default), f"`name` of {at}"),
        ref=ref,
        sources=inner,
        tasks=tasks,
        weight=None if weight == "auto" else _decimal(weight, f"`weight` of {at}"),
        split=_split_of(given.get("split"), splits, at),
        max_epochs=epochs,
        max_samples=caps.get("max_samples"),
        max_tokens=caps.get("max_tokens"),
    )


def _split_of(split: Any, splits: Splits | None, at: str) -> str | None:
    if splits is None:
        if split is not None:
            msg = f"{at} asks for split `{split}`, but there is no `splits`"
            raise UserError(msg, hint='add `splits: {fractions: {train: "0.98", val: "0.02"}}`', usage=True)
        return None
    return _one_of("train" if split is None else split, [k for k, _ in splits.fractions], f"`split` of {at}")


def _distinct(sources: tuple[Source, ...], where: str) -> None:
    # Names become file names, and some file systems do not tell `A` from `a`.
    seen: set[str] = set()
    for source in sources:
        if source.name.lower() in seen:
            msg = f"two sources in {where} are named `{source.name}`"
            raise UserError(msg, hint="give one of them another `name`", usage=True)
        seen.add(source.name.lower())


def _check_weights(sources: tuple[Source, ...], policy: Policy, where: str) -> None:
    auto = [s.name for s in sources if s.weight is None]
    given = sum((s.weight for s in sources if s.weight is not None), Decimal(0))
    if policy.name == "fixed" and auto:
        msg = f"policy `fixed` in {where} needs a weight for every source; `{auto[0]}` has none"
        raise UserError(msg, usage=True)
    if auto and given >= 1:
        msg = f"the weights given in {where} sum to {plain(given)}, which leaves nothing for `{auto[0]}` (weight auto)"
        raise UserError(msg, hint="beside `auto`, weights are shares of the whole: keep their sum below 1", usage=True)


# -- kinds of values ---------------------------------------------------------------------------------------------------


def _wrong(what: str, got: Any, expected: str) -> None:
    msg = f"{what} is `{got}`; expected {expected}"
    raise UserError(msg, usage=True)


def _need(given: Mapping[str, Any], key: str, where: str) -> Any:
    if key not in given:
        msg = f"{where} has no `{key}`{nearest(key, given)}" if given else f"{where} has no `{key}`"
        raise UserError(msg, usage=True)
    return given[key]


def _map(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        _wrong(where, value, "a mapping of keys to values")
    return dict(value)


def _word(value: Any, what: str) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        _wrong(what, value, "a name of letters, digits, `.`, `_` and `-`")
    return str(value)


def _one_of(value: Any, allowed: Any, what: str) -> str:
    if value not in allowed:
        msg = f"{what} is `{value}`{nearest(str(value), allowed)}"
        raise UserError(msg, usage=True)
    return str(value)


def _strings(value: Any, what: str) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
        _wrong(what, value, "a name or a list of names")
    return tuple(sorted(set(values)))


def _int(value: Any, what: str, *, low: int, high: int = _MAX_SEED - 1) -> int:
    if isinstance(value, Decimal) and value == value.to_integral_value():
        value = int(value)
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        _wrong(what, value, f"a whole number from {low}")
    return int(value)


def _decimal(value: Any, what: str) -> Decimal:
    """Return a positive decimal."""
    value = Decimal(repr(value)) if isinstance(value, float) else value
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    text = format(text, "f") if isinstance(text, Decimal) else text
    if not isinstance(text, str) or not _DECIMAL.fullmatch(text) or Decimal(text) <= 0:
        _wrong(what, value, 'a number above 0 with at most 12 decimals, such as `"0.25"`')
    return Decimal(str(text))

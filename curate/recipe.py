"""A recipe: which sources, which models, which filters with which bounds. YAML in, frozen dataclasses out.

name: demo
shard_rows: 1000                           # input rows per shard
role: train                                # the default: sources of this role become the dataset version
frozen: [crawl_2024]                       # but these, which are in use already: what they have too is a duplicate
sources:
  - {name: scenes, format: table, path: scenes/records.jsonl, images: scenes, task: caption, fields: {...}}
  - {name: heldout, format: text, path: heldout/*.jsonl, role: eval, ...}     # never trained on; decontaminated against
  - {name: trusted, format: table, path: trusted/records.jsonl, role: fit}    # only fits models
models:
  dfn: {fit: clip, source: trusted}        # a data filtering network, usable as a `model` parameter below
  good: {fit: quality, source: trusted, against: raw}    # tells trusted texts from raw ones
stages:                                    # bounds decide first, in this order; then clusters, in this order
  - filter: aspect_ratio                   # the filter's published bounds
  - filter: clip_score
    params: {model: dfn}
    bounds: {clip_score: {top: 0.7, per: source}}    # or {min: .., max: ..}; {} looks but never drops
    tasks: [caption, vqa]                  # only these; also: sources: [...]
  - filter: decontaminate_text
    against: [heldout]                     # default: every source with role eval; also "suite:NAME" of `cuvee evals`
  - filter: dedup_minhash
    prefer: [clip_score.clip_score]        # who survives: highest first; ties by id (curate/dedup/criteria.py has all criteria)
mixture: {...}                             # a mixture spec (docs/mixtures.md), locked at the end of the run
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from catalog import evals
from catalog.errors import UserError, nearest, unknown_keys
from catalog.files import read_yaml
from catalog.judge import Rule, bound_fields
from catalog.schema import TASKS
from curate.dedup.criteria import criterion, names
from curate.ingest import SourceSpec
from filters import base

FITS = ("clip", "quality")


@dataclass(frozen=True, kw_only=True)
class StageSpec:
    """One filter of a recipe. `bounds` are the fields of `catalog.judge.Rule` per score."""

    filter: str
    params: Mapping[str, Any] = field(default_factory=dict)
    bounds: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    against: tuple[str, ...] = ()
    prefer: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """A model that the run itself fits before scoring: `fit` names how, `source` on what, `config` with which settings."""

    name: str
    fit: str  # clip | quality: `curate/fit_<name>.py`
    source: str
    against: str = ""  # quality: the source of ordinary samples that `source` is told from
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def reads(self) -> tuple[str, ...]:
        """The sources that it is fitted on."""
        return (self.source, self.against) if self.against else (self.source,)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A whole recipe. `mixture` is passed through to whoever locks mixtures."""

    name: str
    sources: tuple[SourceSpec, ...]
    stages: tuple[StageSpec, ...] = ()
    models: tuple[ModelSpec, ...] = ()
    shard_rows: int = 1000
    role: str = "train"  # the sources of this role become the dataset version
    frozen: tuple[
        str, ...
    ] = ()  # sources of this role that do not: deduplicating stages look at them, nothing in them is dropped
    mixture: Mapping[str, Any] | None = None

    @property
    def members(self) -> tuple[SourceSpec, ...]:
        """The sources whose samples are judged and become the dataset version."""
        return tuple(s for s in self.by_role(self.role) if s.name not in self.frozen)

    def by_role(self, role: str) -> tuple[SourceSpec, ...]:
        """Return the sources of one role."""
        return tuple(s for s in self.sources if s.role == role)


def read(path: Path) -> Recipe:
    """Read a recipe file; raise `UserError` with the nearest valid name for anything unknown."""
    return parse(read_yaml(path, "recipe"), f"recipe `{path}`")


def parse(raw: Any, where: str) -> Recipe:
    """Return the recipe that a YAML value describes."""
    _mapping(raw, where)
    unknown_keys(raw, ("name", "shard_rows", "role", "frozen", "sources", "models", "stages", "mixture"), where)
    for key in ("name", "sources"):
        if not raw.get(key):
            msg = f"{where} has no `{key}`"
            raise UserError(msg, usage=True)
    if not isinstance(raw["name"], str) or not raw["name"].replace("-", "").replace("_", "").isalnum():
        msg = f"`name` of {where} must be letters, digits, `-` and `_`, got `{raw['name']}`"
        raise UserError(msg, usage=True)
    rows = raw.get("shard_rows", 1000)
    if not isinstance(rows, int) or isinstance(rows, bool) or rows < 1:
        msg = f"`shard_rows` of {where} must be a whole number above 0, got `{rows}`"
        raise UserError(msg, usage=True)
    sources = tuple(
        SourceSpec.of(_mapping(s, f"a source of {where}")) for s in _list(raw["sources"], f"`sources` of {where}")
    )
    _unique([s.name for s in sources], f"sources of {where}")
    models = tuple(
        _model(n, m, sources, where) for n, m in _mapping(raw.get("models") or {}, f"`models` of {where}").items()
    )
    stages = tuple(_stage(s, sources, models, where) for s in _list(raw.get("stages") or [], f"`stages` of {where}"))
    stages = _preferring(stages, sources)
    _unique([s.filter for s in stages], f"stages of {where}")
    recipe = Recipe(
        name=raw["name"],
        sources=sources,
        stages=stages,
        models=models,
        shard_rows=rows,
        role=raw.get("role", "train"),
        frozen=tuple(_list(raw.get("frozen") or [], f"`frozen` of {where}")),
        mixture=raw.get("mixture"),
    )
    _known(
        list(recipe.frozen),
        [s.name for s in recipe.by_role(recipe.role)],
        f"source of role `{recipe.role}`",
        f"`frozen` of {where}",
    )
    _unique(list(recipe.frozen), f"`frozen` of {where}")
    if recipe.mixture is not None:
        _mapping(recipe.mixture, f"`mixture` of {where}")
    if not recipe.members:
        msg = f"{where} has no source with role `{recipe.role}`{' that is not frozen' if recipe.frozen else ''}"
        raise UserError(msg, usage=True)
    return recipe


def _model(name: str, raw: Any, sources: tuple[SourceSpec, ...], where: str) -> ModelSpec:
    where = f"model `{name}` of {where}"
    _mapping(raw, where)
    unknown_keys(raw, ("fit", "source", "against", "config"), where)
    if raw.get("fit") not in FITS:
        msg = f"`fit` of {where} must be {' or '.join(f'`{k}`' for k in FITS)}, got `{raw.get('fit')}`"
        raise UserError(msg, usage=True)
    named = [s.name for s in sources]
    _known([raw.get("source", "")], named, "source", where)
    if (raw["fit"] == "quality") != ("against" in raw):
        msg = f"{where}: `against` names the ordinary samples that a `quality` model tells good ones from, and goes with it alone"
        raise UserError(msg, usage=True)
    _known([raw["against"]] if "against" in raw else [], named, "source", where)
    return ModelSpec(
        name=name, fit=raw["fit"], source=raw["source"], against=raw.get("against", ""),
        config=_mapping(raw.get("config") or {}, where),
    )  # fmt: skip


def _stage(raw: Any, sources: tuple[SourceSpec, ...], models: tuple[ModelSpec, ...], where: str) -> StageSpec:
    if isinstance(raw, str):
        raw = {"filter": raw}
    _mapping(raw, f"a stage of {where}")
    name = str(raw.get("filter", ""))
    where = f"stage `{name}` of {where}"
    unknown_keys(raw, ("filter", "params", "bounds", "sources", "tasks", "against", "prefer"), where)
    params = _mapping(raw.get("params") or {}, f"`params` of {where}")
    loaded = base.load(name, params)
    loaded.check(params, f"`params` of {where}")
    for key in loaded.required:
        if params.get(key):
            continue
        if key != "model":
            msg = f"{where} scores nothing without `{key}`"
            raise UserError(msg, hint=f"`cuvee filters show {name}` says what it is", usage=True)
        msg = f"{where} scores nothing without a model"
        raise UserError(
            msg, hint="`params: {model: ...}` names one of `models`, a folder or a model of open_clip", usage=True
        )
    for key, needs, what in (
        ("prefer", loaded.cluster, "deduplicates"),
        ("against", loaded.build, "looks anything up in other sources"),
    ):
        if raw.get(key) and needs is None:
            msg = f"`{key}` of {where} means nothing: the filter never {what}"
            raise UserError(msg, usage=True)
    if loaded.build is not None and "match" not in loaded.scores and not raw.get("against"):
        msg = f"{where} needs a target set"
        raise UserError(msg, hint="name a source of role `eval` or `fit` in `against`", usage=True)
    bounds: dict[str, Mapping[str, Any]] = {
        score: {k: v for k, v in (("low", low), ("high", high)) if v is not None}
        for score, (low, high) in loaded.bounds.items()
    }
    if "bounds" in raw:
        given = _mapping(raw["bounds"] or {}, f"`bounds` of {where}")
        _known(list(given), loaded.numbers, "score with bounds", where)
        bounds = {
            s: bound_fields(_mapping(b or {}, f"bound `{s}` of {where}"), f"bound `{s}` of {where}")
            for s, b in given.items()
        }
    for key, known, what in (
        ("sources", [s.name for s in sources], "source"),
        ("against", [s.name for s in sources if s.role != "train"], "source with role `eval` or `fit`"),
    ):
        named = _list(raw.get(key) or [], f"`{key}` of {where}")
        _known([n for n in named if not (key == "against" and str(n).startswith(evals.PREFIX))], known, what, where)
    _known(_list(raw.get("tasks") or [], f"`tasks` of {where}"), list(TASKS), "task", where)
    return StageSpec(
        filter=name,
        params=params,
        bounds=bounds,
        sources=tuple(raw.get("sources") or ()),
        tasks=tuple(_list(raw.get("tasks") or [], f"`tasks` of {where}")),
        against=tuple(raw.get("against") or ()),
        prefer=tuple(_list(raw.get("prefer") or [], f"`prefer` of {where}")),
    )


def _preferring(stages: tuple[StageSpec, ...], sources: tuple[SourceSpec, ...]) -> tuple[StageSpec, ...]:
    """Return the stages with the criteria of `prefer` checked and named."""
    scores = [f"{s.filter}.{score}" for s in stages for score in base.load(s.filter, s.params).numbers]
    known = {"source": [s.name for s in sources], "license": []}
    for s in stages:
        _unique(list(s.prefer), f"criteria of `prefer` of stage `{s.filter}`")
    return tuple(
        dataclasses.replace(
            s, prefer=tuple(criterion(p, known, scores, f"`prefer` of stage `{s.filter}`") for p in s.prefer)
        )
        for s in stages
    )


def looks(stage: StageSpec) -> Rule:
    """Return a rule without bounds that looks at the samples that the stage looks at."""
    return Rule(stage=stage.filter, fingerprint="", score="", sources=stage.sources, tasks=stage.tasks)


def rules(stage: StageSpec, loaded: base.Filter, *, frozen: Sequence[str] = ()) -> list[Rule]:
    """Return the rules of a stage, given its filter with the real model and index, and the recipe's frozen sources."""
    common: dict[str, Any] = {
        "stage": stage.filter,
        "fingerprint": loaded.fingerprint,
        "sources": stage.sources,
        "tasks": stage.tasks,
    }
    if loaded.cluster:
        looked_at = [s for s in frozen if not stage.sources or s in stage.sources]
        prefer = names(stage.prefer, frozen=bool(looked_at), order=loaded.keys is None)
        return [Rule(**common, score="duplicate", cluster=True, prefer=prefer)]
    return [Rule(**common, score=score, **fields) for score, fields in stage.bounds.items() if fields]


def _mapping(raw: Any, where: str) -> dict[str, Any]:
    if not isinstance(raw, dict):
        msg = f"{where} must be a mapping of names to values, got `{raw}`"
        raise UserError(msg, usage=True)
    return raw


def _list(raw: Any, where: str) -> list[Any]:
    if not isinstance(raw, list):
        msg = f"{where} must be a list, got `{raw}`"
        raise UserError(msg, usage=True)
    return raw


def _known(given: list[Any], known: list[str], what: str, where: str) -> None:
    for name in given:
        if name not in known:
            msg = f"no {what} named `{name}` in {where}{nearest(str(name), known)}"
            raise UserError(msg, usage=True)


def _unique(names: list[Any], where: str) -> None:
    for name in names:
        if names.count(name) > 1:
            msg = f"`{name}` stands twice among the {where}"
            raise UserError(msg, usage=True)

"""Suites: which evaluation sets, in which versions, a team keeps out of its training data.

    <store>/evals/<suite>/<digest>.json

A suite names source versions of role `eval` by content digest, so its own digest, a hash of these, is the same wherever the
same sets were ingested. `cuvee evals show NAME --json` is what one shares; `add` of the same sets elsewhere gives the same
digest, or says which set is another. Nothing is overwritten: other versions are another digest under the same name.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from catalog.digests import json_digest
from catalog.errors import UserError, nearest
from catalog.files import read_json, write_json
from catalog.store import SHORT, SourceVersion, Store

PREFIX = "suite:"
"""`against: ["suite:core"]` in a recipe names a suite."""


@dataclass(frozen=True, kw_only=True)
class EvalSet:
    """One evaluation set of a suite."""

    name: str
    digest: str  # of the source version
    items: int
    license: str
    forms: Mapping[str, int] = field(default_factory=dict)  # items with text, options, images; not part of the identity


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A named list of evaluation sets."""

    name: str
    sets: tuple[EvalSet, ...]  # by name

    @property
    def digest(self) -> str:
        """The identity of what is in it, whatever it is called."""
        return suite_digest([(s.name, s.digest) for s in self.sets])

    @property
    def ref(self) -> str:
        """`name@digest`, digest shortened."""
        return f"{self.name}@{self.digest[:SHORT]}"

    def to_json(self) -> dict[str, Any]:
        """Return the suite as it is shared."""
        return {
            "schema": "suite/1",
            "name": self.name,
            "digest": self.digest,
            "sets": [dataclasses.asdict(s) for s in self.sets],
        }


def suite_digest(sets: Sequence[tuple[str, str]]) -> str:
    """Return the digest of a list of (name, source digest), in any order."""
    return json_digest({"sets": sorted([list(s) for s in sets])})


def of_sources(name: str, sources: Sequence[SourceVersion], forms: Mapping[str, Mapping[str, int]]) -> Suite:
    """Return the suite of source versions; `forms` by source digest. Raises `UserError` for one that is no evaluation set."""
    if not name.replace("-", "").replace("_", "").isalnum():
        msg = f"a suite's name is letters, digits, `-` and `_`, got `{name}`"
        raise UserError(msg, usage=True)
    if not sources:
        msg = f"suite `{name}` has no evaluation set"
        raise UserError(msg, hint="`cuvee ingest` with `role: eval` makes one", usage=True)
    for s in sources:
        if s.role != "eval":
            msg = f"source `{s.ref}` has role `{s.role}`, not `eval`"
            raise UserError(msg, hint="ingest it with `role: eval`", usage=True)
    names = sorted(s.name for s in sources)
    twice = {n for n in names if names.count(n) > 1}
    if twice:
        msg = f"suite `{name}` names `{min(twice)}` twice"
        raise UserError(msg, usage=True)
    sets = tuple(
        EvalSet(name=s.name, digest=s.digest, items=s.samples, license=s.license, forms=dict(forms.get(s.digest, {})))
        for s in sorted(sources, key=lambda s: s.name)
    )
    return Suite(name=name, sets=sets)


def save(store: Store, suite: Suite) -> Path:
    """Write a suite into the store, under its digest, and return the file."""
    path = store.root / "evals" / suite.name / f"{suite.digest[:SHORT]}.json"
    if not path.exists():
        write_json(path, suite.to_json())
    return path


def parse(raw: Any, where: str) -> Suite:
    """Return a shared suite; raise `UserError` for what is none, or whose digest is not that of its sets."""
    try:
        fields = {f.name for f in dataclasses.fields(EvalSet)}
        sets = [EvalSet(**{k: v for k, v in s.items() if k in fields}) for s in raw["sets"]]
        found = Suite(name=str(raw["name"]), sets=tuple(sorted(sets, key=lambda s: s.name)))
        said = raw["digest"]
    except (KeyError, TypeError, AttributeError):
        msg = f"{where} is no suite: it needs `name`, `digest` and `sets` of name, digest, items and license"
        raise UserError(msg) from None
    if said != found.digest:
        msg = f"{where} was changed: its sets have the digest {found.digest[:SHORT]}, it says {str(said)[:SHORT]}"
        raise UserError(msg)
    return found


def suites(store: Store) -> list[Suite]:
    """Return every suite of the store, by name, the latest of a name last."""
    paths = sorted(store.root.glob("evals/*/*.json"), key=lambda p: (p.parent.name, p.stat().st_mtime_ns, p.name))
    return [parse(read_json(p), f"`{p}`") for p in paths]


def suite(store: Store, ref: str) -> Suite:
    """Return the suite that `name` (the latest) or `name@digest` (any prefix) names."""
    name, _, prefix = ref.removeprefix(PREFIX).partition("@")
    every = suites(store)
    named = [s for s in every if s.name == name and s.digest.startswith(prefix)]
    if not named:
        known = [s.ref if prefix else s.name for s in every]
        msg = f"no suite `{name}{'@' if prefix else ''}{prefix}`{nearest(ref, known)}"
        raise UserError(msg, hint="`cuvee evals ls` lists the suites, `cuvee evals add` makes one")
    return named[-1]


def members(store: Store, found: Suite) -> list[SourceVersion]:
    """Return the source versions of a suite; raise `UserError` naming those that the store does not have."""
    there = {(s.name, s.digest): s for s in store.sources()}
    missing = [s for s in found.sets if (s.name, s.digest) not in there]
    if missing:
        names = ", ".join(f"`{s.name}@{s.digest[:SHORT]}`" for s in missing)
        have = [f"`{n}@{d[:SHORT]}`" for n, d in there if n in {s.name for s in missing}]
        msg = f"suite `{found.ref}` needs {names}, which this store does not have"
        other = f"; it has {', '.join(have)}: another version, or read with other fields" if have else ""
        raise UserError(msg + other, hint="ingest the same files with the same fields and `role: eval`")
    return [there[s.name, s.digest] for s in found.sets]


def check(store: Store, shared: Suite) -> Suite:
    """Register a suite that somebody else shared, once the store has all of its sets in these versions."""
    members(store, shared)
    save(store, shared)
    return shared

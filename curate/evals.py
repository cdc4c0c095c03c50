"""Evaluation sets of a store: which forms their items have, suites of them, and how well-known benchmarks are read.

`evals.yaml` says of each well-known benchmark which fields of its published files are question, options, answer and image. A
local copy is then ingested by its name; nothing is ever fetched.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from catalog import evals
from catalog.errors import UserError, nearest
from catalog.files import read_json, read_yaml
from catalog.store import SHORT, SourceVersion, Store
from curate import prepare
from curate.engines.base import Engine
from curate.ingest import SourceSpec, ingest
from filters.shared.questions import questions
from filters.shared.text import has_image, messages

KNOWN = Path(__file__).parent / "evals.yaml"


def known() -> dict[str, dict[str, Any]]:
    """Return the descriptions of well-known benchmarks by name."""
    found: dict[str, dict[str, Any]] = read_yaml(KNOWN, "list of benchmarks")
    return found


def spec(name: str, path: str, *, data: Path = Path(), as_name: str = "", **other: Any) -> SourceSpec:
    """Return how a local copy of a well-known benchmark is read: `path` below `data` is a file, a folder or a pattern.

    `other` replaces what the description says (`fields`, `format`, `license`).
    """
    described = known()
    if name not in described:
        msg = f"no benchmark named `{name}`{nearest(name, described)}"
        raise UserError(msg, hint="`cuvee evals known` lists them; any other is a source with `role: eval`", usage=True)
    entry = {k: v for k, v in described[name].items() if k not in ("hub", "split", "about")}
    if (data / path).is_dir():
        path = str(Path(path) / described[name].get("files", f"**/{described[name]['split']}-*.parquet"))
    entry.pop("files", None)
    return SourceSpec.of({"name": as_name or name, "path": path, "role": "eval", **entry, **other})


def add_known(store: Store, name: str, path: str, *, engine: Engine, data: Path, as_name: str = "") -> SourceVersion:
    """Ingest a local copy of a well-known benchmark and return its version."""
    return ingest(store, spec(name, path, data=data, as_name=as_name), engine=engine, data=data)


def forms(store: Store, source: SourceVersion) -> dict[str, int]:
    """Return how many items have text, options and images: which filters can find them."""
    out = {"text": 0, "options": 0, "images": 0}
    for batch in prepare.batches(store, source):
        asked = questions(batch)
        at = messages(batch)[2]
        sample = np.repeat(np.arange(batch.num_rows), np.diff(at))
        words = np.bincount(sample, weights=np.diff(asked.first), minlength=batch.num_rows)
        options = np.bincount(sample, weights=np.diff(asked.at) >= 2, minlength=batch.num_rows)
        out["text"] += int((words > 0).sum())
        out["options"] += int((options > 0).sum())
        out["images"] += int(has_image(batch).sum())
    return out


def add(store: Store, name: str, refs: Sequence[str]) -> evals.Suite:
    """Make a suite of source versions (`name` or `name@digest`; none: the latest of every evaluation set) and store it."""
    if refs:
        sources = [store.source(r) for r in refs]
    else:
        sources = list({s.name: s for s in store.sources() if s.role == "eval"}.values())
    made = evals.of_sources(name, sources, {})  # refuses what is no evaluation set before anything is read
    made = evals.of_sources(name, sources, {s.digest: forms(store, s) for s in sources})
    evals.save(store, made)
    return made


def add_file(store: Store, path: Path, name: str = "") -> evals.Suite:
    """Register the suite that a file holds, as `name` if one is given, if the store has its sets in these very versions."""
    shared = evals.parse(read_json(path), f"`{path}`")
    return evals.check(store, dataclasses.replace(shared, name=name) if name else shared)


def listing(store: Store) -> list[dict[str, Any]]:
    """Return the suites of a store, one row each."""
    return [
        {
            "suite": s.name,
            "digest": s.digest[:SHORT],
            "sets": len(s.sets),
            "items": sum(e.items for e in s.sets),
            "licenses": ", ".join(sorted({e.license for e in s.sets})),
        }
        for s in evals.suites(store)
    ]


def known_rows() -> list[Mapping[str, Any]]:
    """Return the well-known benchmarks, one row each."""
    return [
        {"name": n, "hub": e.get("hub", ""), "split": e.get("split", ""), "task": e["task"], "license": e["license"]}
        for n, e in known().items()
    ]

"""What a run would do, before anything is done: which sources, which passes, what is stored already, how many samples."""

from pathlib import Path
from typing import Any

from catalog.store import SourceVersion, Store
from curate import prepare
from curate.ingest import find
from curate.recipe import Recipe, rules
from curate.score import missing_items
from filters import base


def plan(recipe: Recipe, store: Store, *, data: Path) -> dict[str, Any]:
    """Return {sources, models, stages, passes}: what is there, what is missing. Reads file names and sizes, writes nothing."""
    found = {s.name: find(store, s, shard_rows=recipe.shard_rows, data=data) for s in recipe.sources}
    have = {name: v for name, v in found.items() if v is not None}
    models = {m.name: prepare.model_dir(store, m, have[m.source]) for m in recipe.models if m.source in have}
    ready = len(have) == len(found)
    resolved = (
        prepare.resolve(store, recipe, have, models, build=False) if ready else [(s, None) for s in recipe.stages]
    )
    train = [have[s.name] for s in recipe.members if s.name in have]
    stages = []
    for spec, flt in resolved:
        shown = flt or base.load(spec.filter, {k: v for k, v in spec.params.items() if k != "model"})
        limited = [s for s in train if not spec.sources or s.name in spec.sources]
        shards = sum(s.shards for s in limited)
        cached = _cached(store, flt, limited) if flt else 0
        stages.append(
            {
                "stage": spec.filter,
                "fingerprint": flt.fingerprint if flt else None,
                "images": shown.needs_images,
                "model": shown.needs_model,
                "bounds": [r.to_json() for r in rules(spec, shown)],
                "samples": sum(s.samples for s in limited) if ready else None,
                "shards": shards if ready else None,
                "cached": cached if ready else None,
            }
        )
    return {
        "recipe": recipe.name,
        "sources": [_source(s.name, s.role, found[s.name]) for s in recipe.sources],
        "models": [
            {"model": m.name, "fit": m.fit, "source": m.source, "cached": m.name in models and models[m.name].exists()}
            for m in recipe.models
        ],
        "stages": stages,
        "passes": _passes(store, resolved, train, ready=ready),
    }


def _source(name: str, role: str, version: SourceVersion | None) -> dict[str, Any]:
    if version is None:
        return {"source": name, "role": role, "version": None, "samples": None, "rejects": None, "shards": None}
    return {
        "source": name,
        "role": role,
        "version": version.ref,
        "samples": version.samples,
        "rejects": version.rejects,
        "shards": version.shards,
    }


def _cached(store: Store, flt: base.Filter, sources: list[SourceVersion]) -> int:
    _, cached = missing_items(store, [(s.name, s.digest, s.shards) for s in sources], [(flt, ())])
    return cached


def _passes(store: Store, resolved: list[Any], train: list[SourceVersion], *, ready: bool) -> dict[str, Any]:
    """Return the fused scoring pass: shards to read, samples in them, and how many decode images."""
    if not ready or any(f is None for _, f in resolved):
        return {"shards": None, "samples": None, "decoding": None}
    items, _ = missing_items(
        store, [(s.name, s.digest, s.shards) for s in train], [(f, st.sources) for st, f in resolved]
    )
    per_shard = {s.name: s.samples / max(s.shards, 1) for s in train}
    decoding = [i for i in items if any(resolved[k][1].needs_images for k in i.missing)]
    return {
        "shards": len(items),
        "samples": round(sum(per_shard[i.source] for i in items)),
        "decoding": len(decoding),
    }

"""What a run would do, before anything is done: which passes over what, which work their filters share, what is stored already.

A plan refuses what a run would refuse, as far as it can be known before anything is read: see `check`.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog.errors import UserError, nearest
from catalog.store import SourceVersion, Store
from curate import pools, prepare, uses
from curate.dedup.find import Dedup
from curate.ingest import find
from curate.recipe import Recipe, StageSpec, rules
from curate.score import missing_items, scope
from filters import base

Resolved = Sequence[tuple[StageSpec, base.Filter | None]]
Shown = Sequence[tuple[StageSpec, base.Filter, base.Filter | None]]
"""Stages with a filter to look at, and the one that a run would use, where it is known."""


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The sources of a run that are there: those that are judged, and frozen ones."""

    members: Sequence[SourceVersion]
    frozen: Sequence[SourceVersion]

    def of(self, spec: StageSpec, flt: base.Filter) -> list[SourceVersion]:
        """Return the sources that a stage looks at, by name."""
        return pools.limited(spec, [*self.members, *(self.frozen if flt.cluster else [])])


def plan(recipe: Recipe, store: Store, *, data: Path) -> dict[str, Any]:
    """Return {recipe, sources, models, stages, steps, passes}. Reads file names and sizes, writes nothing."""
    check(recipe)
    found = {s.name: find(store, s, shard_rows=recipe.shard_rows, data=data) for s in recipe.sources}
    have = {name: v for name, v in found.items() if v is not None}
    models = {m.name: prepare.model_dir(store, m, have) for m in recipe.models if set(m.reads) <= set(have)}
    fitted = {name for name, folder in models.items() if folder.exists()}
    ready = len(have) == len(found)
    resolved: Resolved = (
        prepare.resolve(store, recipe, have, models, build=False) if ready else [(s, None) for s in recipe.stages]
    )
    train = Inputs(
        members=[have[s.name] for s in recipe.members if s.name in have],
        frozen=[have[name] for name in recipe.frozen if name in have],
    )
    return {
        "recipe": recipe.name,
        "sources": [_source(s.name, s.role, found[s.name]) for s in recipe.sources],
        "models": [
            {"model": m.name, "fit": m.fit, "source": m.source, "cached": m.name in fitted} for m in recipe.models
        ],
        "stages": [_stage(store, spec, flt, train, ready=ready) for spec, flt in resolved],
        "steps": _steps(store, recipe, resolved, have, fitted, train, ready=ready),
        "passes": _passes(store, resolved, train, ready=ready),
    }


def check(recipe: Recipe) -> None:
    """Raise `UserError` for what would stop a run later: no evaluation set, a model or file that is not there."""
    known = {m.name for m in recipe.models}
    for stage in recipe.stages:
        flt = _shown(stage, None)
        if flt.build is not None and not (stage.against or recipe.by_role("eval")):
            msg = f"stage `{stage.filter}` needs evaluation sets: no source has role `eval`"
            raise UserError(msg, hint="add a source with `role: eval`, or name one in `against`", usage=True)
        for key, value in stage.params.items():
            if not base.is_path(key) or value is None or (key == "model" and value in known):
                continue
            if not Path(str(value)).exists() and not base.remote_model(str(value)):
                msg = (
                    f"`{key}` of stage `{stage.filter}`: no file, folder or model `{value}`{nearest(str(value), known)}"
                )
                raise UserError(msg, usage=True)
            _known_tag(str(value), f"`{key}` of stage `{stage.filter}`")


def _known_tag(name: str, where: str) -> None:
    """Raise `UserError` for a model of open_clip whose architecture has no weights under that tag."""
    arch, slash, tag = name.partition("/")
    if Path(name).exists() or name.startswith("hf-hub:") or not slash:
        return
    import open_clip  # only to read its list: nothing is fetched

    tags = open_clip.list_pretrained_tags_by_model(arch)
    if tag not in tags:
        msg = f"{where}: open_clip has no weights `{tag}` for `{arch}`{nearest(tag, tags)}"
        raise UserError(msg, usage=True)


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


def _shown(spec: StageSpec, flt: base.Filter | None) -> base.Filter:
    """Return the filter to show: with its real parameters, or, where a model is still to be made, without it."""
    return flt or base.load(spec.filter, {k: v for k, v in spec.params.items() if k != "model"})


def _stage(store: Store, spec: StageSpec, flt: base.Filter | None, train: Inputs, *, ready: bool) -> dict[str, Any]:
    shown = _shown(spec, flt)
    limited = train.of(spec, shown)
    return {
        "stage": spec.filter,
        "fingerprint": flt.fingerprint if flt else None,
        "looks_at": uses.looks_at(shown),
        "does": uses.does(shown),
        "images": shown.needs_images,
        "model": shown.needs_model,
        "bounds": [r.to_json() for r in rules(spec, shown, frozen=[s.name for s in train.frozen])],
        "samples": sum(s.samples for s in limited) if ready else None,
        "shards": sum(s.shards for s in limited) if ready else None,
        "cached": (_cached(store, flt, limited) if flt else 0) if ready else None,
    }


def _cached(store: Store, flt: base.Filter, sources: Sequence[SourceVersion]) -> int:
    _, cached = missing_items(
        store, [(s.name, s.digest, s.shards) for s in sources], [(flt, tuple(s.name for s in sources))]
    )
    return cached


# -- steps -------------------------------------------------------------------------------------------------------------


def _steps(
    store: Store,
    recipe: Recipe,
    resolved: Resolved,
    have: Mapping[str, SourceVersion],
    fitted: set[str],
    train: Inputs,
    *,
    ready: bool,
) -> list[dict[str, Any]]:
    """Return the steps of a run in order: what each goes over, how much of it is stored, and what its filters share.

    `cached` is None where it cannot be known yet.
    """
    shown = [(spec, _shown(spec, flt), flt) for spec, flt in resolved]
    pooling = [(spec, f, real) for spec, f, real in shown if f.pooled]
    clustering = [(spec, f, real) for spec, f, real in shown if f.cluster is not None]
    indexing = [(spec, f, real) for spec, f, real in shown if f.build is not None]
    out = [
        _step("ingest", "sources", [s.name for s in recipe.sources], len(have)),
        _step("fit", "models", [m.name for m in recipe.models], len(fitted)),
        _step(
            "index",
            "filters",
            [f.name for _, f, _ in indexing],
            sum(r is not None for _, _, r in indexing) if ready else None,
        ),
        _score_step(store, shown, train, ready=ready),
        _step(
            "pool",
            "filters",
            [f.name for _, f, _ in pooling],
            _done(pooling, lambda s, f: _is_pooled(store, s, f, train), ready=ready),
        ),
        _step(
            "cluster",
            "filters",
            [f.name for _, f, _ in clustering],
            _done(clustering, lambda s, f: _dedup(store, s, f, shown, train).path.exists(), ready=ready),
        ),
    ]
    judged = [r.key for spec, f, _ in shown for r in rules(spec, f)]
    return [*out, _step("judge", "rules", judged, None)]


def _step(name: str, unit: str, names: list[str], cached: int | None) -> dict[str, Any]:
    return {"step": name, "unit": unit, "names": names, "items": len(names), "cached": cached, "shares": []}


def _done(stages: Shown, there: Any, *, ready: bool) -> int | None:
    """Return for how many stages the files of a step are there; None where a filter is not known yet."""
    if not ready or any(real is None for _, _, real in stages):
        return None
    return sum(bool(there(spec, real)) for spec, _, real in stages)


def _is_pooled(store: Store, spec: StageSpec, flt: base.Filter, train: Inputs) -> bool:
    where = pools.folder(store, flt, spec, train.members)
    return all(pools.path(where, s, n).exists() for s in train.of(spec, flt) for n in range(s.shards))


def _dedup(store: Store, spec: StageSpec, flt: base.Filter, shown: Shown, train: Inputs) -> Dedup:
    stages = {f.name: (s, real or f) for s, f, real in shown}
    return Dedup(store=store, stage=spec, flt=flt, stages=stages, members=train.members, frozen=train.frozen)


def _score_step(
    store: Store,
    shown: Shown,
    train: Inputs,
    *,
    ready: bool,
) -> dict[str, Any]:
    """Return the scoring: in one pass every shard is read once, and what several filters need of it is made once."""
    names = [f.name for _, f, _ in shown]
    out = _step("score", "score files", names, None)
    out["shares"] = shares([(f, str(spec.params.get("model") or "")) for spec, f, _ in shown])
    if ready:
        limited = [(train.of(spec, f), real) for spec, f, real in shown]
        out["items"] = sum(s.shards for sources, _ in limited for s in sources)
        out["cached"] = sum(_cached(store, real, sources) for sources, real in limited if real is not None)
    return out


def shares(stages: Sequence[tuple[base.Filter, str]]) -> list[dict[str, Any]]:
    """Return what is done once per batch for several filters: decoding, planes, work on texts and boxes, one model's load."""
    users: dict[str, list[str]] = defaultdict(list)
    for flt, model in stages:
        if flt.needs_images:
            users["decoding"].append(flt.name)
        if flt.measures:
            users["planes of pictures"].append(flt.name)
        for work in sorted(uses.uses(flt).shared):
            users[work].append(flt.name)
        if model:
            users[f"model {model}"].append(flt.name)
    ordered = sorted(users.items(), key=lambda u: (u[0] != "decoding", -len(u[1]), u[0]))
    return [
        {"work": _short(work), "in": work.removesuffix(_short(work)).rstrip("."), "filters": names}
        for work, names in ordered
        if len(names) > 1
    ]


def _short(work: str) -> str:
    """Return the name of a function without its module; a model's path as it is."""
    return work.rpartition(".")[2] if work.startswith("filters.") else work


def _passes(store: Store, resolved: Resolved, train: Inputs, *, ready: bool) -> dict[str, Any]:
    """Return what the fused scoring pass has left: shards to read, samples in them, and how many decode images."""
    known = [(st, f) for st, f in resolved if f is not None]
    if not ready or len(known) < len(resolved):
        return {"shards": None, "samples": None, "decoding": None}
    items, _ = missing_items(store, *scope(known, train.members, train.frozen))
    per_shard = {s.name: s.samples / max(s.shards, 1) for s in [*train.members, *train.frozen]}
    decoding = [i for i in items if any(known[k][1].needs_images for k in i.missing)]
    return {
        "shards": len(items),
        "samples": round(sum(per_shard[i.source] for i in items)),
        "decoding": len(decoding),
    }

"""The run of a recipe: ingest, fit, score, cluster, judge, write a dataset version.

Every step commits what it made under a name that follows from its inputs, so that the same command, after a kill or a
change of bounds, does only what is missing. The last step renames a finished folder into place.
"""

import datetime
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog.files import alone
from catalog.store import DatasetVersion, SourceVersion, Store
from curate import prepare
from curate.chunks import Bound
from curate.decide import decide
from curate.engines.base import SHARE, Engine
from curate.ingest import ingest
from curate.prepare import Progress
from curate.recipe import Recipe
from curate.score import ScoreTask, missing_items, portable, scope, share_earlier


@dataclass(frozen=True, kw_only=True)
class Result:
    """A dataset version and what making it took: nothing of `work` is part of its identity."""

    dataset: DatasetVersion
    work: Mapping[str, int]  # score files written, score files found, samples scored, milliseconds of judging


def run(
    recipe: Recipe, store: Store, *, engine: Engine, data: Path, progress: Progress, gpu_share: float = SHARE
) -> Result:
    """Run the recipe and return its dataset version; raise `UserError` when the books do not balance.

    `gpu_share` is the share of a GPU that each worker takes where a filter runs a network and there is a GPU.
    """
    started = time.monotonic()
    sources = ingest_all(recipe, store, engine=engine, data=data, progress=progress)
    models = prepare.fit_models(store, recipe, sources, progress)
    stages = [(s, f) for s, f in prepare.resolve(store, recipe, sources, models, build=True, progress=progress) if f]
    train = [sources[s.name] for s in recipe.members]
    frozen = [sources[name] for name in recipe.frozen]
    work = score(store, stages, train, frozen, engine=engine, progress=progress, gpu_share=gpu_share)
    judging = time.monotonic()
    with alone(store.root / "datasets" / recipe.name):  # two runs of one recipe would write into one folder
        dataset = decide(
            recipe, store, stages, sources, engine=engine, progress=progress, volatile=_volatile(engine, started)
        )
    return Result(dataset=dataset, work=work | {"judge_ms": round(1000 * (time.monotonic() - judging))})


def _volatile(engine: Engine, started: float) -> dict[str, Any]:
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")
    return {"created_at": now, "engine": engine.name, "workers": engine.workers, "started": started}


def ingest_all(
    recipe: Recipe, store: Store, *, engine: Engine, data: Path, progress: Progress
) -> dict[str, SourceVersion]:
    """Ingest every source of the recipe that is not there yet; return them by name."""
    out = {}
    for spec in recipe.sources:

        def step(done: int, total: int, name: str = spec.name) -> None:
            progress(f"ingest {name}", done, total)

        with alone(store.root / "sources" / spec.name):  # whoever comes second to the same input finds it read
            out[spec.name] = ingest(store, spec, engine=engine, shard_rows=recipe.shard_rows, data=data, progress=step)
    return out


def score(
    store: Store,
    stages: Sequence[Bound],
    sources: Sequence[SourceVersion],
    frozen: Sequence[SourceVersion] = (),
    *,
    engine: Engine,
    progress: Progress,
    gpu_share: float = SHARE,
) -> dict[str, int]:
    """Score what is not scored yet, one fused task per shard."""
    looked_at, filters = scope(stages, sources, frozen)
    share_earlier(store, [*sources, *frozen], filters)
    items, cached = missing_items(store, looked_at, filters)
    task = ScoreTask(root=str(store.root.absolute()), filters=tuple(portable(f.name, f.params) for _, f in stages))
    written = samples = 0
    sizes = {s.name: s.samples for s in [*sources, *frozen]}
    progress("score", 0, len(items))
    gpu = gpu_share if any(f.needs_model for _, f in stages) else False
    # Big sources first: a long task that starts last keeps one worker busy alone.
    order = sorted(items, key=lambda i: (-sizes[i.source], i.source, i.shard))
    for number, done in enumerate(engine.map(task, order, gpu=gpu), 1):
        written, samples = written + done.files, samples + done.samples
        progress("score", number, len(items))
    return {"score_files_written": written, "score_files_cached": cached, "samples_scored": samples}

"""Clusters of duplicates among all samples that a stage looks at; made once per filter, set of sources and preference.

A filter with `keys` and `alike` works out of core, step by step, each one a task per run of shards or per part:

    keys -> shuffle -> groups -> signatures of what shares a key -> edges -> components -> stars

In memory stand a byte per sample, the edges, and the ids of samples that have a duplicate. Every step leaves its files in a
scratch folder, so that a run that was killed goes on where it was. A filter with `cluster` alone gets all its signatures
at once, in one worker.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from catalog.digests import fingerprint
from catalog.files import alone, atomic, read_json, remove, sweep, write_json
from catalog.judge import FROZEN
from catalog.shards import read_table, write_table
from catalog.store import SHORT, SourceVersion, Store
from curate import pools
from curate.dedup import criteria, prefer, tasks
from curate.dedup.tasks import FOUND as FOUND
from curate.dedup.tasks import Array, Run, Work
from curate.engines.base import Engine
from curate.recipe import StageSpec
from curate.score import portable
from filters import base
from filters.shared import pairs

RULES = 1  # raise it when the same signatures would give other clusters
READ = 100_000  # samples of a run of shards
PART = 400_000  # samples for each part: 14 bands make 5.6 million keys of 20 bytes
STAR = 100_000  # members of the components that one task cuts
Stages = Mapping[str, tuple[StageSpec, base.Filter]]
Step = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Dedup:
    """One deduplicating stage on the sources of a run."""

    store: Store
    stage: StageSpec
    flt: base.Filter
    stages: Stages  # all of the recipe, by filter
    members: Sequence[SourceVersion]
    frozen: Sequence[
        SourceVersion
    ] = ()  # looked at too; what is in them stays, and is in no dataset version of this recipe

    @property
    def sources(self) -> list[SourceVersion]:
        """The sources that it looks at, by name: frozen ones among them."""
        return pools.limited(self.stage, [*self.members, *self.frozen])

    @property
    def criteria(self) -> tuple[str, ...]:
        """By what it prefers, in order."""
        frozen = {s.name for s in self.frozen} & {s.name for s in self.sources}
        return criteria.names(self.stage.prefer, frozen=bool(frozen), order=self.flt.keys is None)

    @property
    def path(self) -> Path:
        """The file of the clusters: named by the filter, by everything that was looked at, and by what is preferred."""
        frozen = {s.name for s in self.frozen}
        scope = {
            "sources": sorted([s.name, s.digest, s.name in frozen] for s in self.sources),
            "tasks": sorted(self.stage.tasks),
            "prefer": list(self.criteria),
            "scores": [self._origin(name) for name in sorted(criteria.stages_of(self.stage.prefer))],
            "rules": RULES,
        }
        folder = self.store.root / "clusters" / f"{self.flt.name}@{self.flt.fingerprint}"
        return folder / f"{fingerprint(scope)[:SHORT]}.parquet"

    def _origin(self, name: str) -> list[object]:
        """Return what decides about the preferred scores of a stage: where it is limited they are null, and pooled ones follow
        from all samples that were pooled."""
        spec, flt = self.stages[name]
        origin: list[object] = [flt.fingerprint, sorted(spec.sources)]
        pooled = [[s.name, s.digest] for s in pools.limited(spec, self.members)]
        return [*origin, pooled, sorted(spec.tasks)] if flt.pooled else origin

    def clusters(self) -> pl.DataFrame:
        """Return (id, cluster, similarity, <criteria>) of every sample that has a duplicate, dropped or not.

        A cluster is named by its smallest id. Similarity is that to the most preferred member. Who survives is decided
        later, by `catalog.judge.keepers`.
        """
        return pl.DataFrame(pl.from_arrow(read_table(self.path)))

    def find(self, *, engine: Engine, progress: Step) -> None:
        """Write the clusters, if they are not there yet."""
        scratch = self.path.with_suffix(".work")
        if self.path.exists() and not scratch.exists():
            return
        with alone(self.path.parent):
            for left in self.path.parent.glob("*.work"):  # of runs that were killed and never came back
                if left != scratch or self.path.exists():
                    remove(left)
            if self.path.exists():  # another run has made it meanwhile
                return
            sweep(self.path.parent)
            runs = _runs(self.sources)
            total = sum(len(r.shards) * r.shard_rows for r in runs)
            work = Work(
                root=str(self.store.root.absolute()),
                filter=portable(self.flt.name, self.flt.params),
                tasks=self.stage.tasks,
                folder=str(scratch.absolute()),
                bits=max(0, (max(total, 1) // PART).bit_length()),
            )
            _begin(scratch, [*map(repr, runs), work.bits, STAR])
            places = _Places(dedup=self, runs=runs)
            if self.flt.keys is None or self.flt.alike is None:
                if places.asked:
                    places.save_preference(work, total)
                (done,) = engine.map(tasks.Whole(work=work), [tuple(runs)])
                found = places.named(read_table(Path(done)))
            else:
                found = _found(work, runs, total, engine, progress, places)
            write_table(self.path, canonical(found, self.criteria))
            remove(scratch)


def canonical(found: pl.DataFrame, criteria: Sequence[str] = ()) -> pa.Table:
    """Return clusters of two or more, named by their smallest id, sorted by cluster and id; none of frozen samples alone."""
    frame = found.with_columns(pl.col("id").min().over("cluster").alias("cluster"))
    if FROZEN in criteria:
        frame = frame.filter((pl.col(FROZEN) == 0).any().over("cluster"))
    frame = frame.filter(pl.len().over("cluster") > 1).sort("cluster", "id").select(*FOUND.names, *criteria)
    return frame.to_arrow().cast(pa.schema([*FOUND, *((c, pa.float64()) for c in criteria)]))


def _begin(scratch: Path, layout: Sequence[object]) -> None:
    """Make the scratch folder, or keep it where what is in it was numbered and cut as it would be now."""
    stamp = scratch / "layout.json"
    told = fingerprint({"layout": list(map(str, layout))})
    if scratch.exists() and (not stamp.exists() or read_json(stamp) != told):
        remove(scratch)
    write_json(stamp, told)


def _runs(sources: Sequence[SourceVersion]) -> list[Run]:
    out, base_ = [], 0
    for s in sources:
        per = max(1, READ // s.shard_rows)
        for first in range(0, s.shards, per):
            shards = range(first, min(first + per, s.shards))
            out.append(Run(source=s.name, digest=s.digest, shards=shards, shard_rows=s.shard_rows, base=base_))
            base_ += len(shards) * s.shard_rows
    return out


def _found(
    work: Work, runs: Sequence[Run], total: int, engine: Engine, progress: Step, places: "_Places"
) -> pl.DataFrame:
    steps = 5
    folder = Path(work.folder)
    parts = sorted(
        engine.shuffle(tasks.Keys(work=work), runs, tasks.Group(work=work), scratch=folder / "keys")
        if not (folder / tasks.MARKS).exists()
        else (int(p.stem) for p in (folder / "groups").glob("[0-9]*.npz"))
    )
    progress(1, steps)
    if not (folder / tasks.MARKS).exists():
        _mark(work, parts, total)
        remove(folder / "keys")
    missing = [r for r in runs if not work.path("extract", r.base, "arrow").exists()]
    for _ in engine.map(tasks.Extract(work=work), missing):
        pass
    progress(2, steps)
    for _ in engine.map(tasks.Compare(work=work), [p for p in parts if not work.path("edges", p, "npz").exists()]):
        pass
    progress(3, steps)
    edges = [np.empty((0, 2), np.int64)]
    for part in parts:
        with np.load(work.path("edges", part, "npz")) as f:
            edges.append(f["edges"])
    every = np.concatenate(edges)
    rows, component = pairs.components(every[:, 0], every[:, 1])
    members = places.look_up(rows).with_columns(pl.Series("component", component), pl.Series("row", rows))
    del every, edges
    members = _preferred_first(members, places.dedup.criteria)
    progress(4, steps)
    return _stars(work, members, engine).select("id", "cluster", "similarity", *places.dedup.criteria)


def _mark(work: Work, parts: Sequence[int], total: int) -> None:
    """Write which samples share a key with another one: a byte each, mapped into memory by those who ask."""
    marks = np.zeros(total, bool)
    for part in parts:
        with np.load(work.path("groups", part, "npz")) as f:
            marks[f["rows"]] = True
    with atomic(Path(work.folder) / tasks.MARKS) as out:
        out.write(marks.data)  # not `np.save`: of a full disk it only says that it wrote less than it should


def _preferred_first(members: pl.DataFrame, criteria: Sequence[str]) -> pl.DataFrame:
    """Sort the members of components: those of one together, most preferred first, ties by id."""
    return members.sort(
        ["component", *(pl.col(c).fill_nan(None) for c in criteria), "id"],
        descending=[False, *[True] * len(criteria), False],
        nulls_last=True,
    )


def _stars(work: Work, members: pl.DataFrame, engine: Engine) -> pl.DataFrame:
    """Cut components into stars, some at a time; a cluster is named by its centre for now."""
    rows, component = members["row"].to_numpy(), members["component"].to_numpy()
    begins = np.append(np.flatnonzero(np.diff(component, prepend=-1)), len(rows))
    items: list[tasks.Part] = []
    at = 0
    while at < len(begins) - 1:
        end = max(at + 1, int(np.searchsorted(begins, begins[at] + STAR, side="right")) - 1)
        span = slice(int(begins[at]), int(begins[end]))
        items.append(tasks.Part(number=len(items), rows=rows[span], first=begins[at : end + 1] - begins[at]))
        at = end
    for _ in engine.map(tasks.Cut(work=work), [i for i in items if not work.path("stars", i.number, "npz").exists()]):
        pass
    centre, share, begin = [np.empty(0, np.int64)], [np.empty(0)], 0
    for item in items:
        with np.load(work.path("stars", item.number, "npz")) as f:
            centre.append(f["centre"] + begin)
            share.append(f["share"])
        begin += len(item.rows)
    name = members["id"].gather(np.concatenate(centre))
    return members.with_columns(
        name.alias("cluster"), pl.Series("similarity", np.round(np.concatenate(share), 6), dtype=pl.Float64)
    )


@dataclass(frozen=True, kw_only=True)
class _Places:
    """From row numbers back to samples."""

    dedup: Dedup
    runs: Sequence[Run]

    @property
    def asked(self) -> list[str]:
        """The criteria that are known before the filter finds anything."""
        return [c for c in self.dedup.criteria if c != criteria.ORDER]

    def save_preference(self, work: Work, total: int) -> None:
        """Write how much each sample is preferred, by its row number: float64, higher is better, equal where criteria are."""
        known = pl.concat(
            [pl.DataFrame([pl.Series("row", rows), *self._values(s, n)]) for s, n, rows in self._shards()]
        )
        ranked = _preferred_first(known.with_columns(pl.lit("").alias("id"), pl.lit(0).alias("component")), self.asked)
        value = [pl.col(c).fill_nan(None) for c in self.asked]
        fresh = pl.any_horizontal(v.ne_missing(v.shift()) for v in value)
        rank = ranked.select("row", fresh.cum_sum().alias("rank"))
        preference = np.zeros(total)
        preference[rank["row"].to_numpy()] = -rank["rank"].to_numpy().astype(np.float64)
        with atomic(Path(work.folder) / "preference") as out:
            out.write(preference.data)

    def look_up(self, rows: Array) -> pl.DataFrame:
        """Return (id, <criteria that are asked for>) of row numbers (ascending), aligned with them."""
        parts = [pl.DataFrame(schema={"id": pl.String, **dict.fromkeys(self.asked, pl.Float64)})]
        for source, shard, numbers in self._shards(rows):
            at = rows[np.searchsorted(rows, numbers[0]) : np.searchsorted(rows, numbers[-1] + 1)] - numbers[0]
            ids = pl.Series("id", self.dedup.store.samples(source, shard, ["id"])["id"].cast(pa.string()))
            parts.append(pl.DataFrame([c.gather(at) for c in (ids, *self._values(source, shard))]))
        return pl.concat(parts)

    def _shards(self, rows: Array | None = None) -> Iterator[tuple[SourceVersion, int, Array]]:
        """Yield (source, shard, row numbers of its samples) of the shards that have samples, or some of `rows` (ascending)."""
        versions = {s.name: s for s in self.dedup.sources}
        for run in self.runs:
            for shard in run.shards:
                first = run.base + (shard - run.shards.start) * run.shard_rows
                if rows is None or np.searchsorted(rows, first) < np.searchsorted(rows, first + run.shard_rows):
                    samples = self.dedup.store.samples(versions[run.source], shard, ["id"]).num_rows
                    if samples:
                        yield versions[run.source], shard, first + np.arange(samples)

    def _values(self, source: SourceVersion, shard: int) -> list[pl.Series]:
        job = self.dedup
        values = prefer.Values(
            store=job.store, stages=job.stages, members=job.members, frozen=frozenset(s.name for s in job.frozen)
        )
        return [values.of(source, shard, c).alias(c) for c in self.asked]

    def named(self, found: pa.Table) -> pl.DataFrame:
        """Return (id, cluster, similarity, <criteria>) of what a filter's own `cluster` found: (id, row, cluster, similarity,
        order)."""
        frame = pl.DataFrame(pl.from_arrow(found)).sort("row")
        return pl.concat([frame.drop("row"), self.look_up(frame["row"].to_numpy()).drop("id")], how="horizontal")

"""The last step of a run: stored scores and bounds in, a dataset version with its ledger out.

Memory holds one chunk of the ledger (50,000 samples), the clusters, the cutoffs of fractions, and a byte a sample. Where
an earlier version differs in bounds alone, its ledger is judged again instead: no score file is opened, and the files of
unchanged rules are shared.
"""

import functools
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl

from catalog import ledger
from catalog.digests import columns_digest, json_digest
from catalog.errors import UserError
from catalog.files import publish, remove, share, sweep
from catalog.judge import Cutoff, Rule, cutoffs, judge, judge_cluster, keepers
from catalog.schema import CLUSTER
from catalog.shards import write_table
from catalog.store import DatasetVersion, SourceVersion, Store
from curate import contamination, pools
from curate.chunks import Bound, Chunk, Past, Scores, identity
from curate.engines.base import Engine
from curate.prepare import Progress
from curate.recipe import Recipe, StageSpec, rules
from filters import base

T = TypeVar("T")
R = TypeVar("R")
# Chunks that are judged at once: polars and pyarrow let go of the interpreter. More would hold more in memory.
THREADS = 2


def decide(
    recipe: Recipe,
    store: Store,
    stages: Sequence[Bound],
    sources: Mapping[str, SourceVersion],
    *,
    engine: Engine,
    progress: Progress,
    volatile: Mapping[str, Any],
) -> DatasetVersion:
    """Judge and write the dataset version: the same bytes from stored scores as from an earlier version's ledger."""
    train = [sources[s.name] for s in recipe.members]
    frozen = [sources[name] for name in recipe.frozen]
    every = [rule for stage, flt in stages for rule in rules(stage, flt, frozen=recipe.frozen)]
    ordered = [r for r in every if not r.cluster] + [r for r in every if r.cluster]
    named = {flt.name: (stage, flt) for stage, flt in stages}
    cut = {s.name: s.shard_rows for s in train}
    same_inputs = identity(_stages(stages, frozen), [(s.name, s.digest) for s in train])
    past = Past.of(store, recipe.name, same_inputs, ordered, named, cut)
    scores = Scores(store=store, stages=named, sources=train, frozen=frozen)
    if past is None:
        pooling = [(stage, flt) for stage, flt in stages if flt.pooled]
        for number, (stage, flt) in enumerate(pooling, 1):
            pools.pool(store, flt, stage, train)
            progress("pool", number, len(pooling))
        for _, flt in stages:
            if flt.cluster:
                scores.dedup(flt.name).find(engine=engine, progress=functools.partial(progress, f"cluster {flt.name}"))
    book: Past | Scores = past or scores
    same = past.same if past else frozenset[str]()
    cuts = {r.key: cutoffs(_pool(book, r), r) for r in ordered if r.top is not None and r.key not in same}
    work = store.root / "datasets" / recipe.name / ".work"
    remove(work)  # a killed run's half: judging takes seconds, so it starts afresh
    sweep(store.root / "datasets" / recipe.name)
    out = _Ledger(work, ordered, past, total=sum(s.samples for s in train), progress=progress)
    with ThreadPoolExecutor(THREADS) as pool:
        chunks: Iterator[Chunk] = book.chunks()
        judged = ahead(pool, lambda chunk: out.judge(chunk, cuts), chunks)
        alive = [out.take(chunk, "judge").alive for chunk in judged]
        places = list(out.places)
        written = ledger.Chunks(folder=work, places=places)
        ranked = _settle_clusters(book, written, alive, ordered, work, progress)
        out.done = 0
        last = ahead(pool, lambda n: out.keep(written, n, alive[n], ranked), range(len(places)))
        content = [pl.DataFrame(schema=_CONTENT), *(out.take(chunk, "keep").kept for chunk in last)]
    ledger.save_columns(work, out.digest, cut)
    rows = pl.concat(content)
    counted = dict(rows.group_by("source").len().iter_rows())
    kept = {s.name: int(counted.get(s.name, 0)) for s in train}
    found = contamination.certificates(recipe, store, stages, sources)
    dataset = _record(recipe, stages, ordered, sources, kept, out.digest.hexdigest(), rows, found, volatile)
    store.save_dataset(dataset, work)
    target = store.dataset_dir(dataset.name, dataset.version)
    if target.exists() and not ledger.whole(store, dataset, cut):
        remove(target)  # a ledger that was damaged, or that an earlier Cuvee laid out: this one is the same and whole
    publish(work, target)
    return store.dataset(f"{dataset.name}@{dataset.digest}")


_NOBODY = pl.DataFrame(schema={"id": pl.String, "rank": pl.Int32, "keeper": pl.String})
_CONTENT = {"source": pl.String, "id": pl.String, "digest": pl.String}


@dataclass(frozen=True, kw_only=True)
class _Part:
    """What came of one chunk."""

    source: str
    number: int
    ids: pl.Series
    alive: np.ndarray  # bool, per sample: the one byte that stays in memory
    verdicts: Mapping[str, pl.DataFrame]  # by rule key, of the rules that were judged now
    kept: pl.DataFrame  # source, id, digest


class _Ledger:
    """The ledger that is being written: bounds first, then clusters among the living, and what is kept."""

    def __init__(self, work: Path, rules: Sequence[Rule], past: Past | None, *, total: int, progress: Progress) -> None:
        self._work, self._rules, self._past = work, rules, past
        self._total, self._progress = total, progress
        self.places: list[tuple[str, int]] = []
        self.digest = ledger.Digest(rules)
        self.done = 0
        for source, columns in (ledger.load_columns(past.book.folder) if past else {}).items():
            for key in past.same & set(columns) if past else ():
                self.digest.known(source, key, columns[key])

    def judge(self, chunk: Chunk, cuts: Mapping[str, Mapping[str, Cutoff]]) -> _Part:
        """Write a chunk's heads and what the bounds say of it."""
        alive, new = np.ones(chunk.size, bool), {}
        heads = ledger.heads_path(self._work, chunk.source, chunk.number)
        if self._past:
            share(ledger.heads_path(self._past.book.folder, chunk.source, chunk.number), heads)
        else:
            ledger.write_heads(heads, chunk.heads)
        bounds = [r for r in self._rules if not r.cluster]
        ids = chunk.heads["id"] if any(not (self._past and r.key in self._past.same) for r in bounds) else pl.Series()
        names = ledger.strings(ids.cast(pl.String))
        for rule in bounds:
            target = ledger.verdicts_path(self._work, chunk.source, chunk.number, rule)
            if self._past and rule.key in self._past.same:
                share(self._past.file(chunk, rule), target)
                keep = self._past.book.verdicts(chunk.source, chunk.number, rule, ["keep"])["keep"].to_numpy()
            else:
                new[rule.key] = verdict = judge(chunk.value(rule), rule, cuts.get(rule.key))
                ledger.write_verdicts(target, names, rule, verdict)
                keep = verdict["keep"].to_numpy()
            alive &= keep
        return _Part(
            source=chunk.source, number=chunk.number, ids=ids, alive=alive, verdicts=new,
            kept=pl.DataFrame(schema=_CONTENT),
        )  # fmt: skip

    def keep(
        self,
        written: ledger.Chunks,
        chunk: int,
        alive: np.ndarray,
        ranked: Mapping[str, Mapping[int, pl.DataFrame]],
    ) -> _Part:
        """Write what the cluster rules say of a chunk (the n-th of all), and its kept rows."""
        source, number = written.places[chunk]
        heads = written.heads(source, number)
        alive, new = alive.copy(), {}
        names = ledger.strings(heads["id"])
        for rule in self._rules:
            if rule.cluster:
                members = ranked[rule.key].get(chunk, _NOBODY)
                new[rule.key] = verdict = judge_cluster(heads, members)
                ledger.write_verdicts(ledger.verdicts_path(self._work, source, number, rule), names, rule, verdict)
                keep = verdict["keep"].to_numpy()
                alive &= keep
        rows = heads.filter(pl.Series(alive))
        ledger.write_kept(self._work / "kept" / source / ledger.chunk_name(number), rows)
        return _Part(
            source=source, number=number, ids=heads["id"], alive=alive, verdicts=new,
            kept=rows.select(list(_CONTENT)),
        )  # fmt: skip

    def take(self, part: _Part, what: str) -> _Part:
        """Count a chunk, in order: the ledger's digest depends on it."""
        if part.verdicts:
            self.digest.add(part.source, part.ids, part.verdicts)
        if what == "judge":
            self.places.append((part.source, part.number))
        self.done += len(part.alive)
        self._progress(what, self.done, self._total)
        return part


def ahead(pool: ThreadPoolExecutor, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """Yield `work(item)` in order, a few items ahead of who takes them: never all of them in memory."""
    waiting: deque[Future[R]] = deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) > THREADS:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _pool(book: Past | Scores, rule: Rule) -> pl.DataFrame:
    return pl.concat([c.value(rule) for c in book.chunks([rule.stage])])


def _settle_clusters(
    book: Past | Scores,
    written: ledger.Chunks,
    alive: Sequence[np.ndarray],
    ordered: Sequence[Rule],
    work: Path,
    progress: Progress,
) -> dict[str, dict[int, pl.DataFrame]]:
    """Decide every cluster rule in order, among the samples still alive, and write the cluster tables.

    Returns per cluster rule and chunk (by its place among all) id, rank and keeper of the members of clusters in it.
    """
    cluster_rules = [r for r in ordered if r.cluster]
    found = {rule.key: book.clusters(rule) for rule in cluster_rules}
    members = pl.concat([pl.Series("id", [], dtype=pl.String), *(f["id"] for f in found.values())]).unique()
    state = _states(written, alive, members)
    out: dict[str, dict[int, pl.DataFrame]] = {}
    for number, rule in enumerate(cluster_rules, 1):
        table = found[rule.key].join(state, on="id", how="left")
        ranking = keepers(table, rule)
        losers = ranking.filter(pl.col("rank") > 0)["id"]
        state = state.with_columns((pl.col("alive") & ~pl.col("id").is_in(losers.implode())).alias("alive"))
        full = ranking.join(table.select("id", "chunk", *rule.prefer), on="id", how="left", maintain_order="left")
        write_table(work / "clusters" / f"{rule.stage}.parquet", full.select([*CLUSTER.names, *rule.prefer]).to_arrow())
        mine = full.filter(pl.col("chunk").is_not_null())  # a frozen sample is in no chunk
        parts = mine.select("chunk", *_NOBODY.columns).partition_by("chunk", as_dict=True, include_key=False)
        out[rule.key] = {int(str(chunk)): part for (chunk,), part in parts.items()}
        progress("settle", number, len(cluster_rules))
    return out


def _states(written: ledger.Chunks, alive: Sequence[np.ndarray], members: pl.Series) -> pl.DataFrame:
    """Return (id, chunk, alive) of the samples that are in a cluster, after all bounds."""
    empty = pl.DataFrame(schema={"id": pl.String, "chunk": pl.Int64, "alive": pl.Boolean})
    # Looked up by hash first: a table of all members for each chunk is dear.
    hashes = np.sort(members.hash().to_numpy())

    def mine(n: int) -> pl.DataFrame:
        frame = written.heads(*written.places[n], ["id"])
        frame = frame.with_columns(pl.lit(n, pl.Int64).alias("chunk"), pl.Series("alive", alive[n]))
        own = frame["id"].hash().to_numpy()
        near = hashes[np.minimum(np.searchsorted(hashes, own), len(hashes) - 1)] == own
        return frame.filter(pl.Series(near))

    with ThreadPoolExecutor(THREADS) as pool:
        parts = [empty, *ahead(pool, mine, range(len(written.places) if len(members) else 0))]
    return pl.concat(parts).join(members.to_frame("id"), on="id", how="semi")


def _record(
    recipe: Recipe,
    stages: Sequence[Bound],
    ordered: Sequence[Rule],
    sources: Mapping[str, SourceVersion],
    kept: Mapping[str, int],
    ledger_digest: str,
    content: pl.DataFrame,
    certificates: Sequence[Mapping[str, Any]],
    volatile: Mapping[str, Any],
) -> DatasetVersion:
    train = [sources[s.name] for s in recipe.members]
    rows, samples = sum(s.rows for s in train), sum(s.samples for s in train)
    counts = {
        "rows": rows,
        "rejected": sum(s.rejects for s in train),
        "dropped": samples - sum(kept.values()),
        "kept": sum(kept.values()),
    }
    if rows != counts["rejected"] + counts["dropped"] + counts["kept"] or content.height != counts["kept"]:
        msg = f"the books do not balance: {counts}, {content.height} kept rows; nothing was written"
        raise UserError(msg, hint="this is a bug in cuvee: please report it with the recipe")
    fields: dict[str, Any] = {
        "name": recipe.name,
        "recipe": {
            "stages": _stages(stages, [sources[name] for name in recipe.frozen]),
            "rules": [r.to_json() for r in ordered],
        },
        "sources": tuple(
            {
                "name": s.name,
                "digest": s.digest,
                "samples": s.samples,
                "rejects": s.rejects,
                "kept": kept[s.name],
                "license": s.license,
            }
            for s in sorted(train, key=lambda s: s.name)
        ),
        "counts": counts,
        "ledger": ledger_digest,
        "content": columns_digest(content["id"].to_arrow(), content["digest"].to_arrow()),
        "decontamination": tuple(certificates),
    }
    seconds = round(time.monotonic() - volatile["started"], 3)
    extra = {k: v for k, v in volatile.items() if k != "started"} | {"seconds": seconds}
    return DatasetVersion(**fields, digest=json_digest(fields), volatile=extra)


def _stages(stages: Sequence[Bound], frozen: Sequence[SourceVersion]) -> list[dict[str, Any]]:
    out = []
    for st, f in stages:
        entry = {"filter": f.name, "version": f.version, "fingerprint": f.fingerprint, "params": _params(st)}
        looked_at = [[s.name, s.digest] for s in frozen if f.cluster and (not st.sources or s.name in st.sources)]
        # A stage without bounds has no rule that says so, but its scores may be preferred, and are null where it does not look.
        limits = {k: sorted(v) for k, v in (("sources", st.sources), ("tasks", st.tasks)) if v}
        out.append(entry | limits | ({"frozen": looked_at} if looked_at else {}))
    return out


def _params(stage: StageSpec) -> dict[str, Any]:
    """Return the parameters as written, without the paths of models and indexes: those are in the fingerprint."""
    return {k: base.plain(v) for k, v in stage.params.items() if not base.is_path(k)}

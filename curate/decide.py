"""The last step of a run: stored scores and bounds in, a dataset version with its ledger out.
Memory holds one chunk of the ledger (50,000 samples), the clusters, and the cutoffs of fractions.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from catalog import ledger
from catalog.digests import content_digest, json_digest
from catalog.errors import UserError
from catalog.files import publish, remove, sweep
from catalog.judge import Cutoff, Rule, cutoffs, judge, judge_cluster, keepers
from catalog.schema import CLUSTER
from catalog.shards import read_table, write_table
from catalog.store import DatasetVersion, SourceVersion, Store
from curate import clusters, pools, prepare
from curate.prepare import Progress
from curate.recipe import Recipe, StageSpec, rules
from filters import base

Bound = tuple[StageSpec, base.Filter]
"""A stage with its filter, model and index bound."""


@dataclass(frozen=True, kw_only=True)
class _Chunk:
    """Up to 50,000 consecutive samples of one source, with their scores: the unit of the ledger on disk."""

    source: SourceVersion
    number: int
    heads: pl.DataFrame  # id, digest, source, task, shard, row
    scores: Mapping[str, pl.DataFrame]  # by stage


def decide(
    recipe: Recipe,
    store: Store,
    stages: Sequence[Bound],
    sources: Mapping[str, SourceVersion],
    *,
    progress: Progress,
    volatile: Mapping[str, Any],
) -> DatasetVersion:
    """Judge stored scores and write the dataset version; memory holds one chunk, the clusters and the cutoffs."""
    train = [sources[s.name] for s in recipe.members]
    every = [rule for stage, flt in stages for rule in rules(stage, flt)]
    ordered = [r for r in every if not r.cluster] + [r for r in every if r.cluster]
    filters = {flt.name: (stage, flt) for stage, flt in stages}
    pooling = [(stage, flt) for stage, flt in stages if flt.pooled]
    for number, (stage, flt) in enumerate(pooling, 1):
        pools.pool(store, flt, stage, train)
        progress("pool", number, len(pooling))
    cuts = {r.key: cutoffs(_pool(store, filters, r, train), r) for r in ordered if r.top is not None}
    work = store.root / "datasets" / recipe.name / ".work"
    remove(work)  # a killed run's half: judging takes seconds, so it starts afresh
    sweep(store.root / "datasets" / recipe.name)
    alive, ranked = _settle_clusters(store, filters, ordered, cuts, train, work, progress)
    digest = ledger.Digest(ordered)
    kept: dict[str, int] = {s.name: 0 for s in train}
    content: list[tuple[str, str]] = []
    hits = {r.stage: 0 for r in ordered}
    judged = 0
    for chunk in _chunks(store, filters, train):
        verdicts = _verdicts(chunk, ordered, cuts, alive, ranked)
        ids = chunk.heads["id"]
        digest.add(chunk.source.name, ids, verdicts)
        name = ledger.chunk_name(chunk.number)
        ledger.write_chunk(work / "verdicts" / chunk.source.name / name, ids, ordered, verdicts)
        keep = np.logical_and.reduce([np.ones(len(ids), bool), *(v["keep"].to_numpy() for v in verdicts)])
        rows = chunk.heads.filter(pl.Series(keep))
        ledger.write_kept(work / "kept" / chunk.source.name / name, rows)
        kept[chunk.source.name] += rows.height
        content += list(zip(rows["id"].to_list(), rows["digest"].to_list(), strict=True))
        for rule, v in zip(ordered, verdicts, strict=True):
            hits[rule.stage] += int((~v["keep"]).sum())
        judged += chunk.heads.height
        progress("judge", judged, sum(s.samples for s in train))
    dataset = _record(recipe, stages, ordered, sources, kept, hits, digest.hexdigest(), content, volatile)
    store.save_dataset(dataset, work)
    publish(work, store.dataset_dir(dataset.name, dataset.version))
    return store.dataset(f"{dataset.name}@{dataset.digest}")


def _chunks(
    store: Store, filters: Mapping[str, Bound], train: Sequence[SourceVersion], only: Sequence[str] | None = None
) -> Iterator[_Chunk]:
    for source in sorted(train, key=lambda s: s.name):
        per = max(1, ledger.CHUNK // source.shard_rows)
        for number, first in enumerate(range(0, max(source.shards, 1), per)):
            heads, scores = [], {n: [] for n in filters if only is None or n in only}  # type: ignore[var-annotated]
            for shard in range(first, min(first + per, source.shards)):
                table = store.samples(source, shard, ["id", "digest", "source", "task"])
                frame = pl.DataFrame(pl.from_arrow(table))
                heads.append(
                    frame.with_columns(pl.lit(shard, pl.Int32).alias("shard")).with_columns(
                        pl.int_range(pl.len(), dtype=pl.Int32).alias("row")
                    )
                )
                for name in scores:
                    scores[name].append(_scores(store, filters[name], train, source, shard, frame.height))
            if heads:
                yield _Chunk(
                    source=source,
                    number=number,
                    heads=pl.concat(heads),
                    scores={n: pl.concat(parts) for n, parts in scores.items()},
                )


def _scores(
    store: Store, bound: Bound, train: Sequence[SourceVersion], source: SourceVersion, shard: int, samples: int
) -> pl.DataFrame:
    """Read a shard's scores without signatures; nulls where the stage is limited to other sources.

    Such a source may have scores all the same, from another recipe: they are not looked at, or what a run gives would
    depend on what ran before it in this store.
    """
    stage, flt = bound
    columns = [c for c in flt.scores if c == "match" or c in flt.numbers]
    if stage.sources and source.name not in stage.sources:
        every = [*columns, *flt.pooled]
        return pl.DataFrame({c: pl.Series([None], dtype=pl.Float64).new_from_index(0, samples) for c in every})
    path = store.score_path(flt.name, flt.fingerprint, source.digest, shard)
    frame = pl.DataFrame(pl.from_arrow(read_table(path, columns)))
    if flt.pooled:
        there = pools.path(pools.folder(store, flt, stage, train), source, shard)
        frame = frame.with_columns(pl.DataFrame(pl.from_arrow(read_table(there))))
    return frame.with_columns([pl.col(c).cast(pl.Float64) for c in frame.columns if c != "match"])


def _value(chunk: _Chunk, rule: Rule) -> pl.DataFrame:
    scores = chunk.scores[rule.stage]
    match = scores["match"] if "match" in scores.columns else pl.lit(None, pl.String)
    return chunk.heads.select("id", "source", "task").with_columns(
        scores[rule.score].cast(pl.Float64).alias("value"), match.cast(pl.String).alias("match")
    )


def _pool(store: Store, filters: Mapping[str, Bound], rule: Rule, train: Sequence[SourceVersion]) -> pl.DataFrame:
    return pl.concat([_value(c, rule) for c in _chunks(store, filters, train, [rule.stage])])


def _settle_clusters(
    store: Store,
    filters: Mapping[str, Bound],
    ordered: Sequence[Rule],
    cuts: Mapping[str, Mapping[str, Cutoff]],
    train: Sequence[SourceVersion],
    work: Path,
    progress: Progress,
) -> tuple[dict[str, set[str]], dict[str, pl.DataFrame]]:
    """Decide every cluster rule in order, among the samples still alive, and write the cluster tables.

    Returns per cluster rule the ids that were dead before it, of those that are in one of its clusters, and the ranking.
    """
    cluster_rules = [r for r in ordered if r.cluster]
    found = {}
    for number, rule in enumerate(cluster_rules):
        progress("cluster", number, len(cluster_rules))
        found[rule.key] = clusters.cluster(store, filters[rule.stage][1], rule, train)
    members = sorted({i for f in found.values() for i in f["id"].to_list()})
    state = _states(store, filters, ordered, cuts, train, members, cluster_rules)
    dead: dict[str, set[str]] = {}
    ranked: dict[str, pl.DataFrame] = {}
    for rule in cluster_rules:
        table = found[rule.key].join(state, on="id", how="left")
        ranking = keepers(table, rule)
        dead[rule.key] = set(table.filter(~pl.col("alive"))["id"].to_list())
        ranked[rule.key] = ranking
        losers = ranking.filter(pl.col("rank") > 0)["id"]
        state = state.with_columns((pl.col("alive") & ~pl.col("id").is_in(losers.implode())).alias("alive"))
        out = ranking.join(state.drop("alive"), on="id", how="left", maintain_order="left")
        out = out.select([*CLUSTER.names, *rule.prefer])
        write_table(work / "clusters" / f"{rule.stage}.parquet", out.to_arrow())
        progress("cluster", len(dead), len(cluster_rules))
    return dead, ranked


def _states(
    store: Store,
    filters: Mapping[str, Bound],
    ordered: Sequence[Rule],
    cuts: Mapping[str, Mapping[str, Cutoff]],
    train: Sequence[SourceVersion],
    members: Sequence[str],
    cluster_rules: Sequence[Rule],
) -> pl.DataFrame:
    """Return (id, alive, preferred scores) of the samples that are in a cluster, after all bounds."""
    wanted = sorted({p for r in cluster_rules for p in r.prefer})
    ids = pl.Series("id", members, dtype=pl.String)
    parts = [pl.DataFrame({"id": ids.head(0), "alive": pl.Series([], dtype=pl.Boolean)}).with_columns(
        [pl.lit(None, pl.Float64).alias(w) for w in wanted]
    )]  # fmt: skip
    for chunk in _chunks(store, filters, train) if members else ():
        keep = np.ones(chunk.heads.height, bool)
        for rule in ordered:
            if not rule.cluster:
                keep &= judge(_value(chunk, rule), rule, cuts.get(rule.key))["keep"].to_numpy()
        frame = chunk.heads.select("id").with_columns(
            pl.Series("alive", keep),
            *(chunk.scores[w.rpartition(".")[0]][w.rpartition(".")[2]].cast(pl.Float64).alias(w) for w in wanted),
        )
        parts.append(frame.filter(pl.col("id").is_in(ids.implode())))
    return pl.concat(parts)


def _verdicts(
    chunk: _Chunk,
    ordered: Sequence[Rule],
    cuts: Mapping[str, Mapping[str, Cutoff]],
    dead: Mapping[str, set[str]],
    ranked: Mapping[str, pl.DataFrame],
) -> list[pl.DataFrame]:
    out = []
    for rule in ordered:
        if rule.cluster:
            alive = ~chunk.heads["id"].is_in(list(dead[rule.key])).to_numpy()
            out.append(judge_cluster(chunk.heads, alive, ranked[rule.key]))
        else:
            out.append(judge(_value(chunk, rule), rule, cuts.get(rule.key)))
    return out


def _record(
    recipe: Recipe,
    stages: Sequence[Bound],
    ordered: Sequence[Rule],
    sources: Mapping[str, SourceVersion],
    kept: Mapping[str, int],
    hits: Mapping[str, int],
    ledger_digest: str,
    content: Sequence[tuple[str, str]],
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
    if rows != counts["rejected"] + counts["dropped"] + counts["kept"] or len(content) != counts["kept"]:
        msg = f"the books do not balance: {counts}, {len(content)} kept rows; nothing was written"
        raise UserError(msg, hint="this is a bug in cuvee: please report it with the recipe")
    certificate = [
        {
            "filter": flt.name,
            "fingerprint": flt.fingerprint,
            "suite": [{"name": s.name, "digest": s.digest} for s in prepare.suite(stage, recipe, sources)],
            "hits": hits.get(flt.name, 0),
        }
        for stage, flt in stages
        if flt.build is not None
    ]
    fields: dict[str, Any] = {
        "name": recipe.name,
        "recipe": {
            "stages": [
                {"filter": f.name, "version": f.version, "fingerprint": f.fingerprint, "params": _params(st)}
                for st, f in stages
            ],
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
        "content": content_digest(content),
        "decontamination": tuple(certificate),
    }
    seconds = round(time.monotonic() - volatile["started"], 3)
    extra = {k: v for k, v in volatile.items() if k != "started"} | {"seconds": seconds}
    return DatasetVersion(**fields, digest=json_digest(fields), volatile=extra)


def _params(stage: StageSpec) -> dict[str, Any]:
    """Return the parameters as written, without the paths of models and indexes: those are in the fingerprint."""
    return {k: base.plain(v) for k, v in stage.params.items() if not base.is_path(k)}

"""The global half of deduplication: signatures of every sample in, clusters out; made once per filter and set of sources."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa

from catalog.digests import fingerprint
from catalog.judge import Rule, applies
from catalog.shards import read_table, write_table
from catalog.store import SHORT, SourceVersion, Store
from filters import base

FOUND = pa.schema([("id", pa.string()), ("cluster", pa.string()), ("similarity", pa.float64())])


def cluster(store: Store, flt: base.Filter, rule: Rule, sources: Sequence[SourceVersion]) -> pl.DataFrame:
    """Return (id, cluster, similarity) of every sample that has a duplicate, whether it will be dropped or not.

    The cluster's name is its smallest id. Which member survives is decided later, by `catalog.judge.keepers`.
    """
    where = path(store, flt, rule, sources)
    if not where.exists():
        assert flt.cluster is not None
        found = flt.cluster(signatures(store, flt, rule, sources)).select(FOUND.names).cast(FOUND)
        write_table(where, canonical(found))
    return pl.DataFrame(pl.from_arrow(read_table(where)))


def canonical(found: pa.Table) -> pa.Table:
    """Return clusters of two or more, named by their smallest id, sorted by cluster and id."""
    frame = pl.DataFrame(pl.from_arrow(found))
    frame = frame.with_columns(pl.col("id").min().over("cluster").alias("cluster"))
    frame = frame.filter(pl.len().over("cluster") > 1).sort("cluster", "id")
    return frame.to_arrow().cast(FOUND)


def signatures(store: Store, flt: base.Filter, rule: Rule, sources: Sequence[SourceVersion]) -> pa.Table:
    """Return (id, signature columns) of every sample that the rule looks at and that has a signature."""
    parts = []
    for source in sorted(sources, key=lambda s: s.name):
        if rule.sources and source.name not in rule.sources:
            continue
        for shard in range(source.shards):
            heads = store.samples(source, shard, ["id", "source", "task"])
            scores = read_table(store.score_path(flt.name, flt.fingerprint, source.digest, shard))
            mask = applies(pl.DataFrame(pl.from_arrow(heads)), rule).to_numpy()
            mask &= np.logical_and.reduce([scores[c].is_valid().to_numpy() for c in scores.column_names])
            table = pa.table({"id": heads["id"], **{c: scores[c] for c in scores.column_names}})
            parts.append(table.filter(pa.array(mask)))
    schema = pa.schema([("id", pa.string()), *flt.scores.items()])
    return pa.concat_tables([schema.empty_table(), *(p.cast(schema) for p in parts)]).combine_chunks()


def path(store: Store, flt: base.Filter, rule: Rule, sources: Sequence[SourceVersion]) -> Path:
    """Return the file of the clusters: named by the filter and by everything that was looked at."""
    scope = {
        "sources": sorted(s.digest for s in sources if not rule.sources or s.name in rule.sources),
        "tasks": sorted(rule.tasks),
    }
    return store.root / "clusters" / f"{flt.name}@{flt.fingerprint}" / f"{fingerprint(scope)[:SHORT]}.parquet"

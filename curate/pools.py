"""The global half of pooling filters: what is known of every sample in, scores that follow from all of them out.

Made once per filter, set of sources and tasks, and written row-aligned with the samples, like scores.
"""

from collections.abc import Sequence
from pathlib import Path

import polars as pl
import pyarrow as pa

from catalog.digests import fingerprint
from catalog.judge import applies
from catalog.shards import read_table, shard_name, write_table
from catalog.store import SHORT, SourceVersion, Store
from curate.recipe import StageSpec, looks
from filters import base


def limited(stage: StageSpec, sources: Sequence[SourceVersion]) -> list[SourceVersion]:
    """Return the sources that the stage looks at, by name."""
    return sorted((s for s in sources if not stage.sources or s.name in stage.sources), key=lambda s: s.name)


def folder(store: Store, flt: base.Filter, stage: StageSpec, sources: Sequence[SourceVersion]) -> Path:
    """Return where the pooled scores lie: named by the filter and by everything that was pooled."""
    return named(store, f"{flt.name}@{flt.fingerprint}", limited(stage, sources), stage.tasks)


def named(store: Store, flt: str, sources: Sequence[SourceVersion], tasks: Sequence[str]) -> Path:
    """Return the same for a filter that is known by `<name>@<fingerprint>`, and the sources that it looks at, by name."""
    # A source's digest does not say how it is cut into shards, and these files are cut as the source is.
    pool = [[s.digest, s.shard_rows] for s in sources]
    scope = fingerprint({"sources": pool, "tasks": sorted(tasks)})[:SHORT]
    return store.root / "pools" / flt / scope


def path(where: Path, source: SourceVersion, shard: int) -> Path:
    """Return the file of one shard's pooled scores in `where`."""
    return where / source.digest[:SHORT] / shard_name(shard, "parquet")


def pool(store: Store, flt: base.Filter, stage: StageSpec, sources: Sequence[SourceVersion]) -> None:
    """Write the pooled scores of every shard that has none yet."""
    where = folder(store, flt, stage, sources)
    wanted = [(s, n) for s in limited(stage, sources) for n in range(s.shards)]
    missing = [(s, n) for s, n in wanted if not path(where, s, n).exists()]
    if not missing:
        return
    assert flt.pool is not None
    # Large binary: 32-bit offsets end at 2 GiB, two million CLIP vectors.
    local = [(k, pa.large_binary() if pa.types.is_binary(t) else t) for k, t in flt.scores.items()]
    schema = pa.schema([("id", pa.string()), ("source", pa.string()), ("task", pa.string()), *local])
    parts = [_signatures(store, flt, stage, s, n).cast(schema) for s, n in wanted]
    found = flt.pool(pa.concat_tables([schema.empty_table(), *parts]).combine_chunks())
    want = pa.schema([("id", pa.string()), *flt.pooled.items()])
    try:
        found = found.select(want.names).cast(want)  # polars gives large strings
    except (KeyError, pa.ArrowException) as e:
        got, expected = (", ".join(f"{f.name}: {f.type}" for f in x) for x in (found.schema, want))
        msg = f"filter `{flt.name}` is broken: `pool` must return {expected}; got {got}"
        raise TypeError(msg) from e
    frame = pl.DataFrame(pl.from_arrow(found))
    for source, shard in missing:
        ids = pl.DataFrame(pl.from_arrow(store.samples(source, shard, ["id"])))
        rows = ids.join(frame, on="id", how="left", maintain_order="left", validate="1:1").drop("id")
        write_table(path(where, source, shard), rows.to_arrow().cast(pa.schema(list(flt.pooled.items()))))


def _signatures(store: Store, flt: base.Filter, stage: StageSpec, source: SourceVersion, shard: int) -> pa.Table:
    """Return (id, source, task, <scores>) of the samples of one shard that the stage looks at."""
    heads = store.samples(source, shard, ["id", "source", "task"])
    scores = read_table(store.score_path(flt.name, flt.fingerprint, source.digest, shard))
    mask = applies(pl.DataFrame(pl.from_arrow(heads)), looks(stage))
    return pa.table([*heads.columns, *scores.columns], [*heads.column_names, *scores.column_names]).filter(
        mask.to_arrow()
    )

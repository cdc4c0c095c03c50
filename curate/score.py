"""The fused scoring pass: one task per source shard reads it once, decodes its images once, runs every filter on it."""

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from catalog.digests import file_digest
from catalog.files import share
from catalog.shards import MediaReader, shard_name, write_table
from catalog.store import SourceVersion, Store
from curate.recipe import StageSpec
from filters import base
from filters.shared.images import Images

# A batch ends at 256 samples or 32 megapixels, whichever comes first: 100 MB of RGB. The cut depends on the shard alone,
# never on who runs it, so that batched arithmetic (CLIP) sees the same shapes on every engine.
BATCH_ROWS = 256
BATCH_PIXELS = 32_000_000


@dataclass(frozen=True, kw_only=True)
class ScoreItem:
    """Which filters (by number) are still missing for which shard."""

    source: str
    digest: str
    shard: int
    missing: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What scoring one shard did."""

    source: str
    shard: int
    samples: int
    files: int


@dataclass(frozen=True, kw_only=True)
class ScoreTask:
    """Score one shard with the filters it misses; picklable."""

    root: str
    filters: tuple[tuple[str, str], ...]  # (name, parameters as JSON)

    def __call__(self, item: ScoreItem) -> Scored:
        """Write one score file per missing filter, atomically, and tell how many samples were scored."""
        store = Store(self.root)
        source = store.source(f"{item.source}@{item.digest}")
        table = store.samples(source, item.shard)
        loaded = [load(*self.filters[k]) for k in item.missing]
        with MediaReader(store.source_dir(source.name, source.digest)) as reader:
            scored = score_table(table, loaded, reader)
        for flt, scores in zip(loaded, scored, strict=True):
            write_table(store.score_path(flt.name, flt.fingerprint, source.digest, item.shard), scores)
        return Scored(source=item.source, shard=item.shard, samples=table.num_rows, files=len(loaded))


@functools.lru_cache(maxsize=128)
def load(name: str, params: str) -> base.Filter:
    """Return the filter that `portable` named; the same object for the same name and parameters."""
    return base.load(name, json.loads(params))


def portable(name: str, params: Mapping[str, Any]) -> tuple[str, str]:
    """Return a filter as (name, parameters as JSON): hashable and picklable, paths absolute for workers elsewhere."""
    paths = {k: str(Path(v).absolute()) for k, v in params.items() if v and base.is_path(k) and Path(v).exists()}
    return name, json.dumps({**params, **paths}, sort_keys=True)


def score_table(table: pa.Table, filters: Sequence[base.Filter], reader: MediaReader) -> list[pa.Table]:
    """Return one table of scores per filter, row-aligned with `table`; images are decoded once for all of them."""
    parts: list[list[pa.RecordBatch]] = [[] for _ in filters]
    for batch in cut(table):
        images = _images(batch, filters, reader) if any(f.needs_images for f in filters) else None
        for k, flt in enumerate(filters):
            parts[k].append(flt.score(batch, images))
    schemas = [pa.schema(list(f.scores.items())) for f in filters]
    return [pa.Table.from_batches(p, schema=s) for p, s in zip(parts, schemas, strict=True)]


def _images(batch: pa.RecordBatch, filters: Sequence[base.Filter], reader: MediaReader) -> Images:
    """Return the batch's images, measured for all filters at one go; only a model needs the pictures after that."""
    measures = [m for f in filters if f.needs_images for m in f.measures]
    keep = any(f.needs_model or not f.measures for f in filters if f.needs_images)
    return Images.read(batch, reader, measures=measures, keep=keep)


def cut(table: pa.Table) -> Iterator[pa.RecordBatch]:
    """Cut a shard into batches of at most 256 samples and about 32 megapixels; a single larger sample stands alone."""
    if not table.num_rows:
        return
    whole = table.combine_chunks().to_batches()[0]
    media = whole["media"]
    offsets = np.asarray(media.offsets)
    flat = media.values
    size = np.nan_to_num(
        flat.field("width").cast(pa.float64()).to_numpy(zero_copy_only=False)
        * flat.field("height").cast(pa.float64()).to_numpy(zero_copy_only=False)
    )
    total = np.concatenate([[0.0], np.cumsum(size)])
    pixels = total[offsets[1:]] - total[offsets[:-1]]
    start, load = 0, 0.0
    for i in range(whole.num_rows):
        if i > start and (i - start >= BATCH_ROWS or load + pixels[i] > BATCH_PIXELS):
            yield whole.slice(start, i - start)
            start, load = i, 0.0
        load += pixels[i]
    yield whole.slice(start)


def scope(
    stages: Sequence[tuple[StageSpec, base.Filter]], members: Sequence[SourceVersion], frozen: Sequence[SourceVersion]
) -> tuple[list[tuple[str, str, int]], list[tuple[base.Filter, tuple[str, ...]]]]:
    """Return what `missing_items` asks for. Frozen sources are looked at by deduplicating stages alone."""
    every = [*members, *frozen]
    filters = [
        (f, tuple(s.name for s in (every if f.cluster else members) if not st.sources or s.name in st.sources))
        for st, f in stages
    ]
    return [(s.name, s.digest, s.shards) for s in every], filters


def share_earlier(
    store: Store, sources: Sequence[SourceVersion], filters: Sequence[tuple[base.Filter, tuple[str, ...]]]
) -> int:
    """Take over the scores of shards that an earlier version of the same source has byte for byte; return how many files.

    A source that was appended to has all its full shards as they were: only what is new in it is scored.
    """
    shared = 0
    every = store.sources()
    for source in sources:
        earlier = [s for s in every if s.name == source.name and s.digest != source.digest]
        wanted = [f for f, only in filters if source.name in only]
        for shard in range(source.shards) if earlier else ():
            for flt in wanted:
                new = _path(store, flt, source.digest, shard)
                old = None if new.exists() else _earlier(store, flt, source, earlier, shard)
                if old is not None:
                    share(old, new)
                    shared += 1
    return shared


def _earlier(
    store: Store, flt: base.Filter, source: SourceVersion, earlier: Sequence[SourceVersion], shard: int
) -> Path | None:
    for other in earlier:
        scores = _path(store, flt, other.digest, shard)
        if not scores.exists() or _shard_digest(store, other, shard) != _shard_digest(store, source, shard):
            continue
        if _rows(scores) == _rows(_samples(store, source, shard)):  # or they are damaged, or of another cut into shards
            return scores
    return None


def _rows(path: Path) -> int | None:
    try:
        return int(pq.read_metadata(path).num_rows)
    except (OSError, pa.ArrowException):
        return None


def _samples(store: Store, source: SourceVersion, shard: int) -> Path:
    return store.source_dir(source.name, source.digest) / "samples" / shard_name(shard, "parquet")


@functools.lru_cache(maxsize=100_000)
def _digest_of(path: Path, stamp: tuple[int, int]) -> str:
    return file_digest(path)


def _shard_digest(store: Store, source: SourceVersion, shard: int) -> str:
    """Return the digest of a shard's samples, digests of their media among them."""
    path = _samples(store, source, shard)
    at = path.stat()
    return _digest_of(path, (at.st_size, at.st_mtime_ns))


def missing_items(
    store: Store, sources: Sequence[tuple[str, str, int]], filters: Sequence[tuple[base.Filter, tuple[str, ...]]]
) -> tuple[list[ScoreItem], int]:
    """Return the shards with score files still to write, and how many files are there already.

    `sources` are (name, digest, shards); each filter comes with the names of those that it looks at.
    """
    items, cached = [], 0
    for name, digest, shards in sources:
        wanted = [k for k, (_, only) in enumerate(filters) if name in only]
        for shard in range(shards):
            paths = [(k, _path(store, filters[k][0], digest, shard)) for k in wanted]
            missing = tuple(k for k, p in paths if not p.exists())
            cached += len(paths) - len(missing)
            if missing:
                items.append(ScoreItem(source=name, digest=digest, shard=shard, missing=missing))
    return items, cached


def _path(store: Store, flt: base.Filter, digest: str, shard: int) -> Path:
    return store.score_path(flt.name, flt.fingerprint, digest, shard)

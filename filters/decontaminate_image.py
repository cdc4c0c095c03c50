"""Images of evaluation sets in the training data: similarity to the closest evaluation image, and which one it is.

`decontaminate_image`  0 when no evaluation image lies within `radius` bits of any image of the sample, else the largest
                       correlation of aligned thumbnails, 0 to 1 (as in `dedup_phash`, whatever the text).
`match`                id of that evaluation item; null where the score is under 0.5.

Bound `decontaminate_image <= 0.85`: ours; copies that were re-encoded, resized, brightened or cropped by up to 5 % a
side score above it, different pictures of the same layout below. A share of benchmark pictures is in web crawls:
DataComp removes them by a learnt similarity (Gadre et al. 2023, arXiv 2304.14108, section 3.3 and appendix, after Yokoo
2021), which finds heavier edits (overlays, rotations) than this.

Null without images and without an `index`; NaN where no image can be decoded. A blank image matches nothing.
`index`: a Parquet file of what `build` returns.
"""

import functools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from catalog.shards import read_table
from filters.base import scorer
from filters.shared.alignment import similarity
from filters.shared.hamming import near
from filters.shared.images import Images, Reader, present
from filters.shared.perceptual import Signatures, raw, signatures

INDEX = pa.schema([("id", pa.string()), ("image", pa.int32()), ("signature", pa.binary())])
LOW = 0.5


MEASURES = (signatures, present)


@scorer(
    version=4,
    scores={"decontaminate_image": pa.float64(), "match": pa.string()},
    bounds={"decontaminate_image": (None, 0.85)},
)
def decontaminate_image(
    batch: pa.RecordBatch, images: Images, *, index: str | None = None, radius: int = 11
) -> pa.RecordBatch:
    """Score each sample by its similarity to the closest evaluation image."""
    n = batch.num_rows
    score: list[float | None] = [None] * n
    match: list[str | None] = [None] * n
    if index is not None:
        path = Path(index)
        ids, known = _index(path, path.stat().st_mtime_ns if path.exists() else 0)
        row, signed = images.measure(signatures)
        # Where no image of a sample can be decoded, it is broken; a blank one matches nothing.
        _, seen = images.measure(present)
        some = np.bincount(row, seen[:, 0], minlength=n)
        for k in np.unique(row):
            score[k] = 0.0 if some[k] else float("nan")
        found = [(int(k), s) for k, s in zip(row, raw(signed), strict=True) if s is not None]
        rows, mine = [k for k, _ in found], [s for _, s in found]
        if rows and len(ids):
            _match(Signatures(mine), known, rows, ids, radius, score, match)
    return pa.RecordBatch.from_pydict(
        {"decontaminate_image": pa.array(score, pa.float64()), "match": pa.array(match, pa.string())}
    )


def _match(
    mine: Signatures,
    known: Signatures,
    rows: list[int],
    ids: list[str],
    radius: int,
    score: list[float | None],
    match: list[str | None],
) -> None:
    q, b = near(mine.hashes[:, 0], known.hashes, radius)
    other_b, other_q = near(known.hashes[:, 0], mine.hashes, radius)
    pairs = np.unique(np.stack([np.concatenate([q, other_q]), np.concatenate([b, other_b])], 1), axis=0)
    alike = similarity(mine, known, pairs[:, 0], pairs[:, 1])
    # By falling similarity, then by id: the match is the same wherever the batch was cut.
    for s, (i, j) in sorted(zip(alike.tolist(), pairs.tolist(), strict=True), key=lambda x: (-x[0], ids[x[1][1]])):
        row = rows[i]
        if s > (score[row] or 0.0):
            score[row] = s
            match[row] = ids[j] if s >= LOW else None


@functools.lru_cache(maxsize=2)
def _index(path: Path, stamp: int) -> tuple[list[str], Signatures]:
    table = read_table(path).sort_by([("id", "ascending"), ("image", "ascending")])
    return table["id"].to_pylist(), Signatures(table["signature"].to_pylist())


def build(batches: Iterator[pa.RecordBatch], *, reader: Reader) -> pa.Table:
    """Return the index of the images of evaluation samples, one row per image that is not blank."""
    out: dict[str, list[object]] = {"id": [], "image": [], "signature": []}
    for batch in batches:
        images = Images.read(batch, reader, keep=False)
        row, signed = images.measure(signatures)
        number = np.arange(len(row)) - np.searchsorted(row, row)  # which of its sample's images
        ids = batch.column("id").to_pylist()
        for k, i, s in zip(row, number, raw(signed), strict=True):
            if s is not None:
                out["id"].append(ids[k])
                out["image"].append(int(i))
                out["signature"].append(s)
    return pa.table(out, schema=INDEX)

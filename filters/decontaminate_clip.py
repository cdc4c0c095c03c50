"""Images of evaluation sets in the training data, by CLIP vectors: copies that were edited beyond what a hash survives.

`cosine`   largest cosine between an image of the sample and an evaluation image, -1 to 1, rounded to 5 decimals.
`match`    id of that evaluation item (ties: the smallest id); null where the score is under 0.5.

Bound `cosine <= 0.95`: ours, after SemDeDup, which takes CLIP vectors that close for duplicates (Abbas et al. 2023, arXiv
2303.09540). Every model needs its own: with a small network fitted on shop photos (`curate.fit_clip`), 100 % of re-encoded and
resized copies lie above 0.95, 96 % of those 20 % brighter, 84 % of those cropped by 5 % a side, 78 % of mirrored ones, 34 % of
those turned, and 4.8 % of other photos of the same kinds of goods; trained for a tenth of the steps, 83 % of the others do
(docs/results/decontamination.md). A CLIP model sees what a picture is about, so look at what is hit before it is dropped
(`bounds: {}`), and let `decontaminate_image` find plain copies. DataComp removes what is like its evaluation images by a
network for copies at a cosine of 0.604169 (Gadre et al. 2023, arXiv 2304.14108, section 3.3 and appendix, after Yokoo 2021),
which is no CLIP model.

Null without images, a `model` or an `index`; NaN where an image cannot be decoded. `index`: the evaluation images' vectors, a
Parquet file of what `build` returns. `model`, `arch`, `precision`: see `filters/shared/clip.py`.
"""

import functools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from catalog.errors import UserError
from catalog.shards import read_table
from filters.base import scorer
from filters.shared import clip
from filters.shared.embed import embed
from filters.shared.images import Images, Reader
from filters.shared.text import Array, column, has_image, table

INDEX = pa.schema([("id", pa.string()), ("vector", pa.binary())])
LOW = 0.5


@scorer(
    version=1,
    scores={"cosine": pa.float64(), "match": pa.string()},
    bounds={"cosine": (None, 0.95)},
    needs_model=True,
)
def decontaminate_clip(
    batch: pa.RecordBatch,
    images: Images,
    *,
    model: str | None,
    arch: str | None = None,
    precision: str = "auto",
    index: str | None = None,
) -> pa.RecordBatch:
    """Score each sample by the cosine to the closest evaluation image."""
    n = batch.num_rows
    applies = np.zeros(n, bool)
    cosine, match = np.full(n, -np.inf), np.full(n, -1, np.int64)
    ids = pa.array([], pa.string())
    if model is not None and index is not None:
        ids, known = _index(index)
        applies = has_image(batch) & bool(len(known))
        found = embed(batch, images, clip.load(model, arch=arch, precision=precision), applies)
        if len(found.row) and found.images.shape[1] != known.shape[1]:
            msg = (
                f"the index `{index}` has vectors of {known.shape[1]} numbers; `{model}` gives {found.images.shape[1]}"
            )
            raise UserError(msg, hint="build the index with the same model")
        # One by one: a product of matrices of another height may add in another order. Rounded: of copies the smallest id.
        for row, vector in zip(found.row, found.images, strict=True):
            near = np.round((known @ vector).astype(np.float64), 5)
            at = int(near.argmax())
            if near[at] > cosine[row] or (near[at] == cosine[row] and at < match[row]):
                cosine[row], match[row] = near[at], at
        cosine[found.broken] = np.nan
    cosine[np.isneginf(cosine)] = np.nan
    missing = ~(cosine >= LOW)
    return table(cosine=column(cosine, applies, pa.float64(), 5), match=ids.take(pa.array(match, mask=missing)))


def _index(index: str) -> tuple[pa.Array, Array]:
    path = Path(index)
    return _vectors(path, path.stat().st_mtime_ns if path.exists() else 0)


@functools.lru_cache(maxsize=2)
def _vectors(path: Path, stamp: int) -> tuple[pa.Array, Array]:
    found = read_table(path).sort_by([("id", "ascending"), ("vector", "ascending")])
    if found.schema.names != INDEX.names:
        msg = f"`{path}` is not an index of decontaminate_clip"
        raise UserError(msg)
    raw = b"".join(found["vector"].to_pylist())
    vectors = np.frombuffer(raw, "<f4").reshape(len(found), -1) if len(found) else np.zeros((0, 0), np.float32)
    return found["id"].combine_chunks().cast(pa.string()), vectors


def build(
    batches: Iterator[pa.RecordBatch],
    *,
    reader: Reader,
    model: str | None = None,
    arch: str | None = None,
    precision: str = "auto",
) -> pa.Table:
    """Return the CLIP vectors of the images of evaluation samples, one row per image; of a broken sample none."""
    if model is None:
        msg = "`decontaminate_clip` needs a model before the evaluation images can be indexed"
        raise UserError(msg, usage=True)
    ids: list[str] = []
    vectors: list[bytes] = []
    for batch in batches:
        names = batch.column("id").to_pylist()
        network = clip.load(model, arch=arch, precision=precision)
        found = embed(batch, Images.read(batch, reader), network, has_image(batch))
        ids += [names[k] for k in found.row]
        vectors += [v.tobytes() for v in found.images.astype("<f4")]
    return pa.table({"id": ids, "vector": pa.array(vectors, pa.binary())}, schema=INDEX)

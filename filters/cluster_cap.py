"""At most so many samples of pictures that look alike: a cap per cluster of CLIP vectors.

What is known of one sample: `vector` (float16, bytes), the CLIP vector of its first image. What follows from all samples, by
spherical k-means over these:

- `cluster_number`: which cluster,
- `cluster_rank` (count): its place in it, from 1. No default bound: `max: 100` keeps a hundred of each cluster.
- `cluster_size` (count): samples in it,
- `centroid_similarity` (cosine, -1 to 1): to the cluster's centre.

`clusters: 0` takes one for every 128 images, at most 100,000. `order`: `hash` (a draw by id and `seed`), `far` (far from the
centre first: SemDeDup keeps these, Abbas et al. 2023, arXiv 2303.09540, section 3) or `near` (prototypes first; Sorscher et
al. 2022, arXiv 2206.14486, find that the right end depends on how much data there is). A cap per cluster flattens the
distribution as Vo et al. 2024 do by hierarchical k-means (arXiv 2405.15613); ours has one level. Near-duplicates are for
`dedup_phash`.

Null without images, without a `model`; null as well (and kept) where the first image cannot be decoded: other filters say so.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog.errors import UserError
from filters.base import scorer
from filters.shared import centroids, clip
from filters.shared.embed import embed
from filters.shared.images import Images
from filters.shared.ranks import ranked
from filters.shared.text import has_image

ORDERS = ("hash", "far", "near")
POOLED = {
    "cluster_number": pa.int64(),
    "cluster_rank": pa.int64(),
    "cluster_size": pa.int64(),
    "centroid_similarity": pa.float64(),
}


@scorer(version=1, scores={"vector": pa.binary()}, pooled=POOLED, bounds={}, needs_model=True)
def cluster_cap(
    batch: pa.RecordBatch,
    images: Images,
    *,
    model: str | None,
    arch: str | None = None,
    precision: str = "auto",
    clusters: int = 0,
    order: str = "hash",
    seed: int = 0,
) -> pa.RecordBatch:
    """Return the vector of the first image of each sample of `batch`."""
    if order not in ORDERS:
        msg = f"`order` is `{order}`; expected one of {', '.join(ORDERS)}"
        raise UserError(msg, usage=True)
    if model is None:
        return pa.record_batch([pa.nulls(batch.num_rows, pa.binary())], names=["vector"])
    found = embed(batch, images, clip.load(model, arch=arch, precision=precision), has_image(batch))
    row, first = np.unique(found.row, return_index=True)
    has = np.isin(np.arange(batch.num_rows), row)
    return pa.record_batch([centroids.pack(row, found.images[first], batch.num_rows, has)], names=["vector"])


def pool(signatures: pa.Table, *, clusters: int = 0, order: str = "hash", seed: int = 0) -> pa.Table:
    """Return the cluster of each sample, its rank in it, and how near to the centre it is."""
    known = signatures.filter(pc.is_valid(signatures["vector"])).sort_by("id")
    if not len(known):
        return pa.schema([("id", pa.string()), *POOLED.items()]).empty_table()
    width = len(known["vector"][0].as_py()) // 2
    _, vectors = centroids.unpack(known["vector"], width)
    centres = centroids.fit(vectors, centroids.number(clusters, len(vectors)), seed)
    at, cosine = centroids.nearest(vectors, centres)
    by = {"hash": np.zeros(len(at)), "far": cosine, "near": -cosine}[order]
    rank, size = ranked(known["id"], at, by, seed)
    columns = (at, rank, size, np.round(cosine, 5))
    return pa.table(
        {
            "id": known["id"].combine_chunks().cast(pa.string()),
            **{k: pa.array(v, t) for (k, t), v in zip(POOLED.items(), columns, strict=True)},
        }
    )

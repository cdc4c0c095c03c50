"""Do a sample's images look like those of a target set? DataComp's image-based filter.

What is known of one sample: `vectors`, the CLIP vectors of its images (float16, bytes), and
- `target_similarity` (cosine, -1 to 1): to the nearest image of the target set; the largest over the sample's images. No
  published bound; use a share (`top: 0.3`).
What follows from all samples: spherical k-means over the vectors of the pool, and each image of the target set given to the
nearest centroid:
- `pool_cluster` (number of the cluster that the sample's first image is in),
- `cluster_share` (share of the pool's images in that cluster, 0 to 1),
- `target_images` (count): images of the target set in the clusters of the sample's images. Bound: at least 1.

The rule `target_images >= 1` is DataComp's: keep what lies in a cluster of the pool that is the nearest one to some image of
ImageNet-1k (Gadre et al. 2023, arXiv 2304.14108, section 3.4 and appendix; `mlfoundations/datacomp`,
`baselines/image_based_clustering.md`: 100,000 clusters for the small pool's 12.8 million samples). `clusters: 0` takes one for
every 128 images, at most 100,000, as there. Vectors there are OpenAI's ViT-L/14 (`model: ViT-L-14-quickgelu/openai`).
Left out: DataComp clusters only what passes its caption rules, on a share of large pools; here k-means sees at most 256
images per cluster, and the samples that the stage looks at.

`index`: the target set's vectors, a Parquet file of what `build` returns. Null without images, a `model` or an `index`; NaN where
an image cannot be decoded.
"""

import functools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from catalog.errors import UserError
from catalog.shards import read_table
from filters.base import scorer
from filters.shared import centroids, clip
from filters.shared.embed import embed, over
from filters.shared.images import Images, Reader
from filters.shared.text import Array, column, has_image

INDEX = pa.schema([("id", pa.string()), ("vector", pa.binary())])
POOLED = {"pool_cluster": pa.int64(), "cluster_share": pa.float64(), "target_images": pa.int64()}


@scorer(
    version=1,
    scores={"vectors": pa.binary(), "target_similarity": pa.float64()},
    pooled=POOLED,
    bounds={"target_images": (1, None)},
    needs_model=True,
)
def image_target(
    batch: pa.RecordBatch,
    images: Images,
    *,
    model: str | None,
    arch: str | None = None,
    precision: str = "auto",
    index: str | None = None,
    clusters: int = 0,
    seed: int = 0,
) -> pa.RecordBatch:
    """Return the vectors of the images of `batch`, and how near to the target set they are."""
    n = batch.num_rows
    applies = np.zeros(n, bool)
    packed, cosine = pa.nulls(n, pa.binary()), np.zeros(n)
    if model is not None and index is not None:
        applies = has_image(batch)
        target = _index(index)
        found = embed(batch, images, clip.load(model, arch=arch, precision=precision), applies)
        if len(found.row) and found.images.shape[1] != target.shape[1]:
            msg = (
                f"the index `{index}` has vectors of {target.shape[1]} numbers; `{model}` gives {found.images.shape[1]}"
            )
            raise UserError(msg, hint="build the index with the same model")
        # One by one: a product of matrices of another height may add in another order.
        near = np.asarray([float((target @ v).max()) for v in found.images], np.float64)
        cosine = over("max", found.row, near, n)
        packed = centroids.pack(found.row, found.images, n, applies & ~found.broken)
    return pa.record_batch([packed, column(cosine, applies, pa.float64(), 5)], names=["vectors", "target_similarity"])


def _index(index: str) -> Array:
    path = Path(index)
    return _vectors(path, path.stat().st_mtime_ns if path.exists() else 0)


@functools.lru_cache(maxsize=2)
def _vectors(path: Path, stamp: int) -> Array:
    column = read_table(path).sort_by("id")["vector"]
    if not len(column):
        msg = f"the target set in `{path}` has no image"
        raise UserError(msg, hint="name a source with images in `against`")
    return centroids.unpack(column, len(column[0].as_py()) // 2)[1]


def build(
    batches: Iterator[pa.RecordBatch],
    *,
    reader: Reader,
    model: str | None = None,
    arch: str | None = None,
    precision: str = "auto",
) -> pa.Table:
    """Return the CLIP vectors of the images of the target set, one row per image."""
    if model is None:
        msg = "`image_target` needs a model before its target set can be indexed"
        raise UserError(msg, usage=True)
    ids: list[str] = []
    vectors: list[bytes] = []
    for batch in batches:
        names = batch.column("id").to_pylist()
        network = clip.load(model, arch=arch, precision=precision)
        found = embed(batch, Images.read(batch, reader), network, has_image(batch))
        ids += [names[k] for k in found.row]
        vectors += [v.tobytes() for v in found.images.astype("<f2")]
    return pa.table({"id": ids, "vector": pa.array(vectors, pa.binary())}, schema=INDEX)


def pool(signatures: pa.Table, *, index: str | None = None, clusters: int = 0, seed: int = 0) -> pa.Table:
    """Return each sample's cluster, its share of the pool, and how many target images lie in its clusters."""
    known = signatures.filter(pc.fill_null(pc.greater(pc.binary_length(signatures["vectors"]), 0), False)).sort_by("id")
    ids = known["id"].combine_chunks().cast(pa.string())
    if not len(known) or index is None:
        return pa.schema([("id", pa.string()), *POOLED.items()]).empty_table()
    target = _index(index)
    row, vectors = centroids.unpack(known["vectors"], target.shape[1])
    centres = centroids.fit(vectors, centroids.number(clusters, len(vectors)), seed)
    at = centroids.nearest(vectors, centres)[0]
    hits = np.bincount(centroids.nearest(target, centres)[0], minlength=len(centres))
    share = np.bincount(at, minlength=len(centres)) / len(at)
    found = (
        pl.DataFrame({"row": row, "cluster": at, "hits": hits[at]})
        .group_by("row", maintain_order=True)
        .agg(pl.col("cluster").first(), pl.col("hits").filter(pl.col("cluster").is_first_distinct()).sum())
    )
    first = found["cluster"].to_numpy()
    return pa.table(
        {
            "id": ids,
            "pool_cluster": pa.array(first, pa.int64()),
            "cluster_share": pa.array(np.round(share[first], 6), pa.float64()),
            "target_images": pa.array(found["hits"].to_numpy(), pa.int64()),
        }
    )

"""Vectors as bytes, and spherical k-means over them: the same centroids for the same vectors in the same order, always."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from catalog.digests import joined_bytes

Array = npt.NDArray[Any]

# Vectors per cluster where their number is not given: DataComp's small pool has 12.8 M for 100,000 clusters.
POINTS = 128
MOST = 100_000


def pack(row: Array, vectors: Array, n: int, applies: Array) -> pa.Array:
    """Return the vectors of each of `n` rows as binary (float16, one after the other); null where `applies` is false."""
    count = np.bincount(row, minlength=n)
    offsets = np.concatenate([[0], np.cumsum(count)])
    data = vectors.astype("<f2")
    values = [data[offsets[k] : offsets[k + 1]].tobytes() if applies[k] else None for k in range(n)]
    return pa.array(values, pa.binary())


def unpack(column: pa.ChunkedArray, width: int) -> tuple[Array, Array]:
    """Return (row, unit vectors) of what `pack` wrote, in order."""
    whole = pc.fill_null(column.cast(pa.large_binary()), b"").combine_chunks()
    count = np.asarray(pc.binary_length(whole)).astype(np.int64) // (2 * width)
    vectors = np.frombuffer(joined_bytes(whole), "<f2").astype(np.float32).reshape(-1, width)
    return np.repeat(np.arange(len(whole)), count), unit(vectors)


def unit(vectors: Array) -> Array:
    """Return float32 vectors of length 1."""
    v = vectors.astype(np.float64)
    out: Array = (v / np.maximum(np.sqrt((v * v).sum(1)), 1e-12)[:, None]).astype(np.float32)
    return out


def number(wanted: int, vectors: int) -> int:
    """Return how many clusters there are to be: `wanted`, or by the number of vectors where that is 0."""
    return max(1, min(wanted or min(vectors // POINTS, MOST), vectors))


def fit(
    vectors: Array, clusters: int, seed: int, iterations: int = 20, points: int = 2 * POINTS, *, gpu: bool = False
) -> Array:
    """Return the centroids of a spherical k-means, unit vectors, by faiss on one thread: sums always add in one order.

    It sees at most `points` vectors per cluster, drawn by faiss.
    """
    import faiss

    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        kmeans = faiss.Kmeans(
            vectors.shape[1], clusters, niter=iterations, seed=seed, spherical=True, min_points_per_centroid=1,
            max_points_per_centroid=points, verbose=False, gpu=gpu,
        )  # fmt: skip
        kmeans.train(np.ascontiguousarray(vectors))
        return unit(kmeans.centroids)
    finally:
        faiss.omp_set_num_threads(threads)


def nearest(vectors: Array, centroids: Array) -> tuple[Array, Array]:
    """Return (number, cosine) of the centroid nearest to each vector; of equally near ones the first."""
    at = np.empty(len(vectors), np.int64)
    cosine = np.empty(len(vectors), np.float64)
    for start in range(0, len(vectors), 4096):
        near = vectors[start : start + 4096] @ centroids.T
        best = near.argmax(1)
        at[start : start + 4096] = best
        cosine[start : start + 4096] = near[np.arange(len(best)), best]
    return at, cosine

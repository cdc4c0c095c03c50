"""Where vectors are searched: the CPU, or the GPUs that faiss finds when it is faiss-gpu."""

from collections.abc import Callable

import numpy as np

from filters.shared.text import Array

LEAST = 1 << 18  # products of rows: fewer are not worth the way to a GPU and back


def gpus() -> int:
    """Return how many GPUs faiss can use: none with faiss-cpu, whatever the machine has."""
    import faiss

    return int(faiss.get_num_gpus())


def search(centres: Array, probes: int, *, gpu: bool) -> Callable[[Array], Array]:
    """Return the function from n unit vectors to the numbers of the centres nearest to each (n x `probes`)."""
    import faiss

    index = faiss.IndexFlatIP(centres.shape[1])
    index.add(np.ascontiguousarray(centres))
    if gpu:
        index = faiss.index_cpu_to_all_gpus(index)

    def nearest(x: Array) -> Array:
        found: Array = index.search(x, probes)[1]
        return found

    return nearest


def product(*, gpu: bool) -> Callable[[Array, Array], Array]:
    """Return the function from (n, d) and (m, d) to the n x m products of rows."""
    if not gpu:
        return multiply
    import faiss

    resources = faiss.StandardGpuResources()

    def there(a: Array, b: Array) -> Array:
        if len(a) * len(b) < LEAST:
            return multiply(a, b)
        found: Array = faiss.pairwise_distance_gpu(resources, a, b, metric=faiss.METRIC_INNER_PRODUCT)
        return found

    return there


def multiply(a: Array, b: Array) -> Array:
    """Multiply on the CPU."""
    out: Array = a @ b.T
    return out

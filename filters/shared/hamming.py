"""Search in Hamming distance: multi-index hashing (Norouzi et al. 2012, arXiv 1307.2982), which misses none within the radius."""

from typing import Any

import numpy as np

from filters.shared.text import Array, inlined, kernel


def near(query: Array, base: Array, radius: int, *, within: bool = False) -> tuple[Array, Array]:
    """Return all (q, b) where any of the hashes `base[b]` lies within `radius` bits of `query[q]`.

    `query` is (n,) and `base` (m, hashes), uint64. `within`: they are the same pictures; (q, q) is left out.
    """
    if not len(query) or not len(base):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    width = base.shape[1]
    flat = np.ascontiguousarray(base).ravel()
    starts = np.zeros((4, (1 << 16) + 1), np.int64)
    values = np.empty((4, flat.size), np.uint64)  # in the order of a part, so that a bucket is read in one go
    owners = np.empty((4, flat.size), np.int32)
    for part in range(4):
        keys = ((flat >> np.uint64(16 * part)) & np.uint64(0xFFFF)).astype(np.uint16)
        order = np.argsort(keys, kind="stable")
        values[part] = flat[order]
        owners[part] = order // width
        starts[part, 1:] = np.cumsum(np.bincount(keys, minlength=1 << 16))
    # A pair within the radius agrees up to radius // 4 bits in at least one of the four parts.
    every = np.arange(1 << 16, dtype=np.uint64)
    flips = every[np.bitwise_count(every) <= radius // 4]
    q, b = _search(np.ascontiguousarray(query), len(base), values, owners, starts, flips, radius, int(within))
    return q.astype(np.int64), b.astype(np.int64)


@inlined
def popcount(x: Any) -> Any:
    """Return how many bits of a uint64 are set."""
    x = x - ((x >> np.uint64(1)) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((x * np.uint64(0x0101010101010101)) >> np.uint64(56))


@kernel
def _search(
    query: Array, pictures: int, values: Array, owners: Array, starts: Array, flips: Array, radius: int, within: int
) -> tuple[Array, Array]:
    """Return pairs (q, b) with a hash of b within `radius` bits of that of q: multi-index hashing over four parts."""
    found = np.empty((2, 1024), np.int32)
    n = 0
    seen = np.full(pictures, -1, np.int32)
    for q in range(query.size):
        h = query[q]
        for part in range(4):
            key = (h >> np.uint64(16 * part)) & np.uint64(0xFFFF)
            for f in flips:
                bucket = np.int64(key ^ f)
                for at in range(starts[part, bucket], starts[part, bucket + 1]):
                    if popcount(h ^ values[part, at]) > radius:
                        continue
                    b = owners[part, at]
                    if seen[b] == q or (within and b == q):
                        continue
                    seen[b] = q
                    if n == found.shape[1]:
                        more = np.empty((2, 2 * n), np.int32)
                        more[:, :n] = found
                        found = more
                    found[0, n] = q
                    found[1, n] = b
                    n += 1
    return found[0, :n], found[1, :n]


@kernel
def apart(hashes: Array, i: Array, j: Array) -> Array:
    """Return in how many bits the first hash of `i[k]` and any of `j[k]`, or the other way round, differ at least."""
    out = np.empty(len(i), np.int64)
    for k in range(len(i)):
        least = 64
        for h in range(hashes.shape[1]):
            one = popcount(hashes[i[k], 0] ^ hashes[j[k], h])
            two = popcount(hashes[j[k], 0] ^ hashes[i[k], h])
            least = min(least, one, two)
        out[k] = least
    return out

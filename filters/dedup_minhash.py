"""Near duplicates by MinHash and banded LSH (Broder 1997; Lee et al. 2021, arXiv 2107.06499).

Looks at the text of all messages, in words as in `filters/shared/text.py` (lower case, no punctuation). Applies to samples
without media, of at least `min_words` words: where there are images, the same words under another picture are another
sample (81 product texts describe 5,421 photos of grocery_store), and that is the image filters' work. `media: true`
lifts this.

`signature` (binary, 4 * bands * rows bytes): the minima of `bands * rows` hash functions, 32 bits each, over the 64-bit
hashes of all runs of `shingle` words. No bounds: who survives is decided by the judge's policy.

`cluster`: two samples are candidates when all rows of any band agree, and neighbours when the share of equal minima, which
estimates the Jaccard similarity of their shingle sets (0..1, standard error 0.04), reaches `similarity`. Chains of neighbours
are then cut: in the order of ids, a sample joins the first representative of its chain to which it is as similar as
`similarity` asks, or becomes a representative itself. A cluster's id is its representative's, the smallest of its members, and
a member's similarity is that to it.

What this promises: every member's estimate to its representative reaches `similarity`; two other members may be less alike (at
0.7, estimates down to 0.4). The judge keeps the representative, unless `prefer` names another or a bound has dropped it. A
sample may stay although a neighbour of it is dropped, where that one went for a representative to which it is not similar
itself. The result depends neither on the order of rows nor on the number of workers. Within one band a sample is compared with
at most 1,000 others that are not yet known to be of its chain, within one chain with at most 10,000 representatives.

Source of the defaults: 5-word shingles, 14 bands of 8 rows as FineWeb (arXiv 2406.17557) in datatrove,
https://github.com/huggingface/datatrove, where a pair of similarity 0.75 is found with probability 0.77 and one of 0.85
with 0.99. Different there: candidates are not verified. The bound of 0.7 on the estimate is Data-Juicer's
(`document_minhash_deduplicator`, jaccard_threshold 0.7).
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.base import scorer
from filters.shared.kinds import within
from filters.shared.minhash import band_keys, equal_share
from filters.shared.minhash import minima as unpacked
from filters.shared.text import Array, extend, has_media, kernel, message_tokens, messages, mix, table

_MOST_COMPARED = 1000
_MOST_REPRESENTATIVES = 10_000


@kernel
def _sign(hashes: Array, first: Array, wanted: Array, shingle: int, permutations: int) -> Array:
    """Return the minima of `permutations` hash functions over the shingles of every wanted text."""
    n = len(first) - 1
    a = np.empty(permutations, np.uint64)
    b = np.empty(permutations, np.uint64)
    for k in range(permutations):
        a[k] = mix(np.uint64(2 * k + 1)) | np.uint64(1)
        b[k] = mix(np.uint64(2 * k + 2))
    out = np.zeros((n, permutations), np.uint32)
    low = np.empty(permutations, np.uint64)
    for t in range(n):
        if not wanted[t]:
            continue
        low[:] = np.uint64(0xFFFFFFFFFFFFFFFF)
        begin = first[t]
        last = max(begin, first[t + 1] - shingle)
        for i in range(begin, last + 1):
            h = np.uint64(0)
            for k in range(i, min(i + shingle, first[t + 1])):
                h = extend(h, hashes[k])
            for k in range(permutations):
                v = (h ^ b[k]) * a[k]
                low[k] = min(low[k], v)
        for k in range(permutations):
            out[t, k] = np.uint32(low[k] >> np.uint64(32))
    return out


@kernel
def _root(parent: Array, i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@kernel
def _equal(signatures: Array, i: int, j: int) -> int:
    same = 0
    for k in range(signatures.shape[1]):
        if signatures[i, k] == signatures[j, k]:
            same += 1
    return same


@kernel
def _join(signatures: Array, keys: Array, order: Array, needed: float, most: int, parent: Array) -> None:
    """Join what is similar among the rows of one band; `order` sorts `keys`, ties by row."""
    n = len(order)
    begin = 0
    while begin < n:
        end = begin + 1
        while end < n and keys[order[end]] == keys[order[begin]]:
            end += 1
        for x in range(begin + 1, end):
            i = order[x]
            compared = 0
            for y in range(begin, x):
                j = order[y]
                ri = _root(parent, i)
                rj = _root(parent, j)
                if ri == rj:
                    continue
                if compared == most:
                    break
                compared += 1
                if _equal(signatures, i, j) >= needed:
                    # The smaller row is the root: rows are sorted by id, so a root is its cluster's smallest id.
                    if ri < rj:
                        parent[rj] = ri
                    else:
                        parent[ri] = rj
        begin = end


@kernel
def _roots(parent: Array) -> Array:
    roots = np.empty(len(parent), np.int64)
    for i in range(len(parent)):
        roots[i] = _root(parent, i)
    return roots


@kernel
def _cut(signatures: Array, roots: Array, order: Array, needed: float, most: int) -> tuple[Array, Array]:
    """Return every row's representative and the share of minima that it has in common with it.

    `order` sorts `roots`, ties by row.
    """
    n = len(order)
    width = signatures.shape[1]
    chosen = np.empty(n, np.int64)
    share = np.ones(n, np.float64)
    representatives = np.empty(n, np.int64)
    used = 0
    for x in range(n):
        i = order[x]
        if x == 0 or roots[i] != roots[order[x - 1]]:
            used = 0
        chosen[i] = i
        for y in range(min(used, most)):
            j = representatives[y]
            unequal = 0
            for k in range(width):
                if signatures[i, k] != signatures[j, k]:
                    unequal += 1
                    if width - unequal < needed:
                        break
            if width - unequal >= needed:
                chosen[i] = j
                share[i] = (width - unequal) / width
                break
        if chosen[i] == i:
            representatives[used] = i
            used += 1
    return chosen, share


@scorer(version=2, scores={"signature": pa.binary()}, bounds={})
def dedup_minhash(
    batch: pa.RecordBatch,
    *,
    bands: int = 14,
    rows: int = 8,
    shingle: int = 5,
    min_words: int = 15,
    similarity: float = 0.7,
    media: bool = False,
) -> pa.RecordBatch:
    """Return the MinHash signatures of `batch`."""
    within("bands", bands, 1)
    within("rows", rows, 1)
    tokens = message_tokens(batch)
    _, _, at = messages(batch)
    first = tokens.first[at]  # all words of a sample, whichever message they stand in
    wanted = np.diff(first) >= max(min_words, 1)
    if not media:
        wanted &= ~has_media(batch)
    minima = _sign(tokens.hashes, first, wanted, shingle, bands * rows)
    fixed = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(4 * bands * rows), len(minima), [None, pa.py_buffer(minima.astype("<u4"))]
    )
    return table(signature=pc.if_else(pa.array(wanted), fixed.cast(pa.binary()), pa.scalar(None, pa.binary())))


def keys(signatures: pa.Table, *, bands: int = 14, rows: int = 8) -> pa.Table:
    """Return (row, key): one key per band of every signature; rows that share one are candidates."""
    found = band_keys(unpacked(signatures["signature"], bands * rows), bands, rows)
    return pa.table({"row": np.repeat(np.arange(len(found), dtype=np.int64), bands), "key": found.ravel()})


def alike(
    signatures: pa.Table, a: Array, b: Array, *, bands: int = 14, rows: int = 8, similarity: float = 0.7
) -> Array:
    """Return the estimated Jaccard similarity of pairs of rows, 0 where it is below `similarity`."""
    needed = similarity * bands * rows - 1e-9
    shares: Array = equal_share(unpacked(signatures["signature"], bands * rows), a, b, needed)
    return shares


def cluster(signatures: pa.Table, *, bands: int = 14, rows: int = 8, similarity: float = 0.7) -> pa.Table:
    """Return (id, cluster, similarity) of every sample that has a near duplicate."""
    found = pa.table({"id": signatures["id"], "signature": signatures["signature"]})
    found = found.filter(pc.is_valid(found["signature"])).sort_by("id")
    n = found.num_rows
    ids = found["id"].combine_chunks().cast(pa.string())
    minima = unpacked(found["signature"], bands * rows)
    parent = np.arange(n, dtype=np.int64)
    needed = similarity * bands * rows - 1e-9
    for of_band in band_keys(minima, bands, rows).T:
        _join(minima, of_band, np.argsort(of_band, kind="stable"), needed, _MOST_COMPARED, parent)
    roots = _roots(parent)
    chosen, share = _cut(minima, roots, np.argsort(roots, kind="stable"), needed, _MOST_REPRESENTATIVES)
    members = np.bincount(chosen, minlength=n)[chosen] > 1 if n else np.zeros(0, bool)
    out = pa.table({"id": ids, "cluster": ids.take(pa.array(chosen)), "similarity": pa.array(np.round(share, 6))})
    return out.filter(pa.array(members))

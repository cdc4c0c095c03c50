"""MinHash as arrays: what `dedup_minhash` asks of signatures, one row of minima per text (uint32, texts x functions)."""

import numpy as np
import pyarrow as pa

from filters.shared.text import Array, extend, kernel, mix


def minima(column: pa.Array | pa.ChunkedArray, width: int) -> Array:
    """Return the minima that a signature column holds, `width` for every row; no row may be null."""
    column = column.cast(pa.large_binary())
    raw = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    n = len(raw)
    if not n:
        return np.zeros((0, width), np.uint32)
    offsets = np.frombuffer(raw.buffers()[1], np.int64)[raw.offset : raw.offset + n + 1]
    data = np.frombuffer(raw.buffers()[2], np.uint8)[offsets[0] : offsets[-1]]
    return data.view("<u4").reshape(n, width)


@kernel
def band_keys(signatures: Array, bands: int, rows: int) -> Array:
    """Return a hash of every band of every signature (texts x bands), the band's number in it: bands never mix."""
    n = len(signatures)
    out = np.empty((n, bands), np.uint64)
    for t in range(n):
        for band in range(bands):
            h = mix(np.uint64(band + 1))
            for k in range(band * rows, (band + 1) * rows):
                h = extend(h, np.uint64(signatures[t, k]))
            out[t, band] = h
    return out


@kernel
def equal_share(signatures: Array, a: Array, b: Array, needed: float) -> Array:
    """Return which share of minima the pairs of rows (a, b) have in common; 0 for a pair with fewer than `needed`."""
    width = signatures.shape[1]
    out = np.zeros(len(a), np.float64)
    for p in range(len(a)):
        i, j = a[p], b[p]
        unequal = 0
        for k in range(width):
            if signatures[i, k] != signatures[j, k]:
                unequal += 1
                if width - unequal < needed:
                    break
        if width - unequal >= needed:
            out[p] = (width - unequal) / width
    return out

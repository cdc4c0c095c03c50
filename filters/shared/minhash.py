"""MinHash as arrays: from words to minima and sets of shingles, and what is asked of two of them.

A shingle is a run of `n` units (words or characters); it is known by 32 bits: a polynomial of the units' 64-bit hashes, which
rolls from one shingle to the next, mixed. A text of fewer units is one shingle. Function k of the `functions` is x -> (x ^ b) * a
modulo 2^32 with a odd, a permutation of the 32-bit numbers; its minimum over a text's shingles is one entry of the signature.
Two texts of Jaccard similarity j agree in an entry with probability j (Broder 1997, doi 10.1109/SEQUEN.1997.666900).

32-bit arithmetic is what vector units do eight or sixteen at a time; measured on random sets it estimates as well as 64-bit
arithmetic does, with the spread of independent functions. Two texts of a thousand shingles each share one by accident in one of
4,000 cases.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.shared.text import ALONE, IGNORED, WORD, Array, borrowed, class_of, decode, extend, kernel, mix, starts

_UNIT = ALONE | WORD
_FACTOR = np.uint64(0x9E3779B97F4A7C15)


# -- from units to signatures ------------------------------------------------------------------------------------------


@kernel
def characters(data: Array, offsets: Array, table: Array) -> tuple[Array, Array]:
    """Return a hash of every character of normalised texts and where each text's begin.

    Only what words are made of counts; whatever separates two words is one space, and one follows the last.
    """
    data, table = borrowed(data), borrowed(table)
    n = len(offsets) - 1
    out = np.empty(offsets[n] - offsets[0] + n, np.uint64)
    first = np.zeros(n + 1, np.int64)
    m = 0
    for t in range(n):
        i, end = offsets[t], offsets[t + 1]
        gap = False
        while i < end:
            cp, step = decode(data, i, end)
            kind = class_of(table, cp)
            if kind & _UNIT:
                if gap and m > first[t]:
                    out[m] = mix(np.uint64(32))
                    m += 1
                gap = False
                out[m] = mix(np.uint64(cp))
                m += 1
            elif kind & IGNORED == 0:
                gap = True
            i += step
        if m > first[t]:
            out[m] = mix(np.uint64(32))
            m += 1
        first[t + 1] = m
    return out[:m].copy(), first


@kernel
def _shingles(units: Array, begin: int, end: int, n: int, out: Array) -> int:
    """Write the shingles of the units `begin:end` to `out`, and return how many there are."""
    leaving = np.uint64(1)
    for _ in range(n):
        leaving *= _FACTOR
    h = np.uint64(0)
    m = 0
    for i in range(begin, end):
        h = h * _FACTOR + units[i]
        if i >= begin + n:
            h -= units[i - n] * leaving
        if i >= begin + n - 1:
            out[m] = np.uint32(mix(h) >> np.uint64(32))
            m += 1
    if m == 0 and end > begin:
        out[0] = np.uint32(mix(h) >> np.uint64(32))
        m = 1
    return m


@kernel
def _longest(first: Array) -> int:
    most = 0
    for t in range(len(first) - 1):
        most = max(most, first[t + 1] - first[t])
    return most


@kernel
def minima(units: Array, first: Array, wanted: Array, n: int, functions: int) -> Array:
    """Return the minima of `functions` hash functions over the shingles of every wanted text (texts x functions); 0 elsewhere."""
    a = np.empty(functions, np.uint32)
    b = np.empty(functions, np.uint32)
    for k in range(functions):
        a[k] = np.uint32(mix(np.uint64(2 * k + 1)) >> np.uint64(32)) | np.uint32(1)
        b[k] = np.uint32(mix(np.uint64(2 * k + 2)) >> np.uint64(32))
    out = np.zeros((len(first) - 1, functions), np.uint32)
    s = np.empty(_longest(first), np.uint32)
    for t in range(len(first) - 1):
        if not wanted[t]:
            continue
        m = _shingles(units, first[t], first[t + 1], n, s)
        low = out[t]
        low[:] = np.uint32(0xFFFFFFFF)
        i = 0
        while i + 4 <= m:  # four at a time: the minima are read and written once for four shingles
            p, q, u, v = s[i], s[i + 1], s[i + 2], s[i + 3]
            for k in range(functions):
                one = min(np.uint32((p ^ b[k]) * a[k]), np.uint32((q ^ b[k]) * a[k]))
                two = min(np.uint32((u ^ b[k]) * a[k]), np.uint32((v ^ b[k]) * a[k]))
                low[k] = min(low[k], min(one, two))
            i += 4
        while i < m:
            p = s[i]
            for k in range(functions):
                low[k] = min(low[k], np.uint32((p ^ b[k]) * a[k]))
            i += 1
    return out


@kernel
def shingle_sets(units: Array, first: Array, wanted: Array, n: int) -> tuple[Array, Array]:
    """Return the different shingles of every wanted text, ascending, and how many each text has."""
    out = np.empty(len(units) + len(first), np.uint32)
    count = np.zeros(len(first) - 1, np.int64)
    s = np.empty(_longest(first), np.uint32)
    m = 0
    for t in range(len(first) - 1):
        if not wanted[t]:
            continue
        found = np.sort(s[: _shingles(units, first[t], first[t + 1], n, s)])
        for i in range(len(found)):
            if i == 0 or found[i] != found[i - 1]:
                out[m] = found[i]
                m += 1
                count[t] += 1
    return out[:m].copy(), count


def packed(values: Array, count: Array, applies: Array) -> pa.Array:
    """Return runs of 32-bit numbers as binary, the first `count[0]`, the next `count[1]`, ...; null where `applies` is false."""
    whole = np.ascontiguousarray(values, "<u4")
    offsets = np.ascontiguousarray(starts(count) * 4, np.int64)
    parts = [None, pa.py_buffer(offsets), pa.py_buffer(whole)]
    column = pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(count), parts).cast(pa.binary())
    return pc.if_else(pa.array(np.asarray(applies, bool)), column, pa.scalar(None, pa.binary()))


def unpacked(column: pa.Array | pa.ChunkedArray) -> tuple[Array, Array]:
    """Return the numbers that `packed` wrote and at which byte each row's begin, the first not always at 0.

    No row may be null. What is one chunk is not copied.
    """
    if isinstance(column, pa.ChunkedArray):
        many = column.num_chunks != 1  # more than 32-bit offsets can address, maybe
        column = column.cast(pa.large_binary()).combine_chunks() if many else column.chunk(0)
    n = len(column)
    if not n:
        return np.zeros(0, np.uint32), np.zeros(1, np.int64)
    raw = column.buffers()
    offsets = np.frombuffer(raw[1], np.int64 if pa.types.is_large_binary(column.type) else np.int32)
    offsets = offsets[column.offset : column.offset + n + 1]
    data = np.frombuffer(raw[2], np.uint8)[offsets[0] : offsets[-1]]
    return data.view("<u4"), offsets


# -- from signatures to duplicates -------------------------------------------------------------------------------------


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


@kernel
def jaccard(values: Array, first: Array, a: Array, b: Array, least: float) -> Array:
    """Return the Jaccard similarity of the sets of the pairs of rows (a, b); 0 for a pair that is below `least`.

    `values` and `first` are from `unpacked`.
    """
    out = np.zeros(len(a), np.float64)
    origin = first[0]
    for p in range(len(a)):
        x, last = (first[a[p]] - origin) // 4, (first[a[p] + 1] - origin) // 4
        y, end = (first[b[p]] - origin) // 4, (first[b[p] + 1] - origin) // 4
        both = last - x + end - y
        needed = least * both / (1.0 + least) - 1e-9  # of j = c / (both - c)
        common = 0
        while x < last and y < end and common + min(last - x, end - y) >= needed:
            if values[x] == values[y]:
                common += 1
                x += 1
                y += 1
            elif values[x] < values[y]:
                x += 1
            else:
                y += 1
        if common and common >= needed:
            out[p] = common / (both - common)
    return out


def curve(bands: int, rows: int) -> list[tuple[float, float]]:
    """Return (Jaccard similarity, probability that all rows of any band agree) from 0 to 1 in twentieths: the S-curve of LSH."""
    return [(k / 20, 1 - (1 - (k / 20) ** rows) ** bands) for k in range(21)]


def midpoint(bands: int, rows: int) -> float:
    """Return the Jaccard similarity at which the S-curve is one half."""
    return float((1 - 0.5 ** (1 / bands)) ** (1 / rows))

"""The vectors of samples as bytes, and back: what a sample's signature is in semantic deduplication.

A signature is a header and vectors of float16, all of length 1: those of a sample's images in their order, all of one width,
then that of its text. A sample with a vector that has no direction (zero, NaN, infinite) has no signature. A million vectors
of 512 numbers are 1 GB; they stay where Arrow has them and become float32 a block at a time.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.shared.text import Array, kernel, starts

HEADER = 6  # bytes: images, width of theirs, width of the text's; little-endian, 16 bits each
WIDEST = 2**16 - 1  # numbers of a vector, and images of a sample


@dataclass(frozen=True, kw_only=True)
class Vectors:
    """Vectors of some samples, each of a width of its own: vector k is `flat[first[k]:first[k+1]]`, of sample `row[k]`."""

    row: Array  # int64, ascending
    first: Array  # int64, one more than vectors
    flat: Array

    @staticmethod
    def of(row: Array, matrix: Array) -> "Vectors":
        """Return the rows of `matrix`."""
        first = np.arange(len(row) + 1, dtype=np.int64) * (matrix.shape[1] if len(row) else 0)
        return Vectors(row=row.astype(np.int64), first=first, flat=matrix.reshape(-1))

    def take(self, which: Array, row: Array) -> "Vectors":
        """Return the vectors number `which` as those of the samples `row`."""
        width = np.diff(self.first)[which]
        first = starts(width)
        at = np.arange(first[-1]) + np.repeat(self.first[:-1][which] - first[:-1], width)
        return Vectors(row=row, first=first, flat=self.flat[at])


NONE = Vectors(row=np.zeros(0, np.int64), first=np.zeros(1, np.int64), flat=np.zeros(0, np.float32))


@kernel
def _unit(flat: Array, first: Array) -> tuple[Array, Array]:
    out = np.zeros(len(flat), np.float64)
    good = np.zeros(len(first) - 1, np.bool_)
    for k in range(len(good)):
        top = 0.0
        for c in range(first[k], first[k + 1]):
            v = np.float64(flat[c])
            top = max(top, abs(v)) if v == v else np.inf  # NaN is not itself
            if top == np.inf:
                break
        if not 0.0 < top < np.inf:
            continue
        good[k] = True
        square = 0.0
        for c in range(first[k], first[k + 1]):  # by the largest number first, so that no square overflows
            out[c] = np.float64(flat[c]) / top
            square += out[c] * out[c]
        for c in range(first[k], first[k + 1]):
            out[c] /= np.sqrt(square)
    return out, good


def unit(vectors: Vectors) -> tuple[Vectors, Array]:
    """Return the vectors as float16, of length 1, and which have a direction."""
    flat = vectors.flat.astype(np.float32) if vectors.flat.dtype == np.float16 else vectors.flat
    out, good = _unit(flat, vectors.first)
    return Vectors(row=vectors.row, first=vectors.first, flat=out.astype("<f2")), good


def pack(n: int, images: Vectors, texts: Vectors, applies: Array) -> pa.Array:
    """Return the signatures of `n` samples, as binary; null where `applies` is false or a vector has no direction.

    A sample has any number of vectors of images, all of one width, in order, and at most one of its text.
    """
    broken = np.zeros(n, bool)
    head = np.zeros((n, 3), np.int64)
    pieces = []
    for place, part in ((1, images), (2, texts)):
        part, good = unit(part)
        width = np.diff(part.first)
        head[part.row, place] = width
        broken[part.row[~good | (head[part.row, place] != width)]] = True
        pieces.append(_pieces(part.flat.view(np.uint8), part.first * 2))
    head[:, 0] = count = np.bincount(images.row, minlength=n)
    said = np.bincount(texts.row, minlength=n)
    whole = applies & ~broken & (count + said > 0) & (head <= WIDEST).all(1)
    # The pieces of a sample stand together: its header, its images, its text.
    heads = _pieces(np.minimum(head, WIDEST).astype("<u2").view(np.uint8).reshape(-1), np.arange(n + 1) * HEADER)
    of = np.concatenate([np.arange(n), images.row, texts.row])
    kind = np.repeat([0, 1, 2], [n, len(images.row), len(texts.row)])
    order = np.lexsort((np.arange(len(of)), kind, of))
    lists = pa.LargeListArray.from_arrays(
        pa.array(starts(1 + count + said)), pa.concat_arrays([heads, *pieces]).take(pa.array(order))
    )
    joined = pc.binary_join(lists, pa.scalar(b"", pa.large_binary())).cast(pa.binary())
    return pc.if_else(pa.array(whole), joined, pa.scalar(None, pa.binary()))


def _pieces(data: Array, offsets: Array) -> pa.Array:
    parts = [None, pa.py_buffer(offsets.astype(np.int64).tobytes()), pa.py_buffer(data.tobytes())]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(offsets) - 1, parts)


@kernel
def _heads(data: Array, begin: Array, end: Array) -> Array:
    out = np.zeros((len(begin), 3), np.int64)
    for k in range(len(begin)):
        at = begin[k]
        if end[k] - at < HEADER:
            continue
        for c in range(3):
            out[k, c] = data[at + 2 * c] + (np.int64(data[at + 2 * c + 1]) << 8)
        if HEADER + 2 * (out[k, 0] * out[k, 1] + out[k, 2]) != end[k] - at or out[k, 1] + out[k, 2] == 0:
            out[k] = 0
    return out


@kernel
def _take(half: Array, begin: Array, wanted: Array, at: Array, edges: Array, bits: Array, out: Array) -> None:
    """Read the vectors of the rows `wanted` into the rows `at` of `out`, each of length 1, or 0 where it has no direction.

    `bits` is `out` as whole numbers. The bits of a float16, moved to where those of a float32 stand, are its value times 2**-112.
    """
    for w in range(len(wanted)):
        first = (begin[wanted[w]] + HEADER) >> 1
        for p in range(len(edges) - 1):
            given = half[first + edges[p] : first + edges[p + 1]]
            made = bits[at[w], edges[p] : edges[p + 1]]
            x = out[at[w], edges[p] : edges[p + 1]]
            top = np.uint32(0)
            for c in range(len(x)):
                h = np.uint32(given[c])
                size = h & np.uint32(0x7FFF)
                top = max(top, size)
                made[c] = (size << np.uint32(13)) | ((h & np.uint32(0x8000)) << np.uint32(16))
            if top == 0 or top >= 0x7C00:  # nothing but zeros; NaN or infinite
                x[:] = np.float32(0)
                continue
            # Eight sums, so that eight products are added at a time; always in this order.
            s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = 0.0
            for k in range(len(x) // 8):
                c = 8 * k
                s0 += np.float64(x[c]) * np.float64(x[c])
                s1 += np.float64(x[c + 1]) * np.float64(x[c + 1])
                s2 += np.float64(x[c + 2]) * np.float64(x[c + 2])
                s3 += np.float64(x[c + 3]) * np.float64(x[c + 3])
                s4 += np.float64(x[c + 4]) * np.float64(x[c + 4])
                s5 += np.float64(x[c + 5]) * np.float64(x[c + 5])
                s6 += np.float64(x[c + 6]) * np.float64(x[c + 6])
                s7 += np.float64(x[c + 7]) * np.float64(x[c + 7])
            for c in range(8 * (len(x) // 8), len(x)):
                s0 += np.float64(x[c]) * np.float64(x[c])
            scale = 1.0 / np.sqrt(((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7)))
            for c in range(len(x)):
                x[c] = np.float32(np.float64(x[c]) * scale)


@dataclass(frozen=True, kw_only=True)
class Signatures:
    """The signatures of a table, where they lie. Rows are those of the column."""

    chunks: tuple[tuple[Array, Array], ...]  # (bytes in twos, at which byte each row begins)
    first: Array  # the row with which each chunk begins
    heads: Array  # images, width, width of the text of every row; all 0 where it has no signature

    def take(self, rows: Array, images: int, width: int, text: int) -> Array:
        """Return the vectors of `rows`, which are all laid out so, side by side: float32, each of length 1."""
        edges = starts(np.array([width] * images + [text] * (text > 0), np.int64))
        out = np.empty((len(rows), int(edges[-1])), np.float32)
        chunk = np.searchsorted(self.first, rows, "right") - 1
        for c in np.unique(chunk):
            at = np.flatnonzero(chunk == c)
            half, begin = self.chunks[c]
            _take(half, begin, rows[at] - self.first[c], at, edges, out.view(np.uint32), out)
        return out


def unpack(column: pa.ChunkedArray) -> Signatures:
    """Return the signatures in `column`; nothing is copied but where something stands in it that is none."""
    if column.num_chunks > 64:  # a table that nobody combined
        column = pa.chunked_array([column.cast(pa.large_binary()).combine_chunks()])
    chunks, heads = [], [np.zeros((0, 3), np.int64)]
    for chunk in column.chunks:
        data, offsets = _raw(chunk)
        found = _heads(data, offsets[:-1], offsets[1:])
        found[~np.asarray(pc.is_valid(chunk))] = 0
        good = found.any(1)
        if (offsets[:-1][good] & 1).any():  # bytes of an odd number before them
            data, begin = _raw(chunk.filter(pa.array(good)))
            offsets[:-1][good] = begin[:-1]
        chunks.append((data[: len(data) & ~1].view("<u2"), offsets[:-1]))
        heads.append(found)
    first = starts(np.array([len(b) for _, b in chunks], np.int64))[:-1]
    return Signatures(chunks=tuple(chunks), first=first, heads=np.concatenate(heads))


def _raw(chunk: pa.Array) -> tuple[Array, Array]:
    """Return the bytes of an array of binaries, and where each begins, and the last ends."""
    if not len(chunk):
        return np.zeros(0, np.uint8), np.zeros(1, np.int64)
    _, ends, data = chunk.buffers()
    offsets = np.frombuffer(ends, np.int32 if pa.types.is_binary(chunk.type) else np.int64)
    raw = np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)
    return raw, offsets[chunk.offset : chunk.offset + len(chunk) + 1].astype(np.int64)

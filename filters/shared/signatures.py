"""What a pooling filter knows of one sample, as bytes: hashes of words and strings, packed 64-bit numbers."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.shared.text import Array, buffers, extend, kernel, lengths, mix, starts


@kernel
def fold(hashes: Array, first: Array) -> Array:
    """Return one hash per run of hashes, in their order; 0 for an empty run."""
    out = np.zeros(len(first) - 1, np.uint64)
    for t in range(len(first) - 1):
        h = np.uint64(0)
        for w in range(first[t], first[t + 1]):
            h = extend(h, hashes[w])
        out[t] = h
    return out


@kernel
def _fnv(data: Array, offsets: Array) -> Array:
    out = np.zeros(len(offsets) - 1, np.uint64)
    for t in range(len(offsets) - 1):
        h = np.uint64(0xCBF29CE484222325)
        for i in range(offsets[t], offsets[t + 1]):
            h = (h ^ np.uint64(data[i])) * np.uint64(0x100000001B3)
        out[t] = mix(h)
    return out


def of_strings(column: pa.Array) -> Array:
    """Return a hash of every string's bytes (FNV-1a, then mixed): the same on every machine and with every version."""
    raw = buffers(column)
    return _fnv(raw.data, raw.offsets)  # type: ignore[no-any-return]


def of_media(batch: pa.RecordBatch) -> Array:
    """Return a hash of the digests of every sample's media, 0 where it has none."""
    media = batch.column("media")
    return fold(of_strings(media.flatten().field("digest")), starts(lengths(media)))  # type: ignore[no-any-return]


@kernel
def _distinct(hashes: Array, first: Array) -> tuple[Array, Array]:
    out = np.empty(len(hashes), np.uint64)
    count = np.zeros(len(first) - 1, np.int64)
    k = 0
    for t in range(len(first) - 1):
        words = np.sort(hashes[first[t] : first[t + 1]])
        for i in range(len(words)):
            if i == 0 or words[i] != words[i - 1]:
                out[k] = words[i]
                k += 1
                count[t] += 1
    return out[:k].copy(), count


def distinct(hashes: Array, first: Array) -> tuple[Array, Array]:
    """Return the different hashes of every run, in order of size, and how many each run has."""
    found: tuple[Array, Array] = _distinct(hashes, first)
    return found


def pack(values: Array, count: Array, applies: Array) -> pa.Array:
    """Return runs of 64-bit numbers as binary, the first `count[0]`, the next `count[1]`, ...; null where `applies` is false."""
    whole = np.ascontiguousarray(values, "<u8")
    offsets = np.ascontiguousarray(starts(count) * 8, np.int32)
    parts = [None, pa.py_buffer(offsets.tobytes()), pa.py_buffer(whole.tobytes())]
    return pc.if_else(
        pa.array(np.asarray(applies, bool)),
        pa.BinaryArray.from_buffers(pa.binary(), len(count), parts),
        pa.scalar(None, pa.binary()),
    )


def pack_one(values: Array, applies: Array) -> pa.Array:
    """Return one 64-bit number per row as binary."""
    return pack(values, np.ones(len(values), np.int64), applies)


def unpack(column: pa.Array | pa.ChunkedArray) -> tuple[Array, Array]:
    """Return the numbers that `pack` wrote, and how many each row has; none for null."""
    whole = column.cast(pa.large_binary())  # first: 32-bit offsets end at 2 GiB, some ten million captions
    whole = whole.combine_chunks() if isinstance(whole, pa.ChunkedArray) else whole
    whole = pc.fill_null(whole, b"")
    count = np.asarray(pc.binary_length(whole)).astype(np.int64) // 8
    bounds = pa.array([0, len(whole)], pa.int64())
    joined = pc.binary_join(pa.LargeListArray.from_arrays(bounds, whole), pa.scalar(b"", pa.large_binary()))
    return np.frombuffer(joined[0].as_py(), "<u8"), count

"""Perceptual signatures of pictures: what finds copies that were re-encoded, resized, brightened or cropped, and only those.

A signature (`SIZE` bytes) has three parts.
- Sixteen 64-bit DCT hashes: of the whole picture, of eight slight crops of it, and of its seven turns (flips and
  rotations by quarters). A copy is a candidate when the hash of one whole picture lies within a Hamming radius of any of
  the other's nine (`filters/shared/hamming.py`). Bit 8u + v: whether cosine coefficient (u, v) lies above the median by more
  than a tenth of their mean size. Not above the median itself (Zauner 2010), because half of the coefficients of a
  symmetrical drawing are zero, which is their median, and rounding would set their bits.
- A grey thumbnail, 48 x 48, smoothed as it is made so that it can be laid over another one between its points, and
  colour differences, 12 x 12: by these a candidate is verified (`filters/shared/alignment.py`).
"""

import copy
import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from filters.shared.images import Pixels, cut
from filters.shared.planes import Cuts, shrink
from filters.shared.text import borrowed, inlined, kernel

Array = npt.NDArray[Any]
SIDE = 48
CHROMA = 12
WAVES = 8
# (left, top, right, bottom), as shares of the picture
CROPS = (
    (0.0, 0.0, 1.0, 1.0),
    (0.025, 0.025, 0.975, 0.975),
    (0.05, 0.05, 0.95, 0.95),
    (0.05, 0.0, 1.0, 1.0),
    (0.0, 0.05, 1.0, 1.0),
    (0.05, 0.05, 1.0, 1.0),
    (0.0, 0.0, 0.95, 0.95),
    (0.0, 0.0, 0.95, 1.0),
    (0.0, 0.0, 1.0, 0.95),
)
HASHES = len(CROPS)
TURNS = 8  # 4: transposed, then 2: upside down, then 1: mirrored
KEYS = 8 * (HASHES + TURNS - 1)  # bytes
SIZE = KEYS + SIDE * SIDE + 2 * CHROMA * CHROMA
ABOVE = 0.1  # of the mean size of the coefficients, what a bit must lie above the median
BLANK = 2.0  # standard deviation of the thumbnail under which there is nothing to recognise


def signatures(cuts: Cuts) -> Array:
    """Measure: 1 and the signature of each picture, `1 + SIZE` bytes; 0 and nothing for a blank one."""
    out = np.zeros((len(cuts), 1 + SIZE), np.uint8)
    small, lattice = cuts.small, cuts.lattice
    rows, columns, crops = _crops()
    _sign(
        small.data, small.first, small.height, small.width, lattice.data, lattice.first, lattice.height, lattice.width,
        rows, columns, crops, out,
    )  # fmt: skip
    return out


def signature(picture: Pixels) -> bytes | None:
    """Return the signature of a picture; None for a blank one."""
    return raw(signatures(cut(picture)))[0]


def raw(signed: Array) -> list[bytes | None]:
    """Return what `signatures` measured as bytes; None for a picture that is blank or could not be decoded."""
    return [row[1:].tobytes() if row[0] else None for row in signed]


@functools.cache
def _crops() -> tuple[Array, Array, Array]:
    """Return the lowest 8 cosine transforms of each different crop of an axis, and which two a hash is made of."""
    spans = sorted({c[1::2] for c in CROPS} | {c[0::2] for c in CROPS})
    at = np.arange(SIDE)
    waves = np.cos(np.pi * (2 * at[None] + 1) * np.arange(WAVES)[:, None] / (2 * SIDE))
    out = []
    for begin, end in spans:
        edge = begin * SIDE + (end - begin) * np.arange(SIDE + 1)
        # How much of cell x lies in cell i of the crop: the crop's picture is the mean over each of its cells.
        part = np.clip(np.minimum(edge[1:, None], at + 1) - np.maximum(edge[:-1, None], at), 0, None)
        out.append(waves @ (part / part.sum(1, keepdims=True)))
    both = np.concatenate(out)
    which = [(spans.index(c[1::2]), spans.index(c[0::2])) for c in CROPS]
    return np.round(both, 12), np.round(both.T, 12).copy(), np.asarray(which, np.int64)


# -- signing -----------------------------------------------------------------------------------------------------------


@kernel
def _sign(
    data: Array, first: Array, heights: Array, widths: Array, colour: Array, at: Array, downs: Array, acrosses: Array,
    rows: Array, columns: Array, crops: Array, out: Array,
) -> None:  # fmt: skip
    thumb = np.empty((SIDE, SIDE), np.uint8)
    base = np.empty((SIDE, SIDE))
    for k in range(len(heights)):
        _thumbnail(data[first[k] : first[k + 1]].reshape(heights[k], widths[k]), thumb)
        total = np.int64(0)
        squares = np.int64(0)
        for y in range(SIDE):
            for x in range(SIDE):
                v = np.int64(thumb[y, x])
                base[y, x] = np.float64(v)
                total += v
                squares += v * v
        n = SIDE * SIDE
        if n * squares - total * total < BLANK * BLANK * n * n:
            continue
        mine = out[k]
        mine[0] = 1
        _hash(base, rows, columns, crops, mine[1 : 1 + KEYS])
        mine[1 + KEYS : 1 + KEYS + SIDE * SIDE] = thumb.ravel()
        _chroma(colour[at[k] : at[k + 1]].reshape(downs[k], acrosses[k]), mine[1 + KEYS + SIDE * SIDE :])


@kernel
def _thumbnail(plane: Array, to: Array) -> None:
    """Average `plane` over the cells of a grid twice as fine as `to`, and smooth that by (1, 3, 3, 1) as it is halved."""
    n = to.shape[0]
    if min(plane.shape[0], plane.shape[1]) < 2 * n:
        plane = _spread(plane, 2 * n)
    fine = np.empty((2 * n, 2 * n), np.uint8)
    shrink(plane, fine)
    half = np.empty((2 * n, n), np.int32)
    for y in range(2 * n):
        for x in range(n):
            outer = np.int32(fine[y, max(2 * x - 1, 0)]) + np.int32(fine[y, min(2 * x + 2, 2 * n - 1)])
            half[y, x] = outer + np.int32(3) * (np.int32(fine[y, 2 * x]) + np.int32(fine[y, 2 * x + 1]))
    for y in range(n):
        above = half[max(2 * y - 1, 0)]
        below = half[min(2 * y + 2, 2 * n - 1)]
        for x in range(n):
            to[y, x] = (above[x] + below[x] + np.int32(3) * (half[2 * y, x] + half[2 * y + 1, x]) + np.int32(32)) >> 6


@kernel
def _spread(plane: Array, least: int) -> Array:
    """Return `plane` made larger by a whole number along an axis of under `least` points, linearly between them."""
    height, width = plane.shape
    tall = max(-(-least // height), 1) if height < least else 1
    wide = max(-(-least // width), 1) if width < least else 1
    out = np.empty((height * tall, width * wide), np.uint8)
    for i in range(height * tall):
        y = (i + 0.5) / tall - 0.5
        top = int(np.floor(y))
        down = y - top
        one = plane[max(top, 0)]
        two = plane[min(top + 1, height - 1)]
        for j in range(width * wide):
            x = (j + 0.5) / wide - 0.5
            left = int(np.floor(x))
            right = x - left
            a = max(left, 0)
            b = min(left + 1, width - 1)
            v = (one[a] * (1 - right) + one[b] * right) * (1 - down) + (two[a] * (1 - right) + two[b] * right) * down
            out[i, j] = np.uint8(v + 0.5)
    return out


@kernel
def _hash(base: Array, rows: Array, columns: Array, crops: Array, out: Array) -> None:
    """Fill `out` with the hashes of all crops, then of the turns of the whole."""
    n = base.shape[0]
    size = columns.shape[1]
    # Along x for all crops of the width at once, then along y for the crops that there are.
    buffer = np.zeros((n + WAVES, size))
    across, along, half = borrowed(base), borrowed(columns), borrowed(buffer)
    # Row after row of the sums, so that none has to wait for its last addition.
    for x in range(n):
        for y in range(n):
            _weigh(half[y], along[x], across[y, x])
    low = np.empty((WAVES, WAVES))
    turned = np.empty((WAVES, WAVES))
    for k in range(crops.shape[0]):
        r = crops[k, 0] * WAVES
        c = crops[k, 1] * WAVES
        half[n:] = 0
        for y in range(n):
            values = half[y, c : c + WAVES]
            for u in range(WAVES):
                _weigh(half[n + u], values, rows[r + u, y])
        for u in range(WAVES):
            for v in range(WAVES):
                # Rounded, because a coefficient that is zero by symmetry must fall on the same side everywhere.
                low[u, v] = np.floor(half[n + u, v] * 1000 + 0.5)
        _bits(low.ravel(), out[8 * k :])
        if k == 0:
            for turn in range(1, TURNS):
                for u in range(WAVES):
                    for v in range(WAVES):
                        sign = (1 - 2 * (u * (turn >> 1) & 1)) * (1 - 2 * (v * turn & 1))
                        turned[u, v] = sign * (low[v, u] if turn & 4 else low[u, v])
                _bits(turned.ravel(), out[8 * (crops.shape[0] + turn - 1) :])
    buffer[0, 0] = 0  # held until here


@inlined
def _weigh(to: Array, values: Array, weight: float) -> None:
    for i in range(values.size):
        to[i] += weight * values[i]


@kernel
def _bits(low: Array, out: Array) -> None:
    """Write which coefficients lie well above their median, as 64 bits; the first, of the mean, is 0."""
    size = 0.0
    for i in range(1, low.size):
        size += abs(low[i])
    threshold = _median(low) + ABOVE * size / (low.size - 1)
    for i in range(8):
        bits = 0
        for j in range(8):
            bits = 2 * bits + int(low[8 * i + j] > threshold and i + j > 0)
        out[i] = bits


@kernel
def _median(values: Array) -> float:
    """Return the median of all but the first: by counting, which for 63 is quicker than sorting."""
    half = (values.size - 1) // 2
    middle = 0.0
    for i in range(1, values.size):
        v = values[i]
        less = np.int64(0)
        equal = np.int64(0)
        for j in range(1, values.size):
            less += np.int64(values[j] < v)
            equal += np.int64(values[j] == v)
        if less <= half < less + equal:
            middle = v
    return middle


@kernel
def _chroma(pixels: Array, out: Array) -> None:
    """Fill `out` with the mean colour differences (Cb, then Cr) of the cells of a grid."""
    down, across = pixels.shape
    both = np.empty((2, across), np.int32)
    columns, points = borrowed(both), borrowed(pixels)
    for i in range(CHROMA):
        top = i * down // CHROMA
        bottom = max((i + 1) * down // CHROMA, top + 1)
        greens = np.zeros(across, np.int64)
        others = np.zeros(across, np.int64)  # red, and blue 32 bits above it
        for begin in range(top, bottom, 64):
            columns[:] = 0
            for y in range(begin, min(begin + 64, bottom)):
                _sums(points[y], columns[0], columns[1])
            for x in range(across):
                greens[x] += columns[0, x]
                others[x] += (columns[1, x] & 0xFFFF) + (np.int64(columns[1, x] >> 16) << 32)
        for j in range(CHROMA):
            left = j * across // CHROMA
            right = max((j + 1) * across // CHROMA, left + 1)
            green = greens[left:right].sum()
            other = others[left:right].sum()
            red = other & 0xFFFFFFFF
            blue = other >> 32
            n = np.float64((bottom - top) * (right - left))
            grey = 0.299 * red + 0.587 * green + 0.114 * blue
            out[i * CHROMA + j] = np.uint8(min(max((blue - grey) * 0.564 / n + 128.5, 0.0), 255.0))
            out[CHROMA * CHROMA + i * CHROMA + j] = np.uint8(min(max((red - grey) * 0.713 / n + 128.5, 0.0), 255.0))
    both[0, 0] = 0  # held until here


@inlined
def _sums(pixels: Array, greens: Array, others: Array) -> None:
    """Add up the greens, and the reds and blues in the halves of a number: at most 128 rows of them fit."""
    for x in range(greens.size):
        v = pixels[x]
        greens[x] += np.int32((v >> np.uint32(8)) & np.uint32(255))
        others[x] += np.int32(v & np.uint32(0xFF00FF))


class Signatures:
    """Many signatures as arrays: `hashes` (n, 9) of the crops, `turned` (n, 7), thumbnails and colour differences."""

    def __init__(self, raw: "list[bytes] | Array") -> None:
        table = np.frombuffer(b"".join(raw), np.uint8).reshape(len(raw), SIZE) if isinstance(raw, list) else raw
        keys = table[:, :KEYS].copy().view(">u8").astype(np.uint64)
        self.hashes, self.turned = keys[:, :HASHES].copy(), keys[:, HASHES:].copy()
        self.thumbs = table[:, KEYS : KEYS + SIDE * SIDE].reshape(-1, SIDE, SIDE)
        self.chroma = table[:, KEYS + SIDE * SIDE :].reshape(-1, 2, CHROMA, CHROMA)

    def __len__(self) -> int:
        return len(self.hashes)


def turned(given: Signatures, how: int) -> Signatures:
    """Return the signatures of the pictures turned: 4 transposes, then 2 turns upside down, then 1 mirrors.

    Only the hash of the whole picture is that of the turned one.
    """
    if how == 0:
        return given
    out = copy.copy(given)
    out.hashes = given.hashes.copy()
    out.hashes[:, 0] = given.turned[:, how - 1]
    out.thumbs, out.chroma = _turned(given.thumbs, how), _turned(given.chroma, how)
    return out


def _turned(pictures: Array, how: int) -> Array:
    if how & 4:
        pictures = pictures.swapaxes(-1, -2)
    if how & 2:
        pictures = pictures[..., ::-1, :]
    return np.ascontiguousarray(pictures[..., ::-1] if how & 1 else pictures)


def nearest(x: Signatures, y: Signatures, i: Array, j: Array, turns: int) -> tuple[Array, Array]:
    """Return by which of `turns` turns of picture `i[k]` of `x` it comes closest to `j[k]` of `y` or a crop of it, and the bits
    they then differ in; unturned, either may be the crop."""
    apart = np.bitwise_count(x.hashes[i, :1] ^ y.hashes[j]).min(1).astype(np.int64)
    apart = np.minimum(apart, np.bitwise_count(y.hashes[j, :1] ^ x.hashes[i]).min(1))
    if turns == 1:
        return np.zeros(len(i), np.int64), apart
    others = np.bitwise_count(x.turned[i][:, :, None] ^ y.hashes[j][:, None, :]).min(2)
    every = np.concatenate([apart[:, None], others], 1)
    return every.argmin(1), every.min(1)

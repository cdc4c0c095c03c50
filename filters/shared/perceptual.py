"""Perceptual signatures of pictures: find copies that were re-encoded, resized, brightened or cropped, and only those.

A signature (`SIZE` bytes) has two parts.
- Nine 64-bit DCT hashes, of the whole picture and of eight slight crops of it. A copy is a candidate when the hash of
  one whole picture lies within a Hamming radius of any of the other's nine; found by multi-index hashing (Norouzi et
  al. 2012, arXiv 1307.2982), which misses none within the radius.
- A thumbnail, 64 x 64 grey and 8 x 8 colour, of which the hashes are made too. A candidate is verified by laying one
  thumbnail over the other, shifted and scaled by up to 8 % a side, and correlating the fine detail: charts, pages and
  scenes of the same layout share their hashes and not their detail.
"""

import functools
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from filters.shared.images import Pixels, cut
from filters.shared.planes import Cuts, shrink
from filters.shared.text import borrowed, inlined, kernel

Array = npt.NDArray[Any]
SIDE = 64
CHROMA = 8
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
WAVES = 9
SIZE = 8 * HASHES + SIDE * SIDE + 2 * CHROMA * CHROMA
COARSE = 0.4  # correlation of the detail at a third of the points under which a fit is not refined
COLOUR = 16.0  # mean difference of the colour thumbnails, of 255, above which two pictures are different
BLANK = 2.0  # standard deviation of the grey thumbnail under which there is nothing to recognise


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
    """Return, for the 32 x 32 picture, the lowest 9 cosine transforms of each different crop of an axis, and which two
    a hash is made of."""
    spans = sorted({c[1::2] for c in CROPS} | {c[0::2] for c in CROPS})
    n = 2 * CHROMA * 2
    at = np.arange(n)
    waves = np.cos(np.pi * (2 * at[None] + 1) * np.arange(WAVES)[:, None] / (2 * n))
    out = []
    for begin, end in spans:
        edge = begin * n + (end - begin) * np.arange(n + 1)
        # How much of cell x lies in cell i of the crop: the crop's picture is the mean over each of its cells.
        part = np.clip(np.minimum(edge[1:, None], at + 1) - np.maximum(edge[:-1, None], at), 0, None)
        out.append(waves @ (part / part.sum(1, keepdims=True)))
    both = np.concatenate(out)
    which = [(spans.index(c[1::2]), spans.index(c[0::2])) for c in CROPS]
    return np.round(both, 12), np.round(both.T, 12).copy(), np.asarray(which, np.int64)


@kernel
def _sign(
    data: Array, first: Array, heights: Array, widths: Array, colour: Array, at: Array, downs: Array, acrosses: Array,
    rows: Array, columns: Array, crops: Array, out: Array,
) -> None:  # fmt: skip
    thumb = np.empty((SIDE, SIDE), np.uint8)
    base = np.empty((SIDE // 2, SIDE // 2))
    for k in range(len(heights)):
        _thumbnail(data[first[k] : first[k + 1]].reshape(heights[k], widths[k]), thumb)
        total = np.int64(0)
        squares = np.int64(0)
        for y in range(SIDE):
            for x in range(SIDE):
                v = np.int64(thumb[y, x])
                total += v
                squares += v * v
        n = SIDE * SIDE
        if n * squares - total * total < BLANK * BLANK * n * n:
            continue
        mine = out[k]
        mine[0] = 1
        for y in range(SIDE // 2):
            for x in range(SIDE // 2):
                s = np.int32(thumb[2 * y, 2 * x]) + np.int32(thumb[2 * y, 2 * x + 1])
                base[y, x] = s + np.int32(thumb[2 * y + 1, 2 * x]) + np.int32(thumb[2 * y + 1, 2 * x + 1])
        _hash(base, rows, columns, crops, mine[1 : 1 + 8 * HASHES])
        mine[1 + 8 * HASHES : 1 + 8 * HASHES + SIDE * SIDE] = thumb.ravel()
        _chroma(colour[at[k] : at[k + 1]].reshape(downs[k], acrosses[k]), mine[1 + 8 * HASHES + SIDE * SIDE :])


@kernel
def _thumbnail(plane: Array, to: Array) -> None:
    """Average `plane` over the cells of `to`; where it is smaller, spread it first."""
    height, width = plane.shape
    if height < SIDE or width < SIDE:
        tall = -(-SIDE // height)
        wide = -(-SIDE // width)
        spread = np.empty((height * tall, width * wide), np.uint8)
        for y in range(height * tall):
            for x in range(width * wide):
                spread[y, x] = plane[y // tall, x // wide]
        plane = spread
    shrink(plane, to)


@kernel
def _hash(base: Array, rows: Array, columns: Array, crops: Array, out: Array) -> None:
    """Fill `out` with the DCT hashes of all crops: bit i is whether coefficient i + 1 is above the median of the 64."""
    n = base.shape[0]
    size = columns.shape[1]
    # Along x for all crops of the width at once, then along y for the crops that there are.
    buffer = np.zeros((n + 8, size))
    across, along, half = borrowed(base), borrowed(columns), borrowed(buffer)
    # Row after row of the sums, so that none has to wait for its last addition.
    for x in range(n):
        for y in range(n):
            _weigh(half[y], along[x], across[y, x])
    low = np.empty(64)
    for k in range(crops.shape[0]):
        r = crops[k, 0] * WAVES
        c = crops[k, 1] * WAVES
        half[n:] = 0
        for y in range(n):
            values = half[y, c : c + WAVES]
            for u in range(8):
                _weigh(half[n + u], values, rows[r + u, y])
        for i in range(64):
            # Rounded, because a coefficient that is zero by symmetry must fall on the same side everywhere.
            low[i] = np.floor(half[n + (i + 1) // WAVES, (i + 1) % WAVES] * 250 + 0.5)
        middle = _median(low)
        for i in range(8):
            bits = 0
            for j in range(8):
                bits = 2 * bits + int(low[8 * i + j] > middle)
            out[8 * k + i] = bits
    buffer[0, 0] = 0  # held until here


@inlined
def _weigh(to: Array, values: Array, weight: float) -> None:
    for i in range(values.size):
        to[i] += weight * values[i]


@kernel
def _median(values: Array) -> float:
    """Return the median of an even number of values: by counting, which for 64 is quicker than sorting."""
    half = values.size // 2
    below = 0.0
    above = 0.0
    for i in range(values.size):
        v = values[i]
        less = np.int64(0)
        equal = np.int64(0)
        for j in range(values.size):
            less += np.int64(values[j] < v)
            equal += np.int64(values[j] == v)
        if less < half <= less + equal:
            below = v
        if less <= half < less + equal:
            above = v
    return (below + above) / 2


@kernel
def _chroma(pixels: Array, out: Array) -> None:
    """Fill `out` with the mean colour differences (Cb, then Cr) of the cells of an 8 x 8 grid."""
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
    """Many signatures as arrays."""

    def __init__(self, raw: list[bytes]) -> None:
        table = np.frombuffer(b"".join(raw), np.uint8).reshape(len(raw), SIZE)
        self.hashes = table[:, : 8 * HASHES].copy().view(">u8").astype(np.uint64).reshape(-1, HASHES)
        self.thumbs = table[:, 8 * HASHES : 8 * HASHES + SIDE * SIDE].reshape(-1, SIDE, SIDE)
        self.chroma = table[:, 8 * HASHES + SIDE * SIDE :]

    def __len__(self) -> int:
        return len(self.hashes)


@numba.njit(cache=False)
def _popcount(x):  # type: ignore[no-untyped-def]
    x = x - ((x >> np.uint64(1)) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (x * np.uint64(0x0101010101010101)) >> np.uint64(56)


@numba.njit(cache=False)
def _search(query, base, starts, order, flips, radius, triangle, width):  # type: ignore[no-untyped-def]
    """Pairs (q, b) with a base hash of b within `radius` of the query hash of q, in MIH over four 16-bit parts."""
    out_q = [np.int64(0) for _ in range(0)]
    out_b = [np.int64(0) for _ in range(0)]
    seen = np.full(base.size // width, -1, np.int64)
    for q in range(query.size):
        h = query[q]
        for part in range(4):
            key = (h >> np.uint64(16 * part)) & np.uint64(0xFFFF)
            for f in flips:
                bucket = np.int64(key ^ f)
                for at in range(starts[part, bucket], starts[part, bucket + 1]):
                    entry = order[part, at]
                    b = entry // width
                    if seen[b] == q or (triangle and b == q):
                        continue
                    if _popcount(h ^ base[entry]) <= np.uint64(radius):
                        seen[b] = q
                        out_q.append(np.int64(q))
                        out_b.append(np.int64(b))
    return np.array(out_q, dtype=np.int64), np.array(out_b, dtype=np.int64)


def near(query: Array, base: Array, radius: int, *, within: bool = False) -> tuple[Array, Array]:
    """Return all (q, b) where any of the hashes `base[b]` lies within `radius` bits of `query[q]`.

    `query` is (n,) and `base` (m, hashes), uint64. `within`: they are the same pictures; (q, q) is left out.
    """
    if not len(query) or not len(base):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    width = base.shape[1]
    flat = np.ascontiguousarray(base).ravel()
    starts = np.zeros((4, (1 << 16) + 1), np.int64)
    order = np.zeros((4, flat.size), np.int64)
    for part in range(4):
        keys = ((flat >> np.uint64(16 * part)) & np.uint64(0xFFFF)).astype(np.int64)
        order[part] = np.argsort(keys, kind="stable")
        starts[part, 1:] = np.cumsum(np.bincount(keys, minlength=1 << 16))
    # A pair within the radius agrees up to radius // 4 bits in at least one of the four parts.
    every = np.arange(1 << 16, dtype=np.uint64)
    flips = every[np.bitwise_count(every) <= radius // 4]
    return _search(np.ascontiguousarray(query), flat, starts, order, flips, radius, within, width)  # type: ignore[no-any-return]


@numba.njit(cache=False)
def _overlay(a, b, left, top, right, bottom, every):  # type: ignore[no-untyped-def]
    """Correlation of `b` with the window (shares) of `a` at every `every`-th point; both are SIDE x SIDE."""
    n = a.shape[0]
    sa = sb = saa = sbb = sab = 0.0
    for i in range(0, n, every):
        y = (top + (bottom - top) * (i + 0.5) / n) * n - 0.5
        y = min(max(y, 0.0), n - 1.001)
        yi = int(y)
        fy = y - yi
        for j in range(0, n, every):
            x = (left + (right - left) * (j + 0.5) / n) * n - 0.5
            x = min(max(x, 0.0), n - 1.001)
            xi = int(x)
            fx = x - xi
            u = (a[yi, xi] * (1 - fx) + a[yi, xi + 1] * fx) * (1 - fy) + (
                a[yi + 1, xi] * (1 - fx) + a[yi + 1, xi + 1] * fx
            ) * fy
            v = b[i, j]
            sa += u
            sb += v
            saa += u * u
            sbb += v * v
            sab += u * v
    m = ((n + every - 1) // every) ** 2
    va = saa - sa * sa / m
    vb = sbb - sb * sb / m
    if va <= 1e-9 or vb <= 1e-9:
        return 0.0
    return (sab - sa * sb / m) / np.sqrt(va * vb)


@numba.njit(cache=False)
def _align(a, b):  # type: ignore[no-untyped-def]
    """Best correlation of `b` with a window of `a`: from the best of a few crops by coordinate descent."""
    window = np.array([0.0, 0.0, 1.0, 1.0])
    coarse = -1.0
    cuts = np.array([0.0, 0.025, 0.05])
    for l in cuts:  # noqa: E741 - left, top, right, bottom
        for t in cuts:
            for r in cuts:
                for m in cuts:
                    # The two sides of an axis are cut alike, or one of them alone.
                    if (l != r and l != 0.0 and r != 0.0) or (t != m and t != 0.0 and m != 0.0):
                        continue
                    c = _overlay(a, b, l, t, 1.0 - r, 1.0 - m, 3)
                    if c > coarse:
                        coarse = c
                        window[:] = (l, t, 1.0 - r, 1.0 - m)
    if coarse < COARSE:
        return max(coarse, 0.0)
    best = _overlay(a, b, window[0], window[1], window[2], window[3], 1)
    step = 0.0125
    while step > 0.003 and best < 0.995:
        moved = False
        for side in range(4):
            for sign in (-1.0, 1.0):
                old = window[side]
                window[side] = old + sign * step
                if (side < 2 and -0.001 <= window[side] <= 0.08) or (side >= 2 and 0.92 <= window[side] <= 1.001):
                    c = _overlay(a, b, window[0], window[1], window[2], window[3], 1)
                    if c > best + 1e-6:
                        best = c
                        moved = True
                        continue
                window[side] = old
        if not moved:
            step /= 2
    return best


@numba.njit(cache=False)
def _verify(a, b, pairs_a, pairs_b):  # type: ignore[no-untyped-def]
    out = np.zeros(len(pairs_a))
    for k in range(len(pairs_a)):
        i, j = pairs_a[k], pairs_b[k]
        # Either may be the crop of the other.
        out[k] = _align(a[i], b[j])
        if out[k] < 0.99:
            out[k] = max(out[k], _align(b[j], a[i]))
    return out


def _detail(thumbs: Array) -> Array:
    """Return thumbnails less their neighbourhood (9 x 9)."""
    t = thumbs.astype(np.float64)
    p = np.pad(t, ((0, 0), (4, 4), (4, 4)), mode="edge")
    c = np.pad(p.cumsum(1).cumsum(2), ((0, 0), (1, 0), (1, 0)))
    k = 9
    around = (c[:, k:, k:] - c[:, :-k, k:] - c[:, k:, :-k] + c[:, :-k, :-k]) / (k * k)
    out: Array = (t - around).astype(np.float32)
    return out


def similarity(a: Signatures, b: Signatures, i: Array, j: Array) -> Array:
    """Return how well picture `i[k]` of `a` and `j[k]` of `b` match in detail, 0 to 1; 0 when their colours differ."""
    out = np.zeros(len(i))
    ui, inverse_i = np.unique(i, return_inverse=True)
    uj, inverse_j = np.unique(j, return_inverse=True)
    if not len(i):
        return out
    gap = np.abs(a.chroma[i].astype(np.int16) - b.chroma[j].astype(np.int16)).mean(1)
    ok = gap <= COLOUR
    out[ok] = _verify(_detail(a.thumbs[ui]), _detail(b.thumbs[uj]), inverse_i[ok], inverse_j[ok])
    rounded: Array = np.round(np.clip(out, 0.0, 1.0), 5)
    return rounded

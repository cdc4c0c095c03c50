"""The planes that image filters measure on: three small cuts of each picture, taken in one pass over its pixels.

`small`    grey, the whole picture with its longer side brought down to `SIDE` pixels by exact area averaging; a smaller
           one as it is. For what does not need the finest detail: sharpness, frames, strokes, thumbnails.
`window`   grey, the middle `SIDE` x `SIDE` pixels (or less) at full resolution, beginning at a multiple of 8: for what
           scaling destroys, as the grid of JPEG blocks.
`lattice`  colour, every k-th pixel of every k-th row, k the smallest odd number that gives at most `POINTS` pixels
           (odd, so that no block size of a codec beats with it): for histograms. A picture of up to `POINTS` pixels is
           on it whole.

Grey is luma (ITU-R 601-2): of a JPEG as it is stored, of other files as Pillow rounds it. All arithmetic is in integers,
or in single IEEE operations: the same on every machine. The planes of several pictures lie end to end, so that one call of
a kernel measures all of them.
"""

from dataclasses import dataclass

import numpy as np

from filters.shared.jpeg import colour
from filters.shared.text import Array, borrowed, inlined, kernel

SIDE = 256
POINTS = 1 << 14
BLOCK = 8


@dataclass(frozen=True, kw_only=True)
class Planes:
    """Planes end to end: plane i is `data[first[i]:first[i+1]]`, `height[i]` rows of `width[i]`."""

    data: Array
    first: Array  # int64, one more than planes
    height: Array  # int64
    width: Array  # int64

    def __len__(self) -> int:
        return len(self.height)

    def __getitem__(self, i: int) -> Array:
        plane: Array = self.data[self.first[i] : self.first[i + 1]].reshape(self.height[i], self.width[i])
        return plane


@dataclass(frozen=True, kw_only=True)
class Cuts:
    """The three planes of some pictures."""

    small: Planes
    window: Planes
    lattice: Planes  # uint32: red + green * 256 + blue * 65536

    def __len__(self) -> int:
        return len(self.small)


class Cutter:
    """Cuts planes of up to `most` pictures at a time, always into the same memory, so that they are still in cache when
    measured."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._stores = (
            _Store(np.empty(most * SIDE * SIDE, np.uint8), most),
            _Store(np.empty(most * SIDE * SIDE, np.uint8), most),
            _Store(np.empty(most * POINTS, np.uint32), most),
        )

    def add(self, pixels: Array, width: int, *, luma: bool = False) -> None:
        """Cut one picture: uint32 H x W (red in the lowest byte; with `luma`, YCbCr), or uint8 H x W (grey); rows may be
        longer than `width`."""
        small, window, lattice = self._stores
        height = pixels.shape[0]
        wh, ww = min(height, SIDE), min(width, SIDE)
        down, across = lattice_steps(height, width)
        _cut(
            pixels,
            width,
            int(luma),
            small.take(*small_size(height, width)),
            window.take(wh, ww),
            lattice.take(lattice_length(height, down), lattice_length(width, across)),
            (height - wh) // 2 // BLOCK * BLOCK,
            (width - ww) // 2 // BLOCK * BLOCK,
            down,
            across,
        )

    @property
    def full(self) -> bool:
        """Whether there is room for no other picture."""
        return self._stores[0].n == self._most

    def take(self) -> Cuts:
        """Return what was cut since the last call; the next picture is cut over it."""
        small, window, lattice = (store.planes() for store in self._stores)
        return Cuts(small=small, window=window, lattice=lattice)


class _Store:
    """Planes end to end in one piece of memory."""

    def __init__(self, data: Array, most: int) -> None:
        self._data = data
        self._shapes = np.zeros((2, most), np.int64)
        self._first = np.zeros(most + 1, np.int64)
        self.n = 0
        self._end = 0

    def take(self, height: int, width: int) -> Array:
        """Return the place for the next plane."""
        start, self._end = self._end, self._end + height * width
        self._shapes[0, self.n] = height
        self._shapes[1, self.n] = width
        self.n += 1
        self._first[self.n] = self._end
        place: Array = self._data[start : self._end].reshape(height, width)
        return place

    def planes(self) -> Planes:
        """Return the planes, and begin again."""
        n, self.n, self._end = self.n, 0, 0
        height, width = self._shapes
        return Planes(data=self._data, first=self._first[: n + 1], height=height[:n], width=width[:n])


def small_size(height: int, width: int) -> tuple[int, int]:
    """Return (height, width) of the `small` plane of a picture."""
    longer = max(height, width)
    if longer <= SIDE:
        return height, width
    return max(1, round(height * SIDE / longer)), max(1, round(width * SIDE / longer))


def lattice_steps(height: int, width: int) -> tuple[int, int]:
    """Return (k rows, l columns), both odd, k = l or the next odd number, the first that give at most `POINTS`
    pixels."""
    down = across = 1
    while lattice_length(height, down) * lattice_length(width, across) > POINTS:
        if down == across:
            down += 2
        else:
            across += 2
    return down, across


def lattice_length(length: int, step: int) -> int:
    """Return how many of `length` pixels lie on a lattice of every `step`-th, the first in the middle of a step."""
    return -(-(length - step // 2) // step) if length > step // 2 else 0


@inlined
def _luma(pixels: Array, row: Array) -> None:
    for x in range(row.size):
        v = pixels[x]
        red = np.int32(v & np.uint32(255))
        green = np.int32((v >> np.uint32(8)) & np.uint32(255))
        blue = np.int32((v >> np.uint32(16)) & np.uint32(255))
        grey = red * np.int32(19595) + green * np.int32(38470) + blue * np.int32(7471)
        row[x] = (grey + np.int32(0x8000)) >> np.int32(16)


@inlined
def _luma_plus(pixels: Array, total: Array) -> None:
    for x in range(total.size):
        v = pixels[x]
        red = np.int32(v & np.uint32(255))
        green = np.int32((v >> np.uint32(8)) & np.uint32(255))
        blue = np.int32((v >> np.uint32(16)) & np.uint32(255))
        grey = red * np.int32(19595) + green * np.int32(38470) + blue * np.int32(7471)
        total[x] += (grey + np.int32(0x8000)) >> np.int32(16)


@inlined
def _first(pixels: Array, row: Array) -> None:
    """Take the lowest byte: luma, where a pixel is YCbCr."""
    for x in range(row.size):
        row[x] = pixels[x] & np.uint32(255)


@inlined
def _first_plus(pixels: Array, total: Array) -> None:
    for x in range(total.size):
        total[x] += np.int32(pixels[x] & np.uint32(255))


@inlined
def _copy(row: Array, to: Array) -> None:
    for x in range(to.size):
        to[x] = row[x]


@inlined
def _plus(total: Array, row: Array) -> None:
    for x in range(total.size):
        total[x] += np.int32(row[x])


@inlined
def _add(total: Array, row: Array, part: int) -> None:
    weight = np.int32(part)
    for x in range(total.size):
        total[x] += weight * np.int32(row[x])


@inlined
def _pick(pixels: Array, to: Array, begin: int, step: int) -> None:
    at = np.uint64(begin)  # unsigned: numba looks whether other indices are below zero
    for j in range(to.size):
        to[j] = np.uint32(pixels[at]) & np.uint32(0xFFFFFF)
        at += np.uint64(step)


@inlined
def _colours(pixels: Array) -> None:
    for j in range(pixels.size):
        pixels[j] = colour(pixels[j])


@inlined
def _pick_grey(pixels: Array, to: Array, begin: int, step: int) -> None:
    for j in range(to.size):
        to[j] = np.uint32(pixels[begin + j * step]) * np.uint32(0x010101)


@kernel
def _cut(
    pixels: Array, width: int, luma: int, small: Array, window: Array, lattice: Array,
    top: int, left: int, down: int, across: int,
) -> None:  # fmt: skip
    """Fill the three planes from `pixels` in one pass over its rows."""
    height = pixels.shape[0]
    sh, sw = small.shape
    at, to, middle, points = borrowed(pixels), borrowed(small), borrowed(window), borrowed(lattice)
    four = pixels.itemsize == 4  # bytes a pixel
    both = np.zeros((2, width), np.int32)
    row, total = borrowed(both)[0], borrowed(both)[1]
    whole = height % sh == 0
    each = height // sh
    scale = 1.0 / (np.float64(each if whole else height) * np.float64(width))
    out = 0  # the row of `small` that is being summed
    for y in range(height):
        source = at[y]
        if y % down == down // 2:
            if four:
                _pick(source, points[y // down], across // 2, across)
                if luma:
                    _colours(points[y // down])
            else:
                _pick_grey(source, points[y // down], across // 2, across)
        seen = top <= y < top + window.shape[0]
        if four and whole and not seen and each > 1:
            if luma:
                _first_plus(source, total)
            else:
                _luma_plus(source, total)
        else:
            if four and luma:
                _first(source, row)
            elif four:
                _luma(source, row)
            else:
                _copy(source, row)
            if seen:
                _copy(row[left:], middle[y - top])
            if each == 1 and width == sw:
                _copy(row, to[y])
                continue
            if whole:
                _plus(total, row)
        if whole:
            if (y + 1) % each == 0:
                average(total, to[out], scale)
                total[:] = 0
                out += 1
            continue
        # In units in which a picture row is `sh` high and an output row `height`: how much of this row is the current one's.
        _add(total, row, min((y + 1) * sh, (out + 1) * height) - y * sh)
        if (y + 1) * sh >= (out + 1) * height:
            average(total, to[out], scale)
            total[:] = 0
            out += 1
            _add(total, row, (y + 1) * sh - out * height)
    both[0, 0] = 0  # held until here


@kernel
def average(total: Array, to: Array, scale: float) -> None:
    """Average a row of column sums down to the width of `to`; `scale` is 1 over the width and what a column sums."""
    width = total.size
    sw = to.size
    if width == sw:
        share = scale * np.float64(width)
        for j in range(sw):
            to[j] = np.uint8(np.float64(total[j]) * share + 0.5)
        return
    if width == 2 * sw:
        share = scale * np.float64(sw)
        if share == 0.25:  # the same, quicker
            for j in range(sw):
                to[j] = (total[2 * j] + total[2 * j + 1] + np.int32(2)) >> np.int32(2)
            return
        for j in range(sw):
            to[j] = np.uint8(np.float64(total[2 * j] + total[2 * j + 1]) * share + 0.5)
        return
    if width == 3 * sw:
        share = scale * np.float64(sw)
        for j in range(sw):
            to[j] = np.uint8(np.float64(total[3 * j] + total[3 * j + 1] + total[3 * j + 2]) * share + 0.5)
        return
    if width == 4 * sw:
        share = scale * np.float64(sw)
        for j in range(sw):
            s = total[4 * j] + total[4 * j + 1] + total[4 * j + 2] + total[4 * j + 3]
            to[j] = np.uint8(np.float64(s) * share + 0.5)
        return
    part = np.int32(sw)
    x = 0
    before = np.int32(0)  # of pixel x, what the last cell took
    for j in range(sw):
        end = (j + 1) * width
        s = np.int32(np.int32(part - before) * total[x])
        x += 1
        while (x + 1) * sw <= end:
            s = np.int32(s + np.int32(part * total[x]))
            x += 1
        before = np.int32(end - x * sw)
        if before > 0:
            s = np.int32(s + np.int32(before * total[x]))
        to[j] = np.uint8(np.float64(s) * scale + 0.5)


@kernel
def shrink(plane: Array, to: Array) -> None:
    """Average `plane` over the cells of `to`, exactly: in integers up to the last division. `to` is not larger than
    `plane`."""
    height, width = plane.shape
    down = to.shape[0]
    sums = np.zeros(width, np.int32)
    total, source, cells = borrowed(sums), borrowed(plane), borrowed(to)
    whole = height % down == 0
    each = height // down
    scale = 1.0 / (np.float64(each if whole else height) * np.float64(width))
    out = 0
    for y in range(height):
        if whole:
            _plus(total, source[y])
            if (y + 1) % each == 0:
                average(total, cells[out], scale)
                total[:] = 0
                out += 1
            continue
        _add(total, source[y], min((y + 1) * down, (out + 1) * height) - y * down)
        if (y + 1) * down >= (out + 1) * height:
            average(total, cells[out], scale)
            total[:] = 0
            out += 1
            _add(total, source[y], (y + 1) * down - out * height)
    sums[0] = 0  # held until here

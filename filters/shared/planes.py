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

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numba.extending
import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types

from filters.shared.baseline import (
    HEIGHT,
    PARTS,
    START_1,
    START_2,
    STRIDE,
    STRIDE_2,
    TALL,
    WIDE,
    WIDTH,
    Decoder,
    decode,
)  # fmt: skip
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
        self._n = 0
        self._small = np.empty(most * SIDE * SIDE, np.uint8)
        self._window = np.empty(most * SIDE * SIDE, np.uint8)
        self._lattice = np.empty(most * POINTS, np.uint32)
        self._places = np.zeros((3, 3, most + 1), np.int64)  # of each plane: where it begins, height, width
        self._decoder = Decoder()

    def add(self, pixels: Array, width: int, *, luma: bool = False) -> None:
        """Cut one picture: uint32 H x W (red in the lowest byte; with `luma`, YCbCr), or uint8 H x W (grey); rows may be
        longer than `width`."""
        _add(pixels, width, luma, self._n, self._places, self._small, self._window, self._lattice)
        self._n += 1

    def add_jpeg(self, data: bytes) -> bool:
        """Decode and cut one picture; False where it is not a JPEG of the common kind (`filters/shared/baseline.py`)."""
        file = np.frombuffer(data, np.uint8)
        added: bool = _add_jpeg(
            file, *self._decoder.memory, self._n, self._places, self._small, self._window, self._lattice
        )
        self._n += added
        return added

    @property
    def full(self) -> bool:
        """Whether there is room for no other picture."""
        return self._n == self._most

    def take(self) -> Cuts:
        """Return what was cut since the last call; the next picture is cut over it."""
        n, self._n = self._n, 0
        small, window, lattice = (
            Planes(data=data, first=places[0, : n + 1], height=places[1, :n], width=places[2, :n])
            for data, places in (
                (self._small, self._places[0]),
                (self._window, self._places[1]),
                (self._lattice, self._places[2]),
            )
        )
        return Cuts(small=small, window=window, lattice=lattice)


@kernel
def small_size(height: int, width: int) -> tuple[int, int]:
    """Return (height, width) of the `small` plane of a picture."""
    longer = max(height, width)
    if longer <= SIDE:
        return height, width
    return max(1, round(height * SIDE / longer)), max(1, round(width * SIDE / longer))


@kernel
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


@kernel
def lattice_length(length: int, step: int) -> int:
    """Return how many of `length` pixels lie on a lattice of every `step`-th, the first in the middle of a step."""
    return -(-(length - step // 2) // step) if length > step // 2 else 0


@kernel
def _placed(places: Array, plane: int, k: int, data: Array, height: int, width: int) -> Array:
    """Return the place for one plane of picture k, right after the last one."""
    begin = places[plane, 0, k]
    places[plane, 0, k + 1] = begin + height * width
    places[plane, 1, k] = height
    places[plane, 2, k] = width
    return data[begin : begin + height * width].reshape(height, width)


@kernel
def _add(
    pixels: Array, width: int, luma: Any, k: int, places: Array, small: Array, window: Array, lattice: Array
) -> None:
    height = pixels.shape[0]
    down, across = lattice_steps(height, width)
    points = _placed(places, 2, k, lattice, lattice_length(height, down), lattice_length(width, across))
    _pick_all(pixels, luma, down, across, points)
    sh, sw = small_size(height, width)
    wh, ww = min(height, SIDE), min(width, SIDE)
    _cut(
        pixels, width, luma, _placed(places, 0, k, small, sh, sw), _placed(places, 1, k, window, wh, ww),
        (height - wh) // 2 // BLOCK * BLOCK, (width - ww) // 2 // BLOCK * BLOCK,
    )  # fmt: skip


@kernel
def _add_jpeg(
    data: Array, planes: Array, frame: Array, bits: Array, look: Array, pairs: Array, codes: Array, steps: Array,
    k: int, places: Array, small: Array, window: Array, lattice: Array,
) -> bool:  # fmt: skip
    if not decode(data, planes, frame, bits, look, pairs, codes, steps):
        return False
    height, width, stride = frame[HEIGHT], frame[WIDTH], frame[STRIDE]
    down, across = lattice_steps(height, width)
    points = _placed(places, 2, k, lattice, lattice_length(height, down), lattice_length(width, across))
    _pick_stored(planes, frame, down, across, points)
    sh, sw = small_size(height, width)
    wh, ww = min(height, SIDE), min(width, SIDE)
    _cut(
        planes[: height * stride].reshape(height, stride), width, False,
        _placed(places, 0, k, small, sh, sw), _placed(places, 1, k, window, wh, ww),
        (height - wh) // 2 // BLOCK * BLOCK, (width - ww) // 2 // BLOCK * BLOCK,
    )  # fmt: skip
    return True


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
def _add_part(total: Array, row: Array, part: int) -> None:
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
    at = np.uint64(begin)
    for j in range(to.size):
        to[j] = np.uint32(pixels[at]) * np.uint32(0x010101)
        at += np.uint64(step)


@kernel
def _pick_all(pixels: Array, luma: Any, down: int, across: int, to: Array) -> None:
    """Fill the lattice `to` with every `across`-th pixel of every `down`-th row."""
    source, points = borrowed(pixels), borrowed(to)
    for i in range(to.shape[0]):
        if pixels.itemsize == 4:
            _pick(source[down // 2 + i * down], points[i], across // 2, across)
            if luma:
                _colours(points[i])
        else:
            _pick_grey(source[down // 2 + i * down], points[i], across // 2, across)


@inlined
def _all(luma: Array, blue: Array, red: Array, row: Array) -> None:
    for x in range(row.size):
        row[x] = np.uint32(luma[x]) | np.uint32(blue[x]) << np.uint32(8) | np.uint32(red[x]) << np.uint32(16)


@inlined
def _blend(here: Array, other: Array, to: Array) -> None:
    for x in range(here.size):
        to[x] = np.uint16(3) * np.uint16(here[x]) + np.uint16(other[x])


@inlined
def _same(here: Array, to: Array) -> None:
    for x in range(here.size):
        to[x] = here[x]


@inlined
def _mix(three: Any, one: Any, half: int, bits: int) -> Any:
    return np.uint32((three + np.int32(one) + np.int32(half)) >> np.int32(bits))


@inlined
def _enlarged1(luma: Array, blue: Array, red: Array, row: Array) -> None:
    """Fill a row of YCbCr from colour differences of every second pixel, which have one more at either end."""
    for x in range(blue.size - 2):
        b, r = np.int32(3) * np.int32(blue[x + 1]), np.int32(3) * np.int32(red[x + 1])
        b0, b2 = _mix(b, blue[x], 1, 2), _mix(b, blue[x + 2], 2, 2)
        r0, r2 = _mix(r, red[x], 1, 2), _mix(r, red[x + 2], 2, 2)
        row[2 * x] = np.uint32(luma[2 * x]) | b0 << np.uint32(8) | r0 << np.uint32(16)
        row[2 * x + 1] = np.uint32(luma[2 * x + 1]) | b2 << np.uint32(8) | r2 << np.uint32(16)


@inlined
def _enlarged2(luma: Array, blue: Array, red: Array, row: Array) -> None:
    """The same, from sums of four of them."""
    for x in range(blue.size - 2):
        b, r = np.int32(3) * np.int32(blue[x + 1]), np.int32(3) * np.int32(red[x + 1])
        b0, b2 = _mix(b, blue[x], 8, 4), _mix(b, blue[x + 2], 7, 4)
        r0, r2 = _mix(r, red[x], 8, 4), _mix(r, red[x + 2], 7, 4)
        row[2 * x] = np.uint32(luma[2 * x]) | b0 << np.uint32(8) | r0 << np.uint32(16)
        row[2 * x + 1] = np.uint32(luma[2 * x + 1]) | b2 << np.uint32(8) | r2 << np.uint32(16)


@kernel
def _pick_stored(planes: Array, frame: Array, down: int, across: int, to: Array) -> None:
    """Fill the lattice `to` with the colours of every `across`-th pixel of every `down`-th row, as libjpeg has them: where
    there are fewer colour differences than pixels, each is mixed from the nearest ones, 3 to 1 in either direction."""
    data, points = borrowed(planes), borrowed(to)
    stride, stride_2, start_1, start_2 = frame[STRIDE], frame[STRIDE_2], frame[START_1], frame[START_2]
    tall = frame[TALL]
    rows = -(-frame[HEIGHT] // tall)
    n = -(-frame[WIDTH] // frame[WIDE])
    made = np.empty(2 * n, np.uint32)
    sums = np.empty((2, n + 2), np.uint16)
    row, blue, red = borrowed(made), borrowed(sums)[0], borrowed(sums)[1]
    for i in range(to.shape[0]):
        y = down // 2 + i * down
        luma = data[y * stride : (y + 1) * stride]
        if frame[PARTS] == 1:
            _pick_grey(luma, points[i], across // 2, across)
            continue
        at = y // tall
        b = data[start_1 + at * stride_2 : start_1 + at * stride_2 + n]
        r = data[start_2 + at * stride_2 : start_2 + at * stride_2 + n]
        if frame[WIDE] == 1:
            _all(luma[:n], b, r, row[:n])
        else:
            if tall == 2:
                other = min(max(at + 2 * (y % 2) - 1, 0), rows - 1) * stride_2
                _blend(b, data[start_1 + other : start_1 + other + n], blue[1 : n + 1])
                _blend(r, data[start_2 + other : start_2 + other + n], red[1 : n + 1])
            else:
                _same(b, blue[1 : n + 1])
                _same(r, red[1 : n + 1])
            blue[0], blue[n + 1] = blue[1], blue[n]
            red[0], red[n + 1] = red[1], red[n]
            if tall == 2:
                _enlarged2(luma, blue, red, row)
            else:
                _enlarged1(luma, blue, red, row)
        _pick(row, points[i], across // 2, across)
        _colours(points[i])
    made[0] = sums[0, 0] = 0  # held until here


@kernel
def _cut(pixels: Array, width: int, luma: Any, small: Array, window: Array, top: int, left: int) -> None:
    """Fill the two grey planes from `pixels` in one pass over its rows."""
    height = pixels.shape[0]
    sh, sw = small.shape
    at, to, middle = borrowed(pixels), borrowed(small), borrowed(window)
    four = pixels.itemsize == 4  # bytes a pixel
    both = np.zeros((2, width), np.int32)
    row, total = borrowed(both)[0], borrowed(both)[1]
    whole = height % sh == 0
    each = height // sh
    scale = 1.0 / (np.float64(each if whole else height) * np.float64(width))
    out = 0  # the row of `small` that is being summed
    for y in range(height):
        source = at[y]
        seen = top <= y < top + window.shape[0]
        if four and whole and not seen and each > 1:
            if luma:
                _first_plus(source, total)
            else:
                _luma_plus(source, total)
        elif four:
            if luma:
                _first(source, row)
            else:
                _luma(source, row)
            if seen:
                _copy(row[left:], middle[y - top])
            if height == sh and width == sw:
                _copy(row, to[y])
                continue
            if whole:
                _plus(total, row)
        else:
            if seen:
                _copy(source[left:], middle[y - top])
            if height == sh and width == sw:
                _copy(source, to[y])
                continue
            if whole:
                _plus(total, source)
        if whole:
            if (y + 1) % each == 0:
                average(total, to[out], scale)
                total[:] = 0
                out += 1
            continue
        # In units in which a picture row is `sh` high and an output row `height`: how much of this row is the current one's.
        part = min((y + 1) * sh, (out + 1) * height) - y * sh
        if four:
            _add_part(total, row, part)
        else:
            _add_part(total, source, part)
        if (y + 1) * sh >= (out + 1) * height:
            average(total, to[out], scale)
            total[:] = 0
            out += 1
            part = (y + 1) * sh - out * height
            if four:
                _add_part(total, row, part)
            else:
                _add_part(total, source, part)
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


@numba.extending.intrinsic  # type: ignore[untyped-decorator]
def _turn(typing_context: Any, source: Any, at: Any, stride: Any, to: Any, to_at: Any, to_stride: Any) -> Any:
    """Write the columns of 8 x 8 numbers of `source` as rows of `to`; places and strides in numbers."""
    eight = [[n for k in range(4) for n in (half + k, half + k + 8)] for half in (0, 4)]

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        rows = ir.VectorType(context.get_value_type(source.dtype), 8)
        low, high = (ir.Constant(ir.VectorType(ir.IntType(32), 8), order) for order in eight)

        def places(array: Any, kind: Any, first: Any, step: Any) -> Iterator[Any]:
            place = builder.gep(context.make_array(kind)(context, builder, array).data, [first])
            for _ in range(8):
                yield builder.bitcast(place, rows.as_pointer())
                place = builder.gep(place, [step])

        values = []
        for place in places(args[0], source, args[1], args[2]):
            values.append(builder.load(place))
            values[-1].align = source.dtype.bitwidth // 8
        for _ in range(3):  # each time the upper four are dealt between the lower four, number by number
            pairs = list(zip(values[:4], values[4:], strict=True))
            values = [builder.shuffle_vector(x, y, order) for x, y in pairs for order in (low, high)]
        for value, place in zip(values, places(args[3], to, args[4], args[5]), strict=True):
            builder.store(value, place).align = source.dtype.bitwidth // 8
        return context.get_dummy_value()

    return types.void(source, types.int64, types.int64, to, types.int64, types.int64), code


@kernel
def shrink(plane: Array, to: Array) -> None:
    """Average `plane` over the cells of `to`, exactly: in integers up to the last division. `plane` has at most 256 pixels
    a side, and `to` is not larger."""
    height, width = plane.shape
    down, across = to.shape
    if width % across == 0 and width // across <= 4:
        _shrink_whole(plane, to)
        return
    # First the rows, of which a processor adds up many pixels at a time; then, turned over, the columns in the same way.
    each = 0 if height % down else height // down
    wide, tall = (width + 7) & -8, (down + 7) & -8
    sums = np.zeros((8, wide), np.uint16)  # of eight rows of cells; at most 255 x 256
    turned = np.empty((wide, tall), np.uint16)
    total = np.empty(down, np.int32)
    cells = np.empty(((across + 7) & -8, tall), np.uint8)
    source, eight, columns, column, made = (
        borrowed(plane),
        borrowed(sums),
        borrowed(turned),
        borrowed(total),
        borrowed(cells),
    )
    out = 0
    for y in range(height):
        # In units in which a row is `down` high and a cell `height`: how much of this row is the current cell's.
        part = min((y + 1) * down, (out + 1) * height) - y * down
        _add_short(eight[out & 7][:width], source[y], 1 if each else part)
        rest = (y + 1) * down - (out + 1) * height
        if rest < 0:
            continue
        out += 1
        if out & 7 == 0 or out == down:
            for x in range(0, wide, 8):
                _turn(sums, x, wide, turned, x * tall + ((out - 1) & -8), tall)
            sums[:] = 0
        if rest > 0:
            _add_short(eight[out & 7][:width], source[y], rest)
    scale = 1.0 / (np.float64(each if each else height) * np.float64(width))
    for j in range(across):
        end = (j + 1) * width
        x = j * width // across
        _weigh(column, columns[x], min((x + 1) * across, end) - j * width)
        x += 1
        while (x + 1) * across <= end:
            _add_part(column, columns[x], across)
            x += 1
        if x * across < end:
            _add_part(column, columns[x], end - x * across)
        _share(column, made[j], scale)
    for y in range(0, down, 8):
        for x in range(0, across, 8):
            if y + 8 <= down and x + 8 <= across:
                _turn(cells, x * tall + y, tall, to, y * across + x, across)
            else:
                for i in range(y, min(y + 8, down)):
                    for j in range(x, min(x + 8, across)):
                        to[i, j] = cells[j, i]
    sums[0, 0] = turned[0, 0] = total[0] = cells[0, 0] = 0  # held until here


@inlined
def _add_short(total: Array, row: Array, part: int) -> None:
    weight = np.uint16(part)
    for x in range(total.size):
        total[x] += weight * np.uint16(row[x])


@inlined
def _weigh(total: Array, row: Array, part: int) -> None:
    weight = np.int32(part)
    for x in range(total.size):
        total[x] = weight * np.int32(row[x])


@inlined
def _share(total: Array, to: Array, scale: float) -> None:
    for y in range(total.size):
        to[y] = np.uint8(np.float64(total[y]) * scale + 0.5)


@kernel
def _shrink_whole(plane: Array, to: Array) -> None:
    """The same where a cell is one to four pixels wide."""
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
        _add_part(total, source[y], min((y + 1) * down, (out + 1) * height) - y * down)
        if (y + 1) * down >= (out + 1) * height:
            average(total, cells[out], scale)
            total[:] = 0
            out += 1
            _add_part(total, source[y], (y + 1) * down - out * height)
    sums[0] = 0  # held until here

"""Baseline JPEGs decoded to planes of luma and colour differences, as they are stored: to the bit what libjpeg makes of
them before it enlarges and converts colours, in half of its time or less.

The common JPEG (ITU-T T.81: baseline or extended sequential DCT, Huffman codes, 8 bits, one scan; grey, or YCbCr whose
colour differences have all pixels, every second one, or every second one of every second row), at most `SIDE` pixels a
side. Everything else, and every file with anything odd about it (cut short, bytes left over, a code that does not exist, EXIF
or XMP, which may turn the picture), is refused, and left to Pillow: what comes out of here is what comes out of there.

Three things are quicker here than in a decoder that anybody can call. Nothing is made that filters do not measure (colour
differences of every pixel, RGB). A code and the number after it are looked up together, where both have at most `LOOK`
bits, as nearly always, and two of these where all of it has. And the inverse transform (libjpeg's "islow": Loeffler,
Ligtenberg and Moschytz 1989, "Practical fast 1-D DCT algorithms with 11 multiplications", with 13-bit constants) is written
for vectors of eight and leaves out what is zero.

Memory is written at places that come from the file, which numba does not check: whatever is read from a file is bounded
before it is used, and the planes are as large as the largest picture from the beginning.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numba
import numba.extending
import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types

from filters.shared.text import Array, borrowed, inlined, kernel

SIDE = 2048
LOOK = 11
LOUD = 2900  # sum of a block's coefficients up to which no sum of libjpeg's 16-bit arithmetic can overflow
LOUDEST = 8191  # sum above which one might before it can be checked
_BYTES = 1 << 24  # of a file
_SLACK = 4096  # more than what two blocks can read
# What is known of a picture.
WIDTH, HEIGHT, PARTS, WIDE, TALL, RESTART = range(6)  # WIDE, TALL: pixels of luma per colour difference, 1 or 2
STRIDE, STRIDE_2, START_1, START_2 = range(6, 10)  # of rows of luma and of colour differences; where these begin
_STEPS, _DC, _AC, _ID = 10, 13, 16, 19  # of each of three components
_FRAME = 22
# Of a Huffman code, beside the table to look it up in: for long codes, by length; and what it was made from.
_LAST, _SHIFT, _VALUE, _MADE, _FROM = 0, 17, 34, 290, 291
_CODE = _FROM + 272
_EXTRA = 64  # the number after the code does not fit into the table
_END = 128  # a run that ends a block
_TWO = np.uint64(32)  # the coefficients before this one are taken two at a time: none of these can be beyond the end

U: Any = np.uint64
L: Any = np.int64
I: Any = np.int32  # noqa: E741


def _zigzag() -> Array:
    """Return where each coefficient of a block lies, and a place to spare for runs beyond its end."""
    order = []
    for diagonal in range(15):
        cells = [8 * y + diagonal - y for y in range(8) if 0 <= diagonal - y < 8]
        order += cells if diagonal % 2 else cells[::-1]
    return np.asarray(order + [64] * 16, np.uint64)


_ZIGZAG = _zigzag()


class Decoder:
    """Decodes one JPEG after another into the same memory; what a computer does not write to costs it nothing."""

    def __init__(self) -> None:
        self.planes = np.empty(3 * (SIDE + 16) ** 2, np.uint8)
        self.frame = np.zeros(_FRAME, np.int64)
        self.memory = (  # what `decode` takes after the bytes of a file
            self.planes,
            self.frame,
            np.empty(_BYTES + _SLACK, np.uint8),
            np.zeros((8, 1 << LOOK), np.int32),
            np.zeros((4, 1 << LOOK), np.uint64),
            np.zeros((8, _CODE), np.int64),
            np.zeros((4, 80), np.int32),
        )

    def decode(self, data: bytes) -> bool:
        """Fill `planes` and `frame`; False where the file is not one of those that are decoded here."""
        return bool(decode(np.frombuffer(data, np.uint8), *self.memory))

    def luma(self) -> Array:
        """Return the luma of the last picture, H x W."""
        height, stride = self.frame[HEIGHT], self.frame[STRIDE]
        plane: Array = self.planes[: height * stride].reshape(height, stride)
        return plane[:, : self.frame[WIDTH]]


# -- eight at a time ---------------------------------------------------------------------------------------------------


@numba.extending.intrinsic  # type: ignore[untyped-decorator]
def _eight(typing_context: Any, array: Any, at: Any) -> Any:
    """Return eight bytes from `at` on as one number, the first in the lowest byte."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        load = builder.load(_place(context, builder, signature, args))
        load.align = 1
        return load

    return types.uint64(array, types.int64), code


@numba.extending.intrinsic  # type: ignore[untyped-decorator]
def _put(typing_context: Any, array: Any, at: Any, value: Any) -> Any:
    """Write eight bytes from `at` on."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        store = builder.store(args[2], _place(context, builder, signature, args))
        store.align = 1
        return context.get_dummy_value()

    return types.void(array, types.int64, types.uint64), code


def _place(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    data = context.make_array(signature.args[0])(context, builder, args[0]).data
    return builder.bitcast(builder.gep(data, [args[1]]), ir.IntType(64).as_pointer())


@numba.extending.intrinsic  # type: ignore[untyped-decorator]
def _swapped(typing_context: Any, value: Any) -> Any:
    """Return a number with its bytes in the opposite order."""
    return types.uint64(types.uint64), lambda context, builder, signature, args: builder.bswap(args[0])


@numba.extending.intrinsic  # type: ignore[untyped-decorator]
def _zeros(typing_context: Any, value: Any) -> Any:
    """Return how many of the lowest bits are 0."""
    no = ir.Constant(ir.IntType(1), 0)
    return types.uint64(types.uint64), lambda context, builder, signature, args: builder.cttz(args[0], no)


# -- the inverse transform ---------------------------------------------------------------------------------------------

_VECTOR = ir.VectorType(ir.IntType(32), 8)
# Each output of the transform is an even part, of coefficients 0, 2, 4 and 6, plus or minus an odd one, of 1, 3, 5 and 7.
# These are sums of libjpeg's constants, round(2^13 c), as it would add them up: they differ from cosines in the last digit.
_ODD = (
    (11363, 9633, 6437, 2260),
    (9633, -2259, -11362, -6436),
    (6437, -11362, 2261, 9633),
    (2260, -6436, 9633, -11363),
)
_EVEN = ((10703, 4433), (4433, -10704))


def _all(value: int) -> ir.Constant:
    return ir.Constant(_VECTOR, [value] * 8)


def _wave(b: Any, x: Sequence[Any], down: int) -> list[Any]:
    """Return the inverse transform of eight vectors (None: zero), less `down` bits, rounded."""

    def weighed(values: Sequence[Any], weights: Sequence[int]) -> Any:
        out = None
        for value, weight in zip(values, weights, strict=True):
            if value is not None:
                part = b.mul(value, _all(weight))
                out = part if out is None else b.add(out, part)
        return out

    def scaled(value: Any) -> Any:
        return b.add(b.shl(value, _all(13)), _all(1 << (down - 1)))

    plus, minus = (x[0], x[0]) if x[4] is None else (b.add(x[0], x[4]), b.sub(x[0], x[4]))
    plus, minus = scaled(plus), scaled(minus)
    outer, inner = (weighed((x[2], x[6]), weights) for weights in _EVEN)
    even = (b.add(plus, outer), b.add(minus, inner), b.sub(minus, inner), b.sub(plus, outer))
    odd = [weighed(x[1::2], weights) for weights in _ODD]
    first = [b.ashr(b.add(e, o), _all(down)) for e, o in zip(even, odd, strict=True)]
    last = [b.ashr(b.sub(e, o), _all(down)) for e, o in zip(even, odd, strict=True)]
    return first + last[::-1]


def _mixed(b: Any, x: Any, y: Any, order: Sequence[int]) -> Any:
    return b.shuffle_vector(x, y, ir.Constant(ir.VectorType(ir.IntType(32), len(order)), list(order)))


def _turned(b: Any, rows: Sequence[Any]) -> list[Any]:
    """Return the columns of eight rows: single numbers are brought together, then pairs, then fours."""
    ones = [(0, 8, 1, 9, 4, 12, 5, 13), (2, 10, 3, 11, 6, 14, 7, 15)]
    twos = [(0, 1, 8, 9, 4, 5, 12, 13), (2, 3, 10, 11, 6, 7, 14, 15)]
    fours = [(0, 1, 2, 3, 8, 9, 10, 11), (4, 5, 6, 7, 12, 13, 14, 15)]
    pairs = [[_mixed(b, rows[i], rows[i + 1], order) for order in ones] for i in range(0, 8, 2)]
    quads = [[_mixed(b, x, y, o) for x, y in zip(pairs[i], pairs[i + 1], strict=True) for o in twos] for i in (0, 2)]
    return [_mixed(b, x, y, order) for order in fours for x, y in zip(*quads, strict=True)]


def _transform(b: Any, block: Any, out: Any, stride: Any, rows: int) -> Any:
    """Write the pixels of a block with coefficients in its first `rows` rows and columns only, and empty it; return whether
    a sum became so large that libjpeg's, of 16 bits, may have overflowed."""
    x: list[Any] = []
    for y in range(8):
        if y >= rows:
            x.append(None)
            continue
        place = b.bitcast(b.gep(block, [ir.Constant(ir.IntType(64), 8 * y)]), _VECTOR.as_pointer())
        load = b.load(place)
        load.align = 4
        x.append(load)
        b.store(_all(0), place).align = 4
    middle = _wave(b, x, 11)
    sizes = [b.xor(m, b.ashr(m, _all(31))) for m in middle]
    while len(sizes) > 1:
        sizes = [b.or_(s, t) for s, t in zip(sizes[::2], sizes[1::2], strict=True)]
    over = b.bitcast(b.icmp_unsigned(">", sizes[0], _all(16383)), ir.IntType(8))
    columns = [c if y < rows else None for y, c in enumerate(_turned(b, middle))]
    pixels = []
    for v in _wave(b, columns, 18):
        v = b.add(v, _all(128))
        v = b.select(b.icmp_signed(">", v, _all(0)), v, _all(0))
        pixels.append(b.select(b.icmp_signed("<", v, _all(255)), v, _all(255)))
    # Lane y has row y: its pixels go into two numbers of four bytes, and those, of all rows, in turn.
    low, high = (
        (b.or_(p[0], b.shl(p[1], _all(8))), b.or_(b.shl(p[2], _all(16)), b.shl(p[3], _all(24))))
        for p in (pixels[:4], pixels[4:])
    )
    first, second = b.or_(*low), b.or_(*high)
    halves = [_mixed(b, first, second, [k for y in range(4) for k in (y + at, y + at + 8)]) for at in (0, 4)]
    longs = ir.VectorType(ir.IntType(64), 4)
    for y in range(8):
        row = b.extract_element(b.bitcast(halves[y // 4], longs), ir.Constant(ir.IntType(32), y % 4))
        b.store(row, b.bitcast(out, ir.IntType(64).as_pointer())).align = 1
        out = b.gep(out, [stride])
    return b.icmp_unsigned("!=", over, ir.Constant(ir.IntType(8), 0))


def _written(rows: int) -> Callable[..., Any]:
    @numba.extending.intrinsic  # type: ignore[untyped-decorator]
    def transform(typing_context: Any, block: Any, planes: Any, at: Any, stride: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            here, out = (
                context.make_array(t)(context, builder, a).data
                for t, a in zip(signature.args[:2], args[:2], strict=True)
            )
            return _transform(builder, here, builder.gep(out, [args[2]]), args[3], rows)

        return types.boolean(block, planes, types.int64, types.int64), code

    return transform  # type: ignore[no-any-return]


_whole, _corner = _written(8), _written(4)
_CORNER = U(10)  # the coefficients before this one lie in the first four rows and columns


# -- the file ----------------------------------------------------------------------------------------------------------


@kernel
def _made(given: Array, numbers: Any, look: Array, code: Array) -> bool:
    """Make the table of a Huffman code from how many codes have each length, 1 to 16, and what they stand for.

    An entry of the table has, from its lowest bit on: 6 bits, how many are used up; `_EXTRA`; 8 bits, how many coefficients
    are skipped, and with `_EXTRA` in their upper half the size of the number that follows; 16 bits, that number. 0: a longer
    code. A table of numbers (of DC coefficients) has a size instead of the number with `_EXTRA`, and skips nothing.
    """
    code[_MADE] = 0
    look[:] = 0
    next_, k = 0, 0
    for length in range(1, 17):
        code[_SHIFT + length] = k - next_
        for _ in range(L(given[length - 1])):
            symbol = L(given[16 + k])
            if next_ >= (1 << length) - 1 or (numbers and symbol > 11):  # no code is all ones (T.81, C.2)
                return False
            code[_VALUE + k] = symbol
            if length <= LOOK:
                _entries(look, next_ << (LOOK - length), LOOK - length, length, symbol, numbers)
            next_ += 1
            k += 1
        code[_LAST + length] = next_ - 1
        next_ <<= 1
    code[_FROM : _FROM + 16 + k] = given
    code[_MADE] = 1
    return True


@kernel
def _entries(look: Array, first: int, free: int, length: int, symbol: int, numbers: Any) -> None:
    """Fill the entries that begin with one code, which leaves `free` bits of them."""
    run, size = symbol >> 4, symbol & 15
    for rest in range(1 << free):
        if size == 0:
            skipped = 0 if numbers else 15 if run == 15 else _END
            entry = skipped << 8 | length
        elif size <= free:
            number = rest >> (free - size)
            if number >> (size - 1) == 0:
                number += 1 - (1 << size)
            entry = number << 16 | run << 8 | (length + size)
        else:
            entry = (size << 16 if numbers else size << 12) | run << 8 | _EXTRA | length
        look[first + rest] = entry


@kernel
def _paired(look: Array, pairs: Array) -> None:
    """Make the table of two AC coefficients at a time from that of one. An entry has, from its lowest bit on: 8 bits, how
    many are used up; 8 bits, how far that is in the block, with `_END` where it ends; 8 bits each, where the two
    coefficients are from here on; 16 bits each, these. Where there is no second one, a 0 is written after the first, and
    where the block ends, over a 0 that is there. 0: whatever the table of one says.
    """
    for index in range(1 << LOOK):
        entry = L(look[index])
        if entry == 0 or entry & _EXTRA:
            pairs[index] = U(0)
            continue
        used, skip, one = entry & 63, (entry >> 8) & 255, entry >> 16
        first, ahead = (0, _END) if skip == _END else (skip, skip + 1)
        second, two = first + 1, 0
        if skip != _END:
            entry = L(look[(index << used) & ((1 << LOOK) - 1)])
            skip = (entry >> 8) & 255
            if entry != 0 and entry & _EXTRA == 0 and used + (entry & 63) <= LOOK:
                used += entry & 63
                if skip == _END:
                    ahead |= _END
                else:
                    second, two = ahead + skip, entry >> 16
                    ahead = second + 1
        value = (one & 0xFFFF) << 32 | (two & 0xFFFF) << 48
        pairs[index] = U(value | used | ahead << 8 | first << 16 | second << 24)


@kernel
def _header(data: Array, frame: Array, look: Array, pairs: Array, codes: Array, steps: Array) -> int:
    """Read everything up to the coded data into `frame`, `look`, `pairs`, `codes` and `steps`; return where that begins, or
    0."""
    end = data.size
    if end < 20 or end > _BYTES or data[0] != 0xFF or data[1] != 0xD8:
        return 0
    frame[:] = 0
    have = np.zeros(12, np.bool_)  # four tables of steps, eight codes
    jfif, adobe, turned = False, -1, False
    at = 2
    while at + 4 <= end and data[at] == 0xFF:
        marker = data[at + 1]
        p, at = at + 4, at + 2 + (L(data[at + 2]) << 8 | L(data[at + 3]))
        if at < p or at > end:
            return 0
        here = data[p:at]
        if marker == 0xC0 or marker == 0xC1:
            if frame[PARTS] or not _size(here, frame):
                return 0
        elif marker == 0xDB:
            while here.size:
                t = here[0]
                if t > 3 or here.size < 65:
                    return 0
                for i in range(64):
                    steps[t, i] = here[1 + i]
                have[t] = True
                here = here[65:]
        elif marker == 0xC4:
            while here.size:
                if here.size < 17 or here[0] & 0xEF > 3:
                    return 0
                t = (L(here[0]) >> 4) * 4 + (L(here[0]) & 3)
                total = 17 + L(here[1:17].sum())
                if total > 17 + 256 or total > here.size:
                    return 0
                same = codes[t, _MADE] == 1  # nearly all files have the codes of the one before
                for i in range(1, total):
                    same &= codes[t, _FROM + i - 1] == here[i]
                if not same:
                    if not _made(here[1:total], t < 4, look[t], codes[t]):
                        return 0
                    if t >= 4:
                        _paired(look[t], pairs[t - 4])
                have[4 + t] = True
                here = here[total:]
        elif marker == 0xDD:
            if here.size != 2:
                return 0
            frame[RESTART] = L(here[0]) << 8 | L(here[1])
        elif marker == 0xDA:
            known = _scan(here, frame, have)
            return at if known and _colours(frame, jfif, adobe) else 0
        elif marker == 0xE0:  # "JFIF\0"
            jfif |= (
                here.size >= 14 and here[0] == 74 and here[1] == 70 and here[2] == 73 and here[3] == 70 and here[4] == 0
            )
        elif marker == 0xEE:
            if (
                here.size >= 12
                and here[0] == 65
                and here[1] == 100
                and here[2] == 111
                and here[3] == 98
                and here[4] == 101
            ):
                adobe = L(here[11])  # "Adobe"
        elif marker == 0xE1:
            if turned or not _upright(here):  # a second one goes on where the first ends
                return 0
            turned = True
        elif not (marker == 0xFE or 0xE2 <= marker <= 0xEF):
            return 0
    return 0


@kernel
def _upright(here: Array) -> bool:
    """Tell whether an APP1 segment is EXIF of a picture that is not to be turned: an ordinary first directory (TIFF 6.0,
    section 2), with an orientation of 1 or none. XMP is not."""
    if here.size < 20 or here[0] != 69 or here[1] != 120 or here[2] != 105 or here[3] != 102 or here[4] != 0:
        return False
    tiff = here[6:]
    high = 0 if tiff[0] == 77 else 1  # "MM": the higher byte comes first
    if tiff[0] != tiff[1] or not (tiff[0] == 77 or tiff[0] == 73) or _short(tiff, 2, high) != 42:
        return False
    at = _short(tiff, 4 + 2 * high, high) << 16 | _short(tiff, 6 - 2 * high, high)
    if at < 8 or at + 6 > tiff.size:
        return False
    n = _short(tiff, at, high)
    if at + 6 + 12 * n > tiff.size:
        return False
    for k in range(n):
        entry = at + 2 + 12 * k
        if _short(tiff, entry, high) == 0x0112:
            count = _short(tiff, entry + 4 + 2 * high, high) << 16 | _short(tiff, entry + 6 - 2 * high, high)
            if _short(tiff, entry + 2, high) != 3 or count != 1 or _short(tiff, entry + 8, high) != 1:
                return False
    return True


@kernel
def _short(data: Array, at: Any, high: int) -> Any:
    """Return a number of two bytes, the higher one first or (`high` 1) second."""
    return L(data[at + high]) << 8 | L(data[at + 1 - high])


@kernel
def _size(here: Array, frame: Array) -> bool:
    """Read the frame header; tell whether it is of a picture that is decoded here."""
    if here.size < 9 or here[0] != 8 or not (here[5] == 1 or here[5] == 3) or here.size != 6 + 3 * here[5]:
        return False
    frame[HEIGHT] = L(here[1]) << 8 | L(here[2])
    frame[WIDTH] = L(here[3]) << 8 | L(here[4])
    frame[PARTS] = here[5]
    if min(frame[HEIGHT], frame[WIDTH]) == 0 or max(frame[HEIGHT], frame[WIDTH]) > SIDE:
        return False
    for c in range(frame[PARTS]):
        frame[_ID + c] = here[6 + 3 * c]
        frame[_STEPS + c] = here[8 + 3 * c]
        if here[8 + 3 * c] > 3 or ((c > 0 or frame[PARTS] == 1) and here[7 + 3 * c] != 0x11):
            return False
    frame[WIDE] = frame[TALL] = 1
    if frame[PARTS] == 3:
        frame[WIDE] = here[7] >> 4
        frame[TALL] = here[7] & 15
        if not (here[7] == 0x11 or here[7] == 0x21 or here[7] == 0x22):
            return False
        if frame[WIDE] == 2 and frame[WIDTH] < 5:  # enlarged in another way
            return False
    frame[STRIDE_2] = -(-frame[WIDTH] // (8 * frame[WIDE])) * 8
    frame[STRIDE] = frame[STRIDE_2] * frame[WIDE]
    rows = -(-frame[HEIGHT] // (8 * frame[TALL])) * 8
    frame[START_1] = frame[STRIDE] * rows * frame[TALL]
    frame[START_2] = frame[START_1] + frame[STRIDE_2] * rows
    return True


@kernel
def _scan(here: Array, frame: Array, have: Array) -> Any:
    """Read the scan header; tell whether all that it names is there and all components are in it, whole."""
    n = frame[PARTS]
    if n == 0 or here.size != 4 + 2 * n or here[0] != n:
        return False
    for c in range(n):
        dc, ac = L(here[2 + 2 * c]) >> 4, L(here[2 + 2 * c]) & 15
        if here[1 + 2 * c] != frame[_ID + c] or dc > 3 or ac > 3:
            return False
        if not (have[frame[_STEPS + c]] and have[4 + dc] and have[8 + ac]):
            return False
        frame[_DC + c] = dc
        frame[_AC + c] = 4 + ac
    return here[1 + 2 * n] == 0 and here[2 + 2 * n] == 63 and here[3 + 2 * n] == 0


@kernel
def _colours(frame: Array, jfif: Any, adobe: int) -> Any:
    """Tell whether three components are certain to be YCbCr, as libjpeg sees it."""
    usual = frame[_ID] == 1 and frame[_ID + 1] == 2 and frame[_ID + 2] == 3
    return frame[PARTS] == 1 or jfif or adobe == 1 or (adobe < 0 and usual)


@kernel
def _unstuffed(data: Array, at: int, bits: Array) -> tuple[int, int]:
    """Copy coded data from `at` on, less the zero after each 255, up to a marker; return how many bytes, and where the marker
    is (0: there is none)."""
    source, to = borrowed(data), borrowed(bits)
    end = source.size
    n = 0
    while at + 8 <= end:
        some = _eight(source, at)
        _put(to, n, some)
        full = (~some - U(0x0101010101010101)) & some & U(0x8080808080808080)  # the first 255 is certain
        if full == U(0):
            n += 8
            at += 8
            continue
        before = L(_zeros(full) >> U(3))
        n += before
        at += before
        if at + 1 >= end or source[at + 1] != 0:
            break
        to[n] = 255
        n += 1
        at += 2
    while at + 1 < end:
        to[n] = source[at]
        if source[at] == 255:
            if source[at + 1] != 0:
                _put(to, n, U(0))
                _put(to, n + 8, U(0))
                return n, at
            at += 1
        n += 1
        at += 1
    return 0, 0


# -- the coded data ----------------------------------------------------------------------------------------------------


@inlined
def _filled(bits: Array, at: Any, buffer: Any, left: Any) -> Any:
    """Return the buffer with at least 56 bits in it, the next ones highest, where to go on, and how many bits it has."""
    return buffer | _swapped(_eight(bits, L(at))) >> left, at + ((U(63) - left) >> U(3)), left | U(56)


@inlined
def _number(buffer: Any, size: Any) -> Any:
    """Return the number of `size` bits at the top of the buffer: those that begin with 0 are negative."""
    value = L(buffer >> (U(64) - size))
    return value if value >> L(size - U(1)) else value + 1 - (L(1) << L(size))


@kernel
def _long(buffer: int, code: Array) -> tuple[int, int]:
    """Return the length of a code that is not in the table, and what it stands for; 0 when there is no such code."""
    for length in range(LOOK + 1, 17):
        number = L(buffer >> U(64 - length))
        if number <= code[_LAST + length]:
            return length, code[_VALUE + number + code[_SHIFT + length]]
    return 0, 0


@kernel
def decode(
    data: Array, planes: Array, frame: Array, bits: Array, look: Array, pairs: Array, codes: Array, steps: Array
) -> Any:
    """Decode a file to `planes`: luma, and from `frame[START_1]` and `frame[START_2]` on the colour differences, in rows of
    `frame[STRIDE]` and `frame[STRIDE_2]` bytes; False where it is not one of those that are decoded here."""
    at = _header(data, frame, look, pairs, codes, steps)
    if at == 0:
        return False
    wide, tall = frame[WIDE], frame[TALL]
    of = np.zeros(
        (5, 6), np.int64
    )  # of each block of a unit: its component, its place, the next unit's and row's, its stride
    blocks = 0
    for c in range(frame[PARTS]):
        stride = frame[STRIDE_2] if c else frame[STRIDE]
        across, down = (1, 1) if c else (wide, tall)
        for k in range(across * down):
            of[0, blocks] = c
            of[1, blocks] = (frame[START_1 + c - 1] if c else 0) + (k // across) * 8 * stride + (k % across) * 8
            of[2, blocks] = 8 * across
            of[3, blocks] = 8 * down * stride
            of[4, blocks] = stride
            blocks += 1
    before = np.zeros(3, np.int64)  # the last DC coefficient of each component
    coefficients = np.zeros(80, np.int32)
    block, source, out, zigzag = borrowed(coefficients), borrowed(bits), borrowed(planes), borrowed(_ZIGZAG)
    tables, twos, ways, last_dc = borrowed(look), borrowed(pairs), borrowed(of), borrowed(before)
    n, at = _unstuffed(data, at, bits)
    if at == 0:
        return False
    buffer, left, pos = U(0), U(0), U(0)
    to_go, turn = frame[RESTART], 0
    for unit_y in range(-(-frame[HEIGHT] // (8 * tall))):
        for unit_x in range(-(-frame[WIDTH] // (8 * wide))):
            if frame[RESTART] > 0:
                if to_go == 0:
                    if not _finished(n, pos, left) or data[at + 1] != 0xD0 + turn:
                        return False
                    n, at = _unstuffed(data, at + 2, bits)
                    if at == 0:
                        return False
                    buffer, left, pos = U(0), U(0), U(0)
                    before[:] = 0
                    to_go, turn = frame[RESTART], (turn + 1) & 7
                to_go -= 1
            for s in range(blocks):
                c = ways[0, s]
                step = borrowed(steps)[frame[_STEPS + c]]
                table = tables[frame[_DC + c]]
                if left < U(32):
                    buffer, pos, left = _filled(source, pos, buffer, left)
                entry = table[buffer >> U(64 - LOOK)]
                used = U(entry & I(63))
                value = L(entry >> I(16))
                size = U(0)
                if entry == I(0):
                    long, symbol = _long(buffer, codes[frame[_DC + c]])
                    if long == 0:
                        return False
                    used, size = U(long), U(symbol)
                elif entry & I(_EXTRA):
                    size = U(value)
                buffer <<= used
                left -= used
                if size > U(0):
                    value = _number(buffer, size)
                    buffer <<= size
                    left -= size
                last_dc[c] += value
                dc = last_dc[c] * L(step[0])
                loud = abs(dc)

                table, two = tables[frame[_AC + c]], twos[frame[_AC + c] - 4]
                k, last = U(1), U(0)
                while k < U(64):
                    if left < U(32):
                        buffer, pos, left = _filled(source, pos, buffer, left)
                    if k < _TWO:
                        pair = two[buffer >> U(64 - LOOK)]
                        if pair != U(0):
                            used = pair & U(63)
                            buffer <<= used
                            left -= used
                            at_1 = k + ((pair >> U(16)) & U(255))
                            at_2 = k + ((pair >> U(24)) & U(255))
                            v = I(np.int16(pair >> U(32)) * step[at_1])
                            w = I(np.int16(pair >> U(48)) * step[at_2])
                            block[zigzag[at_1]] = v
                            block[zigzag[at_2]] = w
                            loud += abs(v) + abs(w)
                            k += (pair >> U(8)) & U(255)
                            last = (k & U(_END - 1)) - U(1)
                            continue
                    entry = table[buffer >> U(64 - LOOK)]
                    used = U(entry & I(63))
                    buffer <<= used
                    left -= used
                    v = I(entry >> I(16))
                    if v == I(0):
                        if entry == I(0):
                            long, symbol = _long(buffer, codes[frame[_AC + c]])
                            if long == 0:
                                return False
                            buffer <<= U(long)
                            left -= U(long)
                            size = U(symbol & 15)
                            k += U(symbol >> 4) if size > U(0) or symbol == 0xF0 else U(_END)
                        elif entry & I(_EXTRA):
                            size = U((entry >> I(12)) & I(15))
                            k += U((entry >> I(8)) & I(15))
                        else:
                            k += U((entry >> I(8)) & I(255)) + U(1)
                            continue
                        if size == U(0):
                            k += U(1)
                            continue
                        v = I(_number(buffer, size))
                        buffer <<= size
                        left -= size
                    else:
                        k += U((entry >> I(8)) & I(15))
                    v = I(v * step[k])
                    loud += abs(v)
                    block[zigzag[k]] = v
                    last = k
                    k += U(1)
                # Checked once a block, of which none reads further than `_SLACK` beyond what there is.
                if loud > LOUDEST or pos > U(n + 8) or U(64) < k < U(_END):
                    return False
                place = ways[1, s] + unit_x * ways[2, s] + unit_y * ways[3, s]
                if last == U(0):
                    level = min(max(((dc * 4 + 16) >> 5) + 128, 0), 255)
                    row = U(level) * U(0x0101010101010101)
                    for _ in range(8):
                        _put(out, place, row)
                        place += ways[4, s]
                    continue
                block[0] = I(dc)
                over = (
                    _corner(block, out, place, ways[4, s]) if last < _CORNER else _whole(block, out, place, ways[4, s])
                )
                if over and loud > LOUD:
                    return False
    coefficients[0] = before[0] = of[0, 0] = 0  # held until here
    return _finished(n, pos, left) and data[at + 1] == 0xD9


@kernel
def _finished(n: int, pos: int, left: int) -> Any:
    """Tell whether of `n` bytes no more is left than the bits that fill up the last one."""
    used = L(pos) * 8 - L(left)
    return 0 <= n * 8 - used < 8

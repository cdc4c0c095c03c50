"""The decoder of common JPEGs: what it takes comes out as libjpeg has it, to the bit; all else it leaves alone."""

import io
import struct
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, features

from filters.shared.baseline import SIDE, Decoder
from filters.shared.planes import Cuts, Cutter, lattice_steps
from tests.filters.pictures import photo
from tests.filters.test_jpeg import OTHER, exif, noise, pillow, saved

RNG = np.random.default_rng(7)
DECODER = Decoder()
SIZES = [(1, 1), (5, 3), (8, 8), (17, 5), (16, 33), (250, 333), (511, 64)]


def luma(data: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(data))
    image.draft("YCbCr" if image.mode == "RGB" else image.mode, None)
    return np.asarray(image.getchannel(0))


def same(data: bytes) -> bool:
    """Tell whether a file is taken, having checked that its luma and the colours of its lattice are right."""
    if not DECODER.decode(data):
        return False
    assert np.array_equal(DECODER.luma(), luma(data))
    cutter = Cutter(1)
    assert cutter.add_jpeg(data)
    lattice, colours = cutter.take().lattice, pillow(data).astype(np.uint32)
    down, across = lattice_steps(*colours.shape[:2])
    points = colours[down // 2 :: down, across // 2 :: across]
    assert np.array_equal(lattice[0], points[..., 0] | points[..., 1] << 8 | points[..., 2] << 16)
    return True


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("size", SIZES)
def test_pixels_are_those_of_libjpeg(size: tuple[int, int], subsampling: int) -> None:
    for picture in (noise(*size), Image.fromarray(photo(3, size[1], size[0]))):
        for quality in (3, 30, 75, 95, 100):
            taken = same(saved(picture, quality=quality, subsampling=subsampling))
            assert taken or (size[0] < 5 and subsampling)  # libjpeg enlarges those of one or two columns in another way


@pytest.mark.parametrize("size", SIZES)
def test_grey(size: tuple[int, int]) -> None:
    assert same(saved(noise(*size).convert("L")))


@pytest.mark.parametrize(
    "options",
    [
        {"optimize": True},
        {"restart_marker_blocks": 1},
        {"restart_marker_rows": 1},
        {"restart_marker_blocks": 7, "subsampling": 0},
    ],
)
def test_other_codes_and_restarts(options: dict[str, object]) -> None:
    for k in range(3):
        assert same(saved(Image.fromarray(photo(k, 120, 333)), quality=85, **options))


def test_print_is_decoded_too() -> None:
    """Black on white has the largest coefficients that there are; those of random black and white are at their limit."""
    page = Image.new("L", (200, 100), 255)
    ImageDraw.Draw(page).multiline_text((3, 3), "the quick brown fox\njumps over the lazy dog\n" * 3, 0)
    assert same(saved(page.convert("RGB"), quality=95))
    for quality in (5, 50, 95, 100):
        same(saved(Image.fromarray((RNG.integers(0, 2, (64, 64)) * 255).astype(np.uint8)), quality=quality))


def test_one_after_another() -> None:
    """Tables of the file before are used where they are the same, and only there."""
    picture = Image.fromarray(photo(1, 90, 130))
    files = [saved(picture, optimize=o, quality=q) for q in (40, 90) for o in (False, True, True, False)]
    for k in RNG.integers(0, len(files), 30):
        assert same(files[k])
        DECODER.decode(files[k - 1][:300])


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_exif(turn: int, order: str) -> None:
    entries = [(0x010F, 2, 4, b"abc\0"), (0x0112, 3, 1, struct.pack(order + "HH", turn, 0)), (0x011A, 4, 1, bytes(4))]
    for some in (entries, entries[::2]):
        head = struct.pack(order + "2sHLH", b"II" if order == "<" else b"MM", 42, 8, len(some))
        body = b"".join(struct.pack(order + "HHL", *e[:3]) + e[3] for e in some)
        data = saved(noise(40, 30), exif=b"Exif\0\0" + head + body + bytes(4))
        assert Image.open(io.BytesIO(data)).getexif().get(0x0112, 1) == (turn if len(some) == 3 else 1)
        assert same(data) == (turn == 1 or len(some) == 2)


def second(data: bytes) -> bytes:
    return data[:-2] + b"\xff\xda" + data[-2:]


def with_codes(data: bytes, which: int, codes: list[tuple[int, int]]) -> bytes:
    """Return a file with codes added to one of its tables, each of a length and for a symbol."""
    at = -1
    for _ in range(which % data.count(b"\xff\xc4") + 1):
        at = data.index(b"\xff\xc4", at + 1)
    end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    counts, symbols = bytearray(data[at + 5 : at + 21]), bytearray(data[at + 21 : end])
    for length, symbol in codes:
        symbols.insert(sum(counts[:length]), symbol)
        counts[length - 1] = min(counts[length - 1] + 1, 255)
    return (
        data[: at + 2] + (19 + len(symbols)).to_bytes(2, "big") + data[at + 4 : at + 5] + counts + symbols + data[end:]
    )


REFUSED: dict[str, Callable[[], bytes]] = {
    **OTHER,
    "progressive": lambda: saved(noise(40, 30), progressive=True),
    "with XMP": lambda: saved(noise(40, 30), xmp=b"<x/>"),
    "turned by two EXIF": lambda: saved(noise(40, 30), exif=exif(1))[:2] + saved(noise(40, 30), exif=exif(6))[2:],
    "EXIF cut short": lambda: saved(noise(40, 30), exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x05" + bytes(20)),
    "EXIF without a beginning": lambda: saved(noise(40, 30), exif=b"Exif\0\0MM\0*\xff\xff\xff\xff" + bytes(20)),
    "stored as RGB": lambda: saved(noise(40, 30), keep_rgb=True),
    "too wide": lambda: saved(noise(SIDE + 1, 8)),
    "a code of all ones": lambda: with_codes(saved(noise(40, 30)), 0, [(9, 11)]),
    "grey of no width": lambda: saved(noise(40, 30).convert("L")).replace(b"\x01\x01\x11\x00", b"\x01\x01\x01\x00", 1),
    "a second scan": lambda: second(saved(noise(40, 30))),
    "bytes left over": lambda: saved(noise(40, 30))[:-2] + b"\x00\x00\xff\xd9",
    "without an end": lambda: saved(noise(40, 30))[:-2],
    "a row less than it says": lambda: saved(noise(40, 30)).replace(b"\x00\x1e\x00\x28", b"\x00\x2e\x00\x28", 1),
    "more rows than it says": lambda: saved(noise(40, 30)).replace(b"\x00\x1e\x00\x28", b"\x00\x0e\x00\x28", 1),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_all_else_is_refused(kind: str) -> None:
    assert not DECODER.decode(REFUSED[kind]())
    assert not Cutter(1).add_jpeg(REFUSED[kind]())


@pytest.mark.skipif(not features.check_feature("libjpeg_turbo"), reason="overflows are those of libjpeg-turbo")
@given(
    st.integers(0, 5),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4),
)
@settings(max_examples=300, deadline=None)
def test_damage_is_refused_or_seen_as_libjpeg_sees_it(which: int, changes: list[tuple[float, int]]) -> None:
    data = bytearray(DAMAGED[which])
    for at, value in changes:
        data[int(at * len(data))] = value
    same(bytes(data))


@pytest.mark.skipif(not features.check_feature("libjpeg_turbo"), reason="overflows are those of libjpeg-turbo")
@given(
    st.integers(0, 5),
    st.integers(0, 3),
    st.lists(st.tuples(st.integers(1, 16), st.integers(0, 255)), min_size=1, max_size=5),
)
@settings(max_examples=200, deadline=None)
def test_any_codes(which: int, table: int, codes: list[tuple[int, int]]) -> None:
    same(with_codes(DAMAGED[which], table, codes))


@pytest.mark.skipif(not features.check_feature("libjpeg_turbo"), reason="overflows are those of libjpeg-turbo")
@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 12), st.integers(0, 12), st.integers(-2, 2))
@settings(max_examples=200, deadline=None)
def test_segments_of_another_file(which: int, other: int, at: int, of: int, size: int) -> None:
    """A segment of one file in the header of another, of a length that may be wrong."""
    ends = [[0, *segment_ends(DAMAGED[k])] for k in (which, other)]
    at, of = at % (len(ends[0]) - 1), of % (len(ends[1]) - 2) + 1
    segment = bytearray(DAMAGED[other][ends[1][of] : ends[1][of + 1]])
    segment[3] = (segment[3] + size) % 256
    same(DAMAGED[which][: ends[0][at + 1]] + bytes(segment) + DAMAGED[which][ends[0][at + 1] :])


def segment_ends(data: bytes) -> list[int]:
    """Return where the segments of a header begin, the coded data last."""
    ends = [2]
    while data[ends[-1] + 1] != 0xDA:
        ends.append(ends[-1] + 2 + int.from_bytes(data[ends[-1] + 2 : ends[-1] + 4], "big"))
    return ends


DAMAGED = [
    saved(Image.fromarray(photo(k, 40, 56)), quality=q, **o)
    for k, (q, o) in enumerate(
        [
            (10, {}),
            (90, {}),
            (90, {"subsampling": 0}),
            (60, {"restart_marker_blocks": 2}),
            (80, {"optimize": True, "subsampling": 1}),
        ]
    )
] + [saved(Image.fromarray(photo(9, 40, 56)).convert("L"), quality=70)]


def test_codes_that_are_looked_up_two_at_a_time() -> None:
    """Blocks that end after any number of coefficients, and numbers of any size, with common codes and with their own."""
    for count in (1, 2, 3, 31, 32, 33, 34, 62, 63, 64):
        for loud in (1, 40, 400):
            spectrum = np.zeros((8, 8))
            cells = sorted(((y, x) for y in range(8) for x in range(8)), key=lambda c: (c[0] + c[1], c[0]))
            for y, x in cells[:count]:
                spectrum[y, x] = RNG.choice([-loud, loud])
            block = WAVES.T @ spectrum @ WAVES + 128
            picture = Image.fromarray(np.tile(block.clip(0, 255).round().astype(np.uint8), (3, 5)))
            for optimize in (False, True):
                assert same(saved(picture, quality=95, optimize=optimize)) or loud == 400


WAVES = (
    np.cos(np.pi * np.outer(np.arange(8), 2 * np.arange(8) + 1) / 16)
    * np.where(np.arange(8) > 0, 0.5, 0.5**1.5)[:, None]
)


def test_pictures_share_nothing() -> None:
    """What is cut does not depend on what was cut before."""
    files = [saved(noise(w, h), subsampling=s) for s in (0, 1, 2) for w, h in ((300, 280), (31, 20), (400, 16))]

    def sums(cuts: Cuts) -> list[int]:
        return [
            int(p[i].astype(np.int64).sum()) for p in (cuts.small, cuts.window, cuts.lattice) for i in range(len(cuts))
        ]

    alone = []
    for data in files:
        cutter = Cutter(1)
        assert cutter.add_jpeg(data)
        alone.append(sums(cutter.take()))
    cutter = Cutter(len(files))
    for data in files:
        assert cutter.add_jpeg(data)
    assert cutter.full
    together = sums(cutter.take())
    assert together == [a[p] for p in range(3) for a in alone]

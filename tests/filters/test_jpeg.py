"""Plain JPEGs, decoded as they are stored."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from filters.shared import jpeg
from filters.shared.images import MAX_SIDE, Images, decode
from filters.shared.planes import Cuts
from tests.filters.pictures import Memory, samples

RNG = np.random.default_rng(5)


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(RNG.integers(0, 256, (height, width, 3)).astype(np.uint8))


def saved(image: Image.Image, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", **options)
    return out.getvalue()


def pillow(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def planes(cuts: Cuts) -> np.ndarray:
    every = (cuts.small, cuts.window, cuts.lattice)
    return np.asarray([[p[i].astype(np.float64).sum() for p in every] for i in range(len(cuts))]).reshape(-1, 3)


@pytest.mark.parametrize(
    "options", [{}, {"subsampling": 0}, {"subsampling": 2}, {"progressive": True}, {"quality": 100}]
)
@pytest.mark.parametrize("size", [(1, 1), (17, 5), (333, 250)])
def test_colours_are_those_of_libjpeg(size: tuple[int, int], options: dict[str, object]) -> None:
    data = saved(noise(*size), **options)
    assert jpeg.size(data) == (*size, 3)
    assert jpeg.decoded(data, MAX_SIDE).mode == "YCbCr"
    assert (decode(data) == pillow(data)).all()


def test_grey_stays_grey() -> None:
    data = saved(noise(33, 20).convert("L"))
    assert jpeg.size(data) == (33, 20, 1)
    assert (decode(data) == pillow(data)).all()


def exif(turn: int) -> Image.Exif:
    out = Image.Exif()
    out[0x0112] = turn
    return out


OTHER: dict[str, Callable[[], bytes]] = {
    "four colours": lambda: saved(noise(20, 20).convert("CMYK")),
    "turned": lambda: saved(noise(20, 20), exif=exif(6)),
    "cut short": lambda: saved(noise(20, 20))[:-200],
    "cut in its header": lambda: saved(noise(20, 20))[:100],
    "no JPEG": lambda: b"\x89PNG",
    "nothing": lambda: b"",
    "only marks": lambda: b"\xff\xd8" + b"\xff\xd9" * 20,
    "a segment without an end": lambda: b"\xff\xd8\xff\xe0\xff\xff" + bytes(20),
}


@pytest.mark.parametrize("kind", OTHER)
def test_what_is_not_plain_is_left_to_pillow(kind: str) -> None:
    assert jpeg.decoded(OTHER[kind](), MAX_SIDE) is None


def test_stored_as_rgb() -> None:
    data = saved(noise(40, 30), keep_rgb=True)
    assert jpeg.decoded(data, MAX_SIDE) is None
    assert (decode(data) == pillow(data)).all()


def test_with_exif_it_is_the_same_picture() -> None:
    picture = noise(300, 200)
    values = []
    for data in (saved(picture), saved(picture, exif=exif(1))):
        reader = Memory()
        values.append(Images.read(samples([([data], "")], reader), reader).measure(planes)[1])
    assert (values[0] == values[1]).all()


@pytest.mark.parametrize(("longer", "factor"), [(MAX_SIDE + 2, 2), (4 * MAX_SIDE - 4, 4), (8 * MAX_SIDE, 8)])
def test_large_ones_are_halved_as_pillow_does(longer: int, factor: int) -> None:
    data = saved(noise(longer, 16))
    image = Image.open(io.BytesIO(data))
    image.draft("RGB", (longer // factor, 16 // factor))
    assert jpeg.decoded(data, MAX_SIDE).size == image.size == (longer // factor, 16 // factor)
    assert (decode(data) == np.asarray(image)).all()


def test_sizes_that_libjpeg_does_not_halve_are_left_to_pillow() -> None:
    assert jpeg.decoded(saved(noise(MAX_SIDE + 1, 8)), MAX_SIDE) is None
    assert jpeg.decoded(saved(noise(16 * MAX_SIDE, 16)), MAX_SIDE) is None


def test_pictures_do_not_run_into_each_other() -> None:
    """All decode into one memory where sizes are equal: what is measured is that of each picture alone."""
    reader = Memory()
    some = [saved(noise(w, h)) for w, h in ((300, 280), (300, 280), (31, 20), (300, 280), (300, 280))]
    some[3:3] = [saved(noise(300, 280).convert("L")), some[0][:-300], saved(noise(30, 20).convert("L"))]
    batch = samples([(some, "")], reader)
    kept = Images.read(batch, reader)
    together = Images.read(batch, reader, keep=False).measure(planes)[1]
    assert np.isnan(together).all(1).tolist() == [k == 4 for k in range(8)]
    assert np.array_equal(together, kept.measure(planes)[1], equal_nan=True)
    for k, data in enumerate(some):
        alone = Images.read(samples([([data], "")], reader), reader).measure(planes)[1]
        assert np.array_equal(alone[0], together[k], equal_nan=True)


def test_measures_are_the_same_before_and_after_looking() -> None:
    reader, data = Memory(), saved(noise(50, 40))
    batch = samples([([data], "")], reader)
    before = Images.read(batch, reader)
    values = before.measure(planes)[1]
    for announced in ((), (planes,)):
        after = Images.read(batch, reader, measures=announced)
        assert (after[0][0] == before[0][0]).all()
        assert (after.measure(planes)[1] == values).all()
        assert after.decoded == 2 - len(announced)


@given(st.binary(max_size=60), st.integers(0, 400))
@settings(max_examples=60, deadline=None)
def test_damage_is_none_or_a_picture(junk: bytes, at: int) -> None:
    whole = saved(Image.new("RGB", (16, 16), (9, 99, 199)))
    data = whole[:at] + junk + whole[at + len(junk) :]
    found = jpeg.decoded(data, MAX_SIDE)
    assert found is None or found.mode in ("YCbCr", "L")

import io

import numpy as np
import pytest
from PIL import Image

from filters.shared.images import MAX_SIDE, Images, decode, present
from filters.shared.planes import POINTS, SIDE, Cuts, lattice_steps
from tests.filters.pictures import Memory, encode, pairs, samples


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def test_each_image_is_decoded_once_however_often_it_is_used() -> None:
    reader, red = Memory(), np.full((8, 8, 3), (255, 0, 0), np.uint8)
    batch = samples([([encode(red), encode(red[:4])], "a"), ([encode(red)], "b"), ([], "c")], reader)
    images = Images.read(batch, reader)
    for _ in range(3):
        assert [len(x) for x in images] == [2, 1, 0]
    assert images.decoded == 2  # the third has the same digest as the first
    assert images[0][0] is images[1][0]
    with pytest.raises(IndexError):
        images[3]


def test_transparency_lies_on_white_in_every_mode() -> None:
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert (decode(saved(clear, "PNG")) == 255).all()
    half = decode(saved(Image.new("RGBA", (4, 4), (0, 0, 0, 128)), "PNG"))
    assert half is not None
    assert abs(int(half[0, 0, 0]) - 127) <= 1
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([10, 20, 30] + [0] * 765)
    assert (decode(saved(palette, "PNG", transparency=0)) == 255).all()
    assert (decode(saved(Image.new("LA", (4, 4), (0, 0)), "PNG")) == 255).all()


def test_modes_end_as_rgb() -> None:
    grey = decode(saved(Image.new("L", (4, 4), 77), "PNG"))
    assert grey is not None
    assert grey.shape == (4, 4, 3)
    assert (grey == 77).all()
    deep = decode(saved(Image.fromarray(np.full((4, 4), 77 * 257, np.uint16)), "PNG"))
    assert deep is not None
    assert abs(int(deep[0, 0, 0]) - 77) <= 1
    assert decode(saved(Image.new("CMYK", (4, 4)), "JPEG")) is not None
    assert decode(saved(Image.new("1", (4, 4), 1), "PNG")).max() == 255


def test_exif_orientation_is_applied() -> None:
    a = np.zeros((4, 8, 3), np.uint8)
    a[:, :4] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # turned a quarter to the left when taken
    out = decode(saved(Image.fromarray(a), "PNG", exif=exif))
    assert out is not None
    assert out.shape == (8, 4, 3)
    assert (out[:4] == 255).all()


def test_the_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (4, 4), c) for c in ("red", "blue")]
    out = decode(saved(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert out is not None
    assert tuple(out[0, 0]) == (255, 0, 0)


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"\x89PNG\r\n\x1a\n" + b"\0" * 40, encode(np.zeros((50, 50, 3), np.uint8))[:60]]
)
def test_what_no_decoder_takes_is_none(data: bytes) -> None:
    assert decode(data) is None


def test_huge_images_are_halved() -> None:
    out = decode(saved(Image.new("L", (MAX_SIDE * 2, 10), 5), "PNG"))
    assert out is not None
    assert out.shape == (5, MAX_SIDE, 3)


def test_measures_are_taken_together_and_pictures_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("filters.shared.images.GROUP", 4)
    reader, calls = Memory(), []

    def first(cuts: Cuts) -> np.ndarray:
        calls.append(("first", len(cuts)))
        return cuts.small.height[:, None].astype(np.float64)

    def second(cuts: Cuts) -> np.ndarray:
        calls.append(("second", len(cuts)))
        return cuts.small.width[:, None].copy()

    pictures = [encode(np.full((k + 1, 9, 3), k, np.uint8)) for k in range(6)]
    batch = samples([(pictures[:2], ""), ([], ""), ([b"?", *pictures[2:]], "")], reader)
    images = Images.read(batch, reader, measures=(first, second), keep=False)
    row, values = images.measure(first)
    assert row.tolist() == [0, 0, 2, 2, 2, 2, 2]
    assert values[:2, 0].tolist() == [1, 2]
    assert np.isnan(values[2, 0])
    assert values[3:, 0].tolist() == [3, 4, 5, 6]
    assert images.measure(second)[1][:, 0].tolist() == [9, 9, 0, 9, 9, 9, 9]  # in integers, 0 where there is no picture
    assert images.decoded == 7
    assert calls == [("first", 4), ("second", 4), ("first", 2), ("second", 2)]
    assert images[0][1].shape == (2, 9, 3)  # not kept: decoded once more
    assert images.decoded == 9


def test_measures_of_pictures_that_were_looked_at_decode_nothing() -> None:
    reader = Memory()
    batch = samples([([encode(pairs(1)[0][0])], "")], reader)
    images = Images.read(batch, reader, measures=(present,))
    picture = images[0][0]
    assert images.measure(present)[1].all()
    assert images.decoded == 1
    other = Images.read(batch, reader)
    other.measure(present)
    assert (other[0][0] == picture).all()
    assert other.decoded == 1


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
@pytest.mark.parametrize(
    "size", [(1, 1), (3, 5), (255, 31), (256, 256), (257, 100), (300, 512), (1001, 77), (12, 260), (260, 12)]
)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_planes_are_what_they_say(size: tuple[int, int], mode: str, form: str) -> None:
    rng = np.random.default_rng(0)
    width, height = size
    shape = (height, width, 3) if mode == "RGB" else (height, width)
    data = saved(Image.fromarray(rng.integers(0, 256, shape).astype(np.uint8)), form)
    picture = decode(data)
    assert picture is not None
    stored = Image.open(io.BytesIO(data))
    stored.draft("YCbCr", None)  # where it is one: luma as a JPEG has it
    grey = np.asarray(stored.convert("L") if stored.mode != "YCbCr" else stored.getchannel(0), np.float64)
    reader, seen = Memory(), []

    def look(cuts: Cuts) -> np.ndarray:
        seen.extend((cuts.small[0].copy(), cuts.window[0].copy(), cuts.lattice[0].copy()))
        return np.zeros((len(cuts), 1))

    batch = samples([([data], "")], reader)
    Images.read(batch, reader, measures=(look,)).measure(look)
    small, window, lattice = seen
    down, across = shares(height, small.shape[0]), shares(width, small.shape[1])
    assert np.abs(small - down @ grey @ across.T).max() <= 0.5 + 1e-6
    assert max(small.shape) == min(max(height, width), SIDE)
    top, left = ((n - min(n, SIDE)) // 2 // 8 * 8 for n in (height, width))
    assert (window == grey[top : top + SIDE, left : left + SIDE]).all()
    k, j = lattice_steps(height, width)
    points = picture[k // 2 :: k, j // 2 :: j].astype(np.uint32)
    assert (lattice == points[..., 0] | points[..., 1] << 8 | points[..., 2] << 16).all()
    assert lattice.size <= POINTS


def shares(n: int, to: int) -> np.ndarray:
    """Share of each of `n` pixels in the mean of each of `to` equal cells."""
    edge, at = np.arange(to + 1) * n / to, np.arange(n)
    part = np.clip(np.minimum(edge[1:, None], at + 1) - np.maximum(edge[:-1, None], at), 0, None)
    return part * to / n


def test_a_large_jpeg_is_scaled_by_its_decoder_and_turned() -> None:
    picture = Image.fromarray(np.kron(np.asarray([[0, 200], [100, 255]], np.uint8), np.ones((800, 1500), np.uint8)))
    exif = Image.Exif()
    exif[0x0112] = 6
    out = decode(saved(picture.convert("RGB"), "JPEG", exif=exif, quality=95))
    assert out is not None
    assert out.shape == (1500, 800, 3)
    corners = [out[y, x, 0] for y in (300, 1200) for x in (200, 600)]
    assert np.abs(np.asarray(corners, int) - [100, 0, 255, 200]).max() <= 3

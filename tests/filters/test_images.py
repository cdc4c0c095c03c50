import io

import numpy as np
import pytest
from PIL import Image

from filters.shared.images import MAX_SIDE, Images, decode
from tests.filters.pictures import Memory, encode, samples


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

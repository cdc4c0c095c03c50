"""Plain JPEGs decoded as they are stored, in luma and two colour differences, into memory that is there already.

Pillow's decoder is given the whole file at once (`Image.frombytes`), which spares what `Image.open` does to be able to read
any file piece by piece. Asked for YCbCr, libjpeg leaves out the conversion to RGB: luma is what most filters measure, and
`rgb` converts what is to be seen in colour, to the same numbers as libjpeg.

Anything out of the ordinary (EXIF or XMP, which may turn the picture; four colours; 12 bits; damage) is None here, and left
to `Image.open`.
"""

from typing import Any

import numpy as np
from PIL import Image

from filters.shared.text import Array, inlined, kernel

# SOF0 to SOF2: baseline, extended and progressive DCT, Huffman coded (ITU-T T.81, table B.1).
_FRAMES = (0xC0, 0xC1, 0xC2)
_SKIPPED = frozenset([0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)]) - {0xE1}  # APP1 holds EXIF and XMP
_SCAN = 0xDA


def size(data: bytes) -> tuple[int, int, int] | None:
    """Return (width, height, components) of a plain JPEG, else None."""
    if data[:2] != b"\xff\xd8":
        return None
    at, end, found = 2, len(data) - 10, None
    while at < end and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == _SCAN:
            return found
        if marker in _FRAMES:
            if data[at + 4] != 8 or data[at + 9] not in (1, 3) or found is not None:
                return None
            found = data[at + 7] << 8 | data[at + 8], data[at + 5] << 8 | data[at + 6], data[at + 9]
        elif marker not in _SKIPPED:
            return None
        at += 2 + (data[at + 2] << 8 | data[at + 3])
    return None


def decoded(data: bytes, longest: int, into: Image.Image | None = None) -> Image.Image | None:
    """Return the picture of mode YCbCr or L in a plain JPEG, else None; `into` is overwritten and returned where it fits.

    One whose longer side is above `longest` is halved by libjpeg, up to three times; None where that is not enough.
    """
    found = size(data)
    if found is None or not min(found):
        return None
    width, height, components = found
    scale = 1
    while max(width, height) > longest * scale:
        scale *= 2
    shape = (-(-width // scale), -(-height // scale))
    if scale > 8 or min(width // shape[0], height // shape[1]) < scale:
        return None  # as in Pillow's `draft`, which scales by less then
    mode = "YCbCr" if components == 3 else "L"
    image = into
    if image is None or image.size != shape or image.mode != mode:
        image = Image.new(mode, shape, None)  # type: ignore[arg-type]  # None: what lies there is overwritten
    try:
        image.frombytes(data, "jpeg", mode, "", scale, 0)
    except MemoryError:
        raise
    except Exception:  # cut short, damaged, or stored as RGB
        return None
    return image


@kernel
def rgb(pixels: Array, out: Array) -> None:
    """Fill `out` (H x W x 3) with the colours of YCbCr pixels (uint32; luma in the lowest byte), rounded as libjpeg does it."""
    for y in range(out.shape[0]):
        here = pixels[y]
        to = out[y]
        for x in range(to.shape[0]):
            v = colour(here[x])
            to[x, 0] = np.uint8(v & np.uint32(255))
            to[x, 1] = np.uint8((v >> np.uint32(8)) & np.uint32(255))
            to[x, 2] = np.uint8(v >> np.uint32(16))


@inlined
def colour(pixel: int) -> Any:
    """Return red + green * 256 + blue * 65536 of a YCbCr pixel: 16-bit fixed point, then clamped (libjpeg's jdcolor.c)."""
    y = np.int32(pixel & np.uint32(255))
    b = np.int32((pixel >> np.uint32(8)) & np.uint32(255)) - np.int32(128)
    r = np.int32((pixel >> np.uint32(16)) & np.uint32(255)) - np.int32(128)
    red = y + ((np.int32(91881) * r + np.int32(32768)) >> np.int32(16))
    green = y + ((np.int32(32768) - np.int32(22554) * b - np.int32(46802) * r) >> np.int32(16))
    blue = y + ((np.int32(116130) * b + np.int32(32768)) >> np.int32(16))
    red = min(max(red, np.int32(0)), np.int32(255))
    green = min(max(green, np.int32(0)), np.int32(255))
    blue = min(max(blue, np.int32(0)), np.int32(255))
    return np.uint32(red | np.int32(green << np.int32(8)) | np.int32(blue << np.int32(16)))

"""Fonts, backgrounds, noise and encoding, shared by everything that draws."""

import functools
import io
import random
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Color = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

FACES = (
    "",  # Pillow's own scalable default
    "DejaVuSans.ttf",
    "DejaVuSans-Bold.ttf",
    "DejaVuSans-Oblique.ttf",
    "DejaVuSerif.ttf",
    "DejaVuSerif-Bold.ttf",
    "DejaVuSerif-Italic.ttf",
    "DejaVuSansMono.ttf",
    "DejaVuSansMono-Bold.ttf",
    "STIXGeneral.ttf",
    "STIXGeneralBol.ttf",
    "cmr10.ttf",
    "cmss10.ttf",
    "cmtt10.ttf",
)
"""None is shipped here: they come with Pillow and matplotlib."""

PLAIN_FACES = FACES[:11]  # the Computer Modern files lack some of the punctuation that receipts use


@functools.lru_cache(maxsize=512)
def font(face: str, size: int) -> Font:
    """Return the face at a size in pixels; the basic layout, so that the result does not depend on libraqm."""
    if not face:
        return ImageFont.load_default(size)
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / face
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)


def text_size(face: Font, text: str) -> tuple[int, int]:
    """Return width and height of a line of text."""
    left, top, right, bottom = face.getbbox(text)
    return int(right - left) + 1, int(bottom - top) + 1


def mix(a: Color, b: Color, share: float) -> Color:
    """Return `a` moved towards `b` by `share`."""
    return tuple(round(x + (y - x) * share) for x, y in zip(a, b, strict=True))  # type: ignore[return-value]


def shade(color: Color, factor: float) -> Color:
    """Return the colour darker (below 1) or lighter (above 1)."""
    return mix(color, (0, 0, 0), 1 - factor) if factor <= 1 else mix(color, (255, 255, 255), min(1.0, factor - 1))


def hue(rng: random.Random, saturation: float, value: float) -> Color:
    """Return a colour of random hue."""
    import colorsys

    r, g, b = colorsys.hsv_to_rgb(rng.random(), saturation, value)
    return round(r * 255), round(g * 255), round(b * 255)


@functools.lru_cache(maxsize=8)
def _ramp(width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.meshgrid(np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32))
    return x, y


def uneven_light(image: Image.Image, rng: random.Random, strength: float, blobs: int = 3) -> Image.Image:
    """Return the picture under uneven light: a slope and a few soft blobs.

    Real photographs have it; it is also what gives two pages of text different perceptual hashes.
    """
    x, y = _ramp(24, 24)
    dx, dy = rng.uniform(-1, 1), rng.uniform(-1, 1)
    field = dx * x + dy * y
    for _ in range(blobs):
        cx, cy, r = rng.uniform(-1, 1), rng.uniform(-1, 1), rng.uniform(0.25, 0.6)
        field = field + rng.choice((-1.6, 1.6)) * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * r * r))
    field = field - field.mean()
    field = 128 + 127 * strength * field / max(1e-6, float(np.abs(field).max()))
    light = Image.fromarray(field.clip(0, 255).astype(np.uint8)).resize(image.size, Image.Resampling.BICUBIC)
    a = np.asarray(image, dtype=np.float32)
    m = np.asarray(light, dtype=np.float32)[..., None]
    out = a * (m / 128.0)
    return Image.fromarray(out.clip(0, 255).astype(np.uint8))


def grain(image: Image.Image, rng: random.Random, sigma: float) -> Image.Image:
    """Return the picture with Gaussian noise, the same in all three channels."""
    noise = np.random.Generator(np.random.PCG64(rng.getrandbits(64)))
    w, h = image.size
    a = np.asarray(image, dtype=np.float32) + sigma * noise.standard_normal((h, w, 1), dtype=np.float32)
    return Image.fromarray(a.clip(0, 255).astype(np.uint8))


def gradient(size: tuple[int, int], start: Color, end: Color, *, vertical: bool = True) -> Image.Image:
    """Return a picture that runs from one colour to the other."""
    strip = Image.new("RGB", (1, 2) if vertical else (2, 1))
    strip.putpixel((0, 0), start)
    strip.putpixel((0, 1) if vertical else (1, 0), end)
    return strip.resize(size, Image.Resampling.BILINEAR)


def soft_shadow(size: tuple[int, int], box: tuple[float, float, float, float], blur: float, alpha: int) -> Image.Image:
    """Return a mask with a blurred rectangle."""
    mask = Image.new("L", size, 0)
    ImageDraw.Draw(mask).rectangle(box, fill=alpha)
    return mask.filter(ImageFilter.BoxBlur(blur))


def encode(image: Image.Image, extension: str = "jpg", quality: int = 88) -> bytes:
    """Return the file's bytes: JPEG or PNG."""
    out = io.BytesIO()
    if extension == "png":
        image.save(out, "PNG", compress_level=4)
    else:
        image.convert("RGB").save(out, "JPEG", quality=quality)
    return out.getvalue()

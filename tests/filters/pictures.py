"""Pictures with captions for the tests of filters: scenes of coloured shapes, bar charts, pages of text."""

import hashlib
import io

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw

from catalog.schema import SAMPLE

COLOURS = {
    "red": (200, 40, 40), "green": (40, 160, 60), "blue": (40, 70, 200), "yellow": (230, 200, 40),
    "purple": (130, 50, 160), "orange": (240, 130, 30), "cyan": (40, 190, 200), "brown": (120, 80, 40),
}  # fmt: skip
SHAPES = ("square", "circle", "triangle", "diamond")
NUMBERS = ("no", "one", "two", "three", "four", "five")
WORDS = [
    "apple",
    "river",
    "stone",
    "market",
    "window",
    "garden",
    "engine",
    "silver",
    "paper",
    "winter",
    "music",
    "forest",
    "number",
    "letter",
    "bridge",
]


def scene(rng: np.random.Generator, side: int = 192) -> tuple[np.ndarray, str]:
    base = rng.integers(150, 240, 3)
    image = Image.fromarray(
        (base + np.linspace(-20, 20, side)[:, None, None] + np.zeros((side, side, 1))).clip(0, 255).astype(np.uint8)
    )
    draw = ImageDraw.Draw(image)
    groups, cells = [], list(rng.permutation(9))
    for _ in range(int(rng.integers(1, 4))):
        colour, shape = str(rng.choice(list(COLOURS))), str(rng.choice(SHAPES))
        if any(g[1:] == (colour, shape) for g in groups):
            continue
        n = int(rng.integers(1, 4))
        groups.append((n, colour, shape))
        for _ in range(min(n, len(cells))):
            cell = int(cells.pop())
            r = side * float(rng.uniform(0.08, 0.15))
            x = (cell % 3 + 0.5 + rng.uniform(-0.1, 0.1)) * side / 3
            y = (cell // 3 + 0.5 + rng.uniform(-0.1, 0.1)) * side / 3
            box = (x - r, y - r, x + r, y + r)
            points = {
                "triangle": [(x, y - r), (x + r, y + r), (x - r, y + r)],
                "diamond": [(x, y - r), (x + r, y), (x, y + r), (x - r, y)],
            }.get(shape)
            if shape == "circle":
                draw.ellipse(box, fill=COLOURS[colour])
            elif shape == "square":
                draw.rectangle(box, fill=COLOURS[colour])
            else:
                draw.polygon(points, fill=COLOURS[colour])
    parts = [f"{NUMBERS[n]} {c} {s}{'s' if n > 1 else ''}" for n, c, s in groups]
    return np.asarray(image), "A picture of " + " and ".join(parts) + "."


def chart(rng: np.random.Generator, side: int = 192) -> tuple[np.ndarray, str]:
    image = Image.new("RGB", (side * 4 // 3, side), "white")
    draw = ImageDraw.Draw(image)
    n, colour = int(rng.integers(2, 7)), str(rng.choice(list(COLOURS)))
    heights = rng.uniform(0.1, 0.8, n)
    w = image.width / (n + 1)
    for i, h in enumerate(heights):
        x = w * (i + 0.6)
        draw.rectangle((x, side * (0.92 - h), x + w * 0.7, side * 0.92), fill=COLOURS[colour])
        draw.text((x, side * 0.93), str(rng.choice(WORDS))[:5], fill="black")
    draw.line((w * 0.4, side * 0.05, w * 0.4, side * 0.92, image.width - 4, side * 0.92), fill="black")
    draw.text((w, 2), f"{rng.choice(WORDS)} by {rng.choice(WORDS)}", fill="black")
    trend = "rising" if heights[-1] > heights[0] else "falling"
    return np.asarray(image), f"A bar chart with {n} {colour} bars, {trend} from left to right."


def page(rng: np.random.Generator, side: int = 192) -> tuple[np.ndarray, str]:
    image = Image.new("RGB", (side, side * 4 // 3), tuple(int(v) for v in rng.integers(235, 256, 3)))
    draw = ImageDraw.Draw(image)
    lines = [" ".join(rng.choice(WORDS, 5)) for _ in range(int(rng.integers(4, 14)))]
    for i, line in enumerate(lines):
        draw.text((8, 8 + 16 * i), line, fill=(20, 20, 30))
    return np.asarray(image), f"A page with {len(lines)} lines of text that begins with {lines[0]}."


KINDS = (scene, chart, page)


def pairs(n: int, seed: int = 0, side: int = 192) -> list[tuple[np.ndarray, str]]:
    rng = np.random.default_rng(seed)
    return [KINDS[i % len(KINDS)](rng, side) for i in range(n)]


class Memory:
    """A reader of media that lie in memory."""

    def __init__(self) -> None:
        self.blobs: list[bytes] = []

    def read(self, shard: str, offset: int, size: int) -> bytes:
        return self.blobs[offset]


def encode(picture: np.ndarray, form: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, form, **options)
    return out.getvalue()


def samples(
    items: list[tuple[list[bytes], str]], reader: Memory, *, user: str = "", ids: list[str] | None = None
) -> pa.RecordBatch:
    """A SAMPLE batch of (encoded images, text)."""
    rows = []
    for k, (images, text) in enumerate(items):
        media = []
        for data in images:
            try:
                width, height = Image.open(io.BytesIO(data)).size
            except Exception:
                width, height = None, None
            reader.blobs.append(data)
            digest = hashlib.sha256(data).hexdigest()
            media.append(
                {"kind": "image", "digest": digest, "mime": "image/png", "width": width, "height": height, "shard": "m",
                 "offset": len(reader.blobs) - 1, "size": len(data)}
            )  # fmt: skip
        asked = "<image>" * len(images) + user
        messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": text}]
        rows.append(
            {"id": ids[k] if ids else f"s/{k:04d}", "digest": "", "source": "s", "task": "caption", "license": "CC0-1.0",
             "messages": messages, "media": media, "boxes": [], "meta": "{}"}
        )  # fmt: skip
    return pa.RecordBatch.from_pylist(rows, SAMPLE)


def scores(name: str, items: list[list[bytes]], **params: object) -> list[dict[str, float]]:
    """The scores of filter `name` for samples of encoded images."""
    from filters.base import load
    from filters.shared.images import Images

    reader = Memory()
    batch = samples([(images, "") for images in items], reader)
    return load(name, params).score(batch, Images.read(batch, reader)).to_pylist()


def flat(level: int | tuple[int, int, int], height: int = 64, width: int = 64) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


def photo(seed: int, height: int = 240, width: int = 320) -> np.ndarray:
    """Something like a photo: colour noise at all scales, falling with frequency."""
    rng = np.random.default_rng(seed)
    out = np.zeros((height, width, 3))
    for octave in range(2, 8):
        small = rng.normal(0, 1, (2**octave, 2**octave, 3))
        layers = [
            np.asarray(
                Image.fromarray(small[:, :, c].astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
            )
            for c in range(3)
        ]
        out += np.stack(layers, 2) * 60 / octave
    return (out + 120).clip(0, 255).astype(np.uint8)

"""What the image filters can tell, on real pictures under `../shared/data` and on defects planted into them.

    python benchmarks/image_truth.py [--quick]

AUC: the probability that a picture with the defect (or of the kind) scores above one without. "at 5 %": the share that is
caught by the bound which flags 5 % of the clean pictures.
"""

import argparse
import hashlib
import io
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from catalog.schema import SAMPLE
from filters import base
from filters.shared.images import Images

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
MARKS = ("SAMPLE", "preview", "stockpix", "(c) somebody", "PhotoSite")
Edit = Callable[[Image.Image, np.random.Generator], Image.Image]


class Memory:
    def __init__(self, blobs: Sequence[bytes]) -> None:
        self.blobs = blobs

    def read(self, shard: str, offset: int, size: int) -> bytes:
        return self.blobs[offset]


def scores(name: str, blobs: Sequence[bytes]) -> dict[str, Any]:
    """Return every score of one filter as an array, one entry per image."""
    rows = []
    for k, data in enumerate(blobs):
        digest = hashlib.sha256(data + k.to_bytes(4, "big")).hexdigest()
        medium = {"kind": "image", "digest": digest, "mime": "image/jpeg", "shard": "m", "offset": k, "size": len(data)}
        rows.append({"id": f"s/{k}", "digest": "", "source": "s", "task": "caption", "license": "unknown", "messages": [],
                     "media": [medium], "boxes": [], "meta": "{}"})  # fmt: skip
    batch = pa.RecordBatch.from_pylist(rows, SAMPLE)
    out = base.load(name).score(batch, Images.read(batch, Memory(blobs), keep=False))
    return {c: np.asarray(out[c]) for c in out.schema.names}


def auc(positive: Any, negative: Any) -> float:
    both = np.concatenate([positive, negative])
    _, inverse, counts = np.unique(both, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    n, m = len(positive), len(negative)
    return float((rank[:n].sum() - n * (n + 1) / 2) / (n * m))


def caught(positive: Any, negative: Any) -> float:
    return float((positive > np.quantile(negative, 0.95)).mean())


def jpeg(image: Image.Image, quality: int = 85) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


# -- planted defects ---------------------------------------------------------------------------------------------------


def _mark(text: str, size: int) -> Image.Image:
    font = ImageFont.load_default(size)
    box = font.getbbox(text)
    image = Image.new("L", (math.ceil(box[2]) + 4, math.ceil(box[3]) + 4))
    ImageDraw.Draw(image).text((2, 2), text, 255, font=font)
    return image


def _blend(image: Image.Image, mask: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    level = 255 if rng.random() < 0.7 else 0
    return Image.composite(Image.new("RGB", image.size, (level,) * 3), image, mask.point(lambda v: int(v * strength)))


def tiled(turn: float) -> Edit:
    def edit(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        width, height = image.size
        size = max(9, round(max(image.size) * rng.uniform(0.035, 0.07)))
        mark = _mark(str(rng.choice(MARKS)), size)
        side = int(math.hypot(width, height)) + 50
        mask = Image.new("L", (side, side))
        across, down = int(mark.width * rng.uniform(1.2, 1.9)), int(size * rng.uniform(2, 4))
        shift = int(rng.integers(0, 2)) * across // 2
        for row, y in enumerate(range(0, side, down)):
            for x in range(-shift * (row % 2), side, across):
                mask.paste(mark, (x, y))
        left, top = (side - width) // 2, (side - height) // 2
        mask = mask.rotate(turn, Image.Resampling.BICUBIC).crop((left, top, left + width, top + height))
        return _blend(image, mask, rng.uniform(0.2, 0.5), rng)

    return edit


def credit(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    size = max(8, round(max(image.size) * rng.uniform(0.035, 0.06)))
    mark, mask, gap = _mark(str(rng.choice(MARKS)), size), Image.new("L", image.size), round(0.02 * max(image.size))
    x = int(rng.choice([gap, image.width - mark.width - gap, (image.width - mark.width) // 2]))
    y = int(rng.choice([gap, image.height - mark.height - gap]))
    mask.paste(mark, (max(x, 0), y))
    return _blend(image, mask, rng.uniform(0.5, 1.0), rng)


def across(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    mark = _mark(str(rng.choice(MARKS[:3])), round(max(image.size) * rng.uniform(0.09, 0.15)))
    mask = Image.new("L", image.size)
    mask.paste(mark, ((image.width - mark.width) // 2, (image.height - mark.height) // 2))
    return _blend(image, mask, rng.uniform(0.25, 0.5), rng)


def bars(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    thick = round(image.height * rng.uniform(0.08, 0.2))
    out = Image.new("RGB", (image.width, image.height + 2 * thick), tuple(rng.choice([0, 255], 1).repeat(3).tolist()))
    out.paste(image, (0, thick))
    return out


def grey(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    return image.convert("L").convert("RGB")


def dark(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    return image.point(lambda v: v * 0.25)


def blurred(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(max(image.size) / 256 * rng.uniform(2, 5)))


PLANTED: tuple[tuple[str, str, str, int, Edit], ...] = (
    ("blurred (2 to 5 px of 256)", "blur", "blur", -1, blurred),
    ("blurred (2 to 5 px of 256)", "blur", "sharpness", -1, blurred),
    ("made dark (a quarter of the light)", "brightness", "brightness_99", -1, dark),
    ("made grey, saved in colour", "greyscale", "coloured", -1, grey),
    ("bars above and below", "border", "letterbox", 1, bars),
    ("mark tiled upright, 20 to 50 %", "overlay", "overlay_repeat", 1, tiled(0)),
    ("mark tiled at 30 degrees", "overlay", "overlay_repeat", 1, tiled(30)),
    ("credit line at the edge", "overlay", "overlay_edge", 1, credit),
    ("one faint word across the middle", "overlay", "overlay_repeat", 1, across),
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a quarter of the pictures")
    step = 4 if parser.parse_args().quick else 1
    result: dict[str, Any] = {}
    photos = [
        Image.open(p).convert("RGB")
        for p in (
            *sorted(DATA.glob("grocery_store/**/*.jpg"))[:: 27 * step],
            *sorted(DATA.glob("based_cooking/**/*.jpg"))[::step],
        )
    ]
    photos = [p for p in photos if min(p.size) >= 64]
    clean = [jpeg(p) for p in photos]
    print(f"{len(photos)} photos\n\nplanted                              score             AUC   at 5 %")
    for what, name, score, sign, edit in PLANTED:
        rng = np.random.default_rng(0)
        bad = scores(name, [jpeg(edit(p, rng)) for p in photos])[score] * sign
        good = scores(name, clean)[score] * sign
        result[f"{what}: {score}"] = [round(auc(bad, good), 3), round(caught(bad, good), 3)]
        print(f"{what:<36} {score:<15} {auc(bad, good):>5.3f} {caught(bad, good):>8.0%}")

    print(
        "\nJPEG quality    blockiness: median, 95 %, over the bound    jpeg_quality: median    blockiness above the original's"
    )
    untouched = scores("blockiness", [jpeg(p, 95) for p in photos])["blockiness"]
    high = base.load("blockiness").bounds["blockiness"][1]
    assert high is not None
    for quality in (5, 10, 20, 30, 50, 75, 95):
        got = scores("blockiness", [jpeg(p, quality) for p in photos])
        b, q = got["blockiness"], got["jpeg_quality"]
        result[f"jpeg {quality}"] = [
            round(float(np.median(b)), 2),
            round(float((b > high).mean()), 3),
            round(float(np.median(q)), 2),
        ]
        print(
            f"{quality:>12} {np.median(b):>15.2f} {np.quantile(b, 0.95):>8.2f} {(b > high).mean():>12.1%} {np.median(q):>26.2f} "
            f"{(b > untouched).mean():>20.0%}"
        )

    kinds = {
        "receipts": "sroie_receipts/**/*.jpg", "charts": "opencqa_charts/**/*.png", "pages": "tesseract_test/**/*.[pt][ni][gf]",
        "lecture figures": "cs231n_notes/**/*.png", "clip art": "openclipart/**/*.png", "food": "based_cooking/**/*.jpg",
        "shop": "grocery_store/**/*.jpg",
    }  # fmt: skip
    text = {}
    for kind, pattern in kinds.items():
        paths = sorted(DATA.glob(pattern))
        chosen = paths[:: max(1, len(paths) * step // 300)]
        text[kind] = scores("text_area", [p.read_bytes() for p in chosen])["text_area"]
        text[kind] = text[kind][~np.isnan(text[kind])]
    plain = np.concatenate([text["food"], text["shop"]])
    print("\ntext_area          n    10 %  median    90 %    AUC against food and shop photos")
    for kind, found in text.items():
        tenth, half, most = np.quantile(found, [0.1, 0.5, 0.9])
        result[f"text_area {kind}"] = round(auc(found, plain), 3)
        print(f"{kind:<16} {len(found):>4} {tenth:>7.3f} {half:>7.3f} {most:>7.3f} {auc(found, plain):>8.3f}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()

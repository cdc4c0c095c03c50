"""Copies of evaluation images, planted in photos of the same kind: what the hash and a CLIP model find, and what they take for
one.

python benchmarks/decontamination_images.py [--data ../shared/data] [--quick]

Evaluation images are photos of the test split of grocery_store, one per class and a few more; planted are edited copies of
each; the photos of the train split, which show the same 81 classes, are the ones that are no copies. The CLIP model is fitted
on the validation and train photos (`curate.fit_clip`), so that it never saw an evaluation image. Recall per edit, and the
share of other photos that are hit, at the bounds of `decontaminate_image` and of `decontaminate_clip`, and at the CLIP bound
that hits one in a hundred other photos.
"""

import argparse
import io
import json
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from catalog.schema import SAMPLE
from curate import fit_clip
from filters.base import load
from filters.shared.images import Images

Edit = Callable[[Image.Image], Image.Image]


class Bytes:
    """A reader of pictures that lie in memory."""

    def __init__(self) -> None:
        self.held: list[bytes] = []

    def add(self, data: bytes) -> int:
        self.held.append(data)
        return len(self.held) - 1

    def read(self, shard: str, offset: int, size: int) -> bytes:
        return self.held[offset]


def batch(reader: Bytes, pictures: list[bytes], texts: list[str], prefix: str) -> pa.RecordBatch:
    rows = []
    for k, (data, text) in enumerate(zip(pictures, texts, strict=True)):
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
        medium = {"kind": "image", "digest": f"{k:064x}", "mime": "image/jpeg", "width": width, "height": height, "frames": None,
                  "duration": None, "shard": "m", "offset": reader.add(data), "size": len(data)}  # fmt: skip
        said = [{"role": "user", "content": "<image>"}, {"role": "assistant", "content": text}]
        rows.append({"id": f"{prefix}/{k:05d}", "digest": "00" * 32, "source": prefix, "task": "caption", "license": "MIT",
                     "messages": said, "media": [medium], "boxes": [], "meta": "{}"})  # fmt: skip
    return pa.RecordBatch.from_pylist(rows, schema=SAMPLE)


def crop(share: float) -> Edit:
    return lambda i: i.crop(
        (int(share * i.width), int(share * i.height), int((1 - share) * i.width), int((1 - share) * i.height))
    )


def words(i: Image.Image) -> Image.Image:
    out = i.copy()
    ImageDraw.Draw(out).rectangle((0, int(0.4 * i.height), i.width, int(0.6 * i.height)), fill=(255, 255, 255))
    ImageDraw.Draw(out).text((5, int(0.45 * i.height)), "SPECIAL OFFER", fill=(0, 0, 0))
    return out


EDITS: dict[str, Edit] = {
    "re-encoded (JPEG 30)": lambda i: i,
    "half size": lambda i: i.resize((i.width // 2, i.height // 2)),
    "brightness +20 %": lambda i: ImageEnhance.Brightness(i).enhance(1.2),
    "cropped 5 % a side": crop(0.05),
    "cropped 15 % a side": crop(0.15),
    "grey": lambda i: ImageOps.grayscale(i).convert("RGB"),
    "mirrored": ImageOps.mirror,
    "turned by 90 degrees": lambda i: i.rotate(90, expand=True),
    "a fifth covered by words": words,
    "framed, 20 % a side": lambda i: ImageOps.expand(i, i.width // 5, (20, 30, 120)),
}


def encoded(image: Image.Image, quality: int = 85) -> bytes:
    out = io.BytesIO()
    image.convert("RGB").save(out, "JPEG", quality=quality)
    return out.getvalue()


def scores(
    name: str,
    params: dict[str, Any],
    score: str,
    evaluation: pa.RecordBatch,
    pool: pa.RecordBatch,
    reader: Bytes,
    folder: Path,
) -> tuple[np.ndarray, list[str | None]]:
    plain = load(name, params)
    assert plain.build is not None
    path = folder / f"{name}.parquet"
    pq.write_table(plain.build(iter([evaluation]), reader=reader), path)
    flt = load(name, {**params, "index": str(path)})
    out, match = [], []
    for start in range(0, pool.num_rows, 200):
        part = pool.slice(start, 200)
        found = flt.score(part, Images.read(part, reader, measures=flt.measures, keep=True))
        out += found[score].to_pylist()
        match += found["match"].to_pylist()
    return np.asarray(out, float), match


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--quick", action="store_true", help="a tenth of the steps, 40 evaluation images, 200 others")
    args = parser.parse_args()
    folder = args.data / "grocery_store"
    found = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    rng = random.Random(3)
    test = rng.sample([r for r in found if r["split"] == "test"], 40 if args.quick else 200)
    others = rng.sample([r for r in found if r["split"] == "train"], 200 if args.quick else 600)
    reader = Bytes()
    evaluation = batch(reader, [(folder / r["image"]).read_bytes() for r in test], ["q"] * len(test), "e")
    opened = [Image.open(folder / r["image"]).convert("RGB") for r in test]
    planted = [encoded(edit(i), 30 if k == 0 else 85) for k, edit in enumerate(EDITS.values()) for i in opened]
    pool = batch(
        reader,
        [*planted, *((folder / r["image"]).read_bytes() for r in others)],
        ["x"] * (len(planted) + len(others)),
        "s",
    )
    with tempfile.TemporaryDirectory() as tmp:
        start = time.perf_counter()
        trusted = [r for r in found if r["split"] != "test"]
        pairs = batch(
            reader, [(folder / r["image"]).read_bytes() for r in trusted], [r["caption"] for r in trusted], "t"
        )
        config = fit_clip.config({"steps": 100 if args.quick else 1000})
        fit_clip.fit(
            iter(pairs.slice(k, 256) for k in range(0, pairs.num_rows, 256)), reader, Path(tmp) / "clip", config=config
        )
        print(f"CLIP fitted on {pairs.num_rows:,} photos in {time.perf_counter() - start:.0f} s")
        clip = {"model": str(Path(tmp) / "clip")}
        made = {
            "hash": (
                *scores("decontaminate_image", {}, "decontaminate_image", evaluation, pool, reader, Path(tmp)),
                0.85,
            ),
            "CLIP": (*scores("decontaminate_clip", clip, "cosine", evaluation, pool, reader, Path(tmp)), 0.95),
        }
    n = len(test)
    tuned = float(np.quantile(made["CLIP"][0][len(planted) :], 0.99))
    made["CLIP, 1 % of others"] = (*made["CLIP"][:2], tuned)
    print(
        f"\n{n} evaluation images, {len(planted):,} planted copies, {len(others):,} other photos of the same classes\n"
    )
    print(f"{'edit':28}" + "".join(f"{m + f' > {b:.3f}':>30}" for m, (_, _, b) in made.items()))
    result: dict[str, Any] = {}
    for k, edit in enumerate(EDITS):
        row = []
        for name, (value, match, bound) in made.items():
            part = slice(k * n, (k + 1) * n)
            hit = value[part] > bound
            right = [m == f"e/{j:05d}" for j, m in enumerate(match[part])]
            row.append((float(hit.mean()), float(np.mean(right))))
            result.setdefault(name, {})[edit] = [round(x, 3) for x in row[-1]]
        print(f"{edit:28}" + "".join(f"{a:>20.3f} ({b:.3f})".rjust(30) for a, b in row))
    wrong = [float((value[len(planted) :] > bound).mean()) for value, _, bound in made.values()]
    print(f"{'other photos that are hit':28}" + "".join(f"{w:>30.3f}" for w in wrong))
    print("\nIn brackets: the share whose nearest evaluation image is the one that was copied, whatever the score.")
    for name, w in zip(made, wrong, strict=True):
        result[name]["others"] = round(w, 4)
    print(json.dumps(result))


if __name__ == "__main__":
    main()

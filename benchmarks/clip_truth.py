"""What a CLIP fitted on a trusted slice can tell about image-text match, on real pairs with known truth.

    python benchmarks/clip_truth.py [--data ../shared/data] [--quick]

Every data set is cut in two by picture: `curate.fit_clip` sees true pairs of one half, `clip_score` judges the other half,
where each picture comes with a true text and a wrong one. AUC is the chance that a random true pair scores above a random
wrong one (ties count half); precision and recall are those of keeping the better half of all pairs (half of them are true).
`paired` is the share of pictures whose own true text scores above its own wrong one. Data: `../shared/data/SOURCES.md`.

- grocery_store: shop photos, one description per class. Wrong: the description of a random other class, or of another class
  of the same coarse class (another apple). Fitted on its train split, judged on its test split: other photos of the same
  classes.
- opencqa: charts with summaries. Wrong: the summary of another chart. (Its `shuffled_summary` is no wrong text: every one is
  made of words of the true summary. It stands here as a check that nothing else gives pairs away: 0.5 is right.)
- nlvr: synthetic scenes with sentences. Wrong are the sentences that people called false of their picture, which name the
  same colours and shapes; and, for comparison, a sentence of another scene.
"""

import argparse
import hashlib
import io
import json
import random
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from catalog.schema import SAMPLE
from curate import fit_clip
from filters.base import load
from filters.shared.images import Images

Pair = tuple[Path, str]


class Files:
    """A reader of media that are files."""

    def read(self, shard: str, offset: int, size: int) -> bytes:
        return Path(shard).read_bytes()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument(
        "--quick", action="store_true", help="a tenth of the training steps, at most 300 pictures judged"
    )
    parser.add_argument("--only", choices=tuple(FOLDERS))
    args = parser.parse_args()
    rows = []
    for name, make in (("grocery_store", grocery), ("opencqa", opencqa), ("nlvr", nlvr)):
        if args.only not in (None, name):
            continue
        if not (args.data / FOLDERS[name]).is_dir():
            print(f"{name}: no data at {args.data / FOLDERS[name]}")
            continue
        rows += judged(name, *make(args.data / FOLDERS[name]), quick=args.quick)
    head = (
        "data",
        "wrong text",
        "pictures",
        "fitted on",
        "fit s",
        "AUC",
        "AUC margin",
        "paired",
        "precision",
        "recall",
    )
    print("  ".join(f"{h:>12}" for h in head))
    for r in rows:
        print("  ".join(f"{r[h]:>12.3f}" if isinstance(r[h], float) else f"{r[h]:>12}" for h in head))
    print(
        json.dumps({f"{r['data']} {r['wrong text']}": {k: v for k, v in r.items() if k not in head[:2]} for r in rows})
    )


FOLDERS = {"grocery_store": "grocery_store", "opencqa": "opencqa_charts", "nlvr": "nlvr"}


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]


def half(name: str) -> bool:
    """Tell whether a picture is judged; the other half is trusted."""
    return hashlib.sha256(name.encode()).digest()[0] % 2 == 0


Made = tuple[list[Pair], list[Path], list[str], dict[str, list[str | None]], dict[str, Any]]
"""Trusted pairs; judged pictures with their true texts and, by kind, their wrong ones (None: has none); fit settings."""


def grocery(folder: Path) -> Made:
    rng = random.Random(0)
    found = records(folder)
    text = {r["class_name"]: r["caption"] for r in found}
    coarse = {r["class_name"]: r["coarse_class"] for r in found}
    trusted = [(folder / r["image"], r["caption"]) for r in found if r["split"] == "train"]
    judge = [r for r in found if r["split"] == "test"]

    def wrong(name: str, *, same: bool) -> str | None:
        others = [c for c in text if text[c] != text[name] and (not same or coarse[c] == coarse[name])]
        return text[rng.choice(others)] if others else None

    kinds: dict[str, list[str | None]] = {
        "other class": [wrong(r["class_name"], same=False) for r in judge],
        "same kind": [wrong(r["class_name"], same=True) for r in judge],
    }
    pictures, texts = [folder / r["image"] for r in judge], [r["caption"] for r in judge]
    return trusted, pictures, texts, kinds, {"steps": 1000}


def opencqa(folder: Path) -> Made:
    found = records(folder)
    trusted = [(folder / r["image"], r["summary"]) for r in found if not half(r["id"])]
    judge = [r for r in found if half(r["id"])]
    texts = [r["summary"] for r in judge]
    kinds: dict[str, list[str | None]] = {
        "other chart": [*texts[1:], texts[0]],
        "shuffled": [r["shuffled_summary"] for r in judge],
    }
    return trusted, [folder / r["image"] for r in judge], texts, kinds, {"steps": 400, "image_size": 128, "patch": 16}


def nlvr(folder: Path) -> Made:
    rng = random.Random(0)
    found = records(folder)
    group = {r["id"]: r["id"].rsplit("-", 1)[0] for r in found}
    true = [r for r in found if r["label"] == "true"]
    trusted = [(folder / r["image"], r["sentence"]) for r in true if not half(group[r["id"]])]
    # One sentence is judged true of one picture and false of another of its group of four: the picture changes, not the text.
    judge = [r for r in found if half(group[r["id"]])]
    right = [r for r in judge if r["label"] == "true"]
    false = [r for r in judge if r["label"] == "false"]
    rng.shuffle(false)
    pictures = [folder / r["image"] for r in right]
    texts = [r["sentence"] for r in right]
    other: list[str | None] = []
    for r in right:
        pool = [q["sentence"] for q in right if q["sentence"] != r["sentence"]]
        other.append(rng.choice(pool))
    kinds: dict[str, list[str | None]] = {"other scene": other, "false": [None] * len(right)}
    extra = [(folder / r["image"], r["sentence"]) for r in false]
    return trusted, pictures, texts, kinds, {"steps": 800, "image_size": 128, "patch": 16, "extra": {"false": extra}}


def judged(
    name: str,
    trusted: Sequence[Pair],
    pictures: list[Path],
    texts: list[str],
    kinds: dict[str, list[str | None]],
    settings: dict[str, Any],
    *,
    quick: bool,
) -> list[dict[str, Any]]:
    extra = settings.pop("extra", {})
    if quick:
        settings["steps"] //= 10
        pictures, texts = pictures[:300], texts[:300]
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        out = Path(folder) / "model"
        fit_clip.fit(iter([samples(trusted)]), Files(), out, config=fit_clip.config(settings))
        seconds = time.perf_counter() - began
        flt = load("clip_score", {"model": str(out)})

        def scored(pairs: Sequence[Pair]) -> np.ndarray:
            parts = []
            for start in range(0, len(pairs), 256):
                batch = samples(pairs[start : start + 256])
                got = flt.score(batch, Images.read(batch, Files()))
                parts.append(np.stack([np.asarray(got[s]) for s in ("clip_score", "clip_margin")]))
            return np.concatenate(parts, 1)

        true = scored(list(zip(pictures, texts, strict=True)))
        rows = []
        for kind, wrong in kinds.items():
            has = [k for k, w in enumerate(wrong[: len(texts)]) if w is not None]
            pairs = extra.get(kind) or [(pictures[k], wrong[k] or "") for k in has]
            bad = scored(pairs)
            good = true if kind in extra else true[:, has]
            line = np.quantile(np.concatenate([good[0], bad[0]]), 1 - good.shape[1] / (good.shape[1] + bad.shape[1]))
            kept, false = (good[0] > line).sum(), (bad[0] > line).sum()
            rows.append(
                {
                    "data": name,
                    "wrong text": kind,
                    "pictures": good.shape[1],
                    "fitted on": len(trusted),
                    "fit s": round(seconds),
                    "AUC": round(auc(good[0], bad[0]), 4),
                    "AUC margin": round(auc(good[1], bad[1]), 4),
                    "paired": "-" if kind in extra else round(float((good[0] > bad[0]).mean()), 4),
                    "precision": round(float(kept / max(kept + false, 1)), 4),
                    "recall": round(float(kept / good.shape[1]), 4),
                }
            )
        return rows


def auc(good: np.ndarray, bad: np.ndarray) -> float:
    bad = np.sort(bad)
    return float(((np.searchsorted(bad, good, "left") + np.searchsorted(bad, good, "right")) / 2).mean() / len(bad))


def samples(pairs: Sequence[Pair]) -> pa.RecordBatch:
    rows = []
    for n, (path, text) in enumerate(pairs):
        data = path.read_bytes()
        width, height = Image.open(io.BytesIO(data)).size
        medium = {"kind": "image", "digest": hashlib.sha256(data).hexdigest(), "mime": "", "width": width,
                  "height": height, "shard": str(path), "offset": 0, "size": len(data)}  # fmt: skip
        said = [{"role": "user", "content": "<image>"}, {"role": "assistant", "content": text}]
        rows.append({"id": f"t/{n:06d}", "digest": "", "source": "t", "task": "caption", "license": "unknown",
                     "messages": said, "media": [medium], "boxes": [], "meta": "{}"})  # fmt: skip
    return pa.RecordBatch.from_pylist(rows, SAMPLE)


if __name__ == "__main__":
    main()

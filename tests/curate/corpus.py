"""A small dirty corpus with images, text and evaluation sets, and a recipe over it."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

WORDS = (
    "apple", "brick", "cloud", "drum", "eagle", "frost", "grape", "house", "ivory", "jelly", "kite", "lemon", "maple",
    "night", "ocean", "piano", "quilt", "river",
)  # fmt: skip


def sentence(rng: np.random.Generator, words: int) -> str:
    """Return random words: enough for hashing, no more sense than that."""
    return " ".join(rng.choice(WORDS, words))


def write(folder: Path, *, samples: int = 60, seed: int = 0) -> Path:
    """Write the corpus below `folder` and return the recipe's path."""
    rng = np.random.default_rng(seed)
    (folder / "pictures").mkdir(parents=True)
    records = []
    for i in range(samples):
        small = rng.integers(0, 256, (6, 6, 3), np.uint8)
        picture = Image.fromarray(small).resize((96, 64 if i % 7 else 16), Image.Resampling.BICUBIC)
        picture.save(folder / "pictures" / f"{i:03d}.png")
        records.append({"image": f"pictures/{i:03d}.png", "text": sentence(rng, 8)})
    (folder / "pictures" / "lie.png").write_text("not a picture")
    records += [
        records[3],
        {"image": "pictures/lie.png", "text": "a lie"},
        {"image": "pictures/none.png", "text": "gone"},
    ]
    texts = [{"text": sentence(rng, 40)} for _ in range(samples)]
    evaluation = [{"question": sentence(rng, 20), "answer": "7"} for _ in range(5)]
    texts[5] = {"text": texts[4]["text"]}
    texts[9] = {"text": sentence(rng, 10) + " " + evaluation[2]["question"]}
    _jsonl(folder / "pairs.jsonl", records)
    _jsonl(folder / "texts.jsonl", texts)
    _jsonl(folder / "test.jsonl", evaluation)
    with (folder / "texts.jsonl").open("ab") as f:
        f.write(b'{"text": "broken \xff\xfe"}\n{"text": \n')
    recipe = folder / "recipe.yaml"
    recipe.write_text(RECIPE)
    return recipe


def _jsonl(path: Path, rows: list[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))


RECIPE = """
name: small
shard_rows: 10
sources:
  - {name: pairs, format: table, path: pairs.jsonl, fields: {image: image, text: text}, task: caption, license: CC0-1.0}
  - {name: texts, format: text, path: texts.jsonl, fields: {text: text}, task: text, license: MIT}
  - {name: test, format: text, path: test.jsonl, fields: {question: question, answer: answer}, role: eval}
stages:
  - {filter: image_size, bounds: {image_size: {min: 8}}}
  - aspect_ratio
  - {filter: image_entropy, bounds: {image_std: {top: 0.9}}}
  - decontaminate_text
  - {filter: dedup_exact, prefer: [image_entropy.image_std]}
  - dedup_minhash
  - dedup_phash
mixture:
  schema: mixture/1
  name: small-mix
  version: 1.0.0
  unit: samples
  budget: {samples: 50}
  seed: 1
  sources: [{ref: small, name: all}]
"""

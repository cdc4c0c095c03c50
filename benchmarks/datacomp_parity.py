"""Do Cuvee's filters decide like DataComp's basic filter? Every caption and alt text of the shared data, and sizes around the
bounds.

    python benchmarks/datacomp_parity.py [--data ../shared/data] [--quick]

One side is a plain reading of https://github.com/mlfoundations/datacomp, baselines/apply_filter.py, one caption at a time:
the basic filter (English, more than 2 words of `str.split`, more than 5 characters, shorter side of 200 pixels or more,
sides at most 3 to 1) and the caption half of the image-based filter (English, more than 1 word of `fasttext.tokenize`, more
than 5 characters). The other is Cuvee's: `caption_rules`, `image_size`, `aspect_ratio` with their published bounds, decided
by `catalog.judge`. Both are given the same language decisions, which are drawn by a hash: what is compared here is the
rules, not two language models.
"""

import argparse
import itertools
import json
import re
import time
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from catalog.judge import Rule, judge
from catalog.schema import MARKS, SAMPLE
from filters import base

SIDES = (
    None,
    0,
    1,
    66,
    67,
    100,
    199,
    200,
    201,
    399,
    400,
    401,
    597,
    598,
    599,
    600,
    601,
    602,
    603,
    604,
    1000,
    2999,
    3000,
    3001,
)
SPACES = tuple(c for c in map(chr, range(0x3100)) if c.isspace())
FORMATS = (
    "\u200b",
    "\u200d",
    "\ufeff",
    "\u00ad",
    "\u2060",
    "\x00",
    "\u180e",
    "e\u0301",
    "é",
    "\u0301",
    "👩‍👩‍👧",
    "\U0010ffff",
)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A caption with the size of its picture, and whether it is English."""

    text: str
    width: int | None
    height: int | None
    english: bool


# -- DataComp, one caption at a time -----------------------------------------------------------------------------------


def published_basic(p: Pair) -> bool:
    """Return whether the basic filter keeps a pair. An unknown side compares like pandas' NaN: never."""
    if not (p.english and len(p.text.split()) > 2 and len(p.text) > 5):
        return False
    if p.width is None or p.height is None:
        return False
    shorter, longer = min(p.width, p.height), max(p.width, p.height)
    return shorter >= 200 and longer / shorter <= 3.0


def published_caption(p: Pair) -> bool:
    """Return whether the caption half of the image-based filter keeps a pair."""
    return p.english and fasttext_words(p.text) > 1 and len(p.text) > 5


def fasttext_words(text: str) -> int:
    """Return how many words `fasttext.tokenize` finds: ASCII white space and NUL cut, a newline is a word of its own."""
    return len(re.findall(rb"\n|[^ \n\r\t\v\f\x00]+", text.encode()))


# -- Cuvee -------------------------------------------------------------------------------------------------------------

BASIC: Mapping[str, Mapping[str, tuple[float | None, float | None]]] = {
    "caption_rules": {"words": (3, None), "characters": (6, None)},
    "image_size": {"image_size": (200, None)},
    "aspect_ratio": {"aspect_ratio": (None, 3)},
}
CAPTION: Mapping[str, Mapping[str, tuple[float | None, float | None]]] = {
    "caption_rules": {"fasttext_words": (2, None), "characters": (6, None)},
}


def decide(batch: pa.RecordBatch, stages: Mapping[str, Mapping[str, tuple[float | None, float | None]]]) -> Any:
    """Return which samples all stages keep."""
    heads = pl.DataFrame(pl.from_arrow(batch.select(["id", "source", "task"])))
    keep = np.ones(batch.num_rows, bool)
    for stage, bounds in stages.items():
        scores = base.load(stage).score(batch)
        for score, (low, high) in bounds.items():
            value = pl.Series("value", pl.from_arrow(scores[score])).cast(pl.Float64)
            frame = heads.with_columns(value, pl.lit(None, pl.String).alias("match"))
            rule = Rule(stage=stage, fingerprint="", score=score, low=low, high=high)
            keep &= judge(frame, rule)["keep"].to_numpy()
    return keep


def samples(pairs: list[Pair]) -> pa.RecordBatch:
    """Return the pairs as samples of task `caption`."""
    medium = {"kind": "image", "digest": "00" * 32, "mime": "image/png", "frames": None, "duration": None,
              "shard": "media/00000.tar", "offset": 0, "size": 1}  # fmt: skip
    rows = [
        {
            "id": f"s/{i:07d}", "digest": "00" * 32, "source": "s", "task": "caption", "license": "unknown",
            "messages": [{"role": "user", "content": "<image>"}, {"role": "assistant", "content": p.text}],
            "media": [{**medium, "width": p.width, "height": p.height}], "boxes": [], "meta": "{}",
        }
        for i, p in enumerate(pairs)
    ]  # fmt: skip
    return pa.RecordBatch.from_pylist(rows, schema=SAMPLE)


# -- what is compared --------------------------------------------------------------------------------------------------


def made_up() -> Iterator[str]:
    """Yield captions around every bound, with every white space and with characters that look like none."""
    yield from (
        "",
        "a",
        "a b",
        "a b c",
        "a b cd",
        "ab cd",
        "abcde",
        "abcdef",
        " a b c ",
        "a  b  c",
        "abc de f",
        "  abcd",
        "abcd  ",
    )
    for c in (*SPACES, *FORMATS):
        yield from (
            c,
            c * 6,
            f"a{c}b{c}c",
            f"a{c}b{c}cd",
            f"{c}a b{c}",
            f"ab{c}cd",
            f"a{c}{c}b c",
            f"abcd{c}",
            f"{c}abcde{c}",
            f"a b{c}c d",
        )
    yield from (
        "日本語 の 文",
        "日本語の文です",
        "Ça va là-bas",
        "e\u0301 e\u0301 e\u0301",
        "1 2 3",
        ". . .",
        "a\r\nb\r\nc",
        "a\n\nb",
        "\n\n\n\n\n\n",
    )


def captions(data: Path) -> Iterator[tuple[str, int | None, int | None]]:
    """Yield every caption and alt text of the shared data, with the picture's size where it is known."""
    for r in _lines(data / "openclipart/records.jsonl"):
        title, words, tags = r["title"] or "", r["description"] or "", ", ".join(r["keywords"] or ())
        for text in (title, words, f"{title}\n{words}", f"{title} {words}", tags):
            yield text, *r["size"]
    for r in _lines(data / "grocery_store/records.jsonl"):
        yield r["caption"], *r["orig_size"]
    for r in _lines(data / "webimage_cc12m/records.jsonl"):
        yield r["caption"], r["meta"].get("original_width"), r["meta"].get("original_height")
    for r in _lines(data / "alttext_laion10k/records.jsonl"):
        yield r["text"], None, None
    for r in _lines(data / "based_cooking/records.jsonl"):
        yield r["markdown"], None, None
        for image in r["images"]:
            yield image["alt"] or "", None, None
    for path in sorted((data / "imageinwords").glob("*.jsonl")):
        for r in _lines(path):
            yield from ((r[k], None, None) for k in ("IIW", "IIW-P5B", "DOCCI", "DCI") if k in r)
            for o in r.get("objects", ()):
                yield from ((o[k], None, None) for k in ("description", "label"))


def _lines(path: Path) -> Iterator[Any]:
    with path.open(encoding="utf-8") as f:
        yield from map(json.loads, f)


def pairs(data: Path | None, limit: int | None = None) -> list[Pair]:
    """Return every text once with a size, its own or one of those around the bounds, and few texts with all sizes."""
    sizes = itertools.cycle(itertools.product(SIDES, SIDES))
    out = [_pair(t, w, h) for t in ("a b c", "a b cd", "a red cube") for w, h in itertools.product(SIDES, SIDES)]
    out += [_pair(t, *size) for t in made_up() for size in ((600, 200), next(sizes))]
    found = captions(data) if data else iter(())
    for text, width, height in itertools.islice(found, limit):
        if any(mark in text for mark in MARKS.values()):
            continue  # such a text is no caption here: ingest takes a mark for a picture and rejects it
        if width is None:
            out.append(_pair(text, 400, 300))
            width, height = next(sizes)
        out.append(_pair(text, width, height))
    return out


def _pair(text: str, width: int | None, height: int | None) -> Pair:
    return Pair(text=text, width=width, height=height, english=zlib.crc32(text.encode()) % 5 > 0)


def compare(every: list[Pair]) -> dict[str, Any]:
    """Return counts and differences of both filters."""
    started = time.perf_counter()
    want = {"basic": [published_basic(p) for p in every], "image_based_caption": [published_caption(p) for p in every]}
    plain_s = time.perf_counter() - started
    batch = samples(every)
    english = np.array([p.english for p in every])
    decide(batch.slice(0, 10), {**BASIC, **CAPTION})  # compiles the kernels
    started = time.perf_counter()
    have = {"basic": decide(batch, BASIC) & english, "image_based_caption": decide(batch, CAPTION) & english}
    cuvee_s = time.perf_counter() - started
    out: dict[str, Any] = {"pairs": len(every), "texts": len({p.text for p in every})}
    for name in want:
        differ = np.flatnonzero(np.array(want[name]) != have[name])
        out[name] = {
            "kept": int(np.sum(want[name])),
            "differences": len(differ),
            "examples": [repr(every[i]) for i in differ[:20]],
        }
    return {**out, "plain_per_s": round(len(every) / plain_s), "cuvee_per_s": round(len(every) / cuvee_s)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--quick", action="store_true", help="the first 2,000 captions")
    args = parser.parse_args()
    data = args.data if args.data.is_dir() else None
    result = compare(pairs(data, 2000 if args.quick else None))
    print(f"{result['pairs']:,} pairs of {result['texts']:,} different texts")
    for name in ("basic", "image_based_caption"):
        r = result[name]
        print(f"{name:<20} kept {r['kept']:>7,}   differences {r['differences']}")
        for example in r.pop("examples"):
            print(f"    {example}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()

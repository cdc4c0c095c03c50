# ruff: noqa: E501
"""Decontamination on real data whose truth is known, on planted questions in other dress, and its speed.

    python benchmarks/decontamination_truth.py [--data ../shared/data] [--quick] [--show METHOD]

1. Benchmarks that are known to contain each other (`../shared/data/SOURCES.md`): AGIEval's AQuA and AQuA's test set, Minerva math and
   OCW, MATH in MMLU-STEM, AMC23 in Gaokao 2023 (English); either way round, by every method.
2. Training sets that should hold little of any benchmark: GSM8K's training set, GPTeacher, Alpaca with Dolly, alt texts and lecture
   notes, against all text benchmarks of `curate/recipes/real.yaml`. `--show text-8` prints every hit of a method with both texts, to be
   read.
3. Every question with options, told again as another data set would: without its options, with other labels, numbered, in one line,
   bulleted, in another order; and as itself inside a page of prose.
4. Microseconds per sample, with the tokenisation that all text filters share and without.
"""

import argparse
import json
import random
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from catalog.store import Store
from curate import prepare
from curate import recipe as recipes
from curate.engines.choose import choose
from curate.ingest import SourceSpec, ingest
from filters.base import Filter, load
from filters.shared.questions import questions
from filters.shared.text import message_tokens, messages

ROOT = Path(__file__).parent.parent
QUESTION = {"question": "question", "choices": "options"}
EXTRA: list[dict[str, Any]] = [
    {"name": "aqua_in_agieval", "path": "benchmarks/agieval_aqua-rat.jsonl", "fields": QUESTION, "role": "eval"},
    {"name": "aqua_test", "path": "benchmarks/aqua_test.json", "fields": QUESTION, "role": "eval"},
    {"name": "minerva", "path": "benchmarks/minerva_math_test.jsonl", "fields": {"question": "problem", "answer": "solution"}, "role": "eval"},
    {"name": "ocw", "path": "benchmarks/ocw_test.jsonl", "fields": {"question": "problem", "answer": "solution"}, "role": "eval"},
    {"name": "alpaca", "path": "instruct_alpaca/*.jsonl", "fields": {"instruction": "instruction", "input": "input", "output": "output"}, "role": "train"},
]  # fmt: skip
# (held against each other, and how many share their question by SOURCES.md)
TRUTH = (
    ("aqua_in_agieval", "aqua_test", 248),
    ("minerva", "ocw", 272),
    ("benchmarks_mmlu_stem", "benchmarks_math", 74),
    ("benchmarks_amc23", "benchmarks_gaokao2023en", 7),
)
TRAIN = ("gsm8k", "instruct_gpteacher", "alpaca", "alttext_laion10k", "cs231n_notes")
# name: filter, parameters, score, bound
METHODS: dict[str, tuple[str, dict[str, Any], str, float]] = {
    "exact": ("decontaminate_exact", {}, "question", 0),
    "text-8": ("decontaminate_text", {}, "overlap", 0.5),
    "text-10": ("decontaminate_text", {"n": 10}, "overlap", 0.5),
    "text-13": ("decontaminate_text", {"n": 13}, "overlap", 0.5),
    "any-8": ("decontaminate_text", {}, "matched", 0),
    "any-10": ("decontaminate_text", {"n": 10}, "matched", 0),
    "any-13": ("decontaminate_text", {"n": 13}, "matched", 0),
    "minhash": ("decontaminate_minhash", {}, "similarity", 0.5),
}
SHIPPED = ("exact", "text-8", "minhash")


class Data:
    """The sources in a store, and what a filter says of one held against others."""

    def __init__(self, data: Path, folder: Path) -> None:
        self.store, self.folder = Store(folder / "store"), folder
        spec = recipes.read(ROOT / "curate" / "recipes" / "real.yaml")
        entries = [s for s in spec.sources if s.name in TRAIN or (s.role == "eval" and s.format == "text")]
        entries += [SourceSpec.of({"format": "text", **e}) for e in EXTRA]
        engine = choose("local", workers=2, address=None)
        try:
            self.sources = {s.name: ingest(self.store, s, engine=engine, data=data, shard_rows=5000) for s in entries}
        finally:
            engine.close()
        self.suite = sorted(s.name for s in entries if s.role == "eval" and s.name.startswith("benchmarks_"))

    def batches(self, *names: str) -> Iterator[pa.RecordBatch]:
        for name in names:
            yield from prepare.batches(self.store, self.sources[name])

    def filter(self, method: str, against: Sequence[str]) -> Filter:
        name, params, _, _ = METHODS[method]
        path = self.folder / f"{name}-{params.get('n', '')}-{abs(hash(tuple(against)))}.parquet"
        if not path.exists():
            pq.write_table(load(name, params).build(self.batches(*against)), path)
        return load(name, {**params, "index": str(path)})

    def hits(self, method: str, train: Sequence[str], against: Sequence[str]) -> pl.DataFrame:
        """Return (id, value, match) of the samples above the method's bound."""
        _, _, score, bound = METHODS[method]
        flt, parts = self.filter(method, against), []
        for batch in self.batches(*train):
            found = flt.score(batch)
            columns = {
                "id": batch["id"],
                "value": found[score].cast(pa.float64()),
                "match": found["match"].cast(pa.string()),
            }
            parts.append(pl.DataFrame(pl.from_arrow(pa.table(columns))))
        return pl.concat(parts).filter(pl.col("value") > bound)

    def same(self, train: str, against: str) -> set[str]:
        """Return the samples whose question is one of the other set's, by letters and digits alone, at least 20 of them."""
        asked = [
            {
                i: _key(m[0]["content"])
                for b in self.batches(n)
                for i, m in zip(b["id"].to_pylist(), b["messages"].to_pylist(), strict=True)
            }
            for n in (train, against)
        ]
        there = set(asked[1].values())
        return {i for i, key in asked[0].items() if len(key) >= 20 and key in there}

    def texts(self, *names: str) -> dict[str, str]:
        out = {}
        for batch in self.batches(*names):
            said = batch["messages"].to_pylist()
            out |= {i: " | ".join(m["content"] for m in s) for i, s in zip(batch["id"].to_pylist(), said, strict=True)}
        return out


def _key(text: str) -> str:
    options = _options(text)
    return re.sub("[^a-z0-9]", "", (options[0] if options else text).lower())


def truth(data: Data, ratios: dict[str, Any]) -> None:
    print(
        "\n1. Known truth: samples of the first that are hit, held against the second; `same`: those whose question, letters and"
    )
    print("digits alone, is one of the second's; `found`: how many of these the shipped three methods hit\n")
    print(
        f"{'sample':24}{'held against':26}{'truth':>6}{'same':>6}{'found':>6}"
        + "".join(f"{m:>9}" for m in METHODS)
        + f"{'shipped':>9}"
    )
    for one, two, wanted in TRUTH:
        for train, against in ((one, two), (two, one)):
            hit = {m: set(data.hits(m, [train], [against])["id"]) for m in METHODS}
            shipped, same = set().union(*(hit[m] for m in SHIPPED)), data.same(train, against)
            print(
                f"{train:24}{against:26}{wanted:>6}{len(same):>6}{len(same & shipped):>6}"
                + "".join(f"{len(hit[m]):>9}" for m in METHODS)
                + f"{len(shipped):>9}"
            )
            ratios[f"truth {train}"] = {
                "truth": wanted,
                "same": len(same),
                "found": len(same & shipped),
                "exact": len(same & hit["exact"]),
            }


def ordinary(data: Data, ratios: dict[str, Any], show: str) -> None:
    items = sum(data.sources[n].samples for n in data.suite)
    print(f"\n2. Ordinary training sets: samples hit, against {items:,} items of {len(data.suite)} benchmarks\n")
    print(f"{'sample':24}{'samples':>10}" + "".join(f"{m:>9}" for m in METHODS) + f"{'shipped':>9}")
    for train in TRAIN:
        hit = {m: data.hits(m, [train], data.suite) for m in METHODS}
        shipped = set().union(*(set(hit[m]["id"]) for m in SHIPPED))
        print(
            f"{train:24}{data.sources[train].samples:>10,}"
            + "".join(f"{hit[m].height:>9}" for m in METHODS)
            + f"{len(shipped):>9}"
        )
        ratios[f"hits {train}"] = {**{m: hit[m].height for m in METHODS}, "shipped": len(shipped)}
        if show:
            known = data.texts(train, *data.suite)
            for row in hit[show].to_dicts():
                print(
                    f"    {row['value']:.3f} {row['id']}\n        {known[row['id']][:400]!r}\n        {row['match']}\n        {known[row['match'] or row['id']][:400]!r}"
                )


def dressed(data: Data, ratios: dict[str, Any]) -> None:
    """Tell the questions with options again in other dress and count which are found."""
    rng = random.Random(7)
    told: dict[str, list[dict[str, Any]]] = {}
    sets = [
        n
        for n in data.suite
        if n in ("benchmarks_aqua", "benchmarks_mmlu_stem", "benchmarks_agieval", "benchmarks_mathqa", "benchmarks_bbh")
    ]
    for batch in data.batches(*sets):
        asked = questions(batch)
        raw = messages(batch)[0].to_pylist()
        at = messages(batch)[2]
        for i, row in enumerate(batch.to_pylist()):
            m = int(at[i])
            options = _options(raw[m]) if asked.at[m + 1] - asked.at[m] >= 2 else None
            if options is None:
                continue
            stem, parts = options
            turned = rng.sample(parts, len(parts))
            dress = {
                "question alone": stem,
                "A) in one line": stem + " " + " ".join(f"{chr(65 + k)}) {p}" for k, p in enumerate(parts)),
                "1. numbered": stem + "\n" + "\n".join(f"{k + 1}. {p}" for k, p in enumerate(parts)),
                "bulleted, other order": stem + "\n" + "\n".join(f"- {p}" for p in turned),
                "(a) other order": "Answer this one.\n"
                + stem
                + "\nOptions:\n"
                + "\n".join(f"({chr(97 + k)}) {p}" for k, p in enumerate(turned)),
                "capitals": raw[m].upper(),
                "in prose": f"{PROSE} {' '.join(raw[m].split())} {PROSE}",
            }
            for name, text in dress.items():
                message = [{"role": "user" if name != "in prose" else "assistant", "content": text}]
                told.setdefault(name, []).append({**row, "id": f"t/{len(told.get(name, ()))}", "messages": message})
    print(f"\n3. {len(next(iter(told.values()))):,} questions with options in other dress: share that is found\n")
    print(f"{'dress':24}" + "".join(f"{m:>9}" for m in METHODS) + f"{'shipped':>9}")
    for name, rows in told.items():
        batches = pa.Table.from_pylist(rows, schema=batch.schema).to_batches(max_chunksize=256)
        found = {}
        for method in METHODS:
            flt = data.filter(method, data.suite)
            _, _, score, bound = METHODS[method]
            values = [v for b in batches for v in flt.score(b)[score].to_pylist()]
            found[method] = np.asarray([v is not None and v > bound for v in values])
        every = np.logical_or.reduce([found[m] for m in SHIPPED])
        print(f"{name:24}" + "".join(f"{found[m].mean():>9.4f}" for m in METHODS) + f"{every.mean():>9.4f}")
        ratios[f"dress {name}"] = round(float(every.mean()), 4)


def _options(text: str) -> tuple[str, list[str]] | None:
    """Return stem and options of a message whose options stand on lines of their own."""
    lines = text.split("\n")
    at = [k for k, line in enumerate(lines) if (line[:1] == "A" and line[1:2] in ".)") or line[:3] == "(A)"]
    if not at:
        return None
    parts = [line.lstrip("(")[1:].lstrip(".) ") for line in lines[at[-1] :] if line.strip()]
    stem = "\n".join(line for line in lines[: at[-1]] if line.strip() != "Options:")
    return (stem, parts) if len(parts) >= 2 and all(parts) and stem.strip() else None


PROSE = (
    "The river that runs past the old mill was once the busiest road of the county, and people who live with it still talk of the boats. "
    "In spring they have to be careful, for the water rises quickly and the meadow turns into a lake."
)


def speed(data: Data, ratios: dict[str, Any], repeats: int) -> None:
    print("\n4. Microseconds per sample, median of", repeats, "\n")
    rows = [b for n in TRAIN for b in data.batches(n)]
    samples = sum(b.num_rows for b in rows)
    for name in ("exact", "text-8", "text-13", "minhash"):
        start = time.perf_counter()
        index = load(METHODS[name][0], METHODS[name][1]).build(data.batches(*data.suite))
        built = time.perf_counter() - start
        flt = data.filter(name, data.suite)
        flt.score(rows[0])
        whole, bare = [], []
        for _ in range(repeats):
            fresh = [pa.RecordBatch.from_arrays(b.columns, schema=b.schema) for b in rows]
            a = time.process_time()
            for b in fresh:
                message_tokens(b)
                messages(b)
            t = time.process_time()
            for b in fresh:
                flt.score(b)
            e = time.process_time()
            whole.append((e - a) / samples * 1e6)
            bare.append((e - t) / samples * 1e6)
        print(
            f"{name:10} with words {np.median(whole):6.1f}   alone {np.median(bare):6.1f}   index: {built:.1f} s, {index.num_rows:,} rows, {index.nbytes / 1e6:.0f} MB"
        )
        ratios[f"us {name}"] = round(float(np.median(bare)), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--quick", action="store_true", help="known truth only")
    parser.add_argument("--show", choices=tuple(METHODS), default="")
    args = parser.parse_args()
    ratios: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        data = Data(args.data.absolute(), Path(folder))
        truth(data, ratios)
        if not args.quick:
            ordinary(data, ratios, args.show)
            dressed(data, ratios)
            speed(data, ratios, 3)
    print("\n" + json.dumps(ratios))


if __name__ == "__main__":
    main()

"""What the deduplicating text filters find where the truth is known: planted copies, Alpaca, AlpacaEval's NullModel, GPTeacher.

    python benchmarks/dedup_truth.py             # ../shared/data, or the folder that --data names
    python benchmarks/dedup_truth.py --quick     # without measuring what GPTeacher's own measure was

- Copies planted among real texts: to the letter, and with another case, punctuation or white space.
- Alpaca: records of the rated subsets that are in the raw sample of it as well, to the letter: known from the files.
- NullModel answers 805 prompts with one text, among nine models that do not.
- GPTeacher published its toolformer records deduplicated, and cut further at similarity 0.9 and 0.6: which of ours are theirs.
The last line is JSON.
"""

import argparse
import gzip
import json
import random
import re
import sys
from pathlib import Path

import numba
import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import _minhash_corpus as corpus

from catalog.digests import sample_digest
from catalog.schema import SAMPLE
from filters import base

WORD = re.compile(r"[a-z0-9]+")
RATED = ("claude_t45", "helpfulness_t45", "cherry_ifd_5_percent", "dolly_3k")
# On GPTeacher's outputs: 15 words on average, so that a shingle is a word or two and every word counts.
SHORT = {"min_words": 1, "verify": "jaccard", "bands": 50, "rows": 2}


def lines(path: Path) -> list[dict]:
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def samples(dialogues: list[list[tuple[str, str]]]) -> pa.Table:
    """Return SAMPLE of dialogues of (role, text); ids are places, so that the first of a cluster is its keeper."""
    rows = []
    for i, dialogue in enumerate(dialogues):
        said = [{"role": role, "content": text} for role, text in dialogue]
        rows.append({
            "id": f"s/{i:07d}", "digest": sample_digest(said, [], []), "source": "s", "task": "text", "license": "",
            "messages": said, "media": [], "boxes": [], "meta": "{}",
        })  # fmt: skip
    return pa.Table.from_pylist(rows, schema=SAMPLE)


def asked(record: dict) -> list[tuple[str, str]]:
    """Return an Alpaca record as a dialogue."""
    question = "\n".join(p for p in (record["instruction"], record.get("input") or "") if p)
    return [("user", question), ("assistant", record["output"])]


def clusters(table: pa.Table, name: str, params: dict | None = None) -> np.ndarray:
    """Return the place of every sample's keeper, its own where it has no duplicate."""
    flt = base.load(name, params or {})
    scored = pa.Table.from_batches([flt.score(b) for b in table.to_batches(max_chunksize=256)])
    columns = {n: scored[n] for n in flt.scores}
    assert flt.cluster is not None
    found = flt.cluster(pa.table({"id": table["id"], **columns}))
    out = np.arange(table.num_rows)
    places = [[int(x[2:]) for x in found[c].to_pylist()] for c in ("id", "cluster")]
    out[places[0]] = places[1]
    return out


# -- planted copies ----------------------------------------------------------------------------------------------------


def planted(data: Path, count: int = 20_000) -> dict:
    """Return how many copies each filter finds among real texts that are all different, and what else it removes."""
    rng = random.Random(0)
    every = list(corpus.real(data))
    texts = rng.sample(every, min(count, len(every)))
    surface = [corpus.surface(t, rng) for t in texts[: count // 4]]
    letters = texts[count // 4 : count // 4 + count // 10]
    n, m = len(texts), len(texts) + len(surface)
    table = samples([[("assistant", t)] for t in [*texts, *surface, *letters]])
    out: dict = {"texts": n, "surface copies": len(surface), "copies to the letter": len(letters)}
    for name in ("dedup_exact", "dedup_text"):
        keeper = clusters(table, name)
        out[name] = {
            "surface": int((keeper[n:m] == np.arange(len(surface))).sum()),
            "to the letter": int((keeper[m:] == np.arange(len(letters)) + len(surface)).sum()),
            "others": int((keeper[:n] != np.arange(n)).sum()),
        }
    return out


# -- Alpaca ------------------------------------------------------------------------------------------------------------


def alpaca(data: Path) -> list[dict]:
    """Return, per rated subset, how many of the records known to be in the raw sample are found, and what else is."""
    raw = lines(data / "instruct_alpaca" / "random_9k.jsonl")
    letters = {json.dumps(asked(r)) for r in raw}
    out = []
    for subset in RATED:
        rated = lines(data / "instruct_alpaca" / f"{subset}.jsonl")
        table = samples([asked(r) for r in [*raw, *rated]])
        known = np.array([json.dumps(asked(r)) in letters for r in rated])
        row: dict = {"subset": subset, "records": len(rated), "known": int(known.sum())}
        for name, params in (("dedup_exact", {}), ("dedup_text", {}), ("dedup_minhash", {"min_words": 1})):
            keeper = clusters(table, name, params)[len(raw) :]
            found = keeper < len(raw)
            row[name] = {"found": int((found & known).sum()), "others": int((found & ~known).sum())}
        out.append(row)
    return out


# -- NullModel ---------------------------------------------------------------------------------------------------------


def null_model(data: Path) -> list[dict]:
    """Return how large the cluster of NullModel's answers is, by answers alone and with their prompts, and what else is in it."""
    records = [
        (p.name.split(".jsonl")[0], r)
        for p in sorted((data / "alpaca_eval_outputs" / "outputs").glob("*.jsonl.gz"))
        for r in lines(p)
    ]
    null = np.array([model == "NullModel" for model, _ in records])
    out = []
    for said, dialogues in (
        ("answers", [[("assistant", r["output"])] for _, r in records]),
        ("prompts and answers", [[("user", r["instruction"]), ("assistant", r["output"])] for _, r in records]),
    ):
        table = samples(dialogues)
        for name in ("dedup_exact", "dedup_text", "dedup_minhash"):
            keeper = clusters(table, name)
            sizes = np.bincount(keeper[null], minlength=len(records))
            top = int(np.argmax(sizes))
            out.append({
                "looked at": said, "filter": name, "NullModel": int(null.sum()), "largest cluster": int(sizes[top]),
                "of other models in it": int((keeper[~null] == top).sum()),
                "removed of NullModel": int((keeper[null] != np.flatnonzero(null)).sum()),
                "removed of others": int((keeper[~null] != np.flatnonzero(~null)).sum()),
            })  # fmt: skip
    return out


# -- GPTeacher ---------------------------------------------------------------------------------------------------------


@numba.njit(cache=True)
def _common(a: np.ndarray, b: np.ndarray) -> int:
    before = np.zeros(len(b) + 1, np.int64)
    row = np.zeros(len(b) + 1, np.int64)
    for x in a:
        for j in range(len(b)):
            row[j + 1] = before[j] + 1 if x == b[j] else max(before[j + 1], row[j])
        before, row = row, before
    return before[len(b)]


@numba.njit(cache=True)
def rouge(words: np.ndarray, first: np.ndarray, least: float) -> np.ndarray:
    """Return which texts stay where each is removed that has ROUGE-L F1 `least` or more with one that stays before it."""
    n = len(first) - 1
    kept = np.ones(n, np.bool_)
    for i in range(n):
        for j in range(i):
            a, b = first[i + 1] - first[i], first[j + 1] - first[j]
            if not kept[j] or 2 * min(a, b) < least * (a + b):
                continue
            common = _common(words[first[i] : first[i + 1]], words[first[j] : first[j + 1]])
            if a + b and 2 * common / (a + b) >= least:
                kept[i] = False
                break
    return kept


def agreement(ours: np.ndarray, theirs: np.ndarray) -> dict:
    """Return precision, recall and F1 of the removed set against theirs."""
    both = int((ours & theirs).sum())
    precision, recall = both / max(1, int(ours.sum())), both / max(1, int(theirs.sum()))
    return {
        "removed": int(ours.sum()), "both": both, "precision": round(precision, 4), "recall": round(recall, 4),
        "f1": round(2 * precision * recall / max(1e-9, precision + recall), 4),
    }  # fmt: skip


def gpteacher(data: Path, *, measure: bool) -> dict:
    """Return how well our removed sets agree with GPTeacher's at 0.9 and 0.6, by what is compared and how."""
    folder = data / "instruct_gpteacher"
    every = lines(folder / "toolformer-dedupe-only-dataset.jsonl")
    name = lambda r: (r["instruction"], r["input"])  # noqa: E731 - unique; a few outputs were edited between the files
    theirs = {}
    for level in ("0.9", "0.6"):
        kept = {name(r) for r in lines(folder / f"toolformer-similarity-{level}-dataset.jsonl")}
        theirs[level] = np.array([name(r) not in kept for r in every])
    whole = samples([asked(r) for r in every])
    outputs = samples([[("assistant", r["output"])] for r in every])
    settings = [("records", "dedup_exact", {}), ("records", "dedup_minhash", {})]
    settings += [
        ("outputs", "dedup_exact", {}),
        ("outputs", "dedup_text", {}),
        ("outputs", "dedup_minhash", {"min_words": 1}),
    ]
    settings += [
        ("outputs", "dedup_minhash", {**SHORT, "shingle": n, "similarity": s})
        for n, level in ((1, (0.85, 0.8, 0.75, 0.5, 0.45, 0.4)), (2, (0.75, 0.7, 0.65, 0.3, 0.25)))
        for s in level
    ]
    rows = []
    for looked, flt, params in settings:
        keeper = clusters(whole if looked == "records" else outputs, flt, params)
        removed = keeper != np.arange(len(every))
        rows.append(
            {
                "looked at": looked,
                "filter": flt,
                "params": params,
                **{k: agreement(removed, t) for k, t in theirs.items()},
            }
        )
    result = {"records": len(every), "removed": {k: int(t.sum()) for k, t in theirs.items()}, "settings": rows}
    if measure:
        ids: dict[str, int] = {}
        texts = [[ids.setdefault(w, len(ids)) for w in WORD.findall(r["output"].lower())] for r in every]
        first = np.concatenate([[0], np.cumsum([len(t) for t in texts])]).astype(np.int64)
        flat = np.array([w for t in texts for w in t], np.int64)
        result["rouge"] = {k: agreement(~rouge(flat, first, float(k)), t) for k, t in theirs.items()}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    if not args.data.is_dir():
        sys.exit(f"no folder {args.data}: `--data` names one")
    result = {
        "planted": planted(args.data),
        "alpaca": alpaca(args.data),
        "null_model": null_model(args.data),
        "gpteacher": gpteacher(args.data, measure=not args.quick),
    }
    print(json.dumps(result["planted"]) + "\n")
    print(f"{'rated subset':<24} {'records':>8} {'known':>6}   found (others beside them) by exact, text, minhash")
    for r in result["alpaca"]:
        found = "  ".join(
            f"{r[f]['found']:>5} (+{r[f]['others']})" for f in ("dedup_exact", "dedup_text", "dedup_minhash")
        )
        print(f"{r['subset']:<24} {r['records']:>8,} {r['known']:>6}   {found}")
    print()
    for r in result["null_model"]:
        print(", ".join(f"{k}: {v}" for k, v in r.items()))
    print(
        f"\n{'GPTeacher toolformer, removed':<78} {'0.9':>7} {'prec':>6} {'rec':>6} {'0.6':>10} {'prec':>6} {'rec':>6}"
    )
    teacher = result["gpteacher"]
    print(f"{'theirs':<78} {teacher['removed']['0.9']:>7,} {'':>13} {teacher['removed']['0.6']:>10,}")
    rows = [*teacher["settings"]]
    if "rouge" in teacher:
        rows.append(
            {"looked at": "outputs", "filter": "ROUGE-L F1 at the level itself", "params": {}, **teacher["rouge"]}
        )
    for r in rows:
        params = " ".join(f"{k}={v}" for k, v in r["params"].items())
        line = f"{r['looked at'] + ', ' + r['filter'] + ' ' + params:<78}"
        for level, width in (("0.9", 7), ("0.6", 10)):
            line += f" {r[level]['removed']:>{width},} {r[level]['precision']:>6.3f} {r[level]['recall']:>6.3f}"
        print(line)
    print(json.dumps(result))


if __name__ == "__main__":
    main()

"""What the trainable quality classifier can tell on real data whose quality somebody measured.

    python benchmarks/quality_model.py [--data ../shared/data] [--quick]

1. Alpaca: a model per rated subset (AlpaGasus rating >= 4.5, helpfulness >= 4.5, IFD) against the raw records, in five folds by
   prompt: how it ranks the raw records that the rater selected against the others, none of them trained on.
2. AlpacaEval: models that were fitted elsewhere score the answers of ten models; Spearman's rank correlation of the mean with
   the measured win rate, with the length-controlled one, with mean length, and the partial one with length held fixed; and over
   pairs of answers to one prompt, how often the better model's scores higher, at any length and at nearly the same.
3. Speed of the filter on words that are there already.

Prints tables and, last, one line of JSON. Needs no peer: nothing here is compared with another program.
"""

import argparse
import gzip
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from catalog.schema import SAMPLE
from curate import fit_quality
from filters.base import load
from filters.shared.text import assistant_tokens

SUBSETS = {
    "alpagasus": ("claude_t45.jsonl", "rated >= 4.5 (AlpaGasus)"),
    "helpfulness": ("helpfulness_t45.jsonl", "helpfulness rated >= 4.5"),
    "ifd": ("cherry_ifd_5_percent.jsonl", "top 5 % by IFD"),
}


def records(path):
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def samples(pairs):
    rows = [
        {
            "id": f"s/{i}", "digest": "", "source": "s", "task": "text", "license": "unknown", "media": [], "boxes": [],
            "meta": "{}",
            "messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}],
        }
        for i, (q, a) in enumerate(pairs)
    ]  # fmt: skip
    return pa.RecordBatch.from_pylist(rows, schema=SAMPLE)


def alpaca(path):
    return [
        (r["instruction"] + ("\n" + r["input"] if r.get("input") else ""), r.get("output") or r.get("response") or "")
        for r in records(path)
    ]


def fitted(folder, good, bad, **values):
    config = fit_quality.config(values)
    return fit_quality.fit(iter([samples(good)]), iter([samples(bad)]), folder, config=config)


def scores(folder, batch):
    column = load("quality", {"model": str(folder)}).score(batch).column("quality")
    return column.to_numpy(zero_copy_only=False).astype(np.float64)


def ranks(x):
    x = np.asarray(x, np.float64)
    return np.asarray([((x < v).sum() + (x <= v).sum() + 1) / 2 for v in x])


def spearman(a, b):
    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


def partial(a, b, c):
    """Return Spearman's correlation of a and b with c held fixed."""
    ab, ac, bc = spearman(a, b), spearman(a, c), spearman(b, c)
    return (ab - ac * bc) / np.sqrt((1 - ac**2) * (1 - bc**2))


def at_equal_length(score, label, size):
    """Return the AUC within octaves of length, averaged over them by the number of pairs."""
    octave = np.floor(np.log2(np.maximum(size, 1)))
    parts = [(fit_quality.auc(score[octave == o], label[octave == o]), label[octave == o]) for o in np.unique(octave)]
    pairs = [(a, int(y.sum()) * int((~y).sum())) for a, y in parts if a is not None]
    return sum(a * n for a, n in pairs) / sum(n for _, n in pairs)


def pairwise(each, size, better):
    """Return how often the answer of the better model scores higher, over all pairs of models that answer one prompt.

    First over all pairs, then over those whose lengths are within a tenth of each other; ties count half.
    """
    right = {"all": [], "equal": []}
    names = sorted(better, key=better.get)
    for i, low in enumerate(names):
        for high in names[i + 1 :]:
            won = (each[high] > each[low]) + 0.5 * (each[high] == each[low])
            right["all"].append(won)
            ratio = (size[high] + 1) / (size[low] + 1)
            right["equal"].append(won[(ratio > 0.9) & (ratio < 1.1)])
    every, equal = (np.concatenate(v) for v in right.values())
    return float(every.mean()), float(equal.mean()), len(equal)


def selected(data, out, quick):
    """Rank raw records by whether a rater has selected them: five folds by prompt, none scored by a model that saw it."""
    raw = alpaca(data / "instruct_alpaca" / "random_9k.jsonl")
    if quick:
        raw = raw[::3]
    fold = np.asarray([int.from_bytes(q.encode()[:64], "big") % 1_000_003 % 5 for q, _ in raw])
    batch = samples(raw)
    size = np.diff(assistant_tokens(batch).first).astype(np.float64)
    rows = {}
    for name, (file, _) in SUBSETS.items():
        chosen = set(alpaca(data / "instruct_alpaca" / file))
        label = np.asarray([r in chosen for r in raw])
        if label.sum() < 100:
            continue
        for match in (False, True):
            score = np.zeros(len(raw))
            for k in range(5):
                # Good: the subset's records whose prompt is in another fold; bad: the raw ones there that were not selected.
                away = {q for (q, _), f in zip(raw, fold, strict=True) if f == k}
                good = [r for r in chosen if r[0] not in away]
                bad = [r for r, f, y in zip(raw, fold, label, strict=True) if f != k and not y]
                folder = out / f"{name}-{match}-{k}"
                fitted(folder, sorted(good), bad, match_length=match, reads="all")
                score[fold == k] = np.nan_to_num(scores(folder, batch)[fold == k])
            order = np.argsort(-score, kind="stable")
            top = order[: int(label.sum())]
            rows[f"{name}{', length matched' if match else ''}"] = {
                "positives": int(label.sum()),
                "of": len(raw),
                "auc": fit_quality.auc(score, label),
                "auc_equal_length": at_equal_length(score, label, size),
                "auc_length": fit_quality.auc(size, label),
                "precision": float(label[top].mean()),  # at as many as there are: = recall
                "precision_length": float(label[np.argsort(-size, kind="stable")[: len(top)]].mean()),
                "precision_short": float(label[np.argsort(size, kind="stable")[: len(top)]].mean()),
                "chance": float(label.mean()),
            }
    return rows


def ladder(data, out):
    """Score the answers of ten models with models fitted on other data."""
    models = records(data / "alpaca_eval_outputs" / "models.jsonl")
    answers = {
        m["model"]: samples(
            [(r["instruction"], r["output"]) for r in records(data / "alpaca_eval_outputs" / m["file"])]
        )
        for m in models
    }
    raw = alpaca(data / "instruct_alpaca" / "random_9k.jsonl")
    demo = data / "llamafactory_demo"
    strong = alpaca(demo / "alpaca_en_demo.jsonl") + alpaca(next((data / "instruct_gpteacher").glob("roleplay*.jsonl")))
    pairs = records(demo / "dpo_en_demo.jsonl")
    asked = ["\n".join(t["value"] for t in r["conversations"]) for r in pairs]
    sides = {
        "GPT-4-written / raw Alpaca": (strong, raw),
        "AlpaGasus / raw Alpaca": (alpaca(data / "instruct_alpaca" / "claude_t45.jsonl"), raw),
        "IFD / raw Alpaca": (alpaca(data / "instruct_alpaca" / "cherry_ifd_5_percent.jsonl"), raw),
        "chosen / rejected (299 DPO pairs)": (
            [(q, r["chosen"]["value"]) for q, r in zip(asked, pairs, strict=True)],
            [(q, r["rejected"]["value"]) for q, r in zip(asked, pairs, strict=True)],
        ),
    }
    real = [m for m in models if m["model"] != "NullModel"]
    won, controlled, long = ([m[k] for m in real] for k in ("win_rate", "lc_win_rate", "avg_length"))
    size = {m: np.diff(assistant_tokens(b).first) for m, b in answers.items()}
    better = {m["model"]: m["lc_win_rate"] for m in real}
    pairs_by_length = pairwise(size, size, better)
    rows = {
        "length alone": {
            "win": spearman(long, won), "lc": spearman(long, controlled),
            "pairs": pairs_by_length[0], "pairs_equal_length": pairs_by_length[1],
        }
    }  # fmt: skip
    for name, (good, bad) in sides.items():
        for match in (False, True):
            folder = out / f"ladder-{len(rows)}"
            made = fitted(folder, good, bad, match_length=match)
            each = {m: scores(folder, b) for m, b in answers.items()}
            mean = {m: float(np.nanmean(s)) for m, s in each.items()}
            mine = [mean[m["model"]] for m in real]
            null = mean["NullModel"]
            pairs_all, pairs_equal, count = pairwise(each, size, better)
            rows[f"{name}{', length matched' if match else ''}"] = {
                "auc": made["auc"],
                "win": spearman(mine, won),
                "lc": spearman(mine, controlled),
                "length": spearman(mine, long),
                "lc_length_fixed": partial(mine, controlled, long),
                "pairs": pairs_all,
                "pairs_equal_length": pairs_equal,
                "pairs_of_equal_length": count,
                "null": null,
                "null_rank": 1 + sum(m > null for m in mine),  # of ten
                "null_values": len(np.unique(each["NullModel"])),
                "fewest_values": min(len(np.unique(each[m["model"]])) for m in real),
                "means": {m: round(v, 3) for m, v in mean.items()},
            }
    return rows


def speed(data, folder):
    texts = [b for _, b in alpaca(data / "instruct_alpaca" / "random_9k.jsonl")] * 8
    batch = samples([("", t) for t in texts])
    size = sum(len(t.encode()) for t in texts) / 1e6
    began = time.perf_counter()
    assistant_tokens(batch)
    words = time.perf_counter() - began
    scores(folder, batch)
    taken = []
    for _ in range(5):
        began = time.perf_counter()
        scores(folder, batch)
        taken.append(time.perf_counter() - began)
    return {"mb": round(size, 1), "tokenise_mb_s": size / words, "model_mb_s": size / float(np.median(taken))}


def shown(value):
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def show(title, rows, columns):
    print(f"\n{title}\n")
    print("| | " + " | ".join(columns) + " |")
    print("|---|" + "---:|" * len(columns))
    for name, row in rows.items():
        print(f"| {name} | " + " | ".join(shown(row.get(c, "")) for c in columns) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--quick", action="store_true", help="a third of the raw records")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        chosen = selected(given.data, out, given.quick)
        ranked = ladder(given.data, out)
        fast = speed(given.data, next(out.glob("ladder-*")))
    show(
        "raw Alpaca records that a rater selected, told from the rest (five folds)",
        chosen,
        list(next(iter(chosen.values()))),
    )
    columns = [
        "auc",
        "win",
        "lc",
        "length",
        "lc_length_fixed",
        "pairs",
        "pairs_equal_length",
        "null",
        "null_rank",
        "null_values",
        "fewest_values",
    ]
    show("AlpacaEval: rank correlation of the mean score over nine models", ranked, columns)
    print("\nspeed:", ", ".join(f"{k} {v:.1f}" for k, v in fast.items()))
    print(json.dumps({"selected": chosen, "alpaca_eval": ranked, "speed": fast}, sort_keys=True))


if __name__ == "__main__":
    main()

# ruff: noqa: E501
"""What the filters for instructions and captions find in real data whose truth is known.

    python benchmarks/instruction_truth.py [--data ../shared/data] [--quick]

- Raw Alpaca against the subsets that others selected from it (AlpaGasus: rated 4.5 or better by Claude; the highest
  instruction-following difficulty): AUC of every score for "not selected", precision and recall of every bound; and its
  known defects, counted by plain Python.
- AlpacaEval: the null model's 805 answers, false flags among nine real models, rank correlation of mean scores with
  measured win rates.
- ImageInWords: human preferences between two captions of a picture against length, specificity and agreement; agreement of
  the captions of one picture against captions of two.
- GPTeacher: placeholders and refusals.
"""

import argparse
import gzip
import json
import re
import time
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from catalog.schema import SAMPLE
from filters import base

FILTERS = ("response", "refusal", "placeholders", "leaked_turns", "turns", "instruction_overlap", "constant_answers")
METRICS = ("Comprehensiveness", "Specificity", "Hallucination", "First few line(s) as tldr", "Human Like")


# -- data --------------------------------------------------------------------------------------------------------------


def lines(path: Path) -> list[Any]:
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line) for line in data.decode().split("\n") if line]


def alpaca(path: Path) -> list[tuple[str, str, str]]:
    return [(r["instruction"], r["input"] or "", r["output"]) for r in lines(path)]


def dialogues(pairs: Iterable[tuple[str, str]]) -> pa.RecordBatch:
    return _samples(([{"role": "user", "content": q}, {"role": "assistant", "content": a}] for q, a in pairs), "text")


def captions(rows: Sequence[tuple[str, str]]) -> pa.RecordBatch:
    """Return (picture, caption) rows as samples; the pictures themselves are not there, their names are."""
    said = ([{"role": "user", "content": "<image>"}, {"role": "assistant", "content": t}] for _, t in rows)
    return _samples(said, "caption", [name for name, _ in rows])


def _samples(messages: Iterable[Any], task: str, pictures: Sequence[str] = ()) -> pa.RecordBatch:
    medium = {"kind": "image", "mime": "image/png", "width": 8, "height": 8, "frames": None, "duration": None,
              "shard": "media/00000.tar", "offset": 0, "size": 1}  # fmt: skip
    rows = [
        {
            "id": f"s/{i:07d}", "digest": "00" * 32, "source": "s", "task": task, "license": "unknown", "messages": m,
            "media": [{**medium, "digest": sha256(pictures[i].encode()).hexdigest()}] if pictures else [], "boxes": [], "meta": "{}",
        }
        for i, m in enumerate(messages)
    ]  # fmt: skip
    return pa.RecordBatch.from_pylist(rows, schema=SAMPLE)


def scored(batch: pa.RecordBatch, *names: str) -> pl.DataFrame:
    """Return every number of the filters, pooled ones too, as `<filter>.<score>`."""
    out = pl.DataFrame({"id": batch.column("id").to_pylist()})
    for name in names:
        f = base.load(name)
        local = f.score(batch)
        found = pl.DataFrame(pl.from_arrow(pa.Table.from_batches([local])))
        found = found.select(c for c in found.columns if c in f.numbers).rename(lambda c, n=name: f"{n}.{c}")
        out = pl.concat([out, found], how="horizontal")
        if f.pool:
            heads = {c: batch.column(c) for c in ("id", "source", "task")}
            pooled = pl.DataFrame(
                pl.from_arrow(f.pool(pa.table({**heads, **dict(zip(f.scores, local.columns, strict=True))})))
            )
            out = out.join(
                pooled.rename({c: f"{name}.{c}" for c in f.pooled}), on="id", how="left", maintain_order="left"
            )
    return out


def flags(scores: pl.DataFrame, *names: str) -> dict[str, Any]:
    """Return which samples each published bound drops."""
    out = {}
    for name in names:
        for score, (low, high) in base.load(name).bounds.items():
            value = scores[f"{name}.{score}"].cast(pl.Float64)
            bad = pl.Series([False]).new_from_index(0, len(value))
            if low is not None:
                bad = bad | (value < low).fill_null(False)
            if high is not None:
                bad = bad | (value > high).fill_null(False)
            out[f"{name}.{score}"] = bad.to_numpy()
    return out


# -- statistics --------------------------------------------------------------------------------------------------------


def ranks(values: Any) -> Any:
    """Return ranks, ties at their mean."""
    return pl.Series(np.asarray(values, np.float64)).rank("average").to_numpy()


def auc(values: Any, positive: Any) -> float:
    """Return the probability that a positive has the higher value; ties count half."""
    p, n = int(positive.sum()), int((~positive).sum())
    if not p or not n:
        return float("nan")
    return float((ranks(values)[positive].sum() - p * (p + 1) / 2) / (p * n))


def spearman(a: Any, b: Any) -> float:
    x, y = ranks(a), ranks(b)
    return float(np.corrcoef(x, y)[0, 1]) if x.std() and y.std() else float("nan")


# -- the four questions ------------------------------------------------------------------------------------------------


def raw_against_rated(data: Path, limit: int | None) -> dict[str, Any]:
    folder = data / "instruct_alpaca"
    raw = alpaca(folder / "random_9k.jsonl")[:limit]
    subsets = {
        "claude": set(alpaca(folder / "claude_t45.jsonl")),
        "ifd": set(alpaca(folder / "cherry_ifd_5_percent.jsonl")),
    }
    batch = dialogues(("\n\n".join(t for t in (i, x) if t), o) for i, x, o in raw)
    scores = scored(batch, *FILTERS)
    bad = flags(scores, *FILTERS)
    bad["any"] = np.logical_or.reduce(list(bad.values()))
    left = {k: np.array([r not in s for r in raw]) for k, s in subsets.items()}
    out: dict[str, Any] = {
        "records": len(raw),
        "selected": {k: int((~v).sum()) for k, v in left.items()},
        "scores": {},
        "bounds": {},
    }
    print(
        f"\nraw Alpaca: {len(raw):,} records; selected by Claude {out['selected']['claude']}, by IFD {out['selected']['ifd']}"
    )
    print(f"{'score':<36}{'applies':>8}{'AUC not by Claude':>19}{'AUC not by IFD':>16}")
    for name in scores.columns[1:]:
        there = scores[name].is_not_null().to_numpy()
        values = scores[name].fill_null(0).to_numpy()
        if len(np.unique(values[there])) < 2:
            continue
        found = {k: round(auc(values[there], v[there]), 3) for k, v in left.items()}
        out["scores"][name] = {"applies": int(there.sum()), **found}
        print(f"{name:<36}{there.sum():>8,}{found['claude']:>19.3f}{found['ifd']:>16.3f}")
    print(f"\n{'bound':<36}{'flagged':>8}{'precision Claude':>17}{'recall':>8}{'precision IFD':>15}{'recall':>8}")
    print(
        f"{'(no rule: everything)':<36}{len(raw):>8,}{left['claude'].mean():>17.3f}{1:>8.3f}{left['ifd'].mean():>15.3f}{1:>8.3f}"
    )
    for name, hit in bad.items():
        if not hit.any():
            continue
        row: dict[str, Any] = {"flagged": int(hit.sum())}
        for k, v in left.items():
            row |= {f"precision_{k}": round(float(v[hit].mean()), 3), f"recall_{k}": round(float(hit[v].mean()), 4)}
        out["bounds"][name] = row
        print(
            f"{name:<36}{hit.sum():>8,}"
            + "".join(
                f"{row[f'precision_{k}']:>{w}.3f}{row[f'recall_{k}']:>8.3f}" for k, w in (("claude", 17), ("ifd", 15))
            )
        )
    out["defects"] = defects(raw, scores, bad)
    out["left_in"] = left_in(folder, limit)
    return out


def left_in(folder: Path, limit: int | None) -> dict[str, Any]:
    """Return what the bounds still flag in the subsets that others made."""
    out = {}
    sets = ("random_9k", "claude_t45", "helpfulness_t45", "cherry_ifd_5_percent", "dolly_3k")
    found: dict[str, dict[str, int]] = {}
    for name in sets:
        pairs = [("\n\n".join(t for t in (i, x) if t), o) for i, x, o in alpaca(folder / f"{name}.jsonl")[:limit]]
        bad = flags(scored(dialogues(pairs), *FILTERS), *FILTERS)
        out[name] = {"records": len(pairs), **{k: int(v.sum()) for k, v in bad.items() if v.any()}}
        for k, v in bad.items():
            found.setdefault(k, {})[name] = int(v.sum())
    print(f"\n{'flagged in':<36}" + "".join(f"{n:>22}" for n in sets))
    print(f"{'(records)':<36}" + "".join(f"{out[n]['records']:>22,}" for n in sets))
    for k, each in found.items():
        if any(each.values()):
            print(f"{k:<36}" + "".join(f"{each[n]:>22,}" for n in sets))
    return out


def defects(raw: Sequence[tuple[str, str, str]], scores: pl.DataFrame, bad: dict[str, Any]) -> dict[str, Any]:
    """Compare with defects that plain Python counts."""
    noinput = lambda t: re.sub(r"[\W_]+", "", t).lower() in ("noinput", "noinputrequired", "noinputneeded")  # noqa: E731
    truth = {
        "empty output": (np.array([not o.strip() for *_, o in raw]), bad["response.empty"]),
        "output shorter than 3 words": (np.array([len(o.split()) < 3 for *_, o in raw]), (scores["response.words"] < 3).to_numpy()),
        "`noinput` in the input": (np.array(["noinput" in x.lower() for _, x, _ in raw]), bad["placeholders.prompt_placeholders"]),
        "input says that there is none": (np.array([noinput(x) for _, x, _ in raw]), bad["placeholders.prompt_placeholders"]),
        "`noinput` or `nooutput` in the output": (
            np.array([bool(re.search(r"<no ?(?:in|out)put", o.lower())) for *_, o in raw]), bad["placeholders.response_placeholders"]),
        "`Instruction:` in the output": (np.array(["\n" in o and "Instruction:" in o for *_, o in raw]), bad["leaked_turns.leaked_turns"]),
    }  # fmt: skip
    out = {}
    print(f"\n{'known defect':<40}{'there':>7}{'found':>7}{'missed':>8}{'flagged besides':>17}")
    for name, (there, hit) in truth.items():
        row = {
            "there": int(there.sum()),
            "found": int((there & hit).sum()),
            "missed": int((there & ~hit).sum()),
            "besides": int((hit & ~there).sum()),
        }
        out[name] = row
        print(f"{name:<40}{row['there']:>7}{row['found']:>7}{row['missed']:>8}{row['besides']:>17}")
    return out


def eval_models(data: Path, limit: int | None) -> dict[str, Any]:
    models = lines(data / "alpaca_eval_outputs/models.jsonl")
    answers = [
        [(r["instruction"], r["output"]) for r in lines(data / "alpaca_eval_outputs" / m["file"])][:limit]
        for m in models
    ]
    scores = scored(dialogues(pair for each in answers for pair in each), *FILTERS)
    names = np.repeat([m["model"] for m in models], [len(a) for a in answers])
    null = names == "NullModel"
    bad = flags(scores, *FILTERS)
    constant = bad["constant_answers.same_answer"] | bad["constant_answers.near_answer"]
    out: dict[str, Any] = {
        "null_flagged": int(constant[null].sum()),
        "null": int(null.sum()),
        "others_flagged": int(constant[~null].sum()),
        "others": int((~null).sum()),
    }
    print(
        f"\nAlpacaEval: constant answers flagged, null model {out['null_flagged']} of {out['null']}; nine others {out['others_flagged']} of {out['others']:,}"
    )
    print(
        f"{'model':<32}{'win rate':>9}"
        + "".join(
            f"{h:>10}" for h in ("words", "refuses", "AI self", "chatter", "copied", "leaked", "blanks", "dropped")
        )
    )
    columns = ("response.words", "refusal.refusals", "refusal.self_mentions", "refusal.chatter", "instruction_overlap.copied",
               "leaked_turns.leaked_turns", "placeholders.blanks")  # fmt: skip
    dropped = np.logical_or.reduce(list(bad.values()))
    means: dict[str, list[float]] = {c: [] for c in (*columns, "dropped")}
    for m in models:
        of = names == m["model"]
        for c in columns:
            means[c].append(float(scores[c].filter(pl.Series(of)).cast(pl.Float64).mean() or 0))
        means["dropped"].append(float(dropped[of].mean()))
        print(f"{m['model']:<32}{m['win_rate']:>9.1f}" + "".join(f"{means[c][-1]:>10.3f}" for c in means))
    real = np.array([m["model"] != "NullModel" for m in models])
    out["spearman"] = {}
    for c, each in means.items():
        value = np.array(each)
        row = {
            "win_rate": spearman(value[real], np.array([m["win_rate"] for m in models])[real]),
            "lc_win_rate": spearman(value[real], np.array([m["lc_win_rate"] for m in models])[real]),
            "with_null": spearman(value, [m["win_rate"] for m in models]),
        }
        out["spearman"][c] = {k: round(v, 3) for k, v in row.items()}
    print(f"{'rank correlation (nine models)':<36}{'win rate':>10}{'length-controlled':>19}{'with the null model':>21}")
    for c, row in out["spearman"].items():
        print(f"{c:<36}{row['win_rate']:>10.2f}{row['lc_win_rate']:>19.2f}{row['with_null']:>21.2f}")
    return out


def _opinion(said: str, first: str) -> int:
    """Return 2, 1, 0, -1, -2 for a human's preference, positive for `first`."""
    if said == "Neutral":
        return 0
    strength = 2 if "substantially" in said else 1
    return strength if said.startswith(first + " is") else -strength


def preferences(data: Path) -> dict[str, Any]:
    folder = data / "imageinwords"
    pairs: list[tuple[str, str, str, dict[str, int]]] = []  # picture, first caption, second, opinion by metric
    for r in lines(folder / "IIW-400.jsonl"):
        if "IIW-P5B" in r:
            said = r["iiw-human-sxs-iiw-p5b"]
            pairs.append(
                (
                    r["image/key"],
                    r["IIW"],
                    r["IIW-P5B"],
                    {m: _opinion(said[f"metrics/{m}"], "IIW-Human") for m in METRICS},
                )
            )
    human_model = len(pairs)
    for r in lines(folder / "DOCCI_Test.jsonl"):
        pairs.append((r["image"], r["IIW"], r["DOCCI"], {m: _opinion(r[f"metrics/{m}"], "IIW") for m in METRICS}))
    every = [
        t
        for r in (x for p in sorted(folder.glob("*.jsonl")) for x in lines(p))
        for k, t in r.items()
        if k in ("IIW", "IIW-P5B", "DOCCI")
    ]
    words = [set(re.findall(r"\w+", t.lower())) for t in every]
    df: dict[str, int] = {}
    for each in words:
        for w in each:
            df[w] = df.get(w, 0) + 1

    def features(text: str) -> dict[str, float]:
        found = re.findall(r"\w+", text.lower())
        idf = [np.log(len(every) / df[w]) for w in set(found)]
        return {
            "words": len(found),
            "distinct words": len(set(found)),
            "rarity, sum": float(np.sum(idf)),
            "rarity, mean": float(np.mean(idf)),
        }

    flat = [(k, t) for k, a, b, _ in pairs for t in (a, b)]
    agreement = scored(captions(flat), "caption_agreement")
    differ: dict[str, Any] = {n: [] for n in ("words", "distinct words", "rarity, sum", "rarity, mean")}
    for _, a, b, _ in pairs:
        x, y = features(a), features(b)
        for n in differ:
            differ[n].append(x[n] - y[n])
    confirmed = agreement["caption_agreement.confirmed"].to_numpy().reshape(-1, 2)
    differ["confirmed by the other"] = list(confirmed[:, 0] - confirmed[:, 1])
    out: dict[str, Any] = {"pairs": len(pairs), "preference": {}}
    print(
        f"\nImageInWords: {len(pairs)} pairs with human preferences; share of the preferences (neutral left out) that a score's order repeats"
    )
    for label, part in (
        ("human against model", slice(0, human_model)),
        ("human against human", slice(human_model, None)),
    ):
        print(f"{label:<26}" + "".join(f"{m[:14]:>16}" for m in METRICS))
        opinion = {m: np.array([p[3][m] for p in pairs[part]]) for m in METRICS}
        rows = {"(always the first)": np.ones(len(pairs[part])), **{n: np.array(v)[part] for n, v in differ.items()}}
        for name, d in rows.items():
            line = {}
            for m, h in opinion.items():
                sure = h != 0
                line[m] = round(float(np.mean(np.where(d[sure] == 0, 0.5, np.sign(d[sure]) == np.sign(h[sure])))), 3)
            out["preference"].setdefault(label, {})[name] = line
            print(f"{name:<26}" + "".join(f"{line[m]:>16.2f}" for m in METRICS))
    # Captions of one picture, against those of two: the second captions are moved on by one.
    moved = [*[b for _, _, b, _ in pairs][1:], pairs[0][2]]
    wrong = scored(
        captions([(k, t) for (k, a, _, _), b in zip(pairs, moved, strict=True) for t in (a, b)]), "caption_agreement"
    )
    right, wronged = (s["caption_agreement.agreement"].to_numpy()[::2] for s in (agreement, wrong))
    both = np.concatenate([right, wronged])
    out["agreement"] = {"pairs": len(right), "auc": round(auc(both, np.arange(len(both)) < len(right)), 4)}
    print(
        f"agreement of captions: AUC {out['agreement']['auc']}; dropped by a bound on it, of {len(right)} true and as many mismatched pairs:",
        end="",
    )
    for low in (0.05, 0.08, 0.1):
        out["agreement"][f"below_{low}"] = [int((right < low).sum()), int((wronged < low).sum())]
        print(f"  {low}: {(right < low).sum()} and {(wronged < low).sum()}", end="")
    print()
    return out


def titles(data: Path) -> dict[str, Any]:
    """Compare clip art's titles with their own descriptions and with another's: short texts, through a second caption per picture."""
    rows = [
        r
        for r in lines(data / "openclipart/records.jsonl")
        if r["title"] and r["description"] and r["title"] != r["description"]
    ]
    moved = [r["description"] for r in rows[7:] + rows[:7]]
    pick = lambda other: [(r["id"], t) for r, o in zip(rows, other, strict=True) for t in (r["title"], o)]  # noqa: E731
    right, wrong = (
        scored(captions(pick(o)), "caption_agreement")["caption_agreement.agreement"].fill_null(1).to_numpy()[::2]
        for o in ([r["description"] for r in rows], moved)
    )
    both = np.concatenate([right, wrong])
    out = {
        "pairs": len(rows),
        "auc": round(auc(both, np.arange(len(both)) < len(rows)), 4),
        "right_zero": int((right == 0).sum()),
        "wrong_zero": int((wrong == 0).sum()),
    }
    print(
        f"titles and descriptions of clip art: {out['pairs']} pairs, AUC {out['auc']}; no word shared: {out['right_zero']} true, {out['wrong_zero']} mismatched"
    )
    return out


def alt_texts(data: Path) -> dict[str, Any]:
    """Count what the rules for alt texts flag; docs/results/instructions.md says how many of these a reader agrees with."""
    clip_art = (
        "\n".join(t for t in (r["title"], r["description"]) if t) for r in lines(data / "openclipart/records.jsonl")
    )
    long = (
        r[k]
        for p in sorted((data / "imageinwords").glob("*.jsonl"))
        for r in lines(p)
        for k in ("IIW", "IIW-P5B", "DOCCI")
        if k in r
    )
    sets = {
        "LAION": [r["text"] for r in lines(data / "alttext_laion10k/records.jsonl")],
        "openclipart": list(clip_art), "cc12m": [r["caption"] for r in lines(data / "webimage_cc12m/records.jsonl")], "imageinwords": list(long),
    }  # fmt: skip
    out: dict[str, Any] = {}
    for name, texts in sets.items():
        batch = captions([(str(i), t) for i, t in enumerate(texts)])
        bad = flags(
            scored(batch, "alt_text_spam", "caption_rules", "shared_caption"),
            "alt_text_spam",
            "caption_rules",
            "shared_caption",
        )
        out[name] = {"captions": len(texts), **{k: int(v.sum()) for k, v in bad.items()}}
        out[name]["any of alt_text_spam"] = int(
            np.logical_or.reduce([v for k, v in bad.items() if k.startswith("alt_text")]).sum()
        )
    print(f"\n{'alt texts flagged by':<36}" + "".join(f"{n:>14}" for n in sets))
    for k in out["LAION"]:
        print(f"{k:<36}" + "".join(f"{out[n][k]:>14,}" for n in sets))
    return out


def gpteacher(data: Path) -> dict[str, Any]:
    out = {}
    print(
        f"\n{'GPTeacher':<22}{'records':>9}{'`noinput`':>11}{'found':>7}{'`{input}`':>11}{'found':>7}{'refusals':>10}{'AI self':>9}{'constant':>10}"
    )
    for name in ("roleplay-simple-deduped-roleplay-dataset", "toolformer-dedupe-only-dataset"):
        rows = lines(data / f"instruct_gpteacher/{name}.jsonl")
        pairs = [
            (
                "\n\n".join(t for t in (r["instruction"], r.get("input") or "") if t),
                r.get("output") or r.get("response") or "",
            )
            for r in rows
        ]
        scores = scored(dialogues(pairs), *FILTERS)
        bad = flags(scores, *FILTERS)
        noinput = np.array(["noinput" in q.lower() for q, _ in pairs])
        field = np.array(["{input}" in a for _, a in pairs])
        row = {
            "records": len(pairs), "noinput": int(noinput.sum()), "noinput_found": int((noinput & bad["placeholders.prompt_placeholders"]).sum()),
            "input": int(field.sum()), "input_found": int((field & bad["placeholders.response_placeholders"]).sum()),
            "refusals": int(bad["refusal.refusals"].sum()), "self_mentions": int(bad["refusal.self_mentions"].sum()),
            "constant": int((bad["constant_answers.same_answer"] | bad["constant_answers.near_answer"]).sum()),
        }  # fmt: skip
        out[name.split("-")[0]] = row
        print(f"{name[:20]:<22}{row['records']:>9,}{row['noinput']:>11}{row['noinput_found']:>7}{row['input']:>11}{row['input_found']:>7}"
              f"{row['refusals']:>10}{row['self_mentions']:>9}{row['constant']:>10}")  # fmt: skip
    return out


def held_out(data: Path) -> dict[str, Any]:
    """Count what is flagged in sets that nobody looked at while the patterns were written."""
    folder = data / "llamafactory_demo"
    join = lambda r: ("\n\n".join(t for t in (r["instruction"], r.get("input") or "") if t), r["output"])  # noqa: E731
    preferences = lines(folder / "dpo_en_demo.jsonl")
    sets = {
        "Alpaca GPT-4, English": [join(r) for r in lines(folder / "alpaca_en_demo.jsonl")],
        "Alpaca GPT-4, Chinese": [join(r) for r in lines(folder / "alpaca_zh_demo.jsonl")],
        "chosen": [(r["conversations"][-1]["value"], r["chosen"]["value"]) for r in preferences],
        "rejected": [(r["conversations"][-1]["value"], r["rejected"]["value"]) for r in preferences],
        "KTO": [
            (r["messages"][0]["content"], r["messages"][-1]["content"]) for r in lines(folder / "kto_en_demo.jsonl")
        ],
    }
    found = {n: flags(scored(dialogues(pairs), *FILTERS), *FILTERS) for n, pairs in sets.items()}
    out = {n: {"records": len(sets[n]), **{k: int(v.sum()) for k, v in f.items()}} for n, f in found.items()}
    print(f"\n{'not looked at before, flagged by':<36}" + "".join(f"{n:>24}" for n in sets))
    for k in out["chosen"]:
        print(f"{k:<36}" + "".join(f"{out[n][k]:>24,}" for n in sets))
    return out


def speed(data: Path, rows: int = 4096, batch_rows: int = 256) -> float:
    """Return samples per second through all instruction filters, in batches as a run makes them, one thread."""
    pairs = [
        ("\n\n".join(t for t in (i, x) if t), o) for i, x, o in alpaca(data / "instruct_alpaca/random_9k.jsonl")[:rows]
    ]
    whole = dialogues(pairs)
    loaded = [base.load(n) for n in FILTERS]
    times = []
    for _ in range(3):
        started = time.perf_counter()
        for at in range(0, whole.num_rows, batch_rows):
            part = whole.slice(at, batch_rows)
            for f in loaded:
                f.score(part)
        times.append(time.perf_counter() - started)
    return round(len(pairs) / sorted(times)[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument(
        "--quick", action="store_true", help="the first 2,000 records of Alpaca, the first 200 questions of AlpacaEval"
    )
    args = parser.parse_args()
    result = {
        "alpaca": raw_against_rated(args.data, 2000 if args.quick else None),
        "alpaca_eval": eval_models(args.data, 200 if args.quick else None),
        "imageinwords": preferences(args.data),
        "openclipart": titles(args.data),
        "alt_texts": alt_texts(args.data),
        "gpteacher": gpteacher(args.data),
        "held_out": held_out(args.data),
        "samples_per_s": speed(args.data),
    }
    print(f"\nall {len(FILTERS)} instruction filters: {result['samples_per_s']:,} samples/s in one thread")
    print(json.dumps(result))


if __name__ == "__main__":
    main()

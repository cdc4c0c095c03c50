"""What the OCR, document and math filters catch: real data, damage of a known kind planted in it, AUC, precision and recall.

    python benchmarks/ocr_truth.py [--data ../shared/data] [--quick]

Receipts (SROIE, ICDAR 2019) with their human transcripts, alt texts (LAION), worked solutions (GSM8K, MATH). Clean rows are
the data as they are, damaged rows the same with one fault each. Precision and recall are those of the filter's default bounds
on as many clean as damaged rows; AUC is that of the score itself. Reading the receipts takes seconds each, needs the extra
`ocr`, and is remembered in a temporary folder; without the extra the rest is measured.
"""

import argparse
import importlib.util
import json
import os
import random
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from catalog.digests import sha256
from catalog.schema import SAMPLE
from filters import base
from filters.shared import ocr
from filters.shared.images import Pixels, decode

Row = dict[str, Any]
BOX_FILTERS = ("box_sanity", "reading_order", "line_noise", "ocr_coverage", "text_density")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "cuvee-ocr-truth")
    parser.add_argument("--quick", action="store_true", help="12 receipts, 500 rows of the rest")
    args = parser.parse_args()
    few = 500 if args.quick else None
    out = {
        "receipts": receipts(args.data, args.cache, 12 if args.quick else None),
        "charset": charset(args.data, few),
        "arithmetic": arithmetic(args.data, few),
        "latex": latex(args.data, few),
        "answers": answers(args.data, few),
        "leaks": leaks(args.data, few),
        "rates": rates(args.data, few),
    }
    print(json.dumps(out))


# -- rows, scores, figures ---------------------------------------------------------------------------------------------


def row(number: int, question: str, answer: str, task: str) -> Row:
    said = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {
        "id": f"s/{number:06d}", "digest": sha256(f"{number}".encode()), "source": "s", "task": task, "license": "MIT",
        "messages": said, "media": [], "boxes": [], "meta": "{}",
    }  # fmt: skip


def batch(rows: Sequence[Row]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(list(rows), schema=SAMPLE)


def scores(name: str, rows: Sequence[Row], images: Any = None, **params: Any) -> dict[str, np.ndarray]:
    """Return every number that the filter gives: NaN for null, infinity for broken."""
    flt = base.load(name, params)
    found = flt.score(batch(rows), images)
    out = {}
    for column, kind in flt.scores.items():
        if pa.types.is_floating(kind) or pa.types.is_integer(kind):
            values = found[column].cast(pa.float64())
            out[column] = np.where(values.is_null(), np.nan, values.fill_null(0).to_numpy(zero_copy_only=False))
    return out


def drops(name: str, found: dict[str, np.ndarray]) -> np.ndarray:
    """Return what the filter's default bounds drop."""
    out = np.zeros(len(next(iter(found.values()))), bool)
    for score, (low, high) in base.load(name).bounds.items():
        values = found[score]
        with np.errstate(invalid="ignore"):
            out |= (low is not None) & (values < (low or 0))
            out |= (high is not None) & (values > (high or 0))
    return out


def auc(clean: np.ndarray, damaged: np.ndarray) -> float | None:
    """Return how often a damaged row's score is above a clean one's, ties by half: 0.5 is chance, 0 as telling as 1."""
    clean, damaged = clean[~np.isnan(clean)], damaged[~np.isnan(damaged)]
    if not len(clean) or not len(damaged):
        return None
    order = np.searchsorted(np.sort(clean), damaged, "left") + np.searchsorted(np.sort(clean), damaged, "right")
    return float(order.sum() / (2 * len(clean) * len(damaged)))


def figures(clean: np.ndarray, damaged: np.ndarray) -> Row:
    """Return precision and recall of decisions on equally many clean and damaged rows."""
    wrong, right = float(clean.mean()), float(damaged.mean())
    precision = right / (right + wrong) if right + wrong else None
    return {
        "precision": None if precision is None else round(precision, 4),
        "recall": round(right, 4),
        "dropped_clean": round(wrong, 4),
        "damaged": len(damaged),
    }


def show(title: str, rows: dict[str, Row]) -> None:
    print(f"\n{title}")
    for name, found in rows.items():
        print(f"  {name:<44}" + "  ".join(f"{k} {v}" for k, v in found.items()))


def jsonl(path: Path, few: int | None = None) -> list[Row]:
    with path.open(encoding="utf-8") as lines:
        found = [json.loads(line) for line in lines]
    return found[:few]


# -- receipts ----------------------------------------------------------------------------------------------------------


def receipts(data: Path, cache: Path, few: int | None) -> Row:
    records = jsonl(data / "sroie_receipts" / "records.jsonl")
    records = records[:: max(1, len(records) // few)][:few] if few else records
    rows = [receipt(i, record) for i, record in enumerate(records)]
    paths = [data / "sroie_receipts" / record["image"] for record in records]
    read = importlib.util.find_spec("rapidocr") is not None
    if read:
        started = time.perf_counter()
        new = remember(cache)
        pictures = [[decode(path.read_bytes())] for path in paths]
        scores("ocr_agreement", rows, pictures)
        seconds = time.perf_counter() - started
        print(f"{len(rows)} receipts, {new['read']} of them read now, {seconds:.0f} s")
    names = (*BOX_FILTERS, "ocr_agreement") if read else BOX_FILTERS

    def measured(some: Sequence[Row]) -> dict[str, dict[str, np.ndarray]]:
        return {n: scores(n, some, pictures if n == "ocr_agreement" else None) for n in names}

    clean = measured(rows)
    out: Row = {"receipts": len(rows), "clean": {}}
    for name, found in clean.items():
        out["clean"][name] = {s: quantiles(v) for s, v in found.items()}
        out["clean"][name]["dropped"] = round(float(drops(name, found).mean()), 4)
    show("receipts as they are: lowest, median, highest", {n: dict(s.items()) for n, s in out["clean"].items()})
    for kind, damage in DAMAGE.items():
        rng = random.Random(7)
        found = measured([damage(rows, i, rng) for i in range(len(rows))])
        out[kind] = {}
        dropped = np.zeros(len(rows), bool)
        kept = np.zeros(len(rows), bool)
        for name in names:
            bad = drops(name, found[name])
            dropped |= bad
            kept |= drops(name, clean[name])
            best = {s: auc(clean[name][s], v) for s, v in found[name].items()}
            told = {s: round(max(v, 1 - v), 3) for s, v in best.items() if v is not None and abs(v - 0.5) > 0.1}
            if bad.any() or told:
                out[kind][name] = {"recall": round(float(bad.mean()), 4), "auc": told}
        out[kind]["all bounds together"] = figures(kept, dropped)
        show(f"receipts, {kind}", out[kind])
    return out


def quantiles(values: np.ndarray) -> list[float] | None:
    values = values[~np.isnan(values)]
    return [round(float(v), 4) for v in np.quantile(values, (0, 0.5, 1))] if len(values) else None


def receipt(number: int, record: Row) -> Row:
    made = row(
        number, "<image>\nRead the text of this receipt.", "\n".join(line["text"] for line in record["lines"]), "ocr"
    )
    width, height = record["size"]
    made["media"] = [
        {
            "kind": "image", "digest": sha256(record["image"].encode()), "mime": "image/jpeg", "width": width, "height": height,
            "frames": None, "duration": None, "shard": record["image"], "offset": 0, "size": 1,
        }
    ]  # fmt: skip
    made["boxes"] = [{"media": 0, "text": b["text"], "quad": b["quad"], "confidence": None} for b in record["lines"]]
    return made


def remember(cache: Path) -> dict[str, int]:
    """Have pages that were read once read from `cache`; return a count of those read anew."""
    cache.mkdir(parents=True, exist_ok=True)
    count = {"read": 0}
    own = ocr.engine

    def engine(models: str = ocr.MODELS, threads: int = 1) -> Callable[[Pixels], ocr.Lines]:
        def lines(picture: Pixels) -> ocr.Lines:
            path = cache / f"{models}-{sha256(picture.tobytes())}.json"
            if not path.exists():
                found = own(models, os.cpu_count() or threads)(picture)
                count["read"] += 1
                said = {"texts": found.texts, "quads": found.quads.tolist(), "confidence": found.confidence.tolist()}
                path.write_text(json.dumps(said))
            said = json.loads(path.read_text())
            quads = np.asarray(said["quads"], np.float32).reshape(-1, 8)
            return ocr.Lines(texts=tuple(said["texts"]), quads=quads, confidence=np.asarray(said["confidence"]))

        return lines

    ocr.engine = engine  # type: ignore[assignment]
    return count


def with_text(made: Row, lines: Sequence[str]) -> Row:
    return {**made, "messages": [made["messages"][0], {"role": "assistant", "content": "\n".join(lines)}]}


def lines_of(made: Row) -> list[str]:
    return str(made["messages"][1]["content"]).split("\n")


def swapped(rows: Sequence[Row], i: int, rng: random.Random) -> Row:
    """The transcript of another receipt, not of the same shop with the same goods."""
    mine = set(" ".join(lines_of(rows[i])).split())
    for _ in range(50):
        other = lines_of(rows[rng.randrange(len(rows))])
        words = set(" ".join(other).split())
        if len(mine & words) < 0.5 * min(len(mine), len(words)):
            break
    return with_text(rows[i], other)


def noisy(share: float) -> Callable[[Sequence[Row], int, random.Random], Row]:
    def damage(rows: Sequence[Row], i: int, rng: random.Random) -> Row:
        signs = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
        text = "\n".join(lines_of(rows[i]))
        return with_text(rows[i], ["".join(rng.choice(signs) if c > " " and rng.random() < share else c for c in text)])

    return damage


def dropped_lines(rows: Sequence[Row], i: int, rng: random.Random) -> Row:
    return with_text(rows[i], [line for line in lines_of(rows[i]) if rng.random() > 0.5])


def shuffled(rows: Sequence[Row], i: int, rng: random.Random) -> Row:
    lines = lines_of(rows[i])
    rng.shuffle(lines)
    return with_text(rows[i], lines)


def doubled_lines(rows: Sequence[Row], i: int, rng: random.Random) -> Row:
    return with_text(rows[i], [x for line in lines_of(rows[i]) for x in [line] * (2 if rng.random() < 0.3 else 1)])


def moved(quad: Callable[[list[float], float], list[float]]) -> Callable[[Sequence[Row], int, random.Random], Row]:
    def damage(rows: Sequence[Row], i: int, rng: random.Random) -> Row:
        boxes = [{**b, "quad": quad(b["quad"], b["quad"][5] - b["quad"][1])} for b in rows[i]["boxes"]]
        return {**rows[i], "boxes": boxes}

    return damage


def shuffled_box_texts(rows: Sequence[Row], i: int, rng: random.Random) -> Row:
    texts = [b["text"] for b in rows[i]["boxes"]]
    rng.shuffle(texts)
    return {**rows[i], "boxes": [{**b, "text": t} for b, t in zip(rows[i]["boxes"], texts, strict=True)]}


def twice_detected(rows: Sequence[Row], i: int, rng: random.Random) -> Row:
    again = [{**b, "quad": [v + 1 for v in b["quad"]]} for b in rows[i]["boxes"] if rng.random() < 0.3]
    return {**rows[i], "boxes": [*rows[i]["boxes"], *again]}


DAMAGE: dict[str, Callable[[Sequence[Row], int, random.Random], Row]] = {
    "transcript of another receipt": swapped,
    "10 % of characters replaced": noisy(0.1),
    "20 % of characters replaced": noisy(0.2),
    "40 % of characters replaced": noisy(0.4),
    "half of the lines dropped": dropped_lines,
    "lines shuffled": shuffled,
    "30 % of lines doubled": doubled_lines,
    "boxes a line too low": moved(lambda q, h: [v + h * (k % 2) for k, v in enumerate(q)]),
    "boxes of a picture half as large": moved(lambda q, h: [v / 2 for v in q]),
    "boxes of a picture twice as large": moved(lambda q, h: [v * 2 for v in q]),
    "x and y exchanged": moved(lambda q, h: [q[k ^ 1] for k in range(8)]),
    "texts of the boxes shuffled": shuffled_box_texts,
    "30 % of boxes detected twice": twice_detected,
}


# -- texts -------------------------------------------------------------------------------------------------------------


def charset(data: Path, few: int | None) -> Row:
    texts = [r["text"] for r in jsonl(data / "alttext_laion10k" / "records.jsonl") if r["text"]]
    texts = texts[:few] if few else texts
    rng = random.Random(7)
    alike = str.maketrans("aceopxyACEHKMOPTX", "асеорхуАСЕНКМОРТХ")

    def garble(text: str, encoding: str) -> str | None:
        try:
            found = text.encode().decode(encoding)
        except UnicodeDecodeError:
            return None
        return found if found != text else None

    def look_alikes(text: str) -> str | None:
        found = "".join(c.translate(alike) if rng.random() < 0.2 else c for c in text)
        return found if found != text else None

    def lost(text: str) -> str | None:
        return text.encode("ascii", "replace").decode().replace("?", "\ufffd") if not text.isascii() else None

    damages: dict[str, Callable[[str], str | None]] = {
        "UTF-8 read as Windows-1252": lambda t: garble(t, "cp1252"),
        "UTF-8 read as Latin-1": lambda t: garble(t, "latin-1"),
        "characters lost to U+FFFD": lost,
        "20 % of look-alike letters Cyrillic": look_alikes,
    }
    clean = drops("charset", scores("charset", [row(i, "", t, "caption") for i, t in enumerate(texts)]))
    out = {}
    for kind, damage in damages.items():
        damaged = [d for t in texts if (d := damage(t)) is not None]
        out[kind] = figures(
            clean, drops("charset", scores("charset", [row(i, "", t, "caption") for i, t in enumerate(damaged)]))
        )
    show(f"charset: {len(texts)} alt texts", out)
    return out


_MARK = re.compile(r"<<([^<>=]*)=(-?[\d.]+)>>")
_PLAIN = re.compile(
    r"(\d[\d.,]*\s*(?:[-+*/x]|\\times|\\cdot)\s*\$?\d[\d.,]*\s*=\s*\\?\$?)(\d+)(?![\d.,/%^])(?!\s*[a-zA-Z*+/x^(\\-])"
)


def other_number(text: str, rng: random.Random) -> str:
    if "." in text:
        return f"{float(text) + rng.choice((-2, -1, 1, 2, 10)):.2f}"
    return str(abs(int(text) + rng.choice((-10, -3, -2, -1, 1, 2, 3, 10))) or int(text) + 5)


def corrupted(text: str, pattern: re.Pattern[str], rng: random.Random) -> str | None:
    """Return `text` with the result of one equation replaced, or None without an equation."""
    found = list(pattern.finditer(text))
    if not found:
        return None
    match = rng.choice(found)
    changed = other_number(match[2], rng)
    return text[: match.start(2)] + changed + text[match.end(2) :] if changed != match[2] else None


def arithmetic(data: Path, few: int | None) -> Row:
    rng = random.Random(7)
    gsm = [(r["question"], r["answer"]) for r in jsonl(data / "gsm8k" / "train.jsonl", few)]
    plain = [(q, _MARK.sub("", a)) for q, a in gsm]
    mathematics = [(r["problem"], r["solution"]) for r in jsonl(data / "benchmarks" / "math_test.jsonl", few)]
    out = {}
    for kind, rows, pattern in (
        ("GSM8K, the result of one mark", gsm, _MARK),
        ("GSM8K without marks, one equation", plain, _PLAIN),
        ("MATH, one equation", mathematics, _PLAIN),
    ):
        clean, damaged = [], []
        for i, (question, answer) in enumerate(rows):
            other = corrupted(answer, pattern, rng) if i % 2 else None
            if other is not None:
                damaged.append(row(i, question, other, "math"))
            elif i % 2 == 0:
                clean.append(row(i, question, answer, "math"))
        of_clean, of_damaged = (drops("arithmetic_check", scores("arithmetic_check", x)) for x in (clean, damaged))
        out[kind] = {**figures(of_clean, of_damaged), "clean": len(clean), "wrong_as_published": int(of_clean.sum())}
    show("arithmetic_check: one result replaced in half of the solutions", out)
    return out


_FORMULA = re.compile(r"\$([^$]+)\$|\\\[(.+?)\\\]", re.S)


def without(text: str, pattern: str, rng: random.Random, to: str = "") -> str | None:
    found = list(re.finditer(pattern, text))
    if not found:
        return None
    match = rng.choice(found)
    return text[: match.start()] + match.expand(to) + text[match.end() :]


BREAKS: dict[str, tuple[str, str]] = {
    "one brace dropped": (r"(?<!\\)[{}]", ""),
    "one dollar dropped": (r"(?<!\\)\$", ""),
    r"one \] dropped": (r"\\\]", ""),
    r"one \end{..} dropped": (r"\\end\{[^}]*\}", ""),
    "one environment renamed": (r"\\end\{(?:align|pmatrix|cases|array)\*?\}", r"\\end{bmatrix}"),
    r"one \right dropped": (r"\\right(?![a-z])", ""),
    r"one \left without its delimiter": (r"\\left\s*[(\[|]", r"\\left "),
    r"one \frac with one argument": (r"\\frac\{([^{}]*)\}\{[^{}]*\}(?=\s*(?:\$|\\[\])\\]))", r"\\frac{\1}"),
    "one script doubled": (r"\^(\d)(?=[\s$+=-])", r"^\1^2"),
    "one tab outside an environment": (r"(?<=\$)([a-zA-Z]) ([=+<>-])", r"\1 & \2"),
}


def latex(data: Path, few: int | None) -> Row:
    rng = random.Random(7)
    pictures = re.compile(r"\[asy\].*?\[/asy\]", re.S)
    texts = [pictures.sub("", r["solution"]) for r in jsonl(data / "benchmarks" / "math_test.jsonl", few)]
    clean = [row(i, "", t, "math") for i, t in enumerate(texts)]
    of_clean = {n: drops(n, scores(n, clean)) for n in ("latex_balance", "latex_parse")}
    out: Row = {}
    for kind, (pattern, to) in BREAKS.items():
        damaged = [
            row(i, "", d, "math") for i, t in enumerate(texts) if (d := without(t, pattern, rng, to)) is not None
        ]
        if not damaged:
            continue
        bad = {n: drops(n, scores(n, damaged)) for n in of_clean}
        both = figures(of_clean["latex_balance"] | of_clean["latex_parse"], bad["latex_balance"] | bad["latex_parse"])
        out[kind] = {**both, **{f"{n}_recall": round(float(b.mean()), 4) for n, b in bad.items()}}
    show(f"latex_balance and latex_parse: {len(texts)} MATH solutions", out)
    formulas = int(np.nansum(scores("latex_parse", clean)["formulas"]))
    out["clean"] = {
        "formulas": formulas,
        "unmatched": int(of_clean["latex_balance"].sum()),
        "broken": int(of_clean["latex_parse"].sum()),
    }
    print(f"  clean: {out['clean']}")
    if importlib.util.find_spec("latex2mathml") is not None:
        out["parser"] = parser(texts, rng)
    return out


def parser(texts: Sequence[str], rng: random.Random, most: int = 3000) -> Row:
    """Formula by formula: what latex_parse and what latex2mathml, a real parser, hold to be broken."""
    from latex2mathml.converter import convert

    def refused(formula: str) -> bool:
        try:
            convert(formula)
        except Exception:  # each of its errors is a class of its own, and some are IndexError
            return True
        return False

    formulas = [m[1] or m[2] for t in texts for m in _FORMULA.finditer(t)]
    formulas = [f for f in formulas if f.count("{") == f.count("}")]  # not cut at a dollar in \\text{..}
    rng.shuffle(formulas)
    formulas = formulas[:most]
    out = {}
    kinds = [k for k in BREAKS if k not in ("one dollar dropped", r"one \] dropped")]
    for kind in ("as they are", *kinds):
        if kind == "as they are":
            some = formulas
        else:
            pattern, to = BREAKS[kind]
            broken = (without(f"${f}$", pattern, rng, to) for f in formulas)
            some = [b[1:-1] for b in broken if b is not None]
        if some:
            ours = drops(
                "latex_parse",
                scores("latex_parse", [row(i, "", rf"$\alpha$ $${f}$$", "math") for i, f in enumerate(some)]),
            )
            theirs = np.array([refused(f) for f in some])
            out[kind] = {
                "formulas": len(some),
                "latex_parse": round(float(ours.mean()), 4),
                "latex2mathml": round(float(theirs.mean()), 4),
            }
    show("formulas held to be broken", out)
    return out


FORMS = (
    "so it is {}\n#### {}",
    r"Hence \boxed{{{1}}}.",
    "Adding up, the answer is {1}.",
    "Let us see. Then there are {1} in all, as asked.",
)


def answers(data: Path, few: int | None) -> Row:
    """Five answers to every question, in several forms; none, one or two of them wrong, at random or all with the same number."""
    rng = random.Random(7)
    records = jsonl(data / "gsm8k" / "train.jsonl", few or 2000)
    out = {}
    for kind, same in (("wrong ones differ", False), ("two wrong ones agree", True)):
        rows, truth = [], []
        for record in records:
            right = record["answer"].rsplit("#### ", 1)[1]
            number = int(right.replace(",", ""))
            wrong = 2 if same else rng.choice((0, 1, 2))
            off = rng.sample((-10, -2, -1, 1, 2, 10), 2)
            for k in range(5):
                value = right if k >= wrong else f"{number + off[0 if same else k]:,}"
                rows.append(row(len(rows), record["question"], rng.choice(FORMS).format("as follows", value), "math"))
                truth.append(k < wrong)
        flt = base.load("answer_agreement")
        local = flt.score(batch(rows))
        heads = {c: [r[c] for r in rows] for c in ("id", "source", "task")}
        assert flt.pool is not None
        found = flt.pool(pa.table({**heads, **dict(zip(flt.scores, local, strict=True))})).sort_by("id")
        wrong_ones = np.asarray(truth)
        dropped = found["majority"].to_numpy() < 1
        assert found.num_rows == len(rows)
        hit = float((dropped & wrong_ones).sum())
        out[kind] = {
            "precision": round(hit / max(1, dropped.sum()), 4),
            "recall": round(hit / wrong_ones.sum(), 4),
            "auc": round(
                1 - (auc(found["agreement"].to_numpy()[~wrong_ones], found["agreement"].to_numpy()[wrong_ones]) or 0), 4
            ),
            "answers": len(rows),
            "wrong": int(wrong_ones.sum()),
        }
    show("answer_agreement: five answers to each GSM8K question", out)
    return out


def leaks(data: Path, few: int | None) -> Row:
    records = jsonl(data / "gsm8k" / "train.jsonl", few)
    tails = ("\nAnswer: {}", " The answer is {}.", "\n#### {}", r" \boxed{{{}}}")
    clean = [row(i, r["question"], r["answer"], "math") for i, r in enumerate(records)]
    damaged = []
    for i, record in enumerate(records):
        right = record["answer"].rsplit("#### ", 1)[1]
        damaged.append(row(i, record["question"] + tails[i % 4].format(right), record["answer"], "math"))
    whole = [row(i, f"{r['question']}\n{r['answer']}", r["answer"], "math") for i, r in enumerate(records)]
    of_clean = scores("answer_leak", clean)
    out = {
        "the answer in a mark": figures(
            drops("answer_leak", of_clean), drops("answer_leak", scores("answer_leak", damaged))
        )
    }
    found = scores("answer_leak", whole)
    long = ~np.isnan(found["contained"])
    out["the whole solution (`contained`)"] = figures(of_clean["contained"][long] > 0, found["contained"][long] > 0)
    show("answer_leak: GSM8K questions", out)
    return out


def rates(data: Path, few: int | None) -> Row:
    """How fast they are: fresh batches, kernels compiled; median of three."""
    solutions = [(r["question"], r["answer"]) for r in jsonl(data / "gsm8k" / "train.jsonl", few)]
    solutions += [(r["problem"], r["solution"]) for r in jsonl(data / "benchmarks" / "math_test.jsonl", few)]
    texts = [row(i, q, a, "math") for i, (q, a) in enumerate(solutions)]
    pages = [receipt(i, r) for i, r in enumerate(jsonl(data / "sroie_receipts" / "records.jsonl"))]
    pages *= 2 if few else 20
    names = {"arithmetic_check": texts, "latex_balance": texts, "latex_parse": texts, "symbol_density": texts}
    names |= {"answer_agreement": texts, "answer_leak": texts, "charset": texts}
    names |= dict.fromkeys((*BOX_FILTERS, "ocr_confidence"), pages)
    out = {}
    for name, rows in names.items():
        flt = base.load(name)
        flt.score(batch(rows[:2]))
        times = []
        for _ in range(3):
            fresh = batch(rows)
            started = time.perf_counter()
            flt.score(fresh)
            times.append(time.perf_counter() - started)
        out[name] = {"samples": len(rows), "samples_per_s": round(len(rows) / sorted(times)[1])}
    show("rates: solutions of math, receipts with their boxes", out)
    return out


if __name__ == "__main__":
    main()

"""How fast text rules run, side by side with datatrove, Data-Juicer and NeMo Curator: the same documents and rules.

    python benchmarks/text_filters.py                    # real texts from ../shared/data, or the folder that --data names
    python benchmarks/text_filters.py --quick            # a tenth of the documents, one repeat
    python benchmarks/text_filters.py --only data-juicer

Everybody reads a file and ends with decisions, in two processes, without start-up, and is asked several times; rates are medians.
- A peer reads JSON lines and writes what it keeps, as its own examples do; a run over a handful of documents is subtracted.
- Cuvee reads shards (Parquet), writes scores, then judges and writes the ledger. It gets the documents `--times` times over,
  because it would be done before a clock says anything. What ingesting the JSON lines takes is told apart, and with it.
Peers stop at the first rule that drops a document; Cuvee scores every document by every rule. The last line is JSON.
"""

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import peers
import pyarrow as pa

from catalog.store import Store
from curate import run as runs
from curate.engines import local
from curate.recipe import Recipe, parse
from curate.score import cut
from filters import base

HERE = Path(__file__).resolve().parent
TINY = 24  # documents

# What a peer's script runs, and Cuvee's filters with every rule on every document.
SETS = {
    "datatrove": {
        "c4": {"min_words": 0, "terminal": False},
        "gopher_quality": {"min_words": 0, "exceptions": False},
        "gopher_repetition": {"min_words": 0, "exceptions": False},
        "fineweb": {"min_words": 0, "cleaned": True},
    },
    "data-juicer": {"characters": {}, "repetition": {}, "text_stats": {"min_words": 1}},
    "nemo-curator": {
        "text_stats": {"min_words": 1},
        "gopher_quality": {"min_words": 0, "tokeniser": "space"},
        "gopher_repetition": {"min_words": 0, "tokeniser": "space"},
    },
}
# The peer's bounds, where they are not Cuvee's defaults.
BOUNDS = {
    ("data-juicer", "characters"): {"alphanumeric": {"min": 0.25}, "special": {"max": 0.35}},
    ("data-juicer", "text_stats"): {
        "characters": {"min": 10},
        "words_with_letters": {"min": 10},
        "mean_line_length": {"min": 10},
        "longest_line": {"min": 10},
    },
    ("nemo-curator", "text_stats"): {
        "longest_word": {"max": 1000}, "white_space": {"max": 0.25}, "digits": {"max": 0.15}, "parentheses": {"max": 0.1},
        "urls": {"max": 0.2}, "plain": {"min": 0.75}, "unended_lines": {"max": 0.85},
    },
}  # fmt: skip


# -- documents ---------------------------------------------------------------------------------------------------------


def texts(data: Path):
    """Yield (kind, text) of the real data: web pages, articles, notes, recipes, answers."""
    import gzip

    def lines(pattern, *keys):
        for path in sorted(data.glob(pattern)):
            with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as f:
                for line in f:
                    try:
                        row = json.loads(line)
                    except ValueError:
                        continue
                    for key in keys:
                        value = row.get(key) if isinstance(row, dict) else None
                        if isinstance(value, str) and value.strip():
                            yield pattern.split("/")[0], value

    def nested(value, *keys):
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return value if isinstance(value, str) else ""

    yield from lines("commoncrawl_dolma/*en_head*.jsonl.gz", "text")
    yield from lines("llamafactory_demo/c4_demo.jsonl", "text")
    yield from lines("datajuicer_demo/*.jsonl", "text")
    yield from lines("cs231n_notes/records.jsonl", "markdown")
    yield from lines("based_cooking/records.jsonl", "markdown")
    yield from lines("alpaca_eval_outputs/outputs/*.jsonl.gz", "output")
    yield from lines("instruct_alpaca/*.jsonl", "output")
    yield from lines("imageinwords/*.jsonl", "IIW")
    wiki = data / "llamafactory_demo" / "wiki_demo.txt"
    if wiki.exists():
        yield from (("wiki", text) for text in wiki.read_text("utf-8").splitlines())
    articles = data / "html_article_bench" / "ground-truth.json"
    if articles.exists():
        for page in json.loads(articles.read_text("utf-8")).values():
            yield "articles", nested(page, "articleBody")


def invented(rng):
    """Yield texts of random words, where the real data is missing: they flatter whoever counts n-grams."""
    words = ["".join(rng.choice(list("etaoinshrdlu"), int(n))) for n in rng.integers(2, 10, 5000)]
    while True:
        picked = [words[int(k)] for k in np.minimum(rng.zipf(1.3, int(rng.integers(60, 400))) - 1, 4999)]
        yield "invented", ". ".join(" ".join(picked[i : i + 12]).capitalize() for i in range(0, len(picked), 12)) + "."


def documents(data: Path, count: int, most: int = 2_000_000) -> list[str]:
    """Return texts of a web page's length: long ones cut at blank lines, short ones of a kind put together.

    No more than `most` characters of a kind.
    """
    rng = np.random.default_rng(0)
    out, piece, goal = [], "", 0.0
    before, taken = "", Counter()
    for kind, text in texts(data) if any(texts(data)) else invented(rng):
        if taken[kind] > most and kind != "invented":
            continue
        taken[kind] += len(text)
        if kind != before and piece:
            out.append(piece.strip())
            piece = ""
        before = kind
        for paragraph in text.split("\n\n"):
            goal = goal or float(rng.lognormal(6.5, 0.8))
            piece += paragraph + "\n\n"
            if len(piece) >= goal:
                out.append(piece.strip())
                piece, goal = "", 0.0
        if len(out) >= 6 * count:
            break
    if len(out) < count:
        print(f"only {len(out):,} documents in {data}", file=sys.stderr)
    return [out[i] for i in sorted(rng.permutation(len(out))[:count])]


def write(folder: Path, docs: list[str], files: int) -> Path:
    folder.mkdir(parents=True)
    for k in range(files):
        with (folder / f"{k:02d}.jsonl").open("w", encoding="utf-8") as f:
            for i in range(k, len(docs), files):
                f.write(json.dumps({"id": str(i), "text": docs[i]}, ensure_ascii=False) + "\n")
    return folder


# -- who is measured ---------------------------------------------------------------------------------------------------


def recipe(peer: str, folder: Path) -> Recipe:
    stages = [
        {"filter": name, "params": params, **({"bounds": BOUNDS[peer, name]} if (peer, name) in BOUNDS else {})}
        for name, params in SETS[peer].items()
    ]
    source = {"name": "web", "format": "text", "path": str(folder), "task": "text"}
    return parse({"name": peer, "sources": [source], "stages": stages}, "the benchmark")


def cuvee(peer: str, full: Path, tiny: Path, work: Path, repeats: int) -> dict:
    """Return the seconds of ingesting, scoring and judging, with two workers that stand ready."""
    engine = local.start(workers=2, address=None)
    times: dict[str, list[float]] = {"ingest": [], "score": [], "judge": []}
    quiet = lambda *_: None  # noqa: E731
    try:
        runs.run(recipe(peer, tiny), Store(work / "warm"), engine=engine, data=full, progress=quiet)
        for k in range(repeats):
            store, plan = Store(work / f"full{k}"), recipe(peer, full)
            t0 = time.perf_counter()
            sources = runs.ingest_all(plan, store, engine=engine, data=full, progress=quiet)
            t1 = time.perf_counter()
            stages = [(s, base.load(s.filter, s.params)) for s in plan.stages]
            runs.score(store, stages, list(sources.values()), engine=engine, progress=quiet)
            t2 = time.perf_counter()
            dataset = runs.decide(
                plan, store, stages, sources, engine=engine, progress=quiet, volatile={"started": time.monotonic()}
            )
            t3 = time.perf_counter()
            for name, value in zip(times, (t1 - t0, t2 - t1, t3 - t2), strict=True):
                times[name].append(value)
    finally:
        engine.close()
    return times | {"kept": dataset.counts["kept"]}


def one_core(peer: str, docs: list[str]) -> float:
    """Return the seconds of processor time that one process takes for all filters of a set, in memory."""
    from catalog.schema import SAMPLE

    rows = [
        {
            "id": f"web/{i}", "digest": "", "source": "web", "task": "text", "license": "", "boxes": [], "media": [],
            "meta": "{}", "messages": [{"role": "assistant", "content": text}],
        }
        for i, text in enumerate(docs)
    ]  # fmt: skip
    samples = pa.Table.from_pylist(rows, schema=SAMPLE)
    loaded = [base.load(name, params) for name, params in SETS[peer].items()]
    times = []
    for _ in range(4):  # the first compiles
        started = time.thread_time()
        for batch in cut(samples):
            for f in loaded:
                f.score(batch)
        times.append(time.thread_time() - started)
    return statistics.median(times[1:])


def ask(peer: str, full: Path, tiny: Path, work: Path, repeats: int) -> dict:
    script = HERE / f"_text_{peer.replace('-', '_')}.py"
    command = [peers.python(peer), script, full, tiny, work, str(repeats)]
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    clean["PATH"] = f"{peers.python(peer).parent}{os.pathsep}{clean.get('PATH', '')}"  # its `ray`, not ours
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, env=clean, check=False)
    if done.returncode:
        print(done.stderr[-3000:], file=sys.stderr)
        sys.exit(1)
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    parser.add_argument("--documents", type=int, default=4000)
    parser.add_argument("--times", type=int, default=16, help="how often Cuvee gets the documents")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=tuple(SETS), action="append")
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    count, repeats = (args.documents // 10, 1) if args.quick else (args.documents, args.repeats)
    docs = documents(args.data, count)
    size = sum(len(d.encode()) for d in docs)
    words = sum(len(d.split()) for d in docs)
    print(
        f"{len(docs):,} documents, {size / 1e6:.1f} MB, {size / len(docs):,.0f} bytes and {words / len(docs):.0f} words each"
    )
    result = {"documents": len(docs), "bytes": size, "words": words}
    row = functools.partial("{:<34} {:>12} {:>9} {:>12} {:>8}".format)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        few = sorted(docs, key=len)[len(docs) // 2 :][:TINY]
        full, tiny = write(root / "full", docs, 4), write(root / "tiny", few, 4)
        many = write(root / "many", docs * args.times, 4)
        for peer in args.only or SETS:
            theirs = ask(peer, full, tiny, root / peer, repeats)
            seconds = statistics.median(theirs["full"]) - statistics.median(theirs["tiny"])
            rate = (len(docs) - len(few)) / seconds
            ours = cuvee(peer, many, tiny, root / f"cuvee-{peer}", repeats)
            judged = statistics.median(s + j for s, j in zip(ours["score"], ours["judge"], strict=True))
            read = statistics.median(ours["ingest"])
            own = len(docs) * args.times / judged
            whole = len(docs) * args.times / (judged + read)
            core = one_core(peer, docs)
            print(f"\n{' + '.join(SETS[peer])}  |  {peer}: {theirs['how']}")
            print(row("", "documents/s", "MB/s", "words/s", "kept"))
            each, per = size / len(docs), words / len(docs)

            def line(name, r, kept, each=each, per=per):
                print(row(name, f"{r:,.0f}", f"{r * each / 1e6:.2f}", f"{r * per:,.0f}", kept))

            line(peer, rate, f"{theirs['kept'] / len(docs):.1%}")
            line("cuvee, shards to ledger", own, f"{ours['kept'] / len(docs) / args.times:.1%}")
            line("cuvee, JSON lines to ledger", whole, "")
            line("cuvee, one core, in memory", len(docs) / core, "")
            print(f"cuvee / {peer}: {own / rate:.1f} from shards, {whole / rate:.1f} from JSON lines")
            result[peer] = {
                "documents_per_s": round(rate, 1), "mb_per_s": round(rate * each / 1e6, 3),
                "start_up_s": round(statistics.median(theirs["tiny"]), 2),
                "cuvee_documents_per_s": round(own), "cuvee_mb_per_s": round(own * each / 1e6, 2),
                "cuvee_from_json_documents_per_s": round(whole), "cuvee_mb_per_s_per_core": round(size / core / 1e6, 2),
                "cuvee_seconds": {k: round(statistics.median(ours[k]), 2) for k in ("ingest", "score", "judge")},
                "kept": theirs["kept"], "cuvee_kept": ours["kept"] / args.times,
                "ratio": round(own / rate, 1), "ratio_from_json": round(whole / rate, 1),
            }  # fmt: skip
    print(json.dumps(result))


if __name__ == "__main__":
    main()

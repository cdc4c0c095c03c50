"""Cutting repeated spans: speed, memory, recall; lines against datatrove's sentence dedup.

    python benchmarks/spans.py [--quick] [--data ../shared/data] [--sizes 25 100] [--no-peer]

1. Exact: what is found in real notes (0.8 MB) against a dictionary of all their windows.
2. Lines of real documents (answers of models, web pages, notes), every repeat: Cuvee and datatrove, one run, 2 workers each.
3. Substrings of 200 bytes in generated documents with planted spans, at growing size: MB/s, memory, share of planted bytes found.

Prints tables and last one line of JSON with all numbers.
"""

import argparse
import contextlib
import functools
import gzip
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))

import peers

from catalog.store import Store
from curate.engines.choose import choose
from curate.ingest import SourceSpec, ingest
from curate.spans.cut import cut
from curate.spans.find import BYTES, Rules, Units

HERE = Path(__file__).parent
FILES = 8


def lines(path):
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as f:
        return [json.loads(line) for line in f if line.strip()]


def real(data):
    """Return documents: answers of ten models, web text, notes, HTML pages."""
    out = [r["output"] for p in sorted((data / "alpaca_eval_outputs" / "outputs").glob("*.gz")) for r in lines(p)]
    out += [r["text"] for r in lines(data / "llamafactory_demo" / "c4_demo.jsonl")]
    out += [r["markdown"] for r in lines(data / "cs231n_notes" / "records.jsonl")]
    for p in sorted((data / "html_article_bench" / "html").glob("*.gz")):
        with gzip.open(p, "rt", encoding="utf-8", errors="replace") as f:
            out.append(f.read().replace("\r", ""))
    return [t for t in out if t.strip()]


def planted(megabytes, seed=0):
    """Return generated documents, one in five with a span of 250 to 1,200 bytes that others hold, too; and bytes of repeats."""
    pick = random.Random(seed)
    letters = "etaoinshrdlucmfwypvbgkqjxz"
    vocabulary = ["".join(pick.choices(letters, range(26, 0, -1), k=pick.randrange(2, 10))) for _ in range(30_000)]
    weights = np.cumsum(1 / np.arange(5, 30_005))
    draw = np.random.default_rng(seed)

    def words(size):
        at = np.searchsorted(weights, draw.random(size // 5) * weights[-1])
        return " ".join(vocabulary[i] for i in at.tolist())[:size]

    spans = [words(pick.randrange(250, 1200)) for _ in range(max(3, megabytes))]
    out, size, again, seen = [], 0, 0, set()
    while size < megabytes * 1_000_000:
        text = words(pick.randrange(500, 5000))
        if pick.random() < 0.2:
            n = pick.randrange(len(spans))
            at = pick.randrange(len(text))
            text = f"{text[:at]} {spans[n]} {text[at:]}"
            again += len(spans[n]) if n in seen else 0
            seen.add(n)
        out.append(text)
        size += len(text)
    return out, again


def write(folder, documents):
    folder.mkdir(parents=True)
    for n in range(FILES):
        with (folder / f"{n}.jsonl").open("w", encoding="utf-8") as f:
            f.writelines(json.dumps({"text": t}) + "\n" for t in documents[n::FILES])
    return folder


def ours(folder, rules, workers=2):
    """Return what cutting took, without ingest and without start-up: that is what the same takes for a tiny folder."""
    store = Store(folder.parent / f"store-{folder.name}")
    sources = {}
    with contextlib.closing(choose("local", workers=workers, address=None)) as engine:
        for name, where in (("tiny", warm(folder)), ("docs", folder)):
            spec = SourceSpec.of({"name": name, "format": "text", "path": "*.jsonl", "task": "text"})
            sources[name] = ingest(store, spec, engine=engine, data=where, shard_rows=1000)
    took = []
    for name in ("tiny", "tiny", "docs"):  # the first one compiles the kernels
        steps = []
        started, before = time.perf_counter(), processor()
        with contextlib.closing(choose("local", workers=workers, address=None)) as engine:
            clock = functools.partial(lambda out, *x: out.append((time.perf_counter(), *x)), steps)
            made = cut(store, [sources[name]], rules=rules, name=f"{name}{len(took)}", engine=engine, progress=clock)
        took.append((time.perf_counter() - started, processor() - before))
    parts = {}
    for k, (at, step, done, total) in enumerate(steps):
        if done == total and k:
            begun = next(a for a, s, d, _ in reversed(steps[: k + 1]) if s == step and d == 0)
            parts[step] = round(parts.get(step, 0) + at - begun, 2)
    seconds, busy = (took[2][k] - took[1][k] for k in range(2))
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return {
        "seconds": round(seconds, 2),
        "busy": round(busy, 2),
        "peak_mb": round(peak),
        "steps": parts,
        **made[0].summary,
    }


def processor():
    """Return the seconds of processor time that this process and those that it has waited for have used."""
    return sum(
        u.ru_utime + u.ru_stime for u in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def warm(folder):
    out = folder.parent / f"tiny-{folder.name}"
    if not out.exists():
        write(out, [f"a line that is said in some places\nnumber {k} alone here" for k in range(400)])
    return out


def row(what, size, seconds, busy, gone):
    """Return a line of a table; `busy` is processor time, which other programs on the machine disturb less."""
    return {"what": what, "s": round(seconds, 1), "busy s": "" if busy is None else round(busy, 1),
            "MB/s": round(size / 1e6 / seconds, 1), "cut": f"{gone / size:.1%}"}  # fmt: skip


def table(rows):
    widths = [max(len(str(r[c])) for r in [*rows, {c: c for c in rows[0]}]) for c in rows[0]]
    for r in [{c: c for c in rows[0]}, *rows]:
        print("  ".join(str(r[c]).rjust(w) for c, w in zip(rows[0], widths, strict=True)))
    print(flush=True)


def exact(data, work, size=BYTES):
    """Return how many bytes a dictionary of all windows says are to go, and how many the kernels find, in the same places."""
    import hashlib

    from curate.spans import find, kernels, runs
    from curate.spans.texts import Chunk

    texts = [r["markdown"].encode() for r in lines(data / "cs231n_notes" / "records.jsonl")]
    seen, want = {}, []
    for n, t in enumerate(texts):
        gone = np.zeros(len(t) + 1, np.int64)
        for p in range(len(t) - size + 1):
            key = hashlib.blake2b(t[p : p + size], digest_size=16).digest()
            if seen.setdefault(key, n) < n:
                gone[p] += 1
                gone[p + size] -= 1
        want.append(np.cumsum(gone)[:-1] > 0)
    offsets = np.concatenate([[0], np.cumsum([len(t) for t in texts])]).astype(np.int64)
    chunk = Chunk(
        data=np.frombuffer(b"".join(texts), np.uint8), offsets=offsets, base=offsets[:-1], sample=offsets[:-1], number=0
    )
    tables = {}
    for kind in ("gram", "window"):
        made = (
            find.picks(chunk, size, size // 2)[0]
            if kind == "gram"
            else find.windows(chunk, size, size // 2, tables["gram"])
        )
        run = made.rows(chunk, within=False)
        runs.save(work / f"{kind}.arrow", runs.tallied([run]))
        tables[kind] = runs.merged(
            [work / f"{kind}.arrow"], work / kind, rows=0, least=2, mapped=lambda t, i: map(t, i)
        )
    kept, count = tables["window"].find(made.one, made.two)
    _, start, end, _, _ = kernels.runs(made.start, made.text, offsets, chunk.base, chunk.sample, kept, count, size)
    found = np.zeros(offsets[-1] + 1, np.int64)
    np.add.at(found, start, 1)
    np.add.at(found, end, -1)
    found = np.cumsum(found)[:-1] > 0
    want = np.concatenate(want)
    return {"reference": int(want.sum()), "found": int(found.sum()), "differ": int((found != want).sum())}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    parser.add_argument("--sizes", type=int, nargs="+", default=[25, 100])
    parser.add_argument("--quick", action="store_true", help="5 MB of each")
    parser.add_argument("--no-peer", action="store_true")
    args = parser.parse_args()
    result = {"cores": os.cpu_count()}
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        if args.data.is_dir():
            result["exact"] = exact(args.data, work)
            table([result["exact"]])
            documents = real(args.data)
            if args.quick:
                documents = documents[:: len(documents) // 500]
            size = sum(len(t.encode()) for t in documents)
            folder = write(work / "real", documents)
            mine = ours(folder, Rules(lines=Units(times=2, characters=1), within=True))
            cut_ = sum(mine["cut_bytes"].values())
            rows = [row("cuvee", size, mine["seconds"], mine["busy"], cut_)]
            result["lines"] = {"documents": len(documents), "bytes": size, "cuvee": mine}
            if not args.no_peer:
                command = [peers.python("datatrove"), HERE / "_spans_datatrove.py", folder, warm(folder), work / "dt"]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
                theirs = json.loads(done.stdout.splitlines()[-1])
                seconds = theirs["full"] - theirs["tiny"]
                rows.append(row("datatrove", size, seconds, None, size - theirs["bytes"]))
                result["lines"]["datatrove"] = {**theirs, "seconds": round(seconds, 2)}
                result["lines"]["ratio"] = round(seconds / mine["seconds"], 1)
            print(f"lines: {len(documents):,} documents, {size / 1e6:.1f} MB")
            table(rows)
        rows = []
        for megabytes in [5] if args.quick else args.sizes:
            documents, again = planted(megabytes)
            folder = write(work / f"p{megabytes}", documents)
            mine = ours(folder, Rules(substring=BYTES))
            share = round(mine["cut_bytes"]["substring"] / again, 4)
            found = {"peak MB": mine["peak_mb"], "of planted bytes": share, **mine["steps"]}
            plain = row(
                f"{megabytes} MB", megabytes * 1e6, mine["seconds"], mine["busy"], mine["cut_bytes"]["substring"]
            )
            rows.append({**plain, **found})
            result[f"substring_{megabytes}"] = {**mine, "planted": again, "share": share}
        print("substrings of 200 bytes, planted")
        table(rows)
    print(json.dumps(result))


if __name__ == "__main__":
    main()

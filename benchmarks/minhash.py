"""Near duplicates by MinHash, side by side: datatrove, Data-Juicer, text-dedup, datasketch, rensa, Daft and Cuvee.

    python benchmarks/minhash.py                     # real texts from ../shared/data, or the folder that --data names
    python benchmarks/minhash.py --quick             # a tenth of the documents
    python benchmarks/minhash.py --only datatrove --only cuvee

The same documents for everybody: real texts, each once, and copies of some that were edited until their true Jaccard
similarity (5 words, `_minhash_corpus.py`) was somewhere between 0.4 and 1. From JSON lines to the list of what is kept, on two
cores, all with 14 bands of 8 rows over 5-word shingles. Cuvee's line is a whole run: ingest, score, cluster, judge, a written
ledger. What a run over two dozen documents takes is start-up and taken off. Memory is the sum over all processes of what is
theirs (PSS).

A true pair counts as found when one of the two is removed. A removed document is rightly removed when another document is at
least as alike to it as the column says. Signatures alone are measured in processor time on one core, of texts in memory. The
last line is JSON.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from itertools import islice, pairwise
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

import _minhash_corpus as corpus
import peers

HERE = Path(__file__).resolve().parent

TINY, FILES = 24, 4
EDGES = (0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0, 1.1)
PEERS = ("datatrove", "data-juicer", "text-dedup", "datasketch", "rensa", "daft")
OURS = {  # Cuvee's settings; the first is datatrove's: candidates are not verified
    "cuvee, as datatrove": {"min_words": 5, "verify": "none"},
    "cuvee": {},
    "cuvee, 16 x 7, true Jaccard": {"bands": 16, "rows": 7, "verify": "jaccard"},
}


# -- documents and truth -----------------------------------------------------------------------------------------------


def documents(data: Path, count: int, copies: int) -> tuple[list[str], tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return real texts and planted copies in random order, and all pairs that are 0.4 alike or more."""
    rng = random.Random(0)
    found = list(corpus.real(data)) if data.is_dir() else []
    if len(found) < count:
        print(f"only {len(found):,} documents in {data}; the others are invented", file=sys.stderr)
        found += list(islice(corpus.invented(rng), count - len(found)))
    texts = rng.sample(found, count)
    a, b, _ = corpus.pairs(texts, 0.3)
    near = set(a.tolist()) | set(b.tolist())
    texts += corpus.planted(texts, [i for i in range(count) if i not in near], copies)
    rng.shuffle(texts)
    return texts, corpus.pairs(texts, EDGES[0])


def write(folder: Path, texts: list[str]) -> Path:
    """Write text i, with id i, as line i // FILES of file i % FILES."""
    folder.mkdir(parents=True)
    for k in range(FILES):
        with (folder / f"{k:02d}.jsonl").open("w", encoding="utf-8") as f:
            for i in range(k, len(texts), FILES):
                f.write(json.dumps({"id": str(i), "text": texts[i]}, ensure_ascii=False) + "\n")
    return folder


def number(name: str) -> int:
    """Return which document an id names: ours say `docs/<file>.jsonl:<line>`."""
    if "/" not in name:
        return int(name)
    file, _, line = name.removeprefix("docs/").partition(".jsonl:")
    return (int(line) - 1) * FILES + int(file)


def judged(kept: list[str], count: int, truth: tuple[np.ndarray, np.ndarray, np.ndarray]) -> dict:
    """Return what the removal of all but `kept` found, by true similarity."""
    a, b, share = truth
    removed = np.ones(count, bool)
    removed[[number(name) for name in kept]] = False
    nearest = np.zeros(count)
    np.maximum.at(nearest, a, share)
    np.maximum.at(nearest, b, share)
    hit = removed[a] | removed[b]
    bands = [(share >= low) & (share < high) for low, high in pairwise(EDGES)]
    return {
        "removed": int(removed.sum()),
        "recall": [round(float(hit[band].mean()), 4) if band.any() else None for band in bands],
        "recall_0.8": round(float(hit[share >= 0.8].mean()), 4),
        "precision_0.7": round(float((nearest[removed] >= 0.7 - 1e-9).mean()), 4),
        "precision_0.5": round(float((nearest[removed] >= 0.5).mean()), 4),
    }


# -- who is measured ---------------------------------------------------------------------------------------------------


def family(pid: int) -> list[int]:
    """Return a process and all that it has started, directly or not."""
    out = [pid]
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                out += family(int(child))
    except OSError:  # it has just ended
        pass
    return out


def memory(pid: int) -> int:
    """Return the bytes that a process and all it has started hold; pages shared by some count once."""
    total = 0
    for one in family(pid):
        try:
            rollup = Path(f"/proc/{one}/smaps_rollup").read_text()
        except OSError:
            continue
        total += sum(int(line.split()[1]) << 10 for line in rollup.splitlines() if line.startswith("Pss:"))
    return total


def ask(python: Path | str, script: str, *arguments: object, cores: set[int] | None = None) -> dict:
    """Run a script and return what it printed last, and the peak of its memory."""
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    clean["PATH"] = f"{Path(python).parent}{os.pathsep}{clean.get('PATH', '')}"
    command = [str(c) for c in (python, HERE / script, *arguments)]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        everything = os.sched_getaffinity(0)
        os.sched_setaffinity(0, cores or everything)  # the child inherits it
        child = subprocess.Popen(command, stdout=out, stderr=errors, text=True, env=clean)
        os.sched_setaffinity(0, everything)
        peak = [0]

        def watch() -> None:
            while child.poll() is None:
                peak[0] = max(peak[0], memory(child.pid))
                time.sleep(0.2)

        watcher = threading.Thread(target=watch)
        watcher.start()
        child.wait()
        watcher.join()
        out.seek(0)
        errors.seek(0)
        if child.returncode:
            sys.exit(f"{script} failed:\n{errors.read()[-3000:]}")
        return {**json.loads(out.read().strip().splitlines()[-1]), "memory": peak[0]}


def measured(name: str, full: Path, tiny: Path, work: Path, repeats: int) -> dict:
    """Return the result of one peer, or of one of our settings, end to end."""
    if name in OURS:
        params = json.dumps(OURS[name])
        return ask(sys.executable, "_minhash_cuvee.py", "run", full, tiny, work, repeats, params)
    script = f"_minhash_{name.replace('-', '_')}.py"
    return ask(peers.python(name), script, "run", full, tiny, work, repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--copies", type=int, default=5_000)
    parser.add_argument("--repeats", type=int, default=3, help="runs of those that take seconds; the others have one")
    parser.add_argument("--only", choices=(*PEERS, "cuvee"), action="append")
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    scale = 10 if args.quick else 1
    texts, truth = documents(args.data, args.documents // scale, args.copies // scale)
    size = sum(len(t.encode()) for t in texts)
    share = truth[2]
    bands = [f"{low:g}" for low in EDGES[:-1]]
    print(f"{len(texts):,} documents, {size / 1e6:.1f} MB, {size / len(texts):,.0f} bytes each")
    counts = np.histogram(share, EDGES)[0].tolist()
    print("true pairs by similarity, from " + ", ".join(f"{b}: {c:,}" for b, c in zip(bands, counts, strict=True)))
    result: dict = {"documents": len(texts), "bytes": size, "pairs": dict(zip(bands, counts, strict=True))}
    chosen = [p for p in PEERS if p in (args.only or PEERS)]
    ours = list(OURS) if "cuvee" in (args.only or ["cuvee"]) else []
    print(f"\n{'':<28} {'documents/s':>12} {'MB/s':>7} {'start-up s':>11} {'memory MB':>10}")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        full, tiny = write(root / "full", texts), write(root / "tiny", texts[:TINY])
        for name in [*chosen, *ours]:
            slow = name in ("datatrove", "data-juicer", "text-dedup", "datasketch")
            found = measured(name, full, tiny, root / name.replace(" ", "_"), 1 if slow else args.repeats)
            startup = statistics.median(found["tiny"])
            rate = (len(texts) - TINY) / (statistics.median(found["full"]) - startup)
            print(
                f"{name:<28} {rate:>12,.0f} {rate * size / len(texts) / 1e6:>7.2f} {startup:>11.2f}"
                f" {found['memory'] / 1e6:>10,.0f}   {found['how']}",
                flush=True,
            )
            result[name] = {
                "documents_per_s": round(rate, 1), "start_up_s": round(startup, 2), "memory": found["memory"],
                **judged(found["kept"], len(texts), truth),
            }  # fmt: skip
            if "steps" in found:
                steps = {k: round(statistics.median(s[k] for s in found["steps"]), 3) for k in found["steps"][0]}
                result[name]["seconds"] = steps
                rate = len(texts) / (sum(steps.values()) - steps["ingest"])
                result[name]["from_shards_documents_per_s"] = round(rate)
                print(
                    f"{'  of it from stored shards on':<28} {rate:>12,.0f} {rate * size / len(texts) / 1e6:>7.2f}",
                    flush=True,
                )
        print(f"\n{'found of true pairs, from':<28} {' '.join(f'{b:>6}' for b in bands)}  | removed, of them with")
        print(f"{'':<28} {' '.join(f'{b:>6}' for b in [''] * len(bands))}  |   all  >= 0.7  >= 0.5 alike")
        for name in [*chosen, *ours]:
            r = result[name]
            line = " ".join(f"{'-' if v is None else format(v, '.3f'):>6}" for v in r["recall"])
            print(f"{name:<28} {line}  | {r['removed']:>5}   {r['precision_0.7']:.3f}   {r['precision_0.5']:.3f}")
        print(f"\n{'signatures, one core':<42} {'documents/s':>12} {'MB/s':>7}")
        core = {min(os.sched_getaffinity(0))}
        for name in [*chosen, *(["cuvee"] if ours else [])]:
            script = f"_minhash_{name.replace('-', '_')}.py"
            python = sys.executable if name == "cuvee" else peers.python(name)
            rates = ask(python, script, "sign", full, cores=core)["documents_per_s"]
            result.setdefault("signatures", {})[name] = {k: round(v) for k, v in rates.items()}
            for kind, rate in rates.items():
                print(f"{f'{name}, {kind}':<42} {rate:>12,.0f} {rate * size / len(texts) / 1e6:>7.1f}", flush=True)
    result["ratios"] = ratios(result, chosen, ours)
    print(json.dumps(result))


def ratios(result: dict, chosen: list[str], ours: list[str]) -> dict:
    """Return Cuvee's rates as multiples of the peers', end to end and for signatures of texts; for rensa also from words on."""
    out: dict = {}
    for name in ours:
        end_to_end = {p: result[name]["documents_per_s"] / result[p]["documents_per_s"] for p in chosen}
        out[name] = {p: round(r, 2) for p, r in end_to_end.items()}
    if ours:
        own = result["signatures"]["cuvee"]
        out["signatures"] = {
            f"{p}, {kind}": round(own["minima alone" if kind == "without shingling" else "signatures"] / rate, 2)
            for p in chosen
            for kind, rate in result["signatures"][p].items()
        }
    return out


if __name__ == "__main__":
    main()

"""Deduplication of N short generated documents by a whole `cuvee run`, and of a tenth of them: time, growth, memory.

    python benchmarks/dedup_scale.py [--samples 10000000] [--engine local] [--workers 2] [--quick]

A third of the documents have duplicates: exact copies, near copies (a word or two of 40 changed) and chains of near copies. Both
`dedup_exact` and `dedup_minhash` (14 bands of 8, 5-word shingles) look at all of them. Memory is that of all processes of
the run together, as the kernel counts it (proportional set size: a page that two of them share is counted once), looked at
twice a second. Files lie in `--folder`, some 1.5 KB a document.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

RECIPE = """
name: scale
shard_rows: 50000
sources:
  - {name: texts, format: text, path: "texts/*.jsonl", fields: {text: text}, task: text, license: CC0-1.0}
stages:
  - dedup_exact
  - filter: dedup_minhash
    params: {min_words: 10}
"""
WORDS = 40  # a document; 36 shingles
PER_FILE = 250_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=10_000_000)
    parser.add_argument("--engine", default="local")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=None, help="where files go  [default: a temporary folder]")
    parser.add_argument("--quick", action="store_true", help="200,000 documents and 20,000")
    args = parser.parse_args()
    most = 200_000 if args.quick else args.samples
    rows = []
    for samples in (most // 10, most):
        home = Path(tempfile.mkdtemp(prefix="cuvee-scale-", dir=args.folder))
        try:
            rows.append(measure(home, samples, args.engine, args.workers))
            if samples == most:  # then a hundredth more of them
                write(home / "texts", samples // 100, first=samples // PER_FILE + 1, seed=8)
                rows.append(measure(home, samples + samples // 100, args.engine, args.workers, write_first=False))
        finally:
            shutil.rmtree(home, ignore_errors=True)
        for row in rows[-2:] if samples == most else rows:
            print(json.dumps(row), flush=True)
    small, large, grown = rows
    result = {
        "engine": args.engine,
        "workers": args.workers,
        "rows": rows,
        "growth": round(large["seconds"] / small["seconds"], 2),
        "growth_cpu": round(large["cpu_seconds"] / small["cpu_seconds"], 2),  # on a busy machine the fairer one
        "appended_share_of_time": round(grown["seconds"] / large["seconds"], 3),
        "appended_scored": grown["scored"],
        "growth_of_clustering": round(large["steps"]["cluster"] / max(small["steps"]["cluster"], 1e-9), 2),
    }
    print(json.dumps(result))


def measure(home: Path, samples: int, engine: str, workers: int, *, write_first: bool = True) -> dict[str, Any]:
    """Run the recipe on `samples` documents; return what came of it and what it took."""
    planted = write(home / "texts", samples) if write_first else (0, 0)
    (home / "recipe.yaml").write_text(RECIPE)
    command = [
        sys.executable, "-m", "cli", "run", str(home / "recipe.yaml"), "--data", str(home), "--store", str(home / "store"),
        "--engine", engine, "--workers", str(workers), "--json",
    ]  # fmt: skip
    started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    steps: dict[str, float] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        memory = Memory(process.pid)
        memory.start()
        out, err = process.communicate()
        memory.done.set()
    seconds, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        sys.exit(err[-3000:])
    found = json.loads(out)
    stamps = sorted((p.stat().st_mtime, p) for p in (home / "store" / "clusters").rglob("*.parquet"))
    last_score = max(p.stat().st_mtime for p in (home / "store" / "scores").rglob("*.parquet"))
    last_source = max(p.stat().st_mtime for p in (home / "store" / "sources").rglob("source.json"))
    began = time.time() - (time.monotonic() - started)
    steps["ingest"] = round(last_source - began, 1)
    steps["score"] = round(last_score - last_source, 1)
    steps["cluster"] = round(stamps[-1][0] - last_score, 1)
    steps["judge"] = round(seconds - (stamps[-1][0] - began), 1)
    return {
        "samples": samples,
        "planted_exact": planted[0],
        "planted_near": planted[1],
        "kept": found["counts"]["kept"],
        "dropped": found["counts"]["dropped"],
        "scored": found["work"]["samples_scored"],
        "seconds": round(seconds, 1),
        "cpu_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
        "steps": steps,
        "docs_per_s": round(samples / seconds),
        "peak_gib": round(memory.peak / 2**30, 2),
    }


class Memory(threading.Thread):
    """Watches what a process and its descendants take together."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid, self.peak, self.done = pid, 0, threading.Event()

    def run(self) -> None:
        while not self.done.wait(0.5):
            self.peak = max(self.peak, sum(_pss(p) for p in _tree(self._pid)))


def _tree(pid: int) -> list[int]:
    out = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            for child in task.read_text().split():
                out += _tree(int(child))
        except OSError:  # it ended meanwhile
            continue
    return out


def _pss(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def write(folder: Path, samples: int, *, first: int = 0, seed: int = 7) -> tuple[int, int]:
    """Write the documents as JSON lines; return how many exact and near copies are among them."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    vocabulary = np.asarray(["".join(rng.choice(list("aeioulnrstkm"), rng.integers(3, 9))) for _ in range(50_000)])
    exact = near = 0
    for number, begin in enumerate(range(0, samples, PER_FILE)):
        n = min(PER_FILE, samples - begin)
        words = rng.integers(0, len(vocabulary), (n, WORDS))
        kind = rng.random(n)
        # Copies of what stands within the 1,000 documents before: of originals, of copies, so that chains come about.
        of = np.maximum(np.arange(n) - rng.integers(1, 1000, n), 0)
        same, close = kind < 0.1, (kind >= 0.1) & (kind < 0.25)
        same[0] = close[0] = False
        # In the last three words: of 36 shingles 1 to 6 change, Jaccard 0.71 to 0.95.
        place, other = WORDS - rng.integers(1, 4, (n, 2)), rng.integers(0, len(vocabulary), (n, 2))
        for i in np.flatnonzero(same | close):
            words[i] = words[of[i]]
            if close[i]:
                words[i, place[i]] = other[i]
        exact, near = exact + int(same.sum()), near + int(close.sum())
        lines = [json.dumps({"text": " ".join(t)}) for t in vocabulary[words].tolist()]
        (folder / f"{first + number:04d}.jsonl").write_text("\n".join(lines) + "\n")
    return exact, near


if __name__ == "__main__":
    main()

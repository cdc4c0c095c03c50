"""What another bound costs on a finished run of N samples: `run` again, `what-if` and `plan`, as a user feels them.

    python benchmarks/rejudge.py [--samples 1000000] [--quick]

A real run (ingest, score, deduplicate, judge) over generated short texts first; then, per repeat, a bound that was not there
before. Whole commands, interpreter start included; `judge` is the part of `run` that decides and writes the new version.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

RECIPE = """
name: rejudge
shard_rows: 10000
sources:
  - {{name: texts, format: text, path: texts.jsonl, fields: {{text: text}}, task: text, license: CC0-1.0}}
stages:
  - filter: gopher_quality
    params: {{min_words: 5}}
    bounds: {{words: {{min: 8}}, mean_word_length: {{min: {bound}, max: 10}}, alpha_words: {{min: 0.8}}}}
  - filter: gopher_repetition
    params: {{min_words: 5}}
    bounds: {{top_2_gram: {{max: 0.5}}, duplicate_5_gram: {{max: 0.3}}}}
  - {{filter: gibberish, bounds: {{bits: {{max: 5.2}}}}}}
  - dedup_exact
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--quick", action="store_true", help="50,000 samples, two repeats")
    args = parser.parse_args()
    samples, repeats = (50_000, 2) if args.quick else (args.samples, 5)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        write(home / "texts.jsonl", samples)
        first, first_s = command(home, "run", bound="3.0")
        assert first["counts"]["rows"] == samples
        runs, judges, kept = [], [], set()
        for k in range(repeats):
            out, seconds = command(home, "run", bound=f"4.{k + 1}")
            assert out["work"]["samples_scored"] == 0
            runs.append(seconds)
            judges.append(out["work"]["judge_ms"] / 1000)
            kept.add(out["counts"]["kept"])
        assert len(kept) == repeats, "every bound keeps another number of samples"
        plan, plan_s = command(home, "plan", bound="4.9")
        assert plan["passes"]["samples"] == 0
        guesses = [
            command(home, "what-if", "--set", f"gopher_quality.mean_word_length.min=4.{k}5")[1] for k in range(repeats)
        ]
    result = {
        "samples": samples,
        "first_run_s": round(first_s, 1),
        "rerun_median_s": round(statistics.median(runs), 2),
        "rerun_judge_median_s": round(statistics.median(judges), 2),
        "what_if_median_s": round(statistics.median(guesses), 2),
        "plan_s": round(plan_s, 2),
        "plan_samples_to_score": plan["passes"]["samples"],
    }
    for key, value in result.items():
        print(f"{key:<24}{value:>12,}")
    print(json.dumps(result))


def command(home: Path, name: str, *more: str, bound: str = "") -> tuple[dict[str, object], float]:
    """Run a cuvee command; return its JSON and its seconds."""
    words = [sys.executable, "-m", "cli", name]
    if bound:
        (home / "recipe.yaml").write_text(RECIPE.format(bound=bound))
        words.append(str(home / "recipe.yaml"))
    started = time.perf_counter()
    done = subprocess.run([*words, *more, "--store", str(home / "store"), "--json"], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout), time.perf_counter() - started


def write(path: Path, samples: int) -> None:
    """Write texts of 5 to 40 words, a tenth of them copies of the one before."""
    rng = np.random.default_rng(0)
    words = np.array(["".join(rng.choice(list("etaoinshrdlucm"), n)) for n in rng.integers(2, 9, 5000)])
    with path.open("w") as f:
        text = ""
        for start in range(0, samples, 10_000):
            sizes = rng.integers(5, 40, min(10_000, samples - start))
            drawn = words[rng.integers(0, len(words), int(sizes.sum()))]
            ends = np.cumsum(sizes)
            for k, end in enumerate(ends):
                if k % 10 or not text:
                    text = " ".join(drawn[end - sizes[k] : end])
                f.write(json.dumps({"text": text}) + "\n")


if __name__ == "__main__":
    main()

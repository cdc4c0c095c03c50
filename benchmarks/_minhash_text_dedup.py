"""text-dedup's `minhash` command, 14 bands of 8: run by `minhash.py` with text-dedup's own Python.

    python _minhash_text_dedup.py run FULL TINY WORK REPEATS    # seconds over both folders, and the ids that are kept
    python _minhash_text_dedup.py sign FULL                     # documents/s of signatures alone, by processor time

Prints one JSON line. Every run is a process of its own, as the command is, and has its cache to itself.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path


def run(source, out):
    out.mkdir(parents=True)
    command = [
        sys.executable, "-m", "text_dedup.minhash", "--path", "json", "--data_files", str(source / "*.jsonl"), "--split", "train",
        "--cache_dir", str(out / "cache"), "--output", str(out / "kept"), "--column", "text",
        "--batch_size", "10000", "--num_proc", "2", "--ngram", "5", "--min_length", "5", "--num_perm", "112", "--b", "14",
        "--r", "8", "--hash_func", "xxh3",
    ]  # fmt: skip
    started = time.perf_counter()
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "HF_HOME": str(out / "hf")}
    )
    if done.returncode:
        print(done.stdout[-2000:], done.stderr[-4000:], file=sys.stderr)
        sys.exit(1)
    return time.perf_counter() - started


def main():
    mode, full = sys.argv[1], Path(sys.argv[2])
    if mode == "sign":
        import numpy as np
        from text_dedup.minhash import RNG, embed_func, xxh3_32hash

        texts = [json.loads(line)["text"] for p in sorted(full.glob("*.jsonl")) for line in p.open()][:4000]
        prime = np.uint64((1 << 61) - 1)
        options = {
            "num_perm": 112, "ngram_size": 5, "min_length": 5, "hashranges": [(i * 8, (i + 1) * 8) for i in range(14)],
            "permutations": (
                RNG.randint(1, prime, size=(112,), dtype=np.uint64), RNG.randint(0, prime, size=(112,), dtype=np.uint64)
            ),
            "hash_func": xxh3_32hash, "dtype": np.uint64, "max_hash": np.uint32((1 << 32) - 1), "modulo_prime": prime,
        }  # fmt: skip
        embed_func(texts[0], 0, **options)
        started = time.process_time()
        for i, text in enumerate(texts):
            embed_func(text, i, **options)
        print(json.dumps({"documents_per_s": {"signatures": len(texts) / (time.process_time() - started)}}))
        return
    import datasets

    tiny, work, repeats = Path(sys.argv[3]), Path(sys.argv[4]), int(sys.argv[5])
    run(tiny, work / "warm")
    times = {"tiny": [run(tiny, work / "tiny")], "full": [run(full, work / f"full{k}") for k in range(repeats)]}
    kept = datasets.load_from_disk(str(work / "full0" / "kept"))["id"]
    print(json.dumps(times | {"kept": list(kept), "how": "`python -m text_dedup.minhash`, num_proc 2, xxh3"}))


if __name__ == "__main__":
    main()

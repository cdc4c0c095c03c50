"""rensa's R-MinHash and its deduplicator, 14 bands of 8: run by `minhash.py` with rensa's own Python.

    python _minhash_rensa.py run FULL TINY WORK REPEATS    # seconds over both folders, and the ids that are kept
    python _minhash_rensa.py sign FULL    # documents/s of signatures by processor time, with Python's shingling and without

Prints one JSON line. rensa takes tokens: shingling is Python's. The deduplicator checks candidates by their signatures, at 0.7.
"""

import json
import re
import sys
import time
from pathlib import Path

WORD = re.compile(r"\w+")


def shingles(text):
    words = WORD.findall(text.lower())
    return [" ".join(words[i : i + 5]) for i in range(max(1, len(words) - 4))]


def read(folder):
    rows = [json.loads(line) for p in sorted(folder.glob("*.jsonl")) for line in p.open()]
    return [r["id"] for r in rows], [r["text"] for r in rows]


def run(folder):
    from rensa import RMinHashDeduplicator

    started = time.perf_counter()
    ids, texts = read(folder)
    index = RMinHashDeduplicator(threshold=0.7, num_perm=112, use_lsh=True, num_bands=14)
    flags = index.add_pairs((name, shingles(text)) for name, text in zip(ids, texts, strict=True))
    kept = [name for name, flag in zip(ids, flags, strict=True) if flag]
    return time.perf_counter() - started, kept


def main():
    mode, full = sys.argv[1], Path(sys.argv[2])
    if mode == "sign":
        from rensa import RMinHash

        texts = read(full)[1]
        rates = []
        for _ in range(3):
            cutting = signing = 0.0
            for k in range(0, len(texts), 1000):  # all shingles at once would measure the memory allocator
                started = time.process_time()
                sets = [shingles(text) for text in texts[k : k + 1000]]
                between = time.process_time()
                RMinHash.digest_matrix_from_token_sets(sets, num_perm=112, seed=1)
                cutting += between - started
                signing += time.process_time() - between
            rates.append((len(texts) / (cutting + signing), len(texts) / signing))
        whole, alone = max(rates)
        print(json.dumps({"documents_per_s": {"signatures": whole, "without shingling": alone}}))
        return
    tiny, repeats = Path(sys.argv[3]), int(sys.argv[5])
    run(tiny)
    small, whole = run(tiny), [run(full) for _ in range(repeats)]
    result = {"tiny": [small[0]], "full": [s for s, _ in whole], "kept": whole[0][1]}
    print(json.dumps(result | {"how": "RMinHashDeduplicator.add_pairs, one process"}))


if __name__ == "__main__":
    main()

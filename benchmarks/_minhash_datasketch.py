"""datasketch's MinHash and MinHashLSH, 14 bands of 8: run by `minhash.py` with datasketch's own Python.

    python _minhash_datasketch.py run FULL TINY WORK REPEATS    # seconds over both folders, and the ids that are kept
    python _minhash_datasketch.py sign FULL                     # documents/s of signatures alone, by processor time

Prints one JSON line. Signatures in two processes, the index in one: a document stays when no earlier one is in a common bucket.
"""

import json
import re
import sys
import time
from multiprocessing import Pool
from pathlib import Path

WORD = re.compile(r"\w+")


def shingles(text):
    words = WORD.findall(text.lower())
    return {" ".join(words[i : i + 5]).encode() for i in range(max(1, len(words) - 4))}


def sign(text):
    from datasketch import LeanMinHash, MinHash

    sketch = MinHash(num_perm=112, seed=1)
    sketch.update_batch(list(shingles(text)))
    return LeanMinHash(sketch)


def read(folder):
    rows = [json.loads(line) for p in sorted(folder.glob("*.jsonl")) for line in p.open()]
    return [r["id"] for r in rows], [r["text"] for r in rows]


def run(folder):
    from datasketch import MinHashLSH

    started = time.perf_counter()
    ids, texts = read(folder)
    with Pool(2) as pool:
        signatures = pool.map(sign, texts, chunksize=256)
    index = MinHashLSH(num_perm=112, params=(14, 8))
    kept = []
    for name, signature in zip(ids, signatures, strict=True):
        if not index.query(signature):
            kept.append(name)
        index.insert(name, signature)
    return time.perf_counter() - started, kept


def main():
    mode, full = sys.argv[1], Path(sys.argv[2])
    if mode == "sign":
        texts = read(full)[1][:4000]
        sign(texts[0])
        started = time.process_time()
        for text in texts:
            sign(text)
        print(json.dumps({"documents_per_s": {"signatures": len(texts) / (time.process_time() - started)}}))
        return
    tiny, repeats = Path(sys.argv[3]), int(sys.argv[5])
    run(tiny)
    small, whole = run(tiny), [run(full) for _ in range(repeats)]
    result = {"tiny": [small[0]], "full": [s for s, _ in whole], "kept": whole[0][1]}
    print(json.dumps(result | {"how": "MinHash in a Pool(2), MinHashLSH.query and insert"}))


if __name__ == "__main__":
    main()

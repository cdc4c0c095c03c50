"""Daft's `minhash`, 14 bands of 8, grouped by band and joined in Python: run by `minhash.py` with Daft's own Python.

    python _minhash_daft.py run FULL TINY WORK REPEATS    # seconds over both folders, and the ids that are kept
    python _minhash_daft.py sign FULL                     # documents/s of signatures by processor time, by hash function

Prints one JSON line. Daft has MinHash as an expression and no deduplication: bands, groups and components are the user's.
"""

import json
import sys
import time
from pathlib import Path


def normalised(column):
    return column.normalize(remove_punct=True, lowercase=True, nfd_unicode=True, white_space=True)


def run(folder):
    import daft
    from daft import col, lit

    started = time.perf_counter()
    frame = daft.read_json(str(folder / "*.jsonl"))
    signed = frame.select(
        col("id"),
        normalised(col("text")).minhash(num_hashes=112, ngram_size=5, seed=1, hash_function="murmurhash3").alias("m"),
    ).collect()
    groups = []
    for band in range(14):
        found = signed.select(col("id"), col("m").slice(band * 8, band * 8 + 8).hash().alias("band"))
        found = found.groupby("band").agg(col("id").list_agg().alias("ids"))
        groups += found.where(col("ids").list_count() > lit(1)).select("ids").to_pydict()["ids"]
    ids = signed.select("id").to_pydict()["id"]
    place = {name: k for k, name in enumerate(ids)}
    parent = list(range(len(ids)))

    def root(i):
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for group in groups:
        first = root(place[group[0]])
        for name in group[1:]:
            other = root(place[name])
            first, other = min(first, other), max(first, other)
            parent[other] = first
    kept = [name for k, name in enumerate(ids) if root(k) == k]
    return time.perf_counter() - started, kept


def main():
    mode, full = sys.argv[1], Path(sys.argv[2])
    if mode == "sign":
        import daft
        from daft import col

        texts = [json.loads(line)["text"] for p in sorted(full.glob("*.jsonl")) for line in p.open()]
        frame = daft.from_pydict({"text": texts}).collect()
        rates = {}
        for function in ("murmurhash3", "xxhash"):
            for name, column in (("as it is", col("text")), ("normalised", normalised(col("text")))):
                times = []
                for _ in range(4):
                    started = time.process_time()
                    frame.select(column.minhash(num_hashes=112, ngram_size=5, seed=1, hash_function=function)).collect()
                    times.append(time.process_time() - started)
                rates[f"{function}, {name}"] = len(texts) / min(times)
        print(json.dumps({"documents_per_s": rates}))
        return
    tiny, repeats = Path(sys.argv[3]), int(sys.argv[5])
    run(tiny)
    small, whole = run(tiny), [run(full) for _ in range(repeats)]
    result = {"tiny": [small[0]], "full": [s for s, _ in whole], "kept": whole[0][1]}
    print(json.dumps(result | {"how": "read_json, normalize, minhash, groupby per band; components in Python"}))


if __name__ == "__main__":
    main()

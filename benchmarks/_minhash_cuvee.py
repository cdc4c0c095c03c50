"""Cuvee's own run with `dedup_minhash` as its only stage: run by `minhash.py` in a process of its own, as the peers are.

    python _minhash_cuvee.py run FULL TINY WORK REPEATS PARAMS    # seconds over both folders, and the ids that are kept
    python _minhash_cuvee.py sign FULL                            # documents/s of signatures by processor time

Prints one JSON line. JSON lines to a written ledger with two workers: ingest, score, cluster, judge.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from catalog.schema import SAMPLE
from catalog.store import Store
from curate import run as runs
from curate.engines import local
from curate.recipe import parse
from curate.score import cut
from filters import base
from filters.shared import minhash
from filters.shared.text import message_tokens


def run(folder, store, engine, params):
    source = {"name": "docs", "format": "text", "path": str(folder), "task": "text"}
    stages = [{"filter": "dedup_minhash", "params": params}]
    recipe = parse({"name": "bench", "sources": [source], "stages": stages}, "the benchmark")
    steps = {}

    def progress(label, done, total):  # when a step last said something is when it ended
        steps[label.split(" ")[0]] = time.perf_counter()

    started = time.perf_counter()
    dataset = runs.run(recipe, store, engine=engine, data=folder, progress=progress).dataset
    ended = time.perf_counter()
    marks = [started, steps["ingest"], steps["score"], steps["cluster"], ended]
    seconds = dict(zip(("ingest", "score", "cluster", "judge"), np.diff(marks).tolist(), strict=True))
    ids = store.kept(dataset, "docs")["id"].to_pylist()
    return ended - started, seconds, ids


def samples(texts):
    """Return SAMPLE of texts, as an ingested source has them."""
    n = len(texts)
    said = pa.StructArray.from_arrays([pa.array(["assistant"] * n), pa.array(texts)], names=["role", "content"])
    columns = {
        "id": pa.array([f"docs/{i}" for i in range(n)]),
        "messages": pa.ListArray.from_arrays(pa.array(range(n + 1), pa.int32()), said),
        "media": pa.array([[]] * n, SAMPLE.field("media").type),
        "boxes": pa.array([[]] * n, SAMPLE.field("boxes").type),
    }
    whole = {f.name: columns.get(f.name, pa.array([""] * n)) for f in SAMPLE}
    return pa.table([whole[f.name].cast(f.type) for f in SAMPLE], schema=SAMPLE)


def sign(texts):
    """Return documents/s on one core: the filter on batches as a run cuts them, and its kernel on words that are there."""
    table = samples(texts)
    flt = base.load("dedup_minhash", {"min_words": 1})
    tokens = [message_tokens(b) for b in cut(table)]
    wanted = [np.ones(len(t.first) - 1, bool) for t in tokens]
    rates = {}
    for name, work in (
        ("signatures", lambda: [flt.score(b) for b in cut(table)]),
        ("words alone", lambda: [message_tokens(b) for b in cut(table)]),
        (
            "minima alone",
            lambda: [minhash.minima(t.hashes, t.first, w, 5, 112) for t, w in zip(tokens, wanted, strict=True)],
        ),
    ):
        times = []
        for _ in range(4):
            started = time.process_time()
            work()
            times.append(time.process_time() - started)
        rates[name] = len(texts) / min(times)
    return rates


def main():
    mode, full = sys.argv[1], Path(sys.argv[2])
    if mode == "sign":
        texts = [json.loads(line)["text"] for p in sorted(full.glob("*.jsonl")) for line in p.open()]
        print(json.dumps({"documents_per_s": sign(texts)}))
        return
    tiny, work, repeats, params = Path(sys.argv[3]), Path(sys.argv[4]), int(sys.argv[5]), json.loads(sys.argv[6])
    engine = local.start(workers=2, address=None)
    try:
        run(tiny, Store(work / "warm"), engine, params)
        small = run(tiny, Store(work / "tiny"), engine, params)
        whole = [run(full, Store(work / f"full{k}"), engine, params) for k in range(repeats)]
    finally:
        engine.close()
    result = {"tiny": [small[0]], "full": [s for s, _, _ in whole], "steps": [s for _, s, _ in whole]}
    print(json.dumps(result | {"kept": whole[0][2], "how": "local engine, 2 workers, JSON lines to ledger"}))


if __name__ == "__main__":
    main()

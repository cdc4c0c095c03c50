"""How long `what-if` takes on a finished run of N samples, as a user feels it: the whole command, interpreter start included.

    python benchmarks/what_if.py [--samples 100000] [--quick]

The scores are random numbers in the files where a run would have stored them; deciding, the ledger and the command are real.
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
import pyarrow as pa

from catalog.digests import sha256
from catalog.schema import REJECT, SAMPLE
from catalog.shards import write_table
from catalog.store import SourceVersion, Store
from curate.decide import decide
from curate.dedup.find import FOUND, Dedup
from curate.engines.choose import choose
from curate.ingest import SourceSpec
from curate.recipe import Recipe, StageSpec
from filters import base

STAGES = ("image_size", "aspect_ratio", "image_entropy", "blur", "gopher_quality", "gopher_repetition", "dedup_minhash")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--quick", action="store_true", help="10,000 samples, three repeats")
    args = parser.parse_args()
    samples, repeats = (10_000, 3) if args.quick else (args.samples, 7)
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        started = time.perf_counter()
        ref = build(store, samples)
        decided = time.perf_counter() - started
        command = [sys.executable, "-m", "cli", "what-if", ref, "--set", "blur.min=0.5", "--store", folder, "--json"]
        times = []
        for _ in range(repeats):
            started = time.perf_counter()
            out = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            times.append(time.perf_counter() - started)
        assert out["samples"] == samples
    result = {
        "samples": samples,
        "build_s": round(decided, 2),
        "what_if_median_s": round(statistics.median(times), 3),
        "what_if_max_s": round(max(times), 3),
    }
    print(f"{samples:,} samples: what-if {result['what_if_median_s']} s median, {result['what_if_max_s']} s at most")
    print(json.dumps(result))


def build(store: Store, samples: int, rows: int = 1000) -> str:
    """Write a source, its scores and the dataset version decided from them."""
    rng = np.random.default_rng(0)
    spec = SourceSpec(name="s", format="text", params={"path": "x"}, task="caption")
    shards = samples // rows
    source = SourceVersion(
        name="s", digest=sha256(b"s"), layout=sha256(b"l"), role="train", license="unknown", shards=shards,
        shard_rows=rows, rows=samples, samples=samples, rejects=0, rejected={}, tasks={"caption": samples}, media={},
        spec={},
    )  # fmt: skip
    folder = store.source_dir("s", source.digest)
    stages = [(StageSpec(filter=n, bounds=_bounds(n)), base.load(n)) for n in STAGES]
    for shard in range(shards):
        ids = [f"s/x.jsonl:{i}" for i in range(shard * rows, (shard + 1) * rows)]
        columns = {
            "id": ids, "digest": [sha256(i.encode()) for i in ids], "source": ["s"] * rows, "task": ["caption"] * rows,
            "license": ["unknown"] * rows, "messages": [[]] * rows, "media": [[]] * rows, "boxes": [[]] * rows,
            "meta": ["{}"] * rows,
        }  # fmt: skip
        write_table(folder / "samples" / f"{shard:05d}.parquet", pa.table(columns, schema=SAMPLE))
        write_table(folder / "rejects" / f"{shard:05d}.parquet", REJECT.empty_table())
        for _, flt in stages:
            scores = {n: _random(rng, t, rows) for n, t in flt.scores.items()}
            write_table(store.score_path(flt.name, flt.fingerprint, source.digest, shard), pa.table(scores))
    store.save_source(source, folder)
    for stage, flt in stages:
        if flt.cluster:
            members = [f"s/x.jsonl:{i}" for i in range(0, samples, 5)]
            pairs = [min(members[i // 2 * 2 : i // 2 * 2 + 2]) for i in range(len(members))]
            found = {"id": members, "cluster": pairs, "similarity": [1.0] * len(members)}
            named = {f.name: (st, f) for st, f in stages}
            where = Dedup(store=store, stage=stage, flt=flt, stages=named, members=[source]).path
            write_table(where, pa.table(found, schema=FOUND))
    recipe = Recipe(name="bench", sources=(spec,), stages=tuple(s for s, _ in stages), shard_rows=rows)
    volatile = {"created_at": "now", "started": time.monotonic()}
    engine = choose("local", workers=1, address=None)
    return decide(recipe, store, stages, {"s": source}, engine=engine, progress=lambda *_: None, volatile=volatile).ref


def _bounds(name: str) -> dict[str, dict[str, float]]:
    return {s: {"low": 0.02} for s, t in base.load(name).scores.items() if pa.types.is_floating(t)}


def _random(rng: np.random.Generator, kind: pa.DataType, rows: int) -> pa.Array:
    if pa.types.is_floating(kind):
        return pa.array(rng.random(rows), kind)
    if pa.types.is_integer(kind):
        return pa.array(rng.integers(0, 100, rows), kind)
    return pa.array([None] * rows, kind)


if __name__ == "__main__":
    main()

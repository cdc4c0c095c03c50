"""Semantic deduplication of N vectors on one CPU thread: seconds, peak memory of the process, recall against brute force.

    python benchmarks/semantic.py [--vectors 1000000] [--width 512] [--epsilon 0.05] [--quick]

Vectors lie as those of a model do: topics of very different sizes around a common mean, and a tenth of them copies of others at
cosines of 0.95 to 1. A second, smaller set has no topics. Three ways, each in a process of its own that reads the signatures
from Parquet:
- `cuvee`: the filter's global half (`probes: 4`);
- `cuvee, probes 1`: the same without a look across the borders of k-means clusters, as in the paper;
- `plain`: the paper's algorithm written down directly over faiss and numpy (all vectors float32, all products of a cluster at
  once), with the same centroids.
A sample of the vectors is compared with all others by brute force. `recall`: of the pairs that this finds, how many do not both
survive. `true`: of what was dropped, how much is similar to the survivor that is named (`plain`: to any). Where faiss has a GPU,
the same on it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

GIB = 2**30
SHARD = 50_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--epsilon", type=float, default=0.05)
    parser.add_argument("--sample", type=int, default=1000, help="vectors that are compared with all by brute force")
    parser.add_argument("--quick", action="store_true", help="50,000 vectors")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)  # how, folder, threads, epsilon
    args = parser.parse_args()
    if args.child:
        how, folder, threads, epsilon = args.child
        print(json.dumps(child(how, Path(folder), int(threads), float(epsilon))))
        return
    n = 50_000 if args.quick else args.vectors
    result: dict[str, object] = {"width": args.width, "epsilon": args.epsilon}
    with tempfile.TemporaryDirectory() as home:
        for name, size in (("topics", n), ("no topics", n // 5)):
            folder = Path(home) / name.replace(" ", "_")
            make(folder, size, args.width, topics=size // 100 if name == "topics" else 0)
            result[name] = measure(folder, size, args.sample, args.epsilon, name)
    print(json.dumps(result))


def measure(folder: Path, n: int, sample: int, epsilon: float, name: str) -> dict[str, object]:
    """Run every way over one set of vectors; print a table."""
    runs = {how: call(how, folder, 1, epsilon) for how in ("cuvee", "cuvee, probes 1", "plain")}
    same = (
        digest(folder, "cuvee") == digest(folder, "cuvee", call("cuvee", folder, 2, epsilon)) if n <= 200_000 else None
    )
    if runs["cuvee"]["gpus"]:
        runs["cuvee, gpu"] = call("cuvee, gpu", folder, 1, epsilon)
    pairs = brute(folder, sample, epsilon)
    print(f"{name}: {n:,} vectors, epsilon {epsilon}, {len(pairs):,} similar pairs of {sample:,} sampled vectors")
    print(f"{'':<18}{'seconds':>9}{'CPU s':>8}{'vectors/s':>11}{'peak GiB':>10}{'dropped':>10}{'recall':>9}{'true':>7}")
    out: dict[str, object] = {"vectors": n, "pairs": len(pairs), "same_bytes_with_two_threads": same}
    for how, run in runs.items():
        gone, centre = outcome(folder, how, n)
        run["recall"] = round(float((gone[pairs[:, 0]] | gone[pairs[:, 1]]).mean()), 5) if len(pairs) else None
        run["true"] = true(folder, gone, centre, pairs, epsilon)
        run["dropped"] = int(gone.sum())
        rate = n / float(str(run["seconds"]))
        print(
            f"{how:<18}{run['seconds']:>9}{run['cpu_s']:>8}{rate:>11,.0f}{run['peak_gib']:>10}{run['dropped']:>10,}"
            f"{run['recall']:>9}{run['true']:>7}"
        )
        out[how] = run
    ours, theirs = outcome(folder, "cuvee, probes 1", n)[0], outcome(folder, "plain", n)[0]
    out["dropped_by_plain_too"] = round(float(theirs[ours].mean()), 5)
    out["plain_drops_more"] = round(float((theirs & ~ours).sum() / max(theirs.sum(), 1)), 5)
    for how in ("cuvee", "cuvee, probes 1"):
        out[f"plain_cpu_over_{how}"] = round(float(str(runs["plain"]["cpu_s"])) / float(str(runs[how]["cpu_s"])), 2)
    print(
        f"of what probes 1 drops plain drops {out['dropped_by_plain_too']:.2%}; of what plain drops "
        f"{out['plain_drops_more']:.2%} is similar to dropped samples only, and kept by us"
    )
    return out


# -- data --------------------------------------------------------------------------------------------------------------


def make(folder: Path, n: int, width: int, topics: int) -> None:
    """Write the signatures of `n` vectors, a tenth of them copies, in shards."""
    from filters.shared import vectors

    rng = np.random.default_rng(7)

    def unit(x: np.ndarray) -> np.ndarray:
        return x / np.linalg.norm(x, axis=1)[:, None]  # type: ignore[no-any-return]

    def noise(k: int) -> np.ndarray:
        return unit(rng.standard_normal((k, width), dtype=np.float32))

    mean = noise(1)
    centre = noise(max(topics, 1))
    share = 1 / np.arange(1, len(centre) + 1) ** 0.7
    first = n - n // 10
    of = rng.choice(len(centre), first, p=share / share.sum())
    out = np.empty((n, width), np.float16)
    for a in range(0, first, SHARD):
        z = noise(len(of[a : a + SHARD]))
        x = 0.6 * mean + (0.6 * centre[of[a : a + SHARD]] + 0.75 * z if topics else z)
        out[a : a + len(z)] = unit(x)
    source = rng.integers(0, first, n - first)
    cosine = rng.uniform(0.95, 1, n - first).astype(np.float32)
    for a in range(0, n - first, SHARD):
        x = unit(out[source[a : a + SHARD]].astype(np.float32))
        c = cosine[a : a + SHARD, None]
        z = noise(len(x))
        out[first + a : first + a + len(x)] = c * x + np.sqrt(1 - c * c) * unit(z - (z * x).sum(1)[:, None] * x)
    folder.mkdir(parents=True)
    np.save(folder / "vectors.npy", out)
    ids = np.char.add("source/", np.char.zfill(rng.permutation(n).astype(str), 8))
    for k, a in enumerate(range(0, n, SHARD)):
        part = out[a : a + SHARD]
        signed = vectors.pack(
            len(part), vectors.Vectors.of(np.arange(len(part)), part), vectors.NONE, np.ones(len(part), bool)
        )
        pq.write_table(pa.table({"id": ids[a : a + SHARD], "vectors": signed}), folder / f"{k:05d}.parquet")
    np.save(folder / "ids.npy", ids)


# -- the ways ----------------------------------------------------------------------------------------------------------


def call(how: str, folder: Path, threads: int, epsilon: float) -> dict[str, object]:
    """Run one way in a process of its own."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "POLARS_MAX_THREADS")
    env = {**os.environ, **dict.fromkeys(names, str(threads)), "PYTHONPATH": str(Path(__file__).parent.parent)}
    words = [sys.executable, __file__, "--child", how, str(folder), str(threads), str(epsilon)]
    done = subprocess.run(words, env=env, stdout=subprocess.PIPE, check=True, text=True)
    found: dict[str, object] = json.loads(done.stdout)
    return found


def child(how: str, folder: Path, threads: int, epsilon: float) -> dict[str, object]:
    """Read the signatures, deduplicate, write the outcome; return seconds and peak memory."""
    from filters.shared import device

    card = device.gpus()
    if not how.endswith("gpu"):
        device.gpus = lambda: 0
    warm(how)
    begun = time.perf_counter()
    files = sorted(folder.glob("*.parquet"))
    files = [f for f in files if f.stem.isdigit()]
    table = pa.concat_tables([pq.read_table(f) for f in files]).combine_chunks()
    read, worked = time.perf_counter(), time.process_time()
    out = plain(table, epsilon) if how == "plain" else ours(table, epsilon, 1 if how.endswith("probes 1") else 4)
    ended, rested = time.perf_counter(), time.process_time()
    pq.write_table(out, folder / f"{how}.{threads}.out")
    return {
        "seconds": round(ended - read, 1),
        "cpu_s": round(rested - worked, 1),
        "read_s": round(read - begun, 1),
        "peak_gib": round(peak() / GIB, 2),
        "gpus": card,
    }


def warm(how: str) -> None:
    """Compile kernels first: it is done once per machine, not once per run."""
    from filters.shared import vectors

    x = np.random.default_rng(0).normal(size=(300, 8))
    x[150:] = x[:150]
    signed = vectors.pack(300, vectors.Vectors.of(np.arange(300), x), vectors.NONE, np.ones(300, bool))
    ours(pa.table({"id": [str(k) for k in range(300)], "vectors": signed}), 0.1, 4)


def ours(table: pa.Table, epsilon: float, probes: int) -> pa.Table:
    from filters.base import load

    cluster = load("dedup_semantic", {"epsilon": epsilon, "probes": probes, "pair": "image"}).cluster
    assert cluster is not None
    return cluster(table)


def plain(table: pa.Table, epsilon: float) -> pa.Table:
    """SemDeDup (arXiv 2303.09540, section 3), keep hard, as it reads: returns the ids that are dropped."""
    import faiss

    from filters import dedup_semantic as d
    from filters.shared import centroids
    from filters.shared.ranks import drawn
    from filters.shared.vectors import unpack

    table = table.take(pa.compute.sort_indices(table["id"]))
    known = unpack(table["vectors"])
    n, (_, width, _) = table.num_rows, known.heads[0].tolist()
    x = known.take(np.arange(n), 1, width, 0)
    k = round(2 * n**0.5)
    some = np.sort(np.argsort(drawn(table["id"], 0), kind="stable")[: d.POINTS * k])
    centres = centroids.fit(x[some], k, 0, d.ROUNDS, d.POINTS)
    index = faiss.IndexFlatIP(width)
    index.add(centres)
    cosine, at = (a[:, 0] for a in index.search(x, 1))
    gone = np.zeros(n, bool)
    for c in range(k):
        mine = np.flatnonzero(at == c)
        mine = mine[np.argsort(cosine[mine], kind="stable")]
        y = x[mine]
        gone[mine] = np.triu(y @ y.T, 1).max(0, initial=0) > 1 - epsilon
    return pa.table({"id": table["id"].filter(pa.array(gone))})


def peak() -> int:
    """Return the most memory that this process has held, in bytes (ru_maxrss counts that of the parent before exec, too)."""
    line = next(s for s in Path("/proc/self/status").read_text().splitlines() if s.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


# -- truth -------------------------------------------------------------------------------------------------------------


def outcome(folder: Path, how: str, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which vectors were dropped, and for which (-1: not said), in the order in which they were made."""
    out = pq.read_table(folder / f"{how}.1.out")
    ids = np.load(folder / "ids.npy")
    order = np.argsort(ids)

    def place(names: pa.ChunkedArray) -> np.ndarray:
        return order[np.searchsorted(ids[order], np.asarray(names.to_pylist(), ids.dtype))]  # type: ignore[no-any-return]

    gone, centre = np.zeros(n, bool), np.full(n, -1)
    at = place(out["id"])
    if "preference" not in out.column_names:
        gone[at] = True
        return gone, centre
    rank, cluster = -np.asarray(out["preference"]), place(out["cluster"])
    head = np.full(n, -1)
    head[cluster[rank == 0]] = at[rank == 0]
    gone[at[rank > 0]] = True
    centre[at] = head[cluster]
    return gone, centre


def digest(folder: Path, how: str, run: object = None) -> object:
    """Return the outcome of a way as bytes; with `run`, that with two threads."""
    return pq.read_table(folder / f"{how}.{1 if run is None else 2}.out").to_pydict()


def exact(folder: Path) -> np.ndarray:
    return np.load(folder / "vectors.npy", mmap_mode="r")  # type: ignore[no-any-return]


def unit32(x: np.ndarray) -> np.ndarray:
    y = x.astype(np.float32)
    return y / np.linalg.norm(y, axis=1)[:, None]  # type: ignore[no-any-return]


def brute(folder: Path, sample: int, epsilon: float) -> np.ndarray:
    """Return all similar pairs (sampled vector, any vector); half of the sample are planted copies."""
    x = exact(folder)
    rng = np.random.default_rng(3)
    first = len(x) - len(x) // 10
    some = np.concatenate(
        [rng.choice(first, sample // 2, False), rng.choice(len(x) - first, sample // 2, False) + first]
    )
    q = unit32(x[np.sort(some)])
    found = []
    for a in range(0, len(x), SHARD):
        one, two = np.nonzero(q @ unit32(x[a : a + SHARD]).T >= 1 - epsilon)
        found.append(np.stack([np.sort(some)[one], a + two], 1))
    pairs = np.concatenate(found)
    return pairs[pairs[:, 0] != pairs[:, 1]]  # type: ignore[no-any-return]


def true(folder: Path, gone: np.ndarray, centre: np.ndarray, pairs: np.ndarray, epsilon: float) -> float | None:
    """Return the share of the dropped that are similar to a survivor: the one that is named, or, where none is, any."""
    x = exact(folder)
    if (centre >= 0).any():
        rows = np.flatnonzero(gone)
        rows = rows[:: max(1, len(rows) // 20_000)]
        y, z = (unit32(x[r]).astype(np.float64) for r in (rows, centre[rows]))
        return round(float(((y * z).sum(1) >= 1 - epsilon - 1e-4).mean() * (~gone[centre[rows]]).mean()), 4)
    sampled = np.unique(pairs[:, 0])
    dropped = sampled[gone[sampled]]
    saved = np.unique(pairs[~gone[pairs[:, 1]], 0])
    return round(float(np.isin(dropped, saved).mean()), 4) if len(dropped) else None


if __name__ == "__main__":
    main()

"""Image filters against decoding alone, and against CleanVision on the same checks.

    python benchmarks/image_filters.py [--quick] [--images 400] [--no-peer]

Decoding alone is what Pillow takes to bring the same JPEGs, read from the same tar, into memory
(`Image.open(..).load()`; "arrays": and into a numpy array). The filters run as in a scoring pass
(`curate.score.score_table`): reading, decoding and every filter that needs pixels and no model. Both run in the same worker
processes, in turn, all workers at a time, after a turn that is not counted (compiling). Every turn has fresh processes,
because Pillow's own rate differs between them by a third and more, with where `malloc` puts its row buffer
(docs/results/image_filters.md). The ratio is the median of the turns' ratios; the least and the largest are given too.
"of CPU" is the same ratio of the CPU time that the workers spent, which other work on the machine disturbs less; "of fast"
that of the median for the filters over the least of the turns' for decoding: against a process in which Pillow is fast.

CleanVision gets the same files in a folder and an environment of its own (`benchmarks/peers.py`), with as many
processes; its time is that of `find_issues` for dark, light, odd aspect ratio, low information, blurry, greyscale, odd
size and duplicates, ours that of the filters that measure those, clusters of duplicates included.

Pictures: JPEGs under `../shared/data` where it is there; generated scenes, pages and charts otherwise.
"""

import argparse
import contextlib
import functools
import hashlib
import io
import json
import math
import multiprocessing
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from peers import python
from PIL import Image, ImageFilter

from catalog.schema import SAMPLE
from catalog.shards import MediaReader, TarWriter
from curate.score import score_table
from filters import base

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
PIXELS = (
    "image_entropy", "brightness", "contrast", "greyscale", "blur", "blockiness", "border", "overlay", "text_area", "dedup_phash",
)  # fmt: skip
SIZES = ("image_size", "aspect_ratio", "image_bytes", "image_tokens")
CHECKS = ("image_entropy", "brightness", "greyscale", "blur", "aspect_ratio", "image_size", "dedup_phash")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=400, help="images per set")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="128 images per set, three turns")
    parser.add_argument("--no-peer", action="store_true", help="without CleanVision")
    args = parser.parse_args()
    images, turns = (128, 3) if args.quick else (args.images, args.turns)
    result: dict[str, Any] = {"images": images, "turns": turns, "cores": os.cpu_count(), "sets": {}}
    print(
        f"{'set':<16} {'pixels':>9} {'workers':>7} {'decode/s':>9} {'filters/s':>9} {'ratio':>6} {'from to':>11} "
        f"{'of arrays':>9} {'of CPU':>6} {'of fast':>7} {'us CPU: filters':>15} {'decode':>6} {'from to':>12}"
    )
    with tempfile.TemporaryDirectory() as folder:
        for name, found in sets().items():
            root = Path(folder) / name
            pixels = write(root, found, images)
            for workers in (1, 2):
                got = compare(root, images, workers, turns)
                result["sets"][f"{name}/{workers}"] = {"pixels": pixels, **got}
                print(
                    f"{name:<16} {pixels:>9,} {workers:>7} {got['decode']:>9.0f} {got['filters']:>9.0f} {got['ratio']:>6.2f} "
                    f"{got['ratio_least']:>6.2f}{got['ratio_most']:>5.2f} {got['ratio_arrays']:>9.2f} "
                    f"{got['ratio_cpu']:>6.2f} {got['ratio_fast']:>7.2f} {got['cpu_filters']:>15.0f} {got['cpu_decode']:>6.0f} "
                    f"{got['cpu_decode_least']:>6.0f}{got['cpu_decode_most']:>6.0f}",
                    flush=True,
                )
        if not args.no_peer:
            result["cleanvision"] = against_cleanvision(Path(folder), images, turns)
    print(json.dumps(result))


# -- pictures ----------------------------------------------------------------------------------------------------------


def sets() -> dict[str, list[bytes]]:
    """Return sets of JPEGs by name."""
    found: dict[str, list[bytes]] = {}
    if DATA.exists():
        found["shop 192"] = _files("grocery_store/**/*.jpg", 13)
        found["food 512"] = _files("based_cooking/**/*.jpg", 1)
        web = _tar(DATA / "webimage_cc12m" / "cc12m-train-0000.tar")
        found["web 512"] = web
        found["web 512x512"] = [_resized(b, 512, 512) for b in web]
        found["web 1024"] = [_resized(b, 1024, 768) for b in web]
        found["receipts"] = _files("sroie_receipts/**/*.jpg", 1)
    else:
        found["made 512x512"] = [_resized(b, 512, 512) for b in made(64)]
        found["made 1024"] = [_resized(b, 1024, 768) for b in made(32)]
    return found


def _files(pattern: str, step: int) -> list[bytes]:
    return [p.read_bytes() for p in sorted(DATA.glob(pattern))[::step]]


def _tar(path: Path) -> list[bytes]:
    with tarfile.open(path) as tar:
        members = [m for m in tar if m.name.endswith((".jpg", ".jpeg"))]
        return [tar.extractfile(m).read() for m in members]  # type: ignore[union-attr]


def _resized(data: bytes, width: int, height: int) -> bytes:
    out = io.BytesIO()
    Image.open(io.BytesIO(data)).convert("RGB").resize((width, height), Image.Resampling.BICUBIC).save(
        out, "JPEG", quality=90
    )
    return out.getvalue()


def made(n: int) -> list[bytes]:
    """Return generated pictures with the grain of a photo."""
    from curate.synth import charts, documents, scenes
    from curate.synth.item import stream

    out = []
    for k in range(n):
        make = (scenes.caption, charts.question, documents.item)[k % 3]
        picture = np.asarray(make(stream("bench", k)).draw().convert("RGB"), np.float64)  # type: ignore[misc]
        grain = np.random.default_rng(k).normal(0, 6, picture.shape)
        data = io.BytesIO()
        Image.fromarray((picture + grain).clip(0, 255).astype(np.uint8)).save(data, "JPEG", quality=92)
        out.append(data.getvalue())
    return out


def spoiled(pictures: list[bytes]) -> list[bytes]:
    """Return the pictures, every other one with one of eight defects, so that each check has something to find."""
    out = []
    for k, data in enumerate(pictures):
        image = Image.open(io.BytesIO(data)).convert("RGB")
        defects: tuple[Callable[[], Image.Image], ...] = (
            lambda image=image, k=k: image.point(lambda v: v * (0.1 + k % 32 / 64)),  # dark, more or less
            lambda image=image: image.filter(ImageFilter.GaussianBlur(max(image.size) / 64)),
            lambda image=image: image.convert("L"),
            lambda image=image: image.point(lambda v: 245 + v / 26),
            lambda image=image: Image.new("RGB", image.size, (90, 120, 60)),
            lambda image=image: image.crop((0, 0, image.width, max(image.height // 5, 1))),
            lambda image=image: image.resize((image.width * 3 // 4, image.height * 3 // 4)),
            lambda image=image: image.filter(ImageFilter.GaussianBlur(max(image.size) / 200)),
        )
        if k % 2:
            made = io.BytesIO()
            defects[k // 2 % 8]().save(made, "JPEG", quality=85)
            out.append(made.getvalue())
            if k // 2 % 8 == 6:
                out.append(data)  # the original of the smaller copy
        else:
            out.append(data)
    return out


def write(root: Path, found: list[bytes], n: int) -> int:
    """Write `n` images, going round `found`, as two shards of samples with their tars; return the mean number of
    pixels."""
    (root / "media").mkdir(parents=True)
    total = 0
    for shard in range(2):
        rows = []
        with (root / "media" / f"{shard}.tar").open("wb") as f:
            tar = TarWriter(f)
            for k in range(shard, n, 2):
                data = found[k % len(found)]
                width, height = Image.open(io.BytesIO(data)).size
                total += width * height
                offset, size = tar.add(f"{k:05d}.jpg", data)
                # A digest of its own for every image: equal ones would be decoded once.
                medium = {
                    "kind": "image", "digest": hashlib.sha256(data + k.to_bytes(4, "big")).hexdigest(), "mime": "image/jpeg",
                    "width": width, "height": height, "shard": f"media/{shard}.tar", "offset": offset, "size": size,
                }  # fmt: skip
                messages = [{"role": "user", "content": "<image>"}, {"role": "assistant", "content": f"picture {k}"}]
                rows.append(
                    {"id": f"s/{k:05d}", "digest": str(k), "source": "s", "task": "caption", "license": "unknown",
                     "messages": messages, "media": [medium], "boxes": [], "meta": "{}"}
                )  # fmt: skip
            tar.close()
        with pa.OSFile(str(root / f"{shard}.arrow"), "wb") as sink, pa.ipc.new_file(sink, SAMPLE) as out:
            out.write_batch(pa.RecordBatch.from_pylist(rows, SAMPLE))
    return total // n


# -- workers -----------------------------------------------------------------------------------------------------------


def _table(root: Path, shard: int) -> pa.Table:
    with pa.OSFile(str(root / f"{shard}.arrow")) as f:
        return pa.ipc.open_file(f).read_all()


def decode_all(table: pa.Table, reader: MediaReader, *, arrays: bool) -> None:
    media = table.combine_chunks()["media"].chunk(0).values
    columns = (media.field(name).to_pylist() for name in ("shard", "offset", "size"))
    for shard, offset, size in zip(*columns, strict=True):
        image = Image.open(io.BytesIO(reader.read(shard, offset, size)))
        if arrays:
            np.asarray(image.convert("RGB") if image.mode != "RGB" else image)
        else:
            image.load()


def worker(root: Path, shards: list[int], orders: Connection) -> None:
    """Do what the parent says, again and again, and say when it is done."""
    tables = [_table(root, s) for s in shards]
    every = [base.load(n) for n in (*PIXELS, *SIZES)]
    checks = [base.load(n) for n in CHECKS]
    with MediaReader(root) as reader:
        jobs: dict[str, Callable[[pa.Table], object]] = {
            "decode": lambda t: decode_all(t, reader, arrays=False),
            "arrays": lambda t: decode_all(t, reader, arrays=True),
            "filters": lambda t: score_table(t, every, reader),
            "checks": lambda t: score_table(t, checks, reader),
        }
        orders.send("ready")
        while (order := orders.recv()) != "end":
            started = time.process_time()
            out = [jobs[order](t) for t in tables]
            spent = time.process_time() - started
            orders.send((spent, [[p.to_pylist() for p in parts] for parts in out] if order == "checks" else None))


@contextlib.contextmanager
def workers_of(root: Path, n: int) -> Iterator[Callable[[str], tuple[float, float, list[Any]]]]:
    """Yield a function that has all workers do one thing and returns the seconds it took, the CPU seconds that all of them
    spent, and what they answered."""
    for name in ("OMP_NUM_THREADS", "POLARS_MAX_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = "1"  # as in the local engine: one thread per worker
    spawn = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    for k in range(n):
        mine, theirs = spawn.Pipe()
        process = spawn.Process(target=worker, args=(root, list(range(k, 2, n)), theirs))
        process.start()
        pipes.append(mine)
        processes.append(process)
    for pipe in pipes:
        pipe.recv()

    def order(what: str) -> tuple[float, float, list[Any]]:
        started = time.perf_counter()
        for pipe in pipes:
            pipe.send(what)
        answers = [pipe.recv() for pipe in pipes]
        return time.perf_counter() - started, sum(spent for spent, _ in answers), [found for _, found in answers]

    yield order
    for pipe, process in zip(pipes, processes, strict=True):
        pipe.send("end")
        process.join()


def compare(root: Path, images: int, workers: int, turns: int) -> dict[str, float]:
    """Return images a second and the ratios: medians over `turns` turns, each in fresh processes."""
    rates: dict[str, list[float]] = {what: [] for what in ("decode", "filters", "arrays")}
    spent: dict[str, list[float]] = {what: [] for what in rates}  # microseconds of a CPU per image
    for _ in range(turns):
        with workers_of(root, workers) as order:
            for what in rates:
                order(what)
            rounds = [{what: order(what)[:2] for what in rates} for _ in range(3)]
        for what, found in rates.items():
            found.append(images / statistics.median(r[what][0] for r in rounds))
            spent[what].append(1e6 / images * statistics.median(r[what][1] for r in rounds))
    ratio, arrays = ([f / d for f, d in zip(rates["filters"], rates[of], strict=True)] for of in ("decode", "arrays"))
    cpu = [d / f for f, d in zip(spent["filters"], spent["decode"], strict=True)]
    return {
        **{what: round(statistics.median(found), 1) for what, found in rates.items()},
        "ratio": round(statistics.median(ratio), 3),
        "ratio_least": round(min(ratio), 3),
        "ratio_most": round(max(ratio), 3),
        "ratio_arrays": round(statistics.median(arrays), 3),
        "ratio_cpu": round(statistics.median(cpu), 3),
        "ratio_fast": round(min(spent["decode"]) / statistics.median(spent["filters"]), 3),
        "cpu_filters": round(statistics.median(spent["filters"]), 1),
        "cpu_decode": round(statistics.median(spent["decode"]), 1),
        "cpu_decode_least": round(min(spent["decode"]), 1),
        "cpu_decode_most": round(max(spent["decode"]), 1),
    }


# -- CleanVision -------------------------------------------------------------------------------------------------------


def against_cleanvision(folder: Path, images: int, turns: int) -> dict[str, Any]:
    found = sets()
    pictures = [b for name, some in found.items() if name != "receipts" for b in some]
    pictures = spoiled(pictures[:: max(1, len(pictures) // images)][:images])
    root, files = folder / "peer", folder / "peer_files"
    write(root, pictures, len(pictures))
    files.mkdir()
    for k, data in enumerate(pictures):
        (files / f"{k:05d}.jpg").write_bytes(data)
    theirs = []
    for _ in range(min(turns, 3)):
        done = subprocess.run(
            [python("cleanvision"), Path(__file__).with_name("_cleanvision.py"), files],
            check=True, capture_output=True, text=True, env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
        )  # fmt: skip
        theirs.append(json.loads(done.stdout.splitlines()[-1]))
    with workers_of(root, 2) as order:
        order("checks")
        ours = []
        for _ in range(turns):
            seconds, _, answers = order("checks")
            started = time.perf_counter()
            clusters = _clusters(answers)
            ours.append(seconds + time.perf_counter() - started)
    rate, peer = (
        len(pictures) / statistics.median(ours),
        len(pictures) / statistics.median(t["seconds"] for t in theirs),
    )
    agreement = _agreement(answers, theirs[0]["issues"], clusters)
    print(
        f"\n{len(pictures)} images, 2 processes: ours {rate:.0f}/s, CleanVision {peer:.0f}/s, {rate / peer:.1f} times"
    )
    for issue, (same, mine, its) in agreement.items():
        print(f"  {issue:<18} same decision {same:.2%}  (ours {mine}, CleanVision {its})")
    return {
        "images": len(pictures), "ours": round(rate, 1), "cleanvision": round(peer, 1), "ratio": round(rate / peer, 2),
        "agreement": {k: round(v[0], 4) for k, v in agreement.items()},
    }  # fmt: skip


@functools.cache
def _order(n: int) -> list[int]:
    """Return the image numbers as the two shards have them."""
    return [*range(0, n, 2), *range(1, n, 2)]


def _columns(answers: list[Any]) -> dict[str, list[Any]]:
    """Return every score of every image, in the images' order."""
    shards = [shard for answer in answers for shard in answer]
    rows = [{k: v for part in parts for k, v in part.items()} for shard in shards for parts in zip(*shard, strict=True)]
    ordered = [row for _, row in sorted(zip(_order(len(rows)), rows, strict=True), key=lambda x: x[0])]
    return {k: [row[k] for row in ordered] for k in ordered[0]}


def _clusters(answers: list[Any]) -> set[str]:
    scores = _columns(answers)
    ids = [f"{k:05d}" for k in range(len(scores["phash"]))]
    cluster = base.load("dedup_phash", {"pair": "image"}).cluster
    assert cluster is not None
    return set(cluster(pa.table({"id": ids, "phash": pa.array(scores["phash"], pa.binary())}))["id"].to_pylist())


def _agreement(
    answers: list[Any], issues: dict[str, list[bool]], clusters: set[str]
) -> dict[str, tuple[float, int, int]]:
    """Return, per check, the share of images that both decide alike, and how many each flags."""
    s = {k: np.asarray(v, np.float64) for k, v in _columns(answers).items() if k != "phash"}
    mine = {
        "dark": s["brightness_99"] < 0.32,
        "light": 1 - s["brightness_5"] < 0.05,
        "low_information": s["information"] * 0.1 < 0.3,
        "blurry": s["sharpness"] < 0.29,
        "odd_aspect_ratio": 1 / s["aspect_ratio"] < 0.35,
        "grayscale": s["coloured"] == 0,
        "near_duplicates": np.asarray([f"{k:05d}" in clusters for k in range(len(s["blur"]))]),
    }
    out = {}
    for issue, found in mine.items():
        its = np.asarray(issues[issue], bool)
        out[issue] = (float((found == its).mean()), int(found.sum()), int(its.sum()))
    assert all(math.isfinite(v[0]) for v in out.values())
    return out


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    main()

"""Near-duplicate images: Cuvee, imagededup and CleanVision on the same files, in the same run.

    python benchmarks/image_dedup.py [--quick] [--originals 320] [--turns 3] [--no-peers]

A folder holds originals of several kinds and copies of each: re-encoded, resized, brighter, darker, cropped. Pictures are those
under `../shared/data` where it is there, generated ones otherwise; originals that show the same, pixel by pixel, come in once.

Timed is everything from the files to the pairs: reading, decoding, hashing, comparing, with two processes; not timed, for all
three, is starting Python and importing. Cuvee does what a run does: SAMPLE tables, the scoring pass (`curate.score`) with
`dedup_phash` in two workers, then its global half. Peers run in environments of their own (`benchmarks/peers.py`), with what
they recommend: imagededup PHash with its default threshold of 10 bits; CleanVision exact and near duplicates. The median of
the turns counts.

Recall: the share of copies that are paired with their original. Precision: the share of pairs that show the same original.
"""

import argparse
import contextlib
import hashlib
import io
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import combinations
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pyarrow as pa
from peers import python
from PIL import Image, ImageEnhance

from catalog.schema import SAMPLE
from curate.score import score_table
from filters import base

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
KINDS = {
    "photo": ("grocery_store/**/*.jpg", "based_cooking/**/*.jpg"),
    "chart": ("opencqa_charts/**/*.png",),
    "scan": ("sroie_receipts/**/*.jpg",),
    "clip art": ("openclipart/**/*.png",),
    "drawing": ("math_vision/**/*.jpg", "cs231n_notes/**/*.png", "cs231n_notes/**/*.jp*g"),
}
PARAMS: dict[str, Any] = {"pair": "image"}
Pair = tuple[str, str]
Edit = Callable[[Image.Image], Image.Image]


def _cut(left: float, top: float, right: float, bottom: float) -> Edit:
    def edit(image: Image.Image) -> Image.Image:
        w, h = image.size
        return image.crop((round(left * w), round(top * h), w - round(right * w), h - round(bottom * h)))

    return edit


def _scaled(factor: float, how: Image.Resampling) -> Edit:
    return lambda i: i.resize((max(1, round(i.width * factor)), max(1, round(i.height * factor))), how)


def _lit(factor: float) -> Edit:
    return lambda i: ImageEnhance.Brightness(i).enhance(factor)


EDITS: dict[str, tuple[str, Edit, str, int]] = {
    "jpeg-75": ("re-encoded", lambda i: i, "JPEG", 75),
    "jpeg-40": ("re-encoded", lambda i: i, "JPEG", 40),
    "webp-60": ("re-encoded", lambda i: i, "WEBP", 60),
    "half": ("resized", _scaled(0.5, Image.Resampling.BICUBIC), "JPEG", 85),
    "three-quarters": ("resized", _scaled(0.75, Image.Resampling.BILINEAR), "JPEG", 85),
    "double": ("resized", _scaled(2.0, Image.Resampling.LANCZOS), "JPEG", 85),
    "brighter": ("brightness +-20 %", _lit(1.2), "JPEG", 85),
    "darker": ("brightness +-20 %", _lit(0.8), "JPEG", 85),
    "crop-2.5": ("cropped", _cut(0.025, 0.025, 0.025, 0.025), "JPEG", 85),
    "crop-5": ("cropped", _cut(0.05, 0.05, 0.05, 0.05), "JPEG", 85),
    "crop-corner": ("cropped", _cut(0.05, 0.05, 0.0, 0.0), "JPEG", 85),
    "crop-uneven": ("cropped", _cut(0.03, 0.01, 0.02, 0.04), "JPEG", 85),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--originals", type=int, default=320)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="80 originals, one turn")
    parser.add_argument("--no-peers", action="store_true", help="Cuvee alone")
    args = parser.parse_args()
    originals, turns = (80, 1) if args.quick else (args.originals, args.turns)
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder)
        kinds = write(files, originals)
        names = sorted(p.name for p in files.iterdir())
        runs: dict[str, Callable[[], tuple[float, list[Pair]]]] = {}
        with cuvee(files, names) as ours:
            runs["cuvee"] = ours
            if not args.no_peers:
                runs["imagededup"] = lambda: peer("imagededup", "_imagededup.py", files)
                runs["cleanvision"] = lambda: peer("cleanvision", "_cleanvision_duplicates.py", files)
            results: dict[str, Any] = {name: {"seconds": []} for name in runs}
            for _ in range(turns):
                for name, run in runs.items():
                    seconds, pairs = run()
                    results[name]["seconds"].append(seconds)
                    results[name]["pairs"] = pairs
    out: dict[str, Any] = {"files": len(names), "originals": len(kinds), "turns": turns}
    for name, result in results.items():
        out[name] = {
            "seconds": round(statistics.median(result["seconds"]), 2),
            **measured(names, kinds, result["pairs"]),
        }
        out[name]["images_per_second"] = round(len(names) / out[name]["seconds"], 1)
    show(out, list(runs))
    for name in list(runs)[1:]:
        out[f"times_{name}"] = round(out[name]["seconds"] / out["cuvee"]["seconds"], 2)
    print(json.dumps(out))


# -- files -------------------------------------------------------------------------------------------------------------


def pictures(n: int) -> Iterator[tuple[str, Image.Image]]:
    """Yield about `n` pictures of all kinds, no two of which show the same."""
    seen = set()
    for kind, found in _found(n).items():
        for data in found:
            image = Image.open(io.BytesIO(data))
            if not 24 <= min(image.size) <= max(image.size) <= 2048:
                continue
            if image.mode in ("RGBA", "LA", "P"):
                image = image.convert("RGBA")
                white = Image.new("RGBA", image.size, "white")
                white.alpha_composite(image)
                image = white
            image = image.convert("RGB")
            low, high = image.convert("L").getextrema()
            shown = hashlib.sha256(image.tobytes()).hexdigest()
            if shown not in seen and high - low > 16:
                seen.add(shown)
                yield kind, image


def _found(n: int) -> dict[str, list[bytes]]:
    if not DATA.exists():
        return {"made": made(n)}
    out = {}
    for kind, patterns in KINDS.items():
        found = [sorted(DATA.glob(p)) for p in patterns]
        each = max(1, n // (len(KINDS) + 1) // len(patterns))
        out[kind] = [p.read_bytes() for paths in found for p in paths[:: max(1, len(paths) // each)][:each]]
    with tarfile.open(DATA / "webimage_cc12m" / "cc12m-train-0000.tar") as tar:
        out["photo"] += [tar.extractfile(m).read() for m in tar if m.name.endswith(".jpg")]  # type: ignore[union-attr]
    return out


def made(n: int) -> list[bytes]:
    """Return generated scenes, charts and pages."""
    from curate.synth import charts, documents, scenes
    from curate.synth.item import stream

    out = []
    for k in range(n):
        make = (scenes.caption, charts.question, documents.item)[k % 3]
        data = io.BytesIO()
        make(stream("image_dedup", k)).draw().convert("RGB").save(data, "PNG")  # type: ignore[misc]
        out.append(data.getvalue())
    return out


def write(files: Path, n: int) -> dict[str, str]:
    """Write originals and copies, `<number>.<edit>.<suffix>`; return the kind of each number."""
    kinds = {}
    for k, (kind, image) in enumerate(pictures(n)):
        kinds[f"{k:05d}"] = kind
        image.save(files / f"{k:05d}.original.png")
        for name, (_, edit, form, quality) in EDITS.items():
            edit(image).save(files / f"{k:05d}.{name}.{form.lower()}", form, quality=quality)
    return kinds


# -- runs --------------------------------------------------------------------------------------------------------------


class Files:
    """A reader of media that are files of a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, shard: str, offset: int, size: int) -> bytes:
        """Return the bytes of one file."""
        return (self._root / shard).read_bytes()


def table(files: Path, names: list[str]) -> pa.Table:
    """Return one sample per file."""
    rows = []
    for name in names:
        data = (files / name).read_bytes()
        width, height = Image.open(io.BytesIO(data)).size
        medium = {
            "kind": "image", "digest": hashlib.sha256(data).hexdigest(), "mime": "image/x", "width": width, "height": height,
            "shard": name, "offset": 0, "size": len(data),
        }  # fmt: skip
        rows.append(
            {"id": name, "digest": "", "source": "s", "task": "caption", "license": "unknown",
             "messages": [{"role": "user", "content": "<image>"}], "media": [medium], "boxes": [], "meta": "{}"}
        )  # fmt: skip
    return pa.Table.from_pylist(rows, schema=SAMPLE)


def worker(files: Path, names: list[str], orders: Connection) -> None:
    flt = base.load("dedup_phash", PARAMS)
    reader: Any = Files(files)
    score_table(table(files, names[:2]), [flt], reader)  # compiles
    orders.send(None)
    while orders.recv():
        mine = table(files, names)
        scored = score_table(mine, [flt], reader)[0]
        orders.send(mine.select(["id"]).append_column("phash", scored["phash"]))


@contextlib.contextmanager
def cuvee(files: Path, names: list[str]) -> Iterator[Callable[[], tuple[float, list[Pair]]]]:
    """Yield a function that finds duplicates with two workers, and tells the seconds and the pairs."""
    for name in ("OMP_NUM_THREADS", "POLARS_MAX_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = "1"  # as in the local engine: one thread per worker
    spawn = multiprocessing.get_context("spawn")
    pipes, processes = [], []
    for k in range(2):
        mine, theirs = spawn.Pipe()
        process = spawn.Process(target=worker, args=(files, names[k::2], theirs))
        process.start()
        pipes.append(mine)
        processes.append(process)
    first = [pipe.recv() for pipe in pipes]
    assert first == [None, None]
    cluster = base.load("dedup_phash", PARAMS).cluster
    assert cluster is not None

    def run() -> tuple[float, list[Pair]]:
        started = time.perf_counter()
        for pipe in pipes:
            pipe.send(True)
        found = cluster(pa.concat_tables([pipe.recv() for pipe in pipes]))
        seconds = time.perf_counter() - started
        members = defaultdict(list)
        for name, star in zip(found["id"].to_pylist(), found["cluster"].to_pylist(), strict=True):
            members[star].append(name)
        return seconds, [p for m in members.values() for p in combinations(sorted(m), 2)]

    run()  # compiles the global half
    yield run
    for pipe, process in zip(pipes, processes, strict=True):
        pipe.send(False)
        process.join()


def peer(name: str, script: str, files: Path) -> tuple[float, list[Pair]]:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH" and not k.endswith("_THREADS")}
    command = [python(name), Path(__file__).with_name(script), files]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    answer = json.loads(done.stdout.splitlines()[-1])
    return answer["seconds"], [(a, b) for a, b in answer["pairs"]]


# -- figures -----------------------------------------------------------------------------------------------------------


def measured(names: list[str], kinds: dict[str, str], pairs: list[Pair]) -> dict[str, Any]:
    """Return recall by transformation, by edit and by kind, and precision."""
    found = {n for a, b in pairs for n, o in ((a, b), (b, a)) if o == f"{n[:5]}.original.png"}
    by: dict[str, dict[str, list[bool]]] = {"recall": {}, "edits": {}, "kinds": {}}
    for name in names:
        number, edit = name.split(".", 1)[0], name.split(".", 1)[1].rsplit(".", 1)[0]
        if edit != "original":
            for group, key in (
                ("recall", EDITS[edit][0]),
                ("edits", edit),
                ("kinds", kinds[number]),
                ("recall", "all"),
            ):
                by[group].setdefault(key, []).append(name in found)
    right = sum(a[:5] == b[:5] for a, b in pairs)
    wrong = {tuple(sorted((kinds[a[:5]], kinds[b[:5]]))) for a, b in pairs if a[:5] != b[:5]}
    shares = {group: {k: round(sum(v) / len(v), 4) for k, v in one.items()} for group, one in by.items()}
    return {
        **shares,
        "precision": round(right / max(len(pairs), 1), 4),
        "pairs": len(pairs),
        "wrong": sorted(map(" / ".join, wrong)),
    }


def show(out: dict[str, Any], names: list[str]) -> None:
    print(f"{out['originals']} originals, {out['files']} files, two processes, median of {out['turns']}\n")
    print(f"{'':<22}", *(f"{n:>12}" for n in names))
    print(f"{'seconds':<22}", *(f"{out[n]['seconds']:>12.1f}" for n in names))
    print(f"{'images/s':<22}", *(f"{out[n]['images_per_second']:>12.0f}" for n in names))
    for group in ("recall", "edits", "kinds"):
        for key in out["cuvee"][group]:
            print(
                f"{('recall, ' if group == 'recall' else '  ') + key:<22}",
                *(f"{out[n][group][key]:>12.4f}" for n in names),
            )
    print(f"{'precision':<22}", *(f"{out[n]['precision']:>12.4f}" for n in names))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    main()

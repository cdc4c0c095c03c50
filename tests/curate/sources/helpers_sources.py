"""Engines and builders for the tests of sources and ingest."""

import io
import json
import multiprocessing
import tarfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from PIL import Image

from curate.sources import base


class Serial:
    name = "serial"
    workers = 1

    def map(self, task: Callable[[Any], Any], items: Sequence[Any], *, gpu: bool = False) -> Iterator[Any]:
        return map(task, items)

    def close(self) -> None: ...


class Pool:
    name = "pool"

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("forkserver"))

    def map(self, task: Callable[[Any], Any], items: Sequence[Any], *, gpu: bool = False) -> Iterator[Any]:
        return self._pool.map(task, items)

    def close(self) -> None:
        self._pool.shutdown()


class Dies(Serial):
    """Raises before the shard `at`, and counts the shards that were asked for."""

    def __init__(self, at: int) -> None:
        self.at = at

    def map(self, task: Callable[[Any], Any], items: Sequence[Any], *, gpu: bool = False) -> Iterator[Any]:
        for n, item in enumerate(items):
            if n == self.at:
                raise KeyboardInterrupt
            yield task(item)


def image(size: tuple[int, int] = (32, 24), color: tuple[int, int, int] = (200, 30, 30), kind: str = "JPEG") -> bytes:
    out = io.BytesIO()
    picture = Image.effect_noise(size, 60).convert("RGB")
    Image.blend(picture, Image.new("RGB", size, color), 0.5).save(out, kind)
    return out.getvalue()


def tar(path: Path, members: Sequence[tuple[str, bytes] | tarfile.TarInfo]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as t:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                t.addfile(member)
                continue
            info = tarfile.TarInfo(member[0])
            info.size = len(member[1])
            t.addfile(info, io.BytesIO(member[1]))
    return path


def lines(path: Path, records: Sequence[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(r if isinstance(r, bytes) else json.dumps(r).encode() + b"\n" for r in records))
    return path


def outcomes(format_: str, data: Path, rows: int = 3, **params: Any) -> list[base.Draft | base.Reject]:
    """Read a whole source and check the accounting on the way."""
    reader = base.load(format_, params, data)
    out: list[base.Draft | base.Reject] = []
    pieces = reader.plan(rows)
    assert pieces == reader.plan(rows)
    for n, piece in enumerate(pieces):
        assert piece.number == n
        assert piece.rows == rows or n == len(pieces) - 1
        again = json.loads(json.dumps([dict(p) for p in piece.parts]))
        got = list(reader.read(base.Slice(number=n, rows=piece.rows, parts=tuple(again))))
        assert len(got) == piece.rows == sum(p["rows"] for p in piece.parts)
        out += got
    locators = [o.locator for o in out]
    assert len(set(locators)) == len(locators)
    return out


def codes(found: Sequence[base.Draft | base.Reject]) -> list[str]:
    return [o.code if isinstance(o, base.Reject) else "ok" for o in found]

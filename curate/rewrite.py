"""What every command shares that makes a stored source version into another one: links, tars, digest, names."""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from catalog.digests import content_digest, sha256
from catalog.files import atomic, explain, sync_folder
from catalog.shards import EXTENSIONS, MediaReader, TarWriter, read_table, shard_name
from catalog.store import SourceVersion


def check_name(name: str) -> None:
    """Raise `UserError` for a name that cannot name a source."""
    from curate.ingest import SourceSpec

    SourceSpec(name=name, format="text", params={"path": "."})


def renamed(id_: str, old: str, new: str) -> str:
    """Return the id of a sample of source `old` in source `new`."""
    return f"{new}/{id_.removeprefix(f'{old}/')}"


def version_digest(folder: Path, old: SourceVersion) -> str:
    """Return the digest of the version in `folder`, made of `old`: over the same things as that of an ingested one."""

    def rows() -> Iterator[tuple[str, str]]:
        yield "", sha256(json.dumps([old.role, old.license]).encode())
        for number in range(old.shards):
            shard = shard_name(number, "parquet")
            for row in read_table(folder / "samples" / shard, ["id", "digest", "task", "license", "meta"]).to_pylist():
                yield row["id"], sha256("\0".join((row["digest"], row["task"], row["license"], row["meta"])).encode())
            for row in read_table(folder / "rejects" / shard, ["locator", "code"]).to_pylist():
                yield f"!{row['locator']}", sha256(row["code"].encode())

    return content_digest(rows())


def bring_tar(before: Path, folder: Path, number: int, rows: Sequence[dict[str, Any]] | None) -> None:
    """Bring a shard's tar over: linked as it is, or written again with the messages of `rows` beside their media.

    The media of `rows` are told where they lie now. Without a row that has media no tar is written.
    """
    tar = f"media/{shard_name(number, 'tar')}"
    if not (before / tar).exists():
        return
    if rows is None:
        link(before / tar, folder / tar)
        return
    if not any(row["media"] for row in rows):
        return
    with MediaReader(before) as reader, atomic(folder / tar) as f:
        writer = TarWriter(f)
        for k, row in enumerate(rows):
            if not row["media"]:
                continue
            key = f"{number:05d}-{k:05d}"
            for n, m in enumerate(row["media"]):
                data = reader.read(m["shard"], m["offset"], m["size"])
                suffix = EXTENSIONS.get(m["mime"], "bin")
                m["shard"], (m["offset"], m["size"]) = tar, writer.add(f"{key}.{n}.{suffix}", data)
            beside = {"id": row["id"], "messages": row["messages"]}
            writer.add(f"{key}.json", json.dumps(beside, ensure_ascii=False, sort_keys=True).encode())
        writer.close()


def link(source: Path, target: Path) -> None:
    """Make `target` the same file as `source`, or a copy of it where links are not possible; whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        return
    try:
        with contextlib.suppress(FileExistsError):
            os.link(source, target)
        sync_folder(target.parent)
    except OSError:
        try:
            with source.open("rb") as data, atomic(target) as f:
                shutil.copyfileobj(data, f, 1 << 20)
        except OSError as e:
            raise explain(e, target) from e

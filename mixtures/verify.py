"""Is the mixture still what its lock says? Every finding names the file and what was expected.

quick   the lock's id; each member table is there with its rows and size; each media tar is there and long enough
full    quick, and: digests of the member files, ids and contents of all rows, totals, every medium's bytes
order   the sample ids in training order against the digests in the lock
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from catalog.digests import content_digest, file_digest, rows_digest, sample_digest, sha256
from catalog.errors import UserError
from catalog.shards import MediaReader
from mixtures import tokens
from mixtures.canonical import PREFIX
from mixtures.loader import open_lock, order_of, store_of
from mixtures.lock import order_digests
from mixtures.members import Members, file_name

MOST = 20


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is not as the lock says."""

    check: str  # lock | members | rows | content | totals | media | order
    where: str
    message: str


def verify(path: Path, *, full: bool = False, order: bool = False, store: Path | None = None) -> list[Finding]:
    """Return what is wrong with the mixture at `path` (lock file or folder), at most 20 findings per check; [] if nothing.

    Only reads: works on a store that may not be written to.
    """
    folder = path if path.is_dir() else path.parent
    try:
        lock = open_lock(path)
    except UserError as e:
        return [Finding(check="lock", where=str(path), message=e.message)]
    root = store if store is not None else store_of(path, lock)
    out: list[Finding] = []
    tables: dict[str, Members] = {}
    for source in lock["sources"]:
        name = source["name"]
        try:
            table = Members(folder / file_name(name))
        except UserError as e:
            out.append(Finding(check="members", where=file_name(name), message=e.message))
            continue
        tables[name] = table
        out += _file(folder, name, lock, full=full)
        if len(table) != source["select"]["samples"]:
            message = f"{len(table):,} rows; expected {source['select']['samples']:,}"
            out.append(Finding(check="members", where=file_name(name), message=message))
            continue
        out += _media(table, root, name, full=full)
        if full:
            out += _rows(table, source)
    if order and not any(f.check == "members" for f in out):
        head, whole = order_digests(order_of(lock), [tables[s["name"]].column("id") for s in lock["sources"]])
        for key, have in (("first_4096", head), ("all", whole)):
            if have != lock["order"][key]:
                message = f"the order is {have}; expected {lock['order'][key]}"
                out.append(Finding(check="order", where=f"order.{key}", message=message))
    return out


def _file(folder: Path, name: str, lock: Mapping[str, Any], *, full: bool) -> Iterator[Finding]:
    where = file_name(name)
    said = lock.get("volatile", {}).get("files", {}).get(where)
    if said is None:
        return
    size = (folder / where).stat().st_size
    if size != said["bytes"]:
        yield Finding(check="members", where=where, message=f"{size:,} bytes; expected {said['bytes']:,}")
    elif full and PREFIX + file_digest(folder / where) != said["sha256"]:
        yield Finding(check="members", where=where, message="the file's bytes are not those that were locked")


def _media(table: Members, root: Path, name: str, *, full: bool) -> list[Finding]:
    out: list[Finding] = []
    needed: dict[str, int] = {}
    for batch in table.batches():
        for row in batch.column("media").to_pylist():
            for m in row:
                needed[m["shard"]] = max(needed.get(m["shard"], 0), m["offset"] + m["size"])
    bad = set()
    for shard, end in sorted(needed.items()):
        tar = root / shard
        size = tar.stat().st_size if tar.is_file() else -1
        if size < end:
            bad.add(shard)
            message = "missing" if size < 0 else f"{size:,} bytes; members of `{name}` reach to {end:,}"
            out.append(Finding(check="media", where=shard, message=message))
    if full:
        out += list(_bytes(table, root, bad))[:MOST]
    return out[:MOST]


def _bytes(table: Members, root: Path, bad: set[str]) -> Iterator[Finding]:
    with MediaReader(root) as reader:
        for batch in table.batches():
            ids = batch.column("id").to_pylist()
            for id_, media in zip(ids, batch.column("media").to_pylist(), strict=True):
                for m in media:
                    if m["shard"] in bad:
                        continue
                    if sha256(reader.read(m["shard"], m["offset"], m["size"])) != m["digest"]:
                        message = f"the bytes at {m['offset']:,} are not `{id_}`'s medium {m['digest'][:16]}"
                        yield Finding(check="media", where=m["shard"], message=message)


def _rows(table: Members, source: Mapping[str, Any]) -> list[Finding]:
    out: list[Finding] = []
    where = file_name(source["name"])
    totals = dict.fromkeys(("samples", "tokens", "images"), 0)
    pairs: list[tuple[str, str]] = []
    for batch in table.batches():
        counted = tokens.words1(batch.column("messages"))
        totals["samples"] += batch.num_rows
        totals["tokens"] += int(counted.sum())
        totals["images"] += int(tokens.images(batch.column("media")).sum())
        if not np.array_equal(counted, np.asarray(batch.column("tokens"))):
            out.append(Finding(check="totals", where=where, message="the column `tokens` is not what the text counts"))
        for row in batch.select(["id", "digest", "messages", "media", "boxes"]).to_pylist():
            pairs.append((row["id"], row["digest"]))
            if sample_digest(row["messages"], row["media"], row["boxes"] or ()) != row["digest"]:
                out.append(Finding(check="rows", where=where, message=f"sample `{row['id']}` was edited"))
    select = source["select"]
    if PREFIX + rows_digest(i for i, _ in pairs) != select["rows"]:
        out.append(Finding(check="content", where=where, message="the ids are not those that were selected"))
    elif PREFIX + content_digest(pairs) != select["content"]:
        out.append(Finding(check="content", where=where, message="the digests are not those that were selected"))
    for unit, have in totals.items():
        if have != select[unit]:
            out.append(Finding(check="totals", where=where, message=f"{have:,} {unit}; expected {select[unit]:,}"))
    return out[:MOST]

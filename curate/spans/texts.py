"""Which texts of a shard take part, and where they stand in the order of all.

Every text has an *address*: how many bytes of texts stand before it when sources come in the order in which they were named,
samples by id and messages as they are. So one number says which of two places is the first, whatever shard it lies in.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog.files import write_bytes
from catalog.shards import read_table, shard_name
from curate.spans import runs
from filters.shared.text import Array, buffers, lengths, starts

CHUNK = 4_000_000  # bytes of text worked on at one go
PLACES = pa.schema(
    [
        ("start", pa.int64()),
        ("id", pa.large_string()),
        ("message", pa.int32()),
        ("shard", pa.int32()),
        ("text", pa.int32()),
    ]
)


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One shard of one of the source versions, by its number among all of them."""

    number: int
    source: int  # in the order of the sources
    of: int  # its number within the source


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Some texts of a shard: their bytes, and where each begins among all texts."""

    data: Array
    offsets: Array
    base: Array  # address of each text's first byte
    sample: Array  # and of its sample's first text
    number: int  # of the first text, within the shard


@dataclass(frozen=True, kw_only=True)
class Texts:
    """The texts of a shard that take part."""

    content: pa.Array  # large_string
    row: Array  # which sample each belongs to
    message: Array  # which of its messages it is
    flat: Array  # which of the shard's messages

    def chunks(self, base: Array) -> Iterator[Chunk]:
        """Yield the texts, some at a time."""
        raw = buffers(self.content)
        n = len(self.content)
        fresh = np.append(True, self.row[1:] != self.row[:-1])[:n]
        sample = base[np.flatnonzero(fresh)][np.cumsum(fresh) - 1]
        low = 0
        while low < n:
            high = int(np.searchsorted(raw.offsets, raw.offsets[low] + CHUNK, side="right")) - 1
            high = min(max(high, low + 1), n)
            # Places count from 0 within a chunk.
            offsets = raw.offsets[low : high + 1] - raw.offsets[low]
            data = raw.data[raw.offsets[low] : raw.offsets[high]]
            yield Chunk(data=data, offsets=offsets, base=base[low:high], sample=sample[low:high], number=low)
            low = high


def taking_part(table: pa.Table, roles: Sequence[str], *, media: bool) -> Texts:
    """Return the texts of `roles`, of samples without media unless `media` is true; empty ones never."""
    messages = table["messages"].combine_chunks()
    count = lengths(messages)
    flat = messages.flatten()
    content = pc.fill_null(flat.field("content"), "").cast(pa.large_string())
    row = np.repeat(np.arange(len(count)), count)
    number = np.arange(len(row)) - starts(count)[:-1][row]
    chosen = np.asarray(pc.fill_null(pc.is_in(flat.field("role"), value_set=pa.array(roles, pa.string())), False))
    chosen = chosen & np.asarray(pc.greater(pc.binary_length(content), 0))
    if not media:
        chosen = chosen & (lengths(table["media"].combine_chunks()) == 0)[row]
    at = np.flatnonzero(chosen)
    return Texts(content=content.take(pa.array(at)), row=row[at], message=number[at], flat=at)


@dataclass(frozen=True, kw_only=True)
class Measure:
    """The task: writes ids, numbers and sizes of a shard's texts, and says how many there are and their bytes."""

    sources: tuple[Path, ...]
    folder: Path
    roles: tuple[str, ...]
    media: bool

    def __call__(self, shard: Shard) -> tuple[int, int, int]:
        """Return (shard, texts, bytes)."""
        path = self.folder / shard_name(shard.number, "arrow")
        if not path.exists():
            table = read_table(
                self.sources[shard.source] / "samples" / shard_name(shard.of, "parquet"), ["id", "messages", "media"]
            )
            texts = taking_part(table, self.roles, media=self.media)
            runs.save(
                path,
                pa.table(
                    {
                        "id": table["id"].combine_chunks().cast(pa.large_string()).take(pa.array(texts.row)),
                        "message": pa.array(texts.message, pa.int32()),
                        "bytes": pc.binary_length(texts.content).cast(pa.int64()),
                    }
                ),
            )
        found = runs.load(path)
        return shard.number, found.num_rows, pc.sum(found["bytes"], min_count=0).as_py()


def put_in_order(measured: Path, folder: Path, shards: Sequence[Shard]) -> None:
    """Give every text its address: one file of addresses per shard, and one per source that leads back from an address.

    This is the one step that holds something of every sample of a source in memory: its id and some forty bytes.
    """
    done = folder / "done"
    if done.exists():
        return
    start = 0
    for source in sorted({s.source for s in shards}):
        mine = [s for s in shards if s.source == source]
        tables = [runs.load(measured / shard_name(s.number, "arrow")) for s in mine]
        sizes = [t.num_rows for t in tables]
        whole = pa.concat_tables(tables).combine_chunks()
        order = pc.sort_indices(whole, sort_keys=[("id", "ascending"), ("message", "ascending")])
        size = runs.column(whole, "bytes")[np.asarray(order)]
        begins = start + starts(size)
        start = int(begins[-1])
        address = np.empty(len(size), np.int64)
        address[np.asarray(order)] = begins[:-1]
        number = np.repeat([s.number for s in mine], sizes).astype(np.int32)
        within = np.concatenate([np.arange(n, dtype=np.int32) for n in sizes])
        runs.save(
            folder / "back" / shard_name(source, "arrow"),
            pa.table(
                [
                    begins[:-1], whole["id"].take(order), whole["message"].take(order),
                    pa.array(number).take(order), pa.array(within).take(order),
                ],
                schema=PLACES,
            ),
        )  # fmt: skip
        low = 0
        for s, n in zip(mine, sizes, strict=True):
            runs.save(folder / shard_name(s.number, "arrow"), pa.table({"base": address[low : low + n]}))
            low += n
    write_bytes(done, b"")


@dataclass(frozen=True, kw_only=True)
class Places:
    """Leads from addresses back to ids, messages and bytes in them."""

    folder: Path
    sources: int

    @cached_property
    def _tables(self) -> list[pa.Table]:
        return [runs.load(self.folder / "back" / shard_name(n, "arrow")) for n in range(self.sources)]

    def base(self, shard: int) -> Array:
        """Return the addresses of a shard's texts."""
        return runs.column(runs.load(self.folder / shard_name(shard, "arrow")), "base")

    def find(self, address: Array) -> pa.Table:
        """Return for every address the PLACES row of its text, and with it `source`."""
        begins = [int(t["start"][0].as_py()) if t.num_rows else None for t in self._tables]
        known = [(b, n) for n, b in enumerate(begins) if b is not None]
        source = np.array([n for _, n in known])[np.searchsorted([b for b, _ in known], address, side="right") - 1]
        out: list[Any] = []
        rows = np.empty(len(address), np.int64)
        for n in np.unique(source).tolist():
            mine = np.flatnonzero(source == n)
            table = self._tables[n]
            at = np.searchsorted(runs.column(table, "start"), address[mine], side="right") - 1
            rows[mine] = sum(t.num_rows for t in out) + np.arange(len(mine))
            part = table.take(pa.array(at))
            out.append(part.append_column("source", pa.array(np.full(len(mine), n, np.int32))))
        if not out:
            return PLACES.append(pa.field("source", pa.int32())).empty_table()
        return pa.concat_tables(out).take(pa.array(rows))

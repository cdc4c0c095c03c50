"""Sorted runs on disk: rows (two hashes, first address, count), and the keys that occur often enough, found by binary search.

Every shard folds its own rows first, so that a key which occurs a million times in it is one row. The runs are cut by
ranges of the first hash into 2**bits parts; a part is merged at one go and fits into memory, whatever the corpus.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from catalog.errors import UserError
from catalog.files import atomic
from catalog.shards import shard_name
from curate.spans import kernels
from filters.shared.text import Array

RUN = pa.schema([("one", pa.uint64()), ("two", pa.uint64()), ("first", pa.int64()), ("count", pa.int64())])
PART = 2_000_000  # rows merged at one go: 64 MB, some four times that while they are sorted


def save(path: Path, table: pa.Table) -> None:
    """Write a table so that `load` maps it: Arrow's own format, one batch, not compressed."""
    with atomic(path) as f, pa.ipc.new_file(f, table.schema) as writer:
        for batch in table.combine_chunks().to_batches():
            writer.write_batch(batch)


def load(path: Path) -> pa.Table:
    """Return a table of `save`, mapped: only what is looked at is read."""
    try:
        with pa.memory_map(str(path)) as f:
            return pa.ipc.open_file(f).read_all()
    except (OSError, pa.ArrowInvalid) as e:
        msg = f"cannot read `{path}`: {e}"
        raise UserError(msg, hint="remove the folder and run the same command again") from None


def column(table: pa.Table, name: str) -> Array:
    """Return a column without nulls as an array, without a copy where it is one chunk."""
    found = table[name]
    kind = np.dtype(found.type.to_pandas_dtype())
    parts = [np.frombuffer(c.buffers()[1], kind)[c.offset : c.offset + len(c)] for c in found.chunks if len(c)]
    return parts[0] if len(parts) == 1 else np.concatenate([np.zeros(0, kind), *parts])


def in_order(keys: Array) -> Array:
    """Return the stable order of hashes."""
    order = kernels.order_of(keys)
    return order if len(order) == len(keys) else np.argsort(keys, kind="stable")


def folded(parts: Sequence[tuple[Array, Array, Array, Array]]) -> pa.Table:
    """Return rows (one, two, first, count) as a run: sorted, one row per key with its first address and its count."""
    one, two, first, count = (np.concatenate([p[k] for p in parts]) for k in range(4))
    order = in_order(one)
    one, two, first, count = one[order], two[order], first[order], count[order]
    n = kernels.fold(one, two, first, count)
    return pa.table([one[:n], two[:n], first[:n], count[:n]], schema=RUN)


def tallied(parts: Sequence[tuple[Array, Array, Array, Array]]) -> pa.Table:
    """Return rows (one, two, address, whom) as a run: one row per key with its first address and how many `whom` it has."""
    if not parts:
        return RUN.empty_table()
    one, two, first, whom = (np.concatenate([p[k] for p in parts]) for k in range(4))
    if np.any(first[1:] < first[:-1]):  # shards whose ids are not in order
        order = np.argsort(first)
        one, two, first, whom = one[order], two[order], first[order], whom[order]
    order = in_order(one)
    one, two, first, whom = one[order], two[order], first[order], whom[order]
    count = np.zeros(len(one), np.int64)
    n = kernels.tally(one, two, first, whom, count)
    return pa.table([one[:n], two[:n], first[:n], count[:n]], schema=RUN)


def bits_for(rows: int) -> int:
    """Return into how many parts, as a power of two, so many rows are cut."""
    return max(0, (rows // PART).bit_length())


@dataclass(frozen=True, kw_only=True)
class Merge:
    """The task: merges one part of all runs and keeps the keys that occur at least so often; says how many."""

    runs: tuple[Path, ...]
    folder: Path
    bits: int
    least: int

    def __call__(self, part: int) -> int:
        """Write the part's table, or find it written."""
        path = self.folder / shard_name(part, "arrow")
        if not path.exists():
            rows = [r for p in self.runs if len((r := _slice(load(p), self.bits, part))[0])]
            table = folded(rows) if rows else RUN.empty_table()
            save(path, table.filter(pa.compute.greater_equal(table["count"], self.least)))
        return int(load(path).num_rows)


def _slice(run: pa.Table, bits: int, part: int) -> tuple[Array, Array, Array, Array]:
    one = column(run, "one")
    low, high = _range(one, bits, part)
    return one[low:high], *(column(run, name)[low:high] for name in ("two", "first", "count"))  # type: ignore[return-value]


def _range(one: Array, bits: int, part: int) -> tuple[int, int]:
    """Return where a part of sorted first hashes begins and ends."""
    width = 64 - bits
    low = int(np.searchsorted(one, np.uint64(part << width))) if part else 0
    last = part + 1 == 1 << bits
    return low, len(one) if last else int(np.searchsorted(one, np.uint64((part + 1) << width)))


@dataclass(frozen=True, kw_only=True)
class Repeated:
    """The keys that occur often enough, in their parts."""

    folder: Path
    bits: int

    @cached_property
    def _parts(self) -> list[pa.Table]:
        return [load(self.folder / shard_name(p, "arrow")) for p in range(1 << self.bits)]

    def find(self, one: Array, two: Array) -> tuple[Array, Array]:
        """Return first address and count of every key; a count of 0 where it does not occur often enough."""
        order = in_order(one)
        one, two = one[order], two[order]
        first = np.zeros(len(one), np.int64)
        count = np.zeros(len(one), np.int64)
        for p, table in enumerate(self._parts):
            low, high = _range(one, self.bits, p)
            if low == high or not table.num_rows:
                continue
            keys = column(table, "one")
            at = np.searchsorted(keys, one[low:high])
            first[low:high], count[low:high] = kernels.look_up(
                one[low:high],
                two[low:high],
                at,
                keys,
                column(table, "two"),
                column(table, "first"),
                column(table, "count"),
            )
        back_first, back_count = np.empty_like(first), np.empty_like(count)
        back_first[order], back_count[order] = first, count
        return back_first, back_count


def merged(
    runs: Sequence[Path],
    folder: Path,
    *,
    rows: int,
    least: int,
    mapped: Callable[[Any, Sequence[int]], Any],
) -> Repeated:
    """Merge the runs (`rows` in all) part by part with `mapped`, an engine's `map`, and return the keys that repeat."""
    bits = bits_for(rows)
    task = Merge(runs=tuple(runs), folder=folder, bits=bits, least=least)
    for _ in mapped(task, range(1 << bits)):
        pass
    return Repeated(folder=folder, bits=bits)

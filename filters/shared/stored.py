"""Vectors that somebody else made: a column of a Parquet file by id, or a field of the samples' `meta`."""

import functools
from collections import OrderedDict
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from catalog.errors import UserError, nearest
from filters.shared.signatures import of_strings
from filters.shared.text import starts
from filters.shared.vectors import Vectors, unit

ROOM = 1 << 30  # bytes of row groups that stay in memory
ROWS = 8192  # read at one go


def of_meta(column: pa.Array, field: str) -> Vectors:
    """Return the vectors of the samples whose `meta` has a list of numbers `field`."""
    if not field or any(c in field for c in "'\"[]\\"):
        msg = f"`{field}` is no name of a field of `meta`"
        raise UserError(msg, usage=True)
    said = pl.Series(pl.from_arrow(column.cast(pa.large_string()))).str.json_path_match(f"$['{field}']")
    lists = said.str.extract(r"^\[([^\[\]{}\"]*)\]$").str.split(",")
    values = lists.list.eval(pl.element().str.strip_chars().cast(pl.Float64, strict=False))
    return numbers(values.to_arrow().cast(pa.large_list(pa.float64())))


def numbers(lists: pa.Array) -> Vectors:
    """Return the lists of numbers in an Arrow array that are not null or empty; a null in one is NaN."""
    size = np.asarray(pc.fill_null(pc.list_value_length(lists), 0)).astype(np.int64)
    row = np.flatnonzero(size)
    flat = lists.filter(pa.array(size > 0)).flatten().to_numpy(zero_copy_only=False)
    if flat.dtype not in (np.float16, np.float32):
        flat = flat.astype(np.float64)
    return Vectors(row=row, first=starts(size[row]), flat=flat)


class Stored:
    """A Parquet file, or a folder of them, with a string column `id` and columns of vectors.

    The ids are read whole (as hashes), vectors as they are asked for, a row group at a time; the last ones stay, up to 1 GiB as
    float16. So the rows should be about in the order of the samples.
    """

    def __init__(self, path: str) -> None:
        where = Path(path)
        files = sorted(where.rglob("*.parquet")) if where.is_dir() else [where]
        if not files:
            msg = f"no Parquet file in `{path}`"
            raise UserError(msg)
        self._path = path
        self._groups: list[tuple[Path, int]] = []
        hashes, rows = [], []
        for file in files:
            opened = self._open(file)
            names = opened.schema_arrow.names
            if "id" not in names:
                msg = f"`{file}` has no column `id`"
                raise UserError(msg, hint="rename the column that holds the samples' ids")
            for g in range(opened.num_row_groups):
                ids = opened.read_row_group(g, columns=["id"])["id"].combine_chunks()
                hashes.append(of_strings(ids.cast(pa.string())))
                rows.append(len(self._groups) << 32 | np.arange(len(ids), dtype=np.int64))
                self._groups.append((file, g))
        every, at = np.concatenate([np.empty(0, np.uint64), *hashes]), np.concatenate([np.empty(0, np.int64), *rows])
        order = np.argsort(every, kind="stable")
        self._hashes, self._rows = every[order], at[order]
        if (self._hashes[1:] == self._hashes[:-1]).any():
            msg = f"`{path}` has an id twice"
            raise UserError(msg, hint="leave one row per id")
        self._held: OrderedDict[tuple[int, str], Vectors] = OrderedDict()

    def _open(self, file: Path) -> pq.ParquetFile:
        try:
            return pq.ParquetFile(file)
        except (OSError, pa.ArrowException) as e:
            msg = f"cannot read the vectors in `{file}`: {str(e).splitlines()[0]}"
            raise UserError(msg) from None

    def of(self, ids: pa.Array, column: str) -> Vectors:
        """Return the vectors in `column` of those of `ids` that have one."""
        wanted = of_strings(ids)
        place = np.searchsorted(self._hashes, wanted)
        place[place == len(self._hashes)] = 0
        known = np.flatnonzero(self._hashes[place] == wanted) if len(self._hashes) else np.zeros(0, np.int64)
        known = known[np.asarray(pc.is_valid(ids))[known]]
        at = self._rows[place[known]]
        rows, widths, flats = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0, np.float16)]
        for group in np.unique(at >> 32):
            there = self._group(int(group), column)
            mine = at >> 32 == group
            which = np.searchsorted(there.row, at[mine] & 0xFFFFFFFF)
            has = which < len(there.row)
            has[has] = there.row[which[has]] == (at[mine] & 0xFFFFFFFF)[has]
            part = there.take(which[has], known[mine][has])
            rows.append(part.row)
            widths.append(np.diff(part.first))
            flats.append(part.flat)
        row = np.concatenate(rows)
        whole = Vectors(row=row, first=starts(np.concatenate(widths)), flat=np.concatenate(flats))
        order = np.argsort(row)
        return whole.take(order, row[order])

    def _group(self, group: int, column: str) -> Vectors:
        """Return the vectors of a row group, as float16, of length 1; those without a direction are 0."""
        key = (group, column)
        if key not in self._held:
            self._held[key] = self._read(*self._groups[group], column)
            while sum(v.flat.nbytes for v in self._held.values()) > ROOM and len(self._held) > 1:
                self._held.popitem(last=False)
        self._held.move_to_end(key)
        return self._held[key]

    def _read(self, file: Path, group: int, column: str) -> Vectors:
        opened = self._open(file)
        names = opened.schema_arrow.names
        if column not in names:
            msg = f"`{file}` has no column `{column}`{nearest(column, names)}"
            raise UserError(msg, hint="`column` and `text_column` say where the vectors stand", usage=True)
        kind = opened.schema_arrow.field(column).type
        if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)) or not (
            pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)
        ):
            msg = f"`{column}` in `{file}` is of type {kind}; expected lists of numbers"
            raise UserError(msg)
        rows, widths, flats, first = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0, np.float16)], 0
        try:
            for batch in opened.iter_batches(ROWS, row_groups=[group], columns=[column]):
                part, _ = unit(numbers(batch.column(0)))
                rows.append(first + part.row)
                widths.append(np.diff(part.first))
                flats.append(part.flat)
                first += len(batch)
        except (OSError, pa.ArrowException) as e:
            msg = f"cannot read the vectors `{column}` in `{file}`: {str(e).splitlines()[0]}"
            raise UserError(msg) from None
        return Vectors(row=np.concatenate(rows), first=starts(np.concatenate(widths)), flat=np.concatenate(flats))


def load(path: str) -> Stored:
    """Return the vectors in `path`, opened once per process."""
    where = Path(path)
    if not where.exists():
        msg = f"no such file of vectors: `{path}`"
        raise UserError(msg, hint="a Parquet file, or a folder of them, with a column `id` and one of vectors")
    return _load(path, max(p.stat().st_mtime_ns for p in [where, *where.rglob("*.parquet")]))


@functools.lru_cache(maxsize=2)
def _load(path: str, stamp: int) -> Stored:
    return Stored(path)

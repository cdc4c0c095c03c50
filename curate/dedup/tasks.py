"""What workers do for the global half of a deduplicating filter. Every task writes its output whole or not at all.

A *row number* names a sample within one set of sources: sources by name, then shard, then row of the shard. It orders nothing
that is decided; ties go by id or by a hash of it, so that shards may be read in any order.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from catalog.errors import UserError
from catalog.files import atomic
from catalog.judge import Rule, applies
from catalog.shards import read_table, shard_name, write_table
from catalog.store import Store
from curate.score import load
from filters import base
from filters.shared import pairs
from filters.shared.signatures import of_strings

Array = npt.NDArray[Any]
FOUND = pa.schema([("id", pa.string()), ("cluster", pa.string()), ("similarity", pa.float64())])
ORDER = "__order"
MARKS = "marks"  # a byte per row number: whether it shares a key


@dataclass(frozen=True, kw_only=True)
class Run:
    """Consecutive shards of one source: what is read at one go. Its samples have the row numbers from `base` on."""

    source: str
    digest: str
    shards: range
    shard_rows: int
    base: int


@dataclass(frozen=True, kw_only=True)
class Work:
    """What all tasks of one filter on one set of sources share; picklable."""

    root: str
    filter: tuple[str, str]  # name, parameters as JSON
    tasks: tuple[str, ...]  # that the stage looks at; empty: all
    folder: str  # scratch
    bits: int  # there are 2**bits parts

    @cached_property
    def flt(self) -> base.Filter:
        """The filter with its parameters bound."""
        return load(*self.filter)

    def path(self, step: str, number: int, suffix: str) -> Path:
        """Return a file in the scratch folder."""
        return Path(self.folder) / step / shard_name(number, suffix)

    def signatures(self, run: Run, shard: int, wanted: Array | None = None) -> tuple[pa.Table, Array]:
        """Return (id, <signature columns>) and the row numbers of a shard's samples that the rule looks at and that have a
        signature; with `wanted` (bool per row of the shard) of those alone."""
        store = Store(self.root)
        path = store.source_dir(run.source, run.digest) / "samples" / shard_name(shard, "parquet")
        heads = read_table(path, ["id", "source", "task"])
        scored = store.score_path(self.flt.name, self.flt.fingerprint, run.digest, shard)
        scores = read_table(scored)
        if scores.num_rows != heads.num_rows:
            has, want = f"{scores.num_rows:,}", f"{heads.num_rows:,}"
            msg = f"`{scored}` has scores of {has} samples, the shard has {want}: it was cut differently before"
            raise UserError(msg, hint=f"remove `{scored.parent}` and run it again")
        rule = Rule(stage=self.flt.name, fingerprint="", score="", tasks=self.tasks)
        mask = applies(pl.DataFrame(pl.from_arrow(heads)), rule).to_numpy()
        mask = mask & np.asarray(pc.is_valid(scores[next(iter(self.flt.scores))]))
        if wanted is not None:
            mask &= wanted[: len(mask)]
        table = pa.table({"id": heads["id"], **{c: scores[c] for c in self.flt.scores}})
        first = run.base + (shard - run.shards.start) * run.shard_rows
        return table.filter(pa.array(mask)).combine_chunks(), first + np.flatnonzero(mask)


@dataclass(frozen=True, kw_only=True)
class Keys:
    """Step 1: a run's samples -> (part, key, row)."""

    work: Work

    def __call__(self, run: Run) -> pa.Table:
        """Return the keys of a run, and in which part each will be grouped: by its first bits."""
        keys, rows = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
        for shard in run.shards:
            table, numbers = self.work.signatures(run, shard)
            row, found = keyed(self.work.flt, table)
            keys.append(found)
            rows.append(numbers[row])
        key = np.concatenate(keys)
        part = (
            (key >> np.uint64(64 - self.work.bits)).astype(np.int32) if self.work.bits else np.zeros(len(key), np.int32)
        )
        return pa.table({"part": part, "key": key, "row": np.concatenate(rows)})


@dataclass(frozen=True, kw_only=True)
class Group:
    """Step 2: the keys of one part -> the groups that share one."""

    work: Work

    def __call__(self, part: int, keyed: pa.Table) -> int:
        """Write the groups of a part; return its number."""
        rows, first = pairs.groups(np.asarray(keyed["key"]), np.asarray(keyed["row"]))
        save(self.work.path("groups", part, "npz"), rows=rows, first=first)
        return part


@dataclass(frozen=True, kw_only=True)
class Extract:
    """Step 3: a run -> the signatures of the samples that stand in a group, where they can be read in any order."""

    work: Work

    def __call__(self, run: Run) -> int:
        """Write a run's signatures; return how many of its shards have some."""
        marks = np.memmap(Path(self.work.folder) / MARKS, np.bool_, "r")
        schema = pa.schema([("id", pa.string()), *self.work.flt.scores.items()])
        parts, numbers = [schema.empty_table()], [np.empty(0, np.int64)]
        for shard in run.shards:
            first = run.base + (shard - run.shards.start) * run.shard_rows
            wanted = np.asarray(marks[first : first + run.shard_rows])
            if wanted.any():
                table, rows = self.work.signatures(run, shard, wanted)
                parts.append(table.cast(schema))
                numbers.append(rows)
        found = pa.concat_tables(parts).combine_chunks()
        columns = {c: _wide(found[c]) for c in self.work.flt.scores}
        order = of_strings(pa.concat_arrays(found["id"].chunks) if found.num_rows else pa.array([], pa.string()))
        out = pa.table({"row": np.concatenate(numbers), ORDER: order, **columns})
        with atomic(self.work.path("extract", run.base, "arrow")) as f, pa.ipc.new_file(f, out.schema) as writer:
            writer.write_table(out)
        return len(numbers) - 1


def _wide(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """32-bit offsets end at 2 GiB, two million CLIP vectors."""
    kind = column.type
    wide = pa.large_binary() if pa.types.is_binary(kind) else pa.large_string() if pa.types.is_string(kind) else kind
    return column.cast(wide)


def extracted(folder: Path, rows: Array) -> pa.Table:
    """Return the extracted signatures of `rows` (ascending, each once), aligned with them; memory-mapped, then copied."""
    paths = sorted((int(p.stem), p) for p in (folder / "extract").glob("[0-9]*.arrow"))
    bases = [b for b, _ in paths] + [np.iinfo(np.int64).max]
    parts = []
    for k, (first, path) in enumerate(paths):
        mine = rows[np.searchsorted(rows, first) : np.searchsorted(rows, bases[k + 1])]
        if len(mine):
            with pa.memory_map(str(path)) as f:
                table = pa.ipc.open_file(f).read_all()
                parts.append(table.take(pa.array(np.searchsorted(np.asarray(table["row"]), mine))))
    return pa.concat_tables(parts).combine_chunks()


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Step 4: the groups of a part -> the edges between what is alike in them."""

    work: Work

    def __call__(self, part: int) -> int:
        """Write the edges of a part as two columns of row numbers; return how many."""
        with np.load(self.work.path("groups", part, "npz")) as f:
            rows, first = f["rows"], f["first"]
        out = np.empty((0, 2), np.int64)
        if len(rows):
            table, at, alike = aligned(self.work, rows)
            order = np.asarray(table[ORDER])[at]
            at = pairs.within(at, first, order)
            a, b = pairs.edges(first, lambda i, j: alike(table, at[i], at[j]))
            known = np.asarray(table["row"])
            out = np.unique(np.stack([known[at[a]], known[at[b]]], 1), axis=0)
        save(self.work.path("edges", part, "npz"), edges=out)
        return len(out)


@dataclass(frozen=True, kw_only=True)
class Part:
    """Some components: their members' row numbers, most preferred first, and where each component begins."""

    number: int
    rows: Array
    first: Array


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Step 5: components -> stars."""

    work: Work

    def __call__(self, part: Part) -> int:
        """Write (position of the centre within the part, similarity to it) of every member; return the part's number."""
        table, at, alike = aligned(self.work, part.rows)
        centre, share = pairs.stars(part.first, lambda i, j: alike(table, at[i], at[j]))
        save(self.work.path("stars", part.number, "npz"), centre=centre, share=share)
        return part.number


def aligned(work: Work, rows: Array) -> tuple[pa.Table, Array, Any]:
    """Return the signatures of `rows` (in any order, repeated or not), where in that table each stands, and `alike`."""
    needed, at = np.unique(rows, return_inverse=True)
    flt = work.flt
    assert flt.alike is not None
    own = flt.alike

    def alike(table: pa.Table, a: Array, b: Array) -> Array:
        found = np.asarray(own(table, a, b))
        if found.shape != a.shape or found.dtype.kind not in "fiub" or not ((found >= 0) & (found <= 1)).all():
            raise broken(flt, "alike", f"{len(a)} numbers from 0 to 1", found)
        return found

    return extracted(Path(work.folder), needed), at, alike


def clustered(flt: base.Filter, signatures: pa.Table) -> pl.DataFrame:
    """Return (id, cluster, similarity, order) of signatures, `order` being the filter's own `preference` or null.

    Raises `TypeError` for a filter that returns something else.
    """
    assert flt.cluster is not None
    found = flt.cluster(signatures)
    try:
        own = (
            found["preference"].cast(pa.float64())
            if "preference" in found.column_names
            else pa.nulls(len(found), pa.float64())
        )
        table = found.select(FOUND.names).cast(FOUND)  # polars gives large strings
    except (AttributeError, KeyError, pa.ArrowException):
        raise broken(flt, "cluster", ", ".join(f"{f.name}: {f.type}" for f in FOUND), found) from None
    frame = pl.DataFrame(pl.from_arrow(table))
    ids = pl.DataFrame({"id": pl.Series(signatures["id"].cast(pa.string()), dtype=pl.String)})
    if (
        sum(frame.null_count().row(0))
        or frame["id"].is_duplicated().any()
        or frame.join(ids, on="id", how="anti").height
    ):
        raise broken(flt, "cluster", "every sample once at most, and none that it was not given", frame)
    if not frame["similarity"].is_between(-1, 1).all():  # a cosine, where it is semantic
        raise broken(flt, "cluster", "similarities up to 1", frame)
    return frame.with_columns(pl.Series("order", own, dtype=pl.Float64))


def keyed(flt: base.Filter, signatures: pa.Table) -> tuple[Array, Array]:
    """Return the rows and keys of signatures; raise `TypeError` for a filter that returns something else."""
    assert flt.keys is not None
    found = flt.keys(signatures)
    want = pa.schema([("row", pa.int64()), ("key", pa.uint64())])
    if not isinstance(found, pa.Table) or not set(want.names) <= set(found.column_names):
        raise broken(flt, "keys", "a table of `row` and `key`", found)
    found = found.select(want.names)
    if found.schema != want or found["row"].null_count or found["key"].null_count:
        raise broken(
            flt, "keys", "row: int64, key: uint64, no nulls", found.schema.to_string(show_schema_metadata=False)
        )
    row = np.asarray(found["row"])
    if len(row) and not (row.min() >= 0 and row.max() < signatures.num_rows):
        raise broken(flt, "keys", f"rows from 0 to {signatures.num_rows - 1}", f"{row.min()} to {row.max()}")
    return row, np.asarray(found["key"])


def broken(flt: base.Filter, what: str, expected: str, got: object) -> TypeError:
    """Return the error for a filter whose global half returns nonsense."""
    shown = " ".join(str(got).split())[:200]
    return TypeError(
        f"filter `{flt.name}` is broken: `{what}` must return {expected}; got {type(got).__name__} {shown}"
    )


def save(path: Path, **arrays: Array) -> None:
    """Write arrays to one file, whole or not at all."""
    with atomic(path) as f:
        np.savez(f, **arrays)  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class Whole:
    """All steps at once, for a filter that takes its signatures in one table."""

    work: Work

    def __call__(self, runs: tuple[Run, ...]) -> str:
        """Write (id, row, cluster, similarity, order) of every sample that has a duplicate; return the file's path."""
        parts, numbers = [], [np.empty(0, np.int64)]
        for run in runs:
            for shard in run.shards:
                table, rows = self.work.signatures(run, shard)
                parts.append(table)
                numbers.append(rows)
        schema = pa.schema([("id", pa.string()), *self.work.flt.scores.items()])
        wide = pa.schema([(f.name, pa.large_binary() if pa.types.is_binary(f.type) else f.type) for f in schema])
        table = pa.concat_tables([wide.empty_table(), *(p.cast(wide) for p in parts)]).combine_chunks()
        rows = np.concatenate(numbers)
        preference = Path(self.work.folder) / "preference"
        if preference.exists():
            table = table.append_column("preference", pa.array(np.fromfile(preference)[rows]))
        found = clustered(self.work.flt, table)
        row = pl.DataFrame({"id": pl.Series(table["id"].cast(pa.string())), "row": rows})
        out = Path(self.work.folder) / "found.parquet"
        joined = found.join(row, on="id", how="left", validate="1:1").select(
            "id", "row", "cluster", "similarity", "order"
        )
        write_table(out, joined.sort("row").to_arrow())
        return str(out)

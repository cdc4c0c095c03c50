"""Files that hold one record per row: JSON Lines, JSON, CSV, TSV, Parquet, each but Parquet also as `.gz`; and whole text files.

Rows are found by their byte offsets in one scan, so that a slice can be read without reading what stands before it.
"""

import csv
import itertools
import mmap
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from curate.sources import _json
from curate.sources._files import open_bytes, suffix
from curate.sources.base import Bad, Packer, Reject, clean, known_reject

LINES = (".jsonl", ".ndjson", ".jsonlines")
SUFFIXES = (
    ".jsonl", ".ndjson", ".jsonlines", ".json", ".csv", ".tsv", ".parquet",
    ".jsonl.gz", ".ndjson.gz", ".json.gz", ".csv.gz", ".tsv.gz",
)  # fmt: skip
TEXTS = (".txt", ".md", ".txt.gz", ".md.gz")
MAX_CELL = 16 << 20  # characters of one CSV cell: an open quote must not swallow the rest of a file
MAX_TEXT = 256 << 20
BATCH = 64  # Parquet rows held decoded at a time: with images in them, many are too many

Row = tuple[str, Mapping[str, Any] | Bad]


def plan(root: Path, names: Sequence[str], packer: Packer, records: str = "", columns: Sequence[str] = ()) -> None:
    """Find the rows of every file. A file that cannot be read is one reject; the others are read all the same."""
    for name in names:
        try:
            _plan_file(root / name, name, packer, records, columns)
        except (OSError, pa.ArrowException, csv.Error, zlib.error) as e:
            why = e.strerror if isinstance(e, OSError) and e.strerror else type(e).__name__
            packer.reject(name, "unreadable", f"cannot be read as {suffix(name).lstrip('.') or 'a file'}: {why}")
        except EOFError:
            packer.reject(name, "truncated", "the gzip stream ends in the middle", f"{name}:end")


def _plan_file(path: Path, name: str, packer: Packer, records: str, columns: Sequence[str]) -> None:
    kind = suffix(name)
    if kind in (".txt", ".md"):
        packer.add({"file": name, "rows": 1, "kind": "text"})
    elif kind == ".parquet":
        _plan_parquet(path, name, packer)
    elif kind in (".csv", ".tsv"):
        _plan_cells(path, name, packer, columns)
    elif kind == ".json":
        _plan_json(path, name, packer, records)
    else:  # .jsonl, and whatever else was named one by one
        _plan_lines(path, name, packer)


def _plan_lines(path: Path, name: str, packer: Packer) -> None:
    with open_bytes(path) as f:
        at = start = rows = first = 0
        try:
            for number, line in enumerate(f, 1):
                if not line.isspace():
                    if rows == 0:
                        start, first = at, number
                    rows += 1
                at += len(line)
                if rows == packer.room:
                    packer.add({"file": name, "rows": rows, "kind": "lines", "at": start, "row": first})
                    rows = 0
        finally:  # a truncated gzip stream raises here: the whole lines before its end count
            if rows:
                packer.add({"file": name, "rows": rows, "kind": "lines", "at": start, "row": first})


def _buffer(path: Path) -> Any:
    if path.name.lower().endswith(".gz"):
        with open_bytes(path) as f:
            return f.read()
    with path.open("rb") as f:
        if os.fstat(f.fileno()).st_size == 0:
            return b""
        return mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)


def _plan_json(path: Path, name: str, packer: Packer, records: str) -> None:
    buf = _buffer(path)
    if not records and _json.is_lines(buf):
        _plan_lines(path, name, packer)
        return
    spans: list[tuple[str | None, int, int]] = []
    first = 1

    def flush() -> None:
        nonlocal spans, first
        if spans:
            packer.add({"file": name, "rows": len(spans), "kind": "json", "row": first, "spans": spans})
            first, spans = first + len(spans), []

    trouble = None
    try:
        for span in _json.spans(buf, records):
            spans.append(span)
            if len(spans) == packer.room:
                flush()
    except _json.Cut:
        trouble = ("truncated", "the document ends in the middle")
    except Bad as e:
        trouble = (e.code, e.message)
    flush()
    if trouble:
        packer.reject(name, *trouble, f"{name}:end")


def _latin(f: IO[bytes], seen: list[int]) -> Iterator[str]:
    """Yield lines as one character per byte, so that the CSV reader can work before we know what is UTF-8."""
    for line in f:
        seen[0] += len(line)
        yield line.decode("latin-1")


def _csv_rows(f: IO[bytes], name: str, at: int) -> Iterator[tuple[int, int, list[str] | None]]:
    """Yield (byte offset, offset of the next, cells or None) of every row that is not blank, from byte `at`."""
    csv.field_size_limit(MAX_CELL)
    seen = [at]
    # A TSV has no quotes (IANA text/tab-separated-values); a stray one in a caption must not swallow lines.
    tabs = suffix(name) == ".tsv"
    reader = csv.reader(
        _latin(f, seen),
        delimiter="\t" if tabs else ",",
        quoting=csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL,
        strict=True,
    )
    while True:
        start = seen[0]
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield start, seen[0], None
            continue
        if cells and any(c.strip() for c in cells):
            yield start, seen[0], cells


def _decoded(cells: list[str]) -> list[str]:
    try:
        return [c.encode("latin-1").decode() for c in cells]
    except UnicodeDecodeError as e:
        raise Bad(code="bad_utf8", message=f"a cell is not UTF-8 (0x{e.object[e.start]:02x})") from None


def _plan_cells(path: Path, name: str, packer: Packer, columns: Sequence[str]) -> None:
    with open_bytes(path) as f:
        rows_of = _csv_rows(f, name, 0)
        header = list(columns)
        number = 0
        start = rows = first = 0
        try:
            for at, _, cells in rows_of:
                if not header:
                    if cells is None:
                        msg = "no header"
                        raise csv.Error(msg)
                    header = [c.removeprefix("\ufeff") for c in _decoded(cells)]
                    continue
                number += 1
                if rows == 0:
                    start, first = at, number
                rows += 1
                if rows == packer.room:
                    packer.add(_cells(name, rows, start, first, header))
                    rows = 0
        except Bad as e:
            packer.reject(name, "unreadable", f"its header: {e.message}")
            return
        finally:
            if rows:
                packer.add(_cells(name, rows, start, first, header))


def _cells(name: str, rows: int, at: int, first: int, header: list[str]) -> dict[str, Any]:
    return {"file": name, "rows": rows, "kind": "cells", "at": at, "row": first, "header": header}


def _plan_parquet(path: Path, name: str, packer: Packer) -> None:
    if not path.is_file():
        msg = "not a regular file"
        raise OSError(msg)
    with pq.ParquetFile(path) as f:
        total = f.metadata.num_rows
    row = 0
    while row < total:
        take = min(packer.room, total - row)
        packer.add({"file": name, "rows": take, "kind": "parquet", "row": row + 1})
        row += take


# -- reading ---------------------------------------------------------------------------------------------------------------


def read(root: Path, part: Mapping[str, Any]) -> Iterator[Row]:
    """Yield (locator, record or what is wrong with it) for every row of a part."""
    done = 0
    name, first = str(part["file"]), int(part.get("row", 1))
    try:
        for row in _READ[part["kind"]](root / name, part):
            done += 1
            yield row
            if done == part["rows"]:
                return
        trouble = Bad(code="truncated", message="the file ends before this row: it was changed after it was looked at")
    except EOFError:
        trouble = Bad(code="truncated", message="the gzip stream ends before this row")
    except (OSError, pa.ArrowException, zlib.error) as e:
        trouble = Bad(code="unreadable", message=f"damaged before this row: {type(e).__name__}")
    for number in range(first + done, first + part["rows"]):
        yield f"{name}:{number}", trouble


def _read_lines(path: Path, part: Mapping[str, Any]) -> Iterator[Row]:
    with open_bytes(path) as f:
        f.seek(part["at"])
        for number, line in enumerate(f, part["row"]):
            if not line.isspace():
                yield f"{part['file']}:{number}", _parsed(line.removeprefix(_json.BOM) if number == 1 else line)


def _parsed(data: bytes, key: str | None = None) -> Mapping[str, Any] | Bad:
    try:
        record = _json.parse(data)
    except Bad as e:
        return e
    return {"_key": key, **record} if key is not None else record


def _read_json(path: Path, part: Mapping[str, Any]) -> Iterator[Row]:
    with open_bytes(path) as f:
        for number, (key, start, stop) in enumerate(part["spans"], part["row"]):
            f.seek(start)
            yield f"{part['file']}:{number}", _parsed(f.read(stop - start), key)


def _read_cells(path: Path, part: Mapping[str, Any]) -> Iterator[Row]:
    header = part["header"]
    with open_bytes(path) as f:
        f.seek(part["at"])
        for number, (_, _, cells) in enumerate(_csv_rows(f, part["file"], part["at"]), part["row"]):
            yield f"{part['file']}:{number}", _record(header, cells)


def _record(header: list[str], cells: list[str] | None) -> Mapping[str, Any] | Bad:
    if cells is None:
        return Bad(code="bad_record", message="a quote that does not close, or text after one that did")
    if len(cells) != len(header):
        return Bad(code="bad_record", message=f"{len(cells)} cells in a table of {len(header)} columns")
    try:
        return dict(zip(header, _decoded(cells), strict=True))
    except Bad as e:
        return e


def _read_parquet(path: Path, part: Mapping[str, Any]) -> Iterator[Row]:
    start, rows = part["row"] - 1, part["rows"]
    with pq.ParquetFile(path, memory_map=True) as f:
        groups, before = [], 0
        skip = start
        for i in range(f.metadata.num_row_groups):
            size = f.metadata.row_group(i).num_rows
            if before + size <= start:
                skip -= size
            elif before < start + rows:
                groups.append(i)
            before += size
        number = part["row"]
        for batch in f.iter_batches(batch_size=BATCH, row_groups=groups):
            if skip >= batch.num_rows:
                skip -= batch.num_rows
                continue
            for i in range(skip, batch.num_rows):
                yield f"{part['file']}:{number}", _arrow_row(batch, i)
                number += 1
            skip = 0


def _arrow_row(batch: pa.RecordBatch, i: int) -> Mapping[str, Any] | Bad:
    try:
        return {name: batch.column(j)[i].as_py() for j, name in enumerate(batch.schema.names)}
    except UnicodeDecodeError:
        return Bad(code="bad_utf8", message="a string is not UTF-8")
    except (ValueError, OverflowError) as e:
        return Bad(code="bad_record", message=f"a value that cannot be read: {type(e).__name__}")


def _read_text(path: Path, part: Mapping[str, Any]) -> Iterator[Row]:
    with open_bytes(path) as f:
        data = f.read(MAX_TEXT + 1)
    if len(data) > MAX_TEXT:
        yield part["file"], Bad(code="bad_record", message=f"a text of more than {MAX_TEXT} bytes")
        return
    try:
        yield part["file"], {"text": data.removeprefix(_json.BOM).decode()}
    except UnicodeDecodeError as e:
        yield part["file"], Bad(code="bad_utf8", message=f"byte {e.start} is not UTF-8 (0x{data[e.start]:02x})")


_READ = {
    "lines": _read_lines,
    "json": _read_json,
    "cells": _read_cells,
    "parquet": _read_parquet,
    "text": _read_text,
}


def outcomes(root: Path, parts: Sequence[Mapping[str, Any]], draft: Any) -> Iterator[Any]:
    """Yield a Draft or Reject for every row of `parts`; `draft(record, locator)` may raise `Bad`."""
    for part in parts:
        known = known_reject(part)
        if known is not None:
            yield known
            continue
        for locator, record in read(root, part):
            try:
                if isinstance(record, Bad):
                    raise record
                yield draft(record, locator)
            except Bad as e:
                yield Reject(locator=clean(locator), code=e.code, message=clean(e.message))


def peek(root: Path, parts: Sequence[Mapping[str, Any]], count: int = 100) -> list[Mapping[str, Any]]:
    """Return the first records that can be read."""
    found: Iterator[Row] = (row for part in parts if "reject" not in part for row in read(root, part))
    return [r for _, r in itertools.islice(found, count) if not isinstance(r, Bad)]

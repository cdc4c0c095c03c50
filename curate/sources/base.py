"""The protocol of a source format: it cuts its input into slices, and turns each slice into drafts and rejects.

One format is one file of this folder, found by its file name, with a frozen dataclass `Reader` whose fields (all but
`data`) are the format's parameters. A reader never writes, never fetches, never unpickles, and holds nothing open
between two calls, so that it can be sent to another process.

Accounting: a slice says how many input rows it holds, and `read` yields exactly one `Draft` or `Reject` for each of them.
`ingest` counts both and stops when they differ. That is why `plan` must find the rows by a cheap look at the input (line
ends, archive headers, Parquet footers), and why the cut depends on the input and `rows_per_slice` alone.
"""

import importlib
import pkgutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol

from catalog.errors import UserError, nearest, unknown_keys


@dataclass(frozen=True, kw_only=True)
class Draft:
    """What a record says it is. `ingest` still has to decode its images."""

    locator: str
    messages: tuple[Mapping[str, str], ...]
    images: tuple[bytes, ...] = ()
    boxes: tuple[Mapping[str, Any], ...] = ()
    task: str = ""  # empty: the source's own
    license: str = ""
    meta: str = "{}"


@dataclass(frozen=True, kw_only=True)
class Reject:
    """What could not become a sample, and why; `code` is one of `catalog.schema.REJECT_CODES`."""

    locator: str
    code: str
    message: str


class Bad(Exception):  # noqa: N818 - not an error of ours: it becomes a row
    """Raised inside a reader where a record turns out to be a reject."""

    def __init__(self, *, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message


@dataclass(frozen=True, kw_only=True)
class Slice:
    """A run of input rows. `parts` is plain JSON and belongs to the format; each part has `file` and `rows`."""

    number: int
    rows: int
    parts: tuple[Mapping[str, Any], ...]


class SourceReader(Protocol):
    """What every format's `Reader` offers."""

    def inputs(self) -> Iterator[tuple[str, Path]]:
        """Yield (relative name, path) of every file whose change means that the source has changed."""
        ...

    def plan(self, rows_per_slice: int) -> list[Slice]:
        """Cut the input into slices of `rows_per_slice` rows; only the last one may hold fewer."""
        ...

    def read(self, piece: Slice) -> Iterator[Draft | Reject]:
        """Yield one outcome per row of `piece`, in order."""
        ...


class Packer:
    """Fills slices in order. `room` is how many rows the slice at hand still takes; no part may hold more."""

    def __init__(self, rows_per_slice: int) -> None:
        self._size = rows_per_slice
        self._parts: list[Mapping[str, Any]] = []
        self._slices: list[Slice] = []
        self.room = rows_per_slice

    def add(self, part: Mapping[str, Any]) -> None:
        """Append a part of 1 to `room` rows."""
        self._parts.append(part)
        self.room -= part["rows"]
        if self.room == 0:
            self._close()

    def reject(self, file: str, code: str, message: str, locator: str = "") -> None:
        """Append a row that is known to be a reject already."""
        self.add({"file": file, "rows": 1, "reject": [locator or file, code, message]})

    def finish(self) -> list[Slice]:
        """Return all slices."""
        if self._parts:
            self._close()
        return self._slices

    def _close(self) -> None:
        rows = self._size - self.room
        self._slices.append(Slice(number=len(self._slices), rows=rows, parts=tuple(self._parts)))
        self._parts, self.room = [], self._size


def known_reject(part: Mapping[str, Any]) -> Reject | None:
    """Return the reject that `Packer.reject` put into this part, if it did."""
    if "reject" not in part:
        return None
    locator, code, message = part["reject"]
    return Reject(locator=clean(locator), code=code, message=clean(message))


def clean(text: str) -> str:
    """Return `text` as it can be stored: file names that are not UTF-8 come as lone surrogates."""
    return text.encode("utf-8", "backslashreplace").decode()


def names() -> list[str]:
    """Return the names of all formats: the files of this folder but this one and the helpers (`_*.py`)."""
    import curate.sources

    found = (m.name for m in pkgutil.iter_modules(curate.sources.__path__) if not m.ispkg)
    return sorted(n for n in found if n != "base" and not n.startswith("_"))


def parameters(name: str) -> list[str]:
    """Return the parameters of a format."""
    return [f.name for f in fields(_reader(name)) if f.name != "data"]


def load(name: str, params: Mapping[str, Any], data: Path) -> SourceReader:
    """Return the reader of format `name`; relative paths in `params` start at `data`.

    Raises `UserError` for a format, a parameter or a path that does not exist.
    """
    cls = _reader(name)
    unknown_keys(params, parameters(name), f"a source of format `{name}`")
    if not params.get("path"):
        msg = f"a source of format `{name}` needs `path`"
        raise UserError(msg, usage=True)
    reader: SourceReader = cls(data=Path(data), **params)
    return reader


def _reader(name: str) -> Any:
    if name not in names():
        msg = f"no source format named `{name}`{nearest(name, [*names(), 'stored'])}"  # `stored` reads nothing: see `ingest`
        raise UserError(msg, usage=True)
    return importlib.import_module(f"curate.sources.{name}").Reader


def as_list(value: str | Sequence[str] | None) -> list[str]:
    """Return one string or several as a list."""
    if value is None:
        return []
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list | tuple) or not all(isinstance(v, str) for v in values):
        msg = f"expected a name or a list of names, got `{value}`"
        raise UserError(msg, usage=True)
    return list(values)


def only(parts: Iterable[Mapping[str, Any]], key: str) -> list[Any]:
    """Return the values of `key` of those parts that have it."""
    return [p[key] for p in parts if key in p]

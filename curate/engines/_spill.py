"""A shuffle on one machine: every item's table is sorted by part into a file, then each part is gathered from all files."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from catalog.files import atomic


def shuffle(
    engine_map: Callable[[Any, Sequence[Any]], Iterator[Any]],
    make: Callable[[Any], pa.Table],
    items: Sequence[Any],
    reduce: Callable[[int, pa.Table], Any],
    scratch: Path,
) -> Iterator[Any]:
    """Do both halves of a shuffle with an engine's `map`; what is in `scratch` already is not made again."""
    missing = [i for i in enumerate(items) if not path(scratch, i[0]).exists()]
    for _ in engine_map(Spill(make=make, folder=scratch), missing):
        pass
    yield from engine_map(Gather(reduce=reduce, folder=scratch, files=len(items)), parts(scratch, len(items)))


_PARTS = b"parts"  # in a file's metadata: {part: [first row, rows]}


def path(folder: Path, number: int) -> Path:
    """Return the file of the `number`-th item."""
    return folder / f"{number:06d}.arrow"


@dataclass(frozen=True, kw_only=True)
class Spill:
    """The first half: (number, item) -> a file."""

    make: Callable[[Any], pa.Table]
    folder: Path

    def __call__(self, numbered: tuple[int, Any]) -> int:
        """Write an item's rows sorted by part; return the item's number."""
        number, item = numbered
        table = self.make(item)
        part = np.asarray(table["part"])
        order = np.argsort(part, kind="stable")
        names, first, count = np.unique(part[order], return_index=True, return_counts=True)
        spans = {str(p): [int(f), int(c)] for p, f, c in zip(names, first, count, strict=True)}
        rows = table.drop_columns(["part"]).take(pa.array(order)).combine_chunks()
        rows = rows.replace_schema_metadata({_PARTS: json.dumps(spans)})
        with atomic(path(self.folder, number)) as f, pa.ipc.new_file(f, rows.schema) as writer:
            writer.write_table(rows)
        return number


@dataclass(frozen=True, kw_only=True)
class Gather:
    """The second half: a part -> what `reduce` makes of its rows in all files."""

    reduce: Callable[[int, pa.Table], Any]
    folder: Path
    files: int

    def __call__(self, part: int) -> Any:
        """Return `reduce(part, rows)`."""
        pieces = []
        for number in range(self.files):
            with pa.memory_map(str(path(self.folder, number))) as f:
                table = pa.ipc.open_file(f).read_all()
                span = _spans(table.schema).get(str(part))
                if span:
                    pieces.append(table.slice(*span))
        return self.reduce(part, pa.concat_tables(pieces))


def parts(folder: Path, files: int) -> Sequence[int]:
    """Return all parts that any file has rows of."""
    found: set[int] = set()
    for number in range(files):
        with pa.memory_map(str(path(folder, number))) as f:
            found.update(int(p) for p in _spans(pa.ipc.open_file(f).schema))
    return sorted(found)


def _spans(schema: pa.Schema) -> dict[str, list[int]]:
    spans: dict[str, list[int]] = json.loads((schema.metadata or {})[_PARTS])
    return spans

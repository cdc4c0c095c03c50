"""Text records: JSON Lines, JSON, CSV, TSV or Parquet with a field map (plain or `.gz`), and `.txt`/`.md` files, one sample each.

Without `fields` a record's `text` is the sample. Text files are records with the one field `text`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curate.sources import _rows
from curate.sources._fields import Fields
from curate.sources._files import base, find
from curate.sources.base import Bad, Draft, Packer, Reject, Slice


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Reads text. `records` says where in a JSON document the records are: `*` or a dotted path."""

    data: Path
    path: str | Sequence[str]
    fields: Mapping[str, Any] = field(default_factory=lambda: {"text": "text"})
    prompt: str = ""
    records: str = ""
    columns: Sequence[str] = ()

    def _map(self) -> Fields:
        return Fields.of(self.fields, self.prompt, "a source of format `text`")

    def __post_init__(self) -> None:
        self._map()

    def inputs(self) -> Iterator[tuple[str, Path]]:
        """Yield every text file and table."""
        root = base(self.path, self.data)
        return ((n, root / n) for n in find(self.path, self.data, (*_rows.SUFFIXES, *_rows.TEXTS)))

    def plan(self, rows_per_slice: int) -> list[Slice]:
        """Cut the input by its lines, rows or files."""
        root, packer = base(self.path, self.data), Packer(rows_per_slice)
        _rows.plan(root, [n for n, _ in self.inputs()], packer, self.records, self.columns)
        slices = packer.finish()
        if slices:
            self._map().check(_rows.peek(root, slices[0].parts), f"the records of `{self.path}`")
        return slices

    def read(self, piece: Slice) -> Iterator[Draft | Reject]:
        """Yield one outcome per row."""
        fields = self._map()
        return _rows.outcomes(base(self.path, self.data), piece.parts, lambda r, at: fields.draft(r, at, _no_image))


def _no_image(value: Any) -> bytes:
    raise Bad(code="bad_record", message="an image in a text source: use format `table`")

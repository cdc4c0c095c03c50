"""Parquet with the images in it: Hugging Face `image` structs {bytes, path}, binary columns, or lists of either.

A struct without bytes is looked up by its path below `images`, if that is given. `messages` may be a list of
`{user, assistant}` pairs, as the_cauldron's `texts` is.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curate.sources import _rows
from curate.sources._fields import Fields
from curate.sources._files import base, find, folder, read_image
from curate.sources.base import Bad, Draft, Packer, Reject, Slice
from curate.sources.conversations import image_files


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Reads Parquet files with embedded images."""

    data: Path
    path: str | Sequence[str]
    images: str | None = None
    fields: Mapping[str, Any] = field(default_factory=lambda: {"image": "image", "text": "text?"})
    prompt: str = ""

    def _map(self) -> Fields:
        return Fields.of(self.fields, self.prompt, "a source of format `parquet`")

    def __post_init__(self) -> None:
        self._map()

    def inputs(self) -> Iterator[tuple[str, Path]]:
        """Yield every Parquet file, and the images that stand outside of them."""
        root = base(self.path, self.data)
        yield from ((n, root / n) for n in find(self.path, self.data, (".parquet",)))
        if self.images is not None:
            yield from image_files(folder(self.images, self.data))

    def plan(self, rows_per_slice: int) -> list[Slice]:
        """Cut the input by row numbers, from the files' footers."""
        root, packer = base(self.path, self.data), Packer(rows_per_slice)
        names = find(self.path, self.data, (".parquet",))
        good = [n for n in names if n.lower().endswith(".parquet")]
        _rows.plan(root, good, packer)
        for name in sorted(set(names) - set(good)):
            packer.reject(name, "unreadable", "no Parquet file by its name")
        slices = packer.finish()
        if slices:
            self._map().check(_rows.peek(root, slices[0].parts, 1), f"the columns of `{self.path}`")
        return slices

    def read(self, piece: Slice) -> Iterator[Draft | Reject]:
        """Yield one outcome per row."""
        fields = self._map()
        images = folder(self.images, self.data) if self.images is not None else None
        return _rows.outcomes(
            base(self.path, self.data),
            piece.parts,
            lambda record, at: fields.draft(record, at, lambda v: _image(v, images)),
        )


def _image(value: Any, root: Path | None) -> bytes:
    if isinstance(value, Mapping):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return value
    if isinstance(value, str) and root is not None:
        return read_image(root, value)
    if value is None or isinstance(value, str):
        raise Bad(
            code="missing_image",
            message="no bytes in the image column" + ("" if value is None else f", only a path `{value[:200]}`"),
        )
    raise Bad(code="bad_record", message=f"an image must be bytes or {{bytes, path}}, not {type(value).__name__}")

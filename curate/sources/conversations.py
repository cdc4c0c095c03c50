"""Conversations as LLaVA and ShareGPT write them: a JSON array or JSON Lines, and a folder that the image paths start at.

    {"id": .., "image": "a.jpg" or [..], "conversations": [{"from": "human", "value": "<image>\\nWhat is this?"}, ..]}
    {"images": [..], "messages": [{"role": "user", "content": ".."}, ..]}

Without `fields` both shapes are read, and `image` or `images` may be missing: such a sample is text.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curate.sources import _rows
from curate.sources._fields import Fields
from curate.sources._files import IMAGES, base, find, folder, read_image, walk
from curate.sources.base import Bad, Draft, Packer, Reject, Slice

EITHER = {"image": ["image?", "images?"], "messages": ["conversations?", "messages?"], "system": "system?"}


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Reads conversations. `images` is the image root, by default the folder of the records."""

    data: Path
    path: str | Sequence[str]
    images: str | None = None
    fields: Mapping[str, Any] = field(default_factory=lambda: dict(EITHER))
    records: str = ""

    def _map(self) -> Fields:
        return Fields.of(self.fields, "", "a source of format `conversations`")

    def _images(self) -> Path:
        return folder(self.images, self.data) if self.images is not None else base(self.path, self.data)

    def __post_init__(self) -> None:
        self._map()

    def inputs(self) -> Iterator[tuple[str, Path]]:
        """Yield every file of records, and every image below the image root."""
        root = base(self.path, self.data)
        yield from ((n, root / n) for n in find(self.path, self.data, _rows.SUFFIXES))
        yield from image_files(self._images())

    def plan(self, rows_per_slice: int) -> list[Slice]:
        """Cut the input by its lines or array members."""
        root, packer = base(self.path, self.data), Packer(rows_per_slice)
        self._images()
        _rows.plan(root, find(self.path, self.data, _rows.SUFFIXES), packer, self.records)
        slices = packer.finish()
        if slices:
            self._map().check(_rows.peek(root, slices[0].parts), f"the records of `{self.path}`")
        return slices

    def read(self, piece: Slice) -> Iterator[Draft | Reject]:
        """Yield one outcome per conversation."""
        fields, images = self._map(), self._images()

        def draft(record: Mapping[str, Any], locator: str) -> Draft:
            if not any(p.removesuffix("?").partition(".")[0] in record for p in fields.paths.get("messages", ())):
                raise Bad(code="bad_record", message="neither `conversations` nor `messages`")
            return fields.draft(record, locator, lambda v: read_image(images, v))

        return _rows.outcomes(base(self.path, self.data), piece.parts, draft)


def image_files(root: Path) -> Iterator[tuple[str, Path]]:
    """Yield every image below an image root: one that was mended or added means that the source has changed."""
    return ((f"images/{p.relative_to(root).as_posix()}", p) for p in walk(root, IMAGES))

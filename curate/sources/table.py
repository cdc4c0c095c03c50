"""Images in files: a folder of images with `.txt` captions beside them, or a table that names images by path.

A folder is read whole, sorted by path: `a/b.jpg` with `a/b.txt` as its caption, if that is there. A table is JSON Lines, JSON,
CSV, TSV or Parquet; `fields.image` names one or several columns that hold a path or a list of paths below `images`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.sources import _rows
from curate.sources._fields import Fields
from curate.sources._files import IMAGES, base, find, folder, read_image, walk
from curate.sources.base import Bad, Draft, Packer, Reject, Slice, clean
from curate.sources.conversations import image_files


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Reads image files. `images` is the folder that paths in a table start at, by default the table's own."""

    data: Path
    path: str | Sequence[str]
    images: str | None = None
    fields: Mapping[str, Any] | None = None
    prompt: str = ""
    records: str = ""
    columns: Sequence[str] = ()

    def _map(self) -> Fields:
        given = self.fields if self.fields is not None else {"image": "image", "text": "text?"}
        return Fields.of(given, self.prompt, "a source of format `table`")

    def _folder(self) -> Path | None:
        """Return the folder of images that `path` is, or None where it names tables."""
        if isinstance(self.path, str) and (self.data / self.path).is_dir():
            return self.data / self.path
        return None

    def _images(self) -> Path:
        return folder(self.images, self.data) if self.images is not None else base(self.path, self.data)

    def __post_init__(self) -> None:
        self._map()

    def inputs(self) -> Iterator[tuple[str, Path]]:
        """Yield every table, image and caption."""
        whole = self._folder()
        if whole is not None:
            return ((p.relative_to(whole).as_posix(), p) for p in walk(whole, (*IMAGES, ".txt")))
        return self._tables()

    def _tables(self) -> Iterator[tuple[str, Path]]:
        root = base(self.path, self.data)
        yield from ((n, root / n) for n in find(self.path, self.data, _rows.SUFFIXES))
        if "image" in self._map().paths:
            yield from image_files(self._images())

    def plan(self, rows_per_slice: int) -> list[Slice]:
        """Cut a folder by its sorted listing, a table by its rows."""
        packer = Packer(rows_per_slice)
        whole = self._folder()
        if whole is not None:
            for name in find(self.path, self.data, IMAGES):
                packer.add({"file": name, "rows": 1})
            return packer.finish()
        root = base(self.path, self.data)
        self._images()
        _rows.plan(root, find(self.path, self.data, _rows.SUFFIXES), packer, self.records, self.columns)
        slices = packer.finish()
        if slices:
            self._map().check(_rows.peek(root, slices[0].parts), f"the records of `{self.path}`")
        return slices

    def read(self, piece: Slice) -> Iterator[Draft | Reject]:
        """Yield one outcome per image of a folder or row of a table."""
        fields, whole = self._map(), self._folder()
        if whole is not None:
            return (_from_folder(whole, str(part["file"]), fields) for part in piece.parts)
        images = self._images()
        return _rows.outcomes(
            base(self.path, self.data),
            piece.parts,
            lambda record, at: fields.draft(record, at, lambda v: read_image(images, v)),
        )


def _from_folder(root: Path, name: str, fields: Fields) -> Draft | Reject:
    record: dict[str, Any] = {"image": name, "folder": Path(name).parent.as_posix()}
    beside = Path(name).with_suffix(".txt")
    try:
        try:
            record["text"] = (root / beside).read_bytes().removeprefix(b"\xef\xbb\xbf").decode().strip()
        except FileNotFoundError:
            if "text" in fields.paths:
                fields = Fields(paths={k: v for k, v in fields.paths.items() if k != "text"}, prompt=fields.prompt)
        except UnicodeDecodeError:
            raise Bad(code="bad_utf8", message=f"its caption `{beside}` is not UTF-8") from None
        except OSError as e:
            raise Bad(code="bad_record", message=f"cannot read its caption `{beside}`: {e.strerror}") from None
        return fields.draft({k: clean(v) for k, v in record.items()}, name, lambda _: read_image(root, name))
    except Bad as e:
        return Reject(locator=clean(name), code=e.code, message=clean(e.message))

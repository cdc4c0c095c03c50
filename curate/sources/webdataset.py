"""WebDataset tars: members that stand together and share the name before the first dot are one sample.

A record holds every member under its extension: images as bytes, `txt`, `text`, `caption` and `cls` as text, `json` as an
object. Other members are named in meta under `_members` and never read; nothing is unpickled. Without `fields`: all images;
`messages` or `conversations` of the JSON if it has them, else the text member, else the JSON's `caption` or `text`.
"""

import itertools
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from curate.sources import _json
from curate.sources._fields import Fields
from curate.sources._files import IMAGES, base, find, open_bytes
from curate.sources.base import Bad, Draft, Packer, Reject, Slice, clean, known_reject

SUFFIXES = (".tar", ".tar.gz", ".tgz")
TEXTS = ("txt", "text", "caption", "cls")
MAX_MEMBER = 256 << 20
_KEY = re.compile(r"^((?:.*/|)[^./]+)[.]([^/]*)$", re.DOTALL)  # the rule of the webdataset library


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Reads WebDataset tars, by member offsets found from their headers."""

    data: Path
    path: str | Sequence[str]
    fields: Mapping[str, Any] | None = None
    prompt: str = ""

    def _map(self, fields: Mapping[str, Any]) -> Fields:
        return Fields.of(fields, self.prompt, "a source of format `webdataset`")

    def __post_init__(self) -> None:
        if self.fields is not None:
            self._map(self.fields)

    def inputs(self) -> Iterator[tuple[str, Path]]:
        """Yield every tar."""
        root = base(self.path, self.data)
        return ((n, root / n) for n in find(self.path, self.data, SUFFIXES))

    def plan(self, rows_per_slice: int) -> list[Slice]:
        """Cut the input by samples; only headers are read."""
        packer = Packer(rows_per_slice)
        for name, path in self.inputs():
            try:
                with open_bytes(path) as f:
                    _plan_tar(f, name, packer)
            except (OSError, tarfile.TarError, EOFError, zlib.error) as e:
                packer.reject(name, "unreadable", f"cannot be read as a tar: {type(e).__name__}")
        return packer.finish()

    def read(self, piece: Slice) -> Iterator[Draft | Reject]:
        """Yield one outcome per sample."""
        root = base(self.path, self.data)
        for part in piece.parts:
            known = known_reject(part)
            yield known if known is not None else self._sample(root / str(part["file"]), part)

    def _sample(self, path: Path, part: Mapping[str, Any]) -> Draft | Reject:
        key = str(part["key"])
        locator = clean(f"{part['file']}/{key}")
        try:
            try:
                with open_bytes(path) as f:
                    record, images = _record(f, key, part["members"])
            except (OSError, EOFError, zlib.error) as e:
                raise Bad(code="truncated", message=f"cannot be read to its end: {type(e).__name__}") from None
            fields = self._map(self.fields if self.fields is not None else _guess(record, images))
            return fields.draft(record, locator, _image)
        except Bad as e:
            return Reject(locator=locator, code=e.code, message=clean(e.message))


class _Samples:
    """Groups the members of one tar into samples and hands them to the packer."""

    def __init__(self, name: str, packer: Packer) -> None:
        self._name = name
        self._packer = packer
        self._seen: set[str] = set()
        self._copies = 0
        self._key = ""
        self._members: dict[str, tuple[int, int]] = {}

    def add(self, key: str, extension: str, where: tuple[int, int]) -> None:
        if key != self._key or extension in self._members:
            self.flush()
            self._key = key
        self._members[extension] = where

    def flush(self) -> None:
        """Close the sample at hand."""
        if not self._members:
            return
        if self._key in self._seen:
            self._copies += 1
            locator = f"{self._name}/{self._key}#{self._copies}"
            self._packer.reject(self._name, "duplicate_key", f"`{self._key}` stood earlier in this tar", locator)
        else:
            self._seen.add(self._key)
            members = [[e, *where] for e, where in self._members.items()]
            self._packer.add({"file": self._name, "rows": 1, "key": self._key, "members": members})
        self._members = {}

    def drop(self) -> None:
        """Forget the sample at hand."""
        self._members = {}


def _plan_tar(f: IO[bytes], name: str, packer: Packer) -> None:
    samples = _Samples(name, packer)
    cut = False
    with tarfile.open(fileobj=f, mode="r:") as tar:
        for number in itertools.count(1):
            try:
                info = tar.next()
            except (tarfile.TarError, EOFError, OSError, zlib.error, ValueError, OverflowError):
                cut = True
                break
            if info is None:
                break
            tar.members = []  # type: ignore[attr-defined]  # or tarfile keeps every header that it has seen
            if info.isdir():
                continue
            found = _KEY.match(info.name)
            problem = _unsafe(info)
            if problem:
                samples.flush()
                packer.reject(name, "unsafe_path", problem, f"{name}/{info.name}#{number}")
            elif found is None:
                samples.flush()
                message = "a member whose name is not `<key>.<extension>`"
                packer.reject(name, "bad_record", message, f"{name}/{info.name}#{number}")
            else:
                samples.add(found.group(1), found.group(2).lower(), (info.offset_data, info.size))
        end = tar.offset
    if cut:
        samples.drop()  # half of a sample is worse than none; the reject below stands for it
    samples.flush()
    if cut or not _ends_well(f, end):
        message = (
            "the archive ends in the middle of a sample" if cut else "the archive has no end mark: something is missing"
        )
        packer.reject(name, "truncated", message, f"{name}/end")


def _ends_well(f: IO[bytes], at: int) -> bool:
    """Return whether the archive's end mark, a block of zeros, stands where the next header would."""
    try:
        f.seek(at)
        return f.read(tarfile.BLOCKSIZE) == b"\0" * tarfile.BLOCKSIZE
    except (EOFError, OSError, zlib.error):
        return False


def _unsafe(info: tarfile.TarInfo) -> str:
    if not info.isreg():
        return "a link, a device or a pipe, no file"
    if (
        info.name.startswith(("/", "\\"))
        or re.match(r"[A-Za-z]:[\\/]", info.name)
        or ".." in re.split(r"[\\/]", info.name)
    ):
        return "a path that leaves the archive"
    return ""


def _record(f: IO[bytes], key: str, members: Sequence[Sequence[Any]]) -> tuple[dict[str, Any], list[str]]:
    record: dict[str, Any] = {"__key__": clean(key)}
    images: list[str] = []
    others: list[str] = []
    for extension, offset, size in members:
        last = extension.rpartition(".")[2]
        is_image = f".{last}" in IMAGES
        if not is_image and last not in (*TEXTS, "json"):
            others.append(clean(extension))
            continue
        if size > MAX_MEMBER:
            raise Bad(
                code="bad_image" if is_image else "bad_record",
                message=f"`{extension}` holds {size} bytes; at most {MAX_MEMBER} are taken",
            )
        f.seek(offset)
        data = f.read(size)
        if len(data) != size:
            raise Bad(code="truncated", message=f"`{extension}` ends in the middle")
        if is_image:
            images.append(extension)
            record[extension] = data
        elif last == "json":
            record[extension] = _json.parse(data)
        else:
            try:
                record[extension] = data.decode().removeprefix("\ufeff")
            except UnicodeDecodeError as e:
                raise Bad(code="bad_utf8", message=f"`{extension}`: byte {e.start} is not UTF-8") from None
    if others:
        record["_members"] = others
    return record, images


def _guess(record: Mapping[str, Any], images: list[str]) -> dict[str, Any]:
    fields: dict[str, Any] = {"image": images} if images else {}
    said = record.get("json", {})
    for name in ("messages", "conversations"):
        if isinstance(said.get(name), list):
            return {**fields, "messages": f"json.{name}"}
    for path in ("txt", "text", "caption", "json.caption", "json.text"):
        top, _, rest = path.partition(".")
        if top in record and (not rest or isinstance(said.get(rest), str)):
            return {**fields, "text": path}
    if not fields:
        raise Bad(code="empty", message="no image and no text among its members")
    return fields


def _image(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    raise Bad(code="bad_record", message="an image must be a member of the tar")

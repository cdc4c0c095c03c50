"""WebDataset tars: members that stand together and share the name before the first dot are one sample.

A record holds every member under its extension: images as bytes, `txt`/`text`/`caption` as text, `json` as an object, `cls` as
text. Other members are named in meta under `_members` and never read; nothing is unpickled. Without `fields`: all images; `messages` or
`conversations` of the JSON if it has them, else the text member, else the JSON's `caption` or `text`.
"""

import gzip
import os
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
                raise Bad("truncated", f"cannot be read to its end: {type(e).__name__}") from None
            fields = self._map(self.fields if self.fields is not None else _guess(record, images))
            return fields.draft(record, locator, _image)
        except Bad as e:
            return Reject(locator=locator, code=e.code, message=clean(e.message))


def _plan_tar(f: IO[bytes], name: str, packer: Packer) -> None:
    seen: set[str] = set()
    key, members = "", {}  # of the sample at hand
    rejects: list[tuple[str, str, str]] = []

    def flush() -> None:
        nonlocal members
        if members:
            if key in seen:
                packer.reject(name, "duplicate_key", f"`{key}` stood earlier in this tar", f"{name}/{key}#{packer_count()}")
            else:
                seen.add(key)
                packer.add({"file": name, "rows": 1, "key": key, "members": [[e, *v] for e, v in members.items()]})
            members = {}
        for locator, code, message in rejects:
            packer.reject(name, code, message, locator)
        rejects.clear()

    copies = 0

    def packer_count() -> int:
        nonlocal copies
        copies += 1
        return copies

    number = 0
    trouble = ""
    with tarfile.open(fileobj=f, mode="r:") as tar:
        while True:
            try:
                info = tar.next()
            except (tarfile.TarError, EOFError, OSError, zlib.error, ValueError, OverflowError, UnicodeError):
                trouble = "ends or breaks in the middle"
                info = None
            if info is None:
                break
            tar.members = []  # or tarfile keeps every header it has seen
            number += 1
            if info.isdir():
                continue
            where = f"{name}/{info.name}#{number}"
            problem = _unsafe(info)
            if problem:
                rejects.append((where, "unsafe_path", problem))
                continue
            found = _KEY.match(info.name)
            if found is None:
                rejects.append((where, "bad_record", "a member without `<key>.<extension>` as its name"))
                continue
            member_key, extension = found.group(1), found.group(2).lower()
            if member_key != key or extension in members:
                flush()
                key = member_key
            members[extension] = (info.offset_data, info.size)
        at = tar.offset
    if number == 0 and trouble:
        packer.reject(name, "unreadable", "cannot be read as a tar")
        return
    if not trouble and not _ends_well(f, at):
        trouble = "has no end mark: it was cut short, or what follows is no tar"
    if trouble and members:
        _drop_cut(f, members, trouble)
    flush()
    if trouble:
        packer.reject(name, "truncated", f"the archive {trouble}", f"{name}/end")


def _drop_cut(f: IO[bytes], members: dict[str, tuple[int, int]], trouble: str) -> None:
    """Take back the sample at the cut: whether all of it is there nobody can say, and half of one is worse than none."""
    del f, trouble
    members.clear()


def _ends_well(f: IO[bytes], at: int) -> bool:
    """Return whether the archive's end mark, a block of zeros, stands where the last header was looked for."""
    try:
        f.seek(max(at - tarfile.BLOCKSIZE, 0))
        tail = f.read(2 * tarfile.BLOCKSIZE)
    except (EOFError, OSError, zlib.error):
        return False
    return tail[:512] == b"\0" * 512 or tail[512:] == b"\0" * 512


def _unsafe(info: tarfile.TarInfo) -> str:
    if not info.isreg():
        return "a link, a device or a pipe, no file"
    if info.name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:[\\/]", info.name) or ".." in re.split(r"[\\/]", info.name):
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
            raise Bad("bad_image" if is_image else "bad_record", f"`{extension}` holds {size} bytes; at most {MAX_MEMBER} are taken")
        f.seek(offset)
        data = f.read(size)
        if len(data) != size:
            raise Bad("truncated", f"`{extension}` ends in the middle")
        if is_image:
            images.append(extension)
            record[extension] = data
        elif last == "json":
            record[extension] = _json.parse(data)
        else:
            try:
                record[extension] = data.decode().removeprefix("\ufeff")
            except UnicodeDecodeError as e:
                raise Bad("bad_utf8", f"`{extension}`: byte {e.start} is not UTF-8") from None
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
        raise Bad("empty", "no image and no text among its members")
    return fields


def _image(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    raise Bad("bad_record", "an image must be a member of the tar")


_ = gzip, os

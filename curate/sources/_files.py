"""Finding input files, opening them, and keeping image paths inside their root."""

import difflib
import functools
import gzip
import os
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, cast

from catalog.errors import UserError
from curate.sources.base import Bad, as_list

IMAGES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
MAX_BYTES = 256 << 20  # of one encoded image: more is no image that anybody trains on
_WILD = re.compile(r"[*?\[{]")


def expand(pattern: str) -> list[str]:
    """Return what a shell makes of `{a,b}` and `{000..012}`."""
    found = re.search(r"\{([^{}]*)\}", pattern)
    if found is None:
        return [pattern]
    inner = found.group(1)
    numbers = re.fullmatch(r"(\d+)\.\.(\d+)", inner)
    if numbers:
        low, high = numbers.groups()
        width = len(low) if low.startswith("0") or len(low) == len(high) else 0
        choices = [f"{n:0{width}d}" for n in range(int(low), int(high) + 1)]
    else:
        choices = inner.split(",")
    return [p for c in choices for p in expand(pattern[: found.start()] + c + pattern[found.end() :])]


def base(path: str | Sequence[str], data: Path) -> Path:
    """Return the folder that names of input files are relative to: the last one before any wildcard."""
    folders = []
    for pattern in as_list(path):
        parts = Path(pattern).parts
        wild = next((i for i, p in enumerate(parts) if _WILD.search(p)), None)
        fixed = data.joinpath(*parts[:wild])
        folders.append(fixed.parent if wild is None and not fixed.is_dir() else fixed)
    return Path(os.path.commonpath([str(f) for f in folders])) if folders else data


def find(path: str | Sequence[str], data: Path, suffixes: Sequence[str]) -> list[str]:
    """Return the input files that `path` names, relative to `base`, sorted: a file, a folder, a glob, `{00..12}`, or a list.

    Raises `UserError` where a path names nothing.
    """
    root = base(path, data)
    names: set[str] = set()
    for given in as_list(path):
        for pattern in expand(given):
            if re.search(r"[*?\[]", pattern) and not (data / pattern).exists():
                anchor = base(pattern, data)
                rest = str((data / pattern).relative_to(anchor))
                hits = [p for p in anchor.glob(rest) if p.is_file() or p.is_symlink()] if anchor.is_dir() else []
                if not hits:
                    msg = f"no file matches `{data / pattern}`{_siblings(anchor / '?')}"
                    raise UserError(msg, usage=True)
            else:
                hits = _named(data / pattern, suffixes)
            names.update(p.relative_to(root).as_posix() for p in hits)
    return sorted(names)


def _named(path: Path, suffixes: Sequence[str]) -> list[Path]:
    if not path.exists():
        msg = f"no such file or folder: `{path}`{_siblings(path)}"
        raise UserError(msg, usage=True)
    if not path.is_dir():
        return [path]
    found = list(walk(path, suffixes))
    if not found:
        msg = f"no file that ends in {', '.join(suffixes)} in `{path}`"
        raise UserError(msg, usage=True)
    return found


def walk(folder: Path, suffixes: Sequence[str]) -> Iterator[Path]:
    """Yield the files below `folder` with one of `suffixes`, sorted; hidden ones and linked folders are passed over."""
    for where, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and name.lower().endswith(tuple(suffixes)):
                yield Path(where) / name


def _siblings(path: Path) -> str:
    """Return `; did you mean ...?` for the first part of `path` that does not exist."""
    missing = path
    while not missing.parent.exists():
        missing = missing.parent
    if not missing.parent.is_dir():
        return f"; `{missing.parent}` is no folder"
    there = sorted(p.name for p in missing.parent.iterdir())
    close = difflib.get_close_matches(missing.name, there, n=1, cutoff=0.4)
    if close:
        return f"; did you mean `{missing.parent / close[0]}`?"
    shown = ", ".join(f"`{n}`" for n in there[:8])
    return f"; in `{missing.parent}` there is {shown or 'nothing'}"


def folder(path: str, data: Path) -> Path:
    """Return an existing folder; raise `UserError` when it is not there."""
    found = data / path
    if not found.is_dir():
        msg = f"no such folder: `{found}`{_siblings(found) if not found.exists() else '; it is a file'}"
        raise UserError(msg, usage=True)
    return found


def suffix(name: str) -> str:
    """Return the suffix that says what a file holds: `.jsonl` for `a.jsonl.gz`."""
    return Path(name.lower().removesuffix(".gz")).suffix


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file for reading, through gzip where its name ends in `.gz`/`.tgz`. It can seek (slowly, within gzip)."""
    if not path.is_file():  # a pipe or a device would hang
        msg = "not a regular file"
        raise OSError(msg)
    if path.name.lower().endswith((".gz", ".tgz")):
        return cast("IO[bytes]", gzip.open(path, "rb"))
    return path.open("rb")


@functools.lru_cache(maxsize=64)
def _real(root: Path) -> str:
    return os.path.realpath(root)


def read_image(root: Path, name: object) -> bytes:
    """Return the bytes of the image `name` under `root`, links resolved; raise `Bad` when it is not there or leaves `root`."""
    if not isinstance(name, str):
        raise Bad(code="bad_record", message=f"an image path must be text, not {type(name).__name__}")
    if re.match(r"(?i)(https?|ftp|s3|gs|data|hf):", name):
        raise Bad(code="missing_image", message=f"`{name[:200]}` is an address: nothing is fetched")
    try:
        path = Path(os.path.realpath(root / name))
        inside = path.is_relative_to(_real(root))
        if inside:
            info = path.stat()
    except (OSError, ValueError):
        raise Bad(code="missing_image", message=f"no image `{name[:200]}`") from None
    if not inside:
        raise Bad(code="unsafe_path", message=f"`{name[:200]}` leaves the image root")
    if not stat.S_ISREG(info.st_mode):
        raise Bad(code="missing_image", message=f"`{name[:200]}` is no file")
    if info.st_size > MAX_BYTES:
        raise Bad(code="bad_image", message=f"`{name[:200]}` holds {info.st_size} bytes; at most {MAX_BYTES} are taken")
    try:
        return path.read_bytes()
    except OSError as e:
        raise Bad(code="missing_image", message=f"cannot read `{name[:200]}`: {e.strerror}") from None

"""Files that are there whole or not at all: temporary name, fsync, rename, fsync of the folder."""

import contextlib
import errno
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from catalog.console import say
from catalog.errors import UserError, nearest

_PREFIX = ".tmp-"


def explain(error: OSError, path: Path) -> UserError:
    """Return the `UserError` for an `OSError` met while writing `path`."""
    where = f"`{path}`"
    if error.errno == errno.ENOSPC:
        return UserError(f"disk full while writing {where}", hint="free some space and run the same command again")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return UserError(
            f"cannot write {where}: {os.strerror(error.errno)}", hint="choose a store that you may write to"
        )
    if error.errno in (errno.EDQUOT,):
        return UserError(f"disk quota exceeded while writing {where}", hint="free some space and run it again")
    return UserError(f"cannot write {where}: {error.strerror or error}")


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `path`; on success fsync it and rename it to `path`, on failure remove it.

    Raises `UserError` when the disk is full or not writable.
    """
    # The process id keeps two writers apart; leftovers of a killed one are swept by `sweep`.
    tmp = path.parent / f"{_PREFIX}{os.getpid()}-{path.name}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tmp.open("wb") as f:
            yield f
            f.flush()
            os.fsync(f.fileno())
        tmp.replace(path)
        sync_folder(path.parent)
    except BaseException as e:
        with contextlib.suppress(OSError):
            tmp.unlink(missing_ok=True)
        if isinstance(e, OSError):
            raise explain(e, path) from e
        raise


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold `folder` against other processes that ask for it too; wait until it is free. A process that dies lets go."""
    path = folder / ".lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = path.open("wb")
    except OSError as e:
        raise explain(e, path) from e
    with held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another process that writes `{folder}`")
            fcntl.flock(held, fcntl.LOCK_EX)
        yield


def sync_folder(folder: Path) -> None:
    """Make a rename within `folder` durable."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all."""
    with atomic(path) as f:
        f.write(data)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON with sorted keys and a final newline, whole or not at all."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    write_bytes(path, text.encode())


def read_json(path: Path) -> Any:
    """Return the JSON value in `path`; raise `UserError` when it is missing or not JSON."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        msg = f"no such file: `{path}`"
        raise UserError(msg) from None
    except (ValueError, OSError) as e:
        msg = f"cannot read `{path}`: {e}"
        raise UserError(msg) from None


def read_yaml(path: Path, what: str) -> Any:
    """Return the YAML value in `path`; raise `UserError` (wrong use) that names `what` was read and the nearest file."""
    import yaml

    class Loader(yaml.SafeLoader):
        """Safe YAML in which a key that is given twice is an error: the first one would be lost without a word."""

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:  # noqa: FBT001 - the base class's signature
            keys = [self.construct_object(k, deep=True) for k, _ in node.value]  # type: ignore[no-untyped-call]
            for key in keys:
                if keys.count(key) > 1:
                    msg = f"line {node.start_mark.line + 1} of {what} `{path}`: key `{key}` is given twice"
                    raise UserError(msg, usage=True)
            return super().construct_mapping(node, deep=deep)  # type: ignore[no-untyped-call]

    try:
        text = path.read_text(encoding="utf-8")
        return yaml.load(text, Loader=Loader)
    except FileNotFoundError:
        near = nearest(path.name, [p.name for p in path.parent.glob("*.y*ml")] if path.parent.is_dir() else [])
        msg = f"no {what} at `{path}`{near}"
        raise UserError(msg, usage=True) from None
    except yaml.MarkedYAMLError as e:
        raise UserError(_bad_yaml(e, text, f"{what} `{path}`"), hint=_yaml_hint(e), usage=True) from None
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as e:
        msg = f"cannot read {what} `{path}`: {' '.join(str(e).split())}"
        raise UserError(msg, usage=True) from None


def _bad_yaml(error: Any, text: str, where: str) -> str:
    """Return what is wrong with a YAML text, with the line that it was noticed in and, where another one began it, that one."""
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return f"cannot read {where}: {' '.join(str(error).split())}"
    said = f"cannot read {where}, line {mark.line + 1}, column {mark.column + 1}: {error.problem or error.context}"
    begun = error.context_mark
    if error.problem and begun is not None and begun.line != mark.line:
        said += f" {error.context}\n{_pointed(text, begun)}"
    return f"{said}\n{_pointed(text, mark)}"


def _pointed(text: str, mark: Any) -> str:
    """Return the line of a mark with its number, and an arrow under the column."""
    lines = text.splitlines()
    line = lines[mark.line].replace("\t", " ") if mark.line < len(lines) else ""
    start = max(0, mark.column - 80)  # of a long line the part around the mark
    return f"  {mark.line + 1:>4} | {line[start : start + 110]}\n       | {' ' * (mark.column - start)}^"


def _yaml_hint(error: Any) -> str:
    said = str(error)
    if "'\\t'" in said:
        return "YAML is indented with spaces, not with tabs"
    if "mapping values are not allowed" in said:
        return "text that holds a colon and a space stands in quotes"
    return ""


def share(old: Path, new: Path) -> None:
    """Give an existing file a second name; copy it where the file system has no hard links."""
    new.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(old, new)
    except OSError:
        write_bytes(new, old.read_bytes())


def publish(staging: Path, target: Path) -> None:
    """Rename a finished folder to its final name; when the target is there already, it holds the same: drop staging."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        staging.rename(target)
        sync_folder(target.parent)
    except OSError as e:
        if e.errno in (errno.EEXIST, errno.ENOTEMPTY):
            remove(staging)
            return
        raise explain(e, target) from e


def remove(folder: Path) -> None:
    """Remove a folder and all in it; not being there is fine."""
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


def sweep(folder: Path) -> int:
    """Remove what killed writers left in `folder` (files under a temporary name); return how many."""
    stale = list(folder.rglob(f"{_PREFIX}*")) if folder.is_dir() else []
    for path in stale:
        path.unlink(missing_ok=True)
    return len(stale)

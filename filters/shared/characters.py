"""Tables over code points: which characters are special, and how each reads in lower case."""

import functools
from pathlib import Path

import numpy as np

from catalog.errors import UserError
from filters.shared.text import LETTER, MARK, Array, classes, inlined


def special(path: str | None = None) -> Array:
    """Return which code points below 0x20000 are special: neither letter nor mark, or those that stand in the file `path`."""
    if path is None:
        return _no_letters()
    where = Path(path)
    if not where.is_file():
        msg = f"no file `{path}`; expected a text whose characters are the special ones"
        raise UserError(msg)
    info = where.stat()
    return _listed(where, info.st_mtime_ns, info.st_size)


@functools.cache
def _no_letters() -> Array:
    table: Array = (classes() & (LETTER | MARK)) == 0
    return table


@functools.lru_cache(maxsize=8)
def _listed(path: Path, _time: int, _size: int) -> Array:
    table = np.zeros(len(classes()), np.bool_)
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError as e:
        msg = f"`{path}` is not UTF-8; expected a text whose characters are the special ones"
        raise UserError(msg) from e
    table[[ord(c) for c in text if ord(c) < len(table)]] = True
    return table


@functools.cache
def lower() -> Array:
    """Return every code point below 0x20000 in lower case, where that is one code point, else as it is."""
    table = np.arange(len(classes()), dtype=np.int64)
    for cp in range(len(table)):
        small = chr(cp).lower()
        if len(small) == 1:
            table[cp] = ord(small)
    return table


@inlined
def listed(table: Array, cp: int) -> bool:
    """Tell whether the table of `special` has a code point; ideographs beyond it are letters, planes beyond those special."""
    if cp < 0x20000:
        return bool(table[cp])
    return cp >= 0x40000

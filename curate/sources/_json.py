"""JSON as strict as a data set needs it, and where the records of a big JSON document lie, without parsing it."""

import json
import math
import re
from collections.abc import Iterator
from typing import Any, NoReturn

from curate.sources.base import Bad

# Strings first, so that brackets inside them do not count. The lone quote is a string that never ends.
_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[\[\]{},:"]', re.DOTALL)
_SPACE = re.compile(rb"[ \t\r\n]*")
BOM = b"\xef\xbb\xbf"


def _no_constant(name: str) -> NoReturn:
    msg = f"{name} is not JSON"
    raise ValueError(msg)


def parse(data: bytes) -> dict[str, Any]:
    """Return the JSON object in `data`; raise `Bad` with `bad_utf8` or `bad_json`."""
    try:
        text = data.decode()
    except UnicodeDecodeError as e:
        raise Bad(code="bad_utf8", message=f"byte {e.start} is not UTF-8 (0x{data[e.start]:02x})") from None
    try:
        value = json.loads(text, parse_constant=_no_constant, parse_float=_finite)
    except (ValueError, RecursionError) as e:
        raise Bad(code="bad_json", message="nested too deeply" if isinstance(e, RecursionError) else str(e)) from None
    if not isinstance(value, dict):
        raise Bad(code="bad_json", message=f"expected a JSON object, got {type(value).__name__}")
    return value


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        msg = f"{text[:40]} is too large a number"
        raise ValueError(msg)
    return value


class Cut(Exception):  # noqa: N818 - says that the document ends in the middle
    """The document ends before its outermost bracket closes."""


def _skip(buf: Any, at: int) -> int:
    found = _SPACE.match(buf, at)
    return found.end() if found else at


def children(buf: Any, at: int) -> Iterator[tuple[str | None, int, int]]:
    """Yield (key or None, start, stop) of every member of the array or object that opens at byte `at`."""
    depth = 0
    start = _skip(buf, at + 1)
    key: str | None = None
    for token in _TOKEN.finditer(buf, at + 1):
        what = token.group()
        first = what[0]
        if first == 0x22:  # a string, or one that never ends
            if len(what) == 1:
                raise Cut
            continue
        if first in b"{[":
            depth += 1
        elif first in b"}]":
            if depth == 0:
                if start < token.start():
                    yield key, start, token.start()
                return
            depth -= 1
        elif depth == 0 and first == 0x2C:  # ,
            yield key, start, token.start()
            start, key = _skip(buf, token.end()), None
        elif depth == 0 and first == 0x3A:  # :
            try:
                key = json.loads(bytes(buf[start : token.start()]))
            except ValueError:
                key = None
            start = _skip(buf, token.end())
    raise Cut


def end_of(buf: Any, at: int) -> int:
    """Return where the array or object that opens at `at` ends."""
    depth = 0
    for token in _TOKEN.finditer(buf, at):
        first = token.group()[0]
        if first == 0x22 and len(token.group()) == 1:
            raise Cut
        if first in b"{[":
            depth += 1
        elif first in b"}]":
            depth -= 1
            if depth == 0:
                return token.end()
    raise Cut


def is_lines(buf: Any) -> bool:
    """Return whether a `.json` file holds one object per line rather than one document."""
    at = _skip(buf, len(BOM) if buf[:3] == BOM else 0)
    if buf[at : at + 1] != b"{":
        return buf[at : at + 1] not in (b"[", b"")
    line_end = buf.find(b"\n", at)
    if line_end < 0:
        return False
    try:
        end = end_of(buf, at)
    except Cut:  # a broken first line must not take the others with it
        second = _skip(buf, line_end)
        return bool(buf[second : second + 1] == b"{")
    return _skip(buf, end) < len(buf)


def spans(buf: Any, records: str) -> Iterator[tuple[str | None, int, int]]:
    """Yield (key, start, stop) of every record of a JSON document.

    `records` is empty for the members of the outermost array (or the one outermost object), `*` for the values of the outermost
    object, or the dotted path of the array or object whose members are the records. Raises `Bad` or `Cut`.
    """
    at = _skip(buf, len(BOM) if buf[:3] == BOM else 0)
    if buf[at : at + 1] not in (b"[", b"{"):
        raise Bad(code="bad_json", message="neither an array nor an object")
    if records not in ("", "*"):
        for step in records.split("."):
            at = next((start for key, start, _ in children(buf, at) if key == step), -1)
            if at < 0 or buf[at : at + 1] not in (b"[", b"{"):
                raise Bad(code="bad_record", message=f"no array or object at `{records}`")
    elif records == "" and buf[at : at + 1] == b"{":
        yield None, at, end_of(buf, at)
        return
    yield from children(buf, at)

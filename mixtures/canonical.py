"""Canonical JSON (RFC 8785) for values without floats, in the standard library alone.

The loader checks a lock's id on machines that have only torch, numpy, pyarrow and pillow, so it cannot use `rfc8785`.
Without floats the rule is short: keys sorted by UTF-16 code units, no spaces, only the escapes that JSON demands.
A test holds this against `rfc8785` on generated values.
"""

import hashlib
import json
from typing import Any

from catalog.errors import UserError

MAX_INTEGER = 2**53 - 1
PREFIX = "sha256:"
UNHASHED = ("id", "volatile")


def canonical(value: Any) -> bytes:
    """Return the RFC 8785 bytes of `value`; raise `UserError` for a float or an integer that JSON cannot carry."""
    return _text(value).encode()


def _text(value: Any) -> str:
    if isinstance(value, dict):
        keys = sorted(value, key=lambda k: k.encode("utf-16-be"))
        return "{" + ",".join(f"{_text(k)}:{_text(value[k])}" for k in keys) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_text, value)) + "]"
    if isinstance(value, float):
        msg = f"a float in a lock: {value!r}; expected an integer or a decimal string"
        raise UserError(msg)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > MAX_INTEGER:
        msg = f"an integer beyond 2^53 in a lock: {value}"
        raise UserError(msg)
    return json.dumps(value, ensure_ascii=False)


def lock_id(lock: dict[str, Any]) -> str:
    """Return the id of a lock: the digest of everything in it but `id` and `volatile`."""
    hashed = {k: v for k, v in lock.items() if k not in UNHASHED}
    return PREFIX + hashlib.sha256(canonical(hashed)).hexdigest()

"""What a parameter of a filter may be: the annotations of its keyword-only arguments, held against given values.

Kinds: `bool`, `int`, `float`, `str`, `Sequence[str]` (or `tuple[str, ...]`), each also with `| None`.
"""

import math
from collections.abc import Sequence
from types import NoneType, UnionType
from typing import Any, get_args, get_origin

from catalog.errors import UserError

LARGEST = 2**53  # beyond it JSON and float64 do not keep whole numbers apart
_SAID = {bool: "true or false", int: "a whole number", float: "a number", str: "text", NoneType: "null"}


def check(key: str, value: Any, kind: Any, where: str) -> None:
    """Raise `UserError` where `value` is not of `kind`, or below 0 for a parameter named `min_*`."""
    kinds = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    said = " or ".join(_SAID.get(k, "a list of texts") for k in kinds)
    if any(_fits(value, k) for k in kinds):
        if not key.startswith("min_") or value is None or value >= 0:
            return
        said += " of 0 or more"
    msg = f"`{key}` of {where} must be {said}, got {_shown(value)}"
    raise UserError(msg, usage=True)


def within(key: str, value: int, low: int, high: int | None = None) -> None:
    """Raise `UserError` where the parameter `key` lies outside `low`..`high`, both inclusive."""
    if value < low or (high is not None and value > high):
        said = f"{low} or more" if high is None else f"{low} to {high}"
        msg = f"`{key}` must be {said}, got `{value}`"
        raise UserError(msg, usage=True)


def known(kind: Any) -> bool:
    """Tell whether `check` knows an annotation."""
    kinds = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    return all(k in _SAID or (get_origin(k) in (Sequence, tuple) and get_args(k)[0] is str) for k in kinds)


def _fits(value: Any, kind: Any) -> bool:
    if kind in (bool, str, NoneType):
        return isinstance(value, kind)
    if kind not in _SAID:
        return isinstance(value, list | tuple) and all(isinstance(v, str) for v in value)
    if isinstance(value, float):
        return kind is float and math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST


def _shown(value: Any) -> str:
    if isinstance(value, int) and abs(value) > LARGEST:
        return "one beyond 2**53"
    try:
        return f"`{value}`"
    except ValueError:  # Python refuses to write out whole numbers of thousands of digits
        return "something else"

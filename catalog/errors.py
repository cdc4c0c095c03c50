"""The one error that a user is meant to read."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any


class UserError(Exception):
    """Something that the user can mend: `message` says what was wrong and what was expected, `hint` how to mend it.

    `usage` is true where the call itself was wrong (exit code 2); otherwise the work failed (exit code 1).
    """

    def __init__(self, message: str, *, hint: str = "", usage: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.usage = usage

    def __str__(self) -> str:
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions with keyword-only arguments do not survive a process boundary by themselves.
        return (_rebuild, (self.message, self.hint, self.usage))


def _rebuild(message: str, hint: str, usage: bool) -> UserError:  # noqa: FBT001 - mirrors the pickled tuple
    return UserError(message, hint=hint, usage=usage)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean `x`?` for the known name closest to `name`, or the list of known names."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f"; did you mean `{close[0]}`?"
    shown = ", ".join(f"`{n}`" for n in names[:20])
    return f"; known: {shown}" if names else ""


def unknown_keys(given: Iterable[str], known: Iterable[str], where: str) -> None:
    """Raise `UserError` for the first key of `given` that is not in `known`, offering the nearest one."""
    known = set(known)
    for key in given:
        if key not in known:
            msg = f"unknown key `{key}` in {where}{nearest(str(key), known)}"
            raise UserError(msg, usage=True)


_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def wrong_kinds(given: Mapping[str, Any], defaults: Mapping[str, Any], where: str) -> None:
    """Raise `UserError` for the first value of `given` that is of another kind than its default, where that tells one."""
    for key, value in given.items():
        kind = type(defaults.get(key))
        right = (int, float) if kind is float else (kind,)
        if kind in _KINDS and (not isinstance(value, right) or (isinstance(value, bool) and kind is not bool)):
            msg = f"`{key}` of {where} must be {_KINDS[kind]}, got `{value}`"
            raise UserError(msg, usage=True)

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


CLOSE = (
    0.65  # of difflib's ratio: swapped letters of a three-letter word are 0.67, words that share letters by chance 0.5
)
LISTED = 20  # names that a message lists; more than that nobody reads


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean `x`?` for a known name that is close to `name`; otherwise what names there are, if they are few.

    Close is a slip of the pen, or a part of the name: a wrong suggestion sends people the wrong way.
    """
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=CLOSE)
    if not close and len(name) > 2:
        close = sorted((n for n in names if name.lower() in n.lower()), key=len)[:1]
    if close:
        return f"; did you mean `{close[0]}`?"
    if len(names) > LISTED:
        return f"; none of the {len(names)} known names is like it"
    return f"; known: {', '.join(f'`{n}`' for n in names)}" if names else ""


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

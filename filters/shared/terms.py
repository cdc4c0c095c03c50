"""Lists of terms, one a line in `<language>.txt`, and how often they occur in tokenised texts.

A term is one word or several in a row (`hand job`; every ideograph is a word). Words are those of `filters/shared/text.py`, so
that case, width, hyphens and zero-width characters make no difference; a term in the middle of a longer word does not count.
Bundled lists lie beside this file in `wordlists/<list>/`. They are our own: short, of words that have hardly another
meaning, and meant to be replaced by a list that fits the data.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from catalog.errors import UserError, nearest
from filters.shared.text import Array, Tokens, borrowed, extend, inlined, kernel, tokenise

BUNDLED = Path(__file__).parent / "wordlists"


@dataclass(frozen=True, kw_only=True)
class Terms:
    """Hash tables of open addressing, 0 where free."""

    firsts: Array  # uint64: first words of terms
    longest: Array  # int64: words of the longest term that begins so
    terms: Array  # uint64: whole terms


def load(name: str, languages: Sequence[str], path: str | None = None) -> Terms:
    """Return the terms of `languages`: of the bundled list `name`, of a folder of `<language>.txt`, or all of a file."""
    if not languages or isinstance(languages, str) or not all(isinstance(language, str) for language in languages):
        msg = f"`languages` is {languages!r}; expected a list such as ['en']"
        raise UserError(msg, usage=True)
    where = BUNDLED / name if path is None else Path(path)
    if where.is_file():
        files = [where]
    elif where.is_dir():
        known = sorted(p.stem for p in where.glob("*.txt"))
        for language in languages:
            if language not in known:
                msg = f"no `{language}.txt` in `{where}`{nearest(language, known)}"
                raise UserError(msg, usage=True)
        files = [where / f"{language}.txt" for language in languages]
    else:
        msg = f"no list `{where}`; expected a file with one term a line, or a folder of `<language>.txt`"
        raise UserError(msg)
    return _read(tuple((p, p.stat().st_mtime_ns, p.stat().st_size) for p in files))


def lines(path: Path) -> list[str]:
    """Return the terms of a file: its lines but for empty ones and those that begin with `#`."""
    try:
        found = [line.strip() for line in path.read_text("utf-8-sig").splitlines()]
    except UnicodeDecodeError as e:
        msg = f"`{path}` is not UTF-8; expected a text with one term a line"
        raise UserError(msg) from e
    return [line for line in found if line and not line.startswith("#")]


@functools.lru_cache(maxsize=32)
def _read(files: tuple[tuple[Path, int, int], ...]) -> Terms:
    terms = sorted({term for path, _, _ in files for term in lines(path)})
    return _build(tokenise(pa.array(terms, pa.large_string())))


def _build(words: Tokens) -> Terms:
    room = 4
    while room < 4 * len(words.first):
        room *= 2
    firsts, terms = np.zeros(room, np.uint64), np.zeros(room, np.uint64)
    longest = np.zeros(room, np.int64)
    _fill(words.hashes, words.first, firsts, longest, terms)
    return Terms(firsts=firsts, longest=longest, terms=terms)


@inlined
def _slot(keys: Array, key: np.uint64) -> int:
    last = np.uint64(len(keys) - 1)
    s = key & last
    while keys[s] != 0 and keys[s] != key:
        s = (s + np.uint64(1)) & last
    return int(s)


@kernel
def _fill(hashes: Array, first: Array, firsts: Array, longest: Array, terms: Array) -> None:
    for t in range(len(first) - 1):
        size = first[t + 1] - first[t]
        if size == 0:
            continue
        s = _slot(firsts, hashes[first[t]])
        firsts[s] = hashes[first[t]]
        longest[s] = max(longest[s], size)
        h = np.uint64(0)
        for i in range(first[t], first[t + 1]):
            h = extend(h, hashes[i])
        terms[_slot(terms, h)] = h


@kernel
def _count(hashes: Array, first: Array, firsts: Array, longest: Array, terms: Array) -> Array:
    firsts, terms = borrowed(firsts), borrowed(terms)
    n = len(first) - 1
    out = np.zeros((n, 2), np.int64)
    for t in range(n):
        i = first[t]
        while i < first[t + 1]:
            s = _slot(firsts, hashes[i])
            best = 0
            if firsts[s] != 0:
                h = np.uint64(0)
                for k in range(min(longest[s], first[t + 1] - i)):
                    h = extend(h, hashes[i + k])
                    if terms[_slot(terms, h)] == h:
                        best = k + 1
            if best:
                out[t, 0] += 1
                out[t, 1] += best
            i += max(best, 1)
    return out


def count(tokens: Tokens, terms: Terms) -> Array:
    """Return per text how many terms occur, and how many words those are; of terms that overlap the first, then the longest."""
    return _count(tokens.hashes, tokens.first, terms.firsts, terms.longest, terms.terms)  # type: ignore[no-any-return]

# ruff: noqa: FBT001, SIM905
"""Texts cut into words and sentences, as the published text rules count them.

`words(texts, tokeniser=..)` gives every word as the bytes that it covers, with what rules ask about it. Tokenisers:
- `cuvee`: our own compiled splitter. It cuts as spaCy's English tokenizer does (the one that datatrove uses for C4, Gopher and
  FineWeb): white space parts chunks; from a chunk's front and back signs are taken off one by one; what is left is a word of
  the exceptions (`english.py`), an address, or is cut at the signs inside it (hyphens between letters, ellipses, ..);
  an exception whose pieces stand next to each other is put together again.
- `space`: what white space separates, as DCLM and dolma count words.
- `spacy`: spaCy itself (extra `spacy`), to compare with.

A word never holds white space. All positions are bytes; `lengths` are code points.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from catalog.errors import UserError, nearest
from filters.shared import chars
from filters.shared.chars import (
    ALPHA,
    BACK,
    BEFORE_STOP,
    CAPITAL,
    FRONT,
    ICON,
    LETTER,
    LOWER,
    MONEY,
    PUNCT,
    QUOTE,
    SPACE,
    STOP,
    SYMBOL,
    WORD,
)  # fmt: skip
from filters.shared.english import exceptions
from filters.shared.text import Array, Texts, assistant, borrowed, buffers, cached, decode, inlined, kernel, mix

TOKENISERS = ("cuvee", "space", "spacy")

TEXTUAL, ALPHABETIC, PUNCTUATION, FULL_STOP = 1, 2, 4, 8
"""What a word is: has a character that is no symbol; has a letter; is punctuation only; is one sign that ends a sentence."""

_LONGEST = 40  # bytes; no exception is longer
_PRIME = np.uint64(0x9E3779B97F4A7C15)
_UNITS = (
    "km km² km³ m m² m³ dm dm² dm³ cm cm² cm³ mm mm² mm³ ha µm nm yd in ft kg g mg µg t lb oz m/s km/h kmh mph hPa Pa "
    "mbar mb MB kb KB gb GB tb TB T G M K % км км² км³ м м² м³ дм дм² дм³ см см² см³ мм мм² мм³ нм кг г мг м/с км/ч кПа Па "
    "мбар Кб КБ кб Мб МБ мб Гб ГБ гб Тб ТБ كم كم² كم³ م م² م³ سم سم² سم³ مم مم² مم³ غرام جرام جم كغ ملغ كوب"
).split()


@dataclass(frozen=True, kw_only=True)
class Words:
    """The words of texts, flat: those of text i are `first[i]:first[i+1]`."""

    starts: Array  # int64, byte in `Texts.data`
    sizes: Array  # int32, bytes
    lengths: Array  # int32, code points
    hashes: Array  # uint64: `h * PRIME + byte + 1` over the bytes, so that hashes of neighbours can be joined
    kinds: Array  # uint8: TEXTUAL, ALPHABETIC, PUNCTUATION, FULL_STOP
    first: Array  # int64, one more than texts


# -- one chunk ---------------------------------------------------------------------------------------------------------


@inlined
def bits_of(table: Array, cp: int) -> int:
    """Return the bits of a code point (`chars.py`)."""
    return int(table[cp]) if cp < 0x32400 else 0


@inlined
def back(data: Array, low: int, i: int) -> int:
    """Return where the character that ends before byte `i` begins."""
    i -= 1
    while i > low and data[i] & 0xC0 == 0x80:
        i -= 1
    return i


@kernel
def hash_bytes(data: Array, a: int, b: int) -> np.uint64:
    """Return the hash of some bytes; that of `xy` is `hash(x) * PRIME ** len(y) + hash(y)`."""
    h = np.uint64(0)
    for i in range(a, b):
        h = h * np.uint64(0x9E3779B97F4A7C15) + np.uint64(data[i]) + np.uint64(1)
    return h


@inlined
def _exception(data: Array, a: int, b: int, gate: Array, keys: Array, values: Array) -> int:
    """Return the number of the exception that [a, b) is, or -1."""
    size = b - a
    if size > 40 or size == 0 or (gate[int(data[a]) * 41 + size] >> (int(data[b - 1]) & 31)) & 1 == 0:
        return -1
    h = hash_bytes(data, a, b)
    last = len(keys) - 1
    s = np.int64(mix(h) & np.uint64(last))
    while values[s] >= 0:
        if keys[s] == h:
            return int(values[s])
        s = (s + 1) & last
    return -1


@inlined
def _front(data: Array, a: int, b: int, table: Array) -> int:
    """Return the size of the sign at the front of [a, b), 0 if there is none."""
    c = int(data[a])
    after = int(data[a + 1]) if a + 1 < b else 0
    if c == 43:  # + before no digit
        return 0 if 48 <= after <= 57 else 1
    if c == 46:
        if after != 46:
            return 0
        i = a + 2
        while i < b and data[i] == 46:
            i += 1
        return int(i - a)
    cp, step = decode(data, a, b)
    if bits_of(table, cp) & FRONT:
        return int(step)
    if after == 36 and (c == 67 or c == 65):  # C$ A$
        return 2
    if c == 85 and after == 83 and a + 2 < b and data[a + 2] == 36:  # US$
        return 3
    return 0


@inlined
def _back(data: Array, a: int, b: int, table: Array, units: Array, digits: bool) -> int:
    """Return the size of the sign at the back of [a, b), 0 if there is none: the longest of all that fit."""
    if a >= b:
        return 0
    p = back(data, a, b)
    cp, _ = decode(data, p, b)
    kind = bits_of(table, cp)
    size = 0
    before = 0  # the character before the last one
    at = p
    if p > a:
        at = back(data, a, p)
        before, _ = decode(data, at, p)
    digit = 48 <= before <= 57
    if kind & BACK:
        size = b - p
        if cp == 0x2026 and before == 0x2026:
            size = b - at
    elif cp == 46:
        if before == 46:
            while at > a and data[at - 1] == 46:
                at -= 1
            size = b - at
        elif p > a:
            earlier = 0
            if at > a:
                earlier, _ = decode(data, back(data, a, at), at)
            kind = bits_of(table, before)
            if (
                kind & BEFORE_STOP
                or (kind & CAPITAL and bits_of(table, earlier) & CAPITAL)  # two capitals
                or (earlier == 0xB0 and (before == 67 or before == 70 or before == 75))  # °C.
            ):
                size = 1
    elif (cp == 115 or cp == 83) and (before == 39 or before == 0x2019):
        size = b - at
    elif cp == 43 and digit:
        size = 1
    elif kind & MONEY:
        if digit:
            size = b - p
        elif cp == 36 and p > a:
            if (data[p - 1] == 67 or data[p - 1] == 65) and p - 2 >= a and 48 <= data[p - 2] <= 57:
                size = 2
            elif p - 3 >= a and data[p - 1] == 83 and data[p - 2] == 85 and 48 <= data[p - 3] <= 57:
                size = 3
    if not digits:
        return int(size)
    # A unit right after a digit: 5km
    d = b - 1
    packed = np.uint64(0)
    while d >= a and b - d <= 9 and not 48 <= data[d] <= 57:
        packed = (packed << np.uint64(8)) | np.uint64(data[d])
        d -= 1
    if size < b - 1 - d <= 8 and d >= a and 48 <= data[d] <= 57:
        s = np.searchsorted(units, packed)
        if s < len(units) and units[s] == packed:
            size = b - 1 - d
    return int(size)


@inlined
def _inside(data: Array, low: int, i: int, b: int, before: int, table: Array) -> int:
    """Return the size of the sign at `i`, inside a chunk that began at `low`, at which the chunk is cut; 0: no cut."""
    c = int(data[i])
    if 48 <= c <= 57 or 65 <= c <= 90 or 97 <= c <= 122:
        return 0
    cp, step = decode(data, i, b)
    j = i + step
    if c == 46 and j < b and data[j] == 46:
        while j < b and data[j] == 46:
            j += 1
        return int(j - i)
    if cp == 0x2026 or bits_of(table, cp) & ICON:
        return int(step)
    if i == low or j >= b:
        return 0
    after, _ = decode(data, j, b)
    left = bits_of(table, before)
    right = bits_of(table, after)
    digit = 48 <= before <= 57
    if digit and (c == 43 or c == 45 or c == 42 or c == 94) and (48 <= after <= 57 or after == 45):
        return 1
    if c == 46:
        return 1 if left & (LOWER | QUOTE) and right & (CAPITAL | QUOTE) else 0
    if c == 44:
        return 1 if left & LETTER and right & LETTER else 0
    if not (digit or left & LETTER):
        return 0
    if c == 58 or c == 60 or c == 61 or c == 62 or c == 47:
        return 1 if right & LETTER else 0
    if c == 45 or cp == 0x2014:
        most = 3 if c == 45 else 2
        n = 1
        while after == cp and n < most and j < b:
            n += 1
            j += step
            after = 0
            if j < b:
                after, _ = decode(data, j, b)
        return int(j - i) if bits_of(table, after) & LETTER else 0
    if c == 126 or cp == 0x2013:
        return int(step) if right & LETTER else 0
    return 0


@inlined
def _label(cp: int, edge: bool) -> bool:
    if 48 <= cp <= 57 or 65 <= cp <= 90 or 97 <= cp <= 122 or 0xA1 <= cp <= 0xFFFF:
        return True
    return not edge and (cp == 95 or cp == 45)


@kernel
def _tail(data: Array, i: int, b: int) -> bool:
    """Tell whether [i, b) is what may follow a host: nothing, a port, a path."""
    if i < b and data[i] == 58:
        j = i + 1
        while j < b and 48 <= data[j] <= 57:
            j += 1
        if not 3 <= j - i <= 6:
            return False
        i = j
    return bool(i >= b or data[i] == 47 or data[i] == 63 or data[i] == 35)


@kernel
def _host(data: Array, a: int, b: int, table: Array) -> bool:
    """Tell whether [a, b) is a host and what may follow it: labels and full stops, small letters at the end; or an IPv4."""
    i = a
    labels = 0
    size = 0  # of the label so far
    small = True  # it has small letters only
    dots = 0
    edge = True  # its first and its last character may stand there
    good = True
    numbers = 0
    value = 0
    digits = 0
    octets = True
    first = second = fourth = 0
    while i < b:
        cp, step = decode(data, i, b)
        if cp == 46:
            dots += 1
            good = good and size >= 1 and size <= 64 and edge
            octets = octets and 1 <= digits <= 3 and digits == size
            if numbers == 0:
                first = value
            elif numbers == 1:
                second = value
            octets = octets and value <= 255
            numbers += 1
            labels += 1
            size = 0
            small = True
            value = 0
            digits = 0
            edge = True
        elif _label(cp, False):
            if size == 0 and not _label(cp, True):
                good = False
            edge = _label(cp, True)
            size += 1
            small = small and bits_of(table, cp) & LOWER != 0
            if 48 <= cp <= 57:
                digits += 1
                value = min(value * 10 + cp - 48, 1000)
        else:
            break
        i += step
    if good and labels >= 1 and small and 2 <= size <= 63 and _tail(data, i, b):
        return True
    fourth = value
    if not (octets and numbers == 3 and 1 <= digits <= 3 and digits == size and 1 <= fourth <= 254):
        return False
    private = (
        first == 10 or first == 127 or (first == 169 and second == 254) or (first == 192 and second == 168)
        or (first == 172 and 16 <= second <= 31)
    )  # fmt: skip
    return 1 <= first <= 223 and not private and _tail(data, i, b)


@kernel
def _address(data: Array, a: int, b: int, table: Array) -> bool:
    """Tell whether [a, b) is an address: scheme://user@host:port/path, all but the host at will."""
    start = a
    i = a
    size = 0
    while i < b:  # the scheme, if there is one
        cp, step = decode(data, i, b)
        if not (bits_of(table, cp) & WORD or cp == 43 or cp == 45 or cp == 46 or cp == 95):  # \w + - .
            break
        size += 1
        i += step
    if size >= 2 and i + 2 < b and data[i] == 58 and data[i + 1] == 47 and data[i + 2] == 47:
        start = i + 3
    for begin in (start, a):
        if _host(data, begin, b, table):
            return True
        for i in range(begin + 1, b):
            if data[i] == 64 and _host(data, i + 1, b, table):
                return True
        if start == a:
            break
    return False


@inlined
def _emit(starts: Array, sizes: Array, w: int, a: int, b: int) -> int:
    starts[w] = a
    sizes[w] = b - a
    return w + 1


@inlined
def _pieces(starts: Array, sizes: Array, w: int, a: int, at: Array, pieces: Array, found: int) -> int:
    """Emit the pieces of exception `found`, which begins at byte `a`."""
    for k in range(at[found], at[found + 1]):
        starts[w] = a
        sizes[w] = pieces[k]
        a += pieces[k]
        w += 1
    return w


@inlined
def _chunk(
    data: Array, a: int, b: int, table: Array, units: Array, gate: Array, keys: Array, values: Array, at: Array,
    pieces: Array, starts: Array, sizes: Array, w: int, ends: Array, digits: bool,
) -> int:  # fmt: skip
    """Emit the words of the chunk [a, b); `ends` is room for the signs at its back, `digits` tells that it has some."""
    n = 0
    found = -1
    while a < b:
        found = _exception(data, a, b, gate, keys, values)
        if found >= 0:
            break
        front = _front(data, a, b, table)
        if front and a + front < b:
            found = _exception(data, a + front, b, gate, keys, values)
            if found >= 0:
                w = _emit(starts, sizes, w, a, a + front)
                a += front
                break
        tail = _back(data, a + front, b, table, units, digits)
        if tail and b - tail > a:
            found = _exception(data, a, b - tail, gate, keys, values)
            if found >= 0:
                ends[n] = b
                n += 1
                b -= tail
                break
        if front == 0 and tail == 0:
            break
        if front:
            w = _emit(starts, sizes, w, a, a + front)
            a += front
        if tail:
            ends[n] = b
            n += 1
            b -= tail
    if found >= 0:
        w = _pieces(starts, sizes, w, a, at, pieces, found)
    elif a < b:
        low = a
        kept = w
        begin = a
        before = 0
        i = a
        while i < b:
            size = _inside(data, low, i, b, before, table)
            if size:
                if i > low:
                    if i > begin:
                        w = _emit(starts, sizes, w, begin, i)
                    w = _emit(starts, sizes, w, i, i + size)
                    begin = i + size
                i += size
                before, _ = decode(data, back(data, low, i), i)
            else:
                before, step = decode(data, i, b)
                i += step
        if begin < b:
            w = _emit(starts, sizes, w, begin, b)
        if w > kept + 1 and _address(data, low, b, table):
            w = _emit(starts, sizes, kept, low, b)
    while n:
        n -= 1
        w = _emit(starts, sizes, w, b, ends[n])
        b = ends[n]
    return w


@inlined
def _parted(
    data: Array, low: int, w: int, gate: Array, keys: Array, values: Array, base_at: Array, starts: Array, sizes: Array
) -> int:
    """Return the most words, of those from number `low` on, whose bytes together are an exception; 0: none."""
    most = 0
    for i in range(low, w - 1):
        for k in range(i + 1, min(i + 12, w)):
            if starts[k] + sizes[k] - starts[i] > 40:
                break
            found = _exception(data, starts[i], starts[k] + sizes[k], gate, keys, values)
            if found >= 0 and base_at[found + 1] - base_at[found] == k - i + 1:
                most = max(most, k - i + 1)
    return most


@kernel
def _rejoin(
    data: Array, low: int, w: int, most: int, gate: Array, keys: Array, values: Array, at: Array, pieces: Array, base_at: Array,
    base: Array, starts: Array, sizes: Array,
) -> int:  # fmt: skip
    """Put together the words from number `low` on whose bytes are an exception that the signs had parted; return the new end."""
    taken = np.zeros(w - low, np.uint8)
    hit = np.full(w - low, -1, np.int64)
    width = np.zeros(w - low, np.int64)
    for length in range(most, 1, -1):  # the longest first, then from the left
        for i in range(low, w - length + 1):
            k = i + length - 1
            found = _exception(data, starts[i], starts[k] + sizes[k], gate, keys, values)
            if found < 0 or base_at[found + 1] - base_at[found] != length:
                continue
            same = True
            for j in range(length):
                same = same and base[base_at[found] + j] == sizes[i + j]
            if not same:
                continue
            if not taken[i - low] and not taken[k - low]:
                hit[i - low] = found
                width[i - low] = length
            for j in range(i, k + 1):
                taken[j - low] = 1
    old_starts = starts[low:w].copy()
    old_sizes = sizes[low:w].copy()
    i = 0
    n = w - low
    w = low
    while i < n:
        if hit[i] >= 0:
            w = _pieces(starts, sizes, w, old_starts[i], at, pieces, hit[i])
            i += width[i]
        else:
            starts[w] = old_starts[i]
            sizes[w] = old_sizes[i]
            w += 1
            i += 1
    return w


@kernel
def _split(
    data: Array, offsets: Array, table: Array, units: Array, gate: Array, keys: Array, values: Array, at: Array,
    pieces: Array, base_at: Array, base: Array,
) -> tuple[Array, Array, Array]:  # fmt: skip
    data, table, units, gate = borrowed(data), borrowed(table), borrowed(units), borrowed(gate)
    keys, values, at, pieces = borrowed(keys), borrowed(values), borrowed(at), borrowed(pieces)
    base_at, base = borrowed(base_at), borrowed(base)
    n = len(offsets) - 1
    room = int(offsets[n] - offsets[0]) + 1
    all_starts = np.empty(room, np.int64)
    all_sizes = np.empty(room, np.int32)
    starts, sizes = borrowed(all_starts), borrowed(all_sizes)
    first = np.zeros(n + 1, np.int64)
    all_ends = np.empty(64, np.int64)
    ends = borrowed(all_ends)
    w = 0
    for t in range(n):
        i = offsets[t]
        end = offsets[t + 1]
        while i < end:
            c = int(data[i])
            if c <= 32:
                if c == 32 or 9 <= c <= 13 or 28 <= c <= 31:
                    i += 1
                    continue
            elif c >= 128:
                cp, step = decode(data, i, end)
                if bits_of(table, cp) & SPACE:
                    i += step
                    continue
            a = i
            # Letters and digits in ASCII, the most of any text: one word, perhaps with a sign behind it.
            letters = 0
            while i < end:
                c = int(data[i])
                if 97 <= (c | 32) <= 122 and c < 128:
                    letters += 1
                elif not 48 <= c <= 57:
                    break
                i += 1
            core = i
            digits = letters < core - a
            c = int(data[i]) if i < end else 32
            behind = 0  # the sign behind it
            if i + 1 == end or (i + 1 < end and (data[i + 1] == 32 or 9 <= data[i + 1] <= 13)):
                behind = c
                c = 32
            if (c == 32 or 9 <= c <= 13) and (
                behind == 0 or behind == 46 or (behind < 128 and table[behind] & (BACK | SPACE))
            ):
                last = int(data[core - 1]) if core > a else 0
                # A unit may stand at its end (5km); an exception has its own pieces.
                easy = last and not (digits and last > 57) and _exception(data, a, core, gate, keys, values) < 0
                if easy and behind and not table[behind] & SPACE:
                    i += 1
                    easy = _exception(data, a, i, gate, keys, values) < 0
                    if easy:
                        parted = True
                        if behind == 46:
                            parted = last < 65 or last > 90 or (core - a > 1 and 65 <= data[core - 2] <= 90)
                        if parted:
                            w = _emit(starts, sizes, w, a, core)
                            w = _emit(starts, sizes, w, core, i)
                        else:
                            w = _emit(starts, sizes, w, a, i)
                        continue
                elif easy:
                    w = _emit(starts, sizes, w, a, core)
                    continue
            i = core
            while i < end:
                c = int(data[i])
                if c < 128:
                    if c == 32 or 9 <= c <= 13 or 28 <= c <= 31:
                        break
                    digits = digits or 48 <= c <= 57
                    i += 1
                else:
                    cp, step = decode(data, i, end)
                    if bits_of(table, cp) & SPACE:
                        break
                    i += step
            if i - a > len(ends):
                all_ends = np.empty(2 * (i - a), np.int64)
                ends = borrowed(all_ends)
            low = w
            w = _chunk(
                data, a, i, table, units, gate, keys, values, at, pieces, starts, sizes, w, ends, digits
            )  # fmt: skip
            most = _parted(data, low, w, gate, keys, values, base_at, starts, sizes)
            if most:
                w = _rejoin(data, low, w, most, gate, keys, values, at, pieces, base_at, base, starts, sizes)
        first[t + 1] = w
    all_ends[0] = 0  # alive until here
    return all_starts[:w].copy(), all_sizes[:w].copy(), first


@kernel
def _spaces(data: Array, offsets: Array, table: Array) -> tuple[Array, Array, Array]:
    n = len(offsets) - 1
    room = int(offsets[n] - offsets[0] + n) // 2 + 1
    starts = np.empty(room, np.int64)
    sizes = np.empty(room, np.int32)
    first = np.zeros(n + 1, np.int64)
    w = 0
    for t in range(n):
        i = offsets[t]
        end = offsets[t + 1]
        begin = i
        while i < end:
            cp, step = decode(data, i, end)
            if bits_of(table, cp) & SPACE:
                if i > begin:
                    w = _emit(starts, sizes, w, begin, i)
                begin = i + step
            i += step
        if i > begin:
            w = _emit(starts, sizes, w, begin, i)
        first[t + 1] = w
    return starts[:w].copy(), sizes[:w].copy(), first


# -- what is said of words ---------------------------------------------------------------------------------------------


@kernel
def _describe(data: Array, starts: Array, sizes: Array, table: Array) -> tuple[Array, Array, Array]:
    n = len(starts)
    lengths = np.empty(n, np.int32)
    hashes = np.empty(n, np.uint64)
    kinds = np.empty(n, np.uint8)
    for w in range(n):
        i = starts[w]
        end = i + sizes[w]
        h = np.uint64(0)
        count = 0
        every = 0xFFFFFFFF
        some = 0
        symbols = 0
        while i < end:
            c = int(data[i])
            if c < 128:
                h = h * np.uint64(0x9E3779B97F4A7C15) + np.uint64(c) + np.uint64(1)
                kind = int(table[c])
                i += 1
            else:
                cp, step = decode(data, i, end)
                kind = bits_of(table, cp)
                for k in range(i, i + step):
                    h = h * np.uint64(0x9E3779B97F4A7C15) + np.uint64(data[k]) + np.uint64(1)
                i += step
            count += 1
            every &= kind
            some |= kind
            symbols += 1 if kind & SYMBOL else 0
        lengths[w] = count
        hashes[w] = h
        kinds[w] = (
            (TEXTUAL if symbols < count else 0)
            | (ALPHABETIC if some & ALPHA else 0)
            | (PUNCTUATION if every & PUNCT else 0)
            | (FULL_STOP if count == 1 and every & STOP else 0)
        )
    return lengths, hashes, kinds


# -- the tables of the splitter ----------------------------------------------------------------------------------------


def _flat(texts: list[str]) -> tuple[Array, Array]:
    raw = [t.encode() for t in texts]
    offsets = np.concatenate([[0], np.cumsum([len(r) for r in raw])]).astype(np.int64)
    return np.frombuffer(b"".join(raw) or b" ", np.uint8), offsets


@functools.cache
def _tables() -> tuple[Array, ...]:
    """Return what `_split` needs to know: characters, units, exceptions, their pieces, and what they are cut into without."""
    units = np.array(sorted(int.from_bytes(u.encode(), "little") for u in set(_UNITS)), np.uint64)
    none = np.zeros(1, np.int64)
    empty = (np.zeros(256 * 41, np.uint32), np.zeros(1, np.uint64), np.full(1, -1, np.int64), none, none)
    known = sorted(exceptions().items())
    data, offsets = _flat([word for word, _ in known])
    _, base, base_at = _split(data, offsets, chars.table(), units, *empty, none, none)
    size = 8192
    gate = np.zeros(256 * 41, np.uint32)
    keys = np.zeros(size, np.uint64)
    values = np.full(size, -1, np.int64)
    for number in range(len(known)):
        a, b = int(offsets[number]), int(offsets[number + 1])
        gate[int(data[a]) * 41 + b - a] |= np.uint32(1 << (int(data[b - 1]) & 31))
        h = hash_bytes(data, a, b)
        s = int(mix(np.uint64(h))) & (size - 1)
        while values[s] >= 0:
            s = (s + 1) & (size - 1)
        keys[s], values[s] = h, number
    sizes = [[len(p.encode()) for p in pieces] for _, pieces in known]
    at = np.concatenate([[0], np.cumsum([len(s) for s in sizes])]).astype(np.int64)
    pieces = np.array([n for s in sizes for n in s], np.int64)
    return chars.table(), units, gate, keys, values, at, pieces, base_at, base.astype(np.int64)


# -- for filters -------------------------------------------------------------------------------------------------------

Spans = tuple[Array, Array, Array]
"""(starts, sizes, first) of words."""


def cuvee(texts: Texts) -> Spans:
    """Return our own words."""
    found: Spans = _split(texts.data, texts.offsets, *_tables())
    return found


def space(texts: Texts) -> Spans:
    """Return what white space separates."""
    found: Spans = _spaces(texts.data, texts.offsets, chars.table())
    return found


@functools.cache
def _english() -> Any:
    try:
        import spacy  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        msg = (
            "`tokeniser: spacy` needs spaCy: pip install 'cuvee[spacy]'; or take `tokeniser: cuvee`, which splits alike"
        )
        raise UserError(msg) from None
    return spacy.blank("en")


def spacy(texts: Texts) -> Spans:
    """Return spaCy's words. A loop in Python over texts and words: it is here to compare with, not to be fast."""
    nlp = _english()
    starts: list[int] = []
    sizes: list[int] = []
    first = [0]
    for low, high in zip(texts.offsets[:-1].tolist(), texts.offsets[1:].tolist(), strict=True):
        text = texts.data[low:high].tobytes().decode()
        nlp.max_length = len(text) + 10
        at, byte = 0, low
        for token in nlp(text):
            word = token.text.strip()
            if not word:
                continue
            begin = text.index(word, at)
            byte += len(text[at:begin].encode())
            size = len(word.encode())
            starts.append(byte)
            sizes.append(size)
            byte += size
            at = begin + len(word)
        first.append(len(starts))
    return np.array(starts, np.int64), np.array(sizes, np.int32), np.array(first, np.int64)


def words(texts: Texts, *, tokeniser: str = "cuvee") -> Words:
    """Return the words of `texts`, with what rules ask about them."""
    known: dict[str, Callable[[Texts], Spans]] = {"cuvee": cuvee, "space": space, "spacy": spacy}
    if tokeniser not in known:
        msg = f"no tokeniser named `{tokeniser}`{nearest(tokeniser, known)}; there are {', '.join(known)}"
        raise UserError(msg, usage=True)
    starts, sizes, first = known[tokeniser](texts)
    lengths, hashes, kinds = _describe(texts.data, starts, sizes, chars.table())
    return Words(starts=starts, sizes=sizes, lengths=lengths, hashes=hashes, kinds=kinds, first=first)


def assistant_texts(batch: pa.RecordBatch) -> Texts:
    """Return the assistant texts of the batch as bytes, once per batch."""
    return cached(batch, "assistant_texts", lambda: buffers(assistant(batch)))  # type: ignore[no-any-return]


def assistant_words(batch: pa.RecordBatch, tokeniser: str) -> Words:
    """Return the words of the assistant texts, once per batch and tokeniser."""
    return cached(  # type: ignore[no-any-return]
        batch, ("assistant_words", tokeniser), lambda: words(assistant_texts(batch), tokeniser=tokeniser)
    )

# ruff: noqa: FBT001, SIM110
"""C4's rules about the lines of a page, and what they leave of it.

Raffel et al. 2020 (https://jmlr.org/papers/volume21/20-074/20-074.pdf, section 2.2) as datatrove v0.10.1 reads it,
https://github.com/huggingface/datatrove (src/datatrove/pipeline/filters/c4_filters.py), rule by rule and in its order. A
line is what `str.splitlines` gives, without the white space around it.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from filters.shared import chars
from filters.shared.chars import DECIMAL, LINE, SPACE
from filters.shared.split import FULL_STOP, PUNCTUATION, Words, assistant_texts, back, bits_of, words
from filters.shared.text import Array, Texts, borrowed, cached, decode, inlined, kernel

LOREM, JAVASCRIPT, POLICY = "lorem ipsum", "javascript", (
    "terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies",
)  # fmt: skip
_PHRASES = [p.encode() for p in (LOREM, JAVASCRIPT, *POLICY)]
_MARKS = [b"[edit]", b"[citation needed]"]


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Which of C4's line rules hold. A number of 0 switches its rule off."""

    citations: bool = True  # take Wikipedia's marks, such as [12] or [edit], out of lines
    terminal: bool = True  # drop lines that end in none of . ? ! " ' or in an ellipsis
    min_words: int = 3  # drop lines of fewer words
    max_word: int = 1000  # drop lines with a longer word
    lorem_ipsum: bool = True
    javascript: bool = True  # drop lines with the word
    curly_bracket: bool = True
    policy: bool = True  # drop lines about cookies and terms of use


@dataclass(frozen=True, kw_only=True)
class Lines:
    """The lines of texts that the rules keep: those of text i are `first[i]:first[i+1]`."""

    rules: Rules
    counts: Array  # int64, per text: lines, kept lines, lines with lorem ipsum, with a curly bracket, lines of 200 characters
    first: Array  # int64, one more than texts
    starts: Array  # int64, bytes in the text
    ends: Array  # int64
    edits: Array  # int64, which one of `edited` stands for the line; -1: it is as it was
    edited: Texts  # lines out of which something was taken


@inlined
def _same(data: Array, i: int, end: int, phrase: Array) -> bool:
    if i + len(phrase) > end:
        return False
    for k in range(len(phrase)):
        if data[i + k] != phrase[k]:
            return False
    return True


@kernel
def _citation(data: Array, i: int, end: int, table: Array, edit: Array, needed: Array) -> int:
    """Return the size of the citation mark at the bracket `i`, 0 if there is none."""
    j = i + 1
    while j < end:
        if data[j] == 93:
            return int(j + 1 - i)
        cp, step = decode(data, j, end)
        if not bits_of(table, cp) & DECIMAL:
            break
        j += step
    if _same(data, i, end, edit):
        return len(edit)
    if _same(data, i, end, needed):
        return len(needed)
    return 0


@inlined
def _reaches(data: Array, j: int, low: int, back: int, a: int, b: int) -> bool:
    """Tell whether the letters `a`, `b` (small) stand `back` bytes before byte `j`."""
    i = j - back
    return bool(i >= low and data[i] | 32 == a and data[i + 1] | 32 == b)


@kernel
def _keep(
    data: Array, offsets: Array, table: Array, edit: Array, needed: Array, phrases: Array, phrase_at: Array, initials: Array,
    citations: bool, terminal: bool, min_words: int, max_word: int, lorem: bool, javascript: bool, curly: bool, policy: bool,
    long_line: int,
) -> tuple[Array, Array, Array, Array, Array, Array, Array]:  # fmt: skip
    data, table = borrowed(data), borrowed(table)
    watched = np.zeros(128, np.uint8)  # k v p f [ {
    for c in (75, 86, 80, 70, 107, 118, 112, 102, 91, 123):
        watched[c] = 1
    n = len(offsets) - 1
    counts = np.zeros((n, 5), np.int64)
    first = np.zeros(n + 1, np.int64)
    room = 0
    for t in range(n):
        size = 0
        for k in range(offsets[t], offsets[t + 1]):
            b = data[k]
            if b == 10:
                if size >= long_line:
                    counts[t, 4] += 1
                size = 0
                room += 1
            elif b & 0xC0 != 0x80:
                size += 1
                if b < 32:
                    room += 1
            elif b == 0x85 or b >= 0xA8:  # may end a line break of Unicode
                room += 1
        if size >= long_line:
            counts[t, 4] += 1
        room += 1
    starts = np.empty(room, np.int64)
    ends = np.empty(room, np.int64)
    edits = np.empty(room, np.int64)
    out = np.empty(1024, np.uint8)  # edited lines
    out_ends = np.empty(64, np.int64)
    low = np.empty(64, np.uint8)  # a line in small letters
    edited = 0
    m = 0  # kept lines
    w = 0  # bytes of edited lines
    for t in range(n):
        i = offsets[t]
        end = offsets[t + 1]
        while i < end:
            # One line: its end, the white space around it, its words, what asks for a closer look.
            a = -1
            b = i
            words = longest = run = 0
            bracket = brace = hit = False
            stop = after = end
            j = i
            while j < end:
                c = int(data[j])
                if 32 < c < 128:
                    if run == 0:
                        words += 1
                        if a < 0:
                            a = j
                    run += 1
                    if watched[c]:
                        # co.k: cookies; jav, riv: javascript, privacy; .ip: lorem ipsum; ms.of: terms of use
                        x = c | 32
                        if x == 107:
                            hit = hit or _reaches(data, j, i, 3, 99, 111)
                        elif x == 118:
                            hit = hit or _reaches(data, j, i, 2, 106, 97) or _reaches(data, j, i, 2, 114, 105)
                        elif x == 112:
                            hit = hit or _reaches(data, j, i, 2, 32, 105)
                        elif x == 102:
                            hit = hit or _reaches(data, j, i, 4, 109, 115)
                        elif c == 91:
                            bracket = True
                        else:
                            brace = True
                    j += 1
                    b = j
                    continue
                step = 1
                if c < 128:
                    kind = int(table[c])
                else:
                    c, step = decode(data, j, end)
                    kind = bits_of(table, c)
                if kind & SPACE:
                    if run > longest:
                        longest = run
                    run = 0
                    if kind & LINE:
                        stop = j
                        after = j + step
                        if c == 13 and after < end and data[after] == 10:
                            after += 1
                        break
                else:
                    if run == 0:
                        words += 1
                        if a < 0:
                            a = j
                    run += 1
                    b = j + step
                    if c == 0x212A:  # Kelvin's sign, a small k in small letters
                        hit = True
                j += step
            if run > longest:
                longest = run
            if a < 0:
                a = b = stop
            i = after
            counts[t, 0] += 1
            if max_word and longest > max_word:
                continue
            number = -1
            line = data
            begin = a
            close = b
            if citations and bracket:
                if w + b - a > len(out):
                    grown = np.empty(2 * (w + b - a), np.uint8)
                    grown[:w] = out[:w]
                    out = grown
                x = w
                j = a
                while j < b:
                    size = _citation(data, j, b, table, edit, needed) if data[j] == 91 else 0
                    if size:
                        j += size
                    else:
                        out[x] = data[j]
                        x += 1
                        j += 1
                if x - w < b - a:
                    number = edited
                    line = out
                    begin = w
                    close = x
                    hit = True  # what was apart may have come together
            if terminal:
                last = line[close - 1] if close > begin else 0
                closes = last == 46 or last == 63 or last == 33 or last == 34 or last == 39
                if not closes or (
                    close - 3 >= begin and last == 46 and line[close - 2] == 46 and line[close - 3] == 46
                ):
                    continue
            if words < min_words:
                continue
            has_lorem = has_javascript = has_policy = False
            if hit:
                # In small letters: Kelvin's sign and the dotted I are the only ones that become ASCII.
                if 2 * (close - begin) + 8 > len(low):
                    low = np.empty(4 * (close - begin) + 8, np.uint8)
                k = 0
                j = begin
                while j < close:
                    c = int(line[j])
                    if 65 <= c <= 90:
                        c += 32
                    elif c == 0xE2 and j + 2 < close and line[j + 1] == 0x84 and line[j + 2] == 0xAA:
                        c = 107
                        j += 2
                    elif c == 0xC4 and j + 1 < close and line[j + 1] == 0xB0:
                        low[k] = 105
                        low[k + 1] = 0xCC
                        k += 2
                        c = 0x87
                        j += 1
                    low[k] = c
                    k += 1
                    j += 1
                for j in range(k):
                    if initials[low[j]]:
                        for p in range(len(phrase_at) - 1):
                            if _same(low, j, k, phrases[phrase_at[p] : phrase_at[p + 1]]):
                                has_lorem = has_lorem or p == 0
                                has_javascript = has_javascript or p == 1
                                has_policy = has_policy or p > 1
            if lorem and has_lorem:
                counts[t, 2] += 1
            elif javascript and has_javascript:
                continue
            elif curly and brace:
                counts[t, 3] += 1
            elif policy and has_policy:
                continue
            counts[t, 1] += 1
            starts[m] = a
            ends[m] = b
            edits[m] = number
            m += 1
            if number >= 0:
                if edited == len(out_ends):
                    longer = np.empty(2 * edited, np.int64)
                    longer[:edited] = out_ends
                    out_ends = longer
                w = close
                out_ends[edited] = w
                edited += 1
        first[t + 1] = m
    return counts, first, starts[:m].copy(), ends[:m].copy(), edits[:m].copy(), out[:w].copy(), out_ends[:edited].copy()


@kernel
def _join(
    data: Array,
    table: Array,
    first: Array,
    starts: Array,
    ends: Array,
    edits: Array,
    edited: Array,
    edited_offsets: Array,
) -> tuple[Array, Array]:
    """Return the kept lines of every text, joined by newlines, without the white space around the whole."""
    n = len(first) - 1
    out = np.empty(int(np.sum(ends - starts)) + len(starts) + 1, np.uint8)
    offsets = np.zeros(n + 1, np.int64)
    w = 0
    for t in range(n):
        a = w
        for m in range(first[t], first[t + 1]):
            if m > first[t]:
                out[w] = 10
                w += 1
            if edits[m] < 0:
                for j in range(starts[m], ends[m]):
                    out[w] = data[j]
                    w += 1
            else:
                for j in range(edited_offsets[edits[m]], edited_offsets[edits[m] + 1]):
                    out[w] = edited[j]
                    w += 1
        origin = a
        while a < w:
            cp, step = decode(out, a, w)
            if not bits_of(table, cp) & SPACE:
                break
            a += step
        while a < w:
            j = back(out, a, w)
            cp, step = decode(out, j, w)
            if not bits_of(table, cp) & SPACE:
                break
            w = j
        if a > origin:
            for j in range(a, w):
                out[origin + j - a] = out[j]
            w -= a - origin
        offsets[t + 1] = w
    return out[:w].copy(), offsets


@inlined
def _apart(data: Array, a: int, b: int) -> bool:
    """Tell whether the white space [a, b) after a word is a token of its own, as all of it is but one space."""
    return bool(b > a + 1 or (b == a + 1 and data[a] != 32))


@inlined
def _in_line(
    data: Array, begin: int, end: int, starts: Array, sizes: Array, kinds: Array, w: int, high: int
) -> tuple[int, int]:
    """Return the sentences of the line [begin, end), whose words begin with number `w`, and the number of the word after it.

    A new sentence begins after a full stop and the punctuation behind it.
    """
    count = 1
    seen = False
    at = begin
    while w < high and starts[w] < end:
        if seen and _apart(data, at, starts[w]):
            count += 1
            seen = False
        kind = kinds[w]
        if kind & FULL_STOP:
            seen = True
        elif seen and not kind & PUNCTUATION:
            count += 1
            seen = False
        at = starts[w] + sizes[w]
        w += 1
    if seen and _apart(data, at, end):
        count += 1
    return count, w


@kernel
def _sentences(
    data: Array, words: tuple[Array, Array, Array, Array], first: Array, starts: Array, ends: Array, edits: Array,
    edited: Array, edited_offsets: Array, edited_words: tuple[Array, Array, Array, Array],
) -> Array:  # fmt: skip
    word_first, word_starts, word_sizes, word_kinds = words
    new_first, new_starts, new_sizes, new_kinds = edited_words
    n = len(first) - 1
    out = np.zeros(n, np.int64)
    for t in range(n):
        w = word_first[t]
        high = word_first[t + 1]
        count = 0
        for m in range(first[t], first[t + 1]):
            k = edits[m]
            if k < 0:
                while w < high and word_starts[w] < starts[m]:
                    w += 1
                found, w = _in_line(data, starts[m], ends[m], word_starts, word_sizes, word_kinds, w, high)
            else:
                found, _ = _in_line(
                    edited, edited_offsets[k], edited_offsets[k + 1], new_starts, new_sizes, new_kinds, new_first[k],
                    new_first[k + 1],
                )  # fmt: skip
            count += found
        out[t] = count
    return out


def _flat(parts: list[bytes]) -> tuple[Array, Array]:
    at = np.concatenate([[0], np.cumsum([len(p) for p in parts])]).astype(np.int64)
    return np.frombuffer(b"".join(parts), np.uint8), at


def keep(texts: Texts, rules: Rules, *, long_line: int = 200) -> Lines:
    """Return the lines of `texts` that `rules` keep."""
    phrases, at = _flat(_PHRASES)
    initials = np.zeros(256, np.uint8)
    initials[phrases[at[:-1]]] = 1
    edit, needed = (np.frombuffer(m, np.uint8) for m in _MARKS)
    counts, first, starts, ends, edits, edited, edited_ends = _keep(
        texts.data, texts.offsets, chars.table(), edit, needed, phrases, at, initials,
        rules.citations, rules.terminal, rules.min_words, rules.max_word, rules.lorem_ipsum, rules.javascript,
        rules.curly_bracket, rules.policy, long_line,
    )  # fmt: skip
    offsets = np.concatenate([np.zeros(1, np.int64), edited_ends])
    lines = Texts(data=edited, offsets=offsets, valid=np.ones(len(edited_ends), bool))
    return Lines(rules=rules, counts=counts, first=first, starts=starts, ends=ends, edits=edits, edited=lines)


def kept(batch: pa.RecordBatch, rules: Rules) -> Lines:
    """Return the lines of the assistant texts that `rules` keep, once per batch and rules."""
    return cached(batch, ("kept_lines", rules), lambda: keep(assistant_texts(batch), rules))  # type: ignore[no-any-return]


def joined(texts: Texts, lines: Lines) -> Texts:
    """Return what is left of `texts`: their kept lines, joined by newlines."""
    data, offsets = _join(
        texts.data,
        chars.table(),
        lines.first,
        lines.starts,
        lines.ends,
        lines.edits,
        lines.edited.data,
        lines.edited.offsets,
    )
    return Texts(data=data, offsets=offsets, valid=texts.valid)


def sentences(texts: Texts, found: Words, lines: Lines, tokeniser: str) -> Array:
    """Return the number of sentences in the kept lines of `texts`, whose words are `found`."""
    new = words(lines.edited, tokeniser=tokeniser)
    out: Array = _sentences(
        texts.data, (found.first, found.starts, found.sizes, found.kinds), lines.first, lines.starts, lines.ends,
        lines.edits, lines.edited.data, lines.edited.offsets, (new.first, new.starts, new.sizes, new.kinds),
    )  # fmt: skip
    return out

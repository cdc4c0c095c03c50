# ruff: noqa: FBT001
"""RefinedWeb's corrections of lines, as a score: how much of a text they take away (Penedo et al. 2023, arXiv 2306.01116,
appendix G.2).

The paper names kinds of lines without numbers; the numbers and the readings are those of DCLM's replica of RefinedWeb,
https://github.com/mlfoundations/dclm (baselines/baselines_configs/dclm_baseline_refinedweb.yaml,
baselines/mappers/modifiers.py, baselines/mappers/filters/content_filters.py). Looks at the assistant text, line by line
(newlines). A line goes
- when more than `uppercase` (0.5) of its characters are capitals, or more than `digits` (0.999999: all) are digits;
- when it is a counter (`counters`): a number and likes, shares, comments, retweets, reposts, quotes, bookmarks, upvotes,
  downvotes, downloads, views or followers, and nothing else but signs ("3 likes");
- when it has fewer than `min_line_words` words (2), unless it is empty.
Of a line of at most `short_line` words (10), "items in cart", "Read more..." at its end and "Sign-in" at its front are
taken out (`phrases`; in any case; the dots stand for any three characters, as there), and the line goes when nothing is
left.

- `removed_words` (share, 0..1): words that went with lines or phrases. 1 where the text has none at all. Bound: at most
  0.05.
- `removed_lines` (share, 0..1): lines that went, of those that are not empty. No bound in the paper.

A word is what white space separates and begins with a letter or a digit. Null: no assistant message, or fewer than
`min_words` such words (default 50: in an answer of one line, one line is everything); `min_words: 0` judges every text as
DCLM does. Left out: the cases of letters outside ASCII in the phrases.
"""

import numpy as np
import pyarrow as pa

from filters.base import scorer
from filters.shared import chars
from filters.shared.chars import DECIMAL, DIGIT, SPACE, UPPER, WORD
from filters.shared.split import assistant_texts, back, bits_of
from filters.shared.text import Array, borrowed, column, decode, inlined, kernel, ratio, table

_COUNTED = (
    "likes", "shares", "comments", "retweets", "reposts", "quotes", "bookmarks", "upvotes", "downvotes", "downloads",
    "views", "followers",
)  # fmt: skip


@inlined
def _words(data: Array, a: int, b: int, table: Array) -> int:
    """Return the words of [a, b) that begin with a letter or a digit; fastText's white space parts them: ASCII's and the null."""
    count = 0
    i = a
    front = True
    while i < b:
        c = int(data[i])
        if c == 32 or 9 <= c <= 13 or c == 0:
            front = True
            i += 1
            continue
        cp, step = decode(data, i, b)
        if front:
            kind = bits_of(table, cp)
            if kind & WORD:
                count += 1
            front = False
        i += step
    return count


@inlined
def _pieces(data: Array, a: int, b: int, table: Array) -> int:
    """Return what any white space separates in [a, b)."""
    count = 0
    i = a
    inside = False
    while i < b:
        cp, step = decode(data, i, b)
        space = bits_of(table, cp) & SPACE != 0
        if not space and not inside:
            count += 1
        inside = not space
        i += step
    return count


@inlined
def _says(data: Array, i: int, b: int, phrase: Array) -> bool:
    """Tell whether `phrase` stands at byte `i`, in any case."""
    if i + len(phrase) > b:
        return False
    for k in range(len(phrase)):
        c = int(data[i + k])
        if 65 <= c <= 90:
            c += 32
        if c != phrase[k]:
            return False
    return True


@kernel
def _counter(data: Array, a: int, b: int, table: Array, counted: Array, counted_at: Array) -> bool:
    """Tell whether the line [a, b) is a counter: signs, a number, k, m or b, white space, what is counted, signs."""
    i = a
    cp = 0
    step = 0
    while i < b:
        cp, step = decode(data, i, b)
        if bits_of(table, cp) & WORD or cp == 95:
            break
        i += step
    if i >= b or not bits_of(table, cp) & DECIMAL:
        return False
    while i < b:
        cp, step = decode(data, i, b)
        if not (bits_of(table, cp) & DECIMAL or cp == 44 or cp == 46):
            break
        i += step
    if i < b and (data[i] | 32 == 107 or data[i] | 32 == 109 or data[i] | 32 == 98):
        i += 1
    space = i
    while i < b:
        cp, step = decode(data, i, b)
        if not bits_of(table, cp) & SPACE:
            break
        i += step
    if i == space:
        return False
    for k in range(len(counted_at) - 1):
        word = counted[counted_at[k] : counted_at[k + 1]]
        if _says(data, i, b, word):
            j = i + len(word)
            good = True
            while j < b and good:
                cp, step = decode(data, j, b)
                good = not (bits_of(table, cp) & WORD or cp == 95)
                j += step
            if good:
                return True
    return False


@inlined
def _blank(data: Array, a: int, b: int, table: Array) -> bool:
    i = a
    while i < b:
        cp, step = decode(data, i, b)
        if not bits_of(table, cp) & SPACE:
            return False
        i += step
    return True


@kernel
def _without(
    data: Array, a: int, b: int, table: Array, cart: Array, more: Array, sign: Array, short: int, front: bool, end: bool
) -> int:
    """Return the words of the line [a, b) without the phrases, or -1 when nothing is left of it.

    `front`, `end`: it is the first or the last line of the text, which has no white space around it.
    """
    line = np.empty(b - a, np.uint8)
    low = 0
    n = 0
    if _pieces(data, a, b, table) <= short:
        i = a
        cut = False
        while i < b:
            if _says(data, i, b, cart):
                if n:
                    p = back(line, 0, n)
                    cp, _ = decode(line, p, n)
                    if bits_of(table, cp) & SPACE:
                        n = p
                i += len(cart)
                cut = True
            else:
                line[n] = data[i]
                n += 1
                i += 1
        if cut and _blank(line, 0, n, table):
            return -1
    else:
        for i in range(a, b):
            line[i - a] = data[i]
        n = b - a
    if front:
        while low < n:
            cp, step = decode(line, low, n)
            if not bits_of(table, cp) & SPACE:
                break
            low += step
    if end:
        while n > low:
            p = back(line, low, n)
            cp, _ = decode(line, p, n)
            if not bits_of(table, cp) & SPACE:
                break
            n = p
    dots = n  # three characters from the end
    for _ in range(3):
        dots = back(line, low, dots) if dots > low else low
    begin = dots - len(more)
    if _pieces(line, low, n, table) <= short and begin >= low and _says(line, begin, dots, more):
        n = begin
        if n > low:
            p = back(line, low, n)
            cp, _ = decode(line, p, n)
            if bits_of(table, cp) & SPACE:
                n = p
        if _blank(line, low, n, table):
            return -1
    if _pieces(line, low, n, table) <= short and _says(line, low, n, sign):
        low += len(sign)
        if low < n:
            cp, step = decode(line, low, n)
            if bits_of(table, cp) & SPACE:
                low += step
        if _blank(line, low, n, table):
            return -1
    return _words(line, low, n, table)


@kernel
def _measure(
    data: Array, offsets: Array, table: Array, counted: Array, counted_at: Array, cart: Array, more: Array, sign: Array,
    uppercase: float, digits: float, counters: bool, min_words: int, phrases: bool, short: int,
) -> Array:  # fmt: skip
    """Return per text: words, words that stay, lines that are not empty, those that stay."""
    data, table = borrowed(data), borrowed(table)
    n = len(offsets) - 1
    out = np.zeros((n, 4), np.int64)
    begins = np.empty(64, np.int64)
    ends = np.empty(64, np.int64)
    for t in range(n):
        i = offsets[t]
        end = offsets[t + 1]
        words = lines = 0
        m = 0
        while i <= end:
            a = i
            size = capital = number = pieces = found = 0
            inside = False
            front = True
            while i < end and data[i] != 10:
                c = int(data[i])
                step = 1
                if c < 128:
                    kind = int(table[c])
                else:
                    c, step = decode(data, i, end)
                    kind = bits_of(table, c)
                size += 1
                if kind & UPPER:
                    capital += 1
                elif kind & DIGIT:
                    number += 1
                if kind & SPACE:
                    inside = False
                elif not inside:
                    pieces += 1
                    inside = True
                if c <= 32 and (c == 32 or 9 <= c <= 13 or c == 0):
                    front = True
                elif front:
                    front = False
                    if kind & WORD:
                        found += 1
                i += step
            b = i
            i += 1
            words += found
            if size == 0:
                continue
            lines += 1
            if capital / size > uppercase or number / size > digits or pieces < min_words:
                continue
            if counters and number and pieces <= 12 and _counter(data, a, b, table, counted, counted_at):
                continue
            if m == len(begins):
                longer = np.empty(2 * m, np.int64)
                longer[:m] = begins
                begins = longer
                longer = np.empty(2 * m, np.int64)
                longer[:m] = ends
                ends = longer
            begins[m] = a
            ends[m] = b
            m += 1
        stay = kept = 0
        for k in range(m):
            a = begins[k]
            b = ends[k]
            hit = False
            if phrases:
                for j in range(a, b):
                    c = data[j] | 32
                    hit = hit or (
                        (c == 105 and _says(data, j, b, cart)) or (c == 115 and _says(data, j, b, sign))
                        or (c == 114 and _says(data, j, b, more))
                    )  # fmt: skip
            left = _without(data, a, b, table, cart, more, sign, short, k == 0, k == m - 1) if hit else 0
            if not hit:
                left = _words(data, a, b, table)
            if left >= 0:
                stay += left
                kept += 1
        out[t, 0] = words
        out[t, 1] = stay
        out[t, 2] = lines
        out[t, 3] = kept
    return out


def _bytes(text: str) -> Array:
    return np.frombuffer(text.encode(), np.uint8)


@scorer(
    version=1,
    scores={"removed_words": pa.float64(), "removed_lines": pa.float64()},
    bounds={"removed_words": (None, 0.05)},
)
def refinedweb_lines(
    batch: pa.RecordBatch,
    *,
    min_words: int = 50,
    uppercase: float = 0.5,
    digits: float = 0.999999,
    counters: bool = True,
    min_line_words: int = 2,
    phrases: bool = True,
    short_line: int = 10,
) -> pa.RecordBatch:
    """Score the assistant texts of `batch`."""
    texts = assistant_texts(batch)
    at = np.concatenate([[0], np.cumsum([len(w) for w in _COUNTED])]).astype(np.int64)
    m = _measure(
        texts.data, texts.offsets, chars.table(), _bytes("".join(_COUNTED)), at, _bytes("items in cart"),
        _bytes("read more"), _bytes("sign-in"), float(uppercase), float(digits), counters, min_line_words, phrases, short_line,
    )  # fmt: skip
    judged = texts.valid & (m[:, 0] >= min_words)
    gone = np.where(m[:, 0] > 0, ratio(m[:, 0] - m[:, 1], m[:, 0]), 1.0)
    return table(
        removed_words=column(gone, judged, pa.float64(), None),
        removed_lines=column(ratio(m[:, 2] - m[:, 3], m[:, 2]), judged & (m[:, 2] > 0), pa.float64(), None),
    )

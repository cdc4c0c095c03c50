"""Gopher's rules for well-formed prose, as scores (Rae et al. 2021, arXiv 2112.11446, section A1.1), as datatrove reads them.

Looks at the assistant text. What is counted, and the bounds, are those of datatrove v0.10.1,
https://github.com/huggingface/datatrove (src/datatrove/pipeline/filters/gopher_quality_filter.py): with `min_words: 0,
exceptions: false, tokeniser: spacy` every text is kept or dropped as it does there (`benchmarks/text_parity.py`). Words
are cut by `tokeniser` (`filters/shared/split.py`); a word is a symbol word when all of its characters are punctuation or
control characters.

- `words` (count): words that are no symbol words. Bound 50..100,000.
- `mean_word_length` (characters): their mean length. Bound 3..10.
- `symbol_ratio` (0..): `#` signs or ellipses (`...` or `…`), whichever is more, per word. Bound: at most 0.1.
- `bullet_lines` (0..1): share of lines that begin with one of `bullets`. Bound: at most 0.9.
- `ellipsis_lines` (0..1): share of lines that end with an ellipsis. Bound: at most 0.3.
- `alpha_words` (0..1): share of words with at least one letter. Bound: at least 0.8.
- `stop_words` (count): how many different ones of `stop_words` occur, in just this spelling. Bound: at least 2.

Null: no assistant message, or fewer than `min_words` words: a short answer, a caption or a formula is no document, which
is what the rules are about (default 50, the paper's own lower bound; then the lower bound of `words` cannot bite). Scores
other than `words` are null for a text without words. `exceptions` (default on) are ours: all scores are null for task
`code`; `alpha_words` and `stop_words` for task `math` (a worked solution is made of numbers and signs); `stop_words`
where fewer than half of the words with a letter are ASCII (the list is English); `bullet_lines` and `ellipsis_lines` for
a text of one line, which is 0 or 100 % of itself. DCLM and dolma separate words by white space (`tokeniser: space`) and
know more bullets (`bullets: ["●", "•", "*", "-"]`). Left out: nothing.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from filters.base import scorer
from filters.shared import chars
from filters.shared.chars import LINE, SPACE
from filters.shared.split import (
    ALPHABETIC,
    TEXTUAL,
    Words,
    assistant_texts,
    assistant_words,
    back,
    bits_of,
    hash_bytes,
)
from filters.shared.text import Array, Texts, borrowed, cached, column, decode, inlined, is_task, kernel, ratio, table

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
BULLETS = ("•", "-")


@inlined
def _ends_in_ellipsis(data: Array, a: int, b: int, table: Array) -> bool:
    """Tell whether [a, b) ends in an ellipsis, but for white space."""
    while b > a:
        p = back(data, a, b)
        cp, _ = decode(data, p, b)
        if not bits_of(table, cp) & SPACE:
            return bool(cp == 0x2026 or (b - 3 >= a and cp == 46 and data[b - 2] == 46 and data[b - 3] == 46))
        b = p
    return False


@kernel
def _lines(data: Array, offsets: Array, table: Array, bullets: Array) -> Array:
    """Return per text: `#`, ellipses, lines, lines with a bullet, lines with an ellipsis at their end."""
    data, table = borrowed(data), borrowed(table)
    n = len(offsets) - 1
    out = np.zeros((n, 5), np.int64)
    for t in range(n):
        i = offsets[t]
        end = offsets[t + 1]
        hashes = ellipses = lines = bulleted = ended = 0
        while i < end:
            begin = i
            while i < end:  # the white space in front of the line
                cp, step = decode(data, i, end)
                kind = bits_of(table, cp)
                if not kind & SPACE or kind & LINE:
                    break
                i += step
            if i < end:
                cp, step = decode(data, i, end)
                for b in bullets:
                    if cp == b:
                        bulleted += 1
            dots = 0
            stop = after = end
            while i < end:
                c = int(data[i])
                if 46 < c < 128:
                    dots = 0
                    i += 1
                elif c == 46:
                    dots += 1
                    if dots == 3:
                        ellipses += 1
                        dots = 0
                    i += 1
                else:
                    dots = 0
                    cp, step = decode(data, i, end)
                    if bits_of(table, cp) & LINE:
                        stop = i
                        after = i + step
                        if c == 13 and after < end and data[after] == 10:
                            after += 1
                        break
                    i += step
                    if c == 35:
                        hashes += 1
                    elif cp == 0x2026:
                        ellipses += 1
            lines += 1
            if _ends_in_ellipsis(data, begin, stop, table):
                ended += 1
            i = after
        out[t, 0] = hashes
        out[t, 1] = ellipses
        out[t, 2] = lines
        out[t, 3] = bulleted
        out[t, 4] = ended
    return out


@kernel
def _count(sizes: Array, lengths: Array, hashes: Array, kinds: Array, first: Array, stops: Array) -> Array:
    """Return per text: words that are no symbol words, their characters, words with a letter, those in ASCII, stop words."""
    n = len(first) - 1
    out = np.zeros((n, 5), np.int64)
    # A stop word is looked for among the words of the same last bits only.
    slots = np.full(256, -1, np.int64)
    for k in range(len(stops)):
        s = np.int64(stops[k] & np.uint64(255))
        while slots[s] >= 0:
            s = (s + 1) & 255
        slots[s] = k
    seen = np.full(len(stops), -1, np.int64)
    for t in range(n):
        words = size = alpha = plain = found = 0
        for w in range(first[t], first[t + 1]):
            kind = kinds[w]
            if kind & TEXTUAL:
                words += 1
                size += lengths[w]
            if kind & ALPHABETIC:
                alpha += 1
                if sizes[w] == lengths[w]:
                    plain += 1
            s = np.int64(hashes[w] & np.uint64(255))
            while slots[s] >= 0:
                k = slots[s]
                if stops[k] == hashes[w] and seen[k] != t:
                    seen[k] = t
                    found += 1
                s = (s + 1) & 255
        out[t, 0] = words
        out[t, 1] = size
        out[t, 2] = alpha
        out[t, 3] = plain
        out[t, 4] = found
    return out


def _hashes(words: Sequence[str]) -> Array:
    raw = [np.frombuffer(w.encode(), np.uint8) for w in dict.fromkeys(words)]
    return np.array([hash_bytes(r, 0, len(r)) for r in raw], np.uint64)


def counts(words: Words, stop_words: Sequence[str]) -> Array:
    """Return the counts of `_count`."""
    found: Array = _count(words.sizes, words.lengths, words.hashes, words.kinds, words.first, _hashes(stop_words))
    return found


def lines(texts: Texts, bullets: Sequence[str]) -> Array:
    """Return the counts of `_lines`."""
    found: Array = _lines(texts.data, texts.offsets, chars.table(), np.array([ord(b) for b in bullets], np.int64))
    return found


@scorer(
    version=3,
    scores={
        "words": pa.int64(),
        "mean_word_length": pa.float64(),
        "symbol_ratio": pa.float64(),
        "bullet_lines": pa.float64(),
        "ellipsis_lines": pa.float64(),
        "alpha_words": pa.float64(),
        "stop_words": pa.int64(),
    },
    bounds={
        "words": (50, 100_000),
        "mean_word_length": (3.0, 10.0),
        "symbol_ratio": (None, 0.1),
        "bullet_lines": (None, 0.9),
        "ellipsis_lines": (None, 0.3),
        "alpha_words": (0.8, None),
        "stop_words": (2, None),
    },
)
def gopher_quality(
    batch: pa.RecordBatch,
    *,
    min_words: int = 50,
    exceptions: bool = True,
    tokeniser: str = "cuvee",
    stop_words: Sequence[str] = STOP_WORDS,
    bullets: Sequence[str] = BULLETS,
) -> pa.RecordBatch:
    """Score the assistant texts of `batch`."""
    texts = assistant_texts(batch)
    words = assistant_words(batch, tokeniser)
    c = cached(batch, ("gopher_counts", tokeniser, tuple(stop_words)), lambda: counts(words, stop_words))
    s = cached(batch, ("gopher_lines", tuple(bullets)), lambda: lines(texts, bullets))
    total = np.diff(words.first)
    judged = texts.valid & (c[:, 0] >= min_words)
    if exceptions:
        judged = judged & ~is_task(batch, "code")
    applies = judged & (total > 0)
    several = applies & (s[:, 2] > 1) if exceptions else applies
    prose = applies & ~is_task(batch, "math") if exceptions else applies
    english = prose & (c[:, 3] * 2 >= c[:, 2]) if exceptions else prose
    return table(
        words=column(c[:, 0], judged, pa.int64()),
        mean_word_length=column(ratio(c[:, 1], c[:, 0]), applies & (c[:, 0] > 0), pa.float64(), None),
        symbol_ratio=column(ratio(np.maximum(s[:, 0], s[:, 1]), total), applies, pa.float64(), None),
        bullet_lines=column(ratio(s[:, 3], s[:, 2]), several, pa.float64(), None),
        ellipsis_lines=column(ratio(s[:, 4], s[:, 2]), several, pa.float64(), None),
        alpha_words=column(ratio(c[:, 2], total), prose, pa.float64(), None),
        stop_words=column(c[:, 4], english, pa.int64()),
    )

r"""How much of a text is mathematics.

Looks at the assistant text, without code and `[asy]` blocks; null without words and symbols, and for task `code`.

- `symbols` (0..1): share of mathematical symbols among all words, numbers and symbols. A symbol is a character of Unicode's
  category Sm (`+ = < > | ~ × ÷ ± ∑ ∫ ≤ →`), one of `* / -` between two letters or digits of which one is a digit, with or
  without spaces, `^` or `_` after a letter or digit, or a LaTeX command of two letters or more (`\frac`), which counts once
  and not as a word.
- `numbers` (0..1): share of numbers among the same.
- `formulas_per_1000` (ratio): formulas, as in `filters/shared/latex.py`, for every 1,000 words, numbers and symbols; 0 without
  LaTeX.

No bounds: none is published. OpenWebMath (arXiv 2310.06786, section 3) takes pages in by their LaTeX and by a trained score,
and names no density; use quantiles of your own source, or `top`. Real texts of both kinds: docs/results/ocr_math.md. Left out:
mathematics said in words; a date or a range (`3-4`) counts as a symbol.
"""

import functools
import unicodedata

import numpy as np
import pyarrow as pa

from filters.base import scorer
from filters.shared.latex import scanned, without_code
from filters.shared.text import (
    DIGIT,
    IGNORED,
    SPACE,
    WORD,
    Array,
    buffers,
    class_of,
    classes,
    column,
    decode,
    is_task,
    kernel,
    ratio,
    table,
)


@functools.cache
def _signs() -> Array:
    """Return which code points below 0x20000 are of category Sm."""
    return np.array([unicodedata.category(chr(cp)) == "Sm" for cp in range(0x20000)], np.bool_)


@kernel
def _count(data: Array, offsets: Array, wanted: Array, kinds: Array, signs: Array) -> Array:
    """Return per text: words, numbers, symbols."""
    n = len(offsets) - 1
    out = np.zeros((n, 3), np.int64)
    for t in range(n):
        if not wanted[t]:
            continue
        i = offsets[t]
        end = offsets[t + 1]
        run = 0  # of the word that is open: 1 a number so far, 2 a word
        before = 0  # class of the visible character before
        while i < end:
            cp, step = decode(data, i, end)
            kind = class_of(kinds, cp)
            if cp == 92 and i + 1 < end and (65 <= data[i + 1] <= 90 or 97 <= data[i + 1] <= 122):
                k = i + 1
                while k < end and (65 <= data[k] <= 90 or 97 <= data[k] <= 122):
                    k += 1
                if run:
                    out[t, 2 - run] += 1
                    run = 0
                if k - i > 2:
                    out[t, 2] += 1
                i = k
                before = WORD
                continue
            if kind & IGNORED:
                i += step
                continue
            if kind & WORD:
                if kind & 8:  # an ideograph is a word
                    out[t, 0] += 1
                elif kind & DIGIT and run != 2:
                    run = 1
                else:
                    run = 2
            elif not (run == 1 and (cp == 46 or cp == 44) and i + step < end and 48 <= data[i + step] <= 57):
                if run:
                    out[t, 2 - run] += 1
                    run = 0
                if cp < 0x20000 and signs[cp]:
                    out[t, 2] += 1
                elif cp == 42 or cp == 47 or cp == 45 or cp == 94 or cp == 95:
                    k = i + step
                    if k < end and data[k] == 32:
                        k += 1
                    following, _ = decode(data, k, end) if k < end else (0, 1)
                    after = class_of(kinds, following)
                    if cp == 94 or cp == 95:
                        out[t, 2] += before & WORD != 0 and (after & WORD != 0 or following == 123)
                    else:
                        out[t, 2] += before & WORD != 0 and after & WORD != 0 and (before | after) & DIGIT != 0
            if cp == 10:
                before = 0  # a dash at the beginning of a line is a bullet
            elif kind & SPACE == 0:
                before = kind
            i += step
        if run:
            out[t, 2 - run] += 1
    return out


@scorer(
    version=1,
    scores={"symbols": pa.float64(), "numbers": pa.float64(), "formulas_per_1000": pa.float64()},
    bounds={},
)
def symbol_density(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Score the assistant texts of `batch`."""
    raw = buffers(without_code(batch))
    wanted = raw.valid & ~is_task(batch, "code")
    words, numbers, symbols = _count(raw.data, raw.offsets, wanted, classes(), _signs()).T
    total = words + numbers + symbols
    some = total > 0
    _, found = scanned(batch)
    return table(
        symbols=column(ratio(symbols, total), some, pa.float64()),
        numbers=column(ratio(numbers, total), some, pa.float64()),
        formulas_per_1000=column(ratio(1000.0 * found[:, 1], total), some, pa.float64()),
    )

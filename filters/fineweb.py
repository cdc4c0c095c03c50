"""FineWeb's own rules for web pages, as scores (Penedo et al. 2024, arXiv 2406.17557, section 3.5), as datatrove reads them.

Looks at the assistant text. What is counted, and the bounds, are those of datatrove v0.10.1,
https://github.com/huggingface/datatrove (src/datatrove/pipeline/filters/fineweb_quality_filter.py): with `min_words: 0,
tokeniser: spacy` every text is kept or dropped as it does there (`benchmarks/text_parity.py`). A line is what newlines
separate and that is more than white space; words are cut by `tokeniser` (`filters/shared/split.py`).

- `lines` (count): Bound: at least 1.
- `closed_lines` (share, 0..1): lines whose very last character ends a sentence (`stop_chars`; default: Unicode's sentence
  terminals). Bound: at least 0.12. With `ignore_unclosed` null where there is none, as datatrove's switch
  `line_punct_exclude_zero`.
- `short_lines` (share, 0..1): lines of at most `short_line` characters (30). Bound: at most 0.67.
- `duplicate_line_characters` (share, 0..1): characters in lines that stood earlier, of all characters but newlines.
  Bound: at most 0.01.
- `newlines_per_word` (0..): Bound: at most 0.3.

Null: no assistant message, or fewer than `min_words` words (default 50): the rules are about pages, and a caption without
a full stop is no list. Scores other than `lines` are null where there is no line. In FineWeb's pipeline these rules see
what C4's line rules have left of a page: `cleaned: true` judges that (C4's lines as FineWeb sets them, without the rule
of terminal punctuation). Left out: nothing.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from filters.base import scorer
from filters.gopher_repetition import grown, room, slot
from filters.shared import chars, page
from filters.shared.chars import SPACE, TERMINAL
from filters.shared.split import assistant_texts, assistant_words, bits_of, words
from filters.shared.text import Array, Texts, column, decode, kernel, mix, ratio, table


@kernel
def _measure(data: Array, offsets: Array, wanted: Array, table: Array, stops: Array, short: int) -> Array:
    """Return per text: lines, closed ones, short ones, characters of duplicates, characters but newlines, newlines."""
    n = len(offsets) - 1
    keys, stamps = np.empty(32, np.uint64), np.zeros(32, np.int64)
    out = np.zeros((n, 6), np.int64)
    stamp = 0
    prime = np.uint64(0x100000001B3)
    for t in range(n):
        if not wanted[t]:
            continue
        end = offsets[t + 1]
        newlines = 0
        for i in range(offsets[t], end):
            newlines += 1 if data[i] == 10 else 0
        keys, stamps = grown(keys, stamps, newlines + 1)
        last = room(newlines + 1) - 1
        stamp += 1
        lines = closed = brief = repeated = characters = 0
        i = offsets[t]
        while i <= end:
            h = np.uint64(0xCBF29CE484222325)
            size = 0
            blank = True
            cp = 0
            while i < end and data[i] != 10:
                c = int(data[i])
                size += 1
                if c < 128:
                    h = (h ^ np.uint64(c)) * prime
                    cp = c
                    if blank and not table[c] & SPACE:
                        blank = False
                    i += 1
                else:
                    cp, step = decode(data, i, end)
                    for k in range(i, i + step):
                        h = (h ^ np.uint64(data[k])) * prime
                    if blank and not bits_of(table, cp) & SPACE:
                        blank = False
                    i += step
            i += 1
            characters += size
            if blank:
                continue
            lines += 1
            if len(stops):
                for s in stops:
                    if cp == s:
                        closed += 1
                        break
            elif bits_of(table, cp) & TERMINAL:
                closed += 1
            if size <= short:
                brief += 1
            if newlines:
                key = mix(h + np.uint64(size))
                s = slot(keys, stamps, last, stamp, key)
                if stamps[s] == stamp:
                    repeated += size
                else:
                    stamps[s] = stamp
                    keys[s] = key
        out[t, 0] = lines
        out[t, 1] = closed
        out[t, 2] = brief
        out[t, 3] = repeated
        out[t, 4] = characters
        out[t, 5] = newlines
    return out


def measure(texts: Texts, wanted: Array, stop_chars: Sequence[str] | None, short_line: int) -> Array:
    """Return the counts of `_measure`; `stop_chars` None: every sentence terminal."""
    stops = np.array(sorted({ord(c) for c in stop_chars or ()}), np.int64)
    found: Array = _measure(texts.data, texts.offsets, wanted, chars.table(), stops, short_line)
    return found


@scorer(
    version=1,
    scores={
        "lines": pa.int64(),
        "closed_lines": pa.float64(),
        "short_lines": pa.float64(),
        "duplicate_line_characters": pa.float64(),
        "newlines_per_word": pa.float64(),
    },
    bounds={
        "lines": (1, None),
        "closed_lines": (0.12, None),
        "short_lines": (None, 0.67),
        "duplicate_line_characters": (None, 0.01),
        "newlines_per_word": (None, 0.3),
    },
)
def fineweb(
    batch: pa.RecordBatch,
    *,
    min_words: int = 50,
    tokeniser: str = "cuvee",
    stop_chars: Sequence[str] | None = None,
    ignore_unclosed: bool = False,
    short_line: int = 30,
    cleaned: bool = False,
) -> pa.RecordBatch:
    """Score the assistant texts of `batch`."""
    texts = assistant_texts(batch)
    if cleaned:
        texts = page.joined(texts, page.kept(batch, page.Rules(terminal=False)))
        found = words(texts, tokeniser=tokeniser)
    else:
        found = assistant_words(batch, tokeniser)
    total = np.diff(found.first)
    judged = texts.valid & (total >= min_words)
    m = measure(texts, judged, stop_chars, short_line)
    applies = judged & (m[:, 0] > 0)
    closed = applies & (m[:, 1] > 0) if ignore_unclosed else applies
    return table(
        lines=column(m[:, 0], judged, pa.int64()),
        closed_lines=column(ratio(m[:, 1], m[:, 0]), closed, pa.float64(), None),
        short_lines=column(ratio(m[:, 2], m[:, 0]), applies, pa.float64(), None),
        duplicate_line_characters=column(ratio(m[:, 3], m[:, 4]), applies, pa.float64(), None),
        newlines_per_word=column(ratio(m[:, 5], total), applies, pa.float64(), None),
    )

"""Rules of MassiveText for well-formed prose, as scores (Rae et al. 2021, arXiv 2112.11446, section A1.1).

Looks at the assistant text of samples whose task is not `code`, from `min_words` words on (default 50, the paper's own
lower bound for a document): a short answer, a caption or a formula is no document, so all scores are null there.
A word is what white space separates; it is a symbol word when it has neither letter nor digit.

- `words` (count): words that are not symbol words. Bound 50..100,000; the lower half cannot bite unless `min_words` is
  set below it.
- `mean_word_length` (characters): mean length of those words, without the punctuation around them. Bound 3..10.
- `symbol_ratio` (0..): `#` signs or ellipses (`...` or `…`), whichever is more, per word. Bound: at most 0.1.
- `bullet_lines` (0..1): share of lines that begin with a bullet (`•`, `‣`, `●`, `*`, `-`). Bound: at most 0.9.
- `ellipsis_lines` (0..1): share of lines that end with an ellipsis. Bound: at most 0.3. Both are null for a text of one line:
  the paper's rule is about documents, and one line is 0 or 100 % of itself ("* Cream jug in dusty rose, ...").
- `alpha_words` (0..1): share of words with at least one letter. Bound: at least 0.8. Null for task `math`:
  a worked solution is made of numbers and signs.
- `stop_words` (count): how many different ones of "the be to of and that have with" occur. Bound: at least 2. Null for `math`
  and where fewer than half of the letters are ASCII: the list is English.

Source of the bounds: the paper; the same numbers stand in datatrove, https://github.com/huggingface/datatrove
(src/datatrove/pipeline/filters/gopher_quality_filter.py). Different there: words come from a language's tokenizer;
here, as in DCLM and dolma, from white space. Left out: nothing.
"""

import numpy as np
import pyarrow as pa

from filters.base import scorer
from filters.shared.text import (
    Array,
    assistant,
    buffers,
    cached,
    class_of,
    classes,
    column,
    decode,
    is_task,
    kernel,
    ratio,
    table,
)

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
_KEYS = np.array([int.from_bytes(w.encode(), "little") for w in STOP_WORDS], np.int64)
_BULLETS = np.array([0x2022, 0x2023, 0x25CF, ord("*"), ord("-")], np.int64)


@kernel
def _measure(data: Array, offsets: Array, classes: Array, keys: Array, bullets: Array) -> Array:
    """Return per text: words, non-symbol words, their letters, `#`, ellipses, lines, bullet lines, ellipsis lines.

    Then alpha words, and stop words * 2 + (mostly ASCII).
    """
    n = len(offsets) - 1
    out = np.zeros((n, 10), np.int64)
    for t in range(n):
        i = offsets[t]
        end = offsets[t + 1]
        seen = 0
        letters = 0
        ascii_letters = 0
        in_word = False
        core = 0  # characters from the first to the last letter or digit of the word
        pending = 0  # punctuation since then
        alpha = False
        packed = 0  # the core in little-endian ASCII, at most 7 letters; -1: not such a word
        in_line = False
        dots = 0  # length of the run of full stops that ends here; 3 after an ellipsis sign
        while i <= end:
            if i < end:
                cp, step = decode(data, i, end)
                kind = class_of(classes, cp)
            else:
                cp, step, kind = 10, 1, 4
            space = kind & 4 != 0
            if space and in_word:
                out[t, 0] += 1
                if core:
                    out[t, 1] += 1
                    out[t, 2] += core
                if alpha:
                    out[t, 8] += 1
                if packed > 0:
                    for k in range(len(keys)):
                        if keys[k] == packed:
                            seen |= 1 << k
                in_word = False
            if cp == 10:
                if in_line:
                    out[t, 5] += 1
                    if dots >= 3:
                        out[t, 7] += 1
                in_line = False
                dots = 0
            elif not space and kind & 32 == 0:
                if not in_line:
                    in_line = True
                    for b in bullets:
                        if cp == b:
                            out[t, 6] += 1
                if not in_word:
                    in_word = True
                    core = 0
                    pending = 0
                    alpha = False
                    packed = 0
                if kind & 19:
                    core += pending + 1
                    if pending or packed < 0 or core > 7:
                        packed = -1
                    else:
                        low = cp + 32 if 65 <= cp <= 90 else cp
                        packed = packed | (low << (8 * (core - 1))) if 97 <= low <= 122 else -1
                    pending = 0
                    if kind & 1:
                        alpha = True
                        letters += 1
                        if cp < 128:
                            ascii_letters += 1
                elif core:
                    pending += 1
                if cp == 35:
                    out[t, 3] += 1
                if cp == 46:
                    dots += 1
                    if dots == 3:
                        out[t, 4] += 1
                elif cp == 0x2026:
                    dots = 3
                    out[t, 4] += 1
                else:
                    dots = 0
            i += step
        found = 0
        for k in range(len(keys)):
            found += (seen >> k) & 1
        out[t, 9] = found * 2 + (1 if ascii_letters * 2 >= letters else 0)
    return out


def measure(batch: pa.RecordBatch) -> Array:
    """Return the counts of `_measure` for the assistant texts, once per batch."""

    def make() -> Array:
        texts = buffers(assistant(batch))
        return _measure(texts.data, texts.offsets, classes(), _KEYS, _BULLETS)

    return cached(batch, "gopher", make)  # type: ignore[no-any-return]


@scorer(
    version=2,
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
def gopher_quality(batch: pa.RecordBatch, *, min_words: int = 50) -> pa.RecordBatch:
    """Score the assistant texts of `batch`."""
    m = measure(batch)
    words = m[:, 0]
    applies = (m[:, 1] >= min_words) & (words > 0) & ~is_task(batch, "code")
    lines = applies & (m[:, 5] > 1)
    prose = applies & ~is_task(batch, "math")
    return table(
        words=column(m[:, 1], applies, pa.int64()),
        mean_word_length=column(ratio(m[:, 2], m[:, 1]), applies, pa.float64()),
        symbol_ratio=column(ratio(np.maximum(m[:, 3], m[:, 4]), words), applies, pa.float64()),
        bullet_lines=column(ratio(m[:, 6], m[:, 5]), lines, pa.float64()),
        ellipsis_lines=column(ratio(m[:, 7], m[:, 5]), lines, pa.float64()),
        alpha_words=column(ratio(m[:, 8], words), prose, pa.float64()),
        stop_words=column(m[:, 9] // 2, prose & (m[:, 9] % 2 == 1), pa.int64()),
    )

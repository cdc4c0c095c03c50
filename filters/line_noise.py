"""Lines that an OCR engine read twice, and lines that are no text.

Looks at the lines of the assistant text of tasks `ocr` and `document`, and at the boxes of every sample. A line counts if it
has a visible character.

- `echoed_lines` (0..1): share of the lines that repeat one of the `window` (2) lines before, letter by letter or within an
  edit distance of `near` (0.2) of the longer one's length: what comes of a page read in overlapping strips, or of a text layer
  under a text layer. Both lines need `letters` (6) letters or more, and different digits make different lines: forms and
  receipts repeat short lines and count things up. Bound: at most 0.04.
- `stray_lines` (0..1): share of the lines less than half of whose characters are letters or digits: rules, dots, specks read
  as signs. Bound: at most 0.30.
- `doubled_boxes` (0..1): share of the boxes with a text that lie more than half in an earlier box of the same picture that
  says the same, within `near`. Null without such boxes. Bound: at most 0.05.

Source of the bounds: no paper gives any for OCR; ours, measured on 79 SROIE receipts (ICDAR 2019, arXiv 2103.10213), whose
worst have 0.024, 0.133 and 0.014 (docs/results/ocr_math.md). Lines that come back anywhere in a longer text are
`gopher_repetition`'s (Rae et al. 2021, arXiv 2112.11446), whose bound of 0.30 real receipts go beyond. Left out: running heads
and page numbers, which come back a page later.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.base import scorer
from filters.shared.boxes import boxes
from filters.shared.edit_distance import code_points, edit_distance
from filters.shared.text import (
    DIGIT,
    IGNORED,
    LETTER,
    SPACE,
    WORD,
    Array,
    assistant,
    buffers,
    class_of,
    classes,
    column,
    is_task,
    kernel,
    normalised,
    ratio,
    table,
)


@kernel
def _trimmed(text: Array, kinds: Array) -> tuple[Array, int, int, int]:
    """Return the visible characters of a line, how many are letters, how many letters or digits, and a hash of the digits."""
    out = np.empty(len(text), np.int32)
    n = 0
    letters = 0
    words = 0
    digits = np.int64(7)
    for cp in text:
        kind = class_of(kinds, cp)
        if kind & (SPACE | IGNORED) or cp < 32:
            continue
        out[n] = cp
        n += 1
        letters += (kind & LETTER) != 0
        words += (kind & WORD) != 0
        if kind & DIGIT:
            digits = (digits * 1_000_003 + cp) & 0x7FFFFFFFFFFF
    return out[:n], letters, words, int(digits)


@kernel
def _alike(a: Array, b: Array, near: float) -> bool:
    longer = max(len(a), len(b))
    if longer - min(len(a), len(b)) > near * longer:
        return False
    return edit_distance(a, b) <= near * longer


@kernel
def _lines(data: Array, offsets: Array, wanted: Array, kinds: Array, window: int, letters: int, near: float) -> Array:
    """Return per text: lines, echoed lines, stray lines."""
    n = len(offsets) - 1
    out = np.zeros((n, 3), np.int64)
    for t in range(n):
        if not wanted[t]:
            continue
        begins = np.zeros(window + 1, np.int64)  # of the lines before, in a ring
        ends = np.zeros(window + 1, np.int64)
        i = offsets[t]
        end = offsets[t + 1]
        while i < end:
            k = i
            while k < end and data[k] != 10 and data[k] != 13:
                k += 1
            line, count, words, digits = _trimmed(code_points(data, i, k), kinds)
            if len(line):
                if 2 * words < len(line):
                    out[t, 2] += 1
                if count >= letters and k - i <= 1000:
                    for back in range(1, min(window, out[t, 0]) + 1):
                        at = (out[t, 0] - back) % (window + 1)
                        other, others, _, same = _trimmed(code_points(data, begins[at], ends[at]), kinds)
                        if others >= letters and same == digits and _alike(line, other, near):
                            out[t, 1] += 1
                            break
                at = out[t, 0] % (window + 1)
                begins[at] = i
                ends[at] = min(k, i + 1001)
                out[t, 0] += 1
            i = k + 1
    return out


@kernel
def _doubled(
    x0: Array, y0: Array, x1: Array, y1: Array, medium: Array, usable: Array, first: Array, data: Array, offsets: Array,
    near: float,
) -> Array:  # fmt: skip
    """Return which boxes lie more than half in an earlier one that says the same."""
    out = np.zeros(len(x0), np.bool_)
    for t in range(len(first) - 1):
        low = first[t]
        order = low + np.argsort(y0[low : first[t + 1]])
        for i in range(len(order)):
            a = order[i]
            if not usable[a]:
                continue
            for k in range(i + 1, len(order)):
                b = order[k]
                if not y0[b] < y1[a]:  # the rest begin lower still; NaN comes last
                    break
                if not usable[b] or medium[a] != medium[b]:
                    continue
                w = min(x1[a], x1[b]) - max(x0[a], x0[b])
                h = min(y1[a], y1[b]) - y0[b]
                later = max(a, b)
                if (
                    w > 0
                    and h > 0
                    and w * h > 0.5 * (x1[later] - x0[later]) * (y1[later] - y0[later])
                    and not out[later]
                ):
                    one = code_points(data, offsets[a], offsets[a + 1])
                    other = code_points(data, offsets[b], offsets[b + 1])
                    if len(one) <= 1000 and _alike(one, other, near):
                        out[later] = True
    return out


@scorer(
    version=1,
    scores={"echoed_lines": pa.float64(), "stray_lines": pa.float64(), "doubled_boxes": pa.float64()},
    bounds={"echoed_lines": (None, 0.04), "stray_lines": (None, 0.30), "doubled_boxes": (None, 0.05)},
)
def line_noise(batch: pa.RecordBatch, *, window: int = 2, letters: int = 6, near: float = 0.2) -> pa.RecordBatch:
    """Score the assistant texts and boxes of `batch`."""
    raw = buffers(normalised(assistant(batch)))
    wanted = raw.valid & is_task(batch, "ocr", "document")
    lines = _lines(raw.data, raw.offsets, wanted, classes(), max(window, 0), letters, near)
    found = boxes(batch)
    said = buffers(pc.utf8_trim_whitespace(normalised(found.texts)))
    usable = found.whole & (found.characters > 0)
    doubled = _doubled(*found.bounds, found.medium, usable, found.first, said.data, said.offsets, near)
    some = found.count(usable)
    return table(
        echoed_lines=column(ratio(lines[:, 1], lines[:, 0]), lines[:, 0] > 0, pa.float64()),
        stray_lines=column(ratio(lines[:, 2], lines[:, 0]), lines[:, 0] > 0, pa.float64()),
        doubled_boxes=column(ratio(found.count(doubled), some), some > 0, pa.float64()),
    )

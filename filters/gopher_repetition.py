"""Repetition within a text, as scores (Rae et al. 2021, arXiv 2112.11446, section A1.1 and table A1).

Looks at the assistant text from `min_words` words on (default 50, the paper's shortest document); null for shorter texts,
where two equal phrases are not yet a fault. Words as in `filters/shared/text.py`; lengths are in characters of the
normalised text. All scores are shares, 0..1.

- `duplicate_lines`, `duplicate_paragraphs`: share of lines (paragraphs: parts between blank lines) that stood
  earlier in the text, without the white space around them. Bounds: at most 0.30 each.
- `duplicate_line_characters`, `duplicate_paragraph_characters`: share of all characters in them. At most 0.20 each.
- `top_2_gram`, `top_3_gram`, `top_4_gram`: characters in the occurrences of the most frequent n-gram of words (ties: the
  longer one), if it occurs at least twice, over all characters, at most 1. At most 0.20, 0.18, 0.16.
- `duplicate_5_gram` .. `duplicate_10_gram`: characters in n-grams that occurred earlier, each counted once by stepping over
  it, over all characters. At most 0.15, 0.14, 0.13, 0.12, 0.11, 0.10.

Source of the bounds: the paper's table A1; the same in datatrove, https://github.com/huggingface/datatrove
(src/datatrove/pipeline/filters/gopher_repetition_filter.py). Different there: an n-gram that occurs once counts too, which
only matters for texts of a few words; words come from a tokenizer and keep their case and punctuation. Math solutions
repeat their terms by nature: for task `math` the n-gram scores are null. Left out: nothing.
"""

import numpy as np
import pyarrow as pa

from filters.base import scorer
from filters.shared.text import (
    Array,
    assistant,
    assistant_tokens,
    buffers,
    column,
    extend,
    is_task,
    kernel,
    mix,
    ratio,
    table,
)

TOP = (0.20, 0.18, 0.16)
DUPLICATE = (0.15, 0.14, 0.13, 0.12, 0.11, 0.10)


@kernel
def _slot(keys: Array, stamps: Array, stamp: int, key: np.uint64) -> int:
    """Return the slot of `key`: where it stands, or a free one. A slot is taken when it bears the current stamp."""
    last = len(keys) - 1
    s = np.int64(key & np.uint64(last))
    while stamps[s] == stamp and keys[s] != key:
        s = (s + 1) & last
    return int(s)


@kernel
def _ngrams(hashes: Array, sizes: Array, first: Array, wanted: Array) -> Array:
    """Return per text the characters of the top 2-, 3-, 4-gram and of duplicate 5- .. 10-grams."""
    n = len(first) - 1
    most = 1
    for t in range(n):
        if wanted[t]:
            most = max(most, first[t + 1] - first[t])
    room = 4
    while room < 2 * most:
        room *= 2
    keys = np.zeros(room, np.uint64)
    stamps = np.zeros(room, np.int64)
    counts = np.zeros(room, np.int64)
    out = np.zeros((n, 9), np.int64)
    stamp = 0
    for t in range(n):
        if not wanted[t]:
            continue
        low = first[t]
        high = first[t + 1]
        for g in range(2, 11):
            stamp += 1
            best_count = 0
            best_size = 0
            repeated = 0
            i = low
            while i + g <= high:
                h = np.uint64(0)
                size = 0
                for k in range(i, i + g):
                    h = extend(h, hashes[k])
                    size += sizes[k]
                s = _slot(keys, stamps, stamp, h)
                if g <= 4:
                    if stamps[s] != stamp:
                        stamps[s] = stamp
                        keys[s] = h
                        counts[s] = 0
                    counts[s] += 1
                    size += g - 1
                    if counts[s] > best_count or (counts[s] == best_count and size > best_size):
                        best_count = counts[s]
                        best_size = size
                    i += 1
                elif stamps[s] == stamp:
                    repeated += size
                    i += g
                else:
                    stamps[s] = stamp
                    keys[s] = h
                    i += 1
            if g <= 4:
                out[t, g - 2] = best_size * best_count if best_count > 1 else 0
            else:
                out[t, g - 2] = repeated
    return out


@kernel
def _parts(data: Array, offsets: Array, wanted: Array) -> Array:
    """Return per text: lines, duplicate lines, their characters, the same of paragraphs, and all characters."""
    n = len(offsets) - 1
    most = 1
    for t in range(n):
        if wanted[t]:
            most = max(most, offsets[t + 1] - offsets[t])
    room = 4
    while room < most + 2:  # a line takes two bytes, so this is twice what can be needed
        room *= 2
    keys = np.zeros(room, np.uint64)
    stamps = np.zeros(room, np.int64)
    out = np.zeros((n, 7), np.int64)
    stamp = 0
    prime = np.uint64(0x100000001B3)
    for t in range(n):
        if not wanted[t]:
            continue
        end = offsets[t + 1]
        for level in range(2):
            stamp += 1
            base = 3 * level
            h = np.uint64(0)
            size = 0  # characters up to the last one that is not white space
            pending = 0
            kept = np.uint64(0)
            newlines = 0
            i = offsets[t]
            while i <= end:
                b = data[i] if i < end else 10
                if i == end or b == 10:
                    newlines += 1
                elif b > 32:
                    newlines = 0
                closes = i == end or (b == 10 and (level == 0 or newlines == 2))
                if closes:
                    if size:
                        out[t, base] += 1
                        key = mix(kept)
                        s = _slot(keys, stamps, stamp, key)
                        if stamps[s] == stamp:
                            out[t, base + 1] += 1
                            out[t, base + 2] += size
                        else:
                            stamps[s] = stamp
                            keys[s] = key
                    h = np.uint64(0)
                    size = 0
                    pending = 0
                else:
                    starts = b & 0xC0 != 0x80
                    if level == 0 and starts:
                        out[t, 6] += 1
                    if b > 32 or size:
                        h = (h ^ np.uint64(b)) * prime + np.uint64(b)
                        if starts:
                            pending += 1
                        if b > 32:
                            size += pending
                            pending = 0
                            kept = h
                if i < end and b == 10 and level == 0:
                    out[t, 6] += 1
                i += 1
    return out


NAMES = (
    "duplicate_lines",
    "duplicate_line_characters",
    "duplicate_paragraphs",
    "duplicate_paragraph_characters",
    *(f"top_{n}_gram" for n in (2, 3, 4)),
    *(f"duplicate_{n}_gram" for n in range(5, 11)),
)


@scorer(
    version=1,
    scores={name: pa.float64() for name in NAMES},
    bounds=dict(zip(NAMES, ((None, b) for b in (0.30, 0.20, 0.30, 0.20, *TOP, *DUPLICATE)), strict=True)),
)
def gopher_repetition(batch: pa.RecordBatch, *, min_words: int = 50) -> pa.RecordBatch:
    """Score the assistant texts of `batch`."""
    tokens = assistant_tokens(batch)
    applies = (np.diff(tokens.first) >= max(min_words, 1)) & (tokens.characters > 0)
    raw = buffers(assistant(batch))
    parts = _parts(raw.data, raw.offsets, applies)
    grams = _ngrams(tokens.hashes, tokens.lengths, tokens.first, applies)
    shares = [
        ratio(parts[:, 1], parts[:, 0]),
        ratio(parts[:, 2], parts[:, 6]),
        ratio(parts[:, 4], parts[:, 3]),
        ratio(parts[:, 5], parts[:, 6]),
    ]
    out = {name: column(share, applies, pa.float64()) for name, share in zip(NAMES, shares, strict=False)}
    prose = applies & ~is_task(batch, "math")
    for i, name in enumerate(NAMES[4:]):
        out[name] = column(np.minimum(ratio(grams[:, i], tokens.characters), 1.0), prose, pa.float64())
    return table(**out)

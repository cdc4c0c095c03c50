"""Gopher's rules against repetition within a text, as scores (Rae et al. 2021, arXiv 2112.11446, section A1.1 and table A1).

Looks at the assistant text. What is counted, and the bounds (the paper's table A1), are those of datatrove v0.10.1,
https://github.com/huggingface/datatrove (src/datatrove/pipeline/filters/gopher_repetition_filter.py): with `min_words: 0,
exceptions: false, tokeniser: spacy` every text is kept or dropped as it does there (`benchmarks/text_parity.py`). Words
are cut by `tokeniser` (`filters/shared/split.py`) and compared as they are written.

- `characters` (count): characters of the text, the whole of every share below. Bound: at least 1.
- `duplicate_lines`, `duplicate_paragraphs` (share, 0..1): lines (parts between newlines, however many) and paragraphs
  (parts between two newlines or more) that stood earlier in the text. Bounds: at most 0.30 each.
- `duplicate_line_characters`, `duplicate_paragraph_characters` (share, 0..1): characters in them. At most 0.20 each.
- `top_2_gram`, `top_3_gram`, `top_4_gram` (share, 0..): characters in the occurrences of the most frequent n-gram of
  words (ties: the one that comes first), spaces between its words included. At most 0.20, 0.18, 0.16.
- `duplicate_5_gram` .. `duplicate_10_gram` (share, 0..1): characters in n-grams that occurred earlier, each counted once
  by stepping over it. At most 0.15, 0.14, 0.13, 0.12, 0.11, 0.10.

Null: no assistant message, or fewer than `min_words` words (default 50, the paper's shortest document), where two equal
phrases are not yet a fault. `exceptions` (default on) are ours: the n-gram scores are null for task `math`, whose
solutions repeat their terms by nature; and an n-gram that occurs once is no repetition (0 where the published rule counts
it, which matters for texts of a few words). Left out: nothing.
"""

import numpy as np
import pyarrow as pa

from filters.base import scorer
from filters.shared import chars
from filters.shared.chars import SPACE
from filters.shared.split import Words, assistant_texts, assistant_words, back, bits_of
from filters.shared.text import Array, cached, column, decode, extend, inlined, is_task, kernel, mix, ratio, table

TOP = (0.20, 0.18, 0.16)
DUPLICATE = (0.15, 0.14, 0.13, 0.12, 0.11, 0.10)
PRIME = 0x9E3779B97F4A7C15  # of the hashes of words
INVERSE = pow(PRIME, -1, 1 << 64)


@inlined
def slot(keys: Array, stamps: Array, last: int, stamp: int, key: np.uint64) -> int:
    """Return the slot of `key`: where it stands, or a free one. A slot is taken when it bears the current stamp."""
    s = np.int64(key & np.uint64(last))
    while stamps[s] == stamp and keys[s] != key:
        s = (s + 1) & last
    return int(s)


@inlined
def room(items: int) -> int:
    """Return a power of two that leaves half of a table free."""
    size = 16
    while size < 2 * items:
        size *= 2
    return size


@inlined
def grown(keys: Array, stamps: Array, items: int) -> tuple[Array, Array]:
    """Return the table as it is where it has room for so many items, or else a larger one with nothing in it."""
    if room(items) <= len(keys):
        return keys, stamps
    return np.empty(room(items), np.uint64), np.zeros(room(items), np.int64)


@kernel
def _ngrams(
    lengths: Array, hashes: Array, sizes: Array, first: Array, wanted: Array, prime: np.uint64, inverse: np.uint64
) -> Array:
    """Return per text the characters of the top 2-, 3-, 4-gram, of duplicate 5- .. 10-grams, and how often the top ones occur."""
    n = len(first) - 1
    most = 1
    for t in range(n):
        if wanted[t]:
            most = max(most, first[t + 1] - first[t])
    # The hash of joined words comes from hashes of everything before their ends: joined[j] = joined[i] * PRIME ** bytes + hash.
    joined = np.empty(most + 1, np.uint64)
    power = np.empty(most + 1, np.uint64)
    unpower = np.empty(most + 1, np.uint64)
    total = np.empty(most + 1, np.int64)
    runs = np.empty(most, np.uint64)
    keys = np.empty(room(most), np.uint64)
    stamps = np.zeros(len(keys), np.int64)
    counts = np.empty(len(keys), np.int32)
    begins = np.empty(len(keys), np.int32)
    powers = np.empty(64, np.uint64)
    unpowers = np.empty(64, np.uint64)
    p = np.uint64(1)
    q = np.uint64(1)
    for k in range(64):
        powers[k] = p
        unpowers[k] = q
        p *= prime
        q *= inverse
    out = np.zeros((n, 12), np.int64)
    stamp = 0
    for t in range(n):
        if not wanted[t]:
            continue
        low = first[t]
        m = first[t + 1] - low
        last = room(m) - 1
        h = np.uint64(0)
        p = np.uint64(1)
        q = np.uint64(1)
        size = 0
        joined[0] = h
        power[0] = p
        unpower[0] = q
        total[0] = 0
        for i in range(m):
            w = low + i
            left = sizes[w]
            a = np.uint64(1)
            b = np.uint64(1)
            while left >= 64:
                a *= powers[63]
                b *= unpowers[63]
                left -= 63
            a *= powers[left]
            b *= unpowers[left]
            h = h * a + hashes[w]
            p *= a
            q *= b
            size += lengths[w]
            joined[i + 1] = h
            power[i + 1] = p
            unpower[i + 1] = q
            total[i + 1] = size
            runs[i] = extend(np.uint64(0), hashes[w])
        for g in range(2, 5):
            stamp += 1
            best = 0
            begin = 0
            for i in range(m - g + 1):
                h = extend(runs[i], hashes[low + i + g - 1])
                runs[i] = h
                s = slot(keys, stamps, last, stamp, h)
                if stamps[s] != stamp:
                    stamps[s] = stamp
                    keys[s] = h
                    counts[s] = 0
                    begins[s] = i
                counts[s] += 1
                if counts[s] > best or (counts[s] == best and begins[s] < begin):
                    best = counts[s]
                    begin = begins[s]
            if best:
                out[t, g - 2] = (total[begin + g] - total[begin] + g - 1) * best
                out[t, g + 7] = best
        for g in range(5, 11):
            stamp += 1
            repeated = 0
            i = 0
            while i + g <= m:
                h = mix(joined[i + g] - joined[i] * (power[i + g] * unpower[i]))
                s = slot(keys, stamps, last, stamp, h)
                if stamps[s] == stamp:
                    repeated += total[i + g] - total[i]
                    i += g
                else:
                    stamps[s] = stamp
                    keys[s] = h
                    i += 1
            out[t, g - 2] = repeated
    return out


@kernel
def _parts(data: Array, offsets: Array, wanted: Array, table: Array) -> Array:
    """Return per text: paragraphs, duplicate ones, their characters; the same of lines; and all characters."""
    n = len(offsets) - 1
    keys, stamps = np.empty(32, np.uint64), np.zeros(32, np.int64)
    out = np.zeros((n, 7), np.int64)
    stamp = 0
    prime = np.uint64(0x100000001B3)
    for t in range(n):
        if not wanted[t]:
            continue
        newlines = 0
        begin = offsets[t]
        end = offsets[t + 1]
        size = 0
        for i in range(begin, end):
            b = data[i]
            newlines += 1 if b == 10 else 0
            size += 1 if b & 0xC0 != 0x80 else 0
        out[t, 6] = size
        keys, stamps = grown(keys, stamps, newlines + 1)
        last = room(newlines + 1) - 1
        if newlines == 0:  # one line, one paragraph
            out[t, 0] = 1
            out[t, 3] = 1
            continue
        for level in range(2):
            begin = offsets[t]
            end = offsets[t + 1]
            least = 1
            if level == 0:  # paragraphs are those of the text without the white space around it
                least = 2
                while begin < end:
                    cp, step = decode(data, begin, end)
                    if not bits_of(table, cp) & SPACE:
                        break
                    begin += step
                while begin < end:
                    p = back(data, begin, end)
                    cp, step = decode(data, p, end)
                    if not bits_of(table, cp) & SPACE:
                        break
                    end = p
            stamp += 1
            h = np.uint64(0xCBF29CE484222325)
            size = 0
            i = begin
            while i <= end:
                run = 0
                while i + run < end and data[i + run] == 10:
                    run += 1
                if i == end or run >= least:
                    out[t, 3 * level] += 1
                    key = mix(h + np.uint64(size))
                    s = slot(keys, stamps, last, stamp, key)
                    if stamps[s] == stamp:
                        out[t, 3 * level + 1] += 1
                        out[t, 3 * level + 2] += size
                    else:
                        stamps[s] = stamp
                        keys[s] = key
                    h = np.uint64(0xCBF29CE484222325)
                    size = 0
                    i += max(run, 1)
                    if i > end:
                        break
                    if run and i == end:  # a break at the very end: an empty part comes after it
                        continue
                else:
                    b = data[i]
                    h = (h ^ np.uint64(b)) * prime
                    size += 1 if b & 0xC0 != 0x80 else 0
                    i += 1
    return out


def ngrams(words: Words, wanted: Array) -> Array:
    """Return the counts of `_ngrams`."""
    found: Array = _ngrams(
        words.lengths, words.hashes, words.sizes, words.first, wanted, np.uint64(PRIME), np.uint64(INVERSE)
    )
    return found


NAMES = (
    "duplicate_paragraphs",
    "duplicate_paragraph_characters",
    "duplicate_lines",
    "duplicate_line_characters",
    *(f"top_{n}_gram" for n in (2, 3, 4)),
    *(f"duplicate_{n}_gram" for n in range(5, 11)),
)


@scorer(
    version=2,
    scores={"characters": pa.int64(), **{name: pa.float64() for name in NAMES}},
    bounds={
        "characters": (1, None),
        **dict(zip(NAMES, ((None, b) for b in (0.30, 0.20, 0.30, 0.20, *TOP, *DUPLICATE)), strict=True)),
    },
)
def gopher_repetition(
    batch: pa.RecordBatch, *, min_words: int = 50, exceptions: bool = True, tokeniser: str = "cuvee"
) -> pa.RecordBatch:
    """Score the assistant texts of `batch`."""
    texts = assistant_texts(batch)
    words = assistant_words(batch, tokeniser)
    judged = texts.valid & (np.diff(words.first) >= min_words)
    key = (tokeniser, min_words)
    parts = cached(batch, ("gopher_parts", *key), lambda: _parts(texts.data, texts.offsets, judged, chars.table()))
    grams = cached(batch, ("gopher_ngrams", *key), lambda: ngrams(words, judged))
    whole = parts[:, 6]
    applies = judged & (whole > 0)
    shares = [
        ratio(parts[:, 1], parts[:, 0]),
        ratio(parts[:, 2], whole),
        ratio(parts[:, 4], parts[:, 3]),
        ratio(parts[:, 5], whole),
    ]
    out = {"characters": column(whole, judged, pa.int64())}
    out |= {name: column(share, applies, pa.float64(), None) for name, share in zip(NAMES, shares, strict=False)}
    prose = applies & ~is_task(batch, "math") if exceptions else applies
    for i, name in enumerate(NAMES[4:]):
        size = grams[:, i]
        if exceptions and i < 3:
            size = np.where(grams[:, 9 + i] > 1, size, 0)
        out[name] = column(ratio(size, whole), prose, pa.float64(), None)
    return table(**out)

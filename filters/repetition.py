"""How much of a text is the same run of characters, or of words, over and over.

Looks at the assistant text of samples whose task is not `code`; null for those and where there is none. A text with fewer
than `length` characters or words has 0.

- `character_repetition` (0..1): of all runs of `length` characters (default 10), the share of the most frequent ones. Those
  are the runs that occur at least twice, but no more of them than the square root of the number of different runs.
  Bound: at most 0.5, the default of Data-Juicer's `character_repetition_filter`; its recipe for LLaVA's captions has
  0.0937, for Common Crawl 0.3.
- `word_repetition` (0..1): of all runs of `length` words, the share of those that occur at least twice. Bound: at most 0.5, the
  default of its `word_repetition_filter`; LLaVA's captions 0.0309, Common Crawl 0.2962.

A word is what spaces, tabs and line feeds separate, in lower case, without the special characters at its ends
(see `characters`); what has nothing else, such as a number, is no word.

Source of both definitions and bounds: Data-Juicer 1.6.1 (Chen et al. 2024, arXiv 2309.02033; the idea is that of Laurençon et
al. 2022, "The BigScience ROOTS Corpus", arXiv 2303.03915), https://github.com/datajuicer/data-juicer,
data_juicer/ops/filter/{character,word}_repetition_filter.py and
configs/data_juicer_recipes/{llava-pretrain-refine,redpajama-cc-2023-06-refine}.yaml. With its own special characters as
`special_path` the numbers are its own. Left out: words by a sentencepiece model (`tokenization: true`). Runs are told apart
by 64-bit hashes.
"""

import numpy as np
import pyarrow as pa

from filters.base import scorer
from filters.shared.characters import listed, lower, special
from filters.shared.kinds import within
from filters.shared.text import (
    Array,
    assistant,
    borrowed,
    buffers,
    column,
    decode,
    is_task,
    kernel,
    mix,
    ratio,
    table,
)


@kernel
def _runs(
    units: Array, count: int, length: int, keys: Array, stamps: Array, counts: Array, often: Array, stamp: int
) -> tuple[int, int]:
    """Count the runs of `length` units: return how many differ and how many of those occur twice or more.

    The slots of the latter are left in `often`, the counts of all in `counts`. A slot is taken when it bears `stamp`.
    """
    room = 4
    while room < 2 * count:
        room *= 2
    last = np.uint64(room - 1)
    base = np.uint64(0x9E3779B97F4A7C15)
    leaving = np.uint64(1)
    for _ in range(length):
        leaving *= base
    h = np.uint64(0)
    different = 0
    repeated = 0
    for i in range(count):
        h = h * base + units[i]
        if i >= length:
            h -= units[i - length] * leaving
        if i + 1 < length:
            continue
        key = mix(h)
        s = key & last
        while stamps[s] == stamp and keys[s] != key:
            s = (s + np.uint64(1)) & last
        if stamps[s] != stamp:
            stamps[s] = stamp
            keys[s] = key
            counts[s] = 1
            different += 1
        else:
            counts[s] += 1
            if counts[s] == 2:
                often[repeated] = s
                repeated += 1
    return different, repeated


@kernel
def _measure(data: Array, offsets: Array, wanted: Array, signs: Array, small: Array, length: int) -> Array:
    """Return per text: runs of characters, those of the most frequent; runs of words, those of the repeated."""
    n = len(offsets) - 1
    data, signs = borrowed(data), borrowed(signs)
    most = 1
    for t in range(n):
        if wanted[t]:
            most = max(most, offsets[t + 1] - offsets[t])
    room = 4
    while room < 2 * most:
        room *= 2
    keys = np.empty(room, np.uint64)
    stamps = np.zeros(room, np.int32)
    counts = np.empty(room, np.int32)
    often = np.empty(most, np.int64)
    units = np.empty(most, np.uint64)
    words = np.empty(most, np.uint64)
    out = np.zeros((n, 4), np.int64)
    prime = np.uint64(0x100000001B3)
    for t in range(n):
        if not wanted[t]:
            continue
        i = offsets[t]
        end = offsets[t + 1]
        characters = 0
        found = 0
        h = np.uint64(0xCBF29CE484222325)
        kept = h
        inside = False  # has the word anything but special characters?
        while i < end:
            cp, step = decode(data, i, end)
            units[characters] = mix(np.uint64(cp + 1))
            characters += 1
            if cp == 32 or cp == 10 or cp == 9:
                if inside:
                    words[found] = mix(kept)
                    found += 1
                h = np.uint64(0xCBF29CE484222325)
                inside = False
            else:
                odd = listed(signs, cp)
                if inside or not odd:
                    if cp < 0x20000:
                        cp = small[cp]
                    h = (h ^ np.uint64(cp)) * prime
                    if not odd:
                        inside = True
                        kept = h
            i += step
        if inside:
            words[found] = mix(kept)
            found += 1
        if characters >= length:
            different, repeated = _runs(units, characters, length, keys, stamps, counts, often, 2 * t + 1)
            values = np.empty(repeated, np.int64)
            for k in range(repeated):
                values[k] = counts[often[k]]
            values.sort()
            top = min(int(np.sqrt(float(different))), repeated)
            out[t, 0] = characters - length + 1
            for k in range(top):
                out[t, 1] += values[repeated - 1 - k]
        if found >= length:
            different, repeated = _runs(words, found, length, keys, stamps, counts, often, 2 * t + 2)
            out[t, 2] = found - length + 1
            for k in range(repeated):
                out[t, 3] += counts[often[k]]
    return out


@scorer(
    version=1,
    scores={"character_repetition": pa.float64(), "word_repetition": pa.float64()},
    bounds={"character_repetition": (None, 0.5), "word_repetition": (None, 0.5)},
)
def repetition(batch: pa.RecordBatch, *, length: int = 10, special_path: str | None = None) -> pa.RecordBatch:
    """Score the assistant texts of `batch`."""
    within("length", length, 1)
    raw = buffers(assistant(batch))
    applies = raw.valid & ~is_task(batch, "code")
    m = _measure(raw.data, raw.offsets, applies, special(special_path), lower(), length)
    return table(
        character_repetition=column(ratio(m[:, 1], m[:, 0]), applies, pa.float64()),
        word_repetition=column(ratio(m[:, 3], m[:, 2]), applies, pa.float64()),
    )

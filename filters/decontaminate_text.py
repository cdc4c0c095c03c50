"""Leaks of evaluation items, by n-grams of words (Brown et al. 2020, arXiv 2005.14165, appendix C).

Looks at every message of a sample, each by itself. Words are those of `filters/shared/text.py`: NFKC, lower case,
punctuation and white space only separate. The index, made by `build` from the evaluation sets, holds 64-bit hashes of

- all runs of `n` words (default 13) of every message of an evaluation item that has at least `n` words, except runs that more
  than 10 items share, which are the benchmark's own wording, and runs of fewer than `distinct_words` (default 5) different
  words of two letters or more: "1 2 3 4 5 6 7 8 9 10 11 12 13" stands in AIME's answers and in the name of a comic, a column of
  ones in a matrix and on a receipt. Numbers, single letters and signs prove nothing; an ideograph is a word;
- the whole of a user message of `short` (8) to `n` - 1 words, with as many different ones: it matches as a run of words
  anywhere;
- the whole of a user message of `min_words` (5) to `short` - 1 words, of an item without media: it matches a user message that
  says just this. Shorter ones ("What is this?") prove nothing and are left out, as are short answers;
- the whole of a longer user message in which no run has so many different words, a formula, of an item without media: it
  matches a user message that begins with it, within 48 words, or says just this.

A sample with media is compared only with items that have none: where both have images, the same question about another
picture is no leak, and image decontamination decides.

- `overlap` (0..1): share of the sample's runs of `n` words that are in the index; a match of a short item counts as one.
  Bound: at most 0, any match drops the sample. Null when the sample has no message of `min_words` words.
- `matched` (count): how many runs matched. No bound.
- `match` (string): the evaluation item with most of them (ties: the smallest id); null without a match.

Source: n = 13 and the lower limit of 8 words are GPT-3's; 13 is also the default of NeMo Curator's task decontamination,
https://github.com/NVIDIA/NeMo-Curator. Different there: documents are cut around a match, and n-grams that match more than 10
training documents are ignored; here the sample is dropped and the limit is on the evaluation side, so that the result
does not depend on what else is in the training data.
"""

import functools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from catalog.errors import UserError
from filters.base import scorer
from filters.shared.text import (
    Array,
    buffers,
    class_of,
    classes,
    column,
    decode,
    extend,
    has_media,
    kernel,
    message_tokens,
    messages,
    mix,
    normalised,
    ratio,
    table,
)

_COMMON = 10
_FORMULA = 48
INDEX = pa.schema([("hash", pa.uint64()), ("media", pa.bool_()), ("item", pa.string())])


@kernel
def _run(hashes: Array, begin: int, size: int, whole: int) -> np.uint64:
    """Return the key of a run of words; runs of another length, or a whole message, never share it."""
    h = np.uint64(size * 2 + whole)
    for k in range(begin, begin + size):
        h = extend(h, hashes[k])
    return mix(h)


@kernel
def _telling(data: Array, offsets: Array, classes: Array, words: int) -> Array:
    """Return which words, as `filters/shared/text.py` cuts them, have two letters or are an ideograph."""
    out = np.zeros(words, np.bool_)
    w = 0
    for t in range(len(offsets) - 1):
        i = offsets[t]
        end = offsets[t + 1]
        size = 0
        letters = 0
        while i <= end:
            kind = 4
            step = 1
            if i < end:
                cp, step = decode(data, i, end)
                kind = class_of(classes, cp)
            if kind & 8:
                if size:
                    out[w] = letters > 1
                    w += 1
                out[w] = kind & 1 != 0
                w += 1
                size = 0
                letters = 0
            elif kind & 19:
                size += 1
                letters += kind & 1
            elif kind & 32 == 0 and size:
                out[w] = letters > 1
                w += 1
                size = 0
                letters = 0
            i += step
    return out


@kernel
def _distinct(hashes: Array, telling: Array, begin: int, end: int, wanted: int) -> bool:
    """Return whether at least `wanted` different words of `begin:end` are telling."""
    found = 0
    for i in range(begin, end):
        if telling[i]:
            found += 1
            for k in range(begin, i):
                if hashes[k] == hashes[i]:
                    found -= 1
                    break
        if found >= wanted:
            return True
    return found >= wanted


@kernel
def _keys(
    hashes: Array, telling: Array, first: Array, sample: Array, mine: Array, media: Array,
    n: int, short: int, least: int, distinct: int,
) -> tuple[Array, Array]:  # fmt: skip
    """Return the keys of an evaluation batch and the row of the sample that each comes from."""
    total = 0
    for m in range(len(first) - 1):
        total += max(1, first[m + 1] - first[m])
    keys = np.empty(total, np.uint64)
    rows = np.empty(total, np.int64)
    used = 0
    for m in range(len(first) - 1):
        words = first[m + 1] - first[m]
        before = used
        size = n if words >= n else words
        if words >= n or (words >= short and not mine[m]):
            for i in range(first[m], first[m + 1] - size + 1):
                if _distinct(hashes, telling, i, i + size, distinct):
                    keys[used] = _run(hashes, i, size, 0)
                    rows[used] = sample[m]
                    used += 1
        if used == before and not mine[m] and words >= least and not media[sample[m]]:
            keys[used] = _run(hashes, first[m], words, 1)
            rows[used] = sample[m]
            used += 1
    return keys[:used].copy(), rows[:used].copy()


@kernel
def _find(index: Array, slots: Array, shift: np.uint64, key: np.uint64) -> int:
    """Return the position of `key` in the sorted `index`, or -1; `slots` says where each prefix begins."""
    p = np.int64(key >> shift)
    for i in range(slots[p], slots[p + 1]):
        if index[i] == key:
            return i
    return -1


@kernel
def _hits(
    hashes: Array, first: Array, sample: Array, mine: Array, media: Array, n: int, short: int, least: int,
    index: Array, slots: Array, shift: np.uint64, textual: Array,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Return per message the runs compared, and per hit the row of its sample and the position in the index."""
    compared = np.zeros(len(first) - 1, np.int64)
    rows = np.empty(1024, np.int64)
    at = np.empty(1024, np.int64)
    used = 0
    for m in range(len(first) - 1):
        words = first[m + 1] - first[m]
        if words < least:
            continue
        compared[m] = max(1, words - n + 1)
        # First what the message begins with, then the runs that begin at each word, short ones first.
        for i in range(first[m] - 1, max(first[m], first[m + 1] - short + 1)):
            whole = i < first[m]
            if whole and mine[m]:
                continue
            least_size = min(words, short) if whole else short
            most_size = min(words, _FORMULA) if whole else min(n, first[m + 1] - i)
            if whole and words > _FORMULA:
                most_size += 1  # the last one is all of it
            for step in range(least_size, most_size + 1):
                size = words if whole and step > _FORMULA else step
                key = _run(hashes, first[m], size, 1) if whole else _run(hashes, i, size, 0)
                p = _find(index, slots, shift, key)
                if p >= 0 and (textual[p] or not media[sample[m]]):
                    if used == len(rows):
                        rows = np.concatenate((rows, np.empty(used, np.int64)))
                        at = np.concatenate((at, np.empty(used, np.int64)))
                    rows[used] = sample[m]
                    at[used] = p
                    used += 1
                    break
    return compared, rows[:used].copy(), at[:used].copy()


def build(
    batches: Iterator[pa.RecordBatch], *, n: int = 13, short: int = 8, min_words: int = 5, distinct_words: int = 5
) -> pa.Table:
    """Return the index table of the evaluation samples in `batches`, sorted; the order of samples does not matter."""
    parts = [pl.DataFrame(schema={"hash": pl.UInt64, "media": pl.Boolean, "item": pl.String})]
    for batch in batches:
        tokens = message_tokens(batch)
        texts, mine, at = messages(batch)
        raw = buffers(normalised(texts))
        telling = _telling(raw.data, raw.offsets, classes(), len(tokens.hashes))
        sample = np.repeat(np.arange(batch.num_rows), np.diff(at))
        media = has_media(batch)
        keys, rows = _keys(
            tokens.hashes, telling, tokens.first, sample, mine, media, n, short, min_words, distinct_words
        )
        ids = pl.Series("item", batch.column("id").take(pa.array(rows)), dtype=pl.String)
        parts.append(pl.DataFrame({"hash": keys, "media": media[rows], "item": ids}))
    # One row per key and kind of item: the smallest item id stands for all.
    every = pl.concat(parts).unique()
    common = every.group_by("hash").agg(pl.len().alias("items")).filter(pl.col("items") <= _COMMON)
    kept = every.join(common, on="hash", how="semi")
    kept = (
        kept.group_by("hash").agg(pl.col("media").min(), pl.col("item").sort_by("media", "item").first()).sort("hash")
    )
    out = kept.select("hash", "media", "item").to_arrow().cast(INDEX)
    settings = json.dumps(
        {"n": n, "short": short, "min_words": min_words, "distinct_words": distinct_words}, sort_keys=True
    )
    return out.replace_schema_metadata({"decontaminate_text": settings})


@functools.lru_cache(maxsize=4)
def _load(path: str, stamp: int) -> tuple[dict[str, int], Array, Array, np.uint64, Array, pa.Array]:
    try:
        found = pq.read_table(path)
        settings = json.loads((found.schema.metadata or {})[b"decontaminate_text"])
    except (pa.ArrowInvalid, OSError, KeyError, ValueError):
        msg = f"`{path}` is not an index of decontaminate_text"
        raise UserError(msg) from None
    keys = np.asarray(found["hash"])
    bits = min(max(len(keys).bit_length(), 4), 24)
    shift = np.uint64(64 - bits)
    slots = np.searchsorted(keys >> shift, np.arange((1 << bits) + 1, dtype=np.uint64)).astype(np.int64)
    textual = ~np.asarray(found["media"])
    return settings, keys, slots, shift, textual, found["item"].combine_chunks().cast(pa.string())


@scorer(
    version=2,
    scores={"overlap": pa.float64(), "matched": pa.int64(), "match": pa.string()},
    bounds={"overlap": (None, 0.0)},
)
def decontaminate_text(
    batch: pa.RecordBatch,
    *,
    index: str | None = None,
    n: int = 13,
    short: int = 8,
    min_words: int = 5,
    distinct_words: int = 5,
) -> pa.RecordBatch:
    """Compare the messages of `batch` with the index."""
    if index is None or not Path(index).is_file():
        msg = f"decontaminate_text needs an index, got `{index}`"
        raise UserError(msg, hint="name the evaluation sets in the recipe, or give `index` the file made from them")
    settings, keys, slots, shift, textual, items = _load(str(index), Path(index).stat().st_mtime_ns)
    wanted = {"n": n, "short": short, "min_words": min_words, "distinct_words": distinct_words}
    if settings != wanted:
        msg = f"the index `{index}` was built with {settings}, not {wanted}"
        raise UserError(msg)
    tokens = message_tokens(batch)
    _, mine, first = messages(batch)
    sample = np.repeat(np.arange(batch.num_rows), np.diff(first))
    compared, rows, at = _hits(
        tokens.hashes, tokens.first, sample, mine, has_media(batch), n, short, min_words,
        keys, slots, shift, textual,
    )  # fmt: skip
    total = np.bincount(sample, weights=compared, minlength=batch.num_rows).astype(np.int64)
    matched = np.bincount(rows, minlength=batch.num_rows).astype(np.int64)
    hits = pl.DataFrame(
        {"row": rows, "item": pl.from_arrow(items.take(pa.array(at)))}, schema={"row": pl.Int64, "item": pl.String}
    )
    best = (
        hits.group_by("row", "item")
        .agg(pl.len().alias("hits"))
        .sort(["row", "hits", "item"], descending=[False, True, False])
        .unique("row", keep="first", maintain_order=True)
    )
    where = np.full(batch.num_rows, -1, np.int64)
    where[best["row"].to_numpy()] = np.arange(len(best))
    names = best["item"].to_arrow().cast(pa.string()).take(pa.array(where, mask=where < 0))
    return table(
        overlap=column(np.minimum(ratio(matched, total), 1.0), total > 0, pa.float64()),
        matched=column(matched, total > 0, pa.int64()),
        match=names,
    )

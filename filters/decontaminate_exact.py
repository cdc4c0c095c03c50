"""Evaluation questions that stand whole in a sample, whatever the case, punctuation, white space or order of the options.

`question` (count of words): length of the longest evaluation question that the sample holds; 0 where it holds none. Bound: at
most 0. Null without a message. `match` (string): the evaluation item (ties: the smallest id); null without one.

Compared are words as `filters/shared/questions.py` cuts them (NFKC, lower case, of letters and digits). What counts as whole:

- a question of `short` (8) words and more, `distinct_words` (5) of them different ones of two letters or more: anywhere in any
  message;
- a shorter one, or a formula, of at least `min_words` (4) words and of an item without media: in a user message, where it
  begins, a line begins, or behind a colon, up to the end of a sentence, of the line or of all. "What is this?" proves nothing;
- a question with options, whose stem ("Which of these is true?") says little by itself: the stem, with all of its options but
  one behind it, whatever their labels and order; or the stem like a short question, in a user message without options. A stem
  of `stem` (13) words and more that no two items share with other options counts like any long question;
- an assistant's message of `stem` words and more (a solution, a program): anywhere.

A sample with media is compared only with items that have none: where both have images, the same question about another picture
is no leak, and `decontaminate_image` decides.

Source: exact match of the normalised prompt, as in Tulu 3's comparison of methods (Lambert et al. 2024, arXiv 2411.15124,
section 3.2), where it is found to miss reworded prompts: `decontaminate_text` and `decontaminate_minhash` take those. 8 and 13
words are GPT-3's least and default length of an n-gram (Brown et al. 2020, arXiv 2005.14165, appendix C). The rules for
options and short questions are ours.
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
from filters.shared.questions import alone, distinct, layout, marks, powers, prefixes, questions, run, sieve
from filters.shared.text import Array, column, has_media, kernel, message_tokens, messages, table

ANYWHERE, ALONE, OPTIONS, ONLY_OPTIONS = 0, 1, 2, 3
LONG, SHORT = 8, 3  # words of an anchor
GENERIC = 3  # a stem that more items have, each with other options, says nothing without them
INDEX = pa.schema(
    [
        ("anchor", pa.uint64()), ("whole", pa.uint64()), ("size", pa.int32()), ("kind", pa.int8()), ("media", pa.bool_()),
        ("options", pa.binary()), ("item", pa.string()),
    ]
)  # fmt: skip


@kernel
def _units(
    hashes: Array, telling: Array, first: Array, stem: Array, at: Array, mine: Array, media: Array,
    short: int, least: int, long: int, wanted: int,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Return (message, size, kind) of the text that stands for each message, and the keys of its anchor and of all of it."""
    n = len(first) - 1
    out = np.empty((n, 3), np.int64)
    anchor = np.empty(n, np.uint64)
    whole = np.empty(n, np.uint64)
    prefix = prefixes(hashes)
    most = 8
    for m in range(n):
        most = max(most, first[m + 1] - first[m])
    power = powers(most)
    used = 0
    for m in range(n):
        begin = first[m]
        size = first[m + 1] - begin
        kind = -1
        if mine[m]:
            if size >= long and distinct(hashes, telling, begin, begin + size, wanted):
                kind = 0
        elif at[m + 1] - at[m] >= 2 and stem[m] - begin >= 3:
            size = stem[m] - begin
            kind = 0 if size >= long and distinct(hashes, telling, begin, begin + size, wanted) else 2
        elif size >= short and distinct(hashes, telling, begin, begin + size, wanted):
            kind = 0
        elif size >= least and not media[m]:
            kind = 1
        if kind >= 0:
            out[used, 0] = m
            out[used, 1] = size
            out[used, 2] = kind
            anchor[used] = run(prefix, power, begin, 8 if size >= 8 else 3)
            whole[used] = run(prefix, power, begin, size)
            used += 1
    return out[:used].copy(), anchor[:used].copy(), whole[:used].copy()


@kernel
def _sets(hashes: Array, options: Array, at: Array, units: Array) -> tuple[Array, Array]:
    """Return the different options of each unit as (key, words), sorted by key, and where each unit's begin."""
    out = np.empty((len(options), 2), np.uint64)
    begins = np.zeros(len(units) + 1, np.int64)
    prefix = prefixes(hashes)
    most = 1
    for k in range(len(options)):
        most = max(most, options[k, 1] - options[k, 0])
    power = powers(most)
    used = 0
    for u in range(len(units)):
        low = used
        if units[u, 2] != 1:
            for k in range(at[units[u, 0]], at[units[u, 0] + 1]):
                size = options[k, 1] - options[k, 0]
                key = run(prefix, power, options[k, 0], size)
                p = used
                while p > low and out[p - 1, 0] > key:
                    p -= 1
                if p > low and out[p - 1, 0] == key:
                    continue
                for q in range(used, p, -1):
                    out[q, 0] = out[q - 1, 0]
                    out[q, 1] = out[q - 1, 1]
                out[p, 0] = key
                out[p, 1] = np.uint64(size)
                used += 1
        begins[u + 1] = used
    return out[:used].copy(), begins


def build(
    batches: Iterator[pa.RecordBatch], *, min_words: int = 4, short: int = 8, stem: int = 13, distinct_words: int = 5
) -> pa.Table:
    """Return the index table of the evaluation samples in `batches`, sorted; the order of samples does not matter."""
    kinds = {f.name: f.type for f in INDEX}
    parts = [pl.DataFrame(pl.from_arrow(INDEX.empty_table()))]
    for batch in batches:
        asked = questions(batch)
        _, mine, at = messages(batch)
        sample = np.repeat(np.arange(batch.num_rows), np.diff(at))
        media = has_media(batch)[sample]
        units, anchor, whole = _units(
            asked.hashes, asked.telling, asked.first, asked.stem, asked.at, mine, media,
            max(short, LONG), max(min_words, SHORT), stem, distinct_words,
        )  # fmt: skip
        options, begins = _sets(asked.hashes, asked.options, asked.at, units)
        packed = pa.BinaryArray.from_buffers(
            pa.binary(), len(units),
            [None, pa.py_buffer((begins * 16).astype("<i4").tobytes()), pa.py_buffer(options.astype("<u8").tobytes())],
        )  # fmt: skip
        ids = batch.column("id").take(pa.array(sample[units[:, 0]]))
        rows = pa.table(
            {
                "anchor": anchor, "whole": whole, "size": units[:, 1], "kind": units[:, 2], "media": media[units[:, 0]],
                "options": packed, "item": ids,
            }
        ).cast(INDEX)  # fmt: skip
        parts.append(pl.DataFrame(pl.from_arrow(rows)))
    # Of items that ask the same with the same options, one stands for all: one without media, then the smallest id.
    every = pl.concat(parts).sort("anchor", "size", "whole", "options", "media", "item")
    every = every.unique(["anchor", "size", "whole", "options"], keep="first", maintain_order=True)
    shared = (pl.len().over("anchor", "size", "whole") > GENERIC) & pl.col("kind").is_in([ANYWHERE, OPTIONS])
    several = shared & (pl.col("options") != b"")
    every = every.with_columns(pl.when(several).then(ONLY_OPTIONS).otherwise("kind").cast(pl.Int8).alias("kind"))
    settings = {"min_words": min_words, "short": short, "stem": stem, "distinct_words": distinct_words}
    out = pa.table({k: every[k].to_arrow().cast(t) for k, t in kinds.items()}, schema=INDEX)
    return out.replace_schema_metadata({"decontaminate_exact": json.dumps(settings, sort_keys=True)})


@kernel
def _find(
    hashes: Array, first: Array, sample: Array, mine: Array, media: Array, prefix: Array, power: Array,
    bits: Array, slots: Array, shift: np.uint64, anchors: Array, sizes: Array, wholes: Array, kinds: Array, textual: Array,
) -> Array:  # fmt: skip
    """Return (message, first word, unit) of every unit that stands somewhere."""
    out = np.empty((1024, 3), np.int64)
    used = 0
    for m in range(len(first) - 1):
        end = first[m + 1]
        for i in range(first[m], end - 2):
            for width in (3, 8):
                if i + width > end:
                    continue
                key = run(prefix, power, i, width)
                if not sieve(bits, key):
                    continue
                p = np.int64(key >> shift)
                before = -1
                for u in range(slots[p], slots[p + 1]):
                    if anchors[u] != key:
                        continue
                    size = sizes[u]
                    if i + size > end:
                        break  # they stand by size
                    if size != before:
                        before = size
                        found = run(prefix, power, i, size)
                    if wholes[u] != found or (media[sample[m]] and not textual[u]) or (kinds[u] == 1 and mine[m]):
                        continue
                    if used == len(out):
                        more = np.empty((2 * used, 3), np.int64)
                        more[:used] = out
                        out = more
                    out[used, 0] = m
                    out[used, 1] = i
                    out[used, 2] = u
                    used += 1
    return out[:used].copy()


@kernel
def _optional(
    hits: Array, sizes: Array, kinds: Array, first: Array, prefix: Array, power: Array, options: Array, begins: Array
) -> Array:
    """Return which hits have all options of their unit but one in the words behind the stem."""
    out = np.zeros(len(hits), np.bool_)
    for h in range(len(hits)):
        u = hits[h, 2]
        if kinds[u] < 2:
            continue
        low = hits[h, 1] + sizes[u]
        count = begins[u + 1] - begins[u]
        room = 12 + 4 * count
        for k in range(begins[u], begins[u + 1]):
            room += int(options[k, 1])
        high = min(first[hits[h, 0] + 1], low + room)
        there = 0
        for k in range(begins[u], begins[u + 1]):
            size = int(options[k, 1])
            for i in range(low, high - size + 1):
                if run(prefix, power, i, size) == options[k, 0]:
                    there += 1
                    break
        out[h] = there >= 2 and there >= count - 1
    return out


@kernel
def _apart(hits: Array, sizes: Array, first: Array, data: Array, offsets: Array, begins: Array, ends: Array) -> Array:
    out = np.zeros(len(hits), np.bool_)
    for h in range(len(hits)):
        m = hits[h, 0]
        i = hits[h, 1]
        out[h] = alone(data, begins, ends, offsets[m], offsets[m + 1], i, i + sizes[hits[h, 2]])
    return out


class _Index:
    """The index as the kernels read it."""

    def __init__(self, path: str) -> None:
        try:
            found = pq.read_table(path)
            self.settings = json.loads((found.schema.metadata or {})[b"decontaminate_exact"])
        except (pa.ArrowInvalid, OSError, KeyError, ValueError):
            msg = f"`{path}` is not an index of decontaminate_exact"
            raise UserError(msg) from None
        self.anchors, self.wholes = np.asarray(found["anchor"]), np.asarray(found["whole"])
        self.sizes, self.kinds = np.asarray(found["size"]).astype(np.int64), np.asarray(found["kind"])
        self.textual = ~np.asarray(found["media"])
        self.items = found["item"].combine_chunks().cast(pa.string())
        self.longest = int(max(self.sizes.max(), LONG)) if len(self.sizes) else LONG
        width = min(max(len(self.anchors).bit_length(), 4), 24)
        self.shift = np.uint64(64 - width)
        self.slots = np.searchsorted(self.anchors >> self.shift, np.arange((1 << width) + 1, dtype=np.uint64)).astype(
            np.int64
        )
        self.bits = marks(self.anchors)
        lists = found["options"].combine_chunks().cast(pa.large_binary())
        size = np.asarray(pa.compute.binary_length(lists)).astype(np.int64) // 16
        self.begins = np.concatenate([np.zeros(1, np.int64), np.cumsum(size)])
        joined = b"".join(lists.to_pylist())
        self.options = np.frombuffer(joined, "<u8").astype(np.uint64).reshape(-1, 2)
        if len(self.options):
            self.longest = max(self.longest, int(self.options[:, 1].max()))


@functools.lru_cache(maxsize=4)
def _load(path: str, stamp: int) -> _Index:
    return _Index(path)


@scorer(
    version=1,
    scores={"question": pa.int64(), "match": pa.string()},
    bounds={"question": (None, 0)},
)
def decontaminate_exact(
    batch: pa.RecordBatch,
    *,
    index: str | None = None,
    min_words: int = 4,
    short: int = 8,
    stem: int = 13,
    distinct_words: int = 5,
) -> pa.RecordBatch:
    """Look for whole evaluation questions in the messages of `batch`."""
    if index is None or not Path(index).is_file():
        msg = f"decontaminate_exact needs an index, got `{index}`"
        raise UserError(msg, hint="name the evaluation sets in the recipe, or give `index` the file made from them")
    known = _load(str(index), Path(index).stat().st_mtime_ns)
    wanted = {"min_words": min_words, "short": short, "stem": stem, "distinct_words": distinct_words}
    if known.settings != wanted:
        msg = f"the index `{index}` was built with {known.settings}, not {wanted}"
        raise UserError(msg)
    tokens = message_tokens(batch)
    _, mine, first = messages(batch)
    sample = np.repeat(np.arange(batch.num_rows), np.diff(first))
    prefix, power = prefixes(tokens.hashes), powers(known.longest)
    hits = _find(
        tokens.hashes, tokens.first, sample, mine, has_media(batch), prefix, power, known.bits, known.slots, known.shift,
        known.anchors, known.sizes, known.wholes, known.kinds, known.textual,
    )  # fmt: skip
    kept = _proven(batch, hits, known, prefix, power, mine, min_words)
    best = (
        pl.DataFrame(
            {
                "row": sample[kept[:, 0]],
                "size": known.sizes[kept[:, 2]],
                "item": pl.from_arrow(known.items.take(pa.array(kept[:, 2]))),
            },
            schema={"row": pl.Int64, "size": pl.Int64, "item": pl.String},
        )
        .sort(["row", "size", "item"], descending=[False, True, False])
        .unique("row", keep="first", maintain_order=True)
    )
    size = np.zeros(batch.num_rows, np.int64)
    size[best["row"].to_numpy()] = best["size"].to_numpy()
    where = np.full(batch.num_rows, -1, np.int64)
    where[best["row"].to_numpy()] = np.arange(len(best))
    names = best["item"].to_arrow().cast(pa.string()).take(pa.array(where, mask=where < 0))
    return table(question=column(size, np.diff(first) > 0, pa.int64()), match=names)


def _proven(
    batch: pa.RecordBatch, hits: Array, known: _Index, prefix: Array, power: Array, mine: Array, least: int
) -> Array:
    """Return the hits that prove something by themselves, by the options behind them, or by standing alone."""
    kind = known.kinds[hits[:, 2]]
    good = kind == ANYWHERE
    if good.all():
        return hits
    tokens = message_tokens(batch)
    good |= _optional(
        hits, known.sizes, known.kinds, tokens.first, prefix, power, known.options, known.begins
    )  # fmt: skip
    open_ = ~good & (kind != ONLY_OPTIONS) & ~mine[hits[:, 0]] & (known.sizes[hits[:, 2]] >= least)
    if open_.any():
        at, asked = layout(batch), questions(batch)
        apart = _apart(
            hits[open_], known.sizes, tokens.first, at.data, at.offsets, at.begins, at.ends
        )  # fmt: skip
        without = np.diff(asked.at)[hits[open_, 0]] < 2
        good[np.flatnonzero(open_)] = apart & ((kind[open_] == ALONE) | without)
    proven: Array = hits[good]
    return proven

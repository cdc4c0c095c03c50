"""Evaluation items in the training data, by n-grams of words: how much of an item a sample repeats.

Words are those of `filters/shared/questions.py` (NFKC, lower case, of letters and digits). Compared are all messages of a
sample, each by itself, with the messages of the evaluation items that have `n` words or more; of a question with options also
the stem alone, where it has at least `stem` (13) words. Shorter ones are `decontaminate_exact`'s.

- `overlap` (share, 0 to 1): of the words of an evaluation message, those that stand in a run of `n` words which the sample has
  as well; the largest over all items. Bound: at most 0.5. Null when the sample has no message of `n` words.
- `matched` (count): runs of the sample that are in an item, wherever they are. No bound; GPT-3's rule is `n: 13, bounds:
  {matched: {max: 0}}`.
- `match` (string): the item with the largest overlap (ties: the most runs, then the smallest id); null without one.

What does not count:
- runs that more than 10 items share, the benchmark's own wording, and the words that stand in nothing else;
- fewer than `least_words` (13) shared words of an item that has more: "find the sum of the squares of the" is half of one;
- a match without a run of at least `distinct_words` (5) different words of two letters or more: "1 2 3 4 5 6 7 8" stands in
  AIME's answers and in the name of a comic. An ideograph is a word.

A sample with media is compared only with items that have none: where both have images, the same question about another picture
is no leak, and image decontamination decides.

Source: the share of an item's words that lie in 8-grams of one training sample, and half as the limit, are Tulu 3's (Lambert
et al. 2024, arXiv 2411.15124, section 3.2; `allenai/open-instruct`, `decontamination/README.md`), which counts spaCy's tokens
of prompts. Llama 3 (arXiv 2407.21783, section 5.1.4) has 8-grams and a share for each benchmark; s1 and open-r1 take any
8-gram; Cosmopedia 10-grams and half of the item (`huggingface/cosmopedia`, `decontamination`); GPT-3 any 13-gram (Brown et al.
2020, arXiv 2005.14165, appendix C), as NeMo Curator did. 13 words as the least are GPT-3's n. docs/results/decontamination.md
holds them side by side. Different: Tulu 3 removes whole training sets, GPT-3 cuts documents around a match; here each sample
is judged by itself.
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
from filters.shared.kinds import within
from filters.shared.questions import distinct, marks, powers, prefixes, questions, run, sieve, units
from filters.shared.text import Array, column, has_media, kernel, message_tokens, messages, table

COMMON = 10
INDEX = pa.schema(
    [
        ("hash", pa.uint64()), ("at", pa.int32()), ("telling", pa.bool_()), ("media", pa.bool_()), ("words", pa.int32()),
        ("part", pa.int32()), ("item", pa.string()),
    ]
)  # fmt: skip


@kernel
def _runs(hashes: Array, telling: Array, units: Array, n: int, wanted: int) -> tuple[Array, Array, Array]:
    """Return (unit, place in it) of every run of `n` words of the units, its key, and whether it is telling."""
    total = 0
    for u in range(len(units)):
        total += max(0, units[u, 1] - units[u, 0] - n + 1)
    where = np.empty((total, 2), np.int64)
    keys = np.empty(total, np.uint64)
    tells = np.empty(total, np.bool_)
    prefix = prefixes(hashes)
    power = powers(n)
    used = 0
    for u in range(len(units)):
        for i in range(units[u, 0], units[u, 1] - n + 1):
            where[used, 0] = u
            where[used, 1] = i - units[u, 0]
            keys[used] = run(prefix, power, i, n)
            tells[used] = distinct(hashes, telling, i, i + n, wanted)
            used += 1
    return where, keys, tells


def build(batches: Iterator[pa.RecordBatch], *, n: int = 8, stem: int = 13, distinct_words: int = 5) -> pa.Table:
    """Return the index table of the evaluation samples in `batches`, sorted; the order of samples does not matter."""
    parts = [pl.DataFrame(pl.from_arrow(INDEX.empty_table()))]
    for batch in batches:
        asked = questions(batch)
        parted = units(batch, max(stem, n))
        where, keys, tells = _runs(asked.hashes, asked.telling, parted, n, distinct_words)
        of = parted[where[:, 0]]
        parts.append(
            pl.DataFrame(
                {
                    "hash": keys, "at": where[:, 1], "telling": tells, "media": has_media(batch)[of[:, 2]],
                    "words": np.zeros(len(keys), np.int32), "part": of[:, 3],
                    "item": pl.from_arrow(batch.column("id").take(pa.array(of[:, 2]))),
                },
                schema_overrides={"at": pl.Int32, "part": pl.Int32, "item": pl.String},
            )
        )  # fmt: skip
    every = pl.concat(parts)
    common = every.group_by("hash").agg(pl.col("item").n_unique().alias("items")).filter(pl.col("items") > COMMON)
    every = every.join(common, on="hash", how="anti").sort("item", "part", "at")
    step = (pl.col("at").shift(-1) - pl.col("at")).over("item", "part").fill_null(n).clip(upper_bound=n)
    every = every.with_columns(step.sum().over("item", "part").cast(pl.Int32).alias("words"))
    every = every.filter(pl.col("telling").any().over("item", "part")).sort("hash", "item", "part", "at")
    out = pa.table({f.name: every[f.name].to_arrow().cast(f.type) for f in INDEX}, schema=INDEX)
    settings = {"n": n, "stem": stem, "distinct_words": distinct_words}
    return out.replace_schema_metadata({"decontaminate_text": json.dumps(settings, sort_keys=True)})


@kernel
def _hits(
    first: Array, sample: Array, media: Array, prefix: Array, power: Array, n: int,
    bits: Array, slots: Array, shift: np.uint64, keys: Array, telling: Array, textual: Array, matched: Array,
) -> tuple[Array, Array]:  # fmt: skip
    """Return (sample, row of the index) of every run that an item has; counts the telling ones in `matched`."""
    rows = np.empty(1024, np.int64)
    at = np.empty(1024, np.int64)
    used = 0
    for m in range(len(first) - 1):
        for i in range(first[m], first[m + 1] - n + 1):
            key = run(prefix, power, i, n)
            if not sieve(bits, key):
                continue
            p = np.int64(key >> shift)
            tells = False
            for k in range(slots[p], slots[p + 1]):
                if keys[k] != key or (media[sample[m]] and not textual[k]):
                    continue
                tells |= telling[k]
                if used == len(rows):
                    rows = np.concatenate((rows, np.empty(used, np.int64)))
                    at = np.concatenate((at, np.empty(used, np.int64)))
                rows[used] = sample[m]
                at[used] = k
                used += 1
            matched[sample[m]] += tells
    return rows[:used].copy(), at[:used].copy()


class _Index:
    """The index as the kernel reads it."""

    def __init__(self, path: str) -> None:
        try:
            found = pq.read_table(path)
            self.settings = json.loads((found.schema.metadata or {})[b"decontaminate_text"])
            self.keys = np.asarray(found["hash"])
            self.telling, self.textual = np.asarray(found["telling"]), ~np.asarray(found["media"])
            self.rows = pl.DataFrame(pl.from_arrow(found.select(["at", "telling", "words", "part", "item"])))
        except (pa.ArrowInvalid, OSError, KeyError, ValueError):
            msg = f"`{path}` is not an index of decontaminate_text"
            raise UserError(msg) from None
        width = min(max(len(self.keys).bit_length(), 4), 24)
        self.shift = np.uint64(64 - width)
        places = np.arange((1 << width) + 1, dtype=np.uint64)
        self.slots = np.searchsorted(self.keys >> self.shift, places).astype(np.int64)
        self.bits = marks(self.keys)


@functools.lru_cache(maxsize=4)
def _load(path: str, stamp: int) -> _Index:
    return _Index(path)


@scorer(
    version=3,
    scores={"overlap": pa.float64(), "matched": pa.int64(), "match": pa.string()},
    bounds={"overlap": (None, 0.5)},
)
def decontaminate_text(
    batch: pa.RecordBatch,
    *,
    index: str | None = None,
    n: int = 8,
    stem: int = 13,
    distinct_words: int = 5,
    least_words: int = 13,
) -> pa.RecordBatch:
    """Compare the messages of `batch` with the index."""
    within("n", n, 1)
    if index is None or not Path(index).is_file():
        msg = f"decontaminate_text needs an index, got `{index}`"
        raise UserError(msg, hint="name the evaluation sets in the recipe, or give `index` the file made from them")
    known = _load(str(index), Path(index).stat().st_mtime_ns)
    wanted = {"n": n, "stem": stem, "distinct_words": distinct_words}
    if known.settings != wanted:
        msg = f"the index `{index}` was built with {known.settings}, not {wanted}"
        raise UserError(msg)
    tokens = message_tokens(batch)
    first = messages(batch)[2]
    sample = np.repeat(np.arange(batch.num_rows), np.diff(first))
    matched = np.zeros(batch.num_rows, np.int64)
    rows, at = _hits(
        tokens.first, sample, has_media(batch), prefixes(tokens.hashes), powers(n), n,
        known.bits, known.slots, known.shift, known.keys, known.telling, known.textual, matched,
    )  # fmt: skip
    best = _best(known.rows[at].with_columns(pl.Series("row", rows)), n, least_words)
    overlap, where = np.zeros(batch.num_rows), np.full(batch.num_rows, -1, np.int64)
    overlap[best["row"].to_numpy()] = best["overlap"].to_numpy()
    where[best["row"].to_numpy()] = np.arange(len(best))
    applies = np.bincount(sample, weights=np.diff(tokens.first) >= n, minlength=batch.num_rows) > 0
    return table(
        overlap=column(overlap, applies, pa.float64()),
        matched=column(matched, applies, pa.int64()),
        match=best["item"].to_arrow().cast(pa.string()).take(pa.array(where, mask=where < 0)),
    )


def _best(hits: pl.DataFrame, n: int, least: int) -> pl.DataFrame:
    """Return each row's item with the largest share of its words in runs, of those that prove something."""
    of = ["row", "item", "part"]
    hits = hits.unique([*of, "at"]).sort(*of, "at")
    step = (pl.col("at").shift(-1) - pl.col("at")).fill_null(n).clip(upper_bound=n)
    return (
        hits.group_by(of, maintain_order=True)
        .agg(step.sum().alias("shared"), pl.col("words").first(), pl.len().alias("runs"), pl.col("telling").any())
        .filter("telling", pl.col("shared") >= pl.min_horizontal("words", pl.lit(least)))
        .with_columns((pl.col("shared") / pl.col("words")).alias("overlap"))
        .sort(["row", "overlap", "runs", "item", "part"], descending=[False, True, True, False, False])
        .unique("row", keep="first", maintain_order=True)
    )

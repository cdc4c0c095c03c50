"""Near duplicates of evaluation questions, by MinHash and banded LSH (Broder 1997; Lee et al. 2021, arXiv 2107.06499).

- `similarity` (share, 0 to 1): Jaccard similarity of the sets of runs of `shingle` (3) words, of a message of the sample and
  one of an evaluation item; the largest over all. Computed from the sets, not estimated. Bound: at most 0.5. Null without a
  message of `min_words` words.
- `match` (string): that evaluation item (ties: the smallest id); null where nothing is found.

Compared are messages as wholes, each by itself: what an item is part of, `decontaminate_exact` and `decontaminate_text` find.
What this one adds are questions in which words were changed here and there, so that no long run is left. Words are those of
`filters/shared/questions.py`. Of a question with options, on either side, the stem alone is compared as well where it has at
least `stem` (13) words. Looked at are messages of `min_words` (8) words and more, of evaluation items those with
`distinct_words` (5) different words of two letters or more.

Candidates are pairs that agree in all `rows` of one of `bands` (32 x 3): a pair of similarity s is one with probability 1 - (1
- s^3)^32, which is 0.58 at 0.3, 0.88 at 0.4, 0.986 at 0.5, 0.9996 at 0.6.

A sample with media is compared only with items that have none: where both have images, the same question about another picture
is no leak, and image decontamination decides.

Source: MinHash and exact Jaccard similarity against held-out sets are NVIDIA Nemotron's `curate/decontamination`
(https://docs.nvidia.com/nemotron/nightly/curate/reference/decontamination.html: characters, 0.8, whole documents). Questions
are short: one changed word breaks five of a question's 5-word runs, so runs have 3 words here and the bound is 0.5, both ours.
docs/results/decontamination.md holds what lies on either side of it.
"""

import functools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from catalog.errors import UserError
from filters.base import scorer
from filters.shared.kinds import within
from filters.shared.questions import distinct, powers, prefixes, questions, run, units
from filters.shared.signatures import pack, unpack
from filters.shared.text import Array, column, has_media, kernel, mix, starts, table

LOW = 0.3  # similarities below are not looked for: the score is 0
INDEX = pa.schema([("shingles", pa.binary()), ("media", pa.bool_()), ("item", pa.string())])


@kernel
def _shingles(prefix: Array, power: Array, begin: int, end: int, size: int) -> Array:
    """Return the different runs of `size` words, sorted; one run where there are fewer."""
    width = min(size, end - begin)
    out = np.empty(end - begin - width + 1, np.uint64)
    for i in range(len(out)):
        out[i] = run(prefix, power, begin + i, width)
    out.sort()
    used = 1
    for i in range(1, len(out)):
        if out[i] != out[i - 1]:
            out[used] = out[i]
            used += 1
    return out[:used]


@kernel
def _keys(shingles: Array, bands: int, rows: int, salts: Array, out: Array) -> None:
    """Write the keys of the bands of one set."""
    for band in range(bands):
        h = np.uint64(band)
        for k in range(band * rows, (band + 1) * rows):
            low = np.uint64(0xFFFFFFFFFFFFFFFF)
            for s in shingles:
                low = min(low, (s ^ salts[k, 0]) * salts[k, 1])
            h = mix(h * np.uint64(0x9E3779B97F4A7C15) + (low >> np.uint64(16)))
        out[band] = h


@kernel
def _salts(n: int) -> Array:
    out = np.empty((n, 2), np.uint64)
    for k in range(n):
        out[k, 0] = mix(np.uint64(2 * k + 2))
        out[k, 1] = mix(np.uint64(2 * k + 1)) | np.uint64(1)
    return out


@kernel
def _sets(
    hashes: Array, telling: Array, parts: Array, size: int, least: int, wanted: int
) -> tuple[Array, Array, Array]:
    """Return which parts are indexed, and the shingles of those, one set after the other."""
    total = 0
    for u in range(len(parts)):
        total += max(1, parts[u, 1] - parts[u, 0])
    used = 0
    chosen = np.zeros(len(parts), np.bool_)
    count = np.zeros(len(parts), np.int64)
    out = np.empty(total, np.uint64)
    prefix = prefixes(hashes)
    power = powers(size)
    for u in range(len(parts)):
        begin = parts[u, 0]
        end = parts[u, 1]
        if end - begin < least or not distinct(hashes, telling, begin, end, wanted):
            continue
        found = _shingles(prefix, power, begin, end, size)
        out[used : used + len(found)] = found
        used += len(found)
        count[u] = len(found)
        chosen[u] = True
    return chosen, count[chosen], out[:used].copy()


def build(
    batches: Iterator[pa.RecordBatch],
    *,
    shingle: int = 3,
    stem: int = 13,
    min_words: int = 8,
    distinct_words: int = 5,
) -> pa.Table:
    """Return the index table of the evaluation samples in `batches`, sorted; the order of samples does not matter."""
    parts = [INDEX.empty_table()]
    for batch in batches:
        asked, parted = questions(batch), units(batch, stem)
        chosen, count, values = _sets(
            asked.hashes, asked.telling, parted, shingle, max(min_words, 1), distinct_words
        )  # fmt: skip
        row = parted[chosen, 2]
        parts.append(
            pa.table(
                {
                    "shingles": pack(values, count, np.ones(len(count), bool)),
                    "media": has_media(batch)[row],
                    "item": batch.column("id").take(pa.array(row)),
                }
            ).cast(INDEX)
        )
    # Of items that say the same, one stands for all: one without media, then the smallest id.
    every = pl.DataFrame(pl.from_arrow(pa.concat_tables(parts))).sort("media", "item", "shingles")
    every = every.unique("shingles", keep="first", maintain_order=True).sort("item", "shingles")
    out = pa.table({f.name: every[f.name].to_arrow().cast(f.type) for f in INDEX}, schema=INDEX)
    settings = {"shingle": shingle, "stem": stem, "min_words": min_words, "distinct_words": distinct_words}
    return out.replace_schema_metadata({"decontaminate_minhash": json.dumps(settings, sort_keys=True)})


@kernel
def _all_keys(values: Array, first: Array, bands: int, rows: int, salts: Array) -> Array:
    out = np.empty((len(first) - 1, bands), np.uint64)
    for u in range(len(first) - 1):
        _keys(values[first[u] : first[u + 1]], bands, rows, salts, out[u])
    return out


@kernel
def _jaccard(a: Array, b: Array) -> float:
    i = 0
    j = 0
    both = 0
    while i < len(a) and j < len(b):
        if a[i] == b[j]:
            both += 1
            i += 1
            j += 1
        elif a[i] < b[j]:
            i += 1
        else:
            j += 1
    return both / (len(a) + len(b) - both)


@kernel
def _nearest(
    hashes: Array, parts: Array, media: Array, size: int, least: int, longest: int, bands: int, rows: int, salts: Array,
    slots: Array, shift: np.uint64, keys: Array, owner: Array, values: Array, first: Array, textual: Array, low: float,
) -> tuple[Array, Array]:  # fmt: skip
    """Return per part the similarity of the nearest evaluation text and which one it is; -1 for none."""
    best = np.zeros(len(parts), np.float64)
    which = np.full(len(parts), -1, np.int64)
    seen = np.full(len(first) - 1, -1, np.int64)
    mine = np.empty(bands, np.uint64)
    prefix = prefixes(hashes)
    power = powers(size)
    for u in range(len(parts)):
        words = parts[u, 1] - parts[u, 0]
        if words < least or words > longest:
            continue
        found = _shingles(prefix, power, parts[u, 0], parts[u, 1], size)
        _keys(found, bands, rows, salts, mine)
        for band in range(bands):
            p = np.int64(mine[band] >> shift)
            for k in range(slots[p], slots[p + 1]):
                if keys[k] != mine[band] or seen[owner[k]] == u:
                    continue
                t = owner[k]
                seen[t] = u
                if media[parts[u, 2]] and not textual[t]:
                    continue
                n = first[t + 1] - first[t]
                if min(n, len(found)) < low * max(n, len(found)):
                    continue
                alike = _jaccard(found, values[first[t] : first[t + 1]])
                # Evaluation texts stand by item: of equals the smallest id.
                if alike >= low and (alike > best[u] or (alike == best[u] and t < which[u])):
                    best[u] = alike
                    which[u] = t
    return best, which


class _Index:
    """The index as the kernel reads it."""

    def __init__(self, path: str, bands: int, rows: int) -> None:
        try:
            found = pq.read_table(path)
            self.settings = json.loads((found.schema.metadata or {})[b"decontaminate_minhash"])
            self.values, count = unpack(found["shingles"])
            self.textual = ~np.asarray(found["media"])
            self.items = found["item"].combine_chunks().cast(pa.string())
        except (pa.ArrowInvalid, OSError, KeyError, ValueError):
            msg = f"`{path}` is not an index of decontaminate_minhash"
            raise UserError(msg) from None
        self.first = starts(count)
        self.salts = _salts(bands * rows)
        keys = _all_keys(self.values, self.first, bands, rows, self.salts)
        order = np.argsort(keys, axis=None, kind="stable")
        self.keys, self.owner = keys.ravel()[order], order // bands
        width = min(max(len(self.keys).bit_length(), 4), 24)
        self.shift = np.uint64(64 - width)
        places = np.arange((1 << width) + 1, dtype=np.uint64)
        self.slots = np.searchsorted(self.keys >> self.shift, places).astype(np.int64)
        self.longest = int((count.max() if len(count) else 0) / LOW) + self.settings["shingle"]


@functools.lru_cache(maxsize=4)
def _load(path: str, stamp: int, bands: int, rows: int) -> _Index:
    return _Index(path, bands, rows)


@scorer(
    version=1,
    scores={"similarity": pa.float64(), "match": pa.string()},
    bounds={"similarity": (None, 0.5)},
)
def decontaminate_minhash(
    batch: pa.RecordBatch,
    *,
    index: str | None = None,
    shingle: int = 3,
    bands: int = 32,
    rows: int = 3,
    stem: int = 13,
    min_words: int = 8,
    distinct_words: int = 5,
) -> pa.RecordBatch:
    """Look for near duplicates of evaluation questions among the messages of `batch`."""
    within("bands", bands, 1)
    within("rows", rows, 1)
    within("shingle", shingle, 1)
    if index is None or not Path(index).is_file():
        msg = f"decontaminate_minhash needs an index, got `{index}`"
        raise UserError(msg, hint="name the evaluation sets in the recipe, or give `index` the file made from them")
    known = _load(str(index), Path(index).stat().st_mtime_ns, bands, rows)
    wanted = {"shingle": shingle, "stem": stem, "min_words": min_words, "distinct_words": distinct_words}
    if known.settings != wanted:
        msg = f"the index `{index}` was built with {known.settings}, not {wanted}"
        raise UserError(msg)
    n = batch.num_rows
    parted = units(batch, stem)
    best, which = _nearest(
        questions(batch).hashes, parted, has_media(batch), shingle, max(min_words, 1), known.longest, bands, rows, known.salts,
        known.slots, known.shift, known.keys, known.owner, known.values, known.first, known.textual, LOW,
    )  # fmt: skip
    # Of each sample the most similar part, of equals the smallest evaluation text.
    some = np.flatnonzero(which >= 0)
    order = some[np.lexsort((which[some], -best[some], parted[some, 2]))]
    rows_, at = np.unique(parted[order, 2], return_index=True)
    score, match = np.zeros(n), np.full(n, -1, np.int64)
    score[rows_], match[rows_] = best[order[at]], which[order[at]]
    applies = np.bincount(parted[:, 2], weights=parted[:, 1] - parted[:, 0] >= min_words, minlength=n) > 0
    return table(
        similarity=column(score, applies, pa.float64()),
        match=pc.take(known.items, pa.array(match, mask=match < 0)),
    )

"""Balance over what captions are about: MetaCLIP's curation by concepts.

What is known of one sample: `concepts` (8 bytes each), hashes of the concepts that its text contains as whole words. What
follows from all samples:

- `concept_count` (count): how many concepts it contains,
- `rarest_concept` (count): samples that contain the least frequent of these,
- `keep_probability` (0 to 1): 1 minus the product of (1 - min(1, t / samples with the concept)) over its concepts,
- `concept_draw` (0 or 1): whether at least one of its concepts was drawn, each with probability min(1, t / samples with it).
  Bound: at least 1.

The rule is algorithm 1 of Xu et al. 2023 (arXiv 2309.16671; `facebookresearch/MetaCLIP`): substring matching against a list of
concepts, then a cap of about `t` samples for each; a text without a concept is dropped. `t: 20000` is theirs for 400 million
pairs (170,000 for 2.5 billion); for a small pool take less. Each draw depends on id, concept and
`seed` only.

Concepts: the lines of the UTF-8 file `concepts_path`; MetaCLIP's own list of 500,000 (WordNet, frequent words and word pairs of
English Wikipedia, its titles; CC BY-NC) is read as it is, as a JSON list. Without a file they come from the pool itself:
words and pairs of neighbouring words that at least `least` samples contain (theirs: words that occur 100 times in Wikipedia,
and pairs by mutual information; titles and WordNet are left out here).

Matching is by whole words after NFKC and lower-casing, whatever stands between them: theirs puts spaces around punctuation and
looks for the spaced string, with case. Applies to the assistant text of samples with an image and of task `caption`; null for
others.
"""

import functools
import json
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from catalog.errors import UserError
from filters.base import scorer
from filters.shared.kinds import within
from filters.shared.ranks import drawn
from filters.shared.signatures import distinct, fold, pack, unpack
from filters.shared.text import Array, assistant_tokens, extend, has_image, is_task, kernel, mix, tokenise

POOLED = {
    "concept_count": pa.int64(),
    "rarest_concept": pa.int64(),
    "keep_probability": pa.float64(),
    "concept_draw": pa.int64(),
}
PAIRS = 2  # words of the longest concept that comes from the pool itself


@scorer(
    version=1,
    scores={"concepts": pa.binary()},
    pooled=POOLED,
    bounds={"concept_draw": (1, None)},
)
def concept_balance(
    batch: pa.RecordBatch, *, concepts_path: str | None = None, t: int = 20_000, least: int = 100, seed: int = 0
) -> pa.RecordBatch:
    """Return the concepts of each sample of `batch`."""
    within("t", t, 1)
    tokens = assistant_tokens(batch)
    applies = is_task(batch, "caption") & has_image(batch)
    first = np.where(applies[:, None], np.stack([tokens.first[:-1], tokens.first[1:]], 1), 0)
    if concepts_path is None:
        hashes, count = _runs(tokens.hashes, first, PAIRS)
    else:
        known, longest = _concepts(concepts_path)
        hashes, count = _found(tokens.hashes, first, known, longest)
    hashes, count = distinct(hashes, np.concatenate([np.zeros(1, np.int64), np.cumsum(count)]))
    return pa.record_batch([pack(hashes, count, applies)], names=["concepts"])


@kernel
def _runs(hashes: Array, first: Array, longest: int) -> tuple[Array, Array]:
    """Return the hash of every run of up to `longest` words of each text, and how many each has."""
    room = 0
    for t in range(len(first)):
        room += (first[t, 1] - first[t, 0]) * longest
    out = np.empty(room, np.uint64)
    count = np.zeros(len(first), np.int64)
    k = 0
    for t in range(len(first)):
        for w in range(first[t, 0], first[t, 1]):
            h = np.uint64(0)
            for e in range(w, min(w + longest, first[t, 1])):
                h = extend(h, hashes[e])
                out[k] = h
                k += 1
                count[t] += 1
    return out[:k].copy(), count


@kernel
def _found(hashes: Array, first: Array, known: Array, longest: int) -> tuple[Array, Array]:
    """Return the runs that are in `known` (sorted), and how many each text has."""
    out = np.empty(64, np.uint64)
    count = np.zeros(len(first), np.int64)
    k = 0
    for t in range(len(first)):
        for w in range(first[t, 0], first[t, 1]):
            h = np.uint64(0)
            for e in range(w, min(w + longest, first[t, 1])):
                h = extend(h, hashes[e])
                at = np.searchsorted(known, h)
                if at < len(known) and known[at] == h:
                    if k == len(out):
                        more = np.empty(2 * k, np.uint64)
                        more[:k] = out
                        out = more
                    out[k] = h
                    k += 1
                    count[t] += 1
    return out[:k].copy(), count


def _concepts(path: str) -> tuple[Array, int]:
    where = Path(path)
    if not where.is_file():
        msg = f"no such list of concepts: `{path}`"
        raise UserError(
            msg, hint="one concept a line, or a JSON list of strings; without it they come from the pool itself"
        )
    return _read(where, where.stat().st_mtime_ns)


@functools.lru_cache(maxsize=2)
def _read(path: Path, stamp: int) -> tuple[Array, int]:
    """Return the hashes of the concepts, sorted, and the words of the longest."""
    try:
        text = path.read_text("utf-8")
        lines = json.loads(text) if text.lstrip().startswith("[") else text.splitlines()
    except ValueError as e:
        msg = f"cannot read the concepts in `{path}`: {e}"
        raise UserError(msg) from None
    if not all(isinstance(c, str) for c in lines):
        msg = f"`{path}` is no list of strings"
        raise UserError(msg)
    tokens = tokenise(pa.array(lines, pa.string()))
    words = np.diff(tokens.first)
    hashes = fold(tokens.hashes, tokens.first)[words > 0]
    if not len(hashes):
        msg = f"`{path}` has no concept"
        raise UserError(msg)
    return np.unique(hashes), int(words.max())


@kernel
def _uniform(draws: Array, concepts: Array) -> Array:
    """Return a number in [0, 1) for every pair of a sample's draw and a concept."""
    out = np.empty(len(draws), np.float64)
    for k in range(len(draws)):
        out[k] = (mix(draws[k] ^ concepts[k]) >> np.uint64(11)) * 2.0**-53
    return out


def pool(
    signatures: pa.Table, *, concepts_path: str | None = None, t: int = 20_000, least: int = 100, seed: int = 0
) -> pa.Table:
    """Return how frequent each sample's concepts are, and whether one of them was drawn."""
    known = signatures.filter(pc.is_valid(signatures["concepts"]))
    hashes, count = unpack(known["concepts"])
    row = np.repeat(np.arange(len(count)), count)
    draw = _uniform(drawn(known["id"], seed)[row], hashes)
    frame = pl.DataFrame({"row": row, "concept": hashes, "draw": draw}).with_columns(n=pl.len().over("concept"))
    if concepts_path is None:
        frame = frame.filter(pl.col("n") >= least)
    found = (
        frame.with_columns(p=(t / pl.col("n")).clip(upper_bound=1.0))
        .with_columns(hit=pl.col("draw") < pl.col("p"))
        .sort("row", "concept")
        .group_by("row", maintain_order=True)
        .agg(pl.len(), pl.col("n").min(), (1 - pl.col("p")).product().alias("none"), pl.col("hit").any())
    )
    at = found["row"].to_numpy()
    columns = np.zeros((4, len(count)))
    columns[:, at] = (found["len"], found["n"], np.round(1 - found["none"].to_numpy(), 6), found["hit"])
    return pa.table(
        {
            "id": known["id"].combine_chunks().cast(pa.string()),
            **{k: pa.array(v).cast(kind) for (k, kind), v in zip(POOLED.items(), columns, strict=True)},
        }
    )

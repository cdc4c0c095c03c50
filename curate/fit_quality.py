"""Fit a quality classifier: which of two kinds of text does a text read like?

In the style of DCLM's fastText filter (Li et al. 2024, arXiv 2406.11794, section 4.4: positives from OpenHermes-2.5 and
ELI5, negatives from a crawl, words and bigrams): good examples against raw ones, a linear model over hashed n-grams
(`filters/shared/ngrams.py`), trained in seconds on one core. Unlike theirs it has no hidden layer, it weighs both sides alike
however many samples they have, and its output is calibrated.

It learns *whatever* tells the two sides apart. If the good side is longer, or about other topics, then length and topics are
what it learns; `match_length` takes the first away, only the choice of sides can take away the second. `quality.json` lists
the most telling words: read them before you trust a model.

`fit` writes a folder, whole or not at all: see `filters/shared/ngrams.py`. The record holds no times and no paths.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from catalog.errors import UserError, nearest, unknown_keys, wrong_kinds
from catalog.files import publish, remove, write_json
from catalog.schema import SAMPLE
from catalog.shards import write_table
from catalog.store import Store
from curate.sources import base
from filters.shared import ngrams
from filters.shared.text import (
    Array,
    Tokens,
    assistant,
    assistant_tokens,
    everything,
    kernel,
    messages,
    mix,
    normalised,
    starts,
    tokenise,
)

VERSION = 1
"""Raise it when the same data and configuration give other weights."""

LEAST = 32  # distinct texts of each side
HELD_OUT = 5  # one text in so many is not trained on: half of them calibrate, the other half measure
TELLING = 25
PAIRED = 20_000  # texts of each side whose pairs of words are counted, to name the telling ones
FAMILIAR = 16  # texts that may share a prompt and still be held out together
SEEN_OFTEN = 8  # texts that a telling word must stand in


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """Features and training. The defaults take seconds for ten thousand texts."""

    reads: str = "answer"  # the assistant's messages; `all`: the user's too
    order: int = 2  # words in an n-gram, at most
    bits: int = 20  # 2 ** bits weights
    epochs: int = 5
    rate: float = 0.5
    decay: float = 0.1
    match_length: bool = True  # weigh texts so that both sides have the same distribution of lengths
    seed: int = 0
    limit: int = 200_000  # texts that are read of each side


def config(values: Mapping[str, Any] | None = None) -> FitConfig:
    """Return the configuration with `values` in place of defaults; raise `UserError` for what does not fit."""
    values = dict(values or {})
    where = "the configuration of the quality fit"
    unknown_keys(values, [f.name for f in fields(FitConfig)], where)
    wrong_kinds(values, asdict(FitConfig()), where)
    made = FitConfig(**values)
    if made.reads not in ("answer", "all"):
        msg = f"`reads` of the quality fit is `{made.reads}`{nearest(made.reads, ('answer', 'all'))}"
        raise UserError(msg, usage=True)
    limits = {
        "order": (1, 5),
        "bits": (8, ngrams.MAX_BITS),
        "epochs": (1, 1000),
        "limit": (LEAST, 10**9),
        "seed": (0, 2**63 - 1),
    }
    for name, (low, high) in limits.items():
        if not low <= getattr(made, name) <= high:
            msg = f"`{name}` of the quality fit is {getattr(made, name)}; expected {low} to {high}"
            raise UserError(msg, usage=True)
    if not (0 < made.rate < 1e3 and 0 <= made.decay < 1e3):
        msg = f"`rate` ({made.rate}) must be above 0 and `decay` ({made.decay}) not below it"
        raise UserError(msg, usage=True)
    return made


# -- from batches to distinct texts ------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Side:
    hashes: Array
    first: Array
    keys: Array  # uint64: equal words in equal order, equal key
    prompts: Array  # uint64: the same of what the user said; 0 without a word
    read: int
    words: pl.DataFrame  # word, texts: how many texts hold it
    pairs: pl.DataFrame  # the same of two words in a row, of the first `PAIRED` texts


@kernel
def _keys(hashes: Array, first: Array) -> Array:
    out = np.empty(len(first) - 1, np.uint64)
    for t in range(len(first) - 1):
        h = np.uint64(0x243F6A8885A308D3)
        for i in range(first[t], first[t + 1]):
            h = mix(h * np.uint64(0x9E3779B97F4A7C15) + hashes[i])
        out[t] = h
    return out


def tokens(batch: pa.RecordBatch, reads: str) -> Tokens:
    """Return the words that a model reads: of the assistant's messages, or of all."""
    return assistant_tokens(batch) if reads == "answer" else tokenise(everything(batch))


def _prompts(batch: pa.RecordBatch) -> Array:
    """Return the key of what is not the assistant's in every sample, 0 where that is nothing."""
    texts, mine, first = messages(batch)
    lists = pa.LargeListArray.from_arrays(pa.array(starts(~mine)[first]), texts.filter(pa.array(~mine)))
    found = tokenise(pc.binary_join(lists, pa.scalar("\n", pa.large_string())))
    return np.where(np.diff(found.first) > 0, _keys(found.hashes, found.first), np.uint64(0))


def _words(batch: pa.RecordBatch, reads: str) -> pl.Series:
    """Return the words of every text."""
    texts = pl.Series("t", pl.from_arrow(normalised(assistant(batch) if reads == "answer" else everything(batch))))
    return texts.str.extract_all(r"[\p{L}\p{M}\p{N}]+").fill_null([])


def _counted(words: pl.Series) -> pl.DataFrame:
    """Return how many texts hold each word, from lists of words."""
    frame = words.list.unique().explode().drop_nulls().to_frame("word")
    return frame.group_by("word").agg(texts=pl.len().cast(pl.Int64))


def _pairs(words: pl.Series) -> pl.Series:
    """Return the pairs of neighbouring words of every text."""
    after = pl.concat_str([pl.element(), pl.element().shift(-1)], separator=" ")
    return words.list.eval(after.drop_nulls())


def _summed(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    empty = pl.DataFrame(schema={"word": pl.String, "texts": pl.Int64})
    return pl.concat([empty, *parts]).group_by("word").agg(pl.col("texts").sum())


def _read(samples: Iterator[pa.RecordBatch], c: FitConfig, side: str) -> _Side:
    """Return the distinct texts of one side that have a word, in the order in which they come."""
    hashes: list[Array] = []
    counts: list[Array] = []
    words: list[pl.DataFrame] = []
    pairs: list[pl.DataFrame] = []
    prompts: list[Array] = []
    read = 0
    for batch in samples:
        if read >= c.limit:
            break
        batch = batch.slice(0, c.limit - read)
        found = tokens(batch, c.reads)
        hashes.append(found.hashes)
        counts.append(np.diff(found.first))
        prompts.append(_prompts(batch))
        spoken = _words(batch, c.reads)
        words.append(_counted(spoken))
        if c.order > 1 and read < PAIRED:
            pairs.append(_counted(_pairs(spoken)))
        if len(words) >= 64:
            words, pairs = [_summed(words)], [_summed(pairs)]
        read += batch.num_rows
    flat = np.concatenate([np.zeros(0, np.uint64), *hashes])
    size = np.concatenate([np.zeros(0, np.int64), *counts])
    first = np.concatenate([np.zeros(1, np.int64), np.cumsum(size)])
    keys = _keys(flat, first)
    keep = np.zeros(len(size), bool)
    keep[np.unique(keys, return_index=True)[1]] = True
    keep &= size > 0
    if keep.sum() < LEAST:
        msg = f"a quality model needs at least {LEAST} different texts on each side; the {side} side has {keep.sum()}"
        raise UserError(msg, hint="name more sources, or set `reads: all` if the text stands in the user's messages")
    flat = flat[np.repeat(keep, size)]
    first = np.concatenate([np.zeros(1, np.int64), np.cumsum(size[keep])])
    asked = np.concatenate([np.zeros(0, np.uint64), *prompts])[keep]
    return _Side(
        hashes=flat, first=first, keys=keys[keep], prompts=asked, read=read, words=_summed(words), pairs=_summed(pairs)
    )


def _without(side: _Side, known: Array) -> tuple[_Side, int]:
    """Return `side` without the texts whose keys are `known`, and how many those were."""
    keep = ~np.isin(side.keys, known)
    size = np.diff(side.first)
    first = np.concatenate([np.zeros(1, np.int64), np.cumsum(size[keep])])
    flat = side.hashes[np.repeat(keep, size)]
    made = replace(side, hashes=flat, first=first, keys=side.keys[keep], prompts=side.prompts[keep])
    return made, int((~keep).sum())


def _groups(keys: Array, prompts: Array) -> Array:
    """Return a number per text: answers to one prompt share theirs, or a held-out answer would be known by its neighbours.

    A prompt that many texts share ("Describe the picture.") says nothing of them: there every text is its own group.
    """
    _, inverse, count = np.unique(prompts, return_inverse=True, return_counts=True)
    own = (prompts == 0) | (count[inverse] > FAMILIAR)
    return np.where(own, keys, prompts)


# -- what a side may be ------------------------------------------------------------------------------------------------

FIELDS: tuple[dict[str, Any], ...] = (
    {"text": "text"},
    {"instruction": "instruction", "input": "input?", "output": "output"},
    {"instruction": "instruction", "input": "input?", "output": "response"},
    {"question": "question", "answer": "answer"},
)
"""The records that a plain file may hold, besides conversations."""


def side(store: Store, refs: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Yield the samples that `refs` name: source versions of the store (`name`, `name@digest`), or files of text records.

    A file is JSON Lines, JSON, CSV, TSV, Parquet or plain text, with conversations or one of the records of `FIELDS`; what cannot
    be read of it is left out. Raises `UserError` for a name that is neither.
    """
    for ref in refs:
        path = Path(ref)
        if path.exists():
            yield from _file(path)
            continue
        try:
            source = store.source(ref)
        except UserError as e:
            msg = f"`{ref}` is no source version and no file: {e.message}"
            raise UserError(msg, hint=e.hint, usage=True) from None
        for number in range(source.shards):
            yield from store.samples(source, number).to_batches(max_chunksize=256)


def _file(path: Path) -> Iterator[pa.RecordBatch]:
    reader = _reader(path)
    for piece in reader.plan(256):
        drafts = [d for d in reader.read(piece) if isinstance(d, base.Draft)]
        rows = [
            {"id": f"{path.name}/{d.locator}", "messages": list(d.messages), "task": d.task or "text", "media": [], "boxes": []}
            for d in drafts
        ]  # fmt: skip
        yield pa.RecordBatch.from_pylist(rows, schema=SAMPLE)


def _reader(path: Path) -> base.SourceReader:
    path = path.absolute()
    if path.is_dir() or path.name.removesuffix(".gz").endswith((".txt", ".md")):
        return base.load("text", {"path": str(path)}, path.parent)
    found = base.load("conversations", {"path": str(path)}, path.parent)
    pieces = found.plan(256)
    if any(isinstance(o, base.Draft) for o in (found.read(pieces[0]) if pieces else ())):
        return found
    for known in FIELDS:
        reader = base.load("text", {"path": str(path), "fields": known}, path.parent)
        try:
            reader.plan(256)
        except UserError:  # no such fields
            continue
        return reader
    msg = f"`{path}` holds neither conversations nor records with `text`, `instruction` and `output`, or `question` and `answer`"
    raise UserError(msg, hint="ingest it as a source with a field map, and name the source", usage=True)


def fit_refs(
    store: Store,
    good: Sequence[str],
    bad: Sequence[str],
    out: Path,
    *,
    config: FitConfig | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Fit on what `good` and `bad` name (see `side`) and write the folder `out`, which must not be there yet."""
    if out.exists():
        msg = f"`{out}` is there already; a model is never overwritten"
        raise UserError(msg, hint="choose another folder, or remove this one", usage=True)
    return fit(side(store, good), side(store, bad), out, config=config, progress=progress)


# -- fitting -----------------------------------------------------------------------------------------------------------


def fit(
    positives: Iterator[pa.RecordBatch],
    negatives: Iterator[pa.RecordBatch],
    folder: Path,
    *,
    config: FitConfig | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Train on two streams of samples, write the model folder, and return what was measured on held-out texts.

    A text that comes twice counts once; one that stands on both sides is good. The same samples and configuration give the
    same bytes. Raises `UserError` where a side has too few texts.
    """
    c = config or FitConfig()
    began = time.monotonic()
    good = _read(positives, c, "good")
    bad, shared = _without(_read(negatives, c, "bad"), good.keys)
    if len(bad.keys) < LEAST:
        msg = (
            f"{shared} of the bad side's texts stand on the good side too; {len(bad.keys)} are left, {LEAST} are needed"
        )
        raise UserError(msg, hint="name other sources on the bad side")
    hashes = np.concatenate([good.hashes, bad.hashes])
    first = np.concatenate([good.first, bad.first[1:] + good.first[-1]])
    keys = np.concatenate([good.keys, bad.keys])
    label = np.arange(len(keys)) < len(good.keys)
    groups = _groups(keys, np.concatenate([good.prompts, bad.prompts]))
    # Content decides who is held out, not the order of the samples.
    role = (groups >> np.uint64(40)) % np.uint64(2 * HELD_OUT)
    learn, calibrate, measure = np.flatnonzero(role > 1), role == 0, role == 1
    size = np.diff(first)
    share = np.zeros(len(keys))
    share[learn] = _shares(label[learn], size[learn], match=c.match_length)
    weights, squares = np.zeros(1 << c.bits), np.full(1 << c.bits, 1e-12)
    bias = np.array([0.0, 1e-12])
    rng = np.random.Generator(np.random.PCG64(c.seed))
    loss = 0.0
    for epoch in range(c.epochs):
        rate = c.rate * (1 - epoch / c.epochs)
        order = rng.permutation(learn)
        loss = ngrams.train(
            hashes, first, label, share, order, weights, squares, bias, c.bits, c.order, rate, c.decay
        )  # fmt: skip
        progress(epoch + 1, c.epochs)
    kept = weights.astype(np.float32)
    z = ngrams.margins(hashes, first, kept, float(bias[0]), c.bits, c.order)
    slope, offset = _platt(z[calibrate], label[calibrate], _shares(label[calibrate], size[calibrate], match=False))
    metrics = {
        "good": len(good.keys),
        "bad": len(bad.keys),
        "read": [good.read, bad.read],
        "on_both_sides": shared,
        "held_out": int(measure.sum()),
        "held_out_good": int(label[measure].sum()),
        "loss": round(float(loss), 4),
        **_measured(z[measure], label[measure], size[measure], slope, offset),
    }
    staging = folder.parent / f".tmp-{folder.name}"
    remove(staging)
    buckets = np.flatnonzero(kept).astype(np.uint32)
    write_table(staging / ngrams.WEIGHTS, pa.table({"bucket": buckets, "weight": kept[buckets]}))
    record = {
        "version": VERSION,
        "bits": c.bits,
        "order": c.order,
        "reads": c.reads,
        "bias": float(bias[0]),
        "slope": slope,
        "offset": offset,
        "config": asdict(c),
        "metrics": metrics,
        "telling": _telling(good, bad, kept, c),
        "telling_pairs": _telling_pairs(good, bad, kept, c),
    }
    write_json(staging / ngrams.RECORD, record)
    publish(staging, folder)
    told = {k: record[k] for k in ("telling", "telling_pairs")}
    return {**metrics, "says": says(metrics), **told, "seconds": round(time.monotonic() - began, 2)}


GRADES = (
    (0.65, "barely above chance"), (0.8, "tells them apart somewhat"), (0.95, "tells them apart well"),
    (1.01, "tells them apart almost always: by quality, or by topic, source or layout? The words say which"),
)  # fmt: skip


def says(metrics: Mapping[str, Any]) -> str:
    """Return in one sentence what the held-out AUC means, against what chance alone would give on so many texts."""
    area, good = metrics["auc"], metrics["held_out_good"]
    bad = metrics["held_out"] - good
    if area is None:
        return f"not measured: {good} good and {bad} bad texts were held out, and both are needed"
    # Two standard errors of the AUC where nothing tells the sides apart (Mann and Whitney 1947).
    chance = 2 * math.sqrt((good + bad + 1) / (12 * good * bad))
    if area < 0.5 + chance:
        grade = "no better than chance" if area > 0.5 - chance else "worse than chance"
    else:
        grade = next(text for limit, text in GRADES if area < limit)
    said = (
        f"{grade}. Of a good and a bad text that it has not seen, the good one is ahead in {100 * area:.0f} % of the cases "
        f"(AUC {area:.3f} on {good + bad:,} held-out texts; chance gives 0.5 give or take {chance:.2f})"
    )
    length = metrics["auc_of_length"]
    if length is not None and abs(length - 0.5) > max(abs(area - 0.5) - 0.02, chance):
        said += f". Length alone gives {length:.3f}: the sides differ in that as much as in words"
    return said


def _shares(label: Array, size: Array, *, match: bool) -> Array:
    """Return a weight per text, 1 on average: the same mass on both sides; with `match`, at every length.

    Lengths are compared in quarter octaves of words. A length that only one side has tells nothing but itself: it weighs 0,
    unless no length is common to both.
    """
    out = np.zeros(len(label))
    bins = np.floor(4 * np.log2(np.maximum(size, 1))).astype(np.int64) if match else np.zeros(len(size), np.int64)
    inverse = np.unique(bins, return_inverse=True)[1]
    count = np.stack([np.bincount(inverse, side, minlength=inverse.max(initial=0) + 1) for side in (~label, label)])
    if match and not (count.min(0) > 0).any():
        return _shares(label, size, match=False)
    mass = count.min(0)
    for side, mine in ((0, ~label), (1, label)):
        out[mine] = (mass / np.maximum(count[side], 1))[inverse[mine]]
    return np.asarray(out / out.mean()) if out.any() else np.ones(len(label))


def _platt(z: Array, label: Array, share: Array) -> tuple[float, float]:
    """Return slope and offset of a logistic curve over held-out margins (Platt 1999), by Newton's method."""
    if len(z) == 0 or label.all() or not label.any():
        return 1.0, 0.0
    mean, scale = float(z.mean()), float(z.std()) or 1.0
    x = np.stack([(z - mean) / scale, np.ones(len(z))], 1)
    # Platt's targets: a little short of 0 and 1, so that separable sides do not give an endless slope.
    goods, bads = label.sum(), (~label).sum()
    y = np.where(label, (goods + 1) / (goods + 2), 1 / (bads + 2))
    w = np.zeros(2)
    for _ in range(50):
        p = 1 / (1 + np.exp(-(x @ w)))
        gradient = x.T @ (share * (p - y)) + 1e-6 * w
        hessian = (x * (share * p * (1 - p))[:, None]).T @ x + 1e-6 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        w -= np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-10:
            break
    return round(float(w[0] / scale), 8), round(float(w[1] - w[0] * mean / scale), 8)


def auc(score: Array, label: Array) -> float | None:
    """Return the probability that a good text scores above a bad one, ties counting half; None without both sides."""
    good, bad = score[label], np.sort(score[~label])
    if not len(good) or not len(bad):
        return None
    below = np.searchsorted(bad, good, "left") + np.searchsorted(bad, good, "right")
    return float(below.mean() / (2 * len(bad)))


def _measured(z: Array, label: Array, size: Array, slope: float, offset: float) -> dict[str, Any]:
    """Return what held-out texts say: AUC, AUC of length alone, AUC at equal length, and how honest the probabilities are."""
    p = 1 / (1 + np.exp(-(slope * z + offset)))
    share = _shares(label, size, match=False) if len(z) else np.zeros(0)
    octave = np.floor(np.log2(np.maximum(size, 1))).astype(np.int64)
    inside = [(auc(z[octave == o], label[octave == o]), int((octave == o).sum())) for o in np.unique(octave)]
    both = [(a, n) for a, n in inside if a is not None]

    def told(value: float | None) -> float | None:
        return None if value is None else round(value, 4)

    return {
        "auc": told(auc(z, label)),
        "auc_at_equal_length": told(sum(a * n for a, n in both) / sum(n for _, n in both)) if both else None,
        "auc_of_length": told(auc(size.astype(np.float64), label)),
        "brier": told(float((share * (p - label) ** 2).sum() / share.sum())) if share.sum() else None,
    }


# A rare word may have the highest weight and decide nothing; a frequent one decides a little everywhere. What tells the sides
# apart is between the two: the weight times the square root of how many texts the word stands in.


def _telling(good: _Side, bad: _Side, weights: Array, c: FitConfig) -> dict[str, list[str]]:
    """Return the single words that tell most, by weight and frequency, among those that stand in several texts."""
    often, texts = _often([good.words, bad.words], words=1)
    return _ends(often, ngrams.margins(texts.hashes, texts.first, weights, 0.0, c.bits, 1))


def _telling_pairs(good: _Side, bad: _Side, weights: Array, c: FitConfig) -> dict[str, list[str]]:
    """Return the same of two words in a row, by what the pair adds to its words; nothing where the model has no pairs."""
    often, texts = _often([good.pairs, bad.pairs], words=2)
    alone = ngrams.margins(texts.hashes, texts.first, weights, 0.0, c.bits, 1)
    with_pair = ngrams.margins(texts.hashes, texts.first, weights, 0.0, c.bits, 2)
    return _ends(often, 3 * with_pair - 2 * alone)  # means, over three n-grams and over two


def _often(sides: Sequence[pl.DataFrame], *, words: int) -> tuple[pl.DataFrame, Tokens]:
    """Return (word, texts) of what has so many words and stands in several texts, in alphabetic order, and its words' hashes."""
    often = _summed(sides).filter(pl.col("texts") >= SEEN_OFTEN).sort("word")
    whole = (
        np.diff(tokenise(often["word"].to_arrow()).first) == words
    )  # an ideograph after another is a word of its own
    often = often.filter(pl.Series(whole, dtype=pl.Boolean))
    return often, tokenise(often["word"].to_arrow())


def _ends(often: pl.DataFrame, margin: Array) -> dict[str, list[str]]:
    frame = often.with_columns(tells=pl.Series(margin) * pl.col("texts").sqrt()).sort("tells", "word")
    return {
        "good": frame.filter(pl.col("tells") > 0).tail(TELLING)["word"].reverse().to_list(),
        "bad": frame.filter(pl.col("tells") < 0).head(TELLING)["word"].to_list(),
    }

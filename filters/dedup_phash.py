"""Near-duplicate images by perceptual hash: copies that were re-encoded, resized, brightened or cropped.

`phash` (binary): a signature per sample: a sketch of its text (`filters/shared/sketches.py`, up to 273 bytes) and the
signatures of all its images in order (`filters/shared/perceptual.py`, 2,720 bytes each). Null without images, with a blank
image, or with one that cannot be decoded. No bounds: who survives is decided by the judge's policy.

`pair` says when two samples that show the same images in the same order are duplicates:
  image        always, whatever they say
  image+text   if they also say the same: what the user asks is equal but for case, punctuation and spacing, and the words
               of what the assistant says have a Jaccard similarity of `text_similarity` or more. The same picture under
               another question is a sample of its own, and so is an independent caption of the same picture; an edited
               caption is not
The same text under different pictures is never a duplicate, with neither: 81 descriptions of 5,421 photos are 5,421
samples. Texts alone (`pair: text` in `dedup_semantic`) are compared by `dedup_minhash`.

Two images are the same when
1. a DCT hash of one lies within `radius` bits of the other's, of itself and of eight crops: a true Hamming radius.
   Data-Juicer and CleanVision look for equal hashes only (`image_deduplicator.py`; `issue_managers`), and miss most copies;
2. laid over each other they have a `similarity` (0..1, `filters/shared/alignment.py`) of at least that much: they
   correlate, and no part of one differs from the other. Drawings, charts, pages and scenes of one layout share hashes, and
   are not duplicates.
With `rotations: true` one of them may also be mirrored or rotated by quarters. That costs eight times the search.

Clusters are stars: every member is a duplicate of the centre, which is the sample with the most and the closest
candidates (then the smallest id); a chain of ever so slightly different pictures is not one cluster. `similarity` is that
to the centre. Samples are compared with centres only, so that many copies of one picture cost little.

Defaults, all ours: `radius` 11 of 64 bits, about as Zauner 2010 ("Implementation and benchmarking of perceptual image hash
functions") and the ImageHash manual (10) have it, and no dearer than 10; `similarity` 0.85 and `text_similarity` 0.5,
measured on planted copies (docs/results/image_dedup.md). What it cannot tell apart: pictures that differ by less than a
point of the thumbnail, a 48th of the side: two receipts of one till, drawings of thin lines, dark details on dark.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog.errors import UserError
from filters.base import scorer
from filters.shared.alignment import similarity as overlap
from filters.shared.hamming import apart, near
from filters.shared.images import Images
from filters.shared.perceptual import HASHES, SIZE, TURNS, Array, Signatures, nearest, signatures, turned
from filters.shared.sketches import jaccard, sketches
from filters.shared.text import kernel, starts

HEAD = 17  # bytes: hash of the question, hash of the answer, number of words in the sketch
PAIRS = ("image", "image+text")
BLOCK = 8192  # pairs that are verified at one go
FOUND = pa.schema([("id", pa.string()), ("cluster", pa.string()), ("similarity", pa.float64())])

MEASURES = (signatures,)


@scorer(version=4, scores={"phash": pa.binary()}, bounds={})
def dedup_phash(
    batch: pa.RecordBatch,
    images: Images,
    *,
    radius: int = 11,
    similarity: float = 0.85,
    pair: str = "image+text",
    text_similarity: float = 0.5,
    rotations: bool = False,
) -> pa.RecordBatch:
    """Return the perceptual signature of each sample."""
    _check(radius, similarity, pair, text_similarity)
    row, signed = images.measure(signatures)
    text = sketches(batch)
    count = np.bincount(row, minlength=batch.num_rows)
    known = (count > 0) & (np.bincount(row, signed[:, 0] == 0, minlength=batch.num_rows) == 0)
    size = np.where(known, HEAD + 4 * np.diff(text.first) + SIZE * count, 0)
    offsets = starts(size)
    data = np.empty(int(offsets[-1]), np.uint8)
    _pack(text.asked, text.answered, text.words, text.first, signed, starts(count), known, offsets, data)
    valid = pa.py_buffer(np.packbits(known, bitorder="little"))
    buffers = [valid, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(data)]
    column = pa.Array.from_buffers(pa.binary(), batch.num_rows, buffers)
    return pa.RecordBatch.from_arrays([column], ["phash"])


@kernel
def _pack(
    asked: Array, answered: Array, words: Array, first: Array, signed: Array, begin: Array, known: Array, offsets: Array,
    out: Array,
) -> None:  # fmt: skip
    """Write asked, answered, number of words, words, images of every sample that is known; numbers with the lowest byte first."""
    for t in range(len(known)):
        if not known[t]:
            continue
        at = offsets[t]
        for k in range(8):
            out[at + k] = (asked[t] >> np.uint64(8 * k)) & np.uint64(255)
            out[at + 8 + k] = (answered[t] >> np.uint64(8 * k)) & np.uint64(255)
        out[at + 16] = first[t + 1] - first[t]
        at += HEAD
        for w in range(first[t], first[t + 1]):
            for k in range(4):
                out[at + k] = (words[w] >> np.uint32(8 * k)) & np.uint32(255)
            at += 4
        for image in range(begin[t], begin[t + 1]):
            out[at : at + SIZE] = signed[image, 1:]
            at += SIZE


def cluster(
    signatures: pa.Table,
    *,
    radius: int = 11,
    similarity: float = 0.85,
    pair: str = "image+text",
    text_similarity: float = 0.5,
    rotations: bool = False,
) -> pa.Table:
    """Return (id, cluster, similarity) of every sample that has a duplicate; a cluster is named after its smallest id.

    Does not depend on the order of the rows. Takes 200 bytes a sample and image beside the table, and 450 while searching.
    """
    _check(radius, similarity, pair, text_similarity)
    table = signatures.filter(pc.is_valid(signatures["phash"])) if signatures["phash"].null_count else signatures
    if not table.num_rows:
        return FOUND.empty_table()
    ids = pa.chunked_array([table["id"].combine_chunks().cast(pa.string())])
    rank = np.asarray(pc.sort_indices(ids)).astype(np.int64)  # samples are numbered in order of their ids from here on
    known = _Samples.of(table["phash"], rank)
    prefer = np.zeros(len(rank))
    if "preference" in table.column_names:
        prefer = np.nan_to_num(np.asarray(table["preference"].cast(pa.float64()).fill_null(np.nan)), nan=-np.inf)[rank]
    turns = TURNS if rotations else 1
    centre, best = np.full(len(rank), -1), np.zeros(len(rank))
    for n in np.unique(known.images):
        rows = np.flatnonzero(known.images == n)
        pairs = _candidates(known, rows, radius, turns, text_similarity if pair == "image+text" else None)
        check = _Check(known=known, images=int(n), radius=radius, least=similarity, turns=turns)
        _stars(pairs, prefer, check, centre, best)
    members = np.flatnonzero(centre >= 0)
    name = np.full(len(rank), len(rank))
    np.minimum.at(name, centre[members], members)
    return pa.table(
        [
            ids.take(pa.array(rank[members])),
            ids.take(pa.array(rank[name[centre[members]]])),
            pa.array(best[members]),
        ],
        schema=FOUND,
    )


def _check(radius: int, similarity: float, pair: str, text_similarity: float) -> None:
    if pair not in PAIRS:
        hint = "texts alone are compared by `dedup_minhash` and `dedup_semantic`" if pair == "text" else ""
        msg = f"`pair` is `{pair}`; expected one of {', '.join(PAIRS)}"
        raise UserError(msg, hint=hint, usage=True)
    if not 0 <= radius <= 15:
        msg = f"`radius` is {radius}; expected 0 to 15 bits"
        raise UserError(msg, usage=True)
    for name, value in (("similarity", similarity), ("text_similarity", text_similarity)):
        if not 0 <= value <= 1:
            msg = f"`{name}` is {value}; expected 0 to 1"
            raise UserError(msg, usage=True)


# -- pairs -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Samples:
    """Signatures as they lie in the chunks of a column: none is copied before it is needed."""

    data: list[Array]  # the bytes of each chunk
    chunk: Array  # per sample
    begin: Array  # where its signature begins
    words: Array  # words in its sketch
    images: Array

    @classmethod
    def of(cls, column: pa.ChunkedArray, rank: Array) -> "_Samples":
        data: list[Array] = []
        chunk: list[Array] = []
        begin: list[Array] = []
        end: list[Array] = []
        for part in column.chunks:
            if len(part):
                raw = part.buffers()
                kind = np.int64 if pa.types.is_large_binary(part.type) else np.int32
                offsets = np.frombuffer(raw[1], kind)[part.offset : part.offset + len(part) + 1].astype(np.int64)
                chunk.append(np.full(len(part), len(data), np.int32))
                begin.append(offsets[:-1])
                end.append(offsets[1:])
                data.append(np.frombuffer(raw[2], np.uint8))
        which: Array = np.concatenate(chunk)[rank]
        first: Array = np.concatenate(begin)[rank]
        last: Array = np.concatenate(end)[rank]
        words = np.zeros(len(rank), np.int64)
        for k, part in enumerate(data):
            mine = which == k
            words[mine] = part[first[mine] + 16]
        return cls(data=data, chunk=which, begin=first, words=words, images=(last - first - HEAD - 4 * words) // SIZE)

    def take(self, rows: Array, begin: Array, size: int) -> Array:
        """Return `size` bytes of each of `rows`, from `begin` after the beginning of its signature on."""
        out = np.empty((len(rows), size), np.uint8)
        for k, part in enumerate(self.data):
            mine = np.flatnonzero(self.chunk[rows] == k)
            _gather(part, self.begin[rows[mine]] + begin[mine], mine, out)
        return out

    def keys(self, rows: Array, image: int, begin: int, count: int) -> Array:
        """Return `count` hashes of one image of each of `rows`."""
        at = HEAD + 4 * self.words[rows] + image * SIZE + 8 * begin
        return self.take(rows, at, 8 * count).view(">u8").astype(np.uint64)

    def signatures(self, rows: Array, image: int) -> Signatures:
        """Return the signatures of one image of each of `rows`."""
        return Signatures(self.take(rows, HEAD + 4 * self.words[rows] + image * SIZE, SIZE))

    def texts(self, rows: Array) -> tuple[Array, Array, Array]:
        """Return (hash of the question, words, first) of `rows`."""
        asked = self.take(rows, np.zeros(len(rows), np.int64), 8).view("<u8")[:, 0]
        first = starts(self.words[rows])
        words = np.empty(int(first[-1]), np.uint32)
        for k, part in enumerate(self.data):
            mine = np.flatnonzero(self.chunk[rows] == k)
            _sketch(part, self.begin[rows[mine]] + HEAD, mine, first, words)
        return asked, words, first


@kernel
def _gather(data: Array, begin: Array, rows: Array, out: Array) -> None:
    for k in range(len(rows)):
        out[rows[k]] = data[begin[k] : begin[k] + out.shape[1]]


@kernel
def _sketch(data: Array, begin: Array, rows: Array, first: Array, out: Array) -> None:
    for k in range(len(rows)):
        at = begin[k]
        for w in range(first[rows[k]], first[rows[k] + 1]):
            word = np.uint32(0)
            for byte in range(4):
                word |= np.uint32(data[at + byte]) << np.uint32(8 * byte)
            out[w] = word
            at += 4


@dataclass(frozen=True, kw_only=True)
class _Pairs:
    """Pairs of samples, how the first image of `a` is turned, and how close they are by their hashes."""

    a: Array
    b: Array
    how: Array
    close: Array

    def __getitem__(self, some: Array) -> "_Pairs":
        return _Pairs(a=self.a[some], b=self.b[some], how=self.how[some], close=self.close[some])


def _candidates(known: _Samples, rows: Array, radius: int, turns: int, text_least: float | None) -> _Pairs:
    """Return the pairs of `rows` whose first images lie within the radius, and that say the same if that is asked for."""
    found = [_Pairs(a=rows[:0], b=rows[:0], how=rows[:0], close=rows[:0])]
    base = known.keys(rows, 0, 0, HASHES)
    others = known.keys(rows, 0, HASHES, TURNS - 1) if turns > 1 else base[:, :0]
    for how in range(turns):
        q, b = near(base[:, 0] if how == 0 else others[:, how - 1], base, radius, within=True)
        if how == 0:  # either may be the crop of the other, so a pair can come up once or twice, in either order
            q, b = np.minimum(q, b), np.maximum(q, b)
        once = np.unique(q * len(rows) + b)
        i, j = once // len(rows), once % len(rows)
        if text_least is not None:
            same = _same_text(known, rows, i, j, text_least)
            i, j = i[same], j[same]
        close = np.maximum(radius + 1 - apart(base, i, j), 1)
        found.append(_Pairs(a=rows[i], b=rows[j], how=np.full(len(i), how), close=close))
    return _Pairs(
        a=np.concatenate([p.a for p in found]),
        b=np.concatenate([p.b for p in found]),
        how=np.concatenate([p.how for p in found]),
        close=np.concatenate([p.close for p in found]),
    )


def _same_text(known: _Samples, rows: Array, i: Array, j: Array, least: float) -> Array:
    """Tell which pairs ask the same and answer alike."""
    some, at = np.unique(np.concatenate([i, j]), return_inverse=True)
    asked, words, first = known.texts(rows[some])
    a, b = at[: len(i)], at[len(i) :]
    same: Array = asked[a] == asked[b]
    same[same] = jaccard(words, first, a[same], b[same]) >= least
    return same


@dataclass(frozen=True, kw_only=True)
class _Check:
    """Looks whether all images of two samples match."""

    known: _Samples
    images: int
    radius: int
    least: float
    turns: int

    def __call__(self, pairs: _Pairs) -> Array:
        """Return the similarity of every pair, 0 where it is no duplicate."""
        out = np.zeros(len(pairs.a))
        for begin in range(0, len(out), BLOCK):
            some = np.arange(begin, min(begin + BLOCK, len(out)))
            share = np.ones(len(some))
            for image in range(self.images):
                share = np.minimum(share, self._image(pairs[some], image))
                some, share = some[share >= self.least], share[share >= self.least]
            out[some] = share
        return out

    def _image(self, pairs: _Pairs, image: int) -> Array:
        one, at_one = np.unique(pairs.a, return_inverse=True)
        two, at_two = np.unique(pairs.b, return_inverse=True)
        x, y = self.known.signatures(one, image), self.known.signatures(two, image)
        how = pairs.how
        if image > 0:
            how, apart = nearest(x, y, at_one, at_two, self.turns)
            how = np.where(apart <= self.radius, how, -1)
        out = np.zeros(len(how))
        for k in np.unique(how[how >= 0]):
            mine = how == k
            out[mine] = overlap(turned(x, int(k)), y, at_one[mine], at_two[mine], guided=k == 0)
        return out


# -- stars -------------------------------------------------------------------------------------------------------------


def _stars(pairs: _Pairs, prefer: Array, check: Callable[[_Pairs], Array], centre: Array, best: Array) -> None:
    """Fill in the centre of every sample's star, and the similarity to it.

    In order of preference, of how many candidates there are and how close, and of id: who is in no star yet is compared
    with its candidates that are in none, and becomes the centre of those that are its duplicates. In rounds: at one go all
    that none of their candidates goes before.
    """
    nodes, at = np.unique(np.concatenate([pairs.a, pairs.b]), return_inverse=True)
    a, b = at[: len(pairs.a)], at[len(pairs.a) :]
    turn = np.empty(len(nodes), np.int64)
    turn[np.lexsort((nodes, -np.bincount(at, np.tile(pairs.close, 2), len(nodes)), -prefer[nodes]))] = np.arange(
        len(nodes)
    )
    left = np.arange(len(a))
    while len(left):
        i, j = a[left], b[left]
        before = np.full(len(nodes), len(nodes))
        np.minimum.at(before, i, turn[j])
        np.minimum.at(before, j, turn[i])
        first = turn < before
        now = first[i] | first[j]
        share = check(pairs[left[now]])
        hit = share > 0
        one = np.where(first[i[now]], i[now], j[now])[hit]
        other = (i[now] + j[now])[hit] - one
        _join(nodes[one], nodes[other], turn[one], share[hit], centre, best)
        alone = centre[nodes] < 0
        left = left[~now & alone[i] & alone[j]]


def _join(one: Array, other: Array, turn: Array, share: Array, centre: Array, best: Array) -> None:
    """Let every one of `other` join the first in turn of those in `one` that it was found to be a duplicate of."""
    order = np.lexsort((-share, turn, other))
    once = np.append(True, np.diff(other[order]) != 0)[: len(order)]
    one, other, share = one[order][once], other[order][once], share[order][once]
    centre[other], best[other] = one, share
    centre[one] = one
    np.maximum.at(best, one, share)

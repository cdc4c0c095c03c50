"""Near-duplicate images by perceptual hash: copies that were re-encoded, resized, brightened or slightly cropped.

The score is a signature per sample, `phash`: the signatures of all its images in order (`filters/shared/perceptual.py`:
nine 64-bit DCT hashes and a thumbnail) and a sketch of its text. Null without images, with a blank image, or with one
that cannot be decoded.

Two samples are duplicates when they have equally many images and, image by image in order,
1. a DCT hash of one lies within `radius` bits of the other's: a true Hamming radius by multi-index hashing. Data-Juicer
   and CleanVision look for equal hashes only (`image_deduplicator.py`; `issue_managers`), and miss most copies;
2. their thumbnails, aligned, correlate in detail by `similarity` or more: distinct charts, pages and scenes of one
   layout share hashes; they are not duplicates;
and, with `pair="image+text"`,
3. they ask the same: what the user says is equal but for case, punctuation and spacing. The same picture under another
   question is a sample of its own;
4. they answer alike: the words of what the assistant says have a Jaccard similarity of `text_similarity` or more
   (estimated from the 64 smallest word hashes: exact up to 64 different words). A lightly edited caption is a
   duplicate, an independent caption of the same picture is not. Equal text alone never makes a duplicate.
`pair="image"` stops after 2.

Defaults, all ours: `radius` 11 of 64 bits, about as Zauner 2010 ("Implementation and benchmarking of perceptual image
hash functions") and the ImageHash manual (10) have it, and no dearer than 10; `similarity` 0.85 and `text_similarity`
0.5, measured on the planted corpus: of copies re-encoded, halved, doubled, 20 % brighter or darker, or cropped by up to
5 % a side, 90 % (cropped pages of small print) to 100 % are found, and no two distinct charts, pages, receipts or
scenes are joined. Pictures with next to nothing in them, as two bars of one colour without a label, can be joined.
"""

import hashlib
import re

import numpy as np
import pyarrow as pa

from catalog.errors import UserError
from filters.base import scorer
from filters.shared.captions import turns
from filters.shared.images import Images
from filters.shared.perceptual import SIZE, Array, Signatures, near, raw, signatures
from filters.shared.perceptual import similarity as overlap

SKETCH = 64  # 32-bit hashes of words
TEXT = 8 + 2 + 4 * SKETCH
_WORD = re.compile(r"\w+")
PAIRS = ("image+text", "image")


MEASURES = (signatures,)


@scorer(version=3, scores={"phash": pa.binary()}, bounds={})
def dedup_phash(
    batch: pa.RecordBatch,
    images: Images,
    *,
    radius: int = 11,
    similarity: float = 0.85,
    pair: str = "image+text",
    text_similarity: float = 0.5,
) -> pa.RecordBatch:
    """Return the perceptual signature of each sample."""
    row, signed = images.measure(signatures)
    each: list[list[bytes | None]] = [[] for _ in range(batch.num_rows)]
    for k, s in zip(row, raw(signed), strict=True):
        each[k].append(s)
    out = []
    for found, (question, answer) in zip(each, turns(batch), strict=True):
        known = [s for s in found if s is not None]
        out.append(_text(question, answer) + b"".join(known) if known and len(known) == len(found) else None)
    return pa.RecordBatch.from_pydict({"phash": pa.array(out, pa.binary())})


def _hash(word: str, size: int) -> bytes:
    return hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=size).digest()


def _text(question: str, answer: str) -> bytes:
    """Return the hash of the question, the number of sketch entries and the smallest hashes of the answer's words."""
    words = sorted({_hash(w, 4) for w in _WORD.findall(answer.casefold())})[:SKETCH]
    asked = _hash(" ".join(_WORD.findall(question.casefold())), 8)
    return asked + len(words).to_bytes(2, "big") + b"".join(words).ljust(4 * SKETCH, b"\0")


def _jaccard(a: Array, b: Array) -> float:
    """Jaccard similarity of two bottom-k sketches: exact when both sets fit into the sketch."""
    if not len(a) and not len(b):
        return 1.0
    union = np.union1d(a, b)
    if len(a) == SKETCH or len(b) == SKETCH:
        union = union[:SKETCH]
    common = np.intersect1d(np.intersect1d(a, b, assume_unique=True), union, assume_unique=True)
    return len(common) / len(union)


def cluster(
    signatures: pa.Table,
    *,
    radius: int = 11,
    similarity: float = 0.85,
    pair: str = "image+text",
    text_similarity: float = 0.5,
) -> pa.Table:
    """Return (id, cluster, similarity) of every sample that has a duplicate; a cluster is named after its smallest id.

    `similarity` is that of the sample's closest duplicate. Does not depend on the order of the rows.
    """
    if pair not in PAIRS:
        msg = f"`pair` is `{pair}`; expected one of {', '.join(PAIRS)}"
        raise UserError(msg, usage=True)
    if not 0 <= radius <= 15:
        msg = f"`radius` is {radius}; expected 0 to 15 bits"
        raise UserError(msg, usage=True)
    table = signatures.select(["id", "phash"]).filter(pa.compute.is_valid(signatures["phash"])).sort_by("id")
    ids, raw = table["id"].to_pylist(), table["phash"].to_pylist()
    counts = np.asarray([(len(r) - TEXT) // SIZE for r in raw], np.int64)
    best = np.zeros(len(ids))
    parent = np.arange(len(ids))

    def root(k: int) -> int:
        while parent[k] != k:
            parent[k] = parent[parent[k]]
            k = int(parent[k])
        return k

    for n in np.unique(counts):
        rows = np.flatnonzero(counts == n)
        a, b, alike = _pairs([raw[r] for r in rows], int(n), radius, similarity, pair, text_similarity)
        for i, j, s in zip(rows[a], rows[b], alike, strict=True):
            best[i], best[j] = max(best[i], s), max(best[j], s)
            low, high = sorted((root(int(i)), root(int(j))))
            parent[high] = low
    members = np.flatnonzero(best > 0)
    return pa.table(
        {
            "id": pa.array([ids[k] for k in members], pa.string()),
            "cluster": pa.array([ids[root(int(k))] for k in members], pa.string()),
            "similarity": pa.array(best[members], pa.float64()),
        }
    )


def _pairs(
    raw: list[bytes], n: int, radius: int, least: float, pair: str, text_least: float
) -> tuple[Array, Array, Array]:
    """Return (i, j, similarity) of all pairs of duplicates among samples with `n` images each."""
    of = [Signatures([r[TEXT + k * SIZE : TEXT + (k + 1) * SIZE] for r in raw]) for k in range(n)]
    q, b = near(of[0].hashes[:, 0], of[0].hashes, radius, within=True)
    # Either may be the crop of the other, so a pair can come up once or twice, in either order.
    both = np.unique(np.stack([np.minimum(q, b), np.maximum(q, b)], 1), axis=0)
    i, j = both[:, 0], both[:, 1]
    for s in of[1:]:
        apart = np.minimum(_distance(s.hashes[i, 0], s.hashes[j]), _distance(s.hashes[j, 0], s.hashes[i]))
        i, j = i[apart <= radius], j[apart <= radius]
    if pair == "image+text":
        head = np.frombuffer(b"".join(r[:TEXT] for r in raw), np.uint8).reshape(-1, TEXT)
        asked, length = head[:, :8].copy().view(">u8")[:, 0], head[:, 8:10].copy().view(">u2")[:, 0]
        words = head[:, 10:].copy().view(">u4")
        same = asked[i] == asked[j]
        i, j = i[same], j[same]
        near_text = [
            _jaccard(words[x, : length[x]], words[y, : length[y]]) >= text_least for x, y in zip(i, j, strict=True)
        ]
        keep = np.asarray(near_text, bool)
        i, j = i[keep], j[keep]
    alike = np.ones(len(i))
    for s in of:
        alike = np.minimum(alike, overlap(s, s, i, j))
        i, j, alike = i[alike >= least], j[alike >= least], alike[alike >= least]
    return i, j, alike


def _distance(one: Array, many: Array) -> Array:
    return np.bitwise_count(one[:, None] ^ many).min(1)  # type: ignore[no-any-return]

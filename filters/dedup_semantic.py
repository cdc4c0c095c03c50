"""Semantic duplicates, by vectors of a model: SemDeDup (Abbas et al. 2023, arXiv 2303.09540).

The score is a signature per sample, `vectors` (binary: float16, of length 1; `filters/shared/vectors.py`). `pair` says which
samples have one, and what must be similar:
- `image+text`: samples with images. Two are duplicates when they have equally many images, each is similar to the other's, in
  order, and so are their texts (all messages). The same picture under another caption is a sample of its own, and one caption
  under many pictures joins none of them;
- `image`: samples with images, whatever they say;
- `text`: samples without media; with `media: true` all samples, whatever they show.

Where vectors come from, one of
- `model`: a CLIP model (`filters/shared/clip.py`); `arch` and `precision` as in `clip_score`. A text that is longer than the
  model reads (77 tokens for OpenAI's) has no vector: two documents with one beginning are no duplicates;
- `vectors_path`: a Parquet file, or a folder of them, with a column `id` (the samples' ids) and lists of numbers in `column`: one
  vector per sample, of what `pair` names; for `image+text` of its images, with that of its text in `text_column`. It is read
  fastest where its rows are about in the order of the samples;
- `meta: true`: the fields `column` and `text_column` of the samples' own `meta`.

Null (and kept) without a vector, with an image that cannot be decoded (other filters say so), and where a vector has no
direction: zero, NaN, infinite.

Similar: a cosine of at least 1 - `epsilon`, and of at least 1 - `text_epsilon` for texts in a pair (null: the same). 0.01 is
NeMo Curator's default (`nemo_curator/stages/text/deduplication/semantic.py`); in the paper epsilon is what leaves the share
of the data that one wants, and no two models have the same.

`cluster`, as in the paper (section 3; `facebookresearch/SemDeDup`): spherical k-means over the vectors of the images (side by
side, where there are several), or of the texts; samples are compared within their k-means cluster only. `keep` says in which
order: `hard`, those least similar to the centroid first (the paper's default), `easy`, the most similar first, or `random`, by
a hash of id and `seed`; ties by id. A sample is a duplicate when one before it is similar. What differs:
- the one before it must be a survivor. The paper's code drops as well what is similar to a dropped sample only, so that a chain
  of small steps vanishes up to its first link, and nothing that is kept is similar to its end (asked in facebookresearch/SemDeDup
  issue 8). Here each sample that is dropped is similar to the centre of its cluster. Without chains the same samples are
  dropped; with chains fewer: what no survivor is similar to stays;
- the border between two k-means clusters cuts duplicates apart. `probes: 4` compares what is left of each cluster with those
  whose second, third or fourth nearest centroid it has, too; `probes: 1` is the paper's. In our benchmark
  (`docs/results/semantic.md`) that finds 99 % of the pairs instead of 87 %, and the number of clusters hardly matters;
- `clusters: 0` takes twice the square root of the number n of vectors: to assign them (n x k products) and to compare them
  (n x n / k per probe) then costs about the same. That is 42,000 for the paper's 440 million; it has 50,000. k-means learns from
  40 vectors per cluster, those with the smallest hashes of id and `seed`, in ten rounds (theirs: from all, in 100);
- similar is `>=`, at six decimals, so that `epsilon: 0` finds equal vectors; theirs is `>`, NeMo Curator's `>=`.

A cluster's id is the smallest of its members', a member's similarity that to its centre: the smallest over what was compared. The
centre has the largest of its members'.
`preference` is its place in the order of `keep`: 0 for the centre, then -1, -2; the highest is to survive. Where the signatures
come with a column `preference` (float64), higher ones go first, before `keep`, so that a policy's favourite is the centre. Where
another member than the centre survives, a dropped one is similar to it within four times epsilon at worst (twice the angle).

The result depends neither on the order of rows nor on the number of workers. Memory beside the signatures: the vectors
that k-means learns from (160 MB for a million) and a few blocks, even where one cluster holds everything. With
faiss-gpu and a GPU, k-means, assignment and products run there; what is similar is decided on the CPU in either case, but
centroids have other last bits, and with them what is compared.
"""

import functools
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog.errors import UserError
from filters.base import scorer
from filters.shared import centroids, clip, device, stars, stored, vectors
from filters.shared.embed import embed
from filters.shared.images import Images
from filters.shared.kinds import within
from filters.shared.ranks import drawn
from filters.shared.text import Array, everything, has_image, has_media
from filters.shared.vectors import NONE, Vectors

PAIRS = ("image+text", "image", "text")
KEEP = ("hard", "easy", "random")
POINTS = 40  # per centroid, for k-means to learn from; faiss asks for 39, and more change no recall
ROUNDS = 10
BLOCK = 16384  # vectors that are assigned at one go
FOUND = pa.schema(
    [("id", pa.string()), ("cluster", pa.string()), ("similarity", pa.float64()), ("preference", pa.float64())]
)


@scorer(version=1, scores={"vectors": pa.binary()}, bounds={}, needs_model=True)
def dedup_semantic(
    batch: pa.RecordBatch,
    images: Images,
    *,
    model: str | None = None,
    arch: str | None = None,
    precision: str = "auto",
    vectors_path: str | None = None,
    meta: bool = False,
    column: str = "embedding",
    text_column: str = "text_embedding",
    pair: str = "image+text",
    media: bool = False,
    epsilon: float = 0.01,
    text_epsilon: float | None = None,
    keep: str = "hard",
    clusters: int = 0,
    probes: int = 4,
    seed: int = 0,
) -> pa.RecordBatch:
    """Return the vectors of each sample of `batch`."""
    _check(pair, epsilon, text_epsilon, keep, clusters, probes)
    if (model is not None) + (vectors_path is not None) + meta != 1:
        msg = "`dedup_semantic` takes vectors from one of `model`, `vectors_path` and `meta: true`"
        raise UserError(msg, hint="`model: ViT-B-32/openai` makes them; the others read what you have", usage=True)
    if pair == "text":
        applies = np.ones(batch.num_rows, bool) if media else ~has_media(batch)
    else:
        applies = has_image(batch)
    if model is not None:
        shown, said, seen = _made(batch, images, clip.load(model, arch=arch, precision=precision), pair, applies)
        applies = applies & seen
    else:
        one = _read(batch, column, vectors_path)
        two = _read(batch, text_column, vectors_path) if pair == "image+text" else NONE
        shown, said = (NONE, one) if pair == "text" else (one, two)
        if pair == "image+text":
            applies = applies & np.isin(np.arange(batch.num_rows), one.row)
            applies = applies & np.isin(np.arange(batch.num_rows), two.row)
    return pa.record_batch([vectors.pack(batch.num_rows, shown, said, applies)], names=["vectors"])


def _read(batch: pa.RecordBatch, column: str, path: str | None) -> Vectors:
    if path is None:
        return stored.of_meta(batch.column("meta"), column)
    return stored.load(path).of(batch.column("id"), column)


def _made(
    batch: pa.RecordBatch, images: Images, network: clip.Clip, pair: str, applies: Array
) -> tuple[Vectors, Vectors, Array]:
    """Return the vectors of the images and of the texts, and which samples the model saw whole."""
    seen = np.ones(batch.num_rows, bool)
    said = np.zeros(0, np.int64)
    texts: list[str] = []
    if pair != "image":
        every = pc.utf8_trim_whitespace(pc.fill_null(everything(batch), ""))
        said = np.flatnonzero(applies & np.asarray(pc.greater(pc.binary_length(every), 0)))
        texts = every.take(pa.array(said)).to_pylist()
        cut = _cut(network, texts)
        seen[said[cut]] = False
        said, texts = said[~cut], [t for t, c in zip(texts, cut, strict=True) if not c]
    found = embed(batch, images, network, applies & seen if pair != "text" else np.zeros(batch.num_rows, bool), texts)
    return Vectors.of(found.row, found.images), Vectors.of(said, found.texts), seen & ~found.broken


def _cut(network: clip.Clip, texts: list[str]) -> Array:
    """Tell which texts are longer than the model reads: more words behind them change nothing."""
    out = np.zeros(len(texts), bool)
    if texts:
        context = network.tokenizer(["x"]).shape[1]
        # A token is a byte or more, and two are marks.
        long = [k for k, t in enumerate(texts) if len(t.encode("utf-8", "surrogatepass")) >= context - 2]
        if long:
            one, two = (network.tokenizer([texts[k] + end for k in long]) for end in ("", " x x"))
            out[long] = (one == two).all(1).numpy()
    return out


def _check(pair: str, epsilon: float, text_epsilon: float | None, keep: str, clusters: int, probes: int) -> None:
    for name, value, known in (("pair", pair, PAIRS), ("keep", keep, KEEP)):
        if value not in known:
            msg = f"`{name}` is `{value}`; expected one of {', '.join(known)}"
            raise UserError(msg, usage=True)
    for name, number in (("epsilon", epsilon), ("text_epsilon", text_epsilon)):
        if number is not None and not 0 <= number < 1:
            msg = f"`{name}` must be 0 or more and below 1, got `{number}`"
            raise UserError(msg, usage=True)
    within("clusters", clusters, 0)
    within("probes", probes, 1)


def cluster(
    signatures: pa.Table,
    *,
    pair: str = "image+text",
    epsilon: float = 0.01,
    text_epsilon: float | None = None,
    keep: str = "hard",
    clusters: int = 0,
    probes: int = 4,
    seed: int = 0,
) -> pa.Table:
    """Return (id, cluster, similarity, preference) of every sample that has a semantic duplicate."""
    _check(pair, epsilon, text_epsilon, keep, clusters, probes)
    if not signatures.num_rows:
        return FOUND.empty_table()
    ids = pa.chunked_array([signatures["id"].combine_chunks().cast(pa.string())])
    known = vectors.unpack(signatures["vectors"])
    last = np.zeros(len(ids))
    if "preference" in signatures.column_names:
        last = np.nan_to_num(-np.asarray(pc.fill_null(signatures["preference"].cast(pa.float64()), np.nan)), nan=np.inf)
    by_id = np.asarray(pc.sort_indices(ids)).astype(np.int64)
    draw = drawn(ids, seed)
    limits = 1 - epsilon, 1 - (epsilon if text_epsilon is None else text_epsilon)
    tables = [FOUND.empty_table()]
    kinds = (known.heads[:, 0] << 32) | (known.heads[:, 1] << 16) | known.heads[:, 2]
    for kind, rows in _grouped(kinds, by_id).items():
        count, width, text = kind >> 32, kind >> 16 & 0xFFFF, kind & 0xFFFF
        if kind == 0 or len(rows) < 2:
            continue
        layout = _Layout(known=known, rows=rows, images=count, width=width, text=text, limits=limits)
        near = layout.near(
            centroids.number(clusters or round(2 * len(rows) ** 0.5), len(rows)), draw[rows], probes, seed
        )
        order = {"hard": near.cosine, "easy": -near.cosine, "random": draw[rows]}[keep]
        place = np.empty(len(rows), np.int64)
        place[np.lexsort((np.arange(len(rows)), order, last[rows]))] = np.arange(len(rows))
        centre, similarity = layout.stars(near.at, place)
        tables.append(_table(ids, rows, centre, similarity, place))
    return pa.concat_tables(tables).sort_by("id")


@dataclass(frozen=True, kw_only=True)
class _Near:
    """The nearest centroids of every vector, the own one first, and the cosine with that."""

    at: Array  # n x probes
    cosine: Array


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """Samples with equally many vectors of the same widths, in order of their ids. A place is a position in `rows`."""

    known: vectors.Signatures
    rows: Array
    images: int
    width: int
    text: int
    limits: tuple[float, float]

    def take(self, places: Array) -> Array:
        """Return the vectors of some samples, side by side."""
        return self.known.take(self.rows[places], self.images, self.width, self.text)

    def among(self, mine: Array, places: Array) -> Array:
        """Return the vectors of some of the places `mine`."""
        return self.take(mine[places])

    def lead(self, places: Array) -> Array:
        """Return what k-means looks at: the images, or else the text."""
        x = np.ascontiguousarray(self.take(places)[:, : self.images * self.width or self.text])
        if self.images > 1:
            x /= np.float32(self.images**0.5)
        return x

    @property
    def parts(self) -> list[stars.Part]:
        """What must be similar."""
        one, two = self.limits
        w, end = self.width, self.images * self.width
        parts = [stars.Part(begin=k * w, end=k * w + w, least=one) for k in range(self.images)]
        if self.text:
            parts.append(stars.Part(begin=end, end=end + self.text, least=two if self.images else one))
        return parts

    def near(self, clusters: int, draw: Array, probes: int, seed: int) -> _Near:
        """Return the centroids that are nearest to each vector, of a spherical k-means."""
        n = len(self.rows)
        some = np.sort(np.argsort(draw, kind="stable")[: POINTS * clusters])
        gpu = device.gpus() > 0
        centres = centroids.fit(self.lead(some), clusters, seed % 2**31, ROUNDS, POINTS, gpu=gpu)
        search = device.search(centres, min(probes, clusters), gpu=gpu)
        at, cosine = np.empty((n, min(probes, clusters)), np.int64), np.empty(n)
        for begin in range(0, n, BLOCK):
            x = self.lead(np.arange(begin, min(begin + BLOCK, n)))
            at[begin : begin + BLOCK] = search(x)
            cosine[begin : begin + BLOCK] = stars.cosines(x, centres, at[begin : begin + BLOCK, 0])
        return _Near(at=at, cosine=np.round(cosine, 6))

    def stars(self, at: Array, order: Array) -> tuple[Array, Array]:
        """Return the centre of every sample and the similarity to it; `order` is the rank of each place, 0 most preferred."""
        n, parts = len(self.rows), self.parts
        product = device.product(gpu=device.gpus() > 0)
        centre, similarity = np.arange(n), np.ones(n)
        for mine in _grouped(at[:, 0], np.argsort(order)).values():
            if len(mine) > 1:
                found, share = stars.stars(len(mine), functools.partial(self.among, mine), parts, product)
                centre[mine], similarity[mine] = mine[found], share
        left = np.flatnonzero(centre == np.arange(n))
        ours = _grouped(at[:, 0], left)
        probed = _grouped(at[left, 1:].reshape(-1), np.arange(len(left) * (at.shape[1] - 1)))
        edges = [
            stars.across(self.take, ours[c], left[others // (at.shape[1] - 1)], parts, product)
            for c, others in probed.items()
            if c in ours
        ]
        if edges:
            a, b, s = (np.concatenate(column) for column in zip(*edges, strict=True))
            stars.joined(centre, similarity, order, (a, b, s), self.take, parts)
        return centre, similarity


def _grouped(classes: Array, places: Array) -> dict[int, Array]:
    """Return the places of every class, in their order."""
    of = classes[places]
    order = np.argsort(of, kind="stable")
    ends = np.flatnonzero(np.diff(of[order])) + 1
    return {int(classes[part[0]]): part for part in np.split(places[order], ends) if len(part)}


def _table(ids: pa.ChunkedArray, rows: Array, centre: Array, similarity: Array, order: Array) -> pa.Table:
    """Return the members of stars of two or more."""
    n = len(rows)
    members = np.lexsort((order, centre))
    members = members[np.bincount(centre, minlength=n)[centre[members]] > 1]
    begins = np.append(True, np.diff(centre[members]) != 0)[: len(members)]
    first = np.flatnonzero(begins)
    star = np.cumsum(begins) - 1
    if not len(members):
        return FOUND.empty_table()
    name = np.minimum.reduceat(members, first)  # rows are in order of their ids
    share = np.where(begins, -1, similarity[members])
    share[first] = np.maximum.reduceat(share, first)
    return pa.table(
        {
            "id": ids.take(pa.array(rows[members])),
            "cluster": ids.take(pa.array(rows[name[star]])),
            "similarity": pa.array(np.round(share, 6), pa.float64()),
            "preference": pa.array(first[star] - np.arange(len(members)), pa.float64()),
        }
    )

"""Models of fastText, read and run without its library: supervised ones, whole (`.bin`) or quantised (`.ftz`).

The file format and the arithmetic are those of https://github.com/facebookresearch/fastText (0.9.2; Joulin et al. 2016, arXiv
1607.01759 and 1612.03651): a text is the mean of the vectors of its words, their character n-grams and its word n-grams; a
label's probability comes from a softmax, a Huffman tree of sigmoids (hierarchical softmax) or a sigmoid each. A line feed
counts as a space, as in every published filter that uses such a model. Whole models are mapped, so that workers share them.

The library is asked text by text; this is one compiled pass over a batch, four times as fast for lid.176.
"""

import functools
import math
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from catalog.errors import UserError
from filters.shared.text import Array, Texts, borrowed, inlined, kernel

MAGIC, VERSION = 793712314, 12
HIERARCHICAL, NEGATIVE, SOFTMAX, ONE_VERSUS_ALL = 1, 2, 3, 4
_LABEL = "__label__"


@dataclass(frozen=True, kw_only=True)
class Model:
    """A supervised model; labels are without `__label__`."""

    labels: tuple[str, ...]
    loss: int
    shortest: int  # characters of a character n-gram, with the word's `<` and `>`
    longest: int
    word_ngrams: int
    buckets: int
    word_bytes: Array  # uint8: all words, one after the other
    word_starts: Array  # int64
    is_label: Array  # bool, per word
    slots: Array  # int32: word of a slot of the hash table, -1: free
    words: int  # words that are no labels: rows of `vectors` before the buckets
    kept: Array  # int32 per bucket: its row after the words, -1: pruned; empty: as it is
    vectors: Array  # float32, rows x dim
    outputs: Array  # float32, labels x dim
    left: Array  # int64, children of the inner nodes of the Huffman tree
    right: Array


class _Reader:
    def __init__(self, data: mmap.mmap) -> None:
        self.data = data
        self.at = 0

    def take(self, form: str) -> tuple[Any, ...]:
        found = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return found

    def array(self, kind: npt.DTypeLike, count: int) -> Array:
        found = np.frombuffer(self.data, kind, count, self.at)
        self.at += found.nbytes
        return found

    def word(self) -> bytes:
        end = self.data.find(b"\0", self.at)
        if end < 0:
            raise ValueError
        found = self.data[self.at : end]
        self.at = end + 1
        return found


def load(path: str) -> Model:
    """Return the model in a file; raise `UserError` where it is none that can classify."""
    where = Path(path)
    if not where.is_file():
        msg = f"no fastText model `{path}`; expected a `.bin` or `.ftz` file"
        raise UserError(msg)
    info = where.stat()
    return _load(where, info.st_mtime_ns, info.st_size)


@functools.lru_cache(maxsize=4)
def _load(path: Path, _time: int, _size: int) -> Model:
    with path.open("rb") as f:
        head = f.read(8)
        if len(head) < 8 or struct.unpack("<ii", head) != (MAGIC, VERSION):
            msg = f"`{path}` is no fastText model of version {VERSION}; expected a `.bin` or `.ftz` file of fastText 0.2 or later"
            raise UserError(msg)
        data = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
    try:
        return _parse(_Reader(data))
    except (ValueError, struct.error, UnicodeDecodeError) as e:
        msg = f"`{path}` is cut off or damaged: fastText's header is there, but not all that it promises"
        raise UserError(msg) from e
    except NotImplementedError as e:
        msg = f"`{path}` is a model of word vectors; expected a supervised one, with labels"
        raise UserError(msg) from e


def _parse(r: _Reader) -> Model:
    r.take("ii")
    dim, _, _, _, _, word_ngrams, loss, kind, buckets, shortest, longest, _ = r.take("12i")
    r.take("d")
    if kind != 3:
        raise NotImplementedError
    size, words, labels, _, pruned = r.take("iiiqq")
    entries = [(r.word(), *r.take("qb")) for _ in range(size)]
    kept = np.zeros(0, np.int32)
    if pruned >= 0:
        pairs = r.array("<i4", 2 * pruned).reshape(-1, 2)
        kept = np.full(max(buckets, 1), -1, np.int32)
        kept[pairs[:, 0]] = pairs[:, 1]
    (quantised,) = r.take("?")
    vectors = _quantised(r) if quantised else _dense(r)
    (outputs_quantised,) = r.take("?")
    outputs = _quantised(r) if quantised and outputs_quantised else _dense(r)
    names = [text.decode()[len(_LABEL) :] for text, _, kind in entries if kind == 1]
    counts = [count for _, count, kind in entries if kind == 1]
    if vectors.shape[1] != dim or outputs.shape != (labels, dim) or len(names) != labels or labels == 0:
        raise ValueError
    left, right = _huffman(counts) if loss == HIERARCHICAL else (np.zeros(0, np.int64), np.zeros(0, np.int64))
    word_starts = np.concatenate([[0], np.cumsum([len(text) for text, _, _ in entries])]).astype(np.int64)
    word_bytes = np.frombuffer(b"".join(text for text, _, _ in entries), np.uint8)
    room = 4
    while room < 2 * size:
        room *= 2
    slots = np.full(room, -1, np.int32)
    _index(word_bytes, word_starts, slots)
    return Model(
        labels=tuple(names), loss=loss, shortest=shortest, longest=longest, word_ngrams=word_ngrams, buckets=buckets,
        word_bytes=word_bytes, word_starts=word_starts, is_label=np.array([kind == 1 for _, _, kind in entries]),
        slots=slots, words=words, kept=kept, vectors=vectors, outputs=np.array(outputs, np.float32), left=left, right=right,
    )  # fmt: skip


def _dense(r: _Reader) -> Array:
    rows, columns = r.take("qq")
    return r.array("<f4", rows * columns).reshape(rows, columns)


def _quantised(r: _Reader) -> Array:
    """Read a product-quantised matrix and return it whole: it is small, or it would not have been quantised."""
    (with_norms,) = r.take("?")
    rows, columns = r.take("qq")
    (size,) = r.take("i")
    codes = r.array(np.uint8, size)
    table, parts = _centroids(r)
    codes = codes.reshape(rows, len(parts))
    out = np.empty((rows, columns), np.float32)
    for k, (start, width, offset) in enumerate(parts):
        out[:, start : start + width] = table[offset : offset + 256 * width].reshape(256, width)[codes[:, k]]
    if with_norms:
        norm_codes = r.array(np.uint8, rows)
        norms, _ = _centroids(r)
        out *= norms[norm_codes][:, None]
    return out


def _centroids(r: _Reader) -> tuple[Array, list[tuple[int, int, int]]]:
    """Return a quantiser's centroids and, per part of a vector, where it starts, its width and where its centroids start."""
    columns, parts, width, last = r.take("4i")
    table = r.array("<f4", columns * 256)
    return table, [(k * width, width if k + 1 < parts else last, k * 256 * width) for k in range(parts)]


def _huffman(counts: list[int]) -> tuple[Array, Array]:
    """Return the children of the inner nodes `labels`, `labels` + 1, ...; labels are sorted by count, largest first."""
    n = len(counts)
    weights = [*counts, *([10**15] * (n - 1))]
    left, right = np.zeros(max(n - 1, 0), np.int64), np.zeros(max(n - 1, 0), np.int64)
    leaf, node = n - 1, n
    for i in range(n, 2 * n - 1):
        pair = []
        for _ in range(2):
            if leaf >= 0 and weights[leaf] < weights[node]:
                pair.append(leaf)
                leaf -= 1
            else:
                pair.append(node)
                node += 1
        left[i - n], right[i - n] = pair
        weights[i] = weights[pair[0]] + weights[pair[1]]
    return left, right


@inlined
def _hash(data: Array, start: int, end: int) -> np.uint32:
    """FNV-1a over signed bytes, as fastText has it."""
    h = np.uint64(2166136261)
    mask = np.uint64(0xFFFFFFFF)
    for i in range(start, end):
        b = np.uint64(data[i])
        if b >= np.uint64(128):
            b = b | np.uint64(0xFFFFFF00)
        h = ((h ^ b) * np.uint64(16777619)) & mask
    return np.uint32(h)


@kernel
def _index(word_bytes: Array, word_starts: Array, slots: Array) -> None:
    last = len(slots) - 1
    for w in range(len(word_starts) - 1):
        s = int(_hash(word_bytes, word_starts[w], word_starts[w + 1])) & last
        while slots[s] >= 0:
            s = (s + 1) & last
        slots[s] = w


@inlined
def _find(data: Array, start: int, end: int, h: int, word_bytes: Array, word_starts: Array, slots: Array) -> int:
    last = len(slots) - 1
    s = h & last
    while slots[s] >= 0:
        w = slots[s]
        low = word_starts[w]
        if word_starts[w + 1] - low == end - start:
            same = True
            for k in range(end - start):
                if word_bytes[low + k] != data[start + k]:
                    same = False
                    break
            if same:
                return int(w)
        s = (s + 1) & last
    return -1


@inlined
def _add(hidden: Array, vectors: Array, row: int) -> None:
    for d in range(len(hidden)):
        hidden[d] += vectors[row, d]


@inlined
def _sigmoid(x: float) -> float:
    """fastText looks these up in a table of 512 steps between -8 and 8."""
    if x < -8.0:
        return 0.0
    if x > 8.0:
        return 1.0
    return 1.0 / (1.0 + math.exp(8.0 - int((x + 8.0) * 32.0) / 32.0))


@inlined
def _bucket(h: np.uint64, buckets: int, kept: Array) -> int:
    """Return which row after the words stands for a hash, -1 if none."""
    bucket = np.int64(h % np.uint64(buckets))
    return np.int64(kept[bucket]) if len(kept) else bucket  # type: ignore[return-value]


@kernel
def _predict(
    data: Array, offsets: Array, wanted: Array, loss: int, shortest: int, longest: int, word_ngrams: int, buckets: int,
    word_bytes: Array, word_starts: Array, is_label: Array, slots: Array, words: int, kept: Array, vectors: Array,
    outputs: Array, left: Array, right: Array,
) -> Array:  # fmt: skip
    data, word_bytes, word_starts, slots = borrowed(data), borrowed(word_bytes), borrowed(word_starts), borrowed(slots)
    kept, vectors, outputs = borrowed(kept), borrowed(vectors), borrowed(outputs)
    n = len(offsets) - 1
    labels = len(outputs)
    out = np.zeros((n, labels), np.float64)
    hidden = np.zeros(vectors.shape[1], np.float32)
    scores = np.zeros(2 * labels, np.float64)
    most = 1
    for t in range(n):
        if wanted[t]:
            most = max(most, offsets[t + 1] - offsets[t])
    word = np.empty(most + 2, np.uint8)
    hashes = np.empty(most // 2 + 2, np.int64)
    eos = np.array([60, 47, 115, 62], np.uint8)
    mark = np.array([95, 95, 108, 97, 98, 101, 108, 95, 95], np.uint8)
    for t in range(n):
        if not wanted[t]:
            continue
        hidden[:] = 0
        used = 0
        count = 0
        i = offsets[t]
        end = offsets[t + 1]
        done = False
        while not done:
            while i < end and (data[i] == 32 or 9 <= data[i] <= 13 or data[i] == 0):
                i += 1
            start = i
            while i < end and not (data[i] == 32 or 9 <= data[i] <= 13 or data[i] == 0):
                i += 1
            if start < i:
                size = i - start
                word[0] = 60
                for k in range(size):
                    word[k + 1] = data[start + k]
            else:
                size = 4
                word[0] = 60
                for k in range(4):
                    word[k + 1] = eos[k]
                done = True
            word[size + 1] = 62
            h = int(_hash(word, 1, size + 1))
            w = _find(word, 1, size + 1, h, word_bytes, word_starts, slots)
            closing = size == 4 and word[1] == 60 and word[2] == 47 and word[3] == 115 and word[4] == 62
            if w >= 0:
                skip = is_label[w]
            else:
                skip = size >= 9
                for k in range(9):
                    if skip and word[k + 1] != mark[k]:
                        skip = False
            if skip:
                continue
            hashes[count] = h - 0x100000000 if h >= 0x80000000 else h
            count += 1
            if w >= 0:
                _add(hidden, vectors, w)
                used += 1
            if longest > 0 and not closing:
                for a in range(size + 2):
                    if word[a] & 0xC0 == 0x80:
                        continue
                    g = np.uint64(2166136261)
                    b = a
                    taken = 0
                    while b < size + 2 and taken < longest:
                        c = np.uint64(word[b])
                        if c >= np.uint64(128):
                            c = c | np.uint64(0xFFFFFF00)
                        g = ((g ^ c) * np.uint64(16777619)) & np.uint64(0xFFFFFFFF)
                        b += 1
                        while b < size + 2 and word[b] & 0xC0 == 0x80:
                            c = np.uint64(word[b]) | np.uint64(0xFFFFFF00)
                            g = ((g ^ c) * np.uint64(16777619)) & np.uint64(0xFFFFFFFF)
                            b += 1
                        taken += 1
                        if taken >= shortest and not (taken == 1 and (a == 0 or b == size + 2)):
                            row = _bucket(g, buckets, kept)
                            if row >= 0:
                                _add(hidden, vectors, words + row)
                                used += 1
            if closing:
                break
        if word_ngrams > 1 and buckets > 0:
            for a in range(count):
                g = np.uint64(hashes[a])
                for b in range(a + 1, min(count, a + word_ngrams)):
                    g = g * np.uint64(116049371) + np.uint64(hashes[b])
                    row = _bucket(g, buckets, kept)
                    if row >= 0:
                        _add(hidden, vectors, words + row)
                        used += 1
        if used == 0:
            continue
        share = np.float32(1.0 / used)
        for d in range(len(hidden)):
            hidden[d] *= share
        if loss == 1:
            scores[2 * labels - 2] = 1.0
            for node in range(2 * labels - 2, labels - 1, -1):
                dot = np.float32(0)
                for d in range(len(hidden)):
                    dot += outputs[node - labels, d] * hidden[d]
                f = 1.0 / (1.0 + math.exp(-dot))
                scores[left[node - labels]] = scores[node] * (1.0 - f + 1e-5)
                scores[right[node - labels]] = scores[node] * (f + 1e-5)
        else:
            top = -np.inf
            for k in range(labels):
                dot = np.float32(0)
                for d in range(len(hidden)):
                    dot += outputs[k, d] * hidden[d]
                scores[k] = dot
                top = max(top, scores[k])
            total = 0.0
            for k in range(labels):
                scores[k] = math.exp(scores[k] - top) if loss == 3 else _sigmoid(scores[k])
                total += scores[k]
            for k in range(labels):
                scores[k] = (scores[k] / total if loss == 3 else scores[k]) + 1e-5
        for k in range(labels):
            out[t, k] = min(scores[k], 1.0)
    return out


def probabilities(model: Model, texts: Texts, wanted: Array) -> Array:
    """Return the probability of every label for every wanted text; a row of zeros where the model knows nothing of it."""
    m = model
    return _predict(  # type: ignore[no-any-return]
        texts.data, texts.offsets, wanted, m.loss, m.shortest, m.longest, m.word_ngrams, m.buckets, m.word_bytes,
        m.word_starts, m.is_label, m.slots, m.words, m.kept, m.vectors, m.outputs, m.left, m.right,
    )  # fmt: skip

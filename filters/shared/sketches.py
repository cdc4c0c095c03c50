"""What a sample says, as a sketch: whether two ask the same, and how much their answers have in common.

The words are those of `Tokens` (NFKC, lower case, no punctuation). A sketch is a hash of the user's words in order, and the
64 smallest 32-bit hashes of the different words of the answer, ascending: of two bottom-k sketches the Jaccard similarity can be
told (Cohen and Kaplan 2007), exactly where both texts have up to 64 different words.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from filters.shared.captions import said
from filters.shared.text import Array, extend, kernel, mix, tokenise

WORDS = 64


@dataclass(frozen=True, kw_only=True)
class Sketches:
    """`asked` (n,) uint64, `answered` (n,) uint64: hashes of all words in order; `words[first[k]:first[k+1]]`: the sketch."""

    asked: Array
    answered: Array
    words: Array
    first: Array


def sketches(batch: pa.RecordBatch) -> Sketches:
    """Return what every sample of `batch` says."""
    question, answer = (tokenise(texts) for texts in said(batch))
    words, first = _sketches(answer.hashes, answer.first)
    return Sketches(
        asked=_runs(question.hashes, question.first),
        answered=_runs(answer.hashes, answer.first),
        words=words,
        first=first,
    )


@kernel
def _runs(hashes: Array, first: Array) -> Array:
    out = np.empty(len(first) - 1, np.uint64)
    for t in range(len(out)):
        h = np.uint64(0)
        for k in range(first[t], first[t + 1]):
            h = extend(h, hashes[k])
        out[t] = h
    return out


@kernel
def _sketches(hashes: Array, first: Array) -> tuple[Array, Array]:
    n = len(first) - 1
    out = np.empty(min(len(hashes), n * WORDS), np.uint32)
    begin = np.zeros(n + 1, np.int64)
    at = 0
    for t in range(n):
        some = np.empty(first[t + 1] - first[t], np.uint32)
        for k in range(some.size):
            some[k] = np.uint32(mix(hashes[first[t] + k]) >> np.uint64(32))
        some.sort()
        start = at
        for k in range(some.size):
            if at == start + WORDS:
                break
            if k == 0 or some[k] != some[k - 1]:
                out[at] = some[k]
                at += 1
        begin[t + 1] = at
    return out[:at].copy(), begin


@kernel
def jaccard(words: Array, first: Array, a: Array, b: Array) -> Array:
    """Return the Jaccard similarity of sketches `a[k]` and `b[k]`; 1 for two empty ones."""
    out = np.ones(len(a))
    for k in range(len(a)):
        i = first[a[k]]
        j = first[b[k]]
        end_i = first[a[k] + 1]
        end_j = first[b[k] + 1]
        whole = end_i - i < WORDS and end_j - j < WORDS
        union = 0
        common = 0
        while (i < end_i or j < end_j) and (whole or union < WORDS):
            union += 1
            if j == end_j or (i < end_i and words[i] < words[j]):
                i += 1
            elif i == end_i or words[j] < words[i]:
                j += 1
            else:
                common += 1
                i += 1
                j += 1
        if union:
            out[k] = common / union
    return out

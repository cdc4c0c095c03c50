"""How much of an answer is copied from the question, and how much of the question the answer repeats.

Looks at all user messages of a sample against all its assistant messages, as words (runs of letters and digits after NFKC
and lower-casing). Applies where a user says something in words and the answers have `min_words` words or more (default 10):
a short answer is often, rightly, a word of the question.

- `copied` (0..1): share of the answer's words in a run of `ngram` words (default 5) that the question has too. No bound:
  extracting, correcting and sorting copy by nature.
- `longest_copy` (0..1): the longest run of words that both have, as a share of the answer. No bound: of raw Alpaca's 35
  answers above 0.9 all but three are right: punctuation added, a sentence chosen or completed.
- `restated` (0..1): share of the question's words in a run of `ngram` words that the answer has too. No bound.
- `echo` (0..1): the longest run as a share of the longer of the two. Bound: at most 0.9: the answer is the question.

Source of the bound: Self-Instruct drops generated instances whose output repeats their input (arXiv 2212.10560, section
2.2, "Filtering and postprocessing"); equality of words is an `echo` of 1, and 0.9 is our allowance for a word or two. Left
out: that paper's ROUGE-L between instructions, which is deduplication (`dedup_minhash`); its input field apart from the
instruction, which a dialogue does not know; paraphrase.
"""

import numpy as np
import pyarrow as pa

from filters.base import scorer
from filters.shared.dialogue import ASSISTANT, USER, instructed, roles
from filters.shared.kinds import within
from filters.shared.text import Array, column, kernel, lengths, message_tokens, ratio, starts, table

_BASE = np.uint64(0x9E3779B97F4A7C15)


@kernel
def _gather(hashes: Array, word_first: Array, role: Array, first: Array, t: int, wanted: int) -> Array:
    size = 0
    for m in range(first[t], first[t + 1]):
        if role[m] == wanted:
            size += word_first[m + 1] - word_first[m]
    out = np.empty(size, np.uint64)
    k = 0
    for m in range(first[t], first[t + 1]):
        if role[m] == wanted:
            for w in range(word_first[m], word_first[m + 1]):
                out[k] = hashes[w]
                k += 1
    return out


@kernel
def _runs(words: Array, n: int, base: np.uint64) -> Array:
    """Return a hash of every run of `n` words."""
    count = len(words) - n + 1
    out = np.empty(max(count, 0), np.uint64)
    if count <= 0:
        return out
    top = np.uint64(1)
    for _ in range(n):
        top *= base
    h = np.uint64(0)
    for i in range(len(words)):
        h = h * base + words[i]
        if i >= n:
            h -= words[i - n] * top
        if i >= n - 1:
            out[i - n + 1] = h
    return out


@kernel
def _has(ordered: Array, value: np.uint64) -> bool:
    at = np.searchsorted(ordered, value)
    return bool(at < len(ordered) and ordered[at] == value)


@kernel
def _covered(words: Array, other: Array, n: int, base: np.uint64) -> int:
    """Return how many of `words` lie in a run of `n` that `other` has."""
    theirs = np.sort(_runs(other, n, base))
    mine = _runs(words, n, base)
    out = 0
    end = 0  # words before it are counted
    for i in range(len(mine)):
        if _has(theirs, mine[i]):
            out += i + n - max(end, i)
            end = i + n
    return out


@kernel
def _shares(a: Array, b: Array, n: int, base: np.uint64) -> bool:
    theirs = np.sort(_runs(b, n, base))
    found = False
    for h in _runs(a, n, base):
        found = found or _has(theirs, h)
    return found


@kernel
def _longest(a: Array, b: Array, base: np.uint64) -> int:
    """Return the length of the longest common run: if one of n words is shared, one of n - 1 is, so halving finds it."""
    low = 0
    high = min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if _shares(a, b, middle, base):
            low = middle
        else:
            high = middle - 1
    return low


@kernel
def _overlap(
    hashes: Array, word_first: Array, role: Array, first: Array, wanted: Array, n: int, least: int, base: np.uint64
) -> Array:
    """Return per sample: words of the question, of the answer, copied, longest common run, restated."""
    out = np.zeros((len(first) - 1, 5), np.int64)
    for t in range(len(first) - 1):
        if not wanted[t]:
            continue
        question = _gather(hashes, word_first, role, first, t, 0)
        answer = _gather(hashes, word_first, role, first, t, 1)
        out[t, 0] = len(question)
        out[t, 1] = len(answer)
        if len(answer) < least:
            continue
        out[t, 2] = _covered(answer, question, n, base)
        out[t, 3] = _longest(answer, question, base)
        out[t, 4] = _covered(question, answer, n, base)
    return out


@scorer(
    version=1,
    scores={"copied": pa.float64(), "longest_copy": pa.float64(), "restated": pa.float64(), "echo": pa.float64()},
    bounds={"echo": (None, 0.9)},
)
def instruction_overlap(batch: pa.RecordBatch, *, ngram: int = 5, min_words: int = 10) -> pa.RecordBatch:
    """Compare the questions and answers of `batch`."""
    within("ngram", ngram, 1)
    assert (USER, ASSISTANT) == (0, 1)
    tokens = message_tokens(batch)
    first = starts(lengths(batch.column("messages")))
    least = max(min_words, 1)
    found = _overlap(tokens.hashes, tokens.first, roles(batch), first, instructed(batch), ngram, least, _BASE)
    applies = instructed(batch) & (found[:, 1] >= least)
    return table(
        copied=column(ratio(found[:, 2], found[:, 1]), applies, pa.float64()),
        longest_copy=column(ratio(found[:, 3], found[:, 1]), applies, pa.float64()),
        restated=column(ratio(found[:, 4], found[:, 0]), applies, pa.float64()),
        echo=column(ratio(found[:, 3], found[:, :2].max(axis=1)), applies, pa.float64()),
    )

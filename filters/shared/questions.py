"""Questions of evaluation items: which words a message has, which of them are options, and hashes of runs of words.

Words are those of `filters/shared/text.py`: after NFKC and lower-casing, of letters, digits and combining marks; whatever else
there is only separates, so that white space, punctuation, LaTeX signs and the kind of brackets make no difference.

A message's *stem* is what stands before its options. Options are found by their labels, two or more in order (`A.`, `(A)`, `a)`,
`A:`, `1.`; those with a full stop or a colon, and digits, only where a line begins). A label is no part of its option.

The hash of a run is a polynomial of its words' hashes, so that every run of a text is had from its prefixes in two
multiplications.
"""

import functools
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from filters.shared.text import (
    Array,
    buffers,
    cached,
    class_of,
    classes,
    decode,
    inlined,
    kernel,
    message_tokens,
    messages,
    mix,
    normalised,
    tokenise,
)

BASE = 0x9E3779B97F4A7C15


@dataclass(frozen=True, kw_only=True)
class Questions:
    """The messages of a batch. Words are numbered through the batch, as in `Tokens`."""

    hashes: Array  # uint64, one per word
    first: Array  # int64: words of message m are first[m]:first[m + 1]
    telling: Array  # bool, one per word: it has two letters or is an ideograph
    stem: Array  # int64: the words of message m before its options end here
    options: Array  # int64, k x 2: first word and end of each option
    at: Array  # int64: options of message m are at[m]:at[m + 1]


@kernel
def prefixes(hashes: Array) -> Array:
    """Return the polynomial of the words before each word, and of all of them at the end."""
    out = np.zeros(len(hashes) + 1, np.uint64)
    h = np.uint64(0)
    for i in range(len(hashes)):
        h = h * np.uint64(BASE) + hashes[i] + np.uint64(1)
        out[i + 1] = h
    return out


@kernel
def powers(n: int) -> Array:
    """Return the powers 0 to `n` of the polynomial's base."""
    out = np.ones(n + 1, np.uint64)
    for i in range(n):
        out[i + 1] = out[i] * np.uint64(BASE)
    return out


@inlined
def run(prefix: Array, power: Array, begin: int, size: int) -> np.uint64:
    """Return the hash of the `size` words from `begin` on; runs of another length never share it but by chance."""
    return mix(prefix[begin + size] - prefix[begin] * power[size] + np.uint64(size))


@inlined
def sieve(bits: Array, key: np.uint64) -> bool:
    """Tell whether `key` may be among those of `marks`."""
    at = key & np.uint64(len(bits) * 8 - 1)
    return bool(bits[at >> np.uint64(3)] >> (at & np.uint64(7)) & 1)


@kernel
def marks(keys: Array) -> Array:
    """Return a table of bits, a power of two of them and at least 16 per key, in which those of `keys` are set."""
    size = 1 << 16
    while size < 16 * len(keys) and size < 1 << 33:
        size *= 2
    out = np.zeros(size // 8, np.uint8)
    for key in keys:
        at = key & np.uint64(size - 1)
        out[at >> np.uint64(3)] |= np.uint8(1) << np.uint8(at & np.uint64(7))
    return out


@kernel
def distinct(hashes: Array, telling: Array, begin: int, end: int, wanted: int) -> bool:
    """Tell whether at least `wanted` different words of `begin:end` are telling."""
    found = 0
    for i in range(begin, end):
        if telling[i]:
            found += 1
            for k in range(begin, i):
                if hashes[k] == hashes[i]:
                    found -= 1
                    break
        if found >= wanted:
            return True
    return found >= wanted


@kernel
def _spans(data: Array, offsets: Array, table: Array, words: int) -> tuple[Array, Array, Array]:
    """Return each word's first byte, its end, and whether it is telling; words as `tokenise` cuts them."""
    begins = np.empty(words, np.int64)
    ends = np.empty(words, np.int64)
    telling = np.zeros(words, np.bool_)
    w = 0
    for t in range(len(offsets) - 1):
        i = offsets[t]
        end = offsets[t + 1]
        size = 0
        letters = 0
        while i <= end:
            kind = 4
            step = 1
            if i < end:
                cp, step = decode(data, i, end)
                kind = class_of(table, cp)
            if kind & 8:
                if size:
                    ends[w] = i
                    telling[w] = letters > 1
                    w += 1
                begins[w] = i
                ends[w] = i + step
                telling[w] = kind & 1 != 0
                w += 1
                size = 0
                letters = 0
            elif kind & 19:
                if size == 0:
                    begins[w] = i
                size += 1
                letters += kind & 1
            elif kind & 32 == 0 and size:
                ends[w] = i
                telling[w] = letters > 1
                w += 1
                size = 0
                letters = 0
            i += step
    return begins, ends, telling


@inlined
def _label(data: Array, low: int, high: int, begin: int, end: int) -> int:
    """Return which option the word `begin:end` labels (0 for a and 1), or -1."""
    if end != begin + 1:
        return -1
    c = int(data[begin])
    digit = 49 <= c <= 57
    if not digit and not 97 <= c <= 122:
        return -1
    after = end + 1 if end < high and data[end] == 32 else end
    sign = int(data[after]) if after < high else 0
    if sign != 46 and sign != 41 and sign != 58:  # . ) :
        return -1
    p = begin - 1
    if p >= low and data[p] == 40:  # (
        p -= 1
        if sign != 41:
            return -1
    if p >= low and data[p] != 32 and data[p] != 10 and data[p] != 9 and data[p] != 91 and data[p] != 44:
        return -1
    while p >= low and (data[p] == 32 or data[p] == 9 or data[p] == 42 or data[p] == 45 or data[p] == 91):
        p -= 1
    line = p < low or data[p] == 10
    if (digit or sign != 41) and not line:
        return -1
    return c - 49 if digit else c - 97


@kernel
def _options(
    data: Array, offsets: Array, first: Array, begins: Array, ends: Array, hashes: Array, titles: Array
) -> tuple[Array, Array, Array]:
    """Return the end of each message's stem, and its options."""
    n = len(first) - 1
    stem = first[1:].copy()
    options = np.empty((len(hashes), 2), np.int64)
    at = np.zeros(n + 1, np.int64)
    labels = np.empty(32, np.int64)
    best = np.empty(32, np.int64)
    used = 0
    for m in range(n):
        count = 0
        most = 0
        digits = False
        for w in range(first[m], first[m + 1]):
            if ends[w] != begins[w] + 1:
                continue
            k = _label(data, offsets[m], offsets[m + 1], begins[w], ends[w])
            if k < 0:
                continue
            digit = data[begins[w]] < 58
            if k == 0:
                count = 0
                digits = digit
            if k == count and digit == digits and count < 26:
                labels[count] = w
                count += 1
                if count >= 2 and count >= most:
                    best[:count] = labels[:count]
                    most = count
        if most:
            end = best[0]
            for _ in range(2):  # "Answer choices:"
                if end > first[m] and (
                    hashes[end - 1] == titles[0] or hashes[end - 1] == titles[1] or hashes[end - 1] == titles[2]
                ):
                    end -= 1
            stem[m] = end
            for k in range(most):
                stop = best[k + 1] if k + 1 < most else first[m + 1]
                if stop > best[k] + 1:
                    options[used, 0] = best[k] + 1
                    options[used, 1] = stop
                    used += 1
        at[m + 1] = used
    return stem, options[:used].copy(), at


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where the words of a batch's messages stand in their normalised text."""

    data: Array  # uint8
    offsets: Array  # int64: message m is data[offsets[m]:offsets[m + 1]]
    begins: Array  # int64: each word's first byte
    ends: Array
    telling: Array  # bool: the word has two letters or is an ideograph


def layout(batch: pa.RecordBatch) -> Layout:
    """Return where the words of a batch stand."""

    def make() -> Layout:
        raw = buffers(normalised(messages(batch)[0]))
        begins, ends, telling = _spans(raw.data, raw.offsets, classes(), len(message_tokens(batch).hashes))
        return Layout(data=raw.data, offsets=raw.offsets, begins=begins, ends=ends, telling=telling)

    return cached(batch, "layout", make)  # type: ignore[no-any-return]


@functools.cache
def _titles() -> Array:
    return tokenise(pa.array(["options choices answer"])).hashes


def questions(batch: pa.RecordBatch) -> Questions:
    """Return the messages of a batch as questions."""

    def make() -> Questions:
        tokens, at = message_tokens(batch), layout(batch)
        stem, options, first = _options(
            at.data, at.offsets, tokens.first, at.begins, at.ends, tokens.hashes, _titles()
        )  # fmt: skip
        return Questions(
            hashes=tokens.hashes, first=tokens.first, telling=at.telling, stem=stem, options=options, at=first
        )  # fmt: skip

    return cached(batch, "questions", make)  # type: ignore[no-any-return]


def units(batch: pa.RecordBatch, stem: int) -> Array:
    """Return (first word, end, sample, part) of every message, and of stems of `stem` words and more before their options.

    `part` is twice the number of the message in its sample, one more for a stem.
    """
    asked = questions(batch)
    at = messages(batch)[2]
    sample = np.repeat(np.arange(batch.num_rows), np.diff(at))
    number = 2 * (np.arange(len(sample)) - at[sample])
    long = (np.diff(asked.at) >= 2) & (asked.stem - asked.first[:-1] >= stem)
    whole = np.stack([asked.first[:-1], asked.first[1:], sample, number], 1)
    return np.concatenate([whole, np.stack([asked.first[:-1], asked.stem, sample, number + 1], 1)[long]])


@inlined
def _signs(c: int) -> bool:
    """Tell whether a byte of normalised text belongs to no word of ASCII."""
    return not (97 <= c <= 122 or 48 <= c <= 57 or c >= 128)


@kernel
def alone(data: Array, begins: Array, ends: Array, low: int, high: int, begin: int, end: int) -> bool:
    """Tell whether the words `begin:end` of the message at bytes `low:high` stand by themselves.

    They begin it, a line, or what stands behind a colon, and end it, a line or a sentence.
    """
    p = begins[begin] - 1
    while p >= low and data[p] != 10 and data[p] != 58:  # line or :
        if not _signs(data[p]):
            return False
        p -= 1
    p = ends[end - 1]
    while p < high and data[p] != 10 and data[p] != 46 and data[p] != 63 and data[p] != 33:  # line or . ? !
        if not _signs(data[p]):
            return False
        p += 1
    return True

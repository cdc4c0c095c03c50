"""Exact duplicates by normalised text.

`signature` (binary, 16 bytes): two 64-bit hashes of a sample's normalised text, all messages in a row whatever their roles, and
of the digests of its media. Two samples are duplicates when their signatures are equal; similarity is 1 (share, 0..1). No bounds:
who survives is decided by the judge's policy. Null where nothing is left of the text.

Normalisation: NFKC, lower case, and of what remains only words (`filters/shared/text.py`: letters, digits, marks), so that
neither punctuation nor white space counts. In samples of the tasks `strict` more of it is meaning: x is not X, x - 2 not x + 2,
and Python reads indentation. There the text is NFC, and only white space is evened out: every run is one space, or a line's end
with the next line's indentation; none at the ends.

Unlike `dedup_minhash` it looks at samples with media too, at short texts, and at whole texts only: one word more or less is
another text. Unlike `dedup_exact` it sees through case, typography and line ends, and through how a text is cut into messages.
The hashes are not cryptographic: who can write samples can write two that collide. `dedup_exact` compares sha256 digests.

Source: exact deduplication after normalisation, as in CCNet (Wenzek et al. 2020, arXiv 1911.00359: lower case, no punctuation or
accents, digits are one, 64 bits of SHA-1; there by paragraph) and in Data-Juicer's `document_deduplicator` with `lowercase` and
`ignore_non_character`, https://github.com/datajuicer/data-juicer. Left out: stripping accents and merging digits, which changes
what is said.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.base import scorer
from filters.shared.signatures import of_media, pack, unpack
from filters.shared.text import (
    SPACE,
    Array,
    borrowed,
    buffers,
    class_of,
    classes,
    decode,
    extend,
    is_task,
    kernel,
    message_tokens,
    messages,
    mix,
    table,
)

_SECOND = np.uint64(0xA0761D6478BD642F)  # tells the second hash from the first
_NEWLINE, _BLANK = 0x0A, 0x20


@kernel
def _of_words(words: Array, first: Array, media: Array) -> Array:
    """Return two hashes of every sample's words and media (samples x 2)."""
    out = np.empty((len(first) - 1, 2), np.uint64)
    for t in range(len(first) - 1):
        one = media[t]
        two = mix(media[t] ^ _SECOND)
        for w in range(first[t], first[t + 1]):
            one = extend(one, words[w])
            two = extend(two, words[w] ^ _SECOND)
        out[t, 0] = one
        out[t, 1] = two
    return out


@kernel
def _of_characters(data: Array, offsets: Array, at: Array, media: Array, chars: Array) -> tuple[Array, Array]:
    """Return two hashes of every sample's characters and media, and how many there are; white space is evened out.

    Sample t has the messages `at[t]:at[t+1]`, between which stands a line's end.
    """
    data, chars = borrowed(data), borrowed(chars)
    n = len(at) - 1
    out = np.empty((n, 2), np.uint64)
    count = np.zeros(n, np.int64)
    for t in range(n):
        one = media[t]
        two = mix(media[t] ^ _SECOND)
        for m in range(at[t], at[t + 1]):
            i, end = offsets[m], offsets[m + 1]
            gap = m > at[t]  # white space is due before the next character
            line = gap  # with a line's end in it
            indent = 0
            while i < end:
                cp, step = decode(data, i, end)
                i += step
                if class_of(chars, cp) & SPACE:
                    gap = True
                    if cp == _NEWLINE:
                        line = True
                        indent = 0
                    else:
                        indent += 1
                    continue
                if gap and count[t]:
                    space = np.uint64(_NEWLINE + (indent << 32) if line else _BLANK)
                    one = extend(one, space)
                    two = extend(two, space ^ _SECOND)
                gap = line = False
                indent = 0
                one = extend(one, np.uint64(cp))
                two = extend(two, np.uint64(cp) ^ _SECOND)
                count[t] += 1
        out[t, 0] = one
        out[t, 1] = two
    return out, count


@scorer(version=1, scores={"signature": pa.binary()}, bounds={})
def dedup_text(batch: pa.RecordBatch, *, strict: Sequence[str] = ("math", "code")) -> pa.RecordBatch:
    """Return the hashes of the normalised texts of `batch` as signatures."""
    texts, _, at = messages(batch)
    first = message_tokens(batch).first[at]
    media = of_media(batch)
    signature = _of_words(message_tokens(batch).hashes, first, media)
    applies = np.diff(first) > 0
    rows = np.flatnonzero(is_task(batch, *strict))
    if len(rows):
        sizes = np.diff(at)[rows]
        inside = np.repeat(at[rows] - np.concatenate([[0], np.cumsum(sizes)[:-1]]), sizes) + np.arange(sizes.sum())
        raw = buffers(pc.utf8_normalize(texts.take(pa.array(inside)), form="NFC"))
        ends = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        signature[rows], count = _of_characters(raw.data, raw.offsets, ends, media[rows], classes())
        applies[rows] = count > 0
    return table(signature=pack(signature.ravel(), np.full(batch.num_rows, 2, np.int64), applies))


def keys(signatures: pa.Table) -> pa.Table:
    """Return (row, key): the first hash of every signature."""
    found = unpack(signatures["signature"])[0].reshape(-1, 2)[:, 0]
    return pa.table({"row": np.arange(len(found), dtype=np.int64), "key": found})


def alike(signatures: pa.Table, a: Array, b: Array) -> Array:
    """Return 1 for the pairs of rows whose signatures are equal, 0 for the others."""
    found = unpack(signatures["signature"])[0].reshape(-1, 2)
    return np.asarray((found[a] == found[b]).all(axis=1), np.float64)

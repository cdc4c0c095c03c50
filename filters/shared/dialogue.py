"""What is said in turn: the user's text of a sample, and numbers per message folded into numbers per sample.

`prompt`: the contents of a sample's user messages, joined by a newline, media marks blanked. A sample is *instructed* when a user
says something in words and an assistant message answers: a document or an alt text is not.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.shared.text import Array, buffers, cached, class_of, classes, decode, kernel, lengths, messages, starts

USER, ASSISTANT, SYSTEM, OTHER = 0, 1, 2, 3


def roles(batch: pa.RecordBatch) -> Array:
    """Return the role of every message as a small number."""

    def make() -> Array:
        role = batch.column("messages").flatten().field("role")
        found = pc.index_in(role, value_set=pa.array(["user", "assistant", "system"], pa.string()))
        return np.asarray(pc.fill_null(found, OTHER)).astype(np.int8)

    return cached(batch, "roles", make)  # type: ignore[no-any-return]


def rows(batch: pa.RecordBatch) -> Array:
    """Return the sample that every message belongs to."""
    return np.repeat(np.arange(batch.num_rows), lengths(batch.column("messages")))


def total(batch: pa.RecordBatch, values: Array) -> Array:
    """Return the sum of one number per message over each sample's messages."""
    first = starts(lengths(batch.column("messages")))
    sums = starts(values)
    return sums[first[1:]] - sums[first[:-1]]


def visible(batch: pa.RecordBatch) -> Array:
    """Return the characters per message that are neither white space, nor format or control characters, nor in a media mark."""

    def make() -> Array:
        raw = buffers(messages(batch)[0])
        return _visible(raw.data, raw.offsets, classes())

    return cached(batch, "visible", make)  # type: ignore[no-any-return]


@kernel
def _visible(data: Array, offsets: Array, classes: Array) -> Array:
    n = len(offsets) - 1
    out = np.zeros(n, np.int64)
    for t in range(n):
        i = offsets[t]
        while i < offsets[t + 1]:
            cp, step = decode(data, i, offsets[t + 1])
            if cp >= 32 and class_of(classes, cp) & 36 == 0:
                out[t] += 1
            i += step
    return out


def instructed(batch: pa.RecordBatch) -> Array:
    """Return which samples have words of a user and an assistant message."""

    def make() -> Array:
        role = roles(batch)
        asked = total(batch, ((role == USER) & (visible(batch) > 0)).astype(np.int64)) > 0
        return asked & (total(batch, (role == ASSISTANT).astype(np.int64)) > 0)

    return cached(batch, "instructed", make)  # type: ignore[no-any-return]


def prompts(batch: pa.RecordBatch) -> pa.Array:
    """Return the user's text of every sample (large_string); null without a user message."""

    def make() -> pa.Array:
        texts, _, first = messages(batch)
        mine = roles(batch) == USER
        count = np.diff(starts(mine)[first])
        lists = pa.LargeListArray.from_arrays(pa.array(starts(count)), texts.filter(pa.array(mine)))
        joined = pc.binary_join(lists, pa.scalar("\n", pa.large_string()))
        return pc.if_else(pa.array(count > 0), joined, pa.scalar(None, pa.large_string()))

    return cached(batch, "prompts", make)  # type: ignore[no-any-return]

"""The boxes of a batch as arrays: where they are, in which picture, what they say. Made once per batch."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.shared.text import (
    IGNORED,
    LETTER,
    SPACE,
    Array,
    buffers,
    cached,
    class_of,
    classes,
    decode,
    kernel,
    lengths,
    starts,
)


@dataclass(frozen=True, kw_only=True)
class Boxes:
    """Boxes of all samples in a row: those of sample i are `first[i]:first[i+1]`."""

    first: Array  # int64, one more than samples
    sample: Array  # int64, the sample of each
    quads: Array  # float64, n x 8; NaN where a quad is not eight finite numbers
    medium: Array  # int64, the picture of each, counted over the whole batch; -1: none of the sample's
    width: Array  # float64, pixels of that picture; NaN where it is not known
    height: Array
    texts: pa.Array  # large_string, no nulls
    characters: Array  # int64, characters of each that are neither white space nor invisible
    leftward: Array  # bool: most of its letters are written from right to left

    def __len__(self) -> int:
        return len(self.sample)

    @property
    def whole(self) -> Array:
        """Which have a quad of eight finite numbers."""
        return np.asarray(np.isfinite(self.quads).all(axis=1))

    @property
    def bounds(self) -> tuple[Array, Array, Array, Array]:
        """Left, top, right and bottom edge of each."""
        x, y = self.quads[:, 0::2], self.quads[:, 1::2]
        return x.min(axis=1), y.min(axis=1), x.max(axis=1), y.max(axis=1)

    @property
    def sides(self) -> tuple[Array, Array]:
        """Length of each along its text and across it."""
        q = self.quads
        along = np.hypot(q[:, 2] - q[:, 0], q[:, 3] - q[:, 1]) + np.hypot(q[:, 4] - q[:, 6], q[:, 5] - q[:, 7])
        across = np.hypot(q[:, 6] - q[:, 0], q[:, 7] - q[:, 1]) + np.hypot(q[:, 4] - q[:, 2], q[:, 5] - q[:, 3])
        return along / 2, across / 2

    def count(self, which: Array) -> Array:
        """Return how many boxes of each sample `which` marks."""
        at = starts(np.asarray(which, np.int64))[self.first]
        return np.diff(at)


@kernel
def _letters(data: Array, offsets: Array, table: Array) -> tuple[Array, Array]:
    """Return per text its visible characters, and its letters from right to left less those from left to right."""
    n = len(offsets) - 1
    visible = np.zeros(n, np.int64)
    leftward = np.zeros(n, np.int64)
    for t in range(n):
        i = offsets[t]
        end = offsets[t + 1]
        while i < end:
            cp, step = decode(data, i, end)
            kind = class_of(table, cp)
            if kind & (SPACE | IGNORED) == 0 and cp >= 32:
                visible[t] += 1
                if kind & LETTER:
                    # Hebrew to Arabic Extended-A, their presentation forms, and the right-to-left blocks of plane 1
                    turned = 0x590 <= cp < 0x900 or 0xFB1D <= cp < 0xFE00 or 0xFE70 <= cp < 0xFF00
                    leftward[t] += 1 if turned or 0x10800 <= cp < 0x11000 or 0x1E800 <= cp < 0x1F000 else -1
            i += step
    return visible, leftward


def visible(texts: pa.Array) -> Array:
    """Return the characters of each text that are neither white space nor invisible."""
    raw = buffers(texts)
    return _letters(raw.data, raw.offsets, classes())[0]


def _quads(quad: pa.ListArray) -> Array:
    size = np.asarray(pc.fill_null(pc.list_value_length(quad), 0)).astype(np.int64)
    values = quad.flatten().cast(pa.float64()).to_numpy(zero_copy_only=False)
    out = np.full((len(quad), 8), np.nan)
    eight = size == 8
    out[eight] = values[(starts(size)[:-1][eight])[:, None] + np.arange(8)]
    out[~np.isfinite(out).all(axis=1)] = np.nan
    return out


def boxes(batch: pa.RecordBatch) -> Boxes:
    """Return the boxes of `batch`."""

    def make() -> Boxes:
        column = batch.column("boxes")
        flat = column.flatten()
        count = lengths(column)
        media = batch.column("media")
        pictures = media.flatten()
        size = lengths(media)
        sample = np.repeat(np.arange(batch.num_rows), count)
        index = np.asarray(pc.fill_null(flat.field("media"), -1)).astype(np.int64)
        there = (index >= 0) & (index < size[sample])
        medium = np.where(there, starts(size)[sample] + index, -1)

        def pixels(name: str) -> Array:
            values = pictures.field(name).cast(pa.float64()).to_numpy(zero_copy_only=False)
            out = np.full(len(medium), np.nan)
            out[there] = values[medium[there]]
            return out

        texts = pc.fill_null(flat.field("text"), "").cast(pa.large_string())
        raw = buffers(texts)
        characters, leftward = _letters(raw.data, raw.offsets, classes())
        return Boxes(
            first=starts(count),
            sample=sample,
            quads=_quads(flat.field("quad")),
            medium=medium,
            width=pixels("width"),
            height=pixels("height"),
            texts=texts,
            characters=characters,
            leftward=leftward > 0,
        )

    return cached(batch, "boxes", make)  # type: ignore[no-any-return]

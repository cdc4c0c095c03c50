"""What can be told of a watermark without a network: a pattern that repeats across the image, or writing along its
edge.

`overlay_repeat`  how well fine detail agrees with itself at some distance along rows or along columns, in standard
                  deviations of chance, 0 or more: high for a mark that is tiled over the picture upright. Signs of the
                  detail (a pixel less its neighbours in the row, where that is 2 levels or more) on 32 rows and 32
                  columns of the grey picture with its longer side at 256 pixels, at distances from 20 pixels to half of
                  the picture; robust to faint marks, because only signs count.
`overlay_edge`    the longest run of text-like cells in the upper or lower sixth, as a share of the width, less the
                  share of text-like cells in the whole picture, 0..1: a credit line or logo across an otherwise
                  textless picture (`filters/shared/strokes.py`).

Bounds: none by default. LAION trained a classifier on labelled marks for this and bounds its `pwatermark` at 0.8 or 0.5
(https://github.com/LAION-AI/LAION-5B-WatermarkDetection; rom1504/img2dataset README), which finds far more. Measured on
marks planted into photos (docs/results/image_filters.md), upright tiled marks and lines of credit stand out, tilted
tiles and a single faint word across the middle do not. For photos only: pages, charts, tables and shelves repeat and
carry text by themselves.

Null for a sample without images; NaN where an image cannot be decoded.
"""

from typing import Any

import numpy as np
import pyarrow as pa

from filters.base import scorer
from filters.shared.images import Images, fold
from filters.shared.planes import SIDE, Cuts
from filters.shared.strokes import strokes
from filters.shared.text import Array, borrowed, inlined, kernel

LINES = 32
WORDS = SIDE // 64
NEAR = 20  # pixels: nearer, every texture agrees with itself
FAINT = 2


def repeat(cuts: Cuts) -> Array:
    """Measure: the agreement of fine detail with itself, along rows or columns, whichever is stronger."""
    out = np.zeros((len(cuts), 1))
    small = cuts.small
    _repeats(small.data, small.first, small.height, small.width, out)
    return out


@kernel
def _sign(before: Array, here: Array, behind: Array, out: Array) -> None:
    for i in range(out.size):
        v = np.int16(2) * np.int16(here[i]) - np.int16(before[i]) - np.int16(behind[i])
        out[i] = np.uint8(v >= 2 * FAINT) + np.uint8(2) * np.uint8(v <= -2 * FAINT)


@inlined
def _column(plane: Array, x: Any, to: Array, i: Any) -> None:
    for y in range(plane.shape[0]):
        to[np.uint64(y), i] = plane[np.uint64(y), x]


@kernel
def _signs(plane: Array, turned: int, lines: int, signs: Array) -> None:
    """Fill `signs` (pixel along the line, line): 1 where a pixel is lighter than its neighbours on the line, 2
    darker."""
    height, width = plane.shape
    signs[:] = 0
    if turned:
        picked = np.empty((height, LINES), np.uint8)
        for i in range(lines):
            _column(plane, np.uint64((2 * i + 1) * width // (2 * lines)), picked, np.uint64(i))
        flat = picked.ravel()
        n = (height - 2) * LINES
        _sign(flat[:n], flat[LINES:], flat[2 * LINES :], signs.ravel()[LINES : LINES + n])
        signs[:, lines:] = 0
    else:
        one = np.empty(width - 2, np.uint8)
        for i in range(lines):
            row = plane[(2 * i + 1) * height // (2 * lines)]
            _sign(row[: width - 2], row[1:], row[2:], one)
            for x in range(width - 2):
                signs[x + 1, i] = one[x]


@kernel
def _pack(signs: Array, up: Array, any_: Array) -> None:
    """Set, for pixel x of line i, bit x % 64 of word x // 64: in `any_` where it has a sign, in `up` where it is
    lighter."""
    up[:] = 0
    any_[:] = 0
    for x in range(signs.shape[0]):
        bit = np.uint64(x & 63)
        _set(signs[x], up[x >> 6], any_[x >> 6], bit)


@inlined
def _set(signs: Array, up: Array, any_: Array, bit: Any) -> None:
    for i in range(signs.size):
        any_[i] |= np.uint64(signs[i] != 0) << bit
        up[i] |= np.uint64(signs[i] & 1) << bit


@inlined
def _ones(x: Any) -> Any:
    x = x - ((x >> np.uint64(1)) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (x * np.uint64(0x0101010101010101)) >> np.uint64(56)


@inlined
def _pairs(up: Array, any_: Array, word: int, skip: int, shift: int) -> tuple[Any, Any]:
    """Count, in one word of all lines, the pixels that have a sign as the one at the distance has, and those that
    differ."""
    right = np.uint64(shift)
    left = np.uint64(64 - shift)
    far = word + skip
    both = np.uint64(0)
    apart = np.uint64(0)
    here = any_[word]
    mine = up[word]
    low = any_[far]
    high = any_[far + 1]
    low_up = up[far]
    high_up = up[far + 1]
    for i in range(here.size):
        there = (low[i] >> right) | (high[i] << left)
        its = (low_up[i] >> right) | (high_up[i] << left)
        common = here[i] & there
        both += _ones(common)
        apart += _ones(common & (mine[i] ^ its))
    return both, apart


@kernel
def _repeats(data: Array, first: Array, heights: Array, widths: Array, out: Array) -> None:
    # One word more than a line has, so that a shifted word always has a neighbour.
    words = np.zeros((2, WORDS + 1, LINES), np.uint64)
    up, any_ = borrowed(words)[0], borrowed(words)[1]
    signs = np.zeros((SIDE, LINES), np.uint8)
    for k in range(len(heights)):
        height = heights[k]
        width = widths[k]
        if min(height, width) < 3:
            continue
        plane = data[first[k] : first[k + 1]].reshape(height, width)
        best = 0.0
        for turned in range(2):
            length = height if turned else width
            _signs(plane, turned, min(LINES, width if turned else height), signs)
            _pack(signs, up, any_)
            words_used = (length + 63) >> 6
            for distance in range(NEAR, length // 2):
                both = np.int64(0)
                apart = np.int64(0)
                skip = distance >> 6
                shift = distance & 63
                for word in range(words_used - skip):
                    a, b = _pairs(up, any_, word, skip, shift)
                    both += np.int64(a)
                    apart += np.int64(b)
                if both > 50:
                    best = max(best, (both - 2 * apart) / np.sqrt(np.float64(both)))
        out[k, 0] = best
    words[0, 0, 0] = 0  # held until here


MEASURES = (repeat, strokes)


@scorer(version=3, scores={"overlay_repeat": pa.float64(), "overlay_edge": pa.float64()}, bounds={})
def overlay(batch: pa.RecordBatch, images: Images) -> pa.RecordBatch:
    """Score each sample by its image that looks most like a marked one."""
    row, agreement = images.measure(repeat)
    _, text = images.measure(strokes)
    edge = np.maximum(text[:, 1] - text[:, 0], 0)
    return fold(batch, row, np.maximum, overlay_repeat=agreement[:, 0].round(6), overlay_edge=edge.round(6))

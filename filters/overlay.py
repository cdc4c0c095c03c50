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

import numpy as np
import pyarrow as pa

from filters.base import scorer
from filters.shared.images import Images, fold
from filters.shared.planes import Cuts
from filters.shared.strokes import strokes
from filters.shared.text import Array, kernel

LINES = 32
NEAR = 20  # pixels: nearer, every texture agrees with itself
FAINT = 2


def repeat(cuts: Cuts) -> Array:
    """Measure: the agreement of fine detail with itself, along rows or columns, whichever is stronger."""
    out = np.zeros((len(cuts), 1))
    small = cuts.small
    _repeats(small.data, small.first, small.height, small.width, out)
    return out


@kernel
def _signs(line: Array, out: Array) -> None:
    """Sign of each pixel less the mean of its neighbours; 0 where they are alike."""
    out[0] = 0
    out[-1] = 0
    for x in range(1, line.size - 1):
        v = np.int16(np.int16(2) * np.int16(line[x]) - np.int16(line[x - 1]) - np.int16(line[x + 1]))
        out[x] = np.int16(v >= 2 * FAINT) - np.int16(v <= -2 * FAINT)


@kernel
def _agree(line: Array, counts: Array, both: Array) -> None:
    """Add to `counts` how often the signs at a distance agree, less how often they differ, and to `both` how often both
    have one."""
    n = line.size
    most = counts.size
    for x in range(n - NEAR):
        v = line[x]
        if v != 0:
            room = min(most, n - NEAR - x)
            there = line[x + NEAR : x + NEAR + room]
            if v > 0:
                for d in range(room):
                    counts[d] += there[d]
                    both[d] += abs(there[d])
            else:
                for d in range(room):
                    counts[d] -= there[d]
                    both[d] += abs(there[d])


@kernel
def _repeats(data: Array, first: Array, heights: Array, widths: Array, out: Array) -> None:
    for k in range(len(heights)):
        height = heights[k]
        width = widths[k]
        if min(height, width) < 3:
            continue
        plane = data[first[k] : first[k + 1]].reshape(height, width)
        best = 0.0
        for turned in range(2):
            length = height if turned else width
            lines = min(LINES, width if turned else height)
            span = width if turned else height
            most = length // 2 - NEAR
            if most <= 0:
                continue
            counts = np.zeros(most, np.int16)
            both = np.zeros(most, np.int16)
            line = np.empty(length, np.uint8)
            signs = np.empty(length, np.int16)
            for i in range(lines):
                at = (2 * i + 1) * span // (2 * lines)
                if turned:
                    for y in range(length):
                        line[y] = plane[y, at]
                    _signs(line, signs)
                else:
                    _signs(plane[at], signs)
                _agree(signs, counts, both)
            for d in range(most):
                if both[d] > 50:
                    best = max(best, counts[d] / np.sqrt(np.float64(both[d])))
        out[k, 0] = best


MEASURES = (repeat, strokes)


@scorer(version=1, scores={"overlay_repeat": pa.float64(), "overlay_edge": pa.float64()}, bounds={})
def overlay(batch: pa.RecordBatch, images: Images) -> pa.RecordBatch:
    """Score each sample by its image that looks most like a marked one."""
    row, agreement = images.measure(repeat)
    _, text = images.measure(strokes)
    edge = np.maximum(text[:, 1] - text[:, 0], 0)
    return fold(batch, row, np.maximum, overlay_repeat=agreement[:, 0].round(6), overlay_edge=edge.round(6))

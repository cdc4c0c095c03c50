"""Sharpness of a sample's most blurred image; small means blurred.

`blur`       variance of the Laplacian of the grey levels, in squared levels, 0 or more.
`sharpness`  CleanVision's "blurry" score, 0 to 1.

`blur`: kernel 0 1 0 / 1 -4 1 / 0 1 0 over grey levels 0..255 (Pech-Pacheco et al. 2000; OpenCV's
`Laplacian(grey).var()`), taken after the longer side is brought down to 256 pixels (area averaging; a smaller image
stays as it is), because the plain measure falls with the resolution: the same photo has a tenth of the variance at four
times the size.

Bound `blur >= 100`: NeMo Curator, `stages/interleaved/filter/` (blur filter, Laplacian variance at least 100), there at
the image's own size. Smooth renderings and flat cartoons lie near the bound, blank images far below it.

`sharpness` (cleanlab/cleanvision 0.3.7, `issue_managers/image_property.py`): with the longer side at 64 pixels, 1 -
exp(-0.01 s) of the standard deviation s of the edges (Pillow's `FIND_EDGES`) plus, where it is above 0.18, 1 -
exp(-0.01 h) of the standard deviation h of the 256 counts of the grey histogram, at most 1. No default bound; theirs is
0.29. Theirs is scaled by bicubic interpolation in colour, ours by a bicubic filter over the grey plane of 256 pixels.

Null for a sample without images; NaN where an image cannot be decoded. An image under 3 pixels a side has a `blur` of
0.
"""

from typing import Any

import numpy as np
import pyarrow as pa

from filters.base import scorer
from filters.shared.images import Images, fold
from filters.shared.planes import Cuts, shrink
from filters.shared.text import Array, borrowed, inlined, kernel

TINY = 64


def detail(cuts: Cuts) -> Array:
    """Measure: variance of the Laplacian; at 64 pixels, variance of the edges and standard deviation of the
    histogram."""
    out = np.zeros((len(cuts), 3))
    small = cuts.small
    _details(small.data, small.first, small.height, small.width, out)
    return out


@kernel
def _details(data: Array, first: Array, heights: Array, widths: Array, out: Array) -> None:
    for k in range(len(heights)):
        flat = data[first[k] : first[k + 1]]
        plane = flat.reshape(heights[k], widths[k])
        out[k, 0] = _laplacian(flat, heights[k], widths[k])
        ratio = max(heights[k], widths[k]) / TINY
        if ratio > 1:
            tiny = np.empty((max(int(heights[k] // ratio), 1), max(int(widths[k] // ratio), 1)), np.uint8)
            shrink(plane, tiny)
            out[k, 1], out[k, 2] = _edges(tiny)
        else:
            out[k, 1], out[k, 2] = _edges(plane)


@kernel
def _edges(tiny: Array) -> tuple[float, float]:
    """Return the variance of the edges and the standard deviation of the histogram."""
    height, width = tiny.shape
    counts = np.zeros(256, np.int64)
    total = np.int64(0)
    squares = np.int64(0)
    buffer = np.empty(width, np.int16)
    plane, row = borrowed(tiny), borrowed(buffer)
    for y in range(height):
        here = plane[y]
        for x in range(width):
            counts[np.uint64(here[x])] += 1
            row[x] = here[x]  # Pillow leaves the outermost pixels as they are
        if 0 < y < height - 1 and width > 2:
            _edge(plane[y - 1], here, plane[y + 1], row[1 : width - 1])
        a, b = _total(row)
        total += a
        squares += b
    buffer[0] = 0  # held until here
    n = np.float64(height * width)
    mean = n / 256
    s = 0.0
    for level in range(256):
        s += (counts[level] - mean) * (counts[level] - mean)
    return max(squares / n - (total / n) * (total / n), 0.0), np.sqrt(s / 256)


@inlined
def _edge(above: Array, here: Array, below: Array, out: Array) -> None:
    for x in range(out.size):
        left = np.int16(above[x]) + np.int16(here[x]) + np.int16(below[x])
        right = np.int16(above[x + 2]) + np.int16(here[x + 2]) + np.int16(below[x + 2])
        middle = np.int16(above[x + 1]) + np.int16(here[x + 1]) + np.int16(below[x + 1])
        v = np.int16(9) * np.int16(here[x + 1]) - np.int16(left + right + middle)
        out[x] = min(max(v, 0), 255)


@inlined
def _total(values: Array) -> tuple[Any, Any]:
    """Return the sum and the sum of squares; both fit into 32 bits for a row of 256 Laplacians of at most 1,020."""
    total = np.int32(0)
    squares = np.int32(0)
    for x in range(values.size):
        v = np.int32(values[x])
        total = np.int32(total + v)
        squares = np.int32(squares + np.int32(v * v))
    return total, squares


@inlined
def _fill(above: Array, left: Array, here: Array, right: Array, below: Array, out: Array) -> None:
    for i in range(out.size):
        beside = np.int16(left[i]) + np.int16(right[i])
        out[i] = np.int16(above[i]) + np.int16(below[i]) + beside - np.int16(4) * np.int16(here[i])


@kernel
def _laplacian(flat: Array, height: int, width: int) -> float:
    if height < 3 or width < 3:
        return 0.0
    buffer = np.empty(width - 2, np.int16)
    data, row = borrowed(flat), borrowed(buffer)
    total = np.int64(0)
    squares = np.int64(0)
    for y in range(1, height - 1):
        at = y * width
        _fill(data[at - width + 1 :], data[at:], data[at + 1 :], data[at + 2 :], data[at + width + 1 :], row)
        a, b = _total(row)
        total += a
        squares += b
    buffer[0] = 0  # held until here
    inner = np.float64((height - 2) * (width - 2))
    mean = total / inner
    return max(squares / inner - mean * mean, 0.0)


MEASURES = (detail,)


@scorer(version=4, scores={"blur": pa.float64(), "sharpness": pa.float64()}, bounds={"blur": (100.0, None)})
def blur(batch: pa.RecordBatch, images: Images) -> pa.RecordBatch:
    """Score each sample by the sharpness of its most blurred image."""
    row, values = images.measure(detail)
    laplacian, edges, histogram = values.T
    flat = 1 - np.exp(-0.01 * histogram)
    sharp = np.minimum(1 - np.exp(-0.01 * np.sqrt(edges)) + np.where(flat <= 0.18, 0.0, flat), 1.0)
    return fold(batch, row, np.minimum, blur=laplacian.round(6), sharpness=sharp.round(6))

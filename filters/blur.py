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
from filters.shared.text import Array, kernel

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
    for y in range(height):
        for x in range(width):
            counts[tiny[y, x]] += 1
            v: Any = np.int64(tiny[y, x])  # Pillow leaves the outermost pixels as they are
            if 0 < y < height - 1 and 0 < x < width - 1:
                around = np.int64(0)
                for j in range(y - 1, y + 2):
                    around += np.int64(tiny[j, x - 1]) + np.int64(tiny[j, x]) + np.int64(tiny[j, x + 1])
                v = min(max(9 * v - around, 0), 255)
            total += v
            squares += v * v
    n = np.float64(height * width)
    mean = n / 256
    s = 0.0
    for level in range(256):
        s += (counts[level] - mean) * (counts[level] - mean)
    return max(squares / n - (total / n) * (total / n), 0.0), np.sqrt(s / 256)


@kernel
def _total(values: Array) -> tuple[Any, Any]:
    """Return the sum and the sum of squares; both fit into 32 bits for a row of 256 Laplacians of at most 1,020."""
    total = np.int32(0)
    squares = np.int32(0)
    for x in range(values.size):
        v = np.int32(values[x])
        total = np.int32(total + v)
        squares = np.int32(squares + np.int32(v * v))
    return total, squares


@kernel
def _fill(above: Array, left: Array, here: Array, right: Array, below: Array, out: Array) -> None:
    for i in range(out.size):
        beside = np.int16(left[i]) + np.int16(right[i])
        out[i] = np.int16(above[i]) + np.int16(below[i]) + beside - np.int16(4) * np.int16(here[i])


@kernel
def _laplacian(flat: Array, height: int, width: int) -> float:
    if height < 3 or width < 3:
        return 0.0
    # Over all rows at a stretch, which a processor does quickest; the first and the last pixel of a row come out wrong.
    n = (height - 2) * width
    out = np.empty(n, np.int16)
    _fill(flat[:n], flat[width - 1 :], flat[width:], flat[width + 1 :], flat[2 * width :], out)
    total = np.int64(0)
    squares = np.int64(0)
    for y in range(height - 2):
        out[y * width] = 0
        out[y * width + width - 1] = 0
        a, b = _total(out[y * width : y * width + width])
        total += a
        squares += b
    inner = np.float64((height - 2) * (width - 2))
    mean = total / inner
    return max(squares / inner - mean * mean, 0.0)


MEASURES = (detail,)


@scorer(version=2, scores={"blur": pa.float64(), "sharpness": pa.float64()}, bounds={"blur": (100.0, None)})
def blur(batch: pa.RecordBatch, images: Images) -> pa.RecordBatch:
    """Score each sample by the sharpness of its most blurred image."""
    row, values = images.measure(detail)
    laplacian, edges, histogram = values.T
    flat = 1 - np.exp(-0.01 * histogram)
    sharp = np.minimum(1 - np.exp(-0.01 * np.sqrt(edges)) + np.where(flat <= 0.18, 0.0, flat), 1.0)
    return fold(batch, row, np.minimum, blur=laplacian.round(6), sharpness=sharp.round(6))

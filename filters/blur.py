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

import functools
import math

import numpy as np
import pyarrow as pa

from filters.base import scorer
from filters.shared.images import Images, fold
from filters.shared.planes import Cuts
from filters.shared.text import Array, kernel

TINY = 64


def detail(cuts: Cuts) -> Array:
    """Measure: variance of the Laplacian; at 64 pixels, variance of the edges and standard deviation of the
    histogram."""
    out = np.zeros((len(cuts), 3))
    for k in range(len(cuts)):
        plane = cuts.small[k]
        height, width = plane.shape
        half = int(max(height, width) >= 3 * TINY)  # a 2 x 2 mean first: half the work, and next to no difference
        height, width = max(height >> half, 1), max(width >> half, 1)
        ratio = max(height, width, TINY) / TINY
        to = max(int(height // ratio), 1), max(int(width // ratio), 1)
        _detail(plane, half, *_bicubic(height, to[0]), *_bicubic(width, to[1]), out[k])
    return out


@functools.lru_cache(maxsize=1024)
def _bicubic(size: int, to: int) -> tuple[Array, Array]:
    """Return where each of `to` outputs begins among `size` inputs and its weights, of 4096: Pillow's bicubic filter (a
    = -0.5)."""
    scale = size / to
    taps = min(size, 2 * math.ceil(2 * scale) + 1)
    centre = (np.arange(to) + 0.5) * scale
    start = np.clip(np.floor(centre - 2 * scale + 0.5), 0, size - taps).astype(np.int64)
    x = np.abs((start[:, None] + np.arange(taps) + 0.5 - centre[:, None]) / scale)
    near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    weight = np.where(x < 1, near, np.where(x < 2, far, 0.0))
    return start, np.round(weight / weight.sum(1, keepdims=True) * 4096).astype(np.int32)


@kernel
def _detail(plane: Array, half: int, top: Array, down: Array, left: Array, across: Array, out: Array) -> None:
    out[0] = _laplacian(plane)
    if half:
        smaller = np.empty((max(plane.shape[0] // 2, 1), max(plane.shape[1] // 2, 1)), np.uint8)
        last = plane.shape[1] - 1
        for y in range(smaller.shape[0]):
            above = plane[2 * y]
            below = plane[min(2 * y + 1, plane.shape[0] - 1)]
            to = smaller[y]
            if last > 0:
                for x in range(to.size):
                    s = (
                        np.int32(above[2 * x])
                        + np.int32(above[2 * x + 1])
                        + np.int32(below[2 * x])
                        + np.int32(below[2 * x + 1])
                    )
                    to[x] = (s + np.int32(2)) >> np.int32(2)
            else:
                to[0] = above[0]
        plane = smaller
    tiny = _scaled(plane, top, down, left, across)
    height, width = tiny.shape
    counts = np.zeros(256, np.int64)
    total = np.int64(0)
    squares = np.int64(0)
    for y in range(height):
        for x in range(width):
            counts[tiny[y, x]] += 1
            v = np.int64(tiny[y, x])  # Pillow leaves the outermost pixels as they are
            if 0 < y < height - 1 and 0 < x < width - 1:
                around = np.int64(0)
                for j in range(y - 1, y + 2):
                    around += np.int64(tiny[j, x - 1]) + np.int64(tiny[j, x]) + np.int64(tiny[j, x + 1])
                v = min(max(9 * v - around, 0), 255)
            total += v
            squares += v * v
    n = np.float64(height * width)
    out[1] = max(squares / n - (total / n) * (total / n), 0.0)
    mean = n / 256
    s = 0.0
    for level in range(256):
        s += (counts[level] - mean) * (counts[level] - mean)
    out[2] = np.sqrt(s / 256)


@kernel
def _scaled(plane: Array, top: Array, down: Array, left: Array, across: Array) -> Array:
    out = np.empty((top.size, left.size), np.uint8)
    total = np.empty(plane.shape[1], np.int32)
    for i in range(top.size):
        total[:] = 0
        for k in range(down.shape[1]):
            _weigh(total, plane[top[i] + k], down[i, k])
        for x in range(total.size):
            total[x] = (total[x] + np.int32(128)) >> np.int32(8)  # sixteenths
        for j in range(left.size):
            begin = left[j]
            s = np.int32(0)
            for k in range(across.shape[1]):
                s += across[j, k] * total[begin + k]
            out[i, j] = min(max((s + np.int32(32768)) >> np.int32(16), 0), 255)
    return out


@kernel
def _weigh(total: Array, row: Array, weight: int) -> None:
    w = np.int32(weight)
    for x in range(total.size):
        total[x] += w * np.int32(row[x])


@kernel
def _row(above: Array, here: Array, below: Array) -> tuple[int, int]:
    total = np.int32(0)
    squares = np.int64(0)
    for x in range(1, here.size - 1):
        v = np.int32(
            np.int32(above[x])
            + np.int32(below[x])
            + np.int32(here[x - 1])
            + np.int32(here[x + 1])
            - np.int32(4) * np.int32(here[x])
        )
        total += v
        squares += np.int32(v * v)
    return total, squares


@kernel
def _laplacian(plane: Array) -> float:
    height, width = plane.shape
    if height < 3 or width < 3:
        return 0.0
    total = np.int64(0)
    squares = np.int64(0)
    for y in range(1, height - 1):
        a, b = _row(plane[y - 1], plane[y], plane[y + 1])
        total += a
        squares += b
    n = np.float64((height - 2) * (width - 2))
    mean = total / n
    return max(squares / n - mean * mean, 0.0)


MEASURES = (detail,)


@scorer(version=2, scores={"blur": pa.float64(), "sharpness": pa.float64()}, bounds={"blur": (100.0, None)})
def blur(batch: pa.RecordBatch, images: Images) -> pa.RecordBatch:
    """Score each sample by the sharpness of its most blurred image."""
    row, values = images.measure(detail)
    laplacian, edges, histogram = values.T
    flat = 1 - np.exp(-0.01 * histogram)
    sharp = np.minimum(1 - np.exp(-0.01 * np.sqrt(edges)) + np.where(flat <= 0.18, 0.0, flat), 1.0)
    return fold(batch, row, np.minimum, blur=laplacian.round(6), sharpness=sharp.round(6))

"""How much the 8 x 8 grid of JPEG shows in a sample's worst image: the coarser the quantisation, the more.

`blockiness`    mean difference of neighbouring pixels across the lines of an 8 x 8 grid, over the mean difference
                elsewhere: a ratio, about 1 without a grid. The grid may lie anywhere (all 8 offsets are tried, rows and
                columns apart, and the larger is taken), so that a crop of a bad JPEG, or one saved again as PNG, is
                found; where the image was scaled after it was compressed it is not.
`jpeg_quality`  the no-reference quality score of Wang, Sheikh and Bovik 2002 ("No-reference perceptual quality
                assessment of JPEG compressed images", ICIP, doi 10.1109/ICIP.2002.1038064), about 1 (bad) to 10, for a
                grid that begins at the image's corner: -245.9 + 261.9 B^-0.0240 A^0.0160 Z^0.0064, with the blockiness
                B, activity A and zero-crossing rate Z of the paper, averaged over both directions.

Bound `blockiness <= 2`: ours, see docs/results/image_filters.md: JPEG of quality 30 and more stays below on nearly all
photos, quality 10 lies above. No bound on `jpeg_quality`: it was fitted to photos; charts and pages, whose flat areas
have no activity, get low values.

Measured on the middle 256 x 256 pixels (every second row, and the left half for the columns' direction).

Null for a sample without images; NaN where an image cannot be decoded. An image under 16 pixels a side has a
`blockiness` of 1 and a `jpeg_quality` of 10.
"""

from typing import Any

import numpy as np
import pyarrow as pa

from filters.base import scorer
from filters.shared.images import Images, fold
from filters.shared.planes import BLOCK, Cuts
from filters.shared.text import Array, borrowed, inlined, kernel

LEAST = 0.5  # levels: a difference that is too small to see makes no grid


def grid(cuts: Cuts) -> Array:
    """Measure: blockiness, and quality after Wang et al."""
    out = np.zeros((len(cuts), 2))
    _grids(cuts.window.data, cuts.window.first, cuts.window.height, cuts.window.width, out)
    return out


@kernel
def _grids(data: Array, first: Array, heights: Array, widths: Array, out: Array) -> None:
    for k in range(len(heights)):
        height = heights[k]
        width = widths[k]
        if height < 2 * BLOCK or width < 2 * BLOCK:
            out[k, 0] = 1.0
            out[k, 1] = 10.0
            continue
        flat = data[first[k] : first[k + 1]]
        kept = np.zeros(width, np.uint16)  # |pixel - the one to its right|, summed over at most 128 rows
        changes = np.zeros(width, np.uint8)
        plane, steps, turned = borrowed(flat), borrowed(kept), borrowed(changes)
        lines = 0
        # Rows at their full width, one byte into the next one: the last two columns come out wrong and are left out.
        for y in range(0, height - 1, 2):
            row = plane[y * width :]
            _steps(row[:width], row[1:], row[2:], steps, turned)
            lines += 1
        half = max(width // 2, 2 * BLOCK)
        falls = np.zeros(height - 1, np.int32)  # |row - the one below|, summed over pixels
        bends = np.int64(0)
        for y in range(height - 1):
            here = plane[y * width : y * width + half]
            below = plane[(y + 1) * width : (y + 1) * width + half]
            falls[y] = _falls(here, below)
            if y % 2:
                bends += _bends(plane[(y - 1) * width : (y - 1) * width + half], here, below)
        out[k, 0] = max(_contrast(steps[: width - 1], lines), _contrast(falls, half))
        b1, a1 = _wang(steps[: width - 1], lines)
        b2, a2 = _wang(falls, half)
        z1 = turned[: width - 2].sum() / (lines * (width - 2.0))
        z2 = bends / (((height - 1) // 2) * np.float64(half))
        b = max((b1 + b2) / 2, 1e-2)
        a = max((a1 + a2) / 2, 1e-2)
        z = max((z1 + z2) / 2, 1e-3)
        kept[0] = changes[0] = 0  # held until here
        out[k, 1] = -245.9 + 261.9 * b**-0.0240 * a**0.0160 * z**0.0064


@inlined
def _steps(here: Array, right: Array, beyond: Array, steps: Array, turned: Array) -> None:
    for x in range(steps.size):
        a = here[x]
        b = right[x]
        steps[x] += np.uint16(max(a, b)) - np.uint16(min(a, b))
    for x in range(turned.size):
        a = here[x]
        b = right[x]
        c = beyond[x]
        turned[x] += np.uint8(((a < b) & (b > c)) | ((a > b) & (b < c)))


@inlined
def _falls(here: Array, below: Array) -> Any:
    total = np.int32(0)
    for x in range(here.size):
        total = np.int32(total + np.int32(abs(np.int32(below[x]) - np.int32(here[x]))))
    return total


@inlined
def _bends(above: Array, here: Array, below: Array) -> Any:
    total = np.int32(0)
    for x in range(here.size):
        a = above[x]
        b = here[x]
        c = below[x]
        total = np.int32(total + np.int32(((a < b) & (b > c)) | ((a > b) & (b < c))))
    return total


@kernel
def _contrast(sums: Array, each: int) -> float:
    """Mean step at the strongest of the 8 offsets over the mean step at the others."""
    phase = np.zeros(BLOCK)
    n = np.zeros(BLOCK)
    for i in range(sums.size):
        phase[i % BLOCK] += sums[i]
        n[i % BLOCK] += each
    best = 0.0
    for p in range(BLOCK):
        on = phase[p] / n[p]
        off = (phase.sum() - phase[p]) / (n.sum() - n[p])
        best = max(best, (on + LEAST) / (off + LEAST))
    return best


@kernel
def _wang(sums: Array, each: int) -> tuple[float, float]:
    """B and A of Wang et al. in one direction; the window begins at a multiple of 8."""
    on = 0.0
    n = 0
    for i in range(BLOCK - 1, sums.size, BLOCK):
        on += sums[i]
        n += 1
    b = on / (n * each)
    a = (BLOCK * (sums.sum() / (np.float64(sums.size) * each)) - b) / (BLOCK - 1)
    return b, a


MEASURES = (grid,)


@scorer(
    version=2,
    scores={"blockiness": pa.float64(), "jpeg_quality": pa.float64()},
    bounds={"blockiness": (None, 2.0)},
)
def blockiness(batch: pa.RecordBatch, images: Images) -> pa.RecordBatch:
    """Score each sample by the JPEG grid in its worst image."""
    row, values = images.measure(grid)
    worst = fold(batch, row, np.maximum, blockiness=values[:, 0].round(6))
    quality = fold(batch, row, np.minimum, jpeg_quality=values[:, 1].round(6))
    return pa.RecordBatch.from_arrays([*worst.columns, *quality.columns], names=["blockiness", "jpeg_quality"])

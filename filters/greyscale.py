"""How much colour there is in a sample's least coloured image, however its file is coded.

`coloured`       share of pixels whose largest and smallest channel lie more than 16 levels apart, 0 to 1. A JPEG of a
                 grey picture strays by up to about 8.
`colourfulness`  metric M3 of Hasler and Suesstrunk 2003 ("Measuring colourfulness in natural images", SPIE 5007), in
                 grey levels: with rg = r - g and yb = (r + g) / 2 - b, the root of the sum of their variances, plus 0.3
                 times the root of the sum of their squared means. 0 grey, about 15 slightly, 33 moderately, 45
                 averagely, 59 quite colourful.

No default bound: grey scans, charts and photos are good data. `coloured: {min: 0.01}` keeps pictures with colour in
them. CleanVision (cleanlab/cleanvision 0.3.7, `issue_managers/image_property.py`, "grayscale") looks at the file's mode
only: a grey picture in a colour file passes there; a file of mode L has 0 by both scores here.

Over a lattice of at most 16,384 pixels (`filters/shared/planes.py`). Null for a sample without images; NaN where an
image cannot be decoded.
"""

import numpy as np
import pyarrow as pa

from filters.base import scorer
from filters.shared.images import Images, fold
from filters.shared.planes import Cuts
from filters.shared.text import Array, kernel

APART = 16
PART = 8192  # pixels: their squares of at most 510 x 510 add up to less than 2^31


def colours(cuts: Cuts) -> Array:
    """Measure: pixels, coloured pixels, and the sums and sums of squares of rg and of 2 yb."""
    out = np.zeros((len(cuts), 6), np.int64)
    _sums(cuts.lattice.data, cuts.lattice.first, out)
    return out


@kernel
def _sums(data: Array, first: Array, out: Array) -> None:
    for k in range(len(first) - 1):
        sums = out[k]
        sums[0] = first[k + 1] - first[k]
        for begin in range(first[k], first[k + 1], PART):
            _part(data[begin : min(begin + PART, first[k + 1])], sums)


@kernel
def _part(pixels: Array, sums: Array) -> None:
    """Add the sums of at most `PART` pixels: they fit into 32 bits, of which a processor adds up many at a time."""
    coloured = np.int32(0)
    rg1 = np.int32(0)
    rg2 = np.int32(0)
    yb1 = np.int32(0)
    yb2 = np.int32(0)
    for i in range(pixels.size):
        v = pixels[i]
        red = np.int32(v & np.uint32(255))
        green = np.int32((v >> np.uint32(8)) & np.uint32(255))
        blue = np.int32((v >> np.uint32(16)) & np.uint32(255))
        rg = np.int32(red - green)
        yb = np.int32(red + green - np.int32(blue + blue))
        apart = max(max(red, green), blue) - min(min(red, green), blue) > np.int32(APART)
        coloured = np.int32(coloured + np.int32(apart))
        rg1 = np.int32(rg1 + rg)
        rg2 = np.int32(rg2 + np.int32(rg * rg))
        yb1 = np.int32(yb1 + yb)
        yb2 = np.int32(yb2 + np.int32(yb * yb))
    sums[1] += coloured
    sums[2] += rg1
    sums[3] += rg2
    sums[4] += yb1
    sums[5] += yb2


MEASURES = (colours,)


@scorer(version=1, scores={"coloured": pa.float64(), "colourfulness": pa.float64()}, bounds={})
def greyscale(batch: pa.RecordBatch, images: Images) -> pa.RecordBatch:
    """Score each sample by the colour of its least coloured image."""
    row, sums = images.measure(colours)
    n, coloured, rg, rg2, yb, yb2 = sums.T.astype(np.float64)
    n = np.where(n > 0, n, np.nan)
    rg, yb = rg / n, yb / n / 2
    spread = np.sqrt(np.maximum(rg2 / n - rg * rg, 0) + np.maximum(yb2 / n / 4 - yb * yb, 0))
    full = spread + 0.3 * np.sqrt(rg * rg + yb * yb)
    return fold(batch, row, np.minimum, coloured=(coloured / n).round(6), colourfulness=full.round(6))

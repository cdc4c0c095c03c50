"""Sharpness of a sample's most blurred image: variance of the Laplacian of its grey levels; small means blurred.

Kernel 0 1 0 / 1 -4 1 / 0 1 0 over grey levels 0..255 (Pech-Pacheco et al. 2000; OpenCV's `Laplacian(grey).var()`), taken
after the longer side is brought down to `side` pixels (area averaging; a smaller image stays as it is), because the plain
measure falls with the resolution: the same photo has a tenth of the variance at four times the size.

Bound `blur >= 100`: NeMo Curator, `stages/interleaved/filter/` (blur filter, Laplacian variance at least 100), there at
the image's own size. Smooth renderings and flat cartoons lie near the bound, blank images far below it.

Null for a sample without images; NaN where an image cannot be decoded. An image under 3 pixels a side scores 0.
"""

import functools

import numpy as np
import pyarrow as pa

from filters.base import scorer
from filters.shared.images import Images, Pixels, fold, grey, shrink


def _sharpness(picture: Pixels, side: int) -> tuple[float]:
    g = shrink(grey(picture), side).astype(np.int32)
    if min(g.shape) < 3:
        return (0.0,)
    centre = g[1:-1, 1:-1]
    laplacian = (g[:-2, 1:-1] + g[2:, 1:-1] + g[1:-1, :-2] + g[1:-1, 2:] - 4 * centre).astype(np.int64)
    # In integers up to the last division: the same on every machine.
    n, total, squares = laplacian.size, int(laplacian.sum()), int((laplacian * laplacian).sum())
    return (round(squares / n - (total / n) ** 2, 6),)


@scorer(version=1, scores={"blur": pa.float64()}, bounds={"blur": (100.0, None)})
def blur(batch: pa.RecordBatch, images: Images, *, side: int = 256) -> pa.RecordBatch:
    """Score each sample by the variance of the Laplacian of its most blurred image."""
    row, values = images.measure(functools.partial(_sharpness, side=side), 1)
    return fold(batch, row, np.minimum, blur=values[:, 0])

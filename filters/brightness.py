"""How dark and how light a sample's images are, as perceived.

`brightness_99`  the brightness below which 99 % of the pixels of the darkest image lie, 0 to 1: small means that all of
it is dark.
`brightness_5`   the brightness below which 5 % of the pixels of the lightest image lie, 0 to 1: large means that nearly
all of it is light.

The brightness of a pixel is the root of 0.241 r^2 + 0.691 g^2 + 0.068 b^2 with r, g and b from 0 to 1 (Finley 2006,
"HSP color model", https://alienryderflex.com/hsp.html).

Bound `brightness_99 >= 0.32`: CleanVision's "dark" (cleanlab/cleanvision 0.3.7, `issue_managers/image_property.py`:
threshold 0.32 of that percentile). No bound on `brightness_5`: CleanVision calls an image "light" whose score, 1 less
that percentile, is under 0.05, so `brightness_5: {max: 0.95}` is its bound; a page, a chart or a product on white has
1.0 and is none the worse for it.

Percentiles are read off 1,024 steps over a lattice of at most 16,384 pixels (`filters/shared/planes.py`). Left out of
the source: its other percentiles, and pixels of palette and transparent images as they are stored (here they are seen
as RGB on white).

Null for a sample without images; NaN where an image cannot be decoded.
"""

import numpy as np
import pyarrow as pa

from filters.base import scorer
from filters.shared.images import Images, fold
from filters.shared.levels import LIGHT_5, LIGHT_99, levels

MEASURES = (levels,)


@scorer(
    version=1,
    scores={"brightness_99": pa.float64(), "brightness_5": pa.float64()},
    bounds={"brightness_99": (0.32, None)},
)
def brightness(batch: pa.RecordBatch, images: Images) -> pa.RecordBatch:
    """Score each sample by the high percentile of its darkest and the low percentile of its lightest image."""
    row, found = images.measure(levels)
    dark = fold(batch, row, np.minimum, brightness_99=found[:, LIGHT_99].round(6))
    bright = fold(batch, row, np.maximum, brightness_5=found[:, LIGHT_5].round(6))
    return pa.RecordBatch.from_arrays([*dark.columns, *bright.columns], names=["brightness_99", "brightness_5"])

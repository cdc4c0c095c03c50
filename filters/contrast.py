"""Contrast of a sample's flattest image: how far apart its dark and its light pixels lie.

`contrast`  the grey level below which 99 % of the pixels lie, less the one below which 1 % lie, over 255: 0 to 1.

No default bound. scikit-image calls a picture of low contrast when the 1st and the 99th percentile lie within 5 % of
the range (`skimage.exposure.is_low_contrast`, `fraction_threshold=0.05`,
https://scikit-image.org/docs/stable/api/skimage.exposure.html): `contrast: {min: 0.05}` is that bound. A white page
with little print on it has up to 0 by this measure, because its ink is under 1 % of its pixels: bound
`image_entropy.image_std` there.

Counted over a lattice of at most 16,384 pixels (`filters/shared/planes.py`).

Null for a sample without images; NaN where an image cannot be decoded.
"""

import numpy as np
import pyarrow as pa

from filters.base import scorer
from filters.shared.images import Images, fold
from filters.shared.levels import GREY_1, GREY_99, levels

MEASURES = (levels,)


@scorer(version=1, scores={"contrast": pa.float64()}, bounds={})
def contrast(batch: pa.RecordBatch, images: Images) -> pa.RecordBatch:
    """Score each sample by the range of grey levels of its flattest image."""
    row, found = images.measure(levels)
    return fold(batch, row, np.minimum, contrast=((found[:, GREY_99] - found[:, GREY_1]) / 255).round(6))

"""Shortest side of a sample's smallest image, in pixels. No image is decoded: `media.width` and `media.height` are read.

Bound `image_size >= 200`: DataComp's basic filtering (Gadre et al. 2023, arXiv 2304.14108; `min(height, width) >= 200`
in mlfoundations/datacomp `baselines/apply_filter.py`). It was chosen for photos from the web: lower it for icons, small
charts and rendered formulas.

Null for a sample without images; NaN where an image has no known size. Left out of the source: its language and caption
rules, which are filters of their own.
"""

import numpy as np
import pyarrow as pa

from filters.base import scorer
from filters.shared.images import fold, sizes


@scorer(version=1, scores={"image_size": pa.float64()}, bounds={"image_size": (200.0, None)})
def image_size(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Score each sample by the shortest side of its smallest image."""
    row, width, height = sizes(batch)
    return fold(batch, row, np.minimum, image_size=np.minimum(width, height))

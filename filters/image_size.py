"""How large a sample's images are, in pixels. No image is decoded: `media.width` and `media.height` are read.

`image_size`        shortest side of the smallest image.
`image_width_top`   width of the widest image.
`image_height_top`  height of the tallest.

Bound `image_size >= 200`: DataComp's basic filtering (Gadre et al. 2023, arXiv 2304.14108; `min(height, width) >= 200`
in mlfoundations/datacomp `baselines/apply_filter.py`). It was chosen for photos from the web: lower it for icons, small
charts and rendered formulas. No bound on the others: Data-Juicer's LLaVA recipe has at most 727 and 606 pixels
(`configs/data_juicer_recipes/llava-pretrain-refine.yaml`, `image_shape_filter`), three standard deviations of that data
set, there for any image of a sample, here for all.

Null for a sample without images; NaN where an image has no known size. Left out of DataComp's: its language and caption
rules, which are filters of their own.
"""

import numpy as np
import pyarrow as pa

from filters.base import scorer
from filters.shared.images import fold, sizes


@scorer(
    version=2,
    scores={"image_size": pa.float64(), "image_width_top": pa.float64(), "image_height_top": pa.float64()},
    bounds={"image_size": (200.0, None)},
)
def image_size(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Score each sample by the sides of its images."""
    row, width, height = sizes(batch)
    least = fold(batch, row, np.minimum, image_size=np.minimum(width, height))
    most = fold(batch, row, np.maximum, image_width_top=width, image_height_top=height)
    return pa.RecordBatch.from_arrays([*least.columns, *most.columns], names=[*least.schema.names, *most.schema.names])

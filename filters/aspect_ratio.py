"""Longer side over shorter side of a sample's most elongated image, 1 or more. No image is decoded.

Bound `aspect_ratio <= 3.0`: DataComp's basic filtering (Gadre et al. 2023, arXiv 2304.14108; mlfoundations/datacomp
`baselines/apply_filter.py`): banners, rules and strips of icons. Data-Juicer's LLaVA recipe has the same range, 1/3 to 3
(`configs/data_juicer_recipes/llava-pretrain-refine.yaml`), but keeps a sample when any image passes; here all must.
Receipts are often taller than 3:1: raise it for them.

Null for a sample without images; NaN where an image has no known size.
"""

import numpy as np
import pyarrow as pa

from filters.base import scorer
from filters.shared.images import fold, sizes


@scorer(version=1, scores={"aspect_ratio": pa.float64()}, bounds={"aspect_ratio": (None, 3.0)})
def aspect_ratio(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Score each sample by the aspect ratio of its most elongated image."""
    row, width, height = sizes(batch)
    shorter = np.minimum(width, height)
    ratio = np.divide(np.maximum(width, height), shorter, out=np.full(len(row), np.nan), where=shorter > 0)
    return fold(batch, row, np.maximum, aspect_ratio=ratio)

"""Size of a sample's image files as they are stored. No image is decoded: `media.size` is read.

`image_bytes`      bytes of the smallest image file.
`image_bytes_top`  bytes of the largest.

Bound `image_bytes >= 5120`: LAION-400M leaves out images of less than 5 KB (Schuhmann et al. 2021, arXiv 2111.02114).
No bound on `image_bytes_top`: Data-Juicer's LLaVA recipe has at most 124 KB
(`configs/data_juicer_recipes/llava-pretrain-refine.yaml`, `image_size_filter`), three standard deviations of that data
set; it is `image_bytes_top: {max: 126976}`, there for any image of a sample, here for all. A KB is 1,024 bytes. Charts
and formulas as PNG are often smaller than 5 KB and good: lower it for them.

Null for a sample without images; NaN where a size is not known.
"""

import numpy as np
import pyarrow as pa

from filters.base import scorer
from filters.shared.images import fold, media


@scorer(
    version=1,
    scores={"image_bytes": pa.float64(), "image_bytes_top": pa.float64()},
    bounds={"image_bytes": (5120.0, None)},
)
def image_bytes(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Score each sample by the bytes of its smallest and its largest image file."""
    row, size = media(batch, "size")
    least = fold(batch, row, np.minimum, image_bytes=size)
    most = fold(batch, row, np.maximum, image_bytes_top=size)
    return pa.RecordBatch.from_arrays([*least.columns, *most.columns], names=["image_bytes", "image_bytes_top"])

"""How sure the OCR engine was.

Looks at the boxes that bear a confidence. Applies to every sample that has such a box; null for boxes drawn by hand and
for samples without boxes.

- `mean` (0..1): mean confidence of the boxes. Bound: at least 0.5.
- `lowest` (0..1): the lowest one. No bound.

Source of the bound: 0.5 is PaddleOCR's `drop_score`, https://github.com/PaddlePaddle/PaddleOCR (tools/infer/utility.py), which
applies to single boxes; taking it for a page's mean is ours, no paper gives a number for pages. A NaN confidence makes
both scores NaN. Left out: nothing.
"""

import numpy as np
import pyarrow as pa

from filters.base import scorer
from filters.shared.text import column, lengths, ratio, table


@scorer(version=1, scores={"mean": pa.float64(), "lowest": pa.float64()}, bounds={"mean": (0.5, None)})
def ocr_confidence(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Score the boxes of `batch`."""
    boxes = batch.column("boxes")
    confidence = boxes.flatten().field("confidence")
    there = np.asarray(confidence.is_valid())
    values = np.asarray(confidence.fill_null(0.0)).astype(np.float64)
    sample = np.repeat(np.arange(batch.num_rows), lengths(boxes))[there]
    values = values[there]
    count = np.bincount(sample, minlength=batch.num_rows)
    lowest = np.full(batch.num_rows, np.inf)
    with np.errstate(invalid="ignore"):  # NaN stays NaN
        np.minimum.at(lowest, sample, values)
    return table(
        mean=column(ratio(np.bincount(sample, values, batch.num_rows), count), count > 0, pa.float64()),
        lowest=column(np.where(count > 0, lowest, 0.0), count > 0, pa.float64()),
    )

"""How sure the OCR engine was.

Looks at the boxes that bear a confidence. Applies to every sample that has such a box; null for boxes drawn by hand and for
samples without boxes.

- `mean` (0..1): mean confidence of the boxes. Bound: at least 0.5.
- `lowest` (0..1): the lowest one. No bound.
- `weak` (0..1): share of the visible characters that stand in boxes with a confidence below `drop_score` (0.5); null without a
  character. No bound: it says how much of the text dropping such boxes would cost.

Source of the bound: 0.5 is PaddleOCR's `drop_score`, https://github.com/PaddlePaddle/PaddleOCR (tools/infer/utility.py), which
applies to single boxes; taking it for a page's mean is ours, no paper gives a number for pages. A NaN confidence makes all
scores NaN. Left out: nothing.
"""

import numpy as np
import pyarrow as pa

from filters.base import scorer
from filters.shared.boxes import boxes
from filters.shared.text import column, ratio, table


@scorer(
    version=2,
    scores={"mean": pa.float64(), "lowest": pa.float64(), "weak": pa.float64()},
    bounds={"mean": (0.5, None)},
)
def ocr_confidence(batch: pa.RecordBatch, *, drop_score: float = 0.5) -> pa.RecordBatch:
    """Score the boxes of `batch`."""
    n = batch.num_rows
    found = boxes(batch)
    confidence = batch.column("boxes").flatten().field("confidence")
    there = np.asarray(confidence.is_valid())
    values = np.asarray(confidence.fill_null(0.0)).astype(np.float64)[there]
    sample, characters = found.sample[there], found.characters[there]
    count, written = np.bincount(sample, minlength=n), np.bincount(sample, characters, n)
    lowest = np.full(n, np.inf)
    with np.errstate(invalid="ignore"):  # NaN stays NaN
        np.minimum.at(lowest, sample, values)
        low = np.where(np.isnan(values), np.nan, (values < drop_score) * characters)
    return table(
        mean=column(ratio(np.bincount(sample, values, n), count), count > 0, pa.float64()),
        lowest=column(np.where(count > 0, lowest, 0.0), count > 0, pa.float64()),
        weak=column(ratio(np.bincount(sample, low, n), written), written > 0, pa.float64()),
    )

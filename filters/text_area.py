"""How much of an image is covered by text, told from strokes alone: no model, nothing is read.

`text_area`  share of the 8 x 8 cells of the grey picture (longer side at 256 pixels) that look like part of a line of
             text, 0..1, in the sample's image with the most (`filters/shared/strokes.py` says when a cell does).

No default bound: text is what an OCR sample is about, and what a caption sample had better not be about. Pages,
receipts and charts have a median of 0.03 to 0.11, 90 % of food and shop photos less than 0.02: `text_area: {min: 0.03}`
for documents, `{max: 0.05}` for photos (ours; docs/results/image_filters.md). What is measured is thin strokes that
agree in polarity, after Epshtein, Ofek and Wexler 2010 ("Detecting text in natural scenes with stroke width transform",
CVPR) in its idea only: stroke widths are not compared. Grids, fences, hatching and keyboards look like text to it;
letters taller than about a tenth of the picture, or too small to be seen at 256 pixels, do not.

Null for a sample without images; NaN where an image cannot be decoded.
"""

import numpy as np
import pyarrow as pa

from filters.base import scorer
from filters.shared.images import Images, fold
from filters.shared.strokes import strokes

MEASURES = (strokes,)


@scorer(version=3, scores={"text_area": pa.float64()}, bounds={})
def text_area(batch: pa.RecordBatch, images: Images) -> pa.RecordBatch:
    """Score each sample by the text-like share of its image with the most text."""
    row, values = images.measure(strokes)
    return fold(batch, row, np.maximum, text_area=values[:, 0].round(6))

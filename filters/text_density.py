"""How much text is on a picture, by its boxes or its transcript.

Applies to samples with a picture of known size: by their boxes where these have texts, else to tasks `ocr` and `document` by
the assistant text. Characters are visible ones: no white space, nothing of zero width.

- `per_megapixel` (characters per million pixels): characters over the pixels of all pictures.
- `per_box` (characters): characters for each square as wide and high as their own box is high, over all boxes with a text and
  a whole quad: about 1 for ideographs, 1.8 for Latin print, whatever the resolution. Null without such a box.
- `box_area` (0..1): share of the pictures' pixels in upright rectangles of boxes, overlaps counted once. Null without boxes.

No bounds: how much text there should be depends on the source. Real pages: SROIE receipts (ICDAR 2019, arXiv 2103.10213) in
docs/results/ocr_math.md; take quantiles of your own source. Left out: text that no box or transcript names (see
`ocr_agreement`).
"""

import numpy as np
import pyarrow as pa

from filters.base import scorer
from filters.shared.boxes import boxes, visible
from filters.shared.images import sizes
from filters.shared.text import Array, assistant, column, is_task, kernel, ratio, table


@kernel
def _union(x0: Array, y0: Array, x1: Array, y1: Array, medium: Array, usable: Array, first: Array) -> Array:
    """Return per sample the pixels that its rectangles cover: strip by strip between their left and right edges."""
    n = len(first) - 1
    out = np.zeros(n, np.float64)
    for t in range(n):
        low = first[t]
        high = first[t + 1]
        picture = np.int64(-1)
        while True:
            following = np.int64(-1)  # the next picture that has boxes
            for b in range(low, high):
                if usable[b] and medium[b] > picture and (following < 0 or medium[b] < following):
                    following = medium[b]
            if following < 0:
                break
            picture = following
            mine = np.empty(high - low, np.int64)
            m = 0
            for b in range(low, high):
                if usable[b] and medium[b] == picture:
                    mine[m] = b
                    m += 1
            mine = mine[:m]
            mine = mine[np.argsort(y0[mine])]
            edges = np.sort(np.concatenate((x0[mine], x1[mine])))
            for e in range(len(edges) - 1):
                width = edges[e + 1] - edges[e]
                if width <= 0:
                    continue
                covered = 0.0
                reach = -np.inf
                for b in mine:
                    if x0[b] <= edges[e] and x1[b] >= edges[e + 1] and y1[b] > reach:
                        covered += y1[b] - max(y0[b], reach)
                        reach = y1[b]
                out[t] += covered * width
    return out


@scorer(
    version=1,
    scores={"per_megapixel": pa.float64(), "per_box": pa.float64(), "box_area": pa.float64()},
    bounds={},
)
def text_density(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Score the boxes and assistant texts of `batch`."""
    n = batch.num_rows
    row, width, height = sizes(batch)
    pixels = np.bincount(row, width * height, n)  # NaN where a size is not known
    known = pixels > 0
    found = boxes(batch)
    written = np.bincount(found.sample, found.characters, n)
    said = visible(assistant(batch))
    boxed = written > 0
    characters = np.where(boxed, written, said)
    applies = known & (boxed | ((said > 0) & is_task(batch, "ocr", "document")))

    along, across = found.sides
    square = across * across
    readable = found.whole & (found.characters > 0) & (square > 0)
    squares = np.bincount(found.sample[readable], (along * across / np.maximum(square, 1e-9))[readable], n)
    in_boxes = np.bincount(found.sample[readable], found.characters[readable], n)

    edges = found.bounds
    with np.errstate(invalid="ignore"):
        x0, x1 = (np.clip(edges[i], 0, found.width) for i in (0, 2))
        y0, y1 = (np.clip(edges[i], 0, found.height) for i in (1, 3))
        usable = found.whole & (found.medium >= 0) & (x1 > x0) & (y1 > y0)
    covered = _union(x0, y0, x1, y1, found.medium, usable, found.first)
    return table(
        per_megapixel=column(ratio(1e6 * characters, np.where(known, pixels, 0)), applies, pa.float64(), 3),
        per_box=column(ratio(in_boxes, squares), squares > 0, pa.float64()),
        box_area=column(
            ratio(covered, np.where(known, pixels, 0)), known & (found.count(found.whole) > 0), pa.float64()
        ),
    )

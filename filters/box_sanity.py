"""Boxes that cannot be right.

Looks at the quads of the boxes and the size of their picture. Applies to every sample that has a box. All scores are shares
(0..1) of the sample's boxes.

- `degenerate`: no eight finite numbers, or less than a pixel wide or high.
- `crossed`: the corners are not clockwise: two sides cross, or the quad is mirrored (`catalog/schema.py`: clockwise from the
  top left).
- `outside`: less than `inside` (0.9) of the box's upright rectangle is in the picture, or the box names a picture that the
  sample lacks. Null where no box has a picture of known size.
- `squeezed`: a text of three characters or more whose characters, spread along the box, would be narrower than `narrow` (0.15)
  or wider than `wide` (3) times the box's height: a text that does not belong to its box, or a box along the wrong side. Null
  where no box has such a text.
- `overlapping`: more than half of the smaller of two boxes of one picture is in the other. It also counts a word box within
  its line box.
- `bad`: degenerate, crossed, outside or squeezed. Bound: at most 0.10.

Source of the bounds: no paper gives any; they are ours, measured. Of the 4,460 boxes of 79 SROIE receipts (ICDAR 2019, arXiv
2103.10213) the middle 98 % have characters 0.33 to 0.94 times as wide as high, the narrowest 0.19, and two are beyond 3 (lines
of `***`); none is degenerate, crossed or outside, and the worst receipt has 0.045 `bad`. What planted damage does to the
scores: docs/results/ocr_math.md. Left out: whether there is ink in the box (`ocr_agreement`).
"""

import numpy as np
import pyarrow as pa

from filters.base import scorer
from filters.shared.boxes import Boxes, boxes
from filters.shared.text import Array, column, kernel, ratio, table


@kernel
def _overlapping(x0: Array, y0: Array, x1: Array, y1: Array, medium: Array, whole: Array, first: Array) -> Array:
    """Return which boxes share more than half of the smaller one's rectangle with another one of their picture."""
    out = np.zeros(len(x0), np.bool_)
    for t in range(len(first) - 1):
        low = first[t]
        order = low + np.argsort(y0[low : first[t + 1]])
        for i in range(len(order)):
            a = order[i]
            if not whole[a]:
                continue
            for k in range(i + 1, len(order)):
                b = order[k]
                if not whole[b] or y0[b] >= y1[a]:
                    break  # the rest begin lower still; quads that are not whole come last
                if medium[a] != medium[b]:
                    continue
                w = min(x1[a], x1[b]) - max(x0[a], x0[b])
                h = min(y1[a], y1[b]) - y0[b]
                if w > 0 and h > 0:
                    smaller = min((x1[a] - x0[a]) * (y1[a] - y0[a]), (x1[b] - x0[b]) * (y1[b] - y0[b]))
                    if w * h > 0.5 * smaller:
                        out[a] = True
                        out[b] = True
    return out


def _crossed(found: Boxes) -> Array:
    """Return which quads do not turn right at every corner as a simple clockwise polygon does: crossed or mirrored."""
    x, y = found.quads[:, 0::2], found.quads[:, 1::2]

    def turn(a: int, b: int, c: int) -> Array:
        out: Array = (x[:, b] - x[:, a]) * (y[:, c] - y[:, a]) - (y[:, b] - y[:, a]) * (x[:, c] - x[:, a])
        return out

    crossing = (turn(0, 1, 2) * turn(0, 1, 3) < 0) & (turn(2, 3, 0) * turn(2, 3, 1) < 0)
    crossing |= (turn(1, 2, 3) * turn(1, 2, 0) < 0) & (turn(3, 0, 1) * turn(3, 0, 2) < 0)
    return crossing | (turn(0, 1, 2) + turn(2, 3, 0) < 0)  # twice the signed area


@scorer(
    version=1,
    scores={
        "degenerate": pa.float64(),
        "crossed": pa.float64(),
        "outside": pa.float64(),
        "squeezed": pa.float64(),
        "overlapping": pa.float64(),
        "bad": pa.float64(),
    },
    bounds={"bad": (None, 0.10)},
)
def box_sanity(
    batch: pa.RecordBatch, *, inside: float = 0.9, narrow: float = 0.15, wide: float = 3.0
) -> pa.RecordBatch:
    """Score the boxes of `batch`."""
    found = boxes(batch)
    with np.errstate(invalid="ignore", over="ignore"):  # NaN compares false
        x0, y0, x1, y1 = found.bounds
        degenerate = ~found.whole | (x1 - x0 < 1) | (y1 - y0 < 1)
        crossed = ~degenerate & _crossed(found)
        w = np.minimum(x1, found.width) - np.maximum(x0, 0)
        h = np.minimum(y1, found.height) - np.maximum(y0, 0)
        within = np.maximum(w, 0) * np.maximum(h, 0)
        lost = found.medium < 0
        outside = lost | (~degenerate & (within < inside * (x1 - x0) * (y1 - y0)))
        along, across = found.sides
        pitch = along / (across * np.maximum(found.characters, 1))
        readable = ~degenerate & ~crossed & (found.characters >= 3)
        squeezed = readable & ((pitch < narrow) | (pitch > wide))
    overlapping = _overlapping(x0, y0, x1, y1, found.medium, ~degenerate, found.first)
    count = np.diff(found.first)
    some = count > 0

    def share(which: Array, applies: Array) -> pa.Array:
        return column(ratio(found.count(which), count), applies, pa.float64())

    return table(
        degenerate=share(degenerate, some),
        crossed=share(crossed, some),
        outside=share(outside, found.count(lost | ~np.isnan(found.width + found.height)) > 0),
        squeezed=share(squeezed, found.count(readable) > 0),
        overlapping=share(overlapping, some),
        bad=share(degenerate | crossed | outside | squeezed, some),
    )

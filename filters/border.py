"""Frames and bars around a picture: how much of a sample's most framed image is one plain colour at its edge.

`border`     share of the image's area that lies in a plain frame, 0..1: rows at the top and bottom and columns at the
             left and right, each of one grey level (within 12) and like the outermost one of its side. 1 for a blank
             image.
`letterbox`  share of the image's height or width in two equal bars on opposite sides, and none on the other two, 0..1:
             film and phone formats put into another one. The bars are equal within 2 % of the side, and of like grey
             (within 12).

No default bound on `border`: pages and products on white have wide margins, up to 0.9. Bound `letterbox <= 0.1`: ours,
see docs/results/image_filters.md; a bar that any viewer would notice. After the border rule of Data-Juicer's and
others' video recipes, which look for bars with ffmpeg's cropdetect (https://ffmpeg.org/ffmpeg-filters.html#cropdetect;
limit 24 of 255 there, for black bars only).

Measured on grey, with the longer side brought down to 256 pixels: a share is right to about 1/128. A patterned or
shaded frame is not found. Null for a sample without images; NaN where an image cannot be decoded.
"""

from typing import Any

import numpy as np
import pyarrow as pa

from filters.base import scorer
from filters.shared.images import Images, fold
from filters.shared.planes import Cuts
from filters.shared.text import Array, kernel

PLAIN = 12


def frame(cuts: Cuts) -> Array:
    """Measure: share of the frame, share of the bars."""
    out = np.zeros((len(cuts), 2))
    _frames(cuts.small.data, cuts.small.first, cuts.small.height, cuts.small.width, out)
    return out


@kernel
def _line(plane: Array, at: int, across: int, begin: int, end: int, like: int) -> Any:
    """Return the level of a row (or column) of one level, which is like `like` when that is 0 or more; else -1."""
    v = np.int32(plane[at, begin]) if across else np.int32(plane[begin, at])
    low = v
    high = v
    for i in range(begin, end):
        v = np.int32(plane[at, i]) if across else np.int32(plane[i, at])
        low = min(low, v)
        high = max(high, v)
        if high - low > PLAIN:
            return -1
    level = (low + high) // 2
    return -1 if like >= 0 and abs(level - like) > PLAIN else level


@kernel
def _depth(plane: Array, across: int, begin: int, end: int, step: int, first: int, last: int) -> tuple[int, int]:
    """Return how many lines from `begin` on are plain and alike, and their level."""
    level = _line(plane, begin, across, first, last, -1)
    if level < 0:
        return 0, -1
    n = 0
    at = begin
    while at != end and _line(plane, at, across, first, last, level) >= 0:
        n += 1
        at += step
    return n, level


@kernel
def _frames(data: Array, begins: Array, heights: Array, widths: Array, out: Array) -> None:
    for k in range(len(heights)):
        h = heights[k]
        w = widths[k]
        plane = data[begins[k] : begins[k + 1]].reshape(h, w)
        top, above = _depth(plane, 1, 0, h, 1, 0, w)
        if top == h:
            out[k, 0] = 1.0
            continue
        bottom, below = _depth(plane, 1, h - 1, -1, -1, 0, w)
        left, before = _depth(plane, 0, 0, w, 1, top, h - bottom)
        right, behind = _depth(plane, 0, w - 1, -1, -1, top, h - bottom)
        right = min(right, w - left)
        out[k, 0] = 1.0 - (h - top - bottom) * (w - left - right) / np.float64(h * w)
        even = abs(top - bottom) <= max(1.0, 0.02 * h) and abs(above - below) <= PLAIN
        if top > 0 and bottom > 0 and left + right == 0 and even:
            out[k, 1] = (top + bottom) / np.float64(h)
        even = abs(left - right) <= max(1.0, 0.02 * w) and abs(before - behind) <= PLAIN
        if left > 0 and right > 0 and top + bottom == 0 and even:
            out[k, 1] = (left + right) / np.float64(w)


MEASURES = (frame,)


@scorer(version=3, scores={"border": pa.float64(), "letterbox": pa.float64()}, bounds={"letterbox": (None, 0.1)})
def border(batch: pa.RecordBatch, images: Images) -> pa.RecordBatch:
    """Score each sample by the frame and the bars of its most framed image."""
    row, values = images.measure(frame)
    return fold(batch, row, np.maximum, border=values[:, 0].round(6), letterbox=values[:, 1].round(6))

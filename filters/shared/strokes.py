"""Where a picture has strokes as letters have them: thin, and all darker, or all lighter, than what is beside them.

The grey plane of 256 pixels (`filters/shared/planes.py`) is cut into cells of 8 x 8 pixels. A pixel is on a stroke when
it is darker than both of its neighbours, left and right or above and below, by `STEP` levels or more, or lighter than
both. A cell is text-like when `DENSE` of its pixels are on strokes, and `ALIKE` of those are of one kind (print is
darker than its paper all over; in the texture of a photo dark and light lines take turns), and the cell to its left or
right is so too: words run on.
"""

import numpy as np

from filters.shared.planes import Cuts
from filters.shared.text import Array, borrowed, inlined, kernel

CELL = 8
STEP = 28
DENSE = 0.12
ALIKE = 0.65


def strokes(cuts: Cuts) -> Array:
    """Measure: share of text-like cells; the longest run of them in the upper or lower sixth, as a share of the
    width."""
    out = np.zeros((len(cuts), 2))
    small = cuts.small
    _strokes(small.data, small.first, small.height, small.width, out)
    return out


@inlined
def _mark(above: Array, here: Array, below: Array, dark: Array, light: Array) -> None:
    """Count, column by column but for the outermost, the pixels of a row that are on dark and on light strokes."""
    for x in range(dark.size):
        v = here[x + 1]
        left = here[x]
        right = here[x + 2]
        up = above[x + 1]
        down = below[x + 1]
        lower = max(min(left, right), min(up, down))
        upper = min(max(left, right), max(up, down))
        # In bytes throughout: 64 pixels at a time.
        dark[x] += np.uint8(np.uint8(max(lower, v) - v) >= np.uint8(STEP))
        light[x] += np.uint8(np.uint8(max(upper, v) - upper) >= np.uint8(STEP))


@kernel
def _strokes(data: Array, first: Array, heights: Array, widths: Array, out: Array) -> None:
    for k in range(len(heights)):
        height = heights[k]
        width = widths[k]
        down = height // CELL
        across = width // CELL
        if down == 0 or across == 0:
            continue
        plane = borrowed(data[first[k] : first[k + 1]].reshape(height, width))
        both = np.zeros((2, width), np.uint8)
        dark, light = borrowed(both)[0], borrowed(both)[1]
        text = np.zeros(across + 2, np.bool_)
        edge = max(down // 6, 1)
        found = 0
        longest = 0
        for cy in range(down):
            dark[:] = 0
            light[:] = 0
            for y in range(cy * CELL, cy * CELL + CELL):
                _mark(plane[max(y - 1, 0)], plane[y], plane[min(y + 1, height - 1)], dark[1:-1], light[1:-1])
            for cx in range(across):
                d = np.int64(0)
                b = np.int64(0)
                for x in range(cx * CELL, cx * CELL + CELL):
                    d += dark[x]
                    b += light[x]
                text[cx + 1] = d + b >= DENSE * CELL * CELL and max(d, b) >= ALIKE * (d + b)
            run = 0
            for cx in range(1, across + 1):
                if text[cx] and (text[cx - 1] or text[cx + 1]):
                    found += 1
                run = run + 1 if text[cx] else 0
                if run > longest and (cy < edge or cy >= down - edge):
                    longest = run
        both[0, 0] = 0  # held until here
        out[k, 0] = found / np.float64(down * across)
        out[k, 1] = longest / np.float64(across)

"""Dynamic high-resolution tiling, exactly as NVLM, InternVL 1.5 and Megatron-LM do it (nvlm.md 2.1).

    S       side of a tile in pixels (`side`)
    n       tiles of the grid, 1 .. max_tiles
    g       1 if there is a thumbnail (n > 1), else 0

The whole image is resized to the grid, its aspect not kept, and cut row by row; the thumbnail, the whole image in one
tile, comes last.
"""

import functools

import numpy as np
import numpy.typing as npt
from PIL import Image


@functools.cache
def grids(max_tiles: int = 6) -> tuple[tuple[int, int], ...]:
    """Return every (columns, rows) with at most `max_tiles` tiles, by area: 14 of them for 6."""
    sides = range(1, max_tiles + 1)
    return tuple(sorted(((c, r) for c in sides for r in sides if c * r <= max_tiles), key=lambda g: (g[0] * g[1], g)))


def grid(width: int, height: int, max_tiles: int = 6, side: int = 448) -> tuple[int, int]:
    """Return the (columns, rows) whose aspect is nearest to the image's.

    Of equally near grids the larger one wins only if the image has more than half as many pixels as its tiles.
    """
    best, nearest = (1, 1), float("inf")
    for columns, rows in grids(max_tiles):
        distance = abs(width / height - columns / rows)
        larger = distance == nearest and width * height > 0.5 * side * side * columns * rows
        if distance < nearest or larger:
            best, nearest = (columns, rows), distance
    return best


def tile_count(width: int, height: int, max_tiles: int = 6, side: int = 448) -> int:
    """Return n + g, what `tile_image` will give for an image of this size."""
    columns, rows = grid(width, height, max_tiles, side)
    return columns * rows + (columns * rows > 1)


def tile_image(
    image: Image.Image, max_tiles: int = 6, side: int = 448, *, thumbnail: bool = True
) -> npt.NDArray[np.uint8]:
    """Return the tiles of `image`, row-major, thumbnail last: (n + g, S, S, 3)."""
    image = image.convert("RGB")
    columns, rows = grid(*image.size, max_tiles, side)
    whole = np.asarray(image.resize((side * columns, side * rows), Image.Resampling.BICUBIC))  # (rows S, columns S, 3)
    cut = whole.reshape(rows, side, columns, side, 3).swapaxes(1, 2).reshape(-1, side, side, 3)  # (n, S, S, 3)
    if thumbnail and columns * rows > 1:
        small = np.asarray(image.resize((side, side), Image.Resampling.BICUBIC))[None]  # (1, S, S, 3)
        cut = np.concatenate([cut, small])  # (n + g, S, S, 3)
    return np.ascontiguousarray(cut)

"""What a sample's images would cost an NVLM model: tiles and image tokens. No image is decoded: `media.width` and
`media.height` are read.

`image_tiles`   tiles of all images together, thumbnails included, a count.
`image_tokens`  tokens of all images together, a count: `tokens` for every tile.

An image is resized to the grid of at most `max_tiles` square tiles of `side` pixels whose aspect ratio is nearest to
its own (of equally near ones the larger, if the image has more than half as many pixels as its tiles), and a thumbnail
is added if there is more than one tile: NVLM (Dai et al. 2024, arXiv 2409.11402; NVIDIA Megatron-LM
`examples/multimodal/image_processing.py`), after InternVL 1.5 (Chen et al. 2024, arXiv 2404.16821). Defaults: 448
pixels, 6 tiles as in training, 256 tokens a tile after pixel shuffle; 12 tiles are usual where models are evaluated.
Left out: the five tokens of text that tag a tile.

No bound by default: it depends on the sequence length. NVLM trains on sequences of 3,200 tokens (its scripts,
`nvlm/sft_qwen20_72b_internvit_6b.sh`); seven tiles are 1,792.

Null for a sample without images; NaN where an image has no known size.
"""

import functools

import numpy as np
import pyarrow as pa

from filters.base import scorer
from filters.shared.images import Floats, fold, sizes
from filters.shared.kinds import within


@scorer(version=1, scores={"image_tiles": pa.float64(), "image_tokens": pa.float64()}, bounds={})
def image_tokens(
    batch: pa.RecordBatch, *, max_tiles: int = 6, side: int = 448, tokens: int = 256, thumbnail: bool = True
) -> pa.RecordBatch:
    """Score each sample by the tiles and tokens of all of its images."""
    within("max_tiles", max_tiles, 1, 64)
    within("side", side, 1)
    row, width, height = sizes(batch)
    n = tiles(width, height, max_tiles=max_tiles, side=side)
    n = n + (thumbnail & (n > 1))
    return fold(batch, row, np.add, image_tiles=n, image_tokens=n * tokens)


@functools.cache
def _grids(max_tiles: int) -> tuple[Floats, Floats]:
    """Return columns and rows of every grid of at most `max_tiles` tiles, by area, then by columns."""
    sides = range(1, max_tiles + 1)
    found = sorted((c * r, c, r) for c in sides for r in sides if c * r <= max_tiles)
    _, columns, rows = np.asarray(found, np.float64).reshape(-1, 3).T
    return columns, rows


def tiles(width: Floats, height: Floats, *, max_tiles: int, side: int) -> Floats:
    """Return how many tiles each image is cut into, without the thumbnail; NaN where its size is not known."""
    columns, rows = _grids(max_tiles)
    known = (width > 0) & (height > 0)
    aspect = np.divide(width, height, out=np.ones_like(width), where=known)
    best, nearest = np.ones(len(width)), np.full(len(width), np.inf)
    for c, r in zip(columns, rows, strict=True):
        distance = np.abs(aspect - c / r)
        larger = (distance == nearest) & (width * height > 0.5 * side * side * c * r)
        take = (distance < nearest) | larger
        best, nearest = np.where(take, c * r, best), np.minimum(distance, nearest)
    out: Floats = np.where(known, best, np.nan)
    return out

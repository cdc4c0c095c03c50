import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from trainer.tiles import grid, grids, tile_count, tile_image

# nvlm.md 2.1: width, height -> columns, rows; image tokens at 256 per tile, thumbnail included
GOLDEN = [
    (448, 448, 1, 1, 256), (633, 633, 1, 1, 256), (634, 634, 2, 2, 1280), (100, 100, 1, 1, 256), (640, 480, 3, 2, 1792),
    (1280, 1024, 3, 2, 1792), (800, 640, 2, 2, 1280), (500, 400, 1, 1, 256), (1920, 1080, 2, 1, 768), (1080, 1920, 1, 2, 768),
    (3000, 400, 6, 1, 1792), (400, 3000, 1, 6, 1792), (850, 1100, 2, 3, 1792), (1700, 2200, 2, 3, 1792), (224, 448, 1, 2, 768),
    (1344, 896, 3, 2, 1792),
]  # fmt: skip


@pytest.mark.parametrize(("width", "height", "columns", "rows", "tokens"), GOLDEN)
def test_golden_vectors(width, height, columns, rows, tokens):
    assert grid(width, height) == (columns, rows)
    assert 256 * tile_count(width, height) == tokens


def test_fourteen_grids_of_six_and_thirty_five_of_twelve():
    assert len(grids(6)) == 14
    assert len(grids(12)) == 35


def test_tiles_are_row_major_and_the_thumbnail_is_last():
    image = Image.new("RGB", (96, 64))
    for i in range(6):
        image.paste((40 * i, 0, 0), (32 * (i % 3), 32 * (i // 3), 32 * (i % 3) + 32, 32 * (i // 3) + 32))
    tiles = tile_image(image, 6, 32)
    assert tiles.shape == (7, 32, 32, 3)
    assert [int(t[16, 16, 0]) for t in tiles[:6]] == [0, 40, 80, 120, 160, 200]
    assert np.array_equal(tiles[6], np.asarray(image.resize((32, 32), Image.Resampling.BICUBIC)))
    assert len(tile_image(image, 6, 32, thumbnail=False)) == 6


def test_one_tile_has_no_thumbnail_and_aspect_is_not_kept():
    assert tile_image(Image.new("L", (40, 38)), 6, 32).shape == (1, 32, 32, 3)


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 6))
def test_the_count_is_what_the_grid_says(width, height, most):
    columns, rows = grid(width, height, most)
    assert 1 <= columns * rows <= most
    assert tile_count(width, height, most) == columns * rows + (columns * rows > 1)
    best = min(abs(width / height - c / r) for c, r in grids(most))
    assert abs(width / height - columns / rows) == best

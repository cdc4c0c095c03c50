"""Planes brought down to another size: exact averages."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.shared.planes import shrink
from tests.filters.test_images import shares

SIZES = st.tuples(st.integers(1, 256), st.floats(0, 1))


@given(SIZES, SIZES, st.booleans())
@settings(max_examples=150, deadline=None)
def test_cells_are_averages(rows: tuple[int, float], columns: tuple[int, float], white: bool) -> None:
    (height, down), (width, across) = rows, columns
    plane = np.random.default_rng(height).integers(255 * white, 256, (height, width), dtype=np.uint8)
    shape = max(round(height * down), 1), max(round(width * across), 1)
    around = np.full((3, *shape), 7, np.uint8)
    to = around[1]
    shrink(plane, to)
    exact = shares(height, to.shape[0]) @ plane @ shares(width, to.shape[1]).T
    assert np.abs(to - exact).max() <= 0.5 + 1e-6
    assert (around[::2] == 7).all()

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.base import load
from filters.image_tokens import tiles
from tests.filters.pictures import Memory, encode, flat, samples
from trainer.tiles import grid, tile_count


def score(sizes: list[tuple[int, int]], **params: object) -> list[dict[str, float]]:
    blank = {s: encode(flat(0, s[1], s[0])) for s in sizes}
    batch = samples(
        [([blank[s]], "") for s in sizes] + [([blank[sizes[0]], blank[sizes[-1]]], ""), ([], ""), ([b"?"], "")],
        Memory(),
    )
    return load("image_tokens", params).score(batch).to_pylist()


def test_what_the_paper_s_images_cost() -> None:
    *got, both, none, broken = score([(448, 448), (896, 448), (448, 1344), (1344, 896)])
    assert [s["image_tiles"] for s in got] == [1, 3, 4, 7]
    assert [s["image_tokens"] for s in got] == [256, 768, 1024, 1792]
    assert both == {"image_tiles": 8, "image_tokens": 2048}
    assert none == {"image_tiles": None, "image_tokens": None}
    assert np.isnan(broken["image_tokens"])


def test_parameters() -> None:
    assert score([(4000, 3000)], max_tiles=12)[0]["image_tokens"] == 256 * 13
    assert score([(1344, 896)], thumbnail=False, tokens=16)[0] == {"image_tiles": 6, "image_tokens": 96}


@given(
    st.lists(st.tuples(st.integers(1, 4000), st.integers(1, 4000)), min_size=1, max_size=20),
    st.sampled_from([1, 4, 6, 12]),
    st.sampled_from([56, 224, 448]),
)
def test_the_trainer_cuts_as_many(shapes: list[tuple[int, int]], most: int, side: int) -> None:
    width, height = np.asarray(shapes, np.float64).T
    got = tiles(width, height, max_tiles=most, side=side)
    want = [grid(w, h, most, side) for w, h in shapes]
    assert got.tolist() == [c * r for c, r in want]
    assert (got + (got > 1)).tolist() == [tile_count(w, h, most, side) for w, h in shapes]


@pytest.mark.parametrize("shape", [(448, 448), (449, 448), (1000, 500), (500, 1000), (317, 317), (896, 896), (1, 3000)])
def test_ties_are_broken_alike(shape: tuple[int, int]) -> None:
    got = tiles(np.asarray([float(shape[0])]), np.asarray([float(shape[1])]), max_tiles=6, side=448)
    assert got[0] + (got[0] > 1) == tile_count(*shape)

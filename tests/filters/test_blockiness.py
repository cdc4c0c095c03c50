import io
import itertools

import numpy as np
import pytest
from PIL import Image

from filters.base import load
from tests.filters.pictures import encode, flat, photo, scores


def blocks() -> np.ndarray:
    """Blocks of 8 x 8 pixels, each of one level."""
    rng = np.random.default_rng(0)
    levels = rng.integers(100, 140, (12, 16))
    return np.repeat(np.repeat(levels, 8, 0), 8, 1)[:, :, None].repeat(3, 2).astype(np.uint8)


def test_nothing_but_blocks_is_as_bad_as_it_gets() -> None:
    got = scores("blockiness", [[encode(blocks())], [encode(flat(9))]])
    rows = np.abs(np.diff(blocks()[:, :, 0].astype(int), axis=0)).sum(1)[7::8].mean() / 128
    assert got[0]["blockiness"] >= (rows * 0.9 + 0.5) / 0.5  # no step anywhere else
    assert got[1]["blockiness"] == 1.0


def test_the_grid_is_found_wherever_it_begins() -> None:
    whole, cut = scores("blockiness", [[encode(blocks())], [encode(blocks()[3:, 5:])]])
    assert abs(whole["blockiness"] / cut["blockiness"] - 1) < 0.25


def test_the_paper_s_formula() -> None:
    rng = np.random.default_rng(1)
    g = rng.integers(0, 256, (64, 64)).astype(np.float64)
    got = scores("blockiness", [[encode(np.repeat(g[:, :, None], 3, 2).astype(np.uint8))]])[0]["jpeg_quality"]

    rows, columns = g[0:63:2], g[:, :32]  # every second row; the left half
    d, e = np.diff(rows, axis=1), np.diff(columns, axis=0)
    bends = e[0::2][: len(e) // 2] * e[1::2] < 0
    parts = [
        (np.abs(x[k]).mean(), (8 * np.abs(x).mean() - np.abs(x[k]).mean()) / 7, z)
        for x, k, z in (
            (d, (slice(None), slice(7, None, 8)), (d[:, 1:] * d[:, :-1] < 0).mean()),
            (e, (slice(7, None, 8),), bends.mean()),
        )
    ]
    b, a, z = np.mean(parts, 0)
    assert abs(got - (-245.9 + 261.9 * b**-0.0240 * a**0.0160 * z**0.0064)) < 1e-5


@pytest.mark.parametrize("seed", range(4))
def test_a_lower_quality_shows_more(seed: int) -> None:
    picture = photo(seed)
    files = []
    for quality in (5, 10, 20, 40, 80):
        out = io.BytesIO()
        Image.fromarray(picture).save(out, "JPEG", quality=quality)
        files.append([out.getvalue()])
    got = scores("blockiness", files)
    shown = [s["blockiness"] for s in got]
    assert all(a > b - 0.02 for a, b in itertools.pairwise(shown))
    high = load("blockiness").bounds["blockiness"][1]
    assert shown[0] > high > shown[-1]
    assert got[0]["jpeg_quality"] < got[-1]["jpeg_quality"]


def test_edges_of_the_domain() -> None:
    got = scores("blockiness", [[encode(photo(0)[:15])], [], [b"?"], [encode(photo(0)), encode(blocks())]])
    assert got[0] == {"blockiness": 1.0, "jpeg_quality": 10.0}
    assert got[1]["blockiness"] is None
    assert np.isnan(got[2]["blockiness"])
    assert got[3]["blockiness"] == scores("blockiness", [[encode(blocks())]])[0]["blockiness"]

import numpy as np

from filters.base import load
from tests.filters.pictures import encode, flat, photo, scores


def test_flat_pictures_have_the_brightness_of_their_colour() -> None:
    got = scores("brightness", [[encode(flat(v))] for v in (0, 128, 255)] + [[encode(flat((255, 0, 0)))]])
    assert got[0] == {"brightness_99": 0.0, "brightness_5": 0.0}
    assert abs(got[1]["brightness_99"] - 128 / 255) < 1e-3
    assert got[2] == {"brightness_99": 1.0, "brightness_5": 1.0}
    assert abs(got[3]["brightness_99"] - 0.241**0.5) < 1e-3


def test_percentiles_are_those_of_the_pixels() -> None:
    picture = photo(1, 120, 120)  # small enough to be counted over all pixels
    r, g, b = picture.reshape(-1, 3).T.astype(float)
    light = np.sqrt(0.241 * r * r + 0.691 * g * g + 0.068 * b * b) / 255
    got = scores("brightness", [[encode(picture)]])[0]
    assert abs(got["brightness_99"] - np.percentile(light, 99)) < 2e-3
    assert abs(got["brightness_5"] - np.percentile(light, 5)) < 2e-3


def test_dark_pictures_fall_under_the_published_bound_and_light_ones_are_kept() -> None:
    low = load("brightness").bounds["brightness_99"][0]
    dark = (photo(2) * 0.2).astype(np.uint8)
    got = scores(
        "brightness", [[encode(dark)], [encode(photo(2))], [encode(flat(255))], [encode(photo(2)), encode(dark)]]
    )
    assert got[0]["brightness_99"] < low
    assert got[1]["brightness_99"] > low
    assert got[2]["brightness_5"] > 0.95
    assert got[3]["brightness_99"] == got[0]["brightness_99"]  # the darkest image counts
    assert got[3]["brightness_5"] == got[1]["brightness_5"]  # and the lightest


def test_nothing_and_broken() -> None:
    none, broken = scores("brightness", [[], [b"?"]])
    assert set(none.values()) == {None}
    assert all(np.isnan(v) for v in broken.values())

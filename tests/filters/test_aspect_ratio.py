import numpy as np

from filters.base import load
from tests.filters.pictures import Memory, encode, samples


def blank(w: int, h: int) -> bytes:
    return encode(np.zeros((h, w, 3), np.uint8))


def test_the_most_elongated_image_either_way() -> None:
    batch = samples([([blank(30, 10), blank(10, 40)], ""), ([blank(5, 5)], ""), ([], ""), ([b"?"], "")], Memory())
    got = load("aspect_ratio").score(batch).column(0).to_pylist()
    assert got[:3] == [4.0, 1.0, None]
    assert np.isnan(got[3])


def test_the_published_bound_takes_three_to_one() -> None:
    flt = load("aspect_ratio")
    low, high = flt.bounds["aspect_ratio"]
    assert (low, high) == (None, 3.0)
    assert flt.score(samples([([blank(600, 200)], "")], Memory())).column(0)[0].as_py() <= high

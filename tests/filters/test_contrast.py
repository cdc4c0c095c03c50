import numpy as np

from tests.filters.pictures import encode, flat, photo, scores


def test_the_range_of_grey_levels() -> None:
    half = flat(10, 100, 100)
    half[:50] = 112
    got = scores("contrast", [[encode(half)], [encode(flat(7))], [encode(half), encode(flat(7))], [], [b"?"]])
    assert got[0]["contrast"] == round(102 / 255, 6)
    assert got[1]["contrast"] == got[2]["contrast"] == 0.0
    assert got[3]["contrast"] is None
    assert np.isnan(got[4]["contrast"])


def test_fading_lowers_it() -> None:
    picture = photo(3)
    got = [
        s["contrast"]
        for s in scores("contrast", [[encode((picture * f + 100).astype(np.uint8))] for f in (0.5, 0.2, 0.02)])
    ]
    assert got[0] > got[1] > 0.05 > got[2]

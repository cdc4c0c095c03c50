import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.histogram import Histogram, brief, draw, histogram


def test_bins_of_whole_numbers_hold_whole_numbers() -> None:
    values = np.array([0, 0, 0, 1, 3])
    h = histogram(values, values <= 1, [1.0], 40)
    assert h is not None
    assert h.edges.tolist() == [-0.5, 0.5, 1.5, 2.5, 3.5]
    assert h.kept.tolist() == [3, 1, 0, 0]
    assert h.dropped.tolist() == [0, 0, 0, 1]


def test_wide_ranges_of_whole_numbers_have_no_comb() -> None:
    values = np.arange(1000)
    h = histogram(values, np.ones(1000, bool), [], 40)
    assert h is not None
    assert set(np.diff(h.edges)) == {25.0}
    assert set(h.total[1:-2].tolist()) == {25}


def test_a_bound_outside_of_the_scores_is_on_the_axis() -> None:
    h = histogram(np.array([0.1, 0.2]), np.array([True, True]), [0.9], 10)
    assert h is not None
    assert h.edges[-1] > 0.9
    assert h.place(0.9) < 1
    assert h.place(-5.0) == 0.0


def test_what_is_never_negative_has_no_negative_axis() -> None:
    h = histogram(np.array([0.0, 0.5, 8.5]), np.ones(3, bool), [2.5], 10)
    assert h is not None
    assert h.edges[0] == 0.0
    assert int(h.total.sum()) == 3


def test_nothing_finite_is_no_histogram() -> None:
    assert histogram(np.array([np.nan, np.inf]), np.array([False, False]), [0.5], 10) is None


def test_it_survives_json() -> None:
    h = histogram(np.linspace(0, 1, 50), np.linspace(0, 1, 50) > 0.3, [0.3], 10)
    assert h is not None
    assert draw(Histogram.from_json(h.to_json()), [("min", 0.3)], width=40, height=4) == draw(
        h, [("min", 0.3)], width=40, height=4
    )


def test_labels_of_a_narrow_axis_stay_apart() -> None:
    h = histogram(np.zeros(3), np.ones(3, bool), [], 40)
    assert h is not None
    assert draw(h, [], width=1, height=1, plain=True)[-1] == "-0.5  0.5"


def test_the_drawing_by_hand() -> None:
    values = np.array([1, 2, 2, 3, 4])
    h = histogram(values, values <= 3, [3.0], 40)
    assert h is not None
    lines = draw(h, [("max", 3.0)], width=4, height=2, plain=True)
    assert lines[:3] == [" # |", "###|x", "-----"]
    assert lines[-1] == "max 3"
    solid = draw(h, [("max", 3.0)], width=4, height=2)
    assert solid[:3] == [" █ │", "███│░", "─────"]


@given(
    st.lists(st.floats(-1e6, 1e6) | st.integers(-5, 5).map(float), min_size=1, max_size=60),
    st.floats(-1e6, 1e6),
    st.integers(1, 8),
)
def test_every_score_is_in_a_bin_and_every_line_fits(scores: list[float], bound: float, height: int) -> None:
    values = np.array(scores)
    h = histogram(values, values >= bound, [bound], 20)
    assert h is not None
    assert int(h.total.sum()) == len(scores)
    assert (np.diff(h.edges) > 0).all()
    lines = draw(h, [("min", bound)], width=40, height=height, plain=True)
    assert len(lines) == height + 3
    assert max(map(len, lines[:height])) <= len(lines[height])
    drawn = "".join(lines[:height])
    assert ("x" in drawn) == bool(h.dropped.any())


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.25, "0.25"), (1234.5, "1,234"), (float("nan"), "NaN"), (float("inf"), "inf"), (-1e6, "-1,000,000")],
)
def test_numbers_are_brief(value: float, shown: str) -> None:
    assert brief(value) == shown

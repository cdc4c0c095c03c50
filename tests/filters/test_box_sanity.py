# ruff: noqa: E501
import pytest

from filters.base import load
from tests.filters.text_samples import MEDIUM, batch, sample

f = load("box_sanity")


def score(*boxes, size=(100, 50), image=True):
    made = sample("x", task="ocr", image=True)
    made["boxes"] = [{"media": 0, "text": "", "confidence": None, **b} for b in boxes]
    made["media"] = [{**MEDIUM, "width": size[0], "height": size[1]}] if image else []
    return {k: v[0] for k, v in f.score(batch(made)).to_pydict().items()}


def box(x0, y0, x1, y1, text="", **kw):
    return {"quad": [x0, y0, x1, y0, x1, y1, x0, y1], "text": text, **kw}


GOOD = box(10, 10, 50, 20, "hello")


def test_good_boxes_are_good():
    assert score(GOOD, box(10, 30, 50, 40, "world")) == dict.fromkeys(f.scores, 0.0)


@pytest.mark.parametrize(
    ("what", "bad"),
    [("degenerate", box(10, 30, 10, 40)), ("degenerate", {"quad": [1, 2, 3]}), ("degenerate", {"quad": [float("nan")] * 8}), ("degenerate", {"quad": None}),
     ("degenerate", {"quad": [float("inf"), 0, 9, 0, 9, 9, 0, 9]}),
     ("crossed", {"quad": [10, 30, 50, 40, 50, 30, 10, 40]}),  # a bow tie
     ("crossed", {"quad": [10, 30, 10, 40, 50, 40, 50, 30]}),  # counter-clockwise
     ("outside", box(90, 30, 130, 40)), ("outside", box(10, -20, 50, -10)), ("outside", box(10, 30, 50, 40, media=1)), ("outside", box(10, 30, 50, 40, media=None)),
     ("squeezed", box(10, 30, 20, 45, "much too much text for this")), ("squeezed", box(10, 30, 99, 32, "few"))],
)  # fmt: skip
def test_one_bad_box_of_two(what, bad):
    out = score(GOOD, bad)
    expected = {**dict.fromkeys(f.scores, 0.0), what: 0.5, "bad": 0.5}
    assert out == expected


def test_slightly_outside_is_inside():
    assert score(box(-2, 10, 38, 20))["outside"] == 0.0  # 95 % of it is in the picture
    assert score(box(-5, 10, 35, 20))["outside"] == 1.0  # 87.5 %


def test_a_box_on_a_turned_line_is_fine():
    up = {"quad": [20, 45, 20, 5, 30, 5, 30, 45], "text": "upward"}  # reads from below: its top left is the lower left
    assert score(up) == dict.fromkeys(f.scores, 0.0)


def test_overlap_counts_both_and_only_within_a_picture():
    assert score(GOOD, box(12, 11, 50, 20, "hullo"), box(60, 10, 90, 20))["overlapping"] == round(2 / 3, 6)
    assert score(GOOD, box(10, 18, 50, 28))["overlapping"] == 0.0
    two = sample("x", task="ocr", boxes=[GOOD, {**GOOD, "media": 1}])
    two["media"] = [{**MEDIUM, "width": 100, "height": 50}] * 2
    assert f.score(batch(two))["overlapping"].to_pylist() == [0.0]


def test_unknown_sizes_and_no_texts_do_not_apply():
    out = score(box(500, 500, 600, 600), size=(None, None))
    assert out["outside"] is None
    assert out["squeezed"] is None
    assert out["bad"] == 0.0
    assert f.score(batch(sample("x"))).to_pylist() == [dict.fromkeys(f.scores)]

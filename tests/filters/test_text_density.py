import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.base import load
from tests.filters.text_samples import MEDIUM, batch, sample

f = load("text_density")


def box(x0, y0, x1, y1, text="", **kw):
    return {"quad": [x0, y0, x1, y0, x1, y1, x0, y1], "text": text, **kw}


def score(*boxes, text=None, size=(1000, 500), task="ocr", pictures=1):
    made = sample(text, task=task, image=True, boxes=boxes)
    made["media"] = [{**MEDIUM, "width": size[0], "height": size[1]}] * pictures
    return {k: v[0] for k, v in f.score(batch(made)).to_pydict().items()}


def test_characters_by_boxes():
    out = score(box(0, 0, 100, 10, "Total: 12.50"), box(0, 20, 100, 30, "a b\u200b c"), text="ignored " * 9)
    assert out["per_megapixel"] == (11 + 3) / 0.5
    assert out["per_box"] == (11 + 3) / (10 + 10)  # each box is ten squares of its height
    assert out["box_area"] == 2000 / 500_000


def test_without_boxes_the_transcript_of_a_document_counts():
    assert score(text="Total 12.50") == {"per_megapixel": 20.0, "per_box": None, "box_area": None}
    assert score(text="Total 12.50", task="vqa")["per_megapixel"] is None
    assert score(text="Total 12.50", size=(None, 5))["per_megapixel"] is None
    assert score(text="Total 12.50", pictures=2)["per_megapixel"] == 10.0


def test_overlaps_count_once_and_only_inside():
    assert score(box(0, 0, 100, 100, "a"), box(50, 50, 150, 150, "b"))["box_area"] == 17500 / 500_000
    assert score(box(-100, -100, 100, 100, "a"))["box_area"] == 10000 / 500_000
    assert score(box(0, 0, 100, 100, "a"), box(0, 0, 100, 100, "b", media=1), pictures=2)["box_area"] == 0.02


def test_odd_boxes():
    out = score({"quad": [1, 2], "text": "ab"}, box(5, 5, 5, 5, "c"), box(0, 0, 9, 9, "d", media=7))
    assert out == {"per_megapixel": 8.0, "per_box": pytest.approx(1.0), "box_area": 0.0}


edge = st.integers(0, 30)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(edge, edge, edge, edge), min_size=1, max_size=8))
def test_area_agrees_with_painting(rectangles):
    canvas = np.zeros((30, 30), bool)
    boxes = []
    for a, b, c, d in rectangles:
        x0, x1, y0, y1 = min(a, b), max(a, b), min(c, d), max(c, d)
        canvas[y0:y1, x0:x1] = True
        boxes.append(box(x0, y0, x1, y1, "x"))
    assert score(*boxes, size=(30, 30))["box_area"] == round(canvas.mean(), 6)

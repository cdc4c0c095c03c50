import math

from filters.base import load
from tests.filters.text_samples import batch, sample


def test_mean_and_lowest_of_the_boxes_that_have_one():
    f = load("ocr_confidence")
    some = [{"text": "a", "confidence": 0.5}, {"text": "b", "confidence": 0.25}, {"text": "c"}]
    broken = [{"text": "a", "confidence": float("nan")}]
    out = f.score(batch(sample(), sample(boxes=some), sample(boxes=[{"text": "c"}]), sample(boxes=broken)))
    assert out["mean"].to_pylist()[:3] == [None, 0.375, None]
    assert out["lowest"].to_pylist()[:3] == [None, 0.25, None]
    assert math.isnan(out["mean"][3].as_py())
    assert math.isnan(out["lowest"][3].as_py())

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


def test_weak_is_the_share_of_characters_in_doubtful_boxes():
    some = [{"text": "a b c", "confidence": 0.4}, {"text": "de", "confidence": 0.5}, {"text": "drawn by hand"}]
    out = load("ocr_confidence").score(batch(sample(boxes=some), sample(boxes=[{"text": "", "confidence": 0.1}])))
    assert out["weak"].to_pylist() == [0.6, None]
    strict = load("ocr_confidence", {"drop_score": 0.6}).score(batch(sample(boxes=some)))
    assert strict["weak"].to_pylist() == [1.0]

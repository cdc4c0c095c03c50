import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from filters.base import load
from filters.shared.boxes import boxes
from filters.shared.text import normalised, rebased
from tests.filters.text_samples import MEDIUM, batch, sample


def page(number):
    """Return a page of its own: other words, boxes, size than every other page."""
    words = [f"Word{number}x{i}" for i in range(4 + number)]
    found = [
        {
            "text": w,
            "quad": [5 * k, 9 * i, 60 + k, 9 * i, 60 + k, 9 * i + 8, 5 * k, 9 * i + 8],
            "confidence": 1 / (i + 1),
        }
        for k, (i, w) in zip(range(99), enumerate(words), strict=False)
    ]
    order = words[::-1] if number % 2 else words
    made = sample("\n".join(order), task="ocr", image=True, boxes=found, id=f"s/{number}")
    made["media"] = [{**MEDIUM, "width": 100 + number, "height": 90}]
    return made


PAGES = batch(*(page(i) for i in range(7)))


@pytest.mark.parametrize(
    "name", ["box_sanity", "line_noise", "ocr_confidence", "ocr_coverage", "reading_order", "text_density"]
)
def test_scores_do_not_depend_on_where_pages_are_cut(name):
    f = load(name)
    whole = f.score(PAGES).to_pylist()
    for step in (1, 2, 3):
        cut = [row for i in range(0, len(whole), step) for row in f.score(PAGES.slice(i, step)).to_pylist()]
        assert cut == whole


def test_boxes_of_a_slice():
    found, part = boxes(PAGES), boxes(PAGES.slice(2, 2))
    low, high = found.first[2], found.first[4]
    assert part.texts.to_pylist() == found.texts.to_pylist()[low:high]
    assert np.array_equal(part.quads, found.quads[low:high])
    assert part.width.tolist() == [102.0] * 6 + [103.0] * 7


def test_texts_of_a_slice_that_was_cast_are_lowered_right():
    texts = pa.array(["AB", "CDE", None, "ÄÖ"]).slice(1).cast(pa.large_string())
    assert normalised(texts).to_pylist() == ["cde", None, "äö"]
    assert normalised(texts.slice(0, 1)).to_pylist() == ["cde"]
    assert pc.ascii_lower(rebased(texts)).to_pylist() == ["cde", None, "ÄÖ"]
    assert rebased(texts.slice(0, 0)).to_pylist() == []

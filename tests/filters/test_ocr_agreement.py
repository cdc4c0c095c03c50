import math

import numpy as np
import pytest

from catalog.errors import UserError
from filters.base import load
from filters.shared import ocr
from tests.filters.text_samples import MEDIUM, batch, sample

f = load("ocr_agreement")


def contract_params(folder, samples, reader):
    pytest.importorskip("rapidocr", reason="reading pictures needs the extra `ocr`")
    return {}


def lines(*texts):
    quads = [[0, 20 * i, 100, 20 * i, 100, 20 * i + 10, 0, 20 * i + 10] for i in range(len(texts))]
    return ocr.Lines(
        texts=texts, quads=np.asarray(quads, np.float32).reshape(-1, 8), confidence=np.ones(len(texts), np.float32)
    )


@pytest.fixture
def score(monkeypatch):
    """Return a scorer of one sample whose pictures read as given; None: a picture that cannot be decoded."""

    def of(made, *pages, flt=f, size=(200, 100)):
        pictures = [None if p is None else np.full((size[1], size[0], 3), i, np.uint8) for i, p in enumerate(pages)]
        monkeypatch.setattr(ocr, "engine", lambda *_: lambda picture: pages[picture[0, 0, 0]])
        made["media"] = [{**MEDIUM, "width": 200, "height": 100}] * len(pages)
        return {k: v[0] for k, v in flt.score(batch(made), [pictures]).to_pydict().items()}

    return of


def test_the_same_text_agrees(score):
    made = sample("TOTAL: 12.50\nThank you", task="ocr", image=True)
    out = score(made, lines("Total : 12.50", "thank you"))
    assert out == {"character_error_rate": 0.0, "word_recall": 1.0, "word_precision": 1.0, "box_recall": None}


def test_edits_and_words(score):
    made = sample("abcd efgh", task="document", image=True)
    out = score(made, lines("abcx", "efgh ij"))
    assert out["character_error_rate"] == (1 + 2) / 8  # one replaced, two more
    assert (out["word_recall"], out["word_precision"]) == (0.5, round(1 / 3, 6))


def test_another_order_costs_characters_and_no_words(score):
    out = score(sample("one two three", task="ocr", image=True), lines("three", "two", "one"))
    assert out["word_recall"] == 1.0
    assert out["character_error_rate"] > 0.5


def test_nothing_read(score):
    out = score(sample("abcd", task="ocr", image=True), lines())
    assert out == {"character_error_rate": 1.0, "word_recall": 0.0, "word_precision": None, "box_recall": None}


def test_two_pictures_are_one_text_and_a_broken_one_breaks_it(score):
    made = sample("one two", task="ocr", image=True)
    assert score(made, lines("one"), lines("two"))["word_recall"] == 1.0
    out = score(made, lines("one"), None)
    assert [math.isnan(out[k]) for k in ("character_error_rate", "word_recall", "word_precision")] == [True] * 3


def test_boxes_as_the_layer_and_where_they_are(score):
    boxes = [
        {"text": "one", "quad": [0, 0, 60, 0, 60, 10, 0, 10]},
        {"text": "two", "quad": [0, 6, 60, 6, 60, 16, 0, 16]},  # two fifths of it
    ]
    made = sample("else", task="ocr", image=True, boxes=boxes)
    out = score(made, lines("one"), flt=load("ocr_agreement", {"layer": "boxes"}))
    assert (out["word_recall"], out["word_precision"], out["box_recall"]) == (0.5, 1.0, 0.5)
    assert (
        score(made, lines("one"), size=(100, 50))["box_recall"] == 1.0
    )  # decoded at half the size: its lines are twice as high


def test_what_it_does_not_apply_to(score):
    none = dict.fromkeys(f.scores)
    assert score(sample("a", task="caption", image=True), lines("a")) == none
    assert score(sample(None, task="ocr", image=True), lines("a")) == none
    assert score(sample("a", task="ocr")) == none


def test_errors_tell_how_to_mend(monkeypatch):
    with pytest.raises(UserError, match="one of target, boxes"):
        load("ocr_agreement", {"layer": "text"}).score(batch(), [])
    monkeypatch.setattr(ocr.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"cuvee\[ocr\]"):
        ocr.engine.__wrapped__()


def test_models_that_the_package_lacks_are_told():
    pytest.importorskip("rapidocr")
    with pytest.raises(UserError, match=r"does not bring `PP-OCRv9_det_small\.onnx`"):
        ocr.engine("PP-OCRv9_small")


def test_the_engine_reads_print():
    pytest.importorskip("rapidocr")
    from PIL import Image, ImageDraw, ImageFont

    page = Image.new("RGB", (420, 140), "white")
    draw = ImageDraw.Draw(page)
    for i, text in enumerate(("Grand total", "Thank you")):
        draw.text((20, 15 + 55 * i), text, fill="black", font=ImageFont.load_default(36))
    found = ocr.engine()(np.asarray(page))
    assert [t.lower().replace(" ", "") for t in found.texts] == ["grandtotal", "thankyou"]
    assert found.quads[0, 1] < found.quads[1, 1]
    assert (found.confidence > 0.5).all()

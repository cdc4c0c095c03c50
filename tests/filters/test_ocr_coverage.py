from filters.base import load
from tests.filters.text_samples import batch, sample

f = load("ocr_coverage")


def boxes(*texts):
    return [{"text": t} for t in texts]


def test_words_in_common():
    out = f.score(batch(sample("TOTAL 12.50 thanks!", task="ocr", boxes=boxes("Total: 12.50", "VAT 2"))))
    assert out["target_found"].to_pylist() == [0.75]  # total 12 50 of total 12 50 thanks
    assert out["boxes_found"].to_pylist() == [0.6]
    assert out["duplicate_boxes"].to_pylist() == [0.0]


def test_multiplicity_counts():
    out = f.score(batch(sample("a a a", task="document", boxes=boxes("a", "A!", "b", ""))))
    assert out["target_found"].to_pylist() == [round(2 / 3, 6)]
    assert out["duplicate_boxes"].to_pylist() == [round(1 / 3, 6)]


def test_other_tasks_and_missing_boxes_do_not_apply():
    out = f.score(
        batch(sample("a", task="vqa", boxes=boxes("b")), sample("a", task="ocr"), sample(task="ocr", boxes=boxes("b")))
    )
    assert out["target_found"].null_count == 3
    assert out["duplicate_boxes"].to_pylist() == [None, None, 0.0]

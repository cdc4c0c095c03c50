import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.base import load
from filters.shared.edit_distance import code_points, edit_distance
from filters.shared.text import buffers
from tests.filters.text_samples import answers, batch, sample

f = load("line_noise")


def lines(*texts, **kw):
    out = f.score(answers("\n".join(texts), **{"task": "ocr", **kw}))
    return out["echoed_lines"][0].as_py(), out["stray_lines"][0].as_py()


@pytest.mark.parametrize(
    ("texts", "echoed"),
    [(("Grand total", "Grand total", "thanks", "again"), 0.25), (("Grand total", "x", "grand  TOTAL", "again"), 0.25),
     (("Grand total", "x", "y", "Grand total"), 0.0),  # beyond the window
     (("Grand total", "Grand tota1", "b", "c"), 0.0),  # another digit
     (("Grand total", "Grend totel", "b", "c"), 0.25),  # 2 of 10 letters
     (("Grand total", "Grend tetel", "b", "c"), 0.0),  # 3 of 10
     (("Cash", "Cash", "Cash", "Cash"), 0.0),  # too short to tell
     (("Invoice 12", "Invoice 13", "", " "), 0.0)],
)  # fmt: skip
def test_echoed_lines(texts, echoed):
    assert lines(*texts)[0] == echoed


def test_stray_lines():
    assert lines("Total 12.50", "-----", "| . '", "a:") == (0.0, 0.5)
    assert lines("日本語。", "…") == (0.0, 0.5)


def test_other_tasks_and_no_lines_do_not_apply():
    assert lines("Grand total", task="text") == (None, None)
    assert lines("", " \u200b") == (None, None)


def box(text, y=0, x=0, **kw):
    return {"quad": [x, y, x + 50, y, x + 50, y + 10, x, y + 10], "text": text, **kw}


def test_doubled_boxes():
    def score(*boxes):
        return f.score(batch(sample("x", image=True, boxes=boxes)))["doubled_boxes"][0].as_py()

    assert score(box("Total"), box("Total", 2), box("Cash", 20)) == round(1 / 3, 6)
    assert score(box("Total"), box("Tota1", 2)) == 0.5  # one in five letters
    assert score(box("Total"), box("Cash", 2)) == 0.0
    assert score(box("Total"), box("Total", 6)) == 0.0  # less than half of it
    assert score(box("Total"), box("Total", 2, media=1)) == 0.0
    assert score(box("Total"), box("Total", 1), box("Total", 2)) == round(2 / 3, 6)
    assert score(box("")) is None


def naive(a, b):
    row = list(range(len(b) + 1))
    for i, x in enumerate(a):
        previous, row = row, [i + 1]
        for k, y in enumerate(b):
            row.append(min(previous[k] + (x != y), previous[k + 1] + 1, row[k] + 1))
    return row[-1]


@settings(max_examples=150, deadline=None)
@given(st.text("abcé漢", max_size=12), st.text("abcé漢", max_size=12))
def test_edit_distance(a, b):
    import pyarrow as pa

    raw = buffers(pa.array([a, b], pa.large_string()))
    one, two = (code_points(raw.data, raw.offsets[i], raw.offsets[i + 1]) for i in (0, 1))
    assert edit_distance(one, two) == naive(a, b)

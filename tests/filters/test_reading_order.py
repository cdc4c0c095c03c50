import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.base import load
from tests.filters.text_samples import MEDIUM, batch, sample

f = load("reading_order", {"pairs": 1})


def box(x, y, text, width=40, height=10, **kw):
    return {"quad": [x, y, x + width, y, x + width, y + height, x, y + height], "text": text, **kw}


def score(*boxes, text=None, pictures=1, of=f):
    made = sample(text, task="document", image=True, boxes=boxes)
    made["media"] = [{**MEDIUM, "width": 400, "height": 400}] * pictures
    return {k: v[0] for k, v in of.score(batch(made)).to_pydict().items()}


PAGE = [box(0, 0, "alpha"), box(50, 1, "beta"), box(0, 20, "gamma"), box(50, 21, "delta")]


def test_row_by_row_and_column_by_column_are_both_in_order():
    assert score(*PAGE)["box_inversions"] == 0.0
    assert score(PAGE[0], PAGE[2], PAGE[1], PAGE[3])["box_inversions"] == 0.0


def test_backwards_is_one_and_one_swap_is_a_quarter():
    assert score(*PAGE[::-1])["box_inversions"] == 1.0
    # pairs with an order: two rows, two columns; the diagonal ones have none
    assert score(PAGE[1], PAGE[0], PAGE[2], PAGE[3])["box_inversions"] == 0.25


def test_text_in_another_order_than_the_boxes():
    out = score(*PAGE, text="beta alpha\ngamma delta")
    assert out == {"box_inversions": 0.0, "text_inversions": 0.25}
    assert score(*PAGE[::-1], text="alpha beta gamma delta") == {"box_inversions": 1.0, "text_inversions": 0.0}


def test_words_that_stand_twice_say_nothing():
    assert score(*PAGE, text="alpha alpha beta beta")["text_inversions"] is None
    assert score(box(0, 0, "a"), box(0, 20, "a"), text="a a")["text_inversions"] is None


def test_boxes_that_overlap_on_a_slope_are_in_order():
    assert score(box(0, 0, "a", 100), box(0, 6, "b", 100))["box_inversions"] == 0.0
    assert (
        score(box(0, 4, "a", 100), box(0, 0, "b", 100))["box_inversions"] is None
    )  # one is not clearly below the other


def test_right_to_left_lines():
    hebrew = [box(50, 0, "שלום"), box(0, 0, "עולם")]
    assert score(*hebrew)["box_inversions"] == 0.0
    assert score(*hebrew[::-1])["box_inversions"] == 1.0


def test_pictures_in_their_order():
    assert score(box(0, 0, "b", media=1), box(0, 0, "a", media=0), pictures=2)["box_inversions"] == 1.0


def test_too_few_pairs_do_not_apply():
    of = load("reading_order")
    assert score(*PAGE, of=of)["box_inversions"] == 0.0
    assert score(*PAGE[:3], of=of)["box_inversions"] is None
    assert of.score(batch(sample("x"))).to_pylist() == [dict.fromkeys(of.scores)]
    assert score({**PAGE[0], "quad": [0.0, 0.0]}, *PAGE[1:3])["box_inversions"] is None


@settings(max_examples=60, deadline=None)
@given(st.permutations(range(12)))
def test_a_single_column_counts_inversions(order):
    boxes = [box(0, 20 * i, f"w{i}") for i in order]
    wrong = sum(order[a] > order[b] for a in range(12) for b in range(a + 1, 12))
    out = score(*boxes, text=" ".join(f"w{i}" for i in order))
    assert np.isclose(out["box_inversions"], wrong / 66, atol=1e-6)
    assert out["text_inversions"] == out["box_inversions"]

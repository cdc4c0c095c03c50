import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.shared.sketches import WORDS, Sketches, jaccard, sketches
from tests.filters.pictures import Memory, samples


def made(*texts: str, user: str = "What?") -> Sketches:
    return sketches(samples([([], t) for t in texts], Memory(), user=user))


def share(one: str, two: str) -> float:
    found = made(one, two)
    return float(jaccard(found.words, found.first, np.array([0]), np.array([1]))[0])


def test_short_texts_are_compared_exactly() -> None:
    assert share("a b c d", "C, d! e f") == pytest.approx(2 / 6)
    assert share("a b", "c d") == 0.0
    assert share("a a a b", "b a") == 1.0
    assert share("", "") == 1.0
    assert share("", "a") == 0.0


@settings(max_examples=30, deadline=None)
@given(st.sets(st.integers(0, 80), max_size=WORDS), st.sets(st.integers(0, 80), max_size=WORDS))
def test_up_to_64_words_are_exact(a: set[int], b: set[int]) -> None:
    truth = len(a & b) / len(a | b) if a | b else 1.0
    if max(len(a), len(b)) < WORDS:
        assert share(" ".join(map(str, a)), " ".join(map(str, b))) == pytest.approx(truth)


def test_long_texts_are_estimated() -> None:
    words = [f"w{k}" for k in range(3000)]
    assert share(" ".join(words[:2000]), " ".join(words[1000:])) == pytest.approx(1 / 3, abs=0.2)  # 3 standard errors
    assert share(" ".join(words), " ".join(reversed(words))) == 1.0


def test_case_and_punctuation_do_not_count_and_order_does() -> None:
    one, two, three = made("How many dogs?", "how MANY dogs", "dogs how many").answered
    assert one == two != three
    assert (
        made("x", user="Is it red?").asked[0] == made("x", user="is it, red").asked[0] != made("x", user="red").asked[0]
    )

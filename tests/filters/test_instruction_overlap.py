import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.base import load
from filters.instruction_overlap import _BASE, _covered, _longest
from tests.filters.dialogues import dialogues

f = load("instruction_overlap")
TEN = "one two three four five six seven eight nine ten"


def score(question, answer, **params):
    out = load("instruction_overlap", params).score(dialogues((f"u:{question}", f"a:{answer}")))
    return tuple(c[0].as_py() for c in out.columns)


def test_by_hand():
    assert score(TEN, TEN) == (1, 1, 1, 1)
    assert score(f"Repeat: {TEN.upper()}!", TEN) == (1, 1, pytest.approx(10 / 11), pytest.approx(10 / 11, abs=1e-6))
    assert score("alpha beta gamma", TEN) == (0, 0, 0, 0)
    # Five words of ten are shared: one run of five, and a run of four elsewhere that is too short to count as copied.
    assert score("one two three four five x seven eight nine ten", TEN) == (0.5, 0.5, 0.5, 0.5)
    assert score("seven eight nine ten", TEN) == (0, 0.4, 0, 0.4)


def test_runs_that_overlap_count_each_word_once():
    assert score("a one two three four five six b", TEN)[0] == 0.6
    assert score("one two three four five z six seven eight nine ten", TEN)[:2] == (1, 0.5)


def test_short_answers_are_not_judged():
    assert score("Is it red or blue?", "blue") == (None,) * 4
    assert score("red or blue", "blue or red", min_words=3, ngram=1) == (
        1,
        pytest.approx(1 / 3, abs=1e-6),
        1,
        pytest.approx(1 / 3, abs=1e-6),
    )


def test_all_turns_of_each_side():
    out = f.score(
        dialogues(
            ("u:one two three four five", "a:one two three", "u:six", "a:four five six seven eight nine ten"),
            ("a:" + TEN,),
        )
    )
    assert out["copied"].to_pylist() == [0.6, None]


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.integers(0, 3), max_size=25), st.lists(st.integers(0, 3), max_size=25), st.integers(1, 6))
def test_like_the_slow_way(a, b, n):
    words = np.array([0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 0xC2B2AE3D27D4EB4F], np.uint64)
    x, y = words[np.array(a, int)], words[np.array(b, int)]
    runs = lambda s, k: {tuple(s[i : i + k]) for i in range(len(s) - k + 1)}  # noqa: E731
    longest = max((k for k in range(1, min(len(a), len(b)) + 1) if runs(a, k) & runs(b, k)), default=0)
    assert _longest(x, y, _BASE) == longest
    inside = {j for i in range(len(a) - n + 1) if tuple(a[i : i + n]) in runs(b, n) for j in range(i, i + n)}
    assert _covered(x, y, n, _BASE) == len(inside)

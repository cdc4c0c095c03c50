from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.base import load
from tests.filters.text_samples import HOSTILE, PROSE, answers

f = load("repetition")


def one(text, *, task="text", **params):
    return {k: v[0] for k, v in load("repetition", params).score(answers(text, task=task)).to_pydict().items()}


def test_by_hand():
    # 9 runs of 2 characters: ab x5, ba x4; two differ, so the top one counts (square root of 2).
    assert one("ababababab", length=2)["character_repetition"] == pytest.approx(5 / 9, abs=1e-6)
    # 4 runs of 3 words, the first and the last are equal.
    assert one("One two, three! One TWO (three)", length=3)["word_repetition"] == 0.5
    assert one("a b c d", length=2) == {"character_repetition": 0.0, "word_repetition": 0.0}


def test_a_word_needs_more_than_signs_and_digits():
    assert one("tick 1 tock 2 tick 3 tock", length=2)["word_repetition"] == pytest.approx(2 / 3, abs=1e-6)
    assert one("tick\u00a0tock tick\u00a0tock", length=1)["word_repetition"] == 1.0, (
        "only space, tab and line feed separate"
    )


def test_too_short_is_zero_and_none_is_null():
    assert one("short") == one("") == {"character_repetition": 0.0, "word_repetition": 0.0}
    assert set(one(None).values()) == set(one("ab" * 50, task="code").values()) == {None}


def test_prose_and_spam():
    assert max(one(PROSE).values()) < 0.1
    spam = one("buy cheap watches online today at the best price ever " * 20)
    assert spam["word_repetition"] == 1.0
    # 540-odd runs of characters, 54 different: the square root of 54 is 7, each occurs 19 or 20 times.
    assert spam["character_repetition"] == pytest.approx(7 * 20 / (54 * 20 - 9), abs=1e-6)


def plain(text, n):
    """Both shares in plain Python."""
    grams = Counter(text[i : i + n] for i in range(len(text) - n + 1))
    often = sorted((c for c in grams.values() if c > 1), reverse=True)[: int(len(grams) ** 0.5)]
    words = [w.strip(" .,1") for w in text.lower().replace("\n", " ").split(" ")]
    words = [w for w in words if w]
    runs = Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
    repeated = sum(c for c in runs.values() if c > 1)
    return (
        sum(often) / sum(grams.values()) if grams else 0.0,
        repeated / sum(runs.values()) if runs else 0.0,
    )


@given(st.lists(st.text("abA .,1\né", max_size=40), min_size=1, max_size=5), st.integers(1, 5))
def test_agrees_with_plain_python(texts, n):
    out = load("repetition", {"length": n}).score(answers(*texts))
    for i, text in enumerate(texts):
        characters, words = plain(text, n)
        assert out["character_repetition"][i].as_py() == pytest.approx(characters, abs=1e-6)
        assert out["word_repetition"][i].as_py() == pytest.approx(words, abs=1e-6)


def test_hostile():
    out = f.score(answers(*HOSTILE))
    for name in f.scores:
        assert all(0 <= v <= 1 for v in out[name].to_pylist())

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.metrics import anls, exact_match, levenshtein, normalise, numeric_match, read_number, relaxed_accuracy

short = st.text(alphabet="abcé ", max_size=12)


def naive(a: str, b: str) -> int:
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        new = [i]
        for j, y in enumerate(b, 1):
            new.append(min(row[j - 1] + (x != y), row[j] + 1, new[-1] + 1))
        row = new
    return row[-1]


@given(short, short)
def test_levenshtein_is_the_textbook_one(a: str, b: str) -> None:
    assert levenshtein(a, b) == naive(a, b) == levenshtein(b, a)


@pytest.mark.parametrize(
    ("a", "b", "distance"),
    [("", "", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("flaw", "lawn", 2), ("😀a", "😀b", 1)],
)
def test_levenshtein_known(a: str, b: str, distance: int) -> None:
    assert levenshtein(a, b) == distance


@pytest.mark.parametrize(
    ("text", "want"),
    [("The  Cat.", "cat"), ("1,000", "1000"), ("two", "2"), ("3.5 cm", "3.5 cm"), ("it's", "it s"), ("red, blue", "red blue"),
     ("yes!", "yes"), ("a", "")],
)  # fmt: skip
def test_normalise(text: str, want: str) -> None:
    assert normalise(text) == want


def test_exact_match() -> None:
    assert exact_match("The red cube.", ["red cube"]) == 1
    assert exact_match("Three", ["4", "3"]) == 1
    assert exact_match("3.5", ["35"]) == 0
    assert exact_match("", ["red"]) == 0


def test_anls() -> None:
    assert anls("Hello", ["hello"]) == 1
    assert anls("hallo", ["hello"]) == pytest.approx(0.8)
    assert anls("abcd", ["abxy"]) == 0  # distance 0.5 is not below the threshold
    assert anls("abcde", ["abcxy"]) == pytest.approx(0.6)
    assert anls("abc", ["xyz", "abc"]) == 1
    assert anls("", ["abc"]) == 0
    assert anls("", [""]) == 1


@given(short, short)
def test_anls_stays_in_range_and_is_one_only_for_equal(a: str, b: str) -> None:
    score = anls(a, [b])
    assert 0 <= score <= 1
    assert (score == 1) == (" ".join(a.split()) == " ".join(b.split()))


@pytest.mark.parametrize(
    ("text", "want"),
    [("so 3 + 4 = 7\n#### 7", 7), ("#### 1,234", 1234), ("#### $12.50", Fraction(25, 2)),
     ("#### -3", -3), ("#### 3/4", Fraction(3, 4)),
     ("#### 18 apples", 18), (r"thus \boxed{\frac{3}{4}}", Fraction(3, 4)), ("it is 5, then 10 - 4 = 6", 6),
     ("10-4", 4), ("x = -4", -4),
     ("no number", None), ("#### none", None), ("1/0", None), ("#### 50%", 50), ("The answer is 6.", 6), (".5", Fraction(1, 2)),
     ("#### 7\n#### 8", 8)],
)  # fmt: skip
def test_read_number(text: str, want: Fraction | int | None) -> None:
    assert read_number(text) == want


def test_numeric_match() -> None:
    assert numeric_match("She has 5.0 left", ["work\n#### 5"]) == 1
    assert numeric_match("#### 6", ["#### 5"]) == 0
    assert numeric_match("nothing", ["#### 5"]) == 0
    assert numeric_match("0.333333", ["1/3"]) == 1


def test_relaxed_accuracy() -> None:
    assert relaxed_accuracy("105", ["100"]) == 1  # the edge itself counts
    assert relaxed_accuracy("105.1", ["100"]) == 0
    assert relaxed_accuracy("-95", ["-100"]) == 1
    assert relaxed_accuracy("0", ["0"]) == 1
    assert relaxed_accuracy("0.1", ["0"]) == 0
    assert relaxed_accuracy("50%", ["0.5"]) == 1
    assert relaxed_accuracy("France", ["france"]) == 1
    assert relaxed_accuracy("2 France", ["2 Spain"]) == 0

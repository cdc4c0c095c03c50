# ruff: noqa: E501
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.base import load
from tests.filters.text_samples import answers

f = load("arithmetic_check")


def check(text, **kw):
    out = f.score(answers(text, task="math", **kw))
    return out["steps"][0].as_py(), out["wrong_steps"][0].as_py()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("<<48/2=24>>24", (1, 0)), ("<<48/2=25>>25", (1, 1)), ("48/2 = $<<48/2=24>>24", (2, 0)), ("48/2 = <<48/2=24>>25", (2, 1)),
     ("3 + 4 = 7", (1, 0)), ("3 + 4 = 8", (1, 1)), ("$1,200 * 2 = $2,400.", (1, 0)), ("In 2020, 5 + 5 = 10.", (1, 0)),
     ("2/3 = .66", (1, 0)), ("2/3 = 0.67", (1, 0)), ("2/3 = 0.7", (1, 0)), ("2/3 = 0.8", (1, 1)), ("5/20 = 25%", (1, 0)),
     ("5/20*100 = 25%", (1, 0)), ("20% * 50 = 10", (1, 0)), ("3 * (2+2) = 3 * 4 = 13", (2, 1)), ("0.2 x 50 = 10", (1, 0)),
     ("8 × 7 = 54", (1, 1)), (r"8 \times 7 = 56", (1, 0)), ("-5 + 3 = -2", (1, 0)), ("(1+2)*(3+4) = 21", (1, 0)),
     ("10 - 2 - 3 = 5", (1, 0)), ("2 + 3 * 4 = 14", (1, 0)), ("12 - 5 = 7, so 7 + 1 = 9", (2, 1)), ("5 + 3 = 9 apples", (1, 1))],
)  # fmt: skip
def test_steps(text, expected):
    assert check(text) == expected


@pytest.mark.parametrize(
    "text", ["2x + 3 = 7", "y - 3 = 5", "3x - 8 = 10", "x = 5", "1 = 1", "2^3 + 1 = 9", "1/0 = 5", "((", "7 + = 3", "4 * 1 = 4!", "", "=", "<<=>>"]
)  # fmt: skip
def test_what_cannot_be_checked_is_not(text):
    assert check(text) == (None, None)


expression = st.recursive(
    st.integers(0, 999).map(str),
    lambda inner: st.tuples(inner, st.sampled_from(["+", "-", "*"]), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(expression, expression, st.integers(1, 5))
def test_agrees_with_python(a, b, off):
    value = eval(f"{a} - {b}")  # the test's own expressions
    assert check(f"<<{a} - {b}={value}>>") == (1, 0)
    assert check(f"<<{a} - {b}={value + off}>>") == (1, 1)
    assert check(f"So {a} - {b} = {value}.") == (1, 0)

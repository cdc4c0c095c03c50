# ruff: noqa: E501
import pytest
from hypothesis import assume, given, settings
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
    "text", ["2x + 3 = 7", "y - 3 = 5", "3x - 8 = 10", "x = 5", "1 = 1", "x^2 + 1 = 9", "-2^2 = 4", "2^{n} = 8", "1/0 = 5", "((", "7 + = 3", "4 * 1 = 4!", "", "=", "<<=>>"]
)  # fmt: skip
def test_what_cannot_be_checked_is_not(text):
    assert check(text) == (None, None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2^3 + 1 = 9", (1, 0)), ("2^3 + 1 = 8", (1, 1)), ("2 * 3^2 = 18", (1, 0)), ("2^3^2 = 512", (1, 0)), ("2^-1 = 0.5", (1, 0)), ("3² + 4² = 25", (1, 0)),
     ("2(3 + 4) = 14", (1, 0)), ("(2)(3) = 7", (1, 1)), ("(2 + 1)(3 + 4) = 21", (1, 0)), ("6/2(1 + 2) = 9", (None, None)),
     (r"$\frac{1}{2} + \frac{1}{3} = \frac{5}{6}$", (1, 0)), (r"$\frac{1}{2} + \frac13 = \frac{4}{6}$", (1, 1)), (r"$\dfrac{\frac{1}{2}}{2} = 0.25$", (1, 0)),
     (r"\[3 \cdot 4 = \boxed{12}\]", (1, 0)), (r"\[3 \cdot 4 = \boxed{13}.\]", (1, 1)), (r"$180^\circ - 90^{\circ} = 80^\circ$", (1, 1)),
     (r"\begin{align*} x &= 3 + 4 \\ &= 8 \end{align*}", (1, 1)), (r"$\left(1 + 2\right)^{2} = 9$", (1, 0)), (r"$1{,}200 \times 2 = 2{,}500$", (1, 1)),
     (r"$3 \times 4 = 12 \text{ cm}$", (1, 0)), (r"$1\frac{1}{2} + 1 = 3$", (None, None)), (r"$x = 2 \cdot 5 = 11$", (1, 1))],
)  # fmt: skip
def test_powers_brackets_and_latex(text, expected):
    assert check(text) == expected


@pytest.mark.parametrize(
    "text",
    [r"$\sqrt{9} + 1 = 5$", r"$\sqrt 9 + 1 = 5$", r"$\log_2 8 + 1 = 3$", "sin 30 + 1 = 2", r"$302-296=2 d$", r"$101_2 + 1 = 110_2$", "$1^2 +\n2^2 + 3^2 = 14$",
     r"$\frac{3 \times 10^{8}}{530 \times 10^{3}} = 566$", r"$2.5 \times 10^{4} = 25$ kJ", r"$1000 \cdot 1.01875^8 = 1160$", "3:4 = 6/8", "7 + 8 = 3 (mod 12)",
     "7 + 8 = 3, as the clock shows", "5 + 5 = 12 in base 8", r"$[565-\sqrt{436}] \frac{1}{96.3} = 3$", r"$f(2) = 3$ and $2^x = 1 + 2$", r"$\binom{5}{2} = 11$", "17/3 = 6 to the nearest unit",
     "100 / 5 * 2 = 10", "8 + 6 / 120 + 80 = 14 / 200 = 7%", "( 510 × 5 + 240 × 25 / 10 ) = ( 8550 / 10 )", "20 / 30 ∗ 100 = 66.667", "14200 / 60 = 237", "0.9X(0.02) = 72",
     "0.6875*2 = 1.375--1", "25*8% = 2/- 25", "7 / 8 = 0 余数 7", "The unit's digit of 9^3 = 9"],
)  # fmt: skip
def test_what_else_may_be_right_is_not_wrong(text):
    assert check(text)[1] in (0, None)


def test_an_operator_that_the_question_defines_is_not_checked():
    assert check("2 * 6 = 100", question="If $a * b = a^b + b^a$, find 2 * 6.") == (None, None)
    assert check("2 * 6 = 100", question=r"The operation $\star$ is new. What is 2 * 6?") == (None, None)
    assert check("2 * 6 = 100", question="An operation costs $6. What do two cost?") == (1, 1)
    assert check("2 * 6 = 100", question="A box holds 6 pens. How many do 2 boxes hold?") == (1, 1)


# What the public data writes; each was once called wrong.
@pytest.mark.parametrize(
    "text",
    ["There are 3/ 1/4 = 12 quarters of a mile.", "25 / 1/3 = 75 decorations", "28 / 1/5 = 28 * 5 = 140 cups", "$2000 / 2/3 = $3000",
     "It lasts 14 / 1 / 4 = 14 * 4 = 56 washes.", "15% of $80 = (15/100)*$80 = $12", "He reads 1 and 1/3 hours as 4 / 3 = 1 and 1/3",
     "15 cups, because 12 x 1 and 1/4 = 15", "100 / 6= 16 and (2/3)", "17/3 = 5 and 2/3 loads", "13 / 6 = 2 R 1",
     "13 / 6 = 2 full cycles with a remainder of 1 hour", "17 / 4 = 5 boxes when rounded up", "$1 / 2 = 50 cents", "$2.50 - $2.24 = 26 cents more",
     "5/5 – 1/5 = 4/5 for the rest", "$2,430 – ($1,250 + $850) = $2,430 – $2,100 = $330", "5/5 − 1/5 = 4/5", "9‒2 = 7",
     "5 thousand a day for 3 days: 5 * 3 = $15,000", ".8 + . 84 + .82 = 2.46", "14, 400 / 80 = 180", "0900-0130 = 0730 hours",
     "Week 1 + Week 2 = 35 + 35 = 70 hours", "Weeks 3-4 from Weeks 1-2 = 96 - 70 = 26", "10 pages on day 1 * 2 = 20 pages",
     "Remaining 10 = 62,300/10 = $6230", "75 + 10% of 150 = 75 + 15 = 90", "half of 30 + 5 = 20", "The rule:\n- 5 + 5 = 10",
     "taking 3 from 10 * 2 = 17", "2 plus 3 * 4 = 14"],
)  # fmt: skip
def test_what_may_be_right_is_not_wrong(text):
    assert check(text)[1] in (0, None)


@pytest.mark.parametrize(
    "text",
    ["500/ 2/5 = 200 seats", "6/3=.5 hour", "$4200+$3000 = $8600", "2*8 = 24 hours", "14*20=140 minutes", "packs sold is 4=6*15 = 90",
     "a total of 4+4+6 = 18 hot dogs", "4080 – 40 = 4000 – 40", "5 x 1/2 = 10 halves", "12 / 4 = 5 and so on", "so 6 + 7 = 12.",
     "In 2020, 500 + 5 = 500", "5 + 6 = 12, with the remainder of the day off"],
)  # fmt: skip
def test_what_is_surely_wrong_is_wrong(text):
    assert check(text)[1] == 1


expression = st.recursive(
    st.integers(0, 999).map(str),
    lambda inner: st.tuples(inner, st.sampled_from(["+", "-", "*"]), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(expression, expression, st.integers(1, 5))
def test_agrees_with_python(a, b, off):
    value = eval(f"{a} - {b}")  # the test's own expressions
    assume(abs(value) < 10**12)  # floats: exact to one part in 10^13
    assert check(f"<<{a} - {b}={value}>>") == (1, 0)
    assert check(f"<<{a} - {b}={value + off}>>") == (1, 1)
    assert check(f"So {a} - {b} = {value}.") == (1, 0)

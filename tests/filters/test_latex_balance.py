# ruff: noqa: E501
import pytest

from filters.base import load
from tests.filters.text_samples import answers

f = load("latex_balance")


def unmatched(text, **kw):
    return f.score(answers(text, **kw))["unmatched"][0].as_py()


@pytest.mark.parametrize(
    "text",
    [r"$\frac{1}{2}$", r"\[ x^2 \]", r"\(a\) and $$b$$", r"\begin{align*} a &= b \\ c &= d \end{align*}", r"\left( \frac12 \right)",
     r"\$5 and $x_1$", r"\leftarrow and \rightarrow", r"\alpha \{ a \}", r"It costs $5, and \frac{1}{2} of it is due.", r"$x^2$ costs $30"],
)  # fmt: skip
def test_balanced(text):
    assert unmatched(text) == 0


@pytest.mark.parametrize(
    ("text", "count"),
    [(r"$\frac{1}{2$", 1), (r"\frac{1}2}", 1), (r"\[ x^2", 1), (r"x^2 \]", 1), (r"\begin{align} a", 1), (r"\begin{a} \alpha \end{b}", 2),
     (r"\left( \frac12", 1), (r"\frac12 \right)", 1), (r"$$ \alpha", 1), (r"$\alpha + \beta", 1), (r"\(x", 1), ("$\\alpha\n\nnext", 1)],
)  # fmt: skip
def test_unbalanced(text, count):
    assert unmatched(text) == count


@pytest.mark.parametrize("text", ["It costs $5 or $10.", "no math", "{", "```\n\\frac{1\n```", ""])
def test_texts_without_latex_do_not_apply(text):
    assert unmatched(text) is None


def test_code_does_not_apply():
    assert unmatched(r"\frac{1", task="code") is None

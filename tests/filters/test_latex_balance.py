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


@pytest.mark.parametrize(
    "text",
    [
        "It costs $5 or $10.",
        "no math",
        "{",
        "```\n\\frac{1\n```",
        "",
        r"see C:\xampp\log {",
        r"`^\frac{$`",
        "<?php $sql_a = $row_b; {",
        r"match /\d+\w{/",
    ],
)
def test_texts_without_latex_do_not_apply(text):
    assert unmatched(text) is None


def test_code_does_not_apply():
    assert unmatched(r"\frac{1", task="code") is None


@pytest.mark.parametrize(
    ("text", "count"),
    [(r"{ \( } \)", 2), (r"$\frac{1}{2$ and $\frac{1}{2}}$", 2),  # two faults that cancel each other out if only counted
     (r"\begin{a} \begin{b} \end{a} \end{b}", 2), (r"\left( { \right) }", 2), (r"$$ x_1 $ y", 1), (r"\begin{align} { \end{align}", 1)],
)  # fmt: skip
def test_what_is_not_nested_is_unmatched(text, count):
    assert unmatched(text) == count


@pytest.mark.parametrize(
    "text",
    [r"It is $5, so $x_1 = 5$.", r"$3 and $4 make \$7, and $x_1$", r"$5, and \(x_1\)", r"$13 : 2 : 17, $ and $\frac12$", r"$1.2M and $x_1$", r"$3k, $4.50 or $.75: \(x_1\)", r"$x$$y_1$", r"$\text{if $x_1 > 0$}$", r"\\[2pt] $x_1$",
     r"$2 + 3 = 5 $ and $x_1$", "[asy] label(\"$x\"); [/asy] $x_1$", r"\begin{tabular}{c} $x_1$ & 2 \end{tabular}", r"$\left.\frac12\right|$"],
)  # fmt: skip
def test_also_balanced(text):
    assert unmatched(text) == 0


@pytest.mark.parametrize(
    "text",
    [
        r"It is $5, so $x = \alpha.",
        r"$\text{if $x_1 > 0}$",
        r"$x_1$ and y_1$",
        r"so $x_1$ and y$.",
        r"$x_1$ and $2x + 3",
        r"$x_1$ and $3^2 + 4",
    ],
)
def test_a_dollar_too_few(text):
    assert unmatched(text) > 0

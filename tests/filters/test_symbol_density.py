import pytest

from filters.base import load
from tests.filters.text_samples import PROSE, answers

f = load("symbol_density")


def score(text, **kw):
    return {k: v[0] for k, v in f.score(answers(text, **kw)).to_pydict().items()}


@pytest.mark.parametrize(
    ("text", "words", "numbers", "symbols"),
    [("3 + 4 = 7", 0, 3, 2), ("3*4/2 - 1", 0, 4, 3), ("x = 5", 1, 1, 1), (r"\frac{1}{2}", 0, 2, 1),
     (r"$\alpha \leq x^2$", 1, 1, 3), ("5\n- 6", 0, 2, 0),
     ("and/or well-known -- but - no", 6, 0, 0), ("* one\n* two", 2, 0, 0), ("1,200.50 apples", 1, 1, 0), ("x_{1} a_b", 3, 1, 2),
     ("∑ x ≤ 5 × y", 2, 1, 3), (r"\, a \ b", 2, 0, 0), ("42nd 3D", 2, 0, 0), ("日本 + 2", 2, 1, 1)],
)  # fmt: skip
def test_counts(text, words, numbers, symbols):
    total = words + numbers + symbols
    out = score(text)
    assert out["symbols"] == round(symbols / total, 6)
    assert out["numbers"] == round(numbers / total, 6)


def test_formulas():
    assert score(r"Let $\alpha = 1$ be \(x\).")["formulas_per_1000"] == round(2000 / 6, 6)
    assert score("nothing of that kind")["formulas_per_1000"] == 0.0
    assert score(PROSE)["symbols"] == 0.0


def test_where_it_does_not_apply():
    none = dict.fromkeys(f.scores)
    assert score("") == none
    assert score("3 + 4", task="code") == none
    assert score("```\n3 + 4\n```") == none

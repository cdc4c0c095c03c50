# ruff: noqa: E501
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.base import load
from tests.filters.text_samples import answers

f = load("latex_parse")


def score(text, **kw):
    out = f.score(answers(text, **kw))
    return out["formulas"][0].as_py(), out["broken"][0].as_py()


GOOD = (
    r"\frac{1}{2}", r"\frac12", r"\frac\pi2", r"\frac ab", r"\sqrt{2}", r"\sqrt[3]{x+1}", r"\sqrt 2", r"x^2_1", r"x_1^2", r"x^{2^3}", r"{x^2}^3", r"x'^2", r"x''",
    r"\sum_{i=1}^{n} i^2", r"\int\limits_0^1 x^2\,dx", r"\left(\frac{a}{b}\right)^2", r"\left\{ x \right.", r"\left\langle x, y \right\rangle", r"\left⟨x\right⟩",
    r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}", r"\begin{array}{cc} a & b \end{array}", r"\begin{cases} x^2 & x > 0 \\ \text{no $x$} & \text{else} \end{cases}",
    r"\text{a_b & c}", r"\hat{x}^2", r"x^\circ", r"180^{\circ}", r"\boxed{\dfrac{3}{4}}", r"a^{b}c^{d}", r"x^2 y^2", r"x^2{}^3", r"\binom{n}{k}", r"\{x\}", r"\operatorname{proj}_{v} w",
    r"\matrix{a & b \cr c & d}", r"f'(x)", r"\vec{AB}", r"x^*", r"x_é", r"\lim_{x \to 0} \frac{\sin x}{x}",
)  # fmt: skip
BAD = (
    r"\frac{1}", r"\frac{1}}{2", r"\frac{1} & 2", r"\sqrt", r"\sqrt[3]", r"x^", r"x_", r"x^{2}^{3}", r"x_1_2", r"x^2'", r"x^2^3", r"x^2\limits^3", r"a & b", r"\left x \right)",
    r"\left{ x \right}", r"\left( x", r"x \right)", r"\frac{\frac{1}{2}}", r"x^{2", r"x}^2", r"\begin{pmatrix} 1 & 2", r"\begin{pmatrix} 1 \end{bmatrix}",
    r"\begin{equation} a & b \end{equation}", r"\binom{n}", r"\text", r"{x^2^3}",
)  # fmt: skip


@pytest.mark.parametrize("formula", GOOD)
@pytest.mark.parametrize("form", ["${}$", r"\({}\)", "$$\n{}\n$$", r"\[{}\]", r"\begin{{align}}{}\end{{align}}"])
def test_well_formed(formula, form):
    text = r"See $\alpha$: " + form.format(formula) + " and more"
    assert score(text) == (2, 0)


@pytest.mark.parametrize("formula", BAD)
@pytest.mark.parametrize("form", ["${}$", r"\({}\)", "$$\n{}\n$$", r"\[{}\]"])
def test_broken(formula, form):
    formulas, broken = score(r"See $\alpha$: " + form.format(formula) + r" and $\beta$")
    assert formulas == 3
    assert broken == 1


def test_a_text_without_delimiters_is_one_formula():
    assert score(r"\frac{1}{2}") == (1, 0)
    assert score(r"\frac{1}") == (1, 1)
    assert score("no math") == (None, None)
    assert score(r"\frac{1}", task="code") == (None, None)


def test_empty_lines_end_inline_formulas_only():
    assert score("$\\alpha\n\nb") == (1, 1)
    assert score("$$\n\n\\alpha\n\n$$") == (1, 0)
    assert score("It costs $5.\n\n$\\alpha$") == (1, 0)


def test_several_broken_ones():
    out = f.score(answers(r"$\frac{1}$ $\alpha$ $x^2^3$ $\beta$"))
    assert out["broken"][0].as_py() == 2
    assert out["broken_share"][0].as_py() == 0.5


atom = st.sampled_from(["x", "y", "3", r"\alpha", r"\pi ", "+", "="])


def grow(inner):
    group = inner.map("{{{}}}".format)
    return st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(st.sampled_from([r"\frac", r"\binom", r"\dfrac"]), group, group).map("".join),
        st.tuples(st.sampled_from([r"\sqrt", r"\sqrt[3]", r"\hat", r"\mathrm"]), group).map("".join),
        st.tuples(st.sampled_from(["z", "5", r"\beta"]), st.sampled_from(["^", "_"]), group).map("".join),
        st.just(r"\text{a word}"),
        st.tuples(st.just("w^"), group, st.just("_"), group).map("".join),
        inner.map(r"\left({}\right)".format),
        st.tuples(inner, inner).map(lambda t: rf"\begin{{pmatrix}}{t[0]} & {t[1]} \\ 1 & 2\end{{pmatrix}}"),
    )


formula = st.recursive(atom, grow, max_leaves=12)


@settings(max_examples=150, deadline=None)
@given(formula, st.data())
def test_what_a_grammar_makes_is_well_formed_until_a_brace_is_lost(inner, data):
    text = rf"$\gamma$ and $${inner}$$"
    assert score(text) == (2, 0)
    braces = [i for i, c in enumerate(text) if c in "{}"]
    if braces:
        at = data.draw(st.sampled_from(braces))
        assert score(text[:at] + text[at + 1 :])[1] == 1


@settings(max_examples=100, deadline=None)
@given(formula)
def test_a_parser_agrees(inner):
    convert = pytest.importorskip("latex2mathml.converter").convert
    convert(inner)  # raises where it cannot


@pytest.mark.parametrize("formula", [r"x^{2}^{3}", r"x_1_2", r"\left( x", r"\sqrt"])
def test_a_parser_agrees_on_what_is_broken(formula):
    convert = pytest.importorskip("latex2mathml.converter").convert
    with pytest.raises(Exception):  # noqa: B017 (each of its errors is a class of its own)
        convert(formula)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="{}$\\()[]^_&'ab1 \n", max_size=40))
def test_any_text_is_taken(text):
    formulas, broken = score(text + r" \alpha")
    assert formulas is None or 0 <= broken <= formulas

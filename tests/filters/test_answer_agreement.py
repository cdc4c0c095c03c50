# ruff: noqa: E501
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.errors import UserError
from filters.base import load
from tests.filters.text_samples import MEDIUM, batch, sample

f = load("answer_agreement")


def answer(text, task="math"):
    return f.score(batch(sample(text, task=task)))["answer"][0].as_py()


@pytest.mark.parametrize(
    ("text", "expected"),
    [(r"So it is \boxed{42}.", "42"), (r"\boxed{1} then \boxed{\frac{1}{2}}", "0.5"), (r"\boxed{\text{Monday}}", "monday"), ("5 + 5 = 10\n#### 10", "10"),
     ("#### 1,200", "1200"), ("The answer is (B) because 3 > 2.", "b"), ("**Answer:** C", "c"), ("Final answer: $x = 3.50$.", "3.5"), ("the answer is 7. Next.", "7"),
     (r"\boxed{\dfrac12}", "0.5"), (r"\boxed{-\frac{3}{4}}", "-0.75"), ("#### 1/3", "0.3333333333"), (r"\boxed{90^\circ}", "90"), (r"\boxed{50\%}", "50"), ("#### $18", "18"),
     ("#### 5 apples", "5"), ("#### 1.5 million", "1.5_million"), (r"\boxed{ (1,\, 2) }", "(1,2)"), (r"\boxed{\{1,2\}}", r"\{1,2\}"), (r"\boxed{2x}", "2x"), (r"\boxed{x \in [1,2]}", "[1,2]"),
     ("At first it is 3, then it is 4, so -7 in all, no more", "-7"), (r"\boxed{5\text{ cm}}", "5"), ("#### 5cm", "5"), ("It is 10-5 or so, which is easy to see from the above", "5"), ("Paris", "paris"), ("#### -0.0", "0"),
     ("a long text of words that ends in no number whatever", None), ("", None)],
)  # fmt: skip
def test_final_answers(text, expected):
    assert answer(text) == expected


def test_an_empty_box_is_no_mark():
    assert answer(r"It is 5 if one counts as has been shown above: \boxed{}") == "5"
    assert answer("####  \nthe answer is 5") == "5"


def test_tasks_that_have_no_final_answer_without_a_mark():
    assert answer("It is 5, as one can see from what has been said above.", task="vqa") is None
    assert answer("Five.", task="vqa") == "five"
    assert answer("Five.", task="text") is None
    assert answer("The answer is five.", task="text") == "five"
    assert answer("The answer is five.", task="code") is None


def test_the_last_assistant_message_counts_and_the_question_is_text_and_media():
    two = sample("#### 1", question="a  B", id="s/1")
    two["messages"] += [{"role": "user", "content": "again"}, {"role": "assistant", "content": "#### 2"}]
    out = f.score(
        batch(two, sample("#### 2", question="A b\nagain", id="s/2"), sample("#### 2", question="a-b again", id="s/3"))
    )
    assert out["answer"].to_pylist() == ["2", "2", "2"]
    q = out["question"].to_pylist()
    assert q[0] == q[1] != q[2]
    shown = sample("#### 2", question="A b\nagain")
    shown["media"] = [MEDIUM]
    assert f.score(batch(shown))["question"][0].as_py() != q[1]
    assert f.score(batch(sample("x", question="")))["question"].to_pylist() == [None]


def pooled(*pairs, verify=False):
    g = load("answer_agreement", {"verify": verify})
    rows = batch(*(sample(a, question=q, task="math", id=f"s/{i:02d}") for i, (q, a) in enumerate(pairs)))
    local = g.score(rows)
    signatures = pa.table(
        {**{c: rows.column(c) for c in ("id", "source", "task")}, **dict(zip(g.scores, local, strict=True))}
    )
    found = {r["id"]: (r["answers"], r["agreement"], r["majority"]) for r in g.pool(signatures).to_pylist()}
    return [found.get(f"s/{i:02d}") for i in range(len(pairs))]


def test_votes():
    out = pooled(
        ("q", "#### 4"),
        ("q", r"\boxed{4.0}"),
        ("q", "#### 5"),
        ("other", "#### 5"),
        ("q", "no number in this long enough answer, none at all"),
    )
    third = round(1 / 3, 6)
    assert out == [(3, round(2 / 3, 6), 1.0), (3, round(2 / 3, 6), 1.0), (3, third, 0.5), None, None]


def test_a_tie_is_no_minority():
    assert pooled(("q", "#### 4"), ("q", "#### 5")) == [(2, 0.5, 1.0)] * 2


def test_forms_that_only_algebra_tells_equal():
    pairs = [("q", r"\boxed{\frac{\sqrt{2}}{2}}"), ("q", r"\boxed{\frac{1}{\sqrt{2}}}"), ("q", r"\boxed{2}")]
    assert [v[1] for v in pooled(*pairs)] == [round(1 / 3, 6)] * 3
    pytest.importorskip("math_verify")
    assert [v[1] for v in pooled(*pairs, verify=True)] == [round(2 / 3, 6)] * 2 + [round(1 / 3, 6)]


def test_without_math_verify_the_error_says_what_to_install(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "math_verify", None)
    with pytest.raises(UserError, match=r"cuvee\[math\]"):
        pooled(("q", "#### 4"), ("q", "#### 5"), verify=True)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3)), min_size=1, max_size=12))
def test_agrees_with_counting(pairs):
    out = pooled(*((q, f"#### {a}") for q, a in pairs))
    for (q, a), found in zip(pairs, out, strict=True):
        mine = [x for p, x in pairs if p == q]
        most = max(mine.count(x) for x in mine)
        expected = (len(mine), round(mine.count(a) / len(mine), 6), round(mine.count(a) / most, 6))
        assert found == (expected if len(mine) > 1 else None)


@settings(max_examples=200, deadline=None)
@given(st.integers(-(10**9), 10**9), st.integers(1, 1000))
def test_a_fraction_and_its_value_are_one(over, under):
    sign = "-" if over < 0 else ""
    forms = {answer(rf"\boxed{{{sign}\frac{{{abs(over)}}}{{{under}}}}}"), answer(f"#### {over}/{under}")}
    assert len(forms) == 1
    if over % under == 0:
        assert forms == {answer(f"#### {over // under:,}")}

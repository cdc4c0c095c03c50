# ruff: noqa: E501
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.base import load
from tests.filters.text_samples import batch, sample

f = load("answer_leak")
LONG = "the quick brown fox jumps over the lazy dog and runs far away"  # 13 words


def score(question, answer, task="math", flt=f):
    return {k: v[0] for k, v in flt.score(batch(sample(answer, question=question, task=task))).to_pydict().items()}


@pytest.mark.parametrize(
    ("question", "answer"),
    [("What is 6 x 7? Answer: 42", "#### 42"), (r"What is 1/2? \boxed{\frac12}", "0.5"), ("6 x 7?\n#### 42", r"\boxed{42}"), ("Show why. The answer is (B).", "The answer is B"),
     ("Explain why the answer is 1,200.", "... so #### 1200")],
)  # fmt: skip
def test_the_answer_in_a_mark_is_given(question, answer):
    assert score(question, answer)["given"] == 1


@pytest.mark.parametrize(
    ("question", "answer"),
    [("Tom has 3 apples. How many?", "#### 3"), ("What is 6 x 7? Answer: 41", "#### 42"), (r"What is 6 x 7? Put it in \boxed{}.", r"\boxed{42}"), ("What is 6 x 7? Answer:", "#### 42"),
     ("Q: 1 + 1? The answer is 2. Q: 4 - 2?", "#### 2"),  # an example before the question
     ("1 + 1? Answer: 2\n3 + 1? Answer: 4\nGo on. Answer: 2", "#### 2"),  # several of them
     (r"Is the answer in \boxed{42} right?", "#### 42"), ("A. 1\nB. 2\nC. 3", "The answer is B")],
)  # fmt: skip
def test_what_is_no_leak(question, answer):
    assert score(question, answer)["given"] == 0


def test_contained_and_echo():
    out = score(f"Say: {LONG.upper()}!", LONG, task="text")
    assert (out["given"], out["contained"], out["echo"]) == (None, 1, round(13 / 14, 6))
    assert score(f"{LONG} {LONG[4:]} {LONG}", LONG, task="text")["echo"] == round(13 / 38, 6)
    out = score(LONG.replace("fox", "dog"), LONG, task="text")
    assert (out["contained"], out["echo"]) == (0, 0.0)
    assert score(LONG, "the quick brown fox", task="text")["contained"] is None


def test_where_it_does_not_apply():
    none = dict.fromkeys(f.scores)
    assert score("Answer: 42", "#### 42", task="code") == none
    assert score("", "#### 42") == none
    assert f.score(batch(sample(None, question="Answer: 42"))).to_pylist() == [none]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from("ab"), min_size=1, max_size=6), st.lists(st.sampled_from("ab"), min_size=1, max_size=14)
)
def test_the_search_agrees_with_a_simple_one(answer, question):
    flt = load("answer_leak", {"words": 1})
    found = any(question[i : i + len(answer)] == answer for i in range(len(question)))
    assert score(" ".join(question), " ".join(answer), flt=flt)["contained"] == int(found)

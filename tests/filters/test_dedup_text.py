import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters import dedup_text
from filters.base import load
from tests.filters.text_samples import HOSTILE, MEDIUM, batch, sample

f = load("dedup_text")


def signatures(*samples, filt=f):
    return filt.score(batch(*samples)).column("signature").to_pylist()


def same(a, b, task="text"):
    one, two = signatures(sample(a, question="", task=task), sample(b, question="", task=task))
    return one == two


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("The Cat sat.", "the cat  sat"),
        ("“Quoted” – text…", '"quoted" - TEXT...'),
        ("line one\r\nline two ", "line one\nline two"),
        ("ﬁne ﬂour", "fine flour"),  # ligatures: NFKC
        ("cafe\u0301", "café"),
        ("soft\u00adhyphen", "softhyphen"),
    ],
)
def test_case_punctuation_white_space_and_typography_do_not_count(a, b):
    assert same(a, b)


@pytest.mark.parametrize(
    ("a", "b"), [("the cat sat", "the cat sat down"), ("a bc", "ab c"), ("café", "cafe"), ("in 1999", "in 2000")]
)
def test_other_words_are_another_text(a, b):
    assert not same(a, b)


@pytest.mark.parametrize("task", ["math", "code"])
@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("x - 2 = 0", "x + 2 = 0"),
        ("x is X", "x is x"),
        ("x² is 4", "x2 is 4"),
        ("if a:\n    b\nc", "if a:\n    b\n    c"),
        ("a\nb", "a b"),
    ],
)
def test_where_symbols_case_and_indentation_are_meaning_they_count(task, a, b):
    assert not same(a, b, task)
    assert load("dedup_text", {"strict": []}).score(batch(sample(a, task=task))) == f.score(batch(sample(a)))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("x  =\t2", "x = 2"),
        ("a \r\nb", "a\nb"),
        ("a\n\n\nb", "a\nb"),
        ("  a\nb\n", "a\nb"),
        ("cafe\u0301", "café"),
        ("a\n    b", "a\n\n    b"),
    ],
)
def test_white_space_is_evened_out_everywhere(a, b):
    assert same(a, b, "code")


def test_messages_are_one_text_whatever_their_roles():
    parts = [{"role": "user", "content": "What is it?"}, {"role": "assistant", "content": "A cat."}]
    joined = [{"role": "assistant", "content": "What is it?\nA cat."}]
    for task in ("text", "math"):
        one, two = ({**sample("x", task=task), "messages": m} for m in (parts, joined))
        assert len(set(signatures(one, two))) == 1


def test_the_same_caption_under_another_picture_is_another_sample():
    other = {**MEDIUM, "digest": "cd" * 32}
    a, b, c = (sample("A red apple.", question="", task="caption", image=True) for _ in range(3))
    b["media"] = [other]
    c["messages"] = [{"role": "assistant", "content": "a RED apple"}]
    one, two, three, none = signatures(a, b, c, sample("A red apple.", question="", task="caption"))
    assert one == three
    assert len({one, two, none}) == 3


def test_null_without_words():
    empty = {**sample("x"), "messages": []}
    assert signatures(empty, sample("?!", "..."), sample("?!", "...", task="math"), sample(" ", " ", task="math")) == [
        None,
        None,
        signatures(sample("?!", "...", task="math"))[0],
        None,
    ]


def test_those_with_one_signature_are_alike():
    b = batch(
        sample("One text.", id="s/1"), sample("another", id="s/2"), sample("one TEXT", id="s/3"), sample("x", id="s/4")
    )
    signed = pa.table({"id": b.column("id"), "signature": f.score(b).column("signature")})
    keys = dedup_text.keys(signed)
    assert keys.schema == pa.schema([("row", pa.int64()), ("key", pa.uint64())])
    assert keys["row"].to_pylist() == [0, 1, 2, 3]
    assert keys["key"][0] == keys["key"][2]
    assert len(set(keys["key"].to_pylist())) == 3
    assert dedup_text.alike(signed, np.array([0, 0, 1]), np.array([2, 1, 3])).tolist() == [1.0, 0.0, 0.0]
    assert dedup_text.keys(signed.slice(0, 0)).num_rows == 0
    assert f.cluster(signed).to_pylist() == [
        {"id": "s/1", "cluster": "s/1", "similarity": 1.0},
        {"id": "s/3", "cluster": "s/1", "similarity": 1.0},
    ]


@given(st.lists(st.text(alphabet="aB.- \n\tßé²", max_size=12), min_size=2, max_size=12), st.data())
def test_a_signature_depends_on_its_sample_alone(texts, data):
    tasks = [data.draw(st.sampled_from(["text", "math", "code"])) for _ in texts]
    rows = [sample(t, question="", task=k) for t, k in zip(texts, tasks, strict=True)]
    assert signatures(*rows) == [signatures(r)[0] for r in rows]


def test_hostile_texts_are_told_apart():
    strict = signatures(*(sample(t, question="", task="code") for t in HOSTILE))
    empty = [t for t, s in zip(HOSTILE, strict, strict=True) if s is None]
    assert empty == ["", " ", "\n\n\n", "<image>"]
    assert len(set(strict)) == len(HOSTILE) - len(empty) + 1

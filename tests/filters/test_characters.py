import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.errors import UserError
from filters.base import load
from filters.shared.characters import lower, special
from tests.filters.text_samples import HOSTILE, answers

f = load("characters")


def one(text, **kw):
    return {k: v[0] for k, v in f.score(answers(text, **kw)).to_pydict().items()}


def test_by_hand():
    assert one("ab 1!") == {"alphanumeric": 0.6, "special": 0.6}
    assert one("42") == {"alphanumeric": 1.0, "special": 1.0}
    assert one("né") == {"alphanumeric": 1.0, "special": 0.0}
    assert one("ne\u0301") == {"alphanumeric": 0.666667, "special": 0.0}, "a combining mark is neither"
    assert one("👍🏽") == {"alphanumeric": 0.0, "special": 1.0}
    assert one("你好，世") == {"alphanumeric": 0.75, "special": 0.25}


def test_null():
    assert set(one("").values()) == set(one(None).values()) == {None}
    assert set(one("x = 1", task="code").values()) == set(one("x = 1", task="math").values()) == {None}
    assert set(load("characters", {"min_characters": 4}).score(answers("abc", "abcd"))["special"].to_pylist()) == {
        None,
        0.0,
    }


@given(st.text(st.characters(max_codepoint=0x1FFFF, exclude_categories=["Cs"]), min_size=1))
def test_alphanumeric_is_python_s(text):
    assert one(text.replace("<", "("))["alphanumeric"] == pytest.approx(
        sum(c.isalnum() for c in text) / len(text), abs=1e-6
    )


def test_special_characters_of_others(tmp_path):
    path = tmp_path / "special.txt"
    path.write_text(" !ø")
    theirs = load("characters", {"special_path": str(path)})
    assert theirs.score(answers("ab ø", "1!"))["special"].to_pylist() == [0.5, 0.5]
    path.write_text("ab")
    assert theirs.score(answers("ab ø"))["special"].to_pylist() == [0.5], "a file that changed is read again"
    with pytest.raises(UserError, match="no file"):
        load("characters", {"special_path": str(tmp_path / "none")}).score(answers("a"))


def test_tables():
    assert not special()[ord("ø")] and special()[ord(" ")] and special()[ord("7")] and special()[0x200B]
    table = lower()
    assert table[ord("Ä")] == ord("ä") and table[ord("İ")] == ord("İ")


def test_hostile():
    out = f.score(answers(*HOSTILE))
    for name in f.scores:
        assert all(v is None or 0 <= v <= 1 for v in out[name].to_pylist())

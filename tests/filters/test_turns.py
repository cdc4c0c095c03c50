import pytest

from filters.base import load
from tests.filters.dialogues import dialogues
from tests.filters.text_samples import batch, sample

f = load("turns")


@pytest.mark.parametrize(
    ("turns", "want"),
    [
        (("u:Hi", "a:Hello"), (1, 0, 0, 0)),
        (("s:Be kind.", "u:Hi", "a:Hello", "u:Bye", "a:Bye"), (2, 0, 0, 0)),
        (("u:Hi", "u:Hi?", "a:Hello"), (1, 1, 0, 0)),
        (("u:Hi", "a:Hel", "a:lo"), (2, 1, 0, 0)),
        (("a:Hello", "u:Hi", "a:Hello"), (2, 1, 0, 0)),
        (("s:x", "a:Hello", "u:Hi", "a:Hello"), (2, 1, 0, 0)),
        (("u:Hi", "s:Be kind.", "a:Hello"), (1, 2, 0, 0)),  # the system message, and an answer right after it
        (("u:Hi", "a:Hello", "u:Bye"), (1, 0, 0, 1)),
        (("u:Hi",), (0, 0, 0, 1)),
        (("u:Hi", "a: \n\u200b"), (1, 0, 1, 0)),
        (("u:<image>", "a:A cat"), (1, 0, 0, 0)),  # an image is something said
        (("u:", "a:A cat"), (1, 0, 1, 0)),
        (("u:Hi", "?:{}", "a:Hello"), (1, 0, 0, 0)),
    ],
)
def test_by_hand(turns, want):
    out = f.score(dialogues(turns))
    assert tuple(c[0].as_py() for c in out.columns) == want


def test_not_for_documents_and_bare_pictures():
    out = f.score(dialogues(("a:A whole document.",), ("u:<image>",), ()))
    assert all(c.null_count == 3 for c in out.columns)


def test_null_messages():
    out = f.score(batch({**sample(), "messages": None}, sample("Yes.", "Really?")))
    assert out["turns"].to_pylist() == [None, 1]

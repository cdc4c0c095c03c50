import pytest

from filters.base import load
from tests.filters.dialogues import dialogues
from tests.filters.text_samples import answers

f = load("response")
LONG = "It was raining all day long in the town and the people who lived there stayed at home with their cats"


@pytest.mark.parametrize(
    ("answer", "words", "characters"),
    [
        ("3", 1, 1),
        (" Yes, it is. ", 3, 9),
        ("a\u00a0b\tc\n\nd", 4, 4),
        ("夕食に行く", 5, 5),  # no spaces: every character is a word
        ("Tokyo は 東京", 4, 8),
        ("", 0, 0),
        (" \n\u200b\x00", 0, 0),
        ("...", 1, 3),
        ("<image>", 0, 0),
    ],
)
def test_length(answer, words, characters):
    out = f.score(answers(answer))
    assert (out["words"][0].as_py(), out["characters"][0].as_py()) == (words, characters)
    assert out["empty"][0].as_py() == (characters == 0)


def test_the_shortest_answer_counts():
    out = f.score(dialogues(("u:Hi", "a:Hello there", "u:And?", "a:", "u:?", "a: \n")))
    assert [c[0].as_py() for c in out.columns] == [0, 0, 2, 0]


@pytest.mark.parametrize("end", [",", " and", " of the", ":", " (", " a", " because ", " [", " and\n"])
def test_abrupt(end):
    assert f.score(answers(LONG + end))["abrupt"][0].as_py() == 1


@pytest.mark.parametrize(
    "end", [".", "!", "", ")", "\n\nYours sincerely,", " vitamin A", " they live for", "\n- rain\n- cats", "…"]
)
def test_not_abrupt(end):
    assert f.score(answers(LONG + end))["abrupt"][0].as_py() == 0


def test_code_fences_close():
    out = f.score(answers(LONG + "\n```python\nprint(1)\n```", LONG + "\n```python\nprint(1)\n", "```short"))
    assert out["abrupt"].to_pylist() == [0, 1, 0]


def test_only_short_texts_may_end_anyhow_and_the_limit_is_a_parameter():
    assert f.score(answers("red, green,"))["abrupt"][0].as_py() == 0
    assert load("response", {"min_words": 2}).score(answers("red, green and"))["abrupt"][0].as_py() == 1


def test_not_for_documents():
    out = f.score(dialogues(("a:A document.",), ("u:<image>", "a:A caption"), ("u:Hi",)))
    assert all(c.null_count == 3 for c in out.columns)

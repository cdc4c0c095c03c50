from hypothesis import given, settings
from hypothesis import strategies as st

from filters.base import load
from tests.filters.parity_samples import broken
from tests.filters.text_samples import PROSE, answers

f = load("fineweb")
published = load("fineweb", {"min_words": 0})


def one(text, filt=published, **kw):
    return {k: v[0] for k, v in filt.score(answers(text, **kw)).to_pydict().items()}


def test_prose_passes_and_short_texts_do_not_apply():
    assert broken(f.bounds, one(PROSE, f)) == []
    assert set(one("Yes", f).values()) == {None}
    assert set(one(None).values()) == {None}


def test_scores_by_hand():
    scores = one("A line of more than thirty characters.\n \nno end\nno end\n? \nWhat。")
    lines = ["A line of more than thirty characters.", "no end", "no end", "? ", "What。"]
    assert scores["lines"] == 5
    assert scores["closed_lines"] == 2 / 5  # white space behind a sign leaves the line open
    assert scores["short_lines"] == 4 / 5
    assert scores["duplicate_line_characters"] == 6 / (sum(map(len, lines)) + 1)
    assert scores["newlines_per_word"] == 5 / 15
    assert broken(f.bounds, scores) == ["short_lines", "duplicate_line_characters", "newlines_per_word"]


def test_texts_without_a_line_are_dropped():
    for text in ("", "\n\n", " \u3000\n"):
        assert one(text) == {**dict.fromkeys(f.scores), "lines": 0}
        assert broken(f.bounds, one(text)) == ["lines"]


def test_parameters():
    assert one("a:\nb", load("fineweb", {"min_words": 0, "stop_chars": [":"]}))["closed_lines"] == 0.5
    assert one("a b c", load("fineweb", {"min_words": 0, "ignore_unclosed": True}))["closed_lines"] is None
    assert one("a b.", load("fineweb", {"min_words": 0, "ignore_unclosed": True}))["closed_lines"] == 1.0
    assert one("abc\nabcd", load("fineweb", {"min_words": 0, "short_line": 3}))["short_lines"] == 0.5


def test_after_c4_only_the_lines_that_stay_count():
    text = f"{PROSE}\n \n two words \nWe use cookies on this page.\n  A third line without an end [2]\n"
    scores = one(text, load("fineweb", {"min_words": 0, "cleaned": True}))
    assert scores["lines"] == 2
    assert scores["closed_lines"] == 0.5
    assert scores["newlines_per_word"] == 1 / (len(PROSE.split()) + sum(PROSE.count(c) for c in ",.") + 6)


def reference(text):
    lines = [line for line in text.split("\n") if line.strip()]
    if not lines:
        return {**dict.fromkeys(f.scores), "lines": 0}
    return {
        "lines": len(lines),
        "closed_lines": sum(line.endswith((".", "?", "。")) for line in lines) / len(lines),
        "short_lines": sum(len(line) <= 30 for line in lines) / len(lines),
        "duplicate_line_characters": sum(len(a) for i, a in enumerate(lines) if a in lines[:i])
        / len(text.replace("\n", "")),
        "newlines_per_word": text.count("\n") / len(text.split()),
    }


pieces = st.sampled_from(["a", "über", "x" * 29, " ", "\n", "\n", "\r", "\u2003", "."])


@settings(max_examples=200, deadline=None)
@given(st.lists(pieces, max_size=40).map("".join))
def test_agrees_with_a_plain_reading_of_the_rules(text):
    spaced = load("fineweb", {"min_words": 0, "tokeniser": "space"})
    assert one(text, spaced) == reference(text)

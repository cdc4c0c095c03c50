# ruff: noqa: E501
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from filters.base import load
from tests.filters.parity_samples import broken
from tests.filters.text_samples import PROSE, answers

f = load("refinedweb_lines")
every = load("refinedweb_lines", {"min_words": 0})


def one(text, filt=every, **kw):
    return {k: v[0] for k, v in filt.score(answers(text, **kw)).to_pydict().items()}


def test_prose_passes_and_short_texts_do_not_apply():
    assert one(PROSE, f) == {"removed_words": 0.0, "removed_lines": 0.0}
    assert set(one("ONE", f).values()) == {None}
    assert set(one(None).values()) == {None}


def test_each_rule():
    kept = "four words stay here"
    for line, words in (
        ("ALL IN CAPITALS", 3), ("1234567", 1), ("3 likes", 2), ("- 1,234k Followers!", 2), ("alone", 1), ("12 · views", 2),
    ):  # fmt: skip
        scores = one(f"{kept}\n{line}\n\n{kept}")
        gone = line != "12 · views"
        assert scores == {
            "removed_words": words / (8 + words) if gone else 0.0,
            "removed_lines": 1 / 3 if gone else 0.0,
        }, line
    assert broken(f.bounds, one(f"{PROSE}\nMENU")) == []  # 1 word of 74
    assert broken(f.bounds, one(f"{PROSE}\nHOME NEWS ABOUT LOGIN")) == ["removed_words"]


def test_phrases_of_short_lines():
    assert one("we have 3 items in cart now")["removed_words"] == 3 / 7
    assert one("the whole of the story Read more...")["removed_words"] == 2 / 7
    assert one("the whole of the story read more é>>")["removed_words"] == 0.0
    assert one("the whole of the story read more é>")["removed_words"] == 3 / 8  # the dots are any three characters
    assert one("Sign-in to go on here")["removed_words"] == 1 / 5
    assert one("a word and\nSIGN-IN")["removed_words"] == 1 / 4
    assert one(f"{PROSE} Read more...")["removed_words"] == 0.0  # no short line
    assert (
        one("we have 3 items in cart now", load("refinedweb_lines", {"min_words": 0, "phrases": False}))[
            "removed_words"
        ]
        == 0.0
    )


def test_a_text_without_words_has_lost_them_all():
    assert one("") == {"removed_words": 1.0, "removed_lines": None}
    assert one("!? ...") == {"removed_words": 1.0, "removed_lines": 0.0}


def test_parameters():
    loose = load(
        "refinedweb_lines",
        {"min_words": 0, "uppercase": 1.0, "digits": 1.0, "counters": False, "min_line_words": 0, "short_line": 0},
    )
    assert one("ALL CAPITALS\n123\n3 likes\nalone\nSign-in here now", loose)["removed_words"] == 0.0


# -- a direct reading of DCLM's modifiers, one after the other -----------------------------------------------------------

COUNTER = re.compile(
    r"^\W*\d[,.\d]*[kmb]?\s+(likes|shares|comments|retweets|reposts|quotes|bookmarks|upvotes|downvotes|downloads|views|followers)\W*$"
)


def count(text):
    return sum(w[0].isalnum() for w in re.split("[ \n\r\t\v\f\0]+", text) if w)


def without(text, goes):
    return "\n".join(line for line in text.split("\n") if not line or not goes(line))


def cut(text, pattern):
    out = []
    for line in text.split("\n"):
        new = re.sub(pattern, "", line, flags=re.IGNORECASE | re.ASCII) if len(line.split()) <= 10 else line
        if not line or new.strip():
            out.append(new)
    return "\n".join(out).strip()


def reference(text):
    before = count(text)
    text = without(text, lambda line: sum(map(str.isupper, line)) / len(line) > 0.5).strip()
    text = without(text, lambda line: sum(map(str.isdigit, line)) / len(line) > 0.999999).strip()
    text = without(text, lambda line: COUNTER.search(line.lower())).strip()
    text = without(text, lambda line: len(line.split()) < 2)
    for pattern in (r"\s?items in cart", r"\s?read more...$", r"^sign-in\s?"):
        text = cut(text, pattern)
    return (before - count(text)) / before if before else 1.0


pieces = st.sampled_from(
    ["a", "Bc ", " dé", "ÀB ", "12", "٣", " ", " ", "\n", "\n", "\t", "\0", "-", "3 likes", " 1.2k VIEWS", "!", "items in cart", "Sign-in ", "read more", "...", " x y z w v u t s "]
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(pieces, max_size=25).map("".join))
def test_agrees_with_a_plain_reading_of_the_rules(text):
    assert one(text)["removed_words"] == reference(text)

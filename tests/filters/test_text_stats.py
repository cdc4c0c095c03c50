import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.base import load
from tests.filters.text_samples import HOSTILE, PROSE, answers

f = load("text_stats")
every_text = load("text_stats", {"min_words": 1})


def one(text, *, filter=every_text, **kw):  # noqa: A002
    return {k: v[0] for k, v in filter.score(answers(text, **kw)).to_pydict().items()}


def test_by_hand():
    text = 'Hello (big) World 42.\n"No end\r\nSee https://a.org/x%20y?q=1 now!'
    s = one(text)
    assert s["characters"] == len(text) == 63
    assert s["words"] == 9
    assert s["words_with_letters"] == 8
    assert s["lines"] == 3
    assert s["longest_word"] == len("https://a.org/x%20y?q=1") == 23
    assert s["mean_word_length"] == pytest.approx((5 + 5 + 5 + 3 + 3 + 3 + 3 + 23 + 4) / 9, abs=1e-6)
    assert s["longest_line"] == len("See https://a.org/x%20y?q=1 now!")
    assert s["mean_line_length"] == pytest.approx(63 / 3, abs=1e-6)
    assert s["urls"] == pytest.approx(23 / 63, abs=1e-6)
    assert s["digits"] == pytest.approx(5 / 63, abs=1e-6)
    assert s["parentheses"] == pytest.approx(2 / 63, abs=1e-6)
    assert s["white_space"] == pytest.approx(9 / 63, abs=1e-6)
    assert s["unended_lines"] == pytest.approx(1 / 3, abs=1e-6)
    letters = sum(c.isalpha() for c in text)
    assert s["uppercase"] == pytest.approx(4 / letters, abs=1e-6)
    assert s["punctuation"] == pytest.approx(sum(c in '().":/%?!' for c in text) / 63, abs=1e-6)
    assert s["plain"] == pytest.approx(sum(c.isalnum() or c in "\n?!,." for c in text) / 63, abs=1e-6)


def test_null():
    assert set(one(None).values()) == {None}
    empty = one("")
    assert empty["characters"] == empty["words"] == empty["lines"] == empty["longest_line"] == 0
    assert empty["mean_word_length"] is empty["longest_word"] is empty["uppercase"] is empty["white_space"] is None
    short = one("A short answer.", filter=f)
    assert short["words"] == 3 and short["white_space"] is None
    assert one(PROSE, filter=f)["white_space"] is not None
    assert one(PROSE, filter=f, task="math")["digits"] is None
    assert one("съешь же ещё этих мягких булок")["plain"] is None
    assert one("今天天气很好" * 300)["longest_word"] is None, "no spaces there"


def test_bounds():
    def bad(text):
        scores = one(text, filter=f)
        return {k for k, (_, high) in f.bounds.items() if scores[k] is not None and scores[k] > high}

    assert bad(PROSE) == set()
    assert bad(PROSE + " " + "x" * 1001) == {"longest_word"}
    assert bad(" https://example.org/a".join(PROSE.split())) == {"urls"}
    assert bad("   ".join(PROSE.split())) == {"white_space"}
    assert bad(" (x) ".join(PROSE.split())) == {"parentheses"}


def test_addresses():
    def share(text):
        return round(one(text)["urls"] * len(text))

    assert share("http://a") == 8
    assert share("http://") == share("https//a") == share("http:/a") == 0
    assert share("see http://a.b/c, then <https://d>") == len("http://a.b/c,") + len("https://d")
    assert share("http://a/%zz") == len("http://a/"), "no escape"
    assert share("http://a?u=http://b") == len("http://a?u=http://b"), "an address in an address counts once"
    assert share("hhttp://é") == 0


@given(st.text(st.characters(max_codepoint=0x1FFFF, exclude_categories=["Cs"]), min_size=1, max_size=60))
def test_words_and_lines_are_python_s(text):
    text = text.replace("<", "(")
    s = one(text)
    words, lines = text.split(), text.splitlines()
    assert (s["characters"], s["words"], s["lines"]) == (len(text), len(words), len(lines))
    assert s["longest_line"] == max((len(line) for line in lines), default=0)
    assert s["uppercase"] is None or 0 <= s["uppercase"] <= 1
    if words:
        assert s["mean_word_length"] == pytest.approx(sum(map(len, words)) / len(words), abs=1e-6)
        assert s["white_space"] == pytest.approx(sum(c.isspace() for c in text) / len(text), abs=1e-6)


def test_hostile():
    out = every_text.score(answers(*HOSTILE))
    for name in ("uppercase", "punctuation", "white_space", "digits", "parentheses", "urls", "plain", "unended_lines"):
        assert all(v is None or 0 <= v <= 1 for v in out[name].to_pylist()), name

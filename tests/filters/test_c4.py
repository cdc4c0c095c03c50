# ruff: noqa: E501
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.base import load
from filters.shared import page
from filters.shared.split import assistant_texts
from tests.filters.parity_samples import broken
from tests.filters.text_samples import PROSE, answers

f = load("c4")
published = load("c4", {"min_words": 0})
PAGE = f"{PROSE} It floods. We wait!"


def one(text, filt=published, **kw):
    return {k: v[0] for k, v in filt.score(answers(text, **kw)).to_pydict().items()}


def left(text, **rules):
    texts = assistant_texts(answers(text))
    data = page.joined(texts, page.keep(texts, page.Rules(**rules))).data
    return data.tobytes().decode()


def test_prose_passes_and_short_texts_do_not_apply():
    assert broken(f.bounds, one(PAGE, f)) == []
    assert one(PAGE, f)["sentences"] == 5
    assert set(one("Yes.", f).values()) == {None}
    assert set(one(None).values()) == {None}


def test_lines_that_go():
    lines = (
        "This line stays as it is.", "no end here at all", "Two words.", "It trails off...", "JavaScript must be on.",
        "Our Privacy Policy has changed.", "x" * 1001 + " is too long.", "  So does this one! \t", "And \"this one.\"", "And then 'this?'",
    )  # fmt: skip
    assert left("\n".join(lines)) == "\n".join((lines[0], lines[7].strip(), lines[8], lines[9]))
    assert left("\r\n".join(lines)) == left("\x0b".join(lines)) == left("\u2028".join(lines)) == left("\n".join(lines))
    assert one("\n".join(lines))["kept_lines"] == 0.4
    assert one("\n".join(lines))["sentences"] == 4
    everything = {"terminal": False, "min_words": 0, "max_word": 0, "javascript": False, "policy": False}
    assert left("\n".join(lines), **everything) == "\n".join(line.strip() for line in lines)


@pytest.mark.parametrize("phrase", ["javascript", *page.POLICY])
@pytest.mark.parametrize("change", [str, str.upper, str.title, lambda p: p.replace("k", "\u212a")])
def test_each_phrase_drops_its_line(phrase, change):
    for line in (
        f"{change(phrase)}s are named here.",
        f"Here it is{change(phrase)}.",
        f"Here [1]is the {change(phrase)}!",
    ):
        assert left(f"One two three.\n{line}") == "One two three.", line
        assert left(line, javascript=phrase != "javascript", policy=phrase == "javascript") == line.replace("[1]", "")
    assert broken(f.bounds, one(PAGE + f"\nThis is {change('lorem ipsum')}.")) == ["lorem_ipsum"]


def test_citations_are_taken_out():
    assert (
        left("It was so [12][3] in 1990[citation needed].\nNot [here] [edit]it is.")
        == "It was so  in 1990.\nNot [here] it is."
    )
    assert left("The end. [1]") == ""  # a space is left at the end of the line
    assert left("It was so[1].", citations=False) == "It was so[1]."
    assert left("The java[1]script page.") == ""  # what was apart has come together


def test_pages_that_go():
    assert broken(f.bounds, one(PAGE + "\nLOREM IPSUM is here.")) == ["lorem_ipsum"]
    assert broken(f.bounds, one(PAGE + "\nlorem ipsum without an end")) == []
    assert broken(f.bounds, one(PAGE + "\nA { is here.")) == ["curly_bracket"]
    assert broken(f.bounds, one(PAGE + "\nA javascript { is gone.")) == []
    assert broken(f.bounds, one("One is not enough here.")) == ["sentences"]
    assert broken(f.bounds, one("")) == ["sentences"]


def test_sentences_begin_behind_the_signs_of_the_last_one():
    assert one('He said "Stop." Then (why?) he went. 3.5 is one. Mr. Lee too!')["sentences"] == 5
    assert one("Done it twice.  . Again.")["sentences"] == 3  # white space of two is a token, and begins a sentence
    assert one("Done it twice. . Again.")["sentences"] == 2


def test_long_lines():
    assert one("\n".join(["x" * 199, "é" * 200, "y" * 201]))["long_lines"] == 2


def test_bad_words(tmp_path):
    (tmp_path / "list.txt").write_text("Darn it\nheck\n")
    listed = load("c4", {"bad_words_path": str(tmp_path / "list.txt")})
    assert one(PAGE, listed)["bad_words"] == 0
    assert one(PAGE + " What the HECK, darn it all.", listed)["bad_words"] == 2
    assert one(PAGE + " What the hecker, über-xheck.", listed)["bad_words"] == 0
    assert one(PAGE)["bad_words"] is None


def reference(text):
    """The published rules about lines over Python strings."""
    kept = []
    for line in text.splitlines():
        line = line.strip()
        words = line.split()
        if any(len(w) > 1000 for w in words):
            continue
        line = re.sub(r"\[\d*]|\[edit]|\[citation needed]", "", line)
        if not line.endswith((".", "?", "!", '"', "'")) or line.endswith("...") or len(words) < 3:
            continue
        low = line.lower()
        if "lorem ipsum" not in low:
            if "javascript" in low:
                continue
            if "{" not in low and any(p in low for p in page.POLICY):
                continue
        kept.append(line)
    return "\n".join(kept).strip()


pieces = st.sampled_from(
    [
        "a", "b ", " c", ".", '"', "...", " ", "\n", "\r\n", "\x1c", "\x85", "\u2029", "[1]", "[", "]", "[edit]", "[²]", "[٣]", "{", "lorem ipsum", "java", "script",
        "JavaScript", "Cook", "use ", "coo\u212aie policy", "s", "terms of use", "privacy ", "policy", "İ", "x" * 1001,
    ]
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(pieces, max_size=30).map("".join))
def test_lines_agree_with_a_plain_reading_of_the_rules(text):
    assert left(text) == reference(text)

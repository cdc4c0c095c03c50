from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from filters.base import load
from tests.filters.text_samples import PROSE, answers

f = load("gopher_repetition")
every = load("gopher_repetition", {"min_words": 1})


def one(text, filt=f, **kw):
    return {k: v[0] for k, v in filt.score(answers(text, **kw)).to_pydict().items()}


def test_prose_passes_and_short_texts_do_not_apply():
    assert all(v <= f.bounds[k][1] for k, v in one(PROSE).items())
    assert set(one("yes yes yes").values()) == {None}


def test_repeated_lines_paragraphs_and_phrases():
    lines = one("\n".join([PROSE[:60]] * 10))
    assert lines["duplicate_lines"] == 0.9
    assert lines["duplicate_line_characters"] > 0.8
    paragraphs = one("\n\n".join([PROSE, PROSE, PROSE]))
    assert paragraphs["duplicate_paragraphs"] == round(2 / 3, 6)
    phrase = one("the cat sat on the mat " * 20)
    assert phrase["top_3_gram"] > 0.18
    assert phrase["duplicate_5_gram"] > 0.15
    assert phrase["duplicate_10_gram"] > 0.10


def reference(words, text_size):
    """The published rules over Python lists."""
    out = {}
    for n in (2, 3, 4):
        grams = Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
        top = max(grams.values(), default=0)
        size = max((sum(map(len, g)) + n - 1 for g, c in grams.items() if c == top), default=0)
        out[f"top_{n}_gram"] = round(min(size * top / text_size, 1.0), 6) if top > 1 else 0.0
    for n in range(5, 11):
        seen, repeated, i = set(), 0, 0
        while i + n <= len(words):
            gram = tuple(words[i : i + n])
            if gram in seen:
                repeated += sum(map(len, gram))
                i += n
            else:
                seen.add(gram)
                i += 1
        out[f"duplicate_{n}_gram"] = round(repeated / text_size, 6)
    return out


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["a", "bc", "def", "über", "12"]), min_size=1, max_size=60))
def test_agrees_with_a_plain_reading_of_the_rules(words):
    text = " ".join(words)
    scores = one(text, every)
    for name, value in reference(words, len(text)).items():
        assert scores[name] == value, name

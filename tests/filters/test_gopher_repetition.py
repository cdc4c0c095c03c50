import re
from collections import Counter

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.base import load
from filters.shared import split
from filters.shared.text import buffers
from tests.filters.parity_samples import broken
from tests.filters.text_samples import PROSE, answers

f = load("gopher_repetition")
published = load("gopher_repetition", {"min_words": 0, "exceptions": False})


def one(text, filt=f, **kw):
    return {k: v[0] for k, v in filt.score(answers(text, **kw)).to_pydict().items()}


def test_prose_passes_and_short_texts_do_not_apply():
    assert broken(f.bounds, one(PROSE)) == []
    assert set(one("yes yes yes").values()) == {None}
    assert set(one(None, published).values()) == {None}


def test_repeated_lines_paragraphs_and_phrases():
    lines = one("\n".join([PROSE[:60]] * 10))
    assert lines["duplicate_lines"] == 0.9
    assert lines["duplicate_line_characters"] == 9 * 60 / 609
    assert lines["duplicate_paragraphs"] == 0.0
    paragraphs = one("\n\n".join([PROSE, PROSE, PROSE]) + "\n")
    assert paragraphs["duplicate_paragraphs"] == 2 / 3
    assert paragraphs["duplicate_lines"] == 2 / 4  # an empty part stands behind the last newline
    phrase = one("the cat sat on the mat " * 20)
    assert phrase["top_3_gram"] > 0.18
    assert phrase["duplicate_5_gram"] > 0.15
    assert phrase["duplicate_10_gram"] > 0.10


def test_one_occurrence_counts_as_published_and_is_no_repetition_by_default():
    assert one("ab cd", published)["top_2_gram"] == 1.0
    assert one("ab cd", load("gopher_repetition", {"min_words": 0}))["top_2_gram"] == 0.0
    assert one("the cat sat on the mat " * 20, task="math")["top_3_gram"] is None


def test_empty_texts():
    assert one("", published) == {**dict.fromkeys(f.scores), "characters": 0}
    assert broken(f.bounds, one("", published)) == ["characters"]
    assert one("\n\n", published)["duplicate_lines"] == 0.5  # two empty parts, one of them a duplicate
    assert one("   ", published)["top_2_gram"] == 0.0


def words_of(text):
    raw = buffers(pa.array([text], pa.large_string()))
    words = split.words(raw)
    return [raw.data[a : a + n].tobytes().decode() for a, n in zip(words.starts, words.sizes, strict=True)]


def reference(text):
    """The published rules over Python lists."""
    out = {"characters": len(text)}
    if not text:
        return {**dict.fromkeys(f.scores), **out}
    for name, parts in (("paragraph", re.split(r"\n{2,}", text.strip())), ("line", re.split(r"\n+", text))):
        repeated = [p for i, p in enumerate(parts) if p in parts[:i]]
        out[f"duplicate_{name}s"] = len(repeated) / len(parts)
        out[f"duplicate_{name}_characters"] = sum(map(len, repeated)) / len(text)
    words = words_of(text)
    for n in (2, 3, 4):
        grams = Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
        gram, count = max(grams.items(), key=lambda g: g[1], default=((), 0))  # the first of the most frequent
        out[f"top_{n}_gram"] = len(" ".join(gram)) * count / len(text)
    for n in range(5, 11):
        seen, repeated, i = set(), 0, 0
        while i + n <= len(words):
            gram = "".join(words[i : i + n])
            if gram in seen:
                repeated += len(gram)
                i += n
            else:
                seen.add(gram)
                i += 1
        out[f"duplicate_{n}_gram"] = repeated / len(text)
    return out


pieces = st.sampled_from(["a", "bc", "abc", "def", "über", "12", " ", " ", " ", "\n", "\n\n", ".", "x" * 70])


@settings(max_examples=300, deadline=None)
@given(st.lists(pieces, max_size=60).map("".join))
def test_agrees_with_a_plain_reading_of_the_rules(text):
    assert one(text, published) == reference(text)


def test_words_that_join_to_the_same_letters_are_the_same_gram():
    # "ab c d e f g" and "a bc d e f g": other words, the same letters; that is how the published rule compares.
    scores = one("ab c d e f g x a bc d e f g", published)
    assert scores["duplicate_6_gram"] == 7 / 27
    assert scores["top_2_gram"] == 2 * 3 / 27  # d e, twice

# ruff: noqa: E501
import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.errors import UserError
from filters.base import load
from filters.shared import chars, split
from filters.shared.english import exceptions
from filters.shared.text import buffers
from tests.filters.parity_samples import PUBLISHED, REASONS, TEXTS, broken
from tests.filters.text_samples import answers

GOLDEN = json.loads(Path(__file__).with_name("parity.json").read_text())
KNOWN = list(dict.fromkeys(TEXTS))


def cut(text, tokeniser="cuvee"):
    raw = buffers(pa.array([text], pa.large_string()))
    words = split.words(raw, tokeniser=tokeniser)
    return [raw.data[a : a + n].tobytes().decode() for a, n in zip(words.starts, words.sizes, strict=True)]


def test_the_golden_file_is_about_these_texts():
    assert [row["text"] for row in GOLDEN] == [hashlib.sha256(t.encode()).hexdigest()[:12] for t in KNOWN]
    for name, reasons in REASONS.items():
        seen = {row[name] for row in GOLDEN}
        assert "" in seen
        assert len(seen) >= len(reasons) * 0.6, name  # most of its rules drop one of the texts


@pytest.mark.parametrize("number", range(len(KNOWN)))
def test_words_are_those_of_datatrove(number):
    text = KNOWN[number].encode()
    steps = GOLDEN[number]["words"]
    at, words = 0, []
    for gap, size in zip(steps[::2], steps[1::2], strict=True):
        words.append(text[at + gap : at + gap + size].decode())
        at += gap + size
    assert cut(KNOWN[number]) == words


def golden_spans(texts):
    """Return datatrove's words of the texts that the golden file knows; our own of others (the lines that C4 has edited)."""
    parts = []
    steps = {row["text"]: row["words"] for row in GOLDEN}
    for low, high in zip(texts.offsets[:-1], texts.offsets[1:], strict=True):
        part = texts.data[low:high]
        known = steps.get(hashlib.sha256(part.tobytes()).hexdigest()[:12])
        if known is None:
            starts, sizes, _ = split.cuvee(buffers(pa.array([part.tobytes().decode()], pa.large_string())))
        else:
            gaps, sizes = np.array(known[::2], np.int64), np.array(known[1::2], np.int64)
            starts = np.cumsum(gaps + sizes) - sizes
        parts.append((starts + low, sizes))
    first = np.cumsum([0, *(len(s) for s, _ in parts)]).astype(np.int64)
    none = np.zeros(0, np.int64)
    starts = np.concatenate([none, *(s for s, _ in parts)]).astype(np.int64)
    return starts, np.concatenate([none, *(n for _, n in parts)]).astype(np.int32), first


@pytest.mark.parametrize("tokeniser", ["cuvee", "spacy"])
@pytest.mark.parametrize("name", REASONS)
def test_decisions_and_reasons_are_those_of_datatrove(name, tokeniser, monkeypatch):
    monkeypatch.setattr(split, "spacy", golden_spans)
    f = load(name, {**PUBLISHED[name], "tokeniser": tokeniser})
    for text, row, scores in zip(KNOWN, GOLDEN, f.score(answers(*KNOWN)).to_pylist(), strict=True):
        out = broken({k: f.bounds[k] for k in REASONS[name]}, scores)
        assert bool(out) == (row[name] != ""), (text[:80], row[name], scores)
        if out:
            assert row[name] in REASONS[name][out[0]], (text[:80], row[name], out)


def test_fineweb_after_c4_decides_like_the_pipeline():
    first, then = load("c4", {"min_words": 0, "terminal": False}), load("fineweb", {"min_words": 0, "cleaned": True})
    for row, a, b in zip(
        GOLDEN, first.score(answers(*KNOWN)).to_pylist(), then.score(answers(*KNOWN)).to_pylist(), strict=True
    ):
        assert bool(broken(first.bounds, a)) == (row["c4_of_fineweb"] != "")
        assert bool(broken(first.bounds, a) or broken(then.bounds, b)) == (row["fineweb_after_c4"] != "")
        assert (a["long_lines"] >= 3) == (row["c4_paragraphs"] == "")


def test_the_exceptions_are_cut_into_their_own_pieces():
    for word, pieces in exceptions().items():
        assert "".join(pieces) == word
        assert cut(f"x {word} y") == ["x", *pieces, "y"]


def test_words_by_hand():
    assert cut("We don't re-use 5km, Mr.Smith.") == [
        "We",
        "do",
        "n't",
        "re",
        "-",
        "use",
        "5",
        "km",
        ",",
        "Mr.",
        "Smith",
        ".",
    ]
    assert cut("see http://a.org/b-c.") == ["see", "http://a.org/b-c", "."]
    assert cut("hello:)") == ["hello", ":)"]
    assert cut("a  b\u00a0c\n", "space") == ["a", "b", "c"]
    assert cut("") == []


def test_kinds_lengths_and_hashes():
    words = split.words(buffers(pa.array(["Übel, 12 ... . ?! ab"], pa.large_string())))
    assert words.lengths.tolist() == [4, 1, 2, 3, 1, 1, 1, 2]
    textual, letters, signs, stop = split.TEXTUAL, split.ALPHABETIC, split.PUNCTUATION, split.FULL_STOP
    assert words.kinds.tolist() == [
        textual | letters, signs, textual, signs, signs | stop, signs | stop, signs | stop, textual | letters,
    ]  # fmt: skip
    ab, a, b = (split.hash_bytes(np.frombuffer(t, np.uint8), 0, len(t)) for t in (b"ab", b"a", b"b"))
    assert int(ab) == (int(a) * 0x9E3779B97F4A7C15 + int(b)) % 2**64
    assert int(words.hashes[-1]) == int(ab)


pieces = st.sampled_from(
    ["don't", "Mr.", "e.g.", "5km", "US$5", "a-b", "x.org", "http://a.b/c", ":)", "...", "…", "(", ")", '"', "'s", ",", ".", "é", "中", "😀", "-", " ", "\n", "\t", "\u00a0"]
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(pieces, max_size=12), st.lists(pieces, max_size=12))
def test_words_cover_a_text_and_do_not_depend_on_neighbours(left, right):
    a, b = "".join(left), "".join(right)
    raw = buffers(pa.array([a, b, a], pa.large_string()))
    words = split.words(raw)
    texts = [raw.data[s : s + n].tobytes().decode() for s, n in zip(words.starts, words.sizes, strict=True)]
    assert not any(c.isspace() for t in texts for c in t)
    for i, text in enumerate((a, b, a)):
        mine = texts[words.first[i] : words.first[i + 1]]
        assert "".join(mine) == "".join(text.split())
        assert mine == cut(text)


def test_character_bits_are_pythons():
    bits = chars.table()
    for cp in [*range(0x3100), *range(0xA640, 0xA6A0), *range(0x1F300, 0x1F400)]:
        c = chr(cp)
        assert bool(bits[cp] & chars.SPACE) == c.isspace()
        assert bool(bits[cp] & chars.ALPHA) == c.isalpha()
        assert bool(bits[cp] & chars.UPPER) == c.isupper()
        assert bool(bits[cp] & chars.DIGIT) == c.isdigit()
        assert bool(bits[cp] & chars.WORD) == c.isalnum()
        assert bool(bits[cp] & chars.LINE) == (len(f"a{c}b".splitlines()) == 2)


def test_an_unknown_tokeniser_is_named():
    with pytest.raises(UserError, match="cuvee, space, spacy"):
        split.words(buffers(pa.array(["a"])), tokeniser="nltk")
    with pytest.raises(UserError, match="cuvee, space, spacy"):
        load("c4", {"tokeniser": "cuvée"}).score(answers("a b c"))


def test_without_spacy_the_extra_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "spacy", None)
    split._english.cache_clear()
    with pytest.raises(UserError, match=r"cuvee\[spacy\]"):
        split.words(buffers(pa.array(["a"])), tokeniser="spacy")

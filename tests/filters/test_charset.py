# ruff: noqa: E501
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.errors import UserError
from filters.base import load
from tests.filters.text_samples import answers, batch, sample

f = load("charset")


def score(text, of=f, **kw):
    return {k: v[0] for k, v in of.score(answers(text, **kw)).to_pydict().items()}


CLEAN = {"main_script": 1.0, "mixed_words": 0.0, "replacement": 0, "control": 0, "mojibake": 0, "broken": 0.0}


@pytest.mark.parametrize(
    "text",
    ["A plain text.", "Ein schöner Café-Besuch, garçon!", "Привет, мир", "Καλημέρα κόσμε", "日本語のシャツ", "שלום עולם", "«ÖÅ»",
     "tab\tand\r\nlines", "naïve “quotes” – and dashes… €5", "«CAFÉ»", "São Paulo, MAÇÃ", "Ångström: 3 Å", "à la carte", "e\u0301te\u0301"],
)  # fmt: skip
def test_clean_texts(text):
    assert score(text) == CLEAN


def test_main_script_is_the_most_frequent_or_the_declared_ones():
    assert score("abc где")["main_script"] == 0.5
    assert score("abcd где")["main_script"] == round(4 / 7, 6)
    assert score("abcd где", load("charset", {"scripts": ["Cyrillic"]}))["main_script"] == round(3 / 7, 6)
    assert score("abcd где", load("charset", {"scripts": ["cyrillic", "LATIN"]}))["main_script"] == 1.0
    assert score("漢字かなカナ한글")["main_script"] == 1.0


def test_an_unknown_script_is_told():
    with pytest.raises(UserError, match=r"no script named `Cyrilic`.*Cyrillic"):
        score("a", load("charset", {"scripts": ["Cyrilic"]}))


def test_a_look_alike_in_a_word():
    assert score("pаypal is fine")["mixed_words"] == round(1 / 3, 6)
    assert score("pay раl")["mixed_words"] == 0.5
    assert score("Wi-Fi для всех")["mixed_words"] == 0.0  # the hyphen parts words, and each is of one script
    assert score("USB를 Tシャツ")["mixed_words"] == 0.0


@pytest.mark.parametrize(
    "text",
    [
        "café",
        "don’t",
        "“quoted”",
        "Müller",
        "Žižek",
        "€ 5",
        "привет",
        "Ελλάδα",
        "日本",
        "naïve – dash",
        "½ cup",
        "🎉",
        "a\u00a0b",
    ],
)
@pytest.mark.parametrize("encoding", ["cp1252", "latin-1"])
def test_utf8_read_as_one_byte_per_character(text, encoding):
    try:
        garbled = text.encode().decode(encoding)
    except UnicodeDecodeError:
        pytest.skip("five bytes are nothing in Windows-1252")
    out = score(garbled)
    assert out["mojibake"] == sum(c > "\x7f" for c in text)
    assert out["control"] == 0
    assert out["broken"] > 0.01


def test_replacement_and_control_characters():
    out = score("a\ufffdb\ufffd")
    assert (out["replacement"], out["broken"]) == (2, 0.5)
    out = score("a\x00b\x85\ue000\ufdd0\U0010ffff.")
    assert (out["control"], out["broken"]) == (5, round(5 / 8, 6))


def test_where_it_does_not_apply():
    assert f.score(batch(sample(), sample("a\x00", task="code"))).to_pylist() == [dict.fromkeys(f.scores)] * 2
    assert score("") == dict.fromkeys(f.scores)
    out = score("12 + 3")
    assert (out["main_script"], out["mixed_words"], out["broken"]) == (None, None, 0.0)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40))
def test_shares_are_shares(text):
    out = score(text)
    for name in ("main_script", "mixed_words", "broken"):
        assert out[name] is None or 0 <= out[name] <= 1
    for name in ("replacement", "control", "mojibake"):
        assert out[name] is None or out[name] >= 0

# ruff: noqa: E501
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.base import load
from tests.filters.text_samples import answers, batch, sample

f = load("caption_rules")


def captions(*texts):
    return f.score(answers(*texts, task="caption", image=True, question=""))


def test_counts_words_and_characters():
    out = captions("A red cube", "  Two  words ", "日本語", "")
    assert out["words"].to_pylist() == [3, 2, 1, 0]
    assert out["characters"].to_pylist() == [10, 13, 3, 0]
    assert out["alphanumeric"].to_pylist() == [0.8, 0.8, 1.0, 0.0]


@pytest.mark.parametrize("space", [" ", "\u00a0", "\u2003", "\u3000", "\x1c", "\x85", "\t", "\n", "\r\n", "\v", "\f"])
def test_words_and_characters_are_those_of_python(space):
    text = f"{space}a{space}{space}bcd{space}e"
    out = captions(text)
    assert out["words"][0].as_py() == len(text.split()) == 3
    assert out["characters"][0].as_py() == len(text)


def test_words_of_fasttext():
    # Taken from fasttext.tokenize: a newline is the word </s>, NUL is white space, a no-break space is not.
    texts = ["a b", "a\nb", "\n\n", "a\u00a0b", "a\x00b", " a\tb\vc\fd\re ", "", "a\u2003b\u0085c"]
    assert captions(*texts)["fasttext_words"].to_pylist() == [2, 3, 2, 1, 2, 5, 0, 1]


@settings(deadline=None)  # the first call compiles
@given(st.text(alphabet=st.characters(exclude_categories=("Cs",)), max_size=40))
def test_any_text_has_the_words_and_characters_of_python(text):
    text = text.replace("<", "(")  # no media marks
    out = captions(text)
    assert (out["words"][0].as_py(), out["characters"][0].as_py()) == (len(text.split()), len(text))


@pytest.mark.parametrize(
    "text",
    ["IMG_2041.JPG", "DSC 0012", "photo-of-cat.png", "https://a.b/c", "image", "Photo 3", "untitled", "logo", "Image not found",
     "No image available", "click to enlarge", "Click here for details", "hover to zoom", "View larger image",
     "Buy now! Free shipping", "Only $9.99 today", "SAVE 50% off everything"],
)  # fmt: skip
def test_boilerplate(text):
    assert captions(text)["boilerplate"][0].as_py() >= 1


@pytest.mark.parametrize(
    "text",
    ["A red cube next to a blue sphere", "A photo of a dog on a beach", "The logo of a bank above its door", "Two ships at sea in 1943",
     "A woman buys apples at a market", "A sign says 20 percent", "The image shows a bar chart of sales"],
)  # fmt: skip
def test_captions_are_not_boilerplate(text):
    assert captions(text)["boilerplate"][0].as_py() == 0


def test_a_long_description_may_quote_an_offer():
    sign = "A red sign above the door says 25% off in large letters. "
    assert captions(sign, sign * 6)["boilerplate"].to_pylist() == [1, 0]


def test_markup_is_counted_apart():
    out = captions("Fish &amp; chips", "<b>Bold</b> boat", "a < b")
    assert out["markup"].to_pylist() == [1, 1, 0]
    assert out["boilerplate"].to_pylist() == [0, 0, 0]


def test_applies_to_captions_with_images_only():
    out = f.score(
        batch(
            sample("logo", task="caption"), sample("logo", task="vqa", image=True), sample(task="caption", image=True)
        )
    )
    assert all(c.null_count == 3 for c in out.columns)


def test_captions_without_their_image_when_asked():
    g = load("caption_rules", {"needs_image": False})
    out = g.score(batch(sample("a red cube", task="caption"), sample("a red cube", task="vqa")))
    assert out["words"].to_pylist() == [3, None]

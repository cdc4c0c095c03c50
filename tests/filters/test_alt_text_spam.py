# ruff: noqa: E501
import pytest

from filters.base import load
from tests.filters.text_samples import answers

f = load("alt_text_spam")


def score(text, **params):
    out = load("alt_text_spam", params).score(answers(text, task="caption", question=""))
    return {name: out[name][0].as_py() for name in out.schema.names}


def test_repetition_by_hand():
    assert score("red shoes red shoes red shoes red shoes")["repetition"] == 0.75
    assert score("one two three four five six seven eight")["repetition"] == 0
    assert score("red red red")["repetition"] is None  # too short to say
    assert score("Cat. " * 61)["repetition"] is None  # a description, not an alt text
    assert score("red red red", min_words=3)["repetition"] == pytest.approx(2 / 3, abs=1e-6)


def test_a_repeated_phrase():
    assert score("one two three x one two three y one two three")["repeated_phrase"] == 3
    assert score("one two three four")["repeated_phrase"] == 1
    assert score("ha ha ha ha ha ha")["repeated_phrase"] == 0  # three different words
    assert score("one two")["repeated_phrase"] == 0


def test_keywords_are_short_pieces():
    assert score("cat, black cat, cats | kitten; pet / animal")["keywords"] == 6
    assert score("a cat on a sofa, near the window, in the evening sun of May")["keywords"] == 0
    assert score("cat")["keywords"] == 0
    assert score(", , cat, ,")["keywords"] == 0


def test_hashtags_and_codes():
    assert score("Lunch #vegan #food #1 # nice")["hashtags"] == 2
    assert score("#1 Dad mug")["hashtags"] == 0
    assert score("DK-22606 62mm 1x1 label")["codes"] == 0.75
    assert score("in 1943 two ships")["codes"] == 0
    assert score("DK-22606 62mm label")["codes"] is None


@pytest.mark.parametrize(
    ("text", "kinds"),
    [("Wholesale Free Shipping Hot Sale bibs", 3), ("Kaufen Sie jetzt: 20% Rabatt, kostenloser Versand", 2), ("купить недорого, бесплатная доставка", 3), ("特価 送料無料 通販", 3),
     ("livraison gratuite pas cher", 2), ("Envío gratis", 1), ("$9.99", 1), ("9,99 €", 1), ("frete grátis", 1), ("ücretsiz kargo", 1), ("House for sale by the sea", 0),
     ("A woman buys apples at a market", 0), ("перекупитьс", 0), ("Price tag on a cow", 0)],
)  # fmt: skip
def test_offers(text, kinds):
    assert score(text)["offers"] == kinds


def test_for_captions_with_a_picture_or_without():
    assert f.score(answers("a cat", task="vqa")).column(0).null_count == 1
    assert f.score(answers("a cat", task="caption", image=True))["offers"].to_pylist() == [0]

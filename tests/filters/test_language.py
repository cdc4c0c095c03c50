import pytest

from filters.base import load
from tests.filters.text_samples import PROSE, answers

f = load("language")


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


def test_agrees_with_the_package():
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    reference = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    texts = [
        PROSE,
        PROSE[:80],
        "Le chat est assis sur le tapis rouge et regarde the window of the big house next door.",
    ]
    for text, got in zip(texts, f.score(answers(*texts))["english"].to_pylist(), strict=True):
        ranks = dict(reference.rank(text))
        english = ranks.pop("en")
        ranks.pop("pcm", None)
        assert got == pytest.approx(english / (english + max(ranks.values())), abs=1e-3)

import random

import pytest

from filters.base import load
from tests.filters.text_samples import PROSE, answers

f = load("gibberish")


def noise(n, seed=0):
    rng = random.Random(seed)
    return " ".join("".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(3, 9))) for _ in range(n))


def test_random_letters_are_caught_and_prose_is_not():
    out = f.score(answers(PROSE, *(noise(30, i) for i in range(50))))
    bits = out["bits"].to_pylist()
    assert bits[0] < 4.3
    assert out["implausible_words"][0].as_py() == 0
    assert min(bits[1:]) > f.bounds["bits"][1]
    assert min(out["implausible_words"].to_pylist()[1:]) > f.bounds["implausible_words"][1]


@pytest.mark.parametrize("words", [8, 10, 20, 40])
def test_recall_of_random_letters(words):
    out = f.score(answers(*(noise(words, i) for i in range(400))))
    dropped = [
        (b or 0) > f.bounds["bits"][1] or (w or 0) > f.bounds["implausible_words"][1]
        for b, w in zip(out["bits"].to_pylist(), out["implausible_words"].to_pylist(), strict=True)
    ]
    assert sum(dropped) >= 0.95 * 400


@pytest.mark.parametrize(
    "text",  # names, parts, files and commands of real alt texts and answers
    [
        "Difference between elcb and rccb",
        "Baba Yaga - Art Card by Yakovlev Art",
        "Aiyo, everything also Najib kena.",
        "File:Levashov book 1792.djvu",
        "Yukon Gear - Yukon GM 9.25 IFS - 4.10 Ring & Pinion",
        "Packages related to libz: shell('dpkg -l | grep zlib').",
        "The content of the IMDb homepage is request('https://www.imdb.com')",
    ],
)
def test_names_and_codes_are_not_gibberish(text):
    scores = f.score(answers(text)).to_pylist()[0]
    assert scores["bits"] < f.bounds["bits"][1]
    assert scores["implausible_words"] is None


def test_other_european_languages_are_not_gibberish():
    german = "Der schnelle braune Fuchs springt ohne Zwang ueber den faulen Hund und alle schauen dabei zu"
    french = "Le renard brun saute par dessus le chien paresseux pendant que tout le monde regarde"
    assert max(f.score(answers(german, french))["bits"].to_pylist()) < 4.8


def test_latex_code_scripts_and_short_texts_do_not_apply():
    texts = (
        r"\frac{qzx}{xqj} kjhg xqzw wqkj zxcv",
        "日本語のテキスト",
        "Šťastný příběh o žluťoučkém koni",
        "xqzj",
        "12 34 56",
    )
    assert f.score(answers(*texts))["bits"].null_count == len(texts)
    assert f.score(answers(noise(20), task="code"))["bits"].null_count == 1

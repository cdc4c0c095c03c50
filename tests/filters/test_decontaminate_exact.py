import random

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.errors import UserError
from filters.base import load
from tests.filters.text_samples import PROSE, batch, sample

LONG = "A baker makes twelve trays of rolls each morning and sells five of them before noon, so how many are left?"
SHORT = "What is the capital of Peru?"
CITIES = ("Lima", "Quito", "La Paz", "Bogota")
STEM = "Which is true?"
CLAIMS = ("one is two", "three is four", "five is six")


@pytest.fixture
def index(tmp_path):
    def make(*samples, **params):
        path = tmp_path / "index.parquet"
        pq.write_table(load("decontaminate_exact", params).build(iter([batch(s) for s in samples])), path)
        return load("decontaminate_exact", {"index": str(path), **params})

    return make


def matches(f, *samples):
    return [r["match"] for r in f.score(batch(*samples)).to_pylist()]


def choices(stem, options, label="{}. ", names="ABCDEF", sep="\n"):
    return stem + sep + sep.join(label.format(n) + o for n, o in zip(names, options, strict=False))


def test_a_whole_question_anywhere_whatever_the_signs(index):
    f = index(sample("7", LONG, id="e/1"))
    out = f.score(
        batch(
            sample(PROSE, LONG.upper().replace(",", " -")),
            sample("Sure. " + LONG, "Ask me something."),
            sample("x", LONG.replace(" left?", " sold?")),
            sample(None, ""),
        )
    ).to_pylist()
    assert [r["question"] for r in out] == [21, 21, 0, 0]
    assert [r["match"] for r in out] == ["e/1", "e/1", None, None]


def test_a_short_question_or_a_formula_must_stand_by_itself(index):
    formula = r"Compute $\dbinom{85}{82}$."
    f = index(sample("x", formula, id="e/1"), sample("x", "What is this?", id="e/2"), sample("x", SHORT, id="e/3"))
    assert matches(
        f,
        sample("x", r"compute \binom{85}{82}".replace("binom", "dbinom")),
        sample("x", f"Question: {formula} Put the answer in a box."),
        sample("x", f"Work it out.\n{formula}\nBe quick."),
        sample("x", r"Compute $\dbinom{85}{82} + 1$."),
        sample("x", "You are a guide. " + SHORT),
        sample(SHORT, "x"),
        sample("x", "What is this?"),
    ) == ["e/1", "e/1", "e/1", None, None, None, None]


def test_numbers_only(index):
    f = index(sample("E", "900 + 5 × 12 = ?\nA) 820 B) 202 C) 420 D) 209 E) 960", id="e/1"))
    assert matches(
        f,
        sample("960", "900 + 5 x 12 = ? (A) 820 (B) 202 (C) 420 (D) 209 (E) 960".replace("x", "×")),
        sample("960", "Solve. 900 + 5 × 12 = ? Options: 960, 209, 420, 202, 820"),
        sample("960", "900 + 5 × 12 = ?\n1. 1 2. 2 3. 3"),
        sample("1 2 3", "900 and 5 and 12"),
    ) == ["e/1", "e/1", None, None]


DRESS = (
    ("{}. ", "ABCDEF", "\n"),
    ("({}) ", "ABCDEF", "\n"),
    ("[{}] ", "ABCDEF", "\n"),
    ("{}: ", "ABCDEF", "\n"),
    ("{}) ", "abcdef", " "),
    ("{}. ", "123456", "\n"),
    ("({})", "123456", " "),
    ("- ", "xxxxxx", "\n"),
    ("* ", "xxxxxx", "\n\n"),
    ("", "xxxxxx", ", "),
)


@pytest.mark.parametrize(("label", "names", "sep"), DRESS)
@given(order=st.permutations(range(4)), preface=st.sampled_from(["", "Choose one. ", "Question: "]))
@settings(max_examples=15, deadline=None)
def test_options_in_any_dress_and_order(tmp_path_factory, label, names, sep, order, preface):
    path = tmp_path_factory.getbasetemp() / "choices.parquet"
    items = [sample("A", choices(SHORT, CITIES), id="e/1"), sample("A", choices(STEM, CLAIMS), id="e/2")]
    pq.write_table(load("decontaminate_exact").build(iter([batch(*items)])), path)
    f = load("decontaminate_exact", {"index": str(path)})
    shuffled = [CITIES[k] for k in order]
    told = sample("x", preface + choices(SHORT, shuffled, label, names, sep))
    turned = sample("x", choices(STEM, CLAIMS[::-1], label, names, sep))
    assert matches(f, told, turned) == ["e/1", "e/2"]


def test_the_question_without_its_options_and_with_others(index):
    many = [
        sample("A", choices(STEM, [f"{k} is {k + 1}", f"{k} is odd", f"{k} is even"]), id=f"e/{k}") for k in range(9)
    ]
    f = index(sample("A", choices(SHORT, CITIES), id="e/peru"), *many)
    assert matches(
        f,
        sample("Lima", SHORT),
        sample("Lima", choices(SHORT, ("Cusco", "Puno", "Lima"))),
        sample("x", STEM),  # nine items ask so: by itself it is nobody's
        sample("x", choices(STEM, ["4 is even", "4 is 5", "4 is odd"])),
        sample("x", choices(STEM, ["4 is even", "red is blue", "up is down"])),
    ) == ["e/peru", None, None, "e/4", None]


def test_one_option_may_be_missing(index):
    f = index(sample("A", choices(SHORT, [*CITIES, "None of these"]), id="e/1"))
    assert matches(
        f, sample("x", choices("Hm. " + SHORT, CITIES)), sample("x", choices("Hm. " + SHORT, CITIES[:3]))
    ) == ["e/1", None]


def test_a_long_stem_needs_no_options(index):
    f = index(sample("A", choices(LONG, ("3", "7", "9")), id="e/1"))
    assert matches(f, sample("x", choices(LONG, ("4", "5"))), sample("x", "So: " + LONG)) == ["e/1", "e/1"]


def test_media_on_both_sides_is_no_leak_and_short_questions_of_pictures_prove_nothing(index):
    f = index(
        sample("7", LONG, id="e/1", image=True), sample("x", "Name every prime under thirty.", id="e/2", image=True)
    )
    assert matches(f, sample("x", LONG), sample("x", LONG, image=True), sample("x", "Name every prime under thirty.")) == [
        "e/1", None, None,
    ]  # fmt: skip


def test_answers(index):
    f = index(sample(LONG, "Say it.", id="e/1"), sample("It is a very large red cube of wood", "Name it.", id="e/2"))
    assert matches(f, sample(LONG, "x"), sample("It is a very large red cube of wood", "x")) == ["e/1", None]


def test_the_longest_question_is_named_and_of_equals_the_smallest_id(index):
    f = index(
        sample("x", LONG, id="e/2"),
        sample("x", LONG, id="e/1"),
        sample("x", LONG + " And why so few of them?", id="e/0"),
    )
    assert matches(f, sample("x", LONG), sample("x", LONG + " And why so few of them?")) == ["e/1", "e/0"]


def test_the_index_does_not_depend_on_order():
    f = load("decontaminate_exact")
    items = [sample("x", LONG, id=f"e/{k}") for k in range(3)]
    items += [sample("x", choices(STEM, o), id=f"f/{k}") for k, o in enumerate((CLAIMS, CITIES, CLAIMS[::-1]))]
    other = items.copy()
    random.Random(3).shuffle(other)
    one, two = f.build(iter([batch(*items)])), f.build(iter([batch(i) for i in other]))
    assert one.equals(two)
    assert one["item"].to_pylist().count("f/0") == 1  # the same options in another order are one question
    assert "f/2" not in one["item"].to_pylist()
    assert f.build(iter([])).num_rows == 0


def test_no_index_another_file_or_other_settings_are_user_errors(index, tmp_path):
    with pytest.raises(UserError, match="needs an index"):
        matches(load("decontaminate_exact"), sample("x"))
    (tmp_path / "x").write_bytes(b"PAR1")
    with pytest.raises(UserError, match="is not an index"):
        matches(load("decontaminate_exact", {"index": str(tmp_path / "x")}), sample("x"))
    path = index(sample("x", LONG)).params["index"]
    with pytest.raises(UserError, match="was built with"):
        matches(load("decontaminate_exact", {"index": path, "short": 9}), sample("x"))

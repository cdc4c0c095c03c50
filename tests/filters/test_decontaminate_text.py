import pyarrow.parquet as pq
import pytest

from catalog.errors import UserError
from filters.base import load
from tests.filters.text_samples import PROSE, batch, sample

LONG = "A baker makes twelve trays of rolls each morning and sells five of them before noon, so how many are left?"
MIDDLE = "How many wheels do seven tricycles have together?"
TINY = "Name every prime under thirty."


@pytest.fixture
def index(tmp_path):
    def make(*samples, **params):
        path = tmp_path / "index.parquet"
        pq.write_table(load("decontaminate_text", params).build(iter([batch(s) for s in samples])), path)
        return load("decontaminate_text", {"index": str(path), **params})

    return make


def score(f, *samples):
    return f.score(batch(*samples)).to_pylist()


def test_finds_the_question_inside_other_text(index):
    f = index(sample("7", LONG, id="e/1"), sample("21", MIDDLE, id="e/2"), sample("2 3 5", TINY, id="e/3"))
    out = score(
        f,
        sample(PROSE, LONG.upper().replace(",", " -")),
        sample("Sure. " + LONG, "Ask me something."),
        sample("x", "Solve: " + MIDDLE),
        sample("x", TINY.lower()),
        sample("x", "Please: " + TINY),
        sample(PROSE, "What flows past the mill, and who talks of it today?"),
        sample("x", "What?"),
    )
    assert [r["match"] for r in out] == ["e/1", "e/1", "e/2", "e/3", None, None, None]
    assert [r["overlap"] is None or r["overlap"] > 0 for r in out] == [True, True, True, True, False, False, True]
    assert out[6]["overlap"] is None
    assert out[3]["overlap"] == 1.0


def test_an_item_with_media_leaks_only_into_text(index):
    f = index(sample("7", LONG, id="e/1", image=True), sample("x", TINY, id="e/2", image=True))
    assert [r["match"] for r in score(f, sample("x", LONG), sample("x", LONG, image=True), sample("x", TINY))] == [
        "e/1",
        None,
        None,
    ]


def test_short_answers_of_items_are_not_leaks(index):
    f = index(sample("It is a very large red cube", LONG, id="e/1"))
    assert score(f, sample("It is a very large red cube", "What is shown in this drawing here?"))[0]["overlap"] == 0


def test_wording_that_many_items_share_is_not_a_leak(index):
    frame = "Choose the best answer from the options below and explain in one sentence why it is the best."
    f = index(*(sample("x", f"{frame} Item {i}", id=f"e/{i}") for i in range(20)))
    assert score(f, sample("x", frame))[0]["match"] is None


def test_runs_of_numbers_single_letters_and_signs_prove_nothing(index):
    numbers = "The answers are " + ", ".join(str(i) for i in range(1, 16)) + " in this order, with no other one."
    matrix = "The matrix has the rows 0 0 0 0 0 0 0 0 0 0 0 0 0 1 1 1 1 1 1 1 1 1 1 1 1 1 and that is all there is."
    letters = r"Put $a + b + c + d + e + f + g + h + i + j + k + l + m + n + o$ into one word."
    f = index(*(sample("x", t, id=f"e/{i}") for i, t in enumerate((numbers, matrix, letters, "1 2 3 4 5 6 7 8 9"))))
    out = score(
        f,
        sample("The complete set 1-2-3-4-5-6-7-8-9-10-11-12-13-14-15 of the comic, all in one box"),
        sample("1 1 1 1 1 1 1 1 1 1 1 1 1 1 TOTAL 14"),
        sample("a b c d e f g h i j k l m n o"),
        sample("x", numbers),
        sample("x", matrix + " Or is it?"),
        sample("x", letters),
    )
    assert [r["match"] for r in out[:3]] == [None] * 3
    assert [r["match"] for r in out[3:5]] == ["e/0", "e/1"]


def test_a_formula_leaks_as_a_whole_question(index):
    formula = "900 + 5 × 12 = ?\nA) 820 B) 202 C) 420 D) 209 E) 960"
    f = index(
        sample("E", formula, id="e/1"), sample("x", "Evaluate $f(6) - f(4)$ for $f(x) = (x-1)(x-3)(x-7)$.", id="e/2")
    )
    out = score(
        f,
        sample("960", "900 + 5 x 12 = ? (A) 820 (B) 202 (C) 420 (D) 209 (E) 960".replace("x", "×")),
        sample("960", "Tell me: " + formula),
        sample(formula, "What do you see?"),
        sample("960", "900 + 5 × 12 = ? A) 820 B) 202 C) 420 D) 209 E) 960 F) None of them"),
        sample("x", "evaluate f(6) - f(4) for f(x) = (x - 1)(x - 3)(x - 7)"),
    )
    assert [r["match"] for r in out] == ["e/1", None, None, "e/1", "e/2"]
    assert [r["overlap"] > 0 for r in out] == [True, False, False, True, True]


def test_ideographs_and_latex_commands_are_words(index):
    chinese = "小明有十二个苹果他给了小红三个还剩下几个"
    latex = r"\frac{1}{2} \sqrt{3} \cdot \left(4\right) + \binom{7}{2} - \log 5"
    f = index(sample("x", chinese, id="e/1"), sample("x", "Compute " + latex, id="e/2"))
    assert [r["match"] for r in score(f, sample("x", "题目:" + chinese), sample("x", "So " + latex))] == ["e/1", "e/2"]


def test_the_index_does_not_depend_on_order(tmp_path):
    f = load("decontaminate_text")
    items = [sample("x", LONG, id="e/2"), sample("x", LONG, id="e/1"), sample("x", MIDDLE, id="e/3")]
    assert f.build(iter([batch(*items)])).equals(f.build(iter([batch(i) for i in items[::-1]])))
    assert set(f.build(iter([batch(*items)]))["item"].to_pylist()) == {"e/1", "e/3"}


def test_no_index_another_file_or_other_settings_are_user_errors(index, tmp_path):
    with pytest.raises(UserError, match="needs an index"):
        score(load("decontaminate_text"), sample("x"))
    (tmp_path / "x").write_bytes(b"PAR1")
    with pytest.raises(UserError, match="is not an index"):
        score(load("decontaminate_text", {"index": str(tmp_path / "x")}), sample("x"))
    path = index(sample("x", LONG)).params["index"]
    with pytest.raises(UserError, match="was built with"):
        score(load("decontaminate_text", {"index": path, "n": 9}), sample("x"))

import pyarrow.parquet as pq
import pytest

from catalog.errors import UserError
from filters.base import load
from tests.filters.text_samples import PROSE, batch, sample

LONG = "A baker makes twelve trays of rolls each morning and sells five of them before noon, so how many are left?"
TRAIN = (
    "A train leaves the harbour at nine and travels along the coast for two hours before it turns inland to the mines."
)


@pytest.fixture
def index(tmp_path):
    def make(*samples, **params):
        path = tmp_path / "index.parquet"
        wanted = {k: v for k, v in params.items() if k != "least_words"}
        pq.write_table(load("decontaminate_text", wanted).build(iter([batch(s) for s in samples])), path)
        return load("decontaminate_text", {"index": str(path), **params})

    return make


def score(f, *samples):
    return f.score(batch(*samples)).to_pylist()


def test_overlap_is_the_share_of_the_items_words_in_shared_runs(index):
    """LONG has 21 words; its first 14 shared is two thirds, its first 8 and last 8 are 16 of 21."""
    f = index(sample("7", LONG, id="e/1"))
    words = LONG.split()
    out = score(
        f,
        sample("x", LONG.upper().replace(",", " -")),
        sample("x", " ".join(words[:14]) + " and nothing else is asked here at all today"),
        sample("x", " ".join([*words[:8], "cakes", "and", "pies", *words[13:]])),
        sample("x", " ".join(words[:12]) + " and nothing else is asked here at all today"),
        sample(PROSE, "What flows past the mill, and who talks of it today?"),
        sample("x", "What?"),
    )
    assert [r["overlap"] for r in out] == [1.0, round(14 / 21, 6), round(16 / 21, 6), 0.0, 0.0, None]
    assert [r["matched"] for r in out] == [14, 7, 2, 5, 0, None]
    assert [r["match"] for r in out] == ["e/1"] * 3 + [None] * 3


def test_thirteen_shared_words_prove_something_or_all_of_a_shorter_item(index):
    f = index(sample("7", LONG, id="e/1"), sample("21", "How many wheels do seven tricycles have together?", id="e/2"))
    twelve = sample("x", " ".join(LONG.split()[:12]) + " and much else besides")
    short = sample("x", "Tell me: how many wheels do seven tricycles have together, and why?")
    assert [r["match"] for r in score(f, twelve, short)] == [None, "e/2"]
    f = index(sample("7", LONG, id="e/1"), least_words=8)
    assert score(f, twelve)[0]["overlap"] == round(12 / 21, 6)


def test_shared_runs_of_all_messages_count_together(index):
    f = index(sample("7", LONG, id="e/1"))
    words = LONG.split()
    asked = sample(" ".join(words[10:]), " ".join(words[:10]))
    assert score(f, asked)[0] == {"overlap": 1.0, "matched": 3 + 4, "match": "e/1"}


def test_gpt3s_rule_is_any_run_of_13(index):
    f = index(sample("7", LONG, id="e/1"), n=13)
    words = LONG.split()
    out = score(
        f, sample("x", "Well: " + " ".join(words[:13]) + " he says"), sample("x", " ".join(words[:12]) + " he says")
    )
    assert [r["matched"] for r in out] == [1, 0]


def test_the_stem_alone_is_an_item_of_its_own(index):
    options = "\n".join(
        f"{a}) {TRAIN.replace('train', w)}" for a, w in zip("ABC", ("bus", "cart", "ship"), strict=True)
    )
    f = index(sample("A", f"{LONG}\n{options}", id="e/1"))
    assert score(f, sample("x", LONG))[0]["overlap"] == 1.0


def test_the_closest_item_is_named_and_of_equals_the_smallest_id(index):
    f = index(
        sample("x", LONG, id="e/2"), sample("x", LONG, id="e/1"), sample("x", LONG + " And why so few?", id="e/0")
    )
    assert score(f, sample("x", LONG))[0]["match"] == "e/1"
    assert score(f, sample("x", LONG + " And why so few?"))[0]["match"] == "e/0"


def test_answers_of_items_count_where_they_are_long(index):
    f = index(sample(TRAIN, "Say it.", id="e/1"), sample("It is a red cube", "Name it, please.", id="e/2"))
    assert [r["match"] for r in score(f, sample(TRAIN, "x"), sample("It is a red cube", "x"))] == ["e/1", None]


def test_an_item_with_media_leaks_only_into_text(index):
    f = index(sample("7", LONG, id="e/1", image=True))
    assert [r["match"] for r in score(f, sample("x", LONG), sample("x", LONG, image=True))] == ["e/1", None]


def test_wording_that_many_items_share_is_not_a_leak(index):
    frame = "Choose the best answer from the options below and explain in one sentence why it is the best."
    items = [sample("x", f"{frame} Item {i}", id=f"e/{i}") for i in range(20)]
    own = sample("x", f"{frame} {LONG}", id="e/own")
    f = index(*items, own)
    out = score(f, sample("x", frame), sample("x", LONG))
    assert [r["match"] for r in out] == [None, "e/own"]
    assert out[1]["overlap"] == round(
        21 / (21 + 7), 6
    )  # runs that begin in the frame and end in the question are its own


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
    )
    assert [r["match"] for r in out] == [None, None, None, "e/0", "e/1"]


def test_ideographs_and_latex_commands_are_words(index):
    chinese = "小明有十二个苹果他给了小红三个还剩下几个"
    latex = r"\frac{1}{2} \sqrt{3} \cdot \left(4\right) + \binom{7}{2} - \log 5 \pmod 3"
    f = index(sample("x", chinese, id="e/1"), sample("x", "Compute " + latex, id="e/2"))
    assert [r["match"] for r in score(f, sample("x", "题目:" + chinese), sample("x", "So compute " + latex))] == [
        "e/1",
        "e/2",
    ]


def test_the_index_does_not_depend_on_order(tmp_path):
    f = load("decontaminate_text")
    items = [sample("x", LONG, id="e/2"), sample("x", LONG, id="e/1"), sample("x", TRAIN, id="e/3")]
    assert f.build(iter([batch(*items)])).equals(f.build(iter([batch(i) for i in items[::-1]])))
    assert set(f.build(iter([batch(*items)]))["item"].to_pylist()) == {"e/1", "e/2", "e/3"}
    assert f.build(iter([])).num_rows == 0


def test_no_index_another_file_or_other_settings_are_user_errors(index, tmp_path):
    with pytest.raises(UserError, match="needs an index"):
        score(load("decontaminate_text"), sample("x"))
    (tmp_path / "x").write_bytes(b"PAR1")
    with pytest.raises(UserError, match="is not an index"):
        score(load("decontaminate_text", {"index": str(tmp_path / "x")}), sample("x"))
    path = index(sample("x", LONG)).params["index"]
    with pytest.raises(UserError, match="was built with"):
        score(load("decontaminate_text", {"index": path, "n": 9}), sample("x"))

import random

import pyarrow.parquet as pq
import pytest

from catalog.errors import UserError
from filters.base import load
from tests.filters.text_samples import PROSE, batch, sample

WORDS = [f"w{k}ord" for k in range(20)]
LONG = "A baker makes twelve trays of rolls each morning and sells five of them before noon, so how many are left?"


@pytest.fixture
def index(tmp_path):
    def make(*samples, **params):
        path = tmp_path / "index.parquet"
        pq.write_table(load("decontaminate_minhash", params).build(iter([batch(s) for s in samples])), path)
        return load("decontaminate_minhash", {"index": str(path), **params})

    return make


def score(f, *samples):
    return f.score(batch(*samples)).to_pylist()


def jaccard(a, b, n=3):
    x, y = ({tuple(t.split()[i : i + n]) for i in range(len(t.split()) - n + 1)} for t in (a, b))
    return len(x & y) / len(x | y)


def test_the_score_is_the_jaccard_similarity_of_runs_of_three(index):
    """21 words have 19 runs; another word in the middle changes 3 of them: 16 of 22."""
    f = index(sample("7", LONG, id="e/1"))
    words = LONG.split()
    out = score(
        f,
        sample("x", LONG.upper()),
        sample("x", " ".join([*words[:10], "noon", *words[11:]])),
        sample(PROSE, "What flows past the mill, and who talks of it today?"),
        sample("x", "Too short a text."),
    )
    assert [r["similarity"] for r in out] == [1.0, round(16 / 22, 6), 0.0, None]
    assert [r["match"] for r in out] == ["e/1", "e/1", None, None]


def test_what_is_similar_is_found(index):
    """1 - (1 - s^3)^32 of the pairs of similarity s are candidates; all are scored exactly, and none below 0.3."""
    rng = random.Random(5)
    items = [" ".join(rng.choices(WORDS, k=rng.randint(20, 60))) for _ in range(150)]
    edited = []
    for text in items:
        words = text.split()
        for k in rng.sample(range(len(words)), max(1, len(words) // rng.randint(8, 25))):
            words[k] = rng.choice(WORDS)
        edited.append(" ".join(words))
    f = index(*(sample("x", t, id=f"e/{k:03d}") for k, t in enumerate(items)))
    out = score(f, *(sample("x", t) for t in edited))
    true = [jaccard(a, b) for a, b in zip(items, edited, strict=True)]
    near = [k for k, s in enumerate(true) if s > 0.5]
    assert len(near) > 60
    assert sum(out[k]["match"] == f"e/{k:03d}" for k in near) >= 0.98 * len(near)
    for k, r in enumerate(out):
        assert r["match"] is None or r["similarity"] == pytest.approx(true[k], abs=1e-6) or r["match"] != f"e/{k:03d}"


def test_the_stem_is_compared_with_a_question_without_options(index):
    f = index(
        sample("A", LONG + "\nA) three hundred and one\nB) seven hundred\nC) some other number of them", id="e/1")
    )
    assert [r["similarity"] for r in score(f, sample("x", LONG), sample("x", LONG + "\n(1) a dozen\n(2) two"))] == [
        1.0,
        1.0,
    ]


def test_an_item_with_media_leaks_only_into_text_and_numbers_prove_nothing(index):
    numbers = " ".join(str(i) for i in range(30))
    f = index(sample("7", LONG, id="e/1", image=True), sample("x", numbers, id="e/2"))
    out = score(f, sample("x", LONG), sample("x", LONG, image=True), sample("x", numbers))
    assert [r["match"] for r in out] == ["e/1", None, None]


def test_of_equals_the_smallest_id_and_the_index_does_not_depend_on_order(index):
    items = [sample("x", LONG, id="e/2"), sample("x", LONG.lower(), id="e/1"), sample("x", PROSE, id="e/3")]
    assert score(index(*items), sample("x", LONG))[0]["match"] == "e/1"
    f = load("decontaminate_minhash")
    assert f.build(iter([batch(*items)])).equals(f.build(iter([batch(i) for i in items[::-1]])))
    assert f.build(iter([])).num_rows == 0


def test_wrong_parameters_and_files_are_user_errors(index, tmp_path):
    with pytest.raises(UserError, match="needs an index"):
        score(load("decontaminate_minhash"), sample("x"))
    with pytest.raises(UserError, match="`bands` must be"):
        score(load("decontaminate_minhash", {"bands": 0}), sample("x"))
    (tmp_path / "x").write_bytes(b"PAR1")
    with pytest.raises(UserError, match="is not an index"):
        score(load("decontaminate_minhash", {"index": str(tmp_path / "x")}), sample("x"))
    path = index(sample("x", LONG)).params["index"]
    with pytest.raises(UserError, match="was built with"):
        score(load("decontaminate_minhash", {"index": path, "shingle": 4}), sample("x"))

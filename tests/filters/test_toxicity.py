from filters.base import load
from tests.filters.text_samples import PROSE, answers

f = load("toxicity")


def test_by_hand():
    out = f.score(answers("Go kill yourself, you retard", PROSE, "", "Kill your darlings yourself."))
    assert out["count"].to_pylist() == [2, 0, None, 0]
    assert out["toxic"].to_pylist() == [0.8, 0.0, None, 0.0]


def test_languages_and_own_lists(tmp_path):
    assert load("toxicity", {"languages": ["ru"]}).score(answers("Сдохни, мразь!"))["count"].to_pylist() == [2]
    path = tmp_path / "list.txt"
    path.write_text("nincompoop\n")
    assert load("toxicity", {"lists_path": str(path)}).score(answers("You nincompoop."))["toxic"].to_pylist() == [0.5]


def test_no_default_bound():
    assert f.bounds == {}

import pytest

from catalog.errors import UserError
from filters.base import load
from filters.shared import terms
from tests.filters.text_samples import HOSTILE, PROSE, answers

f = load("flagged_words")


def test_by_hand():
    out = f.score(answers("What a load of BULLSHIT!", "A hand-job, she said.", PROSE, "42 ?", "...", None))
    assert out["count"].to_pylist() == [1, 1, 0, 0, None, None]
    assert out["flagged"].to_pylist() == [0.2, 0.4, 0.0, 0.0, None, None]


def test_only_whole_words():
    assert f.score(answers("Scunthorpe, shitake, cocktail, titanic, assassin, Dickens"))["count"].to_pylist() == [0]
    assert f.score(answers("ｆｕｃｋ sh\u00adit"))["count"].to_pylist() == [2], "width and soft hyphens do not hide it"


def test_languages():
    text = "So eine Scheiße, sagte er."
    assert f.score(answers(text))["count"].to_pylist() == [0]
    german = load("flagged_words", {"languages": ["de", "zh"]})
    assert german.score(answers(text, "这个傻逼在说什么"))["count"].to_pylist() == [1, 1]
    assert german.score(answers("这个傻逼在说什么"))["flagged"].to_pylist() == [0.25]
    with pytest.raises(UserError, match=r"no `deu.txt` in .*de"):
        load("flagged_words", {"languages": ["deu"]}).score(answers(text))
    with pytest.raises(UserError, match="expected a list"):
        load("flagged_words", {"languages": "de"}).score(answers(text))


def test_own_lists(tmp_path):
    (tmp_path / "en.txt").write_text("# ours\n\nred herring\nred\nold red herring tale\n", "utf-8")
    for path in (tmp_path, tmp_path / "en.txt"):
        mine = load("flagged_words", {"lists_path": str(path)})
        out = mine.score(answers("A red herring, a Red flag, old red, herring", "shit"))
        assert out["count"].to_pylist() == [3, 0]
        assert out["flagged"].to_pylist() == [0.555556, 0.0]
    with pytest.raises(UserError, match="no list"):
        load("flagged_words", {"lists_path": str(tmp_path / "none")}).score(answers("a"))
    (tmp_path / "xx.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(UserError, match="not UTF-8"):
        load("flagged_words", {"lists_path": str(tmp_path / "xx.txt")}).score(answers("a"))


@pytest.mark.parametrize("name", ["flagged", "toxic"])
def test_bundled_lists_are_sorted_sets_and_find_themselves(name):
    for path in sorted((terms.BUNDLED / name).glob("*.txt")):
        found = terms.lines(path)
        assert len(found) >= 20 and len(set(found)) == len(found), path
        assert all(term == term.lower().strip() for term in found), path
        counted = terms.count(terms.tokenise(terms.pa.array(found)), terms.load(name, [path.stem]))
        assert (counted[:, 0] >= 1).all(), path


def test_hostile():
    out = f.score(answers(*HOSTILE))
    assert all(v in (None, 0) for v in out["count"].to_pylist())

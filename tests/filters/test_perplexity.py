import importlib.util
import sys

import pytest

from catalog.errors import UserError
from filters.base import load
from tests.filters.text_samples import HOSTILE, answers

ARPA = """\\data\\
ngram 1=5
ngram 2=3

\\1-grams:
-1.0\t<unk>
-99\t<s>\t-0.5
-0.7\t</s>
-0.5\tthe\t-0.3
-0.9\tcat\t-0.2

\\2-grams:
-0.2\t<s> the
-0.4\tthe cat
-0.1\tcat </s>

\\end\\
"""


def contract_params(folder, samples, reader):
    if importlib.util.find_spec("kenlm") is None:
        return {}
    (folder / "tiny.arpa").write_text(ARPA)
    return {"model": str(folder / "tiny.arpa")}


def test_null_without_a_model():
    assert load("perplexity").score(answers("the cat", None))["perplexity"].to_pylist() == [None, None]


def test_errors(tmp_path, monkeypatch):
    (tmp_path / "tiny.arpa").write_text(ARPA)
    with pytest.raises(UserError, match="no language model"):
        load("perplexity", {"model": str(tmp_path / "none.arpa")}).score(answers("a"))
    monkeypatch.setitem(sys.modules, "kenlm", None)
    with pytest.raises(UserError, match=r"pip install 'cuvee\[kenlm\]'"):
        load("perplexity", {"model": str(tmp_path / "tiny.arpa")}).score(answers("a"))


def test_by_hand(tmp_path):
    pytest.importorskip("kenlm")
    (tmp_path / "tiny.arpa").write_text(ARPA)
    f = load("perplexity", {"model": str(tmp_path / "tiny.arpa")})
    out = f.score(answers("the cat", "  the\n\tcat ", "the dog", "", "\x00", None))["perplexity"].to_pylist()
    cat = 10 ** ((0.2 + 0.4 + 0.1) / 3)
    dog = 10 ** ((0.2 + (0.3 + 1.0) + 0.7) / 3)
    assert out == pytest.approx([cat, cat, dog, 0.0, 0.0, None], abs=1e-4)
    assert f.score(answers("the cat", task="code"))["perplexity"].to_pylist() == [None]
    by_line = load("perplexity", {"model": str(tmp_path / "tiny.arpa"), "lines": True})
    two = 10 ** ((0.7 + 2.2) / 6)
    assert by_line.score(answers("the cat\r\n\nthe dog"))["perplexity"].to_pylist() == pytest.approx([two], abs=1e-4)
    assert all(v == 0 or v >= 1 for v in by_line.score(answers(*HOSTILE))["perplexity"].to_pylist())
    (tmp_path / "bad.arpa").write_text("no model")
    with pytest.raises(UserError, match="kenlm cannot read"):
        load("perplexity", {"model": str(tmp_path / "bad.arpa")}).score(answers("a"))


def test_pieces(tmp_path):
    pytest.importorskip("kenlm")
    sentencepiece = pytest.importorskip("sentencepiece")
    (tmp_path / "text.txt").write_text("the cat sat on the mat\n" * 20)
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "text.txt"),
        model_prefix=str(tmp_path / "en.sp"),
        vocab_size=22,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "en.sp.model")).encode(
        "the cat", out_type=str
    )
    (tmp_path / "tiny.arpa").write_text(ARPA.replace("the", pieces[0]).replace("<s> " + pieces[0], f"<s> {pieces[0]}"))
    f = load("perplexity", {"model": str(tmp_path / "tiny.arpa"), "pieces_path": str(tmp_path / "en.sp.model")})
    import kenlm

    want = 10 ** (-kenlm.Model(str(tmp_path / "tiny.arpa")).score(" ".join(pieces)) / (len(pieces) + 1))
    assert f.score(answers("the cat"))["perplexity"].to_pylist() == pytest.approx([want], abs=1e-3)
    with pytest.raises(UserError, match="no sentencepiece model"):
        load("perplexity", {"model": str(tmp_path / "tiny.arpa"), "pieces_path": "none"}).score(answers("a"))

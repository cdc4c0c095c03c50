import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalog.errors import UserError
from curate.fit_quality import config, fit
from filters.base import load
from filters.shared import ngrams
from filters.shared.text import assistant_tokens
from tests.filters.text_samples import HOSTILE, answers, batch, sample

GOOD = "The river rises in spring because snow melts on the hills, and careful people move their boats."
BAD = "CLICK here buy cheap now best price free shipping click buy buy deal of the day now"


def words(text, n, seed):
    rng = np.random.default_rng(seed)
    stock = text.split()
    return answers(*(" ".join(rng.choice(stock, 12)) + f" n{seed}x{i}" for i in range(n)))


def contract_params(folder, samples, reader):
    fit(iter([words(GOOD, 60, 1)]), iter([words(BAD, 60, 2)]), folder / "model", config=config({"bits": 12}))
    return {"model": str(folder / "model")}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return contract_params(tmp_path_factory.mktemp("quality"), None, None)["model"]


def test_good_text_scores_above_bad_text_and_no_text_is_null(model):
    f = load("quality", {"model": model})
    scores = f.score(batch(sample(GOOD), sample(BAD), sample(None), sample("..."))).column("quality").to_pylist()
    assert scores[0] > 0.8 > 0.2 > scores[1]
    assert scores[2:] == [None, None]


def test_a_longer_text_of_the_same_words_scores_alike(model):
    f = load("quality", {"model": model})
    one, ten = f.score(answers(GOOD, " ".join([GOOD] * 10))).column("quality").to_pylist()
    assert abs(one - ten) < 0.02


def test_the_margin_is_the_mean_weight_of_words_and_pairs():
    batch_ = answers("red blue red")
    t = assistant_tokens(batch_)
    weights = np.zeros(1 << 16, np.float32)
    red, blue = (np.uint64(ngrams.extend(np.uint64(0), h)) for h in t.hashes[:2])
    pair = np.uint64(ngrams.extend(red, t.hashes[1]))
    for h, w in ((red, 1.0), (blue, -2.0), (pair, 5.0)):
        weights[h >> np.uint64(48)] = w
    z = ngrams.margins(t.hashes, t.first, weights, 0.25, 16, 2)
    assert z.tolist() == [pytest.approx(0.25 + (1 - 2 + 1 + 5 + 0) / 5)]


def test_hostile_texts_have_a_score_or_none(model):
    scores = load("quality", {"model": model}).score(answers(*HOSTILE)).column("quality").to_pylist()
    assert all(s is None or 0 <= s <= 1 for s in scores)


def test_all_messages_are_read_where_the_model_says_so(tmp_path):
    ask = [sample("Yes.", question=f"{w} n{i}") for i in range(50) for w in (GOOD,)]
    spam = [sample("Yes.", question=f"{w} n{i}") for i in range(50) for w in (BAD,)]
    fit(iter([batch(*ask)]), iter([batch(*spam)]), tmp_path / "m", config=config({"reads": "all", "bits": 12}))
    f = load("quality", {"model": str(tmp_path / "m")})
    good, bad = (
        f.score(batch(sample("Yes.", question=GOOD), sample("Yes.", question=BAD))).column("quality").to_pylist()
    )
    assert good > 0.8 > 0.2 > bad


def test_the_content_of_the_model_is_in_the_fingerprint(model, tmp_path):
    shutil.copytree(model, tmp_path / "same")
    same = load("quality", {"model": str(tmp_path / "same")}).fingerprint
    assert same == load("quality", {"model": model}).fingerprint
    record = json.loads((tmp_path / "same" / "quality.json").read_text())
    (tmp_path / "same" / "quality.json").write_text(json.dumps({**record, "bias": 1.0}))
    assert load("quality", {"model": str(tmp_path / "same")}).fingerprint != same


def test_what_is_no_model_says_so(model, tmp_path):
    assert load("quality").score(answers("x")).to_pydict() == {"quality": [None]}
    assert load("quality").required == ("model",)
    with pytest.raises(UserError, match="no such model"):
        load("quality", {"model": str(tmp_path / "none")}).score(answers("x"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no quality model"):
        load("quality", {"model": str(tmp_path / "empty")}).score(answers("x"))
    for change, said in (
        ({"bits": 60}, "bits must be"),
        ({"slope": None}, "not the record"),
        ({"bits": 4}, "beyond 4 bits"),
    ):
        shutil.copytree(model, tmp_path / "broken", dirs_exist_ok=True)
        record = json.loads((tmp_path / "broken" / "quality.json").read_text())
        (tmp_path / "broken" / "quality.json").write_text(json.dumps({**record, **change}))
        with pytest.raises(UserError, match=said):
            load("quality", {"model": str(tmp_path / "broken")}).score(answers("x"))
    shutil.copytree(model, tmp_path / "other")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other" / "weights.parquet")
    with pytest.raises(UserError, match="does not hold the columns"):
        load("quality", {"model": str(tmp_path / "other")}).score(answers("x"))

import json

import numpy as np
import pyarrow as pa
import pytest

from catalog.schema import SAMPLE
from filters.base import load
from filters.shared import clip
from filters.shared.images import Images
from tests.filters import tiny
from tests.filters.pictures import Memory, encode, pairs, samples

CAPTIONS = {"input_caption": "a red square", "output_caption": "a blue circle"}


def edits(items, reader, *, task="edit", metas=None):
    rows = samples([(images, "Make it so.") for images in items], reader).to_pylist()
    for row, meta in zip(rows, metas or [CAPTIONS] * len(rows), strict=True):
        row |= {"task": task, "meta": meta if isinstance(meta, str) else json.dumps(meta)}
    return pa.RecordBatch.from_pylist(rows, SAMPLE)


def contract_params(folder, samples, reader):
    return {"model": tiny.model(folder / "model")}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.model(tmp_path_factory.mktemp("tiny") / "model")


def score(batch, reader, **params):
    return load("clip_direction", params).score(batch, Images.read(batch, reader)).to_pylist()


def test_scores_are_the_cosines_of_the_paper(model) -> None:
    (p, _), (q, _), (r, _) = pairs(3, seed=5)
    reader = Memory()
    batch = edits([[encode(p), encode(q)], [encode(p), encode(r), encode(q)], [encode(p), encode(p)]], reader)
    network = clip.load(model)
    a, b = network.images([p, q]).astype(np.float64)
    s, t = network.texts(list(CAPTIONS.values())).astype(np.float64)
    change, said = b - a, t - s
    want = {
        "image_similarity": a @ b,
        "caption_similarity": min(a @ s, b @ t),
        "direction": change @ said / np.linalg.norm(change) / np.linalg.norm(said),
    }
    got = score(batch, reader, model=model)
    assert got[0] == pytest.approx(want, abs=1e-5)
    assert got[1] == got[0]  # the first and the last image count
    assert got[2]["image_similarity"] == pytest.approx(1, abs=1e-5)
    assert got[2]["direction"] == 0


def test_captions_stand_under_keys_of_meta(model) -> None:
    reader = Memory()
    shown = [encode(p) for p, _ in pairs(2)]
    turned = {"old": "a red square", "new": "a blue circle"}
    batch = edits([shown, shown], reader, metas=[CAPTIONS, turned])
    assert [r["direction"] is None for r in score(batch, reader, model=model)] == [False, True]
    other = score(batch, reader, model=model, before="old", after="new")
    assert other[0]["direction"] is None
    assert other[1] == score(batch, reader, model=model)[0]


def test_null_and_nan(model) -> None:
    reader = Memory()
    good = encode(pairs(1)[0][0])
    metas = [CAPTIONS, "{", "[]", {}, {**CAPTIONS, "input_caption": " "}, {**CAPTIONS, "output_caption": 3}]
    batch = edits([[good, b"?"], *[[good, good]] * 5], reader, metas=metas)
    got = score(batch, reader, model=model)
    assert all(np.isnan(v) for v in got[0].values())
    assert all(v is None for row in got[1:] for v in row.values())
    for none in (edits([[good]], reader), edits([[good, good]], reader, task="caption"), edits([[]], reader)):
        assert set(score(none, reader, model=model)[0].values()) == {None}
    assert set(score(edits([[good, good]], reader), reader)[0].values()) == {None}

import numpy as np
import pyarrow.parquet as pq
import pytest

from catalog.errors import UserError
from filters.base import load
from filters.decontaminate_clip import build
from filters.shared.images import Images
from tests.filters import tiny
from tests.filters.pictures import Memory, encode, pairs, samples


def contract_params(folder, samples, reader):
    model = tiny.model(folder / "model")
    pq.write_table(build(iter([samples.slice(0, 30)]), reader=reader, model=model), folder / "index.parquet")
    return {"model": model, "index": str(folder / "index.parquet")}


def test_the_nearest_evaluation_image_is_named(tmp_path) -> None:
    model, reader = tiny.model(tmp_path / "model"), Memory()
    shown = [p for p, _ in pairs(6, seed=5)]
    evaluation = samples([([encode(p) for p in shown[:2]], "a"), ([encode(shown[2])], "b"), ([b"?"], "c")], reader)
    table = build(iter([evaluation, evaluation.slice(0, 0)]), reader=reader, model=model)
    assert table["id"].to_pylist() == ["s/0000", "s/0000", "s/0001"]
    pq.write_table(table.slice(0, 2), tmp_path / "some.parquet")
    pq.write_table(table, tmp_path / "index.parquet")
    f = load("decontaminate_clip", {"model": model, "index": str(tmp_path / "index.parquet")})
    batch = samples(
        [
            ([encode(shown[1])], ""),
            ([encode(shown[4]), encode(shown[2])], ""),
            ([encode(shown[5])], ""),
            ([], ""),
            ([b"?"], ""),
        ],
        reader,
    )
    got = f.score(batch, Images.read(batch, reader)).to_pylist()
    assert [r["match"] for r in got[:2]] == ["s/0000", "s/0001"]
    assert [r["cosine"] for r in got[:2]] == [1.0, 1.0]
    vectors = np.stack([np.frombuffer(v, "<f4") for v in table["vector"].to_pylist()])
    other = build(iter([batch.slice(2, 1)]), reader=reader, model=model)["vector"].to_pylist()[0]
    assert got[2]["cosine"] == pytest.approx(float((vectors @ np.frombuffer(other, "<f4")).max()), abs=2e-5)
    assert got[3] == {"cosine": None, "match": None}
    assert np.isnan(got[4]["cosine"])
    assert got[4]["match"] is None


def test_without_model_or_index_it_does_not_apply_and_a_wrong_index_is_said(tmp_path) -> None:
    reader = Memory()
    batch = samples([([encode(pairs(1)[0][0])], "x")], reader)
    assert load("decontaminate_clip").score(batch, Images.read(batch, reader)).to_pylist() == [
        {"cosine": None, "match": None}
    ]
    with pytest.raises(UserError, match="needs a model"):
        build(iter([batch]), reader=reader)
    model = tiny.model(tmp_path / "model")
    empty = build(iter([]), reader=reader, model=model)
    pq.write_table(empty, tmp_path / "empty.parquet")
    f = load("decontaminate_clip", {"model": model, "index": str(tmp_path / "empty.parquet")})
    assert f.score(batch, Images.read(batch, reader))["cosine"].to_pylist() == [None]
    table = build(iter([batch]), reader=reader, model=model)
    half = [v[:32] for v in table["vector"].to_pylist()]
    pq.write_table(table.set_column(1, "vector", [half]), tmp_path / "half.parquet")
    with pytest.raises(UserError, match="vectors of 8 numbers"):
        load("decontaminate_clip", {"model": model, "index": str(tmp_path / "half.parquet")}).score(
            batch, Images.read(batch, reader)
        )

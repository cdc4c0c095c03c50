import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalog.errors import UserError
from filters.base import load
from filters.image_target import INDEX, build
from filters.shared import centroids, clip
from filters.shared.images import Images
from tests.filters import tiny
from tests.filters.pictures import Memory, encode, pairs, samples
from tests.filters.test_cluster_cap import blobs


def contract_params(folder, samples, reader):
    model = tiny.model(folder / "model")
    pq.write_table(build(iter([samples.slice(0, 30)]), reader=reader, model=model), folder / "index.parquet")
    return {"model": model, "index": str(folder / "index.parquet"), "clusters": 2}


def index(path, vectors) -> str:
    n = len(vectors)
    data = centroids.pack(np.arange(n), vectors, n, np.ones(n, bool))
    pq.write_table(pa.table({"id": [f"t/{k}" for k in range(n)], "vector": data}, schema=INDEX), path)
    return str(path)


def test_what_shares_a_cluster_with_a_target_image_is_kept(tmp_path) -> None:
    """DataComp's rule, with three planted clusters of which the target set hits two."""
    vectors = blobs((30, 20, 10))
    target = blobs((2, 0, 3), seed=1)
    rows = np.concatenate([np.arange(60), [60, 60]])
    both = np.concatenate([vectors, vectors[35:36], vectors[5:6]])  # a last sample with images of two clusters
    packed = centroids.pack(rows, both, 61, np.ones(61, bool))
    table = pa.table({"id": [f"s/{k:02d}" for k in range(61)], "vectors": packed, "target_similarity": np.zeros(61)})
    f = load("image_target", {"index": index(tmp_path / "t.parquet", target), "clusters": 3})
    got = f.pool(table).sort_by("id").to_pylist()
    assert [r["target_images"] for r in got] == [2] * 30 + [0] * 20 + [3] * 10 + [2]
    assert [r["cluster_share"] for r in got[:60:29]] == pytest.approx([31 / 62, 31 / 62, 10 / 62], abs=1e-6)
    assert got[60]["pool_cluster"] == got[35]["pool_cluster"] != got[0]["pool_cluster"]
    order = pa.array(np.random.default_rng(0).permutation(61))
    assert f.pool(table.take(order)).sort_by("id").to_pylist() == got


def test_similarity_is_to_the_nearest_target_image(tmp_path) -> None:
    model, reader = tiny.model(tmp_path / "model"), Memory()
    shown = [p for p, _ in pairs(6, seed=5)]
    target = samples([([encode(p) for p in shown[:2]], "a"), ([encode(shown[2])], "b"), ([b"?"], "c")], reader)
    table = build(iter([target, target.slice(0, 0)]), reader=reader, model=model)
    assert table["id"].to_pylist() == ["s/0000", "s/0000", "s/0001"]
    pq.write_table(table, tmp_path / "index.parquet")
    batch = samples(
        [
            ([encode(shown[1])], ""),
            ([encode(shown[4])], ""),
            ([encode(p) for p in shown[4:]], ""),
            ([], ""),
            ([b"?"], ""),
        ],
        reader,
    )
    params = {"model": model, "index": str(tmp_path / "index.parquet")}
    got = load("image_target", params).score(batch, Images.read(batch, reader))
    v = clip.load(model).images(shown).astype(np.float64)
    near = (v[3:] @ v[:3].T).max(1)
    want = got["target_similarity"].to_pylist()
    assert want[:3] == pytest.approx([1, near[1], max(near[1:])], abs=2e-3)
    assert want[3] is None
    assert np.isnan(want[4])
    assert [v is None for v in got["vectors"].to_pylist()] == [False, False, False, True, True]
    assert load("image_target").score(batch, Images.read(batch, reader))["vectors"].null_count == 5


def test_an_index_of_another_model_or_of_nothing_is_told(tmp_path) -> None:
    model, reader = tiny.model(tmp_path / "model"), Memory()
    batch = samples([([encode(pairs(1)[0][0])], "")], reader)
    other = index(tmp_path / "other.parquet", blobs((2,)))
    with pytest.raises(UserError, match="vectors of 8 numbers"):
        load("image_target", {"model": model, "index": other}).score(batch, Images.read(batch, reader))
    empty = index(tmp_path / "empty.parquet", blobs((1,))[:0])
    with pytest.raises(UserError, match="has no image"):
        load("image_target", {"model": model, "index": empty}).score(batch, Images.read(batch, reader))
    with pytest.raises(UserError, match="needs a model"):
        build(iter([batch]), reader=reader)

import numpy as np
import pyarrow as pa
import pytest

from catalog.errors import UserError
from filters.base import load
from filters.shared import centroids
from filters.shared.images import Images
from tests.filters import tiny
from tests.filters.pictures import Memory, encode, pairs, samples


def contract_params(folder, samples, reader):
    return {"model": tiny.model(folder / "model"), "clusters": 3}


def table(vectors: np.ndarray) -> pa.Table:
    n = len(vectors)
    return pa.table(
        {
            "id": [f"s/{k:04d}" for k in range(n)],
            "vector": centroids.pack(np.arange(n), vectors, n, np.ones(n, bool)),
        }
    )


def blobs(sizes: tuple[int, ...], seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = np.eye(8)[: len(sizes)]
    return centroids.unit(
        np.concatenate([c + rng.normal(0, 0.05, (n, 8)) for c, n in zip(centres, sizes, strict=True)])
    )


def test_planted_clusters_are_found_and_ranked() -> None:
    vectors = blobs((40, 10, 5))
    f = load("cluster_cap", {"clusters": 3})
    got = {r.pop("id"): r for r in f.pool(table(vectors)).to_pylist()}
    rows = [got[f"s/{k:04d}"] for k in range(55)]
    assert [r["cluster_size"] for r in rows] == [40] * 40 + [10] * 10 + [5] * 5
    assert sorted(r["cluster_rank"] for r in rows[:40]) == list(range(1, 41))
    assert all(r["centroid_similarity"] > 0.95 for r in rows)
    for order, sign in (("far", 1), ("near", -1)):
        ranked = load("cluster_cap", {"clusters": 3, "order": order}).pool(table(vectors)).to_pylist()
        mine = sorted((r for r in ranked if r["cluster_size"] == 40), key=lambda r: r["cluster_rank"])
        cosines = [sign * r["centroid_similarity"] for r in mine]
        assert cosines == sorted(cosines)


def test_the_same_vectors_in_any_order_give_the_same_clusters() -> None:
    vectors = table(blobs((300, 200, 100), seed=3))
    f = load("cluster_cap", {"clusters": 7})
    order = pa.array(np.random.default_rng(0).permutation(600))
    assert f.pool(vectors.take(order)).sort_by("id").equals(f.pool(vectors).sort_by("id"))
    assert not load("cluster_cap", {"clusters": 7, "seed": 1}).pool(vectors).equals(f.pool(vectors))


def test_how_many_clusters_there_are() -> None:
    assert centroids.number(0, 100) == 1
    assert centroids.number(0, 1280) == 10
    assert centroids.number(50, 20) == 20
    assert centroids.number(0, 10**9) == centroids.MOST


def test_packed_vectors_come_back() -> None:
    v = blobs((5, 2))
    row = np.array([0, 0, 2, 2, 2, 5, 6])
    packed = centroids.pack(row, v, 8, np.arange(8) != 3)
    assert packed[3].as_py() is None
    assert packed[1].as_py() == b""
    back, same = centroids.unpack(pa.chunked_array([packed]), 8)
    assert (back == row).all()
    assert np.allclose(same, v, atol=1e-3)


def test_the_first_image_counts(tmp_path) -> None:
    model, reader = tiny.model(tmp_path / "model"), Memory()
    p, q = (encode(p) for p, _ in pairs(2))
    batch = samples([([p, q], ""), ([p], ""), ([q], ""), ([], "x"), ([b"?"], "")], reader)
    got = load("cluster_cap", {"model": model}).score(batch, Images.read(batch, reader))["vector"].to_pylist()
    assert got[0] == got[1] != got[2]
    assert got[3:] == [None, None]
    with pytest.raises(UserError, match="`order` is `best`"):
        load("cluster_cap", {"model": model, "order": "best"}).score(batch, Images.read(batch, reader))

import json

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.errors import UserError
from filters import dedup_semantic
from filters.base import load
from filters.shared import centroids, device, stored, vectors
from filters.shared.images import Images
from filters.shared.vectors import NONE, Vectors
from tests.filters import tiny
from tests.filters.pictures import Memory, encode, pairs, samples
from tests.filters.text_samples import batch, sample


def contract_params(folder, samples, reader):
    return {"model": tiny.model(folder / "model"), "epsilon": 0.2}


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1)[:, None]


def table(x: np.ndarray, texts: np.ndarray | None = None, names: list[str] | None = None) -> pa.Table:
    n = len(x)
    rows = np.arange(n)
    said = NONE if texts is None else Vectors.of(rows, texts)
    signed = vectors.pack(n, Vectors.of(rows, x), said, np.ones(n, bool))
    return pa.table({"id": names or [f"s/{k:05d}" for k in range(n)], "vectors": signed})


def turned(x: np.ndarray, cosine: np.ndarray | float, rng: np.random.Generator) -> np.ndarray:
    """Return unit vectors at such a cosine to `x`."""
    z = rng.normal(size=x.shape)
    z = unit(z - (z * x).sum(1)[:, None] * x)
    c = np.broadcast_to(np.asarray(cosine), len(x))[:, None]
    return c * x + np.sqrt(1 - c * c) * z


def planted(n: int, copies: int, width: int = 64, low: float = 0.97, seed: int = 0) -> np.ndarray:
    """Return `n` vectors far from each other, then up to `copies` near ones of each, so that copies are similar at 0.9."""
    rng = np.random.default_rng(seed)
    x = unit(rng.normal(size=(n, width)))
    return np.concatenate([x, *(turned(x, rng.uniform(low, 0.999, n), rng) for _ in range(copies))])


def run(signed: pa.Table, **params) -> dict[str, tuple[str, float, int]]:
    out = load("dedup_semantic", params).cluster(signed)
    assert out.schema.equals(dedup_semantic.FOUND)
    return {r["id"]: (r["cluster"], r["similarity"], int(-r["preference"])) for r in out.to_pylist()}


def dropped(signed: pa.Table, **params) -> set[str]:
    return {k for k, (_, _, rank) in run(signed, **params).items() if rank}


# -- planted -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", ["hard", "easy", "random"])
def test_planted_copies_are_found_and_nothing_else(keep: str) -> None:
    n = 400
    got = run(table(planted(n, 2)), epsilon=0.1, keep=keep, clusters=8)
    assert len(got) == 3 * n
    assert {int(k[2:]) % n == int(c[2:]) % n for k, (c, _, _) in got.items()} == {True}
    ranks = np.array([[got[f"s/{k + c * n:05d}"][2] for c in range(3)] for k in range(n)])
    assert (np.sort(ranks, 1) == [0, 1, 2]).all()
    assert min(s for _, s, _ in got.values()) >= 0.9


def test_who_is_kept() -> None:
    # One k-means cluster; its centroid lies at 12 degrees.
    at = np.radians([0, 9, 20, 21])
    signed = table(np.stack([np.cos(at), np.sin(at)], 1))
    eps = 1 - np.cos(np.radians(25))
    ids = [f"s/{k:05d}" for k in range(4)]
    assert [run(signed, epsilon=eps, keep="hard", clusters=1)[i][2] for i in ids] == [0, 3, 2, 1]
    assert [run(signed, epsilon=eps, keep="easy", clusters=1)[i][2] for i in ids] == [3, 0, 1, 2]
    drawn = {tuple(run(signed, epsilon=eps, keep="random", clusters=1, seed=k)[i][2] for i in ids) for k in range(9)}
    assert len(drawn) > 4


def test_a_preferred_sample_is_the_centre_of_its_cluster() -> None:
    signed = table(planted(30, 3))
    rng = np.random.default_rng(1)
    rank = rng.permutation(120)
    got = run(signed.append_column("preference", pa.array(-rank / 7)), epsilon=0.1)
    for k in range(30):
        of = [k + 30 * c for c in range(4)]
        assert got[f"s/{min(of, key=lambda r: rank[r]):05d}"][2] == 0
    for same in (pa.nulls(120, pa.float64()), pa.array([float("nan")] * 120), pa.array([1] * 120)):
        assert run(signed.append_column("preference", same), epsilon=0.1) == run(signed, epsilon=0.1)
    one = signed.append_column("preference", pa.array([None] * 60 + [-5.0] + [None] * 59))
    assert run(one, epsilon=0.1)["s/00060"][2] == 0


def test_similarity_is_that_to_the_centre() -> None:
    x = planted(50, 3, seed=4)
    got = run(table(x), epsilon=0.1)
    centre = {c: k for k, (c, _, rank) in got.items() if rank == 0}
    y = unit(x.astype(np.float16).astype(np.float64))
    for k, (c, s, rank) in got.items():
        a, b = (int(i[2:]) for i in (k, centre[c]))
        near = max(v[1] for v in got.values() if v[0] == c and v[2])
        assert s == (pytest.approx(y[a] @ y[b], abs=1e-5) if rank else near)


def test_the_order_of_rows_and_chunks_changes_nothing() -> None:
    signed = table(planted(500, 1, low=0.9))
    params = {"epsilon": 0.1, "clusters": 40}
    once = load("dedup_semantic", params).cluster(signed)
    assert once.num_rows > 500
    for seed in range(3):
        order = pa.array(np.random.default_rng(seed).permutation(1000))
        assert load("dedup_semantic", params).cluster(signed.take(order)).equals(once)
    cut = pa.concat_tables([signed.slice(700), signed.slice(0, 300), signed.slice(300, 400)])
    assert load("dedup_semantic", params).cluster(cut).equals(once)
    wide = signed.set_column(1, "vectors", signed["vectors"].cast(pa.large_binary()))
    assert load("dedup_semantic", params).cluster(wide).equals(once)


def test_another_seed_is_another_clustering() -> None:
    x = np.random.default_rng(0).normal(size=(600, 8))
    a, b = (run(table(x), epsilon=0.05, clusters=60, probes=1, seed=s) for s in (0, 1))
    assert a
    assert a != b
    assert a == run(table(x), epsilon=0.05, clusters=60, probes=1, seed=0)


# -- against the paper -------------------------------------------------------------------------------------------------


def paper(x: np.ndarray, at: np.ndarray, cosine: np.ndarray, epsilon: float, keep: str) -> set[int]:
    """SemDeDup read off its paper and published code: drop what has a larger similarity than 1 - epsilon to one before it."""
    gone: set[int] = set()
    for c in range(at.max() + 1):
        mine = np.flatnonzero(at == c)
        mine = mine[np.argsort(cosine[mine] if keep == "hard" else -cosine[mine], kind="stable")]
        above = np.triu(x[mine] @ x[mine].T, 1)
        gone |= set(mine[above.max(0, initial=0) > 1 - epsilon].tolist())
    return gone


def assigned(x: np.ndarray, clusters: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the vectors as they are stored, and the clusters of the filter's k-means."""
    y = vectors.unpack(table(x)["vectors"]).take(np.arange(len(x)), 1, x.shape[1], 0)
    assert len(x) <= clusters * dedup_semantic.POINTS, "k-means learns from all"
    centres = centroids.fit(y, clusters, 0, dedup_semantic.ROUNDS, dedup_semantic.POINTS)
    at, _ = centroids.nearest(y, centres)
    return y.astype(np.float64), at, np.round((y.astype(np.float64) * centres[at]).sum(1), 6)


@pytest.mark.parametrize("keep", ["hard", "easy"])
@pytest.mark.parametrize("epsilon", [0.1, 0.2])
def test_what_the_paper_drops_and_we_keep_is_similar_to_no_survivor_before_it(keep: str, epsilon: float) -> None:
    x = planted(600, 2, low=0.8, seed=5)[:1500]
    y, at, cosine = assigned(x, 50)
    want = paper(y, at, cosine, epsilon, keep)
    got = {int(i[2:]) for i in dropped(table(x), epsilon=epsilon, keep=keep, clusters=50, probes=1)}
    assert len(want) > 50
    chained = want - got
    assert got <= want
    assert len(chained) < 0.1 * len(want)
    survivors = sorted(set(range(len(x))) - got)
    for k in chained:  # what the paper drops and we keep has no survivor that it is similar to before it
        near = [s for s in survivors if s != k and at[s] == at[k] and y[s] @ y[k] > 1 - epsilon]
        assert all(
            (cosine[s], s) > (cosine[k], k) if keep == "hard" else (-cosine[s], s) > (-cosine[k], k) for s in near
        )


def test_tight_groups_are_dropped_exactly_as_by_the_paper() -> None:
    x = planted(500, 3, low=0.99)
    y, at, cosine = assigned(x, 50)
    for keep in ("hard", "easy"):
        want = paper(y, at, cosine, 0.1, keep)
        assert {f"s/{k:05d}" for k in want} == dropped(table(x), epsilon=0.1, keep=keep, clusters=50, probes=1)
        assert len(want) > 1400


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**31), st.sampled_from(["hard", "easy", "random"]), st.integers(1, 3), st.floats(0, 0.4))
def test_what_holds_for_any_vectors(seed: int, keep: str, probes: int, epsilon: float) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(200, int(rng.integers(2, 6))))
    x[rng.integers(0, 200, 20)] = x[rng.integers(0, 200, 20)]
    got = run(table(x), epsilon=epsilon, keep=keep, clusters=9, probes=probes)
    y = unit(x.astype(np.float16).astype(np.float64))
    centre = {c: k for k, (c, _, rank) in got.items() if rank == 0}
    for k, (c, s, rank) in got.items():
        assert c == min(i for i, (d, _, _) in got.items() if d == c)
        exact = float(y[int(k[2:])] @ y[int(centre[c][2:])])
        assert not rank or s == pytest.approx(
            exact, abs=2e-3
        )  # vectors are rounded to float16 after they are made unit
        assert s >= 1 - epsilon - 1e-6
    one = run(table(x), epsilon=epsilon, keep=keep, clusters=1, probes=1)
    alive = [k for k in range(200) if f"s/{k:05d}" not in {i for i, v in one.items() if v[2]}]
    near = y[alive] @ y[alive].T - 2 * np.eye(len(alive))
    assert near.max(initial=-1) < 1 - epsilon + 2e-3, "no two survivors of one cluster are similar"


def test_pairs_across_a_border_are_found_by_the_second_probe() -> None:
    rng = np.random.default_rng(2)
    x = unit(rng.normal(size=(1500, 32)))
    x = np.concatenate([x, turned(x, 0.95, rng)])
    found = [len(dropped(table(x), epsilon=0.06, clusters=100, probes=p)) for p in (1, 2, 4, 100)]
    assert found[0] < found[1] < found[2] <= found[3] == 1500
    assert found[0] < 1450


# -- pairs, texts, several images --------------------------------------------------------------------------------------


def test_one_caption_under_many_images_collapses_nothing_and_other_captions_are_other_samples() -> None:
    rng = np.random.default_rng(0)
    images, said = unit(rng.normal(size=(300, 32))), unit(rng.normal(size=(300, 16)))
    caption = np.repeat(said[:4], 75, 0)
    assert run(table(images, caption), epsilon=0.1) == {}
    same = np.tile(images[:1], (300, 1))
    assert run(table(same, said), epsilon=0.1) == {}
    assert len(dropped(table(same, caption), epsilon=0.1)) == 296
    assert len(dropped(table(images, said), epsilon=0.1)) == 0


def test_texts_have_an_epsilon_of_their_own() -> None:
    rng = np.random.default_rng(0)
    images, said = unit(rng.normal(size=(50, 32))), unit(rng.normal(size=(50, 16)))
    signed = table(np.concatenate([images, turned(images, 0.95, rng)]), np.concatenate([said, turned(said, 0.8, rng)]))
    assert dropped(signed, epsilon=0.1) == set()
    assert dropped(signed, epsilon=0.01, text_epsilon=0.3) == set()
    assert len(dropped(signed, epsilon=0.1, text_epsilon=0.3)) == 50
    assert {round(s, 1) for _, s, rank in run(signed, epsilon=0.1, text_epsilon=0.3).values() if rank} == {0.8}


def test_several_images_are_compared_in_their_order() -> None:
    rng = np.random.default_rng(0)
    a, b, c = unit(rng.normal(size=(3, 16)))
    rows = [[a, b], [a, b], [b, a], [a], [a], [a, c], [a, b, c]]
    row = np.repeat(np.arange(7), [len(r) for r in rows])
    signed = vectors.pack(7, Vectors.of(row, np.concatenate(rows)), NONE, np.ones(7, bool))
    got = run(pa.table({"id": list("abcdefg"), "vectors": signed}), epsilon=0.01, pair="image")
    assert {k: v[0] for k, v in got.items()} == {"a": "a", "b": "a", "d": "d", "e": "d"}


def test_vectors_of_two_widths_are_never_compared() -> None:
    one, two = table(np.ones((3, 4))), table(np.ones((3, 8)), names=["t/0", "t/1", "t/2"])
    got = run(pa.concat_tables([one, two]), epsilon=0.5)
    assert {k: v[0][0] for k, v in got.items()} == {f"s/0000{k}": "s" for k in range(3)} | {
        f"t/{k}": "t" for k in range(3)
    }


# -- hostile -----------------------------------------------------------------------------------------------------------


def raw(*values: np.ndarray) -> pa.Table:
    """Return signatures that no filter of ours would write."""
    signed = [np.array([1, len(v), 0], "<u2").tobytes() + v.astype("<f2").tobytes() for v in values]
    return pa.table({"id": [f"s/{k:05d}" for k in range(len(values))], "vectors": pa.array(signed, pa.binary())})


def test_constant_vectors_leave_one() -> None:
    got = run(table(np.ones((3000, 16))), epsilon=0.0, clusters=50)
    assert len(got) == 3000
    assert {(c, s) for c, s, _ in got.values()} == {("s/00000", 1.0)}


def test_vectors_without_a_direction_are_no_duplicates() -> None:
    bad = [np.full(4, v) for v in (0, np.nan, np.inf, -np.inf)]
    got = run(raw(*bad, *bad, np.ones(4), *bad, np.ones(4)), epsilon=0.5, clusters=3)
    assert set(got) == {"s/00008", "s/00013"}
    assert run(raw(*bad, *bad), epsilon=0.99) == {}


def test_nothing_and_one_have_no_duplicates() -> None:
    assert run(table(np.zeros((0, 4)))) == {}
    assert run(table(np.ones((1, 4)))) == {}
    null = pa.table({"id": ["a", "b"], "vectors": pa.nulls(2, pa.binary())})
    assert run(null) == {}
    for head in (
        [0, 5, 3],
        [1, 0, 3],
        [3, 0, 3],
    ):  # no image, or images of no width: nothing to compare, or the text alone
        odd = np.array(head, "<u2").tobytes() + np.ones(3, "<f2").tobytes()
        same = run(pa.table({"id": ["a", "b"], "vectors": pa.array([odd, odd], pa.binary())}))
        assert set(same) == (set() if head[0] else {"a", "b"})
    junk = pa.table({"id": ["a", "b", "c"], "vectors": pa.array([b"", b"\1\0\2\0", b"\xff" * 99], pa.binary())})
    assert run(junk) == {}


def test_more_clusters_than_samples() -> None:
    assert len(run(table(np.ones((5, 4))), clusters=1000, probes=50)) == 5


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"pair": "images"}, "`pair` is `images`"),
        ({"keep": "best"}, "`keep` is `best`"),
        ({"epsilon": 1.0}, "`epsilon` must be"),
        ({"epsilon": float("nan")}, "`epsilon` must be"),
        ({"text_epsilon": -0.1}, "`text_epsilon` must be"),
        ({"clusters": -1}, "`clusters` must be"),
        ({"probes": 0}, "`probes` must be"),
    ],
)
def test_values_that_mean_nothing_are_refused(params, said: str) -> None:
    with pytest.raises(UserError, match=said) as e:
        load("dedup_semantic", params).cluster(table(np.ones((2, 4))))
    assert e.value.usage


# -- memory and devices ------------------------------------------------------------------------------------------------


def test_no_more_than_blocks_are_float32(monkeypatch) -> None:
    asked = []
    take = vectors.Signatures.take
    monkeypatch.setattr(
        vectors.Signatures, "take", lambda self, rows, *a: (asked.append(len(rows)), take(self, rows, *a))[1]
    )
    x = np.random.default_rng(0).normal(size=(18_000, 3))
    run(table(x), epsilon=0.001, clusters=2)
    assert max(asked) <= dedup_semantic.BLOCK


class Card:
    """faiss with a GPU, as far as we call it: what must run there says so."""

    def __init__(self) -> None:
        self.used: list[str] = []

    def kmeans(self, *args, gpu, real=faiss.Kmeans, **kw):
        if gpu:
            self.used.append("kmeans")
        return real(*args, **kw)

    def index(self, index):
        self.used.append("search")
        return index

    def products(self, resources, a, b, metric):
        assert resources == "resources"
        assert metric == faiss.METRIC_INNER_PRODUCT
        assert a.flags.c_contiguous and b.flags.c_contiguous and a.dtype == b.dtype == np.float32
        self.used.append("products")
        return a @ b.T


def test_a_gpu_is_used_where_faiss_has_one(monkeypatch) -> None:
    card = Card()
    signed = table(planted(900, 1))
    plain = load("dedup_semantic", {"epsilon": 0.1, "clusters": 2}).cluster(signed)
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1)
    monkeypatch.setattr(faiss, "Kmeans", card.kmeans)
    monkeypatch.setattr(faiss, "index_cpu_to_all_gpus", card.index, raising=False)
    monkeypatch.setattr(faiss, "StandardGpuResources", lambda: "resources", raising=False)
    monkeypatch.setattr(faiss, "pairwise_distance_gpu", card.products, raising=False)
    assert device.gpus() == 1
    assert load("dedup_semantic", {"epsilon": 0.1, "clusters": 2}).cluster(signed).equals(plain)
    assert set(card.used) == {"kmeans", "search", "products"}


@pytest.mark.skipif(faiss.get_num_gpus() == 0, reason="needs faiss-gpu and a GPU")
def test_on_a_real_gpu_planted_copies_are_found() -> None:
    assert len(run(table(planted(2000, 1)), epsilon=0.1)) == 4000


# -- where vectors come from -------------------------------------------------------------------------------------------


def score(part: pa.RecordBatch, reader=None, **params) -> list[bytes | None]:
    images = Images.read(part, reader or Memory())
    return load("dedup_semantic", params).score(part, images)["vectors"].to_pylist()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.model(tmp_path_factory.mktemp("m") / "model")


def test_pictures_and_texts_through_a_model(model: str) -> None:
    reader = Memory()
    (p, t), (q, u) = pairs(2)
    p, q = encode(p), encode(q)
    part = samples([([p], t), ([p], t), ([p], u), ([q], t), ([], t), ([p, q], t), ([p], ""), ([b"?"], t)], reader)
    got = score(part, reader, model=model)
    w = 2 * tiny.WIDTH
    assert [None if v is None else len(v) - 6 for v in got] == [2 * w, 2 * w, 2 * w, 2 * w, None, 3 * w, w, None]
    assert got[0] == got[1]
    assert got[0][6 : 6 + w] == got[2][6 : 6 + w] == got[5][6 : 6 + w] == got[6][6:]
    assert got[0][6 + w :] == got[3][6 + w :] == got[5][6 + 2 * w :] != got[2][6 + w :]
    image = score(part, reader, model=model, pair="image")
    assert [None if v is None else len(v) - 6 for v in image] == [w, w, w, w, None, 2 * w, w, None]
    assert image[0] == image[2] == got[6]
    text = score(part, reader, model=model, pair="text")
    assert [v is not None for v in text] == [False] * 4 + [True] + [False] * 3
    every = score(part, reader, model=model, pair="text", media=True)
    assert [v is not None for v in every] == [True] * 6 + [False, True]
    assert every[0] == every[3] == every[4] == text[4]


def test_a_text_that_the_model_does_not_read_to_its_end_has_no_vector(model: str) -> None:
    words = "red square " * 40
    part = batch(*(sample(t, question="", task="text") for t in ("red square", words + "blue", words + "green")))
    got = score(part, model=model, pair="text")
    assert [v is not None for v in got] == [True, False, False]


def test_vectors_of_a_file_by_id(tmp_path) -> None:
    part = batch(*({**sample("x", image=True), "id": f"s/{k}"} for k in range(5)))
    x = np.arange(1, 13, dtype=np.float32).reshape(6, 2)
    ids = ["s/4", "s/0", "other", "s/2", "s/1", "s/3"]
    lists = [x[0], x[1], x[2], None, [0.0, 0.0], [1.0, None]]
    columns = {"id": ids, "embedding": pa.array(lists, pa.list_(pa.float32())), "text_embedding": pa.array(x.tolist())}
    for k, rows in enumerate((100, 1)):
        path = tmp_path / str(k) / "v.parquet"
        path.parent.mkdir()
        pq.write_table(pa.table(columns), path, row_group_size=rows)
        for where in (path, path.parent):
            got = score(part, vectors_path=str(where), pair="image")
            assert [v is not None for v in got] == [True, False, False, False, True]
            assert np.allclose(np.frombuffer(got[0][6:], "<f2"), x[1] / np.linalg.norm(x[1]), atol=1e-3)
            both = score(part, vectors_path=str(where))
            assert np.frombuffer(both[0][:6], "<u2").tolist() == [1, 2, 2]
            assert score(part.slice(2, 3), vectors_path=str(where), pair="image") == got[2:]


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.float64()), pa.large_list(pa.float32()), pa.list_(pa.float16(), 2), pa.list_(pa.int8(), 2)]
)
def test_lists_of_any_numbers(tmp_path, kind) -> None:
    lists = (
        pa.array([[np.float16(3), np.float16(4)], None, [np.float16(-1), np.float16(0)]], kind)
        if kind.value_type == pa.float16()
        else pa.array([[3, 4], None, [-1, 0]], kind)
    )
    pq.write_table(pa.table({"id": ["a", "b", "c"], "v": lists}), tmp_path / "v.parquet")
    part = batch(*({**sample("x", image=True), "id": k} for k in "abc"))
    got = score(part, vectors_path=str(tmp_path / "v.parquet"), column="v", pair="image")
    assert got[1] is None
    assert [np.frombuffer(v[6:], "<f2").tolist() for v in (got[0], got[2])] == [
        pytest.approx([0.6, 0.8], abs=1e-3),
        [-1, 0],
    ]


def test_only_so_many_row_groups_stay_in_memory(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(stored, "ROOM", 100)
    ids = [f"s/{k}" for k in range(64)]
    x = np.random.default_rng(0).normal(size=(64, 8))
    pq.write_table(pa.table({"id": ids, "embedding": x.tolist()}), tmp_path / "v.parquet", row_group_size=4)
    order = np.random.default_rng(1).permutation(64)
    part = batch(*({**sample("x", image=True), "id": ids[k]} for k in order))
    got = score(part, vectors_path=str(tmp_path / "v.parquet"), pair="image")
    for k, v in zip(order, got, strict=True):
        assert np.allclose(np.frombuffer(v[6:], "<f2"), x[k] / np.linalg.norm(x[k]), atol=1e-3)
    assert len(stored.load(str(tmp_path / "v.parquet"))._held) == 1


def test_what_is_wrong_with_a_file_is_said(tmp_path) -> None:
    part = batch(sample("x", image=True))

    def fails(match: str, path=None, **params) -> None:
        with pytest.raises(UserError, match=match):
            score(part, vectors_path=str(path or tmp_path / "v.parquet"), **params)

    fails("no such file")
    fails("no Parquet file in", tmp_path)
    (tmp_path / "v.parquet").write_bytes(b"junk")
    fails("cannot read the vectors")
    good = {"id": ["x0", part["id"][0].as_py()], "embedding": [[1.0], [2.0]], "name": ["a", "b"]}
    for columns, match, params in (
        ({"key": ["a"]}, "no column `id`", {}),
        ({**good, "id": ["a", "a"]}, "an id twice", {}),
        (good, "no column `embeding`; did you mean `embedding`", {"column": "embeding"}),
        (good, "no column `text_embedding`", {}),
        (good, "`name` in .* expected lists of numbers", {"column": "name"}),
    ):
        (tmp_path / "v.parquet").unlink()
        pq.write_table(pa.table(columns), tmp_path / "v.parquet")
        fails(match, **params)


def test_vectors_in_meta() -> None:
    said = [
        json.dumps({"embedding": [3, 4.0], "e": {"embedding": [9]}}),
        json.dumps({"embedding": [1e-3, 2]}),
        json.dumps({"other": 1}),
        json.dumps({"embedding": "[1,2]x"}),
        json.dumps({"embedding": [[1, 2]]}),
        json.dumps({"embedding": []}),
        json.dumps({"embedding": [1, None]}),
        json.dumps({"embedding": ["1", "2"]}),
        "no json",
        "[1]",
        None,
        '{"embedding": [1,',
        json.dumps({"embedding": [5, 0, 0]}),
    ]
    part = batch(*({**sample("x", image=True), "id": f"s/{k}", "meta": m} for k, m in enumerate(said)))
    got = score(part, meta=True, pair="image")
    assert [v is not None for v in got] == [True, True] + [False] * 10 + [True]
    assert np.allclose(np.frombuffer(got[0][6:], "<f2"), [0.6, 0.8], atol=1e-3)
    assert score(part.slice(12), meta=True, pair="image") == got[12:]
    with pytest.raises(UserError, match="no name of a field"):
        score(part, meta=True, pair="image", column="a']")


def test_vectors_come_from_one_place() -> None:
    part = batch(sample("x", image=True))
    for params in ({}, {"model": "a", "meta": True}, {"model": "a", "vectors_path": "b"}):
        with pytest.raises(UserError, match="takes vectors from one of") as e:
            score(part, **params)
        assert e.value.usage

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from catalog.errors import UserError
from filters.base import load
from filters.shared.images import Images
from tests.filters.pictures import Memory, encode, pairs, samples
from tests.filters.test_dedup_phash import EDITS, edited


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    reader = Memory()
    flat = encode(np.full((40, 40, 3), 200, np.uint8))
    evaluation = samples([([encode(p)], "q") for p, _ in pairs(60, seed=21)] + [([flat], "q"), ([b"?"], "q")], reader)
    build = load("decontaminate_image").build
    assert build is not None
    table = build(iter([evaluation.slice(0, 7), evaluation.slice(7)]), reader=reader)
    assert table.num_rows == 60
    path = tmp_path_factory.mktemp("index") / "index.parquet"
    pq.write_table(table, path)
    return path


def test_copies_are_traced_and_others_kept(index: Path) -> None:
    reader = Memory()
    names = list(EDITS)
    leaked = [([edited(p, names[k % len(names)])], "x") for k, (p, _) in enumerate(pairs(60, seed=21))]
    fresh = [([encode(p)], "x") for p, _ in pairs(60, seed=22)]
    batch = samples(leaked + fresh, reader)
    flt = load("decontaminate_image", {"index": str(index)})
    got = flt.score(batch, Images.read(batch, reader))
    score = np.asarray(got["decontaminate_image"].to_pylist())
    bound = flt.bounds["decontaminate_image"][1]
    assert bound is not None
    assert (score[:60] > bound).mean() >= 0.9
    assert (score[60:] > bound).mean() <= 0.05
    hits = [k for k in range(60) if score[k] > bound]
    assert [got["match"][k].as_py() for k in hits] == [f"s/{k:04d}" for k in hits]
    again = [flt.score(batch.slice(k, 7), Images.read(batch.slice(k, 7), reader)) for k in range(0, 120, 7)]
    assert [x for g in again for x in g["decontaminate_image"].to_pylist()] == score.tolist()


def test_any_image_of_a_sample_counts(index: Path) -> None:
    reader = Memory()
    leak, other = encode(pairs(60, seed=21)[5][0]), encode(pairs(1, seed=99)[0][0])
    flat = encode(np.full((40, 40, 3), 200, np.uint8))
    batch = samples([([other, leak], "x"), ([], "x"), ([b"?"], "x"), ([flat], "x")], reader)
    got = load("decontaminate_image", {"index": str(index)}).score(batch, Images.read(batch, reader)).to_pylist()
    assert got[0] == {"decontaminate_image": 1.0, "match": "s/0005"}
    assert got[1]["decontaminate_image"] is None
    assert np.isnan(got[2]["decontaminate_image"])
    assert got[3] == {"decontaminate_image": 0.0, "match": None}


def test_without_an_index_it_does_not_apply_and_a_missing_one_is_said(tmp_path: Path) -> None:
    reader = Memory()
    batch = samples([([encode(pairs(1)[0][0])], "x")], reader)
    assert load("decontaminate_image").score(batch, Images.read(batch, reader)).to_pylist()[0]["match"] is None
    with pytest.raises(UserError):
        load("decontaminate_image", {"index": str(tmp_path / "none")}).score(batch, Images.read(batch, reader))

import json

import numpy as np
import pyarrow as pa
import pytest

from catalog.errors import UserError
from filters.base import load
from tests.filters.text_samples import batch, sample


def pooled(texts, *, image=True, task="caption", **params):
    f = load("concept_balance", {"least": 1, **params})
    table = batch(*(sample(t, id=f"s/{k:05d}", task=task, image=image) for k, t in enumerate(texts)))
    heads = {c: table.column(c) for c in ("id", "source", "task")}
    out = f.pool(pa.table({**heads, **dict(zip(f.scores, f.score(table), strict=True))}))
    return [{k: v for k, v in r.items() if k != "id"} for r in out.sort_by("id").to_pylist()]


def concepts(tmp_path, *lines, as_json=False):
    path = tmp_path / "concepts"
    path.write_text(json.dumps(lines) if as_json else "\n".join(lines), "utf-8")
    return str(path)


def test_counts_by_hand(tmp_path) -> None:
    path = concepts(tmp_path, "cat", "polar bear", "bear", "Eiffel Tower", "!?", "")
    texts = ["A cat, a CAT.", "polar bears", "a polar-bear with a cat", "the bear", "nothing", "eiffel  tower at night"]
    got = pooled(texts, concepts_path=path, t=1)
    assert [r["concept_count"] for r in got] == [1, 0, 3, 1, 0, 1]  # "polar bears" has neither word whole
    assert [r["rarest_concept"] for r in got] == [2, 0, 1, 2, 0, 1]
    assert [r["keep_probability"] for r in got] == [0.5, 0, 1, 0.5, 0, 1]
    assert [got[k]["concept_draw"] for k in (1, 2, 4, 5)] == [0, 1, 0, 1]
    assert (
        pooled(texts, concepts_path=concepts(tmp_path, "cat", "polar bear", "bear", "Eiffel Tower", as_json=True), t=1)
        == got
    )


def test_a_frequent_concept_is_cut_to_about_t() -> None:
    texts = ["dog"] * 4000 + ["rare bird"]
    got = pooled(texts, t=500)
    kept = sum(r["concept_draw"] for r in got[:4000])
    assert abs(kept - 500) < 4 * np.sqrt(500)
    assert got[-1] == {"concept_count": 3, "rarest_concept": 1, "keep_probability": 1.0, "concept_draw": 1}
    assert got[0]["keep_probability"] == 0.125
    other = pooled(texts, t=500, seed=1)
    assert [r["concept_draw"] for r in other] != [r["concept_draw"] for r in got]
    more = pooled(texts, t=1000)
    assert all(a["concept_draw"] <= b["concept_draw"] for a, b in zip(got, more, strict=True)), "raising t removes none"


def test_two_concepts_are_drawn_apart() -> None:
    texts = ["red car"] * 3000
    got = pooled(texts, t=900)  # three concepts, red, car and red car, of 3000 samples each
    assert got[0]["keep_probability"] == pytest.approx(1 - 0.7**3)
    assert abs(sum(r["concept_draw"] for r in got) / 3000 - (1 - 0.7**3)) < 0.05


def test_concepts_of_the_pool_are_frequent_words_and_pairs() -> None:
    texts = ["old mill"] * 3 + ["old house"] * 2 + ["mill old"]
    got = pooled(texts, least=3)
    assert [r["concept_count"] for r in got] == [3, 3, 3, 1, 1, 2]
    assert [r["rarest_concept"] for r in got] == [3, 3, 3, 6, 6, 4]


def test_applies_to_captions_of_images_only(tmp_path) -> None:
    assert pooled(["cat"], image=False) == pooled(["cat"], task="vqa") == []
    assert pooled([]) == []
    assert pooled(["", "..."])[0]["concept_draw"] == 0
    with pytest.raises(UserError, match="no such list"):
        pooled(["cat"], concepts_path=str(tmp_path / "none"))
    with pytest.raises(UserError, match="has no concept"):
        pooled(["cat"], concepts_path=concepts(tmp_path, "?!"))
    (tmp_path / "concepts").write_text("[1, 2]")
    with pytest.raises(UserError, match="no list of strings"):
        pooled(["cat"], concepts_path=str(tmp_path / "concepts"))

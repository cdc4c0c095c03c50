import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.errors import UserError
from filters.base import load
from tests.filters.text_samples import batch, sample


def pooled(rows, **params):
    f = load("cap", params)
    table = batch(*rows)
    heads = {c: table.column(c) for c in ("id", "source", "task")}
    out = f.pool(pa.table({**heads, **dict(zip(f.scores, f.score(table), strict=True))}))
    return {r.pop("id"): r for r in out.to_pylist()}


def of(metas, **kw):
    return [{**sample("Yes.", id=f"s/{k:03d}", **kw), "meta": json.dumps(m)} for k, m in enumerate(metas)]


def test_ranks_within_classes() -> None:
    got = pooled(of([{"label": c} for c in "aababa"]))
    assert sorted(got[f"s/{k:03d}"]["class_rank"] for k in (0, 1, 3, 5)) == [1, 2, 3, 4]
    assert sorted(got[f"s/{k:03d}"]["class_rank"] for k in (2, 4)) == [1, 2]
    assert [got[f"s/{k:03d}"]["class_size"] for k in range(6)] == [4, 4, 2, 4, 2, 4]


def test_an_order_from_meta_and_ties_by_the_draw() -> None:
    metas = [{"label": "a", "stars": s} for s in (2, 5, None, 4, "7", 5.0, True)]
    got = pooled(of(metas), order="stars")
    ranks = [got[f"s/{k:03d}"]["class_rank"] for k in range(7)]
    assert sorted(ranks) == list(range(1, 8))
    assert {ranks[1], ranks[5]} == {1, 2}
    assert (ranks[3], ranks[0]) == (3, 4)


def test_a_number_that_no_float_holds_ranks_last() -> None:
    got = pooled(of([{"label": "a", "stars": s} for s in (10**400, 1, float("inf"))]), order="stars")
    assert got["s/001"]["class_rank"] == 1


def test_the_draw_depends_on_id_and_seed_and_lets_a_class_grow() -> None:
    rows = of([{"label": "a"}] * 50)
    one = pooled(rows)
    assert one != pooled(rows, seed=1)
    fewer = pooled(rows[:30])
    order = sorted(fewer, key=lambda i: fewer[i]["class_rank"])
    assert order == [i for i in sorted(one, key=lambda i: one[i]["class_rank"]) if i in fewer]


def test_what_is_counted_by() -> None:
    rows = of([{"a": {"b": 1}, "c": 2}, {"a": {"b": 1}, "c": 2}, {"a": {"b": 1}, "c": 3}, {"a": 1}, {"c": 2}, [1]])
    assert [r["class_size"] for r in pooled(rows, field="a.b, c").values()] == [2, 2, 1]
    rows = [
        sample(t, q, id=f"s/{k}") for k, (t, q) in enumerate((("No.", "x?"), ("no", "y?"), ("Yes", "x?"), ("!", "z")))
    ]
    assert [r["class_size"] for r in pooled(rows, by="text").values()] == [2, 2, 1]
    assert [r["class_size"] for r in pooled(rows, by="prompt").values()] == [2, 1, 2, 1]
    assert {r["class_size"] for r in pooled(rows, by="task").values()} == {4}
    assert pooled([{**rows[0], "meta": "{"}, {**rows[1], "meta": None}]) == {}
    with pytest.raises(UserError, match="`by` is `label`"):
        pooled(rows, by="label")


@given(st.lists(st.sampled_from("abc"), max_size=30), st.integers(0, 3))
def test_every_class_has_every_rank_once(labels, seed) -> None:
    got = pooled(of([{"label": c} for c in labels]), seed=seed)
    for c in set(labels):
        mine = [got[f"s/{k:03d}"] for k, x in enumerate(labels) if x == c]
        assert sorted(r["class_rank"] for r in mine) == list(range(1, len(mine) + 1))
        assert {r["class_size"] for r in mine} == {len(mine)}

import math
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.errors import UserError
from catalog.judge import Rule, bound_fields, cutoffs, find, judge, judge_cluster, keepers, number

values = st.lists(st.one_of(st.none(), st.floats(width=32), st.sampled_from([0.0, 0.5, 1.0, math.nan])), max_size=40)


def frame(given: list[float | None], source: str = "s", task: str = "caption") -> pl.DataFrame:
    n = len(given)
    return pl.DataFrame(
        {
            "id": [f"s/{i:03d}" for i in range(n)],
            "source": [source] * n,
            "task": [task] * n,
            "value": pl.Series(given, dtype=pl.Float64),
            "match": pl.Series([None] * n, dtype=pl.String),
        },
        schema_overrides={"id": pl.String, "source": pl.String, "task": pl.String},
    )


def rule(**fields: object) -> Rule:
    return Rule(stage="f", fingerprint="0" * 16, score="s", **fields)  # type: ignore[arg-type]


@settings(deadline=None)
@given(values, st.floats(-2, 2), st.floats(-2, 2))
def test_absolute_bounds_agree_with_plain_python(given: list[float | None], low: float, high: float) -> None:
    out = judge(frame(given), rule(low=low, high=high))["keep"].to_list()
    assert out == [v is None or (not math.isnan(v) and low <= v <= high) for v in given]


@settings(deadline=None)
@given(values, st.decimals(Decimal("0.01"), Decimal(1), places=2))
def test_a_fraction_keeps_exactly_its_share_ties_by_id(given: list[float | None], top: Decimal) -> None:
    f, r = frame(given), rule(top=top)
    keep = judge(f, r, cutoffs(f, r))["keep"].to_list()
    ranked = sorted((-v, i) for i, v in enumerate(given) if v is not None and not math.isnan(v))
    best = {i for _, i in ranked[: int(top * len(ranked))]}
    assert keep == [v is None or i in best for i, v in enumerate(given)]


@settings(deadline=None)
@given(values, st.integers(1, 7))
def test_a_fraction_does_not_depend_on_how_the_pool_is_cut(given: list[float | None], size: int) -> None:
    f, r = frame(given), rule(top=Decimal("0.4"))
    cut = cutoffs(f, r)
    whole = judge(f, r, cut)
    parts = [judge(f.slice(i, size), r, cut) for i in range(0, f.height, size)] or [whole]
    assert pl.concat(parts).equals(whole, null_equal=True)


def test_a_fraction_per_source_is_taken_in_each_source() -> None:
    f = pl.concat(
        [frame([1.0, 2.0, 3.0, 4.0], "a"), frame([10.0, 20.0], "b").with_columns(("b" + pl.col("id")).alias("id"))]
    )
    r = rule(top=Decimal("0.5"), per="source")
    assert judge(f, r, cutoffs(f, r))["keep"].to_list() == [False, False, True, True, False, True]


def test_a_rule_leaves_other_sources_and_tasks_alone() -> None:
    f = frame([0.0, 0.0])
    assert judge(f, rule(low=1.0, tasks=("ocr",)))["keep"].all()
    assert judge(f, rule(low=1.0, tasks=("ocr",)))["value"].null_count() == 2
    assert not judge(f, rule(low=1.0, sources=("s",)))["keep"].any()


def test_the_keeper_is_the_best_living_member_and_ties_go_to_the_smaller_id() -> None:
    table = pl.DataFrame(
        {
            "id": ["a", "b", "c", "d"],
            "cluster": ["a"] * 4,
            "similarity": [1.0, 0.9, 0.9, 0.9],
            "alive": [False, True, True, True],
            "q.q": [9.0, 1.0, 2.0, 2.0],
        }
    )
    r = rule(cluster=True, prefer=("q.q",))
    ranked = keepers(table, r)
    assert ranked.filter(pl.col("rank") == 0)["id"].to_list() == ["c"]
    assert ranked.filter(pl.col("id") == "a")["rank"].to_list() == [None]
    ids = pl.DataFrame({"id": ["d", "x", "a", "c", "b"]})
    v = judge_cluster(ids, ranked)
    assert v["keep"].to_list() == [False, True, True, True, False]
    assert v["match"].to_list() == ["c", None, None, None, "c"]


def test_a_rule_survives_json_exactly() -> None:
    for r in (
        rule(low=0.1, high=3.0),
        rule(top=Decimal("0.30"), per="task", tasks=("ocr",)),
        rule(cluster=True, prefer=("a.b",)),
    ):
        assert Rule.from_json(r.to_json()) == r
        assert not any(isinstance(v, float) for v in r.to_json().values())


@pytest.mark.parametrize(
    "raw", [{"min": 2, "max": 1}, {"top": 0}, {"top": 1.5}, {"top": 0.5, "min": 1}, {"min": "x"}, {"mim": 1},
            {"top": 0.5, "per": "shard"}, {"min": 1, "per": "source"}, {"min": True}],
)  # fmt: skip
def test_a_bound_that_makes_no_sense_is_refused(raw: dict[str, object]) -> None:
    with pytest.raises(UserError) as e:
        bound_fields(raw, "bound `x`")
    assert e.value.usage


def test_a_number_is_read_exactly() -> None:
    assert number(0.3, "x") == Decimal("0.3")


def test_a_rule_is_found_by_stage_or_key_and_the_nearest_is_offered() -> None:
    rules = [rule(low=0.0), Rule(stage="g", fingerprint="", score="g"), Rule(stage="g", fingerprint="", score="h")]
    assert find(rules, "f") is rules[0]
    assert find(rules, "g") is rules[1]
    assert find(rules, "g.h") is rules[2]
    with pytest.raises(UserError, match="did you mean"):
        find(rules, "g.hh")


def test_everything_frozen_stays_and_is_no_loser() -> None:
    """Two frozen copies, two new ones, one of them dead: nothing in use is ever dropped, not even for another in use."""
    table = pl.DataFrame(
        {
            "id": ["n/1", "n/2", "u/1", "u/2"],
            "cluster": ["n/1"] * 4,
            "similarity": [1.0] * 4,
            "frozen": [0.0, 0.0, 1.0, 1.0],
            "alive": [True, False, None, None],
        }
    )
    ranked = keepers(table, Rule(stage="d", fingerprint="f", score="duplicate", cluster=True, prefer=("frozen",)))
    assert ranked.select("id", "rank", "keeper", "reason").sort("id").rows() == [
        ("n/1", 1, "u/1", "frozen"),
        ("n/2", None, None, None),
        ("u/1", 0, "u/1", None),
        ("u/2", 0, "u/2", None),
    ]

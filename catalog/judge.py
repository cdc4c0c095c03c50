"""Scores and bounds in, verdicts out: the one place that decides, for a pipeline run and for a what-if alike.

A `Rule` is one bound on one score of one stage. Three kinds:
- absolute: keep when low <= value <= high;
- fraction: `top: 0.3` keeps the exact best 30 % of the samples that have the score, ties broken by id (smaller id first);
- cluster: of the samples that are the same, keep one (see `keepers`).
Null keeps (the score does not apply to the sample), NaN drops (it could not be computed).

A fraction and a cluster are global: `cutoff` and `keepers` look at the whole pool, `judge` then works shard by shard.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

import polars as pl

from catalog.errors import UserError, unknown_keys

GROUPS = ("all", "source", "task")
FROZEN = "frozen"  # among what a cluster rule prefers: 1 for a sample that is in use already, and stays whatever else is said


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One bound on one score. `low` and `high` are inclusive; `top` is a fraction of the samples that have the score."""

    stage: str
    fingerprint: str
    score: str
    low: float | None = None
    high: float | None = None
    top: Decimal | None = None
    per: str = "all"  # over which samples a fraction is taken: all | source | task
    cluster: bool = False
    prefer: tuple[str, ...] = ()  # cluster: keep the sample with the highest number, in this order: see docs/recipes.md
    sources: tuple[str, ...] = ()  # empty: every source
    tasks: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """`<stage>.<score>`, unique in a recipe."""
        return f"{self.stage}.{self.score}"

    def to_json(self) -> dict[str, Any]:
        """Return the rule as JSON without floats."""
        out: dict[str, Any] = {"stage": self.stage, "fingerprint": self.fingerprint, "score": self.score}
        out |= {k: plain(v) for k, v in (("min", self.low), ("max", self.high), ("top", self.top)) if v is not None}
        if self.top is not None:
            out["per"] = self.per
        if self.cluster:
            out |= {"cluster": True, "prefer": list(self.prefer)}
        out |= {k: list(v) for k, v in (("sources", self.sources), ("tasks", self.tasks)) if v}
        return out

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Rule":
        """Return the rule that `to_json` wrote."""
        return cls(
            stage=raw["stage"],
            fingerprint=raw["fingerprint"],
            score=raw["score"],
            low=float(raw["min"]) if "min" in raw else None,
            high=float(raw["max"]) if "max" in raw else None,
            top=Decimal(raw["top"]) if "top" in raw else None,
            per=raw.get("per", "all"),
            cluster=bool(raw.get("cluster", False)),
            prefer=tuple(raw.get("prefer", ())),
            sources=tuple(raw.get("sources", ())),
            tasks=tuple(raw.get("tasks", ())),
        )


def plain(value: float | Decimal) -> str:
    """Return a number as its shortest decimal string."""
    return format(Decimal(repr(value)) if isinstance(value, float) else Decimal(value), "f")


def number(value: Any, where: str) -> Decimal:
    """Return `value` (number or decimal string) exactly; raise `UserError` when it is not a finite number."""
    try:
        out = Decimal(str(value))
    except InvalidOperation:
        out = Decimal("NaN")
    if isinstance(value, bool) or not out.is_finite():
        msg = f"{where} must be a number, got `{value}`"
        raise UserError(msg, usage=True)
    return out


def bound_fields(raw: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return `low`, `high`, `top` and `per` of a bound as written in a recipe: {min, max} or {top, per}."""
    unknown_keys(raw, ("min", "max", "top", "per"), where)
    out: dict[str, Any] = {}
    for key, name in (("min", "low"), ("max", "high")):
        if raw.get(key) is not None:
            out[name] = float(number(raw[key], f"`{key}` of {where}"))
    if "low" in out and "high" in out and out["low"] > out["high"]:
        msg = f"{where}: min {out['low']} is above max {out['high']}"
        raise UserError(msg, usage=True)
    if "per" in raw and "top" not in raw:
        msg = f"{where}: `per` says over what a fraction is taken; it needs `top`"
        raise UserError(msg, usage=True)
    if "top" in raw:
        top = number(raw["top"], f"`top` of {where}")
        if out or not 0 < top <= 1:
            msg = f"{where}: `top` must be above 0 and at most 1, and stand without `min` and `max`"
            raise UserError(msg, usage=True)
        out |= {"top": top, "per": raw.get("per", "all")}
        if out["per"] not in GROUPS:
            msg = f"{where}: `per` must be one of {', '.join(GROUPS)}, got `{out['per']}`"
            raise UserError(msg, usage=True)
    return out


def applies(frame: pl.DataFrame, rule: Rule) -> pl.Series:
    """Return which samples (columns source, task) the rule looks at."""
    mask = pl.Series([True]).new_from_index(0, frame.height)
    if rule.sources:
        mask = mask & frame["source"].is_in(list(rule.sources))
    if rule.tasks:
        mask = mask & frame["task"].is_in(list(rule.tasks))
    return mask


@dataclass(frozen=True, kw_only=True)
class Cutoff:
    """Where a fraction falls in one group: keep values above `value`, and those equal to it with an id up to `last`."""

    value: float
    last: str


def cutoffs(frame: pl.DataFrame, rule: Rule) -> dict[str, Cutoff]:
    """Return the cutoff per group of a fraction rule, from (id, source, task, value) of the whole pool.

    Exactly floor(top * n) of the n samples with a value are kept in each group. A group that keeps none has a cutoff
    above every value.
    """
    assert rule.top is not None
    rows = frame.filter(applies(frame, rule) & frame["value"].is_not_null() & frame["value"].is_not_nan())
    group = pl.lit("") if rule.per == "all" else pl.col(rule.per)
    rows = rows.with_columns(group.alias("group")).sort(["value", "id"], descending=[True, False])
    out = {}
    for (name,), part in rows.group_by(["group"], maintain_order=True):
        keep = int(rule.top * part.height)
        value, last = (part["value"][keep - 1], part["id"][keep - 1]) if keep else (float("inf"), "")
        out[str(name)] = Cutoff(value=float(value), last=str(last))
    return out


def judge(frame: pl.DataFrame, rule: Rule, cutoff: Mapping[str, Cutoff] | None = None) -> pl.DataFrame:
    """Judge one score. `frame` has id, source, task, value (float64), match (string); same rows and order come out.

    Returns columns value, low, high, keep, match (match is null where the sample is kept).
    """
    looked_at = applies(frame, rule)
    value = pl.when(looked_at).then(pl.col("value"))
    if rule.top is not None:
        low = _lookup(frame, rule, cutoff or {})
        frame = frame.with_columns(low["cut"].alias("cut"), low["last"].alias("last"))
        inside = (pl.col("value") > pl.col("cut")) | (
            (pl.col("value") == pl.col("cut")) & (pl.col("id") <= pl.col("last"))
        )
        bounds = [pl.when(looked_at).then(pl.col("cut")).alias("low"), pl.lit(None, pl.Float64).alias("high")]
    else:
        inside = pl.lit(True)
        if rule.low is not None:
            inside = inside & (pl.col("value") >= rule.low)
        if rule.high is not None:
            inside = inside & (pl.col("value") <= rule.high)
        bounds = [pl.lit(rule.low, pl.Float64).alias("low"), pl.lit(rule.high, pl.Float64).alias("high")]
    keep = value.is_null() | (inside & value.is_not_nan())
    return (
        frame.with_columns(keep.alias("keep"), value.alias("value"), *bounds)
        .with_columns(pl.when(~pl.col("keep")).then(pl.col("match")).alias("match"))
        .select("value", "low", "high", "keep", "match")
    )


def _lookup(frame: pl.DataFrame, rule: Rule, cutoff: Mapping[str, Cutoff]) -> pl.DataFrame:
    group = pl.Series([""]).new_from_index(0, frame.height) if rule.per == "all" else frame[rule.per]
    table = pl.DataFrame(
        {
            "group": list(cutoff),
            "cut": [c.value for c in cutoff.values()],
            "last": [c.last for c in cutoff.values()],
        },
        schema={"group": pl.String, "cut": pl.Float64, "last": pl.String},
    )
    return pl.DataFrame({"group": group.cast(pl.String)}).join(table, on="group", how="left", maintain_order="left")


def keepers(clusters: pl.DataFrame, rule: Rule) -> pl.DataFrame:
    """Choose the keeper of every cluster among the samples that are still alive.

    `clusters` has id, cluster, similarity, alive and one column per name in `rule.prefer`. The keeper is the alive
    sample with the highest preferred values (null counts as lowest), ties by smaller id; what is frozen is always alive.
    Returns id, cluster, rank, similarity, keeper, reason; rank is 0 for what stays, the keeper and everything frozen, and null
    for a sample that was dead already; keeper is the first frozen sample or the keeper, and for another frozen one itself;
    reason is the first of `rule.prefer` by which the keeper comes before the sample, or `id`, and null where rank is 0 or null.
    """
    place, first = pl.int_range(pl.len()).over("cluster"), pl.col("id").first().over("cluster")
    if FROZEN in rule.prefer:
        frozen = pl.col(FROZEN) == 1
        clusters = clusters.with_columns(pl.col("alive").fill_null(value=False) | frozen)
        others = (frozen.cast(pl.Int64).sum().over("cluster") - 1).clip(0)
        place = pl.when(frozen).then(0).otherwise(place - others)
        first = pl.when(frozen).then("id").otherwise(first)
    order = [pl.col(name).cast(pl.Float64).fill_nan(None) for name in rule.prefer]
    alive = clusters.filter(pl.col("alive")).sort(
        [*order, pl.col("id")],
        descending=[True] * len(order) + [False],
        nulls_last=[True] * len(order) + [False],
    )
    ranked = alive.with_columns(
        place.cast(pl.Int32).alias("rank"),
        first.alias("keeper"),
        pl.coalesce(
            *(
                pl.when(e.ne_missing(e.first().over("cluster"))).then(pl.lit(n))
                for e, n in zip(order, rule.prefer, strict=True)
            ),
            pl.lit("id"),
        ).alias("reason"),
    ).select("id", "rank", "keeper", pl.when(pl.col("rank") > 0).then(pl.col("reason")).alias("reason"))
    return (
        clusters.select("id", "cluster", "similarity")
        .join(ranked, on="id", how="left")
        .select("id", "cluster", "rank", "similarity", "keeper", "reason")
        .sort("cluster", "rank", "id", nulls_last=True)
    )


def judge_cluster(ids: pl.DataFrame, ranked: pl.DataFrame) -> pl.DataFrame:
    """Return the verdicts of a cluster rule for samples `ids` (column id), in their order, from what `keepers` ranked.

    value is the rank in the cluster (0: kept), null for a sample that has no duplicate or was dead already.
    """
    joined = ids.select("id").join(ranked.select("id", "rank", "keeper"), on="id", how="left", maintain_order="left")
    value = pl.col("rank").cast(pl.Float64)
    keep = value.is_null() | (value == 0)
    return joined.with_columns(value.alias("value"), keep.alias("keep")).select(
        "value",
        pl.lit(None, pl.Float64).alias("low"),
        pl.lit(0.0, pl.Float64).alias("high"),
        "keep",
        pl.when(~pl.col("keep")).then(pl.col("keeper")).alias("match"),
    )


def find(rules: Sequence[Rule], name: str) -> Rule:
    """Return the rule that `stage.score` or, where it is the only one, `stage` names; raise `UserError` otherwise."""
    from catalog.errors import nearest

    named = [r for r in rules if name in (r.key, r.stage)]
    named = [r for r in named if r.key == name] or [r for r in named if r.score == r.stage] or named
    if len(named) == 1:
        return named[0]
    keys = [r.key for r in named or rules]
    what = "names several bounds" if named else "names no bound"
    msg = f"`{name}` {what}{nearest(name, keys) if not named else ': ' + ', '.join(f'`{k}`' for k in keys)}"
    raise UserError(msg, usage=True)

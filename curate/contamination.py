"""What decontamination found: hits per evaluation set, the certificate of a dataset version, and its check.

A *hit* is a training sample whose score lies outside the filter's published bound, or outside the recipe's. It is *removed*
where the recipe's bounds drop it, else *flagged*: with `bounds: {}` a stage looks and drops nothing. A sample is counted for
the evaluation set of its `match`, the item that it is closest to; it may be close to others too. What could not be scored (NaN)
is dropped and is no hit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow as pa

from catalog import evals
from catalog.errors import UserError
from catalog.judge import Rule, bound_fields, cutoffs, judge, plain
from catalog.shards import read_table
from catalog.store import SHORT, DatasetVersion, SourceVersion, Store
from curate import prepare
from curate.recipe import Recipe, StageSpec
from curate.recipe import rules as rules_of
from filters import base

EXAMPLES = 3  # per filter and evaluation set
TEXT = 400  # characters of each text of an example
_HITS = {
    "id": pl.String, "source": pl.String, "task": pl.String, "shard": pl.Int64, "row": pl.Int64, "score": pl.String,
    "value": pl.Float64, "match": pl.String, "set": pl.String, "removed": pl.Boolean,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Found:
    """What one stage found among the training sources."""

    hits: pl.DataFrame  # id, source, task, shard, row, score, value, match, set, removed; by removed, value, id
    looked_at: int  # samples that the stage looks at, by its sources and tasks
    total: int  # samples of all training sources
    scored: int  # those that the filter applies to: their score is not null
    broken: int  # scored as NaN: dropped, no hit


def certificates(
    recipe: Recipe, store: Store, stages: Sequence[tuple[StageSpec, base.Filter]], sources: Mapping[str, SourceVersion]
) -> list[dict[str, Any]]:
    """Return the certificate of every decontaminating stage of a recipe whose scores are all there."""
    train = [sources[s.name] for s in recipe.members]
    return [
        _certificate(store, stage, flt, prepare.suite(stage, recipe, sources, store), train)
        for stage, flt in stages
        if flt.build is not None and "match" in flt.scores  # others with an index look for what is alike, not for leaks
    ]


def _certificate(
    store: Store, stage: StageSpec, flt: base.Filter, suite: Sequence[SourceVersion], train: Sequence[SourceVersion]
) -> dict[str, Any]:
    rules = rules_of(stage, flt)
    found = search(store, flt, flt.fingerprint, rules, train, stage.sources, stage.tasks)
    return {
        "filter": flt.name,
        "version": flt.version,
        "fingerprint": flt.fingerprint,
        "params": {k: base.plain(v) for k, v in stage.params.items() if not base.is_path(k)},
        "bounds": {r.score: _bound(r) for r in rules},
        "suite": evals.suite_digest([(s.name, s.digest) for s in suite]),
        "sets": [
            {"name": s.name, "digest": s.digest, "items": s.samples, **_counts(found.hits.filter(pl.col("set") == s.name))}
            for s in suite
        ],
        "sources": sorted(stage.sources),
        "tasks": sorted(stage.tasks),
        "total": found.total,
        "looked_at": found.looked_at,
        "scored": found.scored,
        "broken": found.broken,
        "hits": found.hits.height,
        **{k: v for k, v in _counts(found.hits).items() if k != "items_hit"},
    }  # fmt: skip


def _bound(rule: Rule) -> dict[str, str]:
    named = (("min", rule.low), ("max", rule.high), ("top", rule.top))
    return {k: plain(v) for k, v in named if v is not None} | ({"per": rule.per} if rule.top is not None else {})


def _counts(hits: pl.DataFrame) -> dict[str, int]:
    removed = int(hits["removed"].sum())
    return {"items_hit": hits["match"].n_unique(), "removed": removed, "flagged": hits.height - removed}


def search(
    store: Store,
    flt: base.Filter,
    fingerprint: str,
    rules: Sequence[Rule],
    train: Sequence[SourceVersion],
    only: Sequence[str],
    tasks: Sequence[str],
) -> Found:
    """Return the hits of a stage, from stored scores; `flt` says what is scored and which bounds are published."""
    published = [
        Rule(stage=flt.name, fingerprint=fingerprint, score=s, low=low, high=high, tasks=tuple(tasks))
        for s, (low, high) in flt.bounds.items()
    ]
    frames = [
        _scores(store, flt, fingerprint, source, number, tasks)
        for source in train
        if not only or source.name in only
        for number in range(source.shards)
    ]
    kinds = {
        "id": pl.String,
        "source": pl.String,
        "task": pl.String,
        "shard": pl.Int64,
        "row": pl.Int64,
        "match": pl.String,
    }
    empty = pl.DataFrame(schema={**kinds, **dict.fromkeys(flt.numbers, pl.Float64)})
    every = pl.concat([empty, *frames])
    out = []
    for which in (rules, published):  # whoever both name is the recipe's
        for rule in which:
            frame = every.with_columns(pl.col(rule.score).alias("value"))
            keep = judge(frame, rule, cutoffs(frame, rule) if rule.top is not None else None)["keep"]
            dropped = frame.filter(~keep & pl.col("value").is_not_nan() & pl.col("match").is_not_null())
            out.append(
                dropped.with_columns(
                    pl.lit(rule.score).alias("score"),
                    pl.col("match").str.split("/").list.first().alias("set"),
                    pl.lit(which is rules).alias("removed"),
                ).select(list(_HITS))
            )
    hits = pl.concat([pl.DataFrame(schema=_HITS), *out]).unique("id", keep="first", maintain_order=True)
    values = every.select(flt.numbers)
    return Found(
        hits=hits.sort(["removed", "value", "id"], descending=[True, True, False]),
        looked_at=every.height,
        total=sum(s.samples for s in train),
        scored=values.filter(pl.any_horizontal(pl.all().is_not_null())).height,
        broken=values.filter(pl.any_horizontal(pl.all().is_nan().fill_null(value=False))).height,
    )


def _scores(
    store: Store, flt: base.Filter, fingerprint: str, source: SourceVersion, shard: int, tasks: Sequence[str]
) -> pl.DataFrame:
    """Return (id, source, task, shard, row, match, <numbers>) of the samples of one shard that the stage looks at."""
    path = store.score_path(flt.name, fingerprint, source.digest, shard)
    if not path.exists():
        msg = f"the scores of `{flt.name}` are gone: no file `{path}`"
        raise UserError(msg, hint="run the recipe again")
    scores = pl.DataFrame(pl.from_arrow(read_table(path, ["match", *flt.numbers])))
    heads = pl.DataFrame(pl.from_arrow(store.samples(source, shard, ["id", "source", "task"])))
    frame = heads.with_columns(
        pl.lit(shard, pl.Int64).alias("shard"), pl.int_range(pl.len(), dtype=pl.Int64).alias("row"),
        scores["match"].cast(pl.String), *(scores[n].cast(pl.Float64) for n in flt.numbers),
    )  # fmt: skip
    return frame.filter(pl.col("task").is_in(list(tasks))) if tasks else frame


# -- the report ----------------------------------------------------------------------------------------------------------


def report(store: Store, dataset: DatasetVersion, *, examples: int = EXAMPLES) -> dict[str, Any]:
    """Return per stage and evaluation set of a dataset version what was hit, removed and flagged, with both texts.

    `{dataset, stages: [{filter, .., sets: [{name, digest, items, items_hit, removed, flagged, kept, examples}]}]}`; `kept` counts
    the flagged samples that no other rule has dropped either: they are in the dataset version. As JSON it holds no float.
    """
    train = _train(store, dataset)
    stages = []
    for entry in _entries(dataset):
        flt, rules = _bind(entry)
        found = search(store, flt, entry["fingerprint"], rules, train, entry["sources"], entry["tasks"])
        alive = _kept(store, dataset, sorted(set(found.hits["source"].to_list())))
        hits = found.hits.with_columns(pl.col("id").is_in(alive.implode()).alias("alive"))
        sets = []
        for each in entry["sets"]:
            mine = hits.filter(pl.col("set") == each["name"])
            shown = [_example(store, train, each, row) for row in mine.head(examples).to_dicts()]
            sets.append({**each, "kept": int(mine["alive"].sum()), "examples": shown})
        stages.append({**entry, "complete": complete(entry), "sets": sets})
    return {"dataset": dataset.ref, "stages": stages}


def table(found: Mapping[str, Any], *, every: bool = False) -> list[dict[str, Any]]:
    """Return the rows of a report as a table: one per stage and evaluation set that was hit, or per set with `every`."""
    return [
        {
            "filter": stage["filter"], "set": s["name"], "digest": s["digest"][:SHORT], "items": s["items"],
            "items hit": s["items_hit"], "removed": s["removed"], "flagged": s["flagged"], "kept": s["kept"],
        }
        for stage in found["stages"]
        for s in stage["sets"]
        if every or s["removed"] or s["flagged"]
    ]  # fmt: skip


def complete(entry: Mapping[str, Any]) -> bool:
    """Tell whether a stage looked at every training sample."""
    return int(entry["looked_at"]) == int(entry["total"])


def said(entry: Mapping[str, Any]) -> str:
    """Return a certificate in one sentence."""
    limits = [*entry["sources"], *entry["tasks"]]
    looked = (
        f"all {entry['total']:,} training samples were looked at"
        if complete(entry)
        else f"only {entry['looked_at']:,} of {entry['total']:,} training samples were looked at ({', '.join(limits)})"
    )
    items = sum(int(s["items"]) for s in entry["sets"])
    broken = f"; {entry['broken']:,} could not be" if entry["broken"] else ""
    return (
        f"{entry['filter']} against {items:,} items of {len(entry['sets'])} evaluation sets (suite {entry['suite'][:SHORT]}): "
        f"{looked}, {entry['scored']:,} of them had something to compare{broken}; "
        f"{entry['removed']:,} removed, {entry['flagged']:,} flagged"
    )


def _entries(dataset: DatasetVersion) -> list[Mapping[str, Any]]:
    for entry in dataset.decontamination:
        if "sets" not in entry:
            msg = f"the certificate of `{dataset.ref}` is of an earlier Cuvee: it names no counts per evaluation set"
            raise UserError(msg, hint="run the recipe again")
    return list(dataset.decontamination)


def _bind(entry: Mapping[str, Any]) -> tuple[base.Filter, list[Rule]]:
    """Return the filter and the rules of a certificate: as they were judged, whatever the filter's bounds are today."""
    flt = base.load(entry["filter"])
    where = f"the certificate of `{entry['filter']}`"
    return flt, [
        Rule(
            stage=flt.name, fingerprint=entry["fingerprint"], score=score, sources=tuple(entry["sources"]),
            tasks=tuple(entry["tasks"]), **bound_fields(bound, where),
        )
        for score, bound in entry["bounds"].items()
    ]  # fmt: skip


def _train(store: Store, dataset: DatasetVersion) -> list[SourceVersion]:
    return [store.source(f"{s['name']}@{s['digest']}") for s in dataset.sources]


def _kept(store: Store, dataset: DatasetVersion, sources: Sequence[str]) -> pl.Series:
    parts = [pl.Series("id", pl.from_arrow(store.kept(dataset, s)["id"]), dtype=pl.String) for s in sources]
    return pl.concat([pl.Series("id", [], dtype=pl.String), *parts])


def _example(
    store: Store, train: Sequence[SourceVersion], suite: Mapping[str, Any], hit: Mapping[str, Any]
) -> dict[str, Any]:
    source = next(s for s in train if s.name == hit["source"])
    sample = store.samples(source, hit["shard"], ["messages"]).slice(hit["row"], 1)
    return {
        "id": hit["id"],
        "match": hit["match"],
        "score": hit["score"],
        "value": plain(float(hit["value"])),
        "removed": hit["removed"],
        "text": _text(sample),
        "item": _text(_find(store, suite, hit["match"])),
    }


def _find(store: Store, suite: Mapping[str, Any], id_: str) -> pa.Table | None:
    """Return the messages of an evaluation item, where the store still has its set."""
    try:
        source = store.source(f"{suite['name']}@{suite['digest']}")
    except UserError:
        return None
    for number in range(source.shards):
        ids = store.samples(source, number, ["id"])["id"]
        at = pa.compute.index(ids, id_).as_py()
        if at >= 0:
            return store.samples(source, number, ["messages"]).slice(at, 1)
    return None


def _text(sample: pa.Table | None) -> str:
    rows = [] if sample is None else sample["messages"].to_pylist()[0] or []
    text = "\n".join(m["content"] or "" for m in rows)
    return text if len(text) <= TEXT else text[: TEXT - 1] + "…"


# -- the check -----------------------------------------------------------------------------------------------------------


def verify(store: Store, dataset: DatasetVersion) -> list[dict[str, Any]]:
    """Return per certificate what was checked again and whether it holds: [{filter, check, ok, said}].

    Checked are the suite's digest, that its sets are in the store in these versions, that an index made of them today has the
    fingerprint (a filter with a model: not), that its bounds are the ledger's, the counts of hits against stored scores, and that
    nothing removed is kept.
    """
    train = _train(store, dataset)
    out: list[dict[str, Any]] = []
    for entry in _entries(dataset):

        def note(check: str, said: str, *, ok: bool | None, name: str = entry["filter"]) -> None:
            out.append({"filter": name, "check": check, "ok": ok, "said": said})

        digest = evals.suite_digest([(s["name"], s["digest"]) for s in entry["sets"]])
        note("suite", f"{digest[:SHORT]}, {len(entry['sets'])} sets", ok=digest == entry["suite"])
        there = {(s.name, s.digest): s for s in store.sources()}
        suite = [there[k] for s in entry["sets"] if (k := (s["name"], s["digest"])) in there]
        counts = [s for s in entry["sets"] if (v := there.get((s["name"], s["digest"]))) and v.samples == s["items"]]
        ok = len(suite) == len(counts) == len(entry["sets"])
        note("sets", f"{len(counts)} of {len(entry['sets'])} are in this store, item counts as said", ok=ok)
        flt, rules = _bind(entry)
        if flt.needs_model:
            note("index", "not made again: it needs the model", ok=None)
        elif ok:
            again = prepare.indexed(store, flt.name, entry["params"], suite)
            note("index", f"fingerprint {again.fingerprint}", ok=again.fingerprint == entry["fingerprint"])
        judged = {
            r["score"]: {k: r[k] for k in ("min", "max", "top", "per") if k in r}
            for r in dataset.recipe["rules"]
            if r["stage"] == flt.name
        }
        note("bounds", ", ".join(entry["bounds"]) or "none: it flags only", ok=judged == entry["bounds"])
        found = search(store, flt, entry["fingerprint"], rules, train, entry["sources"], entry["tasks"])
        wanted = {s["name"]: (s["items_hit"], s["removed"], s["flagged"]) for s in entry["sets"]}
        real = {n: tuple(_counts(found.hits.filter(pl.col("set") == n)).values()) for n in wanted}
        same = real == wanted and all(getattr(found, k) == entry[k] for k in ("looked_at", "total", "scored", "broken"))
        note(
            "hits",
            f"{found.hits.height:,} from stored scores, {entry['hits']:,} in the certificate",
            ok=same and found.hits.height == entry["hits"],
        )
        removed = found.hits.filter("removed")
        left = int(removed["id"].is_in(_kept(store, dataset, sorted(set(removed["source"].to_list()))).implode()).sum())
        note("removed", f"{left:,} of {removed.height:,} removed samples are among the kept", ok=left == 0)
        note("coverage", said(entry), ok=None if not complete(entry) else True)
    return out


def holds(checks: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether nothing that was checked failed; what could not be checked says so itself."""
    return all(c["ok"] is not False for c in checks)


def section(store: Store, dataset: DatasetVersion) -> list[dict[str, Any]]:
    """Return per stage what the HTML report says: `said`, `complete`, `rows` (of `table`) and `examples`.

    Where the scores are gone, the certificate's own counts, without examples.
    """
    try:
        stages = report(store, dataset)["stages"]
    except UserError:
        stages = [
            {**e, "complete": complete(e), "sets": [{**s, "kept": None, "examples": []} for s in e["sets"]]}
            for e in dataset.decontamination
            if "sets" in e
        ]
    return [
        {
            "filter": s["filter"], "said": said(s), "complete": s["complete"], "fingerprint": s["fingerprint"],
            "rows": table({"stages": [s]}), "examples": [{"set": e["name"], **x} for e in s["sets"] for x in e["examples"]],
        }
        for s in stages
    ]  # fmt: skip

"""The ledger on disk: written by a run, read by `why`, `what-if` and the report.

A file `verdicts/<source>/00000.parquet` holds the verdicts of up to 50,000 consecutive samples, rule by rule: row group
k is rule k for all samples of the file, in sample order, so that one rule of a whole source is read without touching
the others (what-if over 100,000 samples reads a few megabytes).
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from catalog.errors import UserError, nearest
from catalog.files import atomic
from catalog.judge import Rule, bound_fields, cutoffs, find, judge, judge_cluster, keepers
from catalog.schema import KEPT, VERDICT
from catalog.shards import read_table, shard_name
from catalog.store import DatasetVersion, Store

CHUNK = 50_000  # samples per ledger file


def rules_of(dataset: DatasetVersion) -> list[Rule]:
    """Return the rules of a dataset version in the order in which they decide: bounds first, then clusters."""
    return [Rule.from_json(r) for r in dataset.recipe["rules"]]


def write_chunk(path: Path, ids: pl.Series, rules: Sequence[Rule], verdicts: Sequence[pl.DataFrame]) -> None:
    """Write one ledger file: a row group per rule. `verdicts[k]` has value, low, high, keep, match for rule k."""
    with atomic(path) as f, pq.ParquetWriter(f, VERDICT, compression="zstd", compression_level=3) as out:
        for rule, v in zip(rules, verdicts, strict=True):
            table = v.select(
                ids.alias("id"),
                pl.lit(rule.stage).alias("stage"),
                pl.lit(rule.fingerprint).alias("fingerprint"),
                pl.lit(rule.score).alias("score"),
                "value",
                "low",
                "high",
                "keep",
                "match",
            )
            out.write_table(table.to_arrow().cast(VERDICT), row_group_size=max(1, len(ids)))
        if not rules:
            out.write_table(VERDICT.empty_table())


class Digest:
    """The digest of a ledger: per rule and source over (id, value, keep, match) in sample order, however it is cut."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules
        # One hash per column (id, value, null, keep, match): in a single one, it would show where a source is cut.
        self._hashes: dict[tuple[str, int], list[Any]] = {}

    def add(self, source: str, ids: pl.Series, verdicts: Sequence[pl.DataFrame]) -> None:
        """Add the verdicts of the next samples of a source."""
        names = "\n".join(ids.to_list()).encode() + b"\n" if len(ids) else b""
        for k, v in enumerate(verdicts):
            value = v["value"].fill_null(0.0).to_numpy()
            value = np.where(np.isnan(value), np.nan, value) + 0.0  # one NaN, one zero
            columns = (
                names,
                value.astype("<f8").tobytes(),
                v["value"].is_null().to_numpy().tobytes(),
                v["keep"].to_numpy().tobytes(),
                "".join(f"{m or ''}\n" for m in v["match"].to_list()).encode(),
            )
            hashes = self._hashes.setdefault((source, k), [hashlib.sha256() for _ in columns])
            for h, data in zip(hashes, columns, strict=True):
                h.update(data)

    def hexdigest(self) -> str:
        """Return the digest."""
        from catalog.digests import json_digest

        rows = {f"{source}/{k}": [h.hexdigest() for h in hashes] for (source, k), hashes in self._hashes.items()}
        return json_digest({"rules": [r.to_json() for r in self._rules], "verdicts": rows})


class Ledger:
    """A dataset version's verdicts, read rule by rule."""

    def __init__(self, store: Store, dataset: DatasetVersion) -> None:
        self._folder = store.dataset_dir(dataset.name, dataset.version)
        self._store = store
        self.dataset = dataset
        self.rules = rules_of(dataset)
        self.sources = [str(s["name"]) for s in dataset.sources]
        self._files = [(s, pq.ParquetFile(p)) for s in self.sources for p in self._paths(s)]

    def _paths(self, source: str) -> list[Path]:
        folder = self._folder / "verdicts" / source
        if not folder.is_dir() and not any(s["name"] == source and s["samples"] for s in self.dataset.sources):
            return []  # an empty input file: nothing was there to judge
        if not folder.is_dir():
            msg = f"dataset `{self.dataset.ref}` has lost its verdicts: `{folder}` is not there"
            raise UserError(msg, hint="run the recipe again: stored scores are used, so it takes seconds")
        return sorted(folder.glob("*.parquet"))

    def column(self, rule: int, name: str) -> pl.Series:
        """Return one column of one rule for every sample, in source, shard and row order."""
        parts = [f.read_row_group(rule, columns=[name])[name] for _, f in self._files if f.metadata.num_rows]
        chunks = [c for p in parts for c in p.chunks]
        return pl.Series(name, pa.chunked_array(chunks, type=VERDICT.field(name).type))

    def ids(self) -> pl.Series:
        """Return the id of every sample, in the same order."""
        if self.rules:
            return self.column(0, "id")
        # No rule, no verdict: everything is kept.
        kept = [pl.Series("id", self._store.kept(self.dataset, s)["id"]) for s in self.sources]
        return pl.concat([pl.Series("id", [], dtype=pl.String), *kept])

    def sources_of(self) -> pl.Series:
        """Return the source of every sample, in the same order."""
        if not self.rules:
            counts = [(str(s["name"]), int(s["samples"])) for s in self.dataset.sources]
            return pl.Series("source", [name for name, n in counts for _ in range(n)], dtype=pl.String)
        return pl.concat(
            [
                pl.Series("source", [s], dtype=pl.String).new_from_index(0, f.metadata.row_group(0).num_rows)
                for s, f in self._files
                if f.metadata.num_rows
            ]
            or [pl.Series("source", [], dtype=pl.String)]
        )

    def tasks_of(self) -> pl.Series:
        """Return the task of every sample, in the same order (read from the sources)."""
        parts = []
        for s in self.dataset.sources:
            version = self._store.source(f"{s['name']}@{s['digest']}")
            parts += [self._store.samples(version, i, ["task"])["task"] for i in range(version.shards)]
        chunks = [c for p in parts for c in p.chunks]
        return pl.Series("task", pa.chunked_array(chunks, type=pa.string()))

    def keep_matrix(self) -> np.ndarray:
        """Return keep as (rules, samples) bool."""
        if not self.rules:
            return np.ones((0, sum(int(s["samples"]) for s in self.dataset.sources)), bool)
        return np.stack([self.column(k, "keep").to_numpy() for k in range(len(self.rules))])


def funnel(rules: Sequence[Rule], keep: np.ndarray) -> list[dict[str, Any]]:
    """Return per rule how many samples it judged to drop: `alone` (at all), `first` (no earlier rule), `only` (no other)."""
    dropped = ~keep
    times = dropped.sum(axis=0)
    seen = np.zeros(keep.shape[1], bool)
    out = []
    for k, rule in enumerate(rules):
        d = dropped[k]
        out.append(
            {
                "stage": rule.stage,
                "score": rule.score,
                "alone": int(d.sum()),
                "first": int((d & ~seen).sum()),
                "only": int((d & (times == 1)).sum()),
            }
        )
        seen |= d
    return out


def why(store: Store, dataset: DatasetVersion, id_: str) -> dict[str, Any]:
    """Return everything that decided about one sample: {id, source, kept, verdicts, clusters} or its reject."""
    source = id_.partition("/")[0]
    known = [str(s["name"]) for s in dataset.sources]
    if source not in known:
        msg = f"no source `{source}` in dataset `{dataset.ref}`{nearest(source, known)}"
        raise UserError(msg, hint="an id is `<source>/<locator>`", usage=True)
    folder = store.dataset_dir(dataset.name, dataset.version)
    for path in sorted((folder / "verdicts" / source).glob("*.parquet")):
        rows = read_table(path).filter(pa.compute.equal(pa.compute.field("id"), id_))
        if rows.num_rows:
            verdicts = rows.to_pylist()
            return {
                "id": id_,
                "dataset": dataset.ref,
                "outcome": "kept" if all(v["keep"] for v in verdicts) else "dropped",
                "verdicts": verdicts,
                "clusters": _clusters_of(folder, id_),
            }
    return _without_verdicts(store, dataset, source, id_)


def _clusters_of(folder: Path, id_: str) -> list[dict[str, Any]]:
    out = []
    for path in sorted((folder / "clusters").glob("*.parquet")):
        table = pl.read_parquet(path)
        mine = table.filter(pl.col("id") == id_)
        if mine.height:
            name = mine["cluster"][0]
            members = table.filter(pl.col("cluster") == name).select("id", "rank", "similarity", "keeper")
            out.append({"stage": path.stem, "cluster": name, "members": members.to_dicts()})
    return out


def _without_verdicts(store: Store, dataset: DatasetVersion, source: str, id_: str) -> dict[str, Any]:
    entry = next(s for s in dataset.sources if s["name"] == source)
    version = store.source(f"{source}@{entry['digest']}")
    locator = id_.partition("/")[2]
    for table in store.rejects(version):
        rows = table.filter(pa.compute.equal(pa.compute.field("locator"), locator)).to_pylist()
        if rows:
            return {"id": id_, "dataset": dataset.ref, "outcome": "rejected", "reject": rows[0]}
    for number in range(version.shards):  # a dataset without rules has no verdicts: everything is kept
        if id_ in store.samples(version, number, ["id"])["id"].to_pylist():
            return {"id": id_, "dataset": dataset.ref, "outcome": "kept", "verdicts": [], "clusters": []}
    msg = f"no sample `{id_}` in source `{version.ref}`"
    some = (i for n in range(version.shards) for i in store.samples(version, n, ["id"])["id"].to_pylist())
    raise UserError(msg, hint=f"an id is `<source>/<locator>`, for example `{next(some, f'{source}/...')}`")


def parse_changes(settings: Sequence[str], rules: Sequence[Rule]) -> dict[str, dict[str, str]]:
    """Return {rule key: {min|max|top|per: value}} from settings such as `clip_score.min=0.3`."""
    out: dict[str, dict[str, str]] = {}
    for setting in settings:
        name, eq, value = setting.partition("=")
        stage, dot, field = name.strip().rpartition(".")
        if not eq or not dot:
            msg = f"cannot read `{setting}`: expected `<stage>.<min|max|top>=<number>`, e.g. `clip_score.min=0.3`"
            raise UserError(msg, usage=True)
        rule = find(rules, stage)
        if rule.cluster:
            msg = f"`{rule.key}` keeps one sample per cluster and has no bound to change"
            raise UserError(msg, usage=True)
        out.setdefault(rule.key, {})[field] = value.strip()
    return out


def _changed(rule: Rule, change: Mapping[str, str]) -> Rule:
    import dataclasses

    given: dict[str, Any] = {}
    if "top" not in change and rule.top is None:
        given |= {k: v for k, v in (("min", rule.low), ("max", rule.high)) if v is not None}
    elif "top" in change or set(change) <= {"per"}:
        given |= {"top": rule.top, "per": rule.per} if rule.top is not None else {}
    given |= change
    given = {k: v for k, v in given.items() if v != "none"}
    if change.get("top") == "none":
        given.pop("per", None)
    fields = bound_fields(given, f"bound `{rule.key}`")
    return dataclasses.replace(rule, **({"low": None, "high": None, "top": None} | fields))


def what_if(store: Store, dataset: DatasetVersion, settings: Sequence[str]) -> dict[str, Any]:
    """Return the counts that other bounds would give, from stored scores: nothing is scored again.

    {kept: {before, after}, gained, lost, stages: [...], sources: [...]}; clusters are decided again among the samples
    that would be alive.
    """
    ledger = Ledger(store, dataset)
    changes = parse_changes(settings, ledger.rules)
    before = ledger.keep_matrix()
    after = before.copy()
    source = ledger.sources_of()
    rules = [_changed(r, changes[r.key]) if r.key in changes else r for r in ledger.rules]
    ids = ledger.ids()
    for k, rule in enumerate(rules):
        if rule.key in changes:
            task = ledger.tasks_of() if rule.per == "task" else pl.Series([""]).new_from_index(0, len(ids))
            # Where the rule does not apply the stored value is null already: sources and tasks are settled.
            free = _unrestricted(rule)
            frame = pl.DataFrame({"id": ids, "source": source, "task": task, "value": ledger.column(k, "value")})
            frame = frame.with_columns(pl.lit(None, pl.String).alias("match"))
            after[k] = judge(frame, free, cutoffs(frame, free) if rule.top is not None else None)["keep"].to_numpy()
    _recluster(ledger, rules, ids, after)
    return _compare(rules, changes, source, before, after) | {"dataset": dataset.ref}


def _unrestricted(rule: Rule) -> Rule:
    import dataclasses

    return dataclasses.replace(rule, sources=(), tasks=())


def _recluster(ledger: Ledger, rules: Sequence[Rule], ids: pl.Series, keep: np.ndarray) -> None:
    """Decide the cluster rules of `keep` (rules, samples) again, in place."""
    frame = pl.DataFrame({"id": ids})
    alive = np.ones(len(ids), bool)
    for k, rule in enumerate(rules):
        if not rule.cluster:
            alive &= keep[k]
    for k, rule in enumerate(rules):
        if rule.cluster:
            table = pl.read_parquet(ledger._folder / "clusters" / f"{rule.stage}.parquet")
            living = frame.with_columns(pl.Series("alive", alive))
            table = table.drop("rank", "keeper").join(living, on="id", how="left")
            keep[k] = judge_cluster(frame, alive, keepers(table, rule))["keep"].to_numpy()
            alive = alive & keep[k]


def _compare(
    rules: Sequence[Rule], changes: Mapping[str, Any], source: pl.Series, before: np.ndarray, after: np.ndarray
) -> dict[str, Any]:
    was, now = np.logical_and.reduce(before, axis=0), np.logical_and.reduce(after, axis=0)
    stages = [
        {
            "rule": r.key,
            "bound": {k: v for k, v in r.to_json().items() if k in ("min", "max", "top", "per")},
            "changed": r.key in changes,
            "dropped_before": int((~before[k]).sum()),
            "dropped_after": int((~after[k]).sum()),
        }
        for k, r in enumerate(rules)
    ]
    sources = []
    for name in source.unique(maintain_order=True):
        mine = (source == name).to_numpy()
        sources.append({"source": name, "before": int(was[mine].sum()), "after": int(now[mine].sum())})
    return {
        "samples": len(source),
        "kept": {"before": int(was.sum()), "after": int(now.sum())},
        "gained": int((now & ~was).sum()),
        "lost": int((was & ~now).sum()),
        "stages": stages,
        "sources": sources,
    }


def write_kept(path: Path, frame: pl.DataFrame) -> None:
    """Write one KEPT file (columns id, digest, source, task, shard, row)."""
    from catalog.shards import write_table

    write_table(path, frame.select(KEPT.names).to_arrow().cast(KEPT))


def chunk_name(number: int) -> str:
    """Return the name of the number-th ledger file of a source."""
    return shard_name(number, "parquet")

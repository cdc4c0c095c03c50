"""The ledger on disk: written by a run, read by `why`, `what-if`, the report and the next run of the same recipe.

    heads/<source>/00000.parquet                       HEAD of up to 50,000 consecutive samples
    verdicts/<source>/00000/<stage>.<score>.parquet    one rule's VERDICT on them, in the same order
    columns.json                                       the hashes that the ledger's digest is made of

One file per rule, so that one bound of a whole source is read without touching the others (what-if over 100,000 samples
reads a few megabytes), and so that a new version shares the files of the rules that did not change.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from catalog.digests import joined_bytes, json_digest
from catalog.errors import UserError, nearest
from catalog.files import atomic, read_json, write_json
from catalog.judge import Rule, bound_fields, cutoffs, find, judge, judge_cluster, keepers
from catalog.schema import HEAD, KEPT, VERDICT
from catalog.shards import read_table, shard_name
from catalog.store import DatasetVersion, Store

CHUNK = 50_000  # samples per ledger file


def rules_of(dataset: DatasetVersion) -> list[Rule]:
    """Return the rules of a dataset version in the order in which they decide: bounds first, then clusters."""
    return [Rule.from_json(r) for r in dataset.recipe["rules"]]


def heads_path(dataset: Path, source: str, number: int) -> Path:
    """Return the file that names the samples of the number-th chunk of a source."""
    return dataset / "heads" / source / chunk_name(number)


def verdicts_path(dataset: Path, source: str, number: int, rule: Rule) -> Path:
    """Return the file of one rule's verdicts on the number-th chunk of a source."""
    return dataset / "verdicts" / source / f"{number:05d}" / f"{rule.key}.parquet"


def chunk_name(number: int) -> str:
    """Return the name of the number-th ledger file of a source."""
    return shard_name(number, "parquet")


def write_heads(path: Path, heads: pl.DataFrame) -> None:
    """Write one HEAD file."""
    _write(path, heads.select(HEAD.names).to_arrow().cast(HEAD))


def write_verdicts(path: Path, ids: pa.Array, rule: Rule, verdict: pl.DataFrame) -> None:
    """Write one rule's verdicts (columns value, low, high, keep, match) on the samples `ids` (string)."""
    # Ids come as Arrow: converting them for each of thirty rules costs more than judging.
    same = {"stage": rule.stage, "fingerprint": rule.fingerprint, "score": rule.score}
    columns = {"id": ids, **{k: pa.repeat(pa.scalar(v, pa.string()), len(ids)) for k, v in same.items()}}
    columns |= {name: verdict[name].to_arrow() for name in ("value", "low", "high", "keep")}
    match = verdict["match"]
    columns["match"] = pa.nulls(len(ids), pa.string()) if match.null_count() == len(ids) else strings(match)
    _write(path, pa.table(columns, schema=VERDICT))


def _write(path: Path, table: pa.Table) -> None:
    """Write one ledger file. Ids are stored as what differs from the one before; nothing reads statistics of them."""
    names = [f.name for f in table.schema if f.name not in ("id", "digest") and pa.types.is_string(f.type)]
    with atomic(path) as f:
        pq.write_table(
            table, f, compression="zstd", compression_level=1, version="2.6", row_group_size=CHUNK,
            use_dictionary=names, column_encoding={"id": "DELTA_BYTE_ARRAY"}, write_statistics=False,
        )  # fmt: skip


def write_chunk(
    dataset: Path, number: int, heads: pl.DataFrame, rules: Sequence[Rule], verdicts: Sequence[pl.DataFrame]
) -> None:
    """Write one chunk of a source into a dataset's folder: its heads and every rule's verdicts."""
    source = str(heads["source"][0])
    write_heads(heads_path(dataset, source, number), heads)
    ids = strings(heads["id"])
    for rule, verdict in zip(rules, verdicts, strict=True):
        write_verdicts(verdicts_path(dataset, source, number, rule), ids, rule, verdict)


def strings(texts: pl.Series) -> pa.Array:
    """Return a text column as Arrow strings."""
    return texts.to_arrow().cast(pa.string())


Hashes = Mapping[str, Sequence[str]]
"""By rule key: hex sha256 of the ids, values, nulls, keeps and matches of one source."""


class Digest:
    """The digest of a ledger: per rule and source over (id, value, keep, match) in sample order, however it is cut."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules
        # One hash per column (id, value, null, keep, match): in a single one, it would show where a source is cut.
        self._hashes: dict[str, dict[str, list[Any]]] = {}
        self._known: dict[str, dict[str, list[str]]] = {}

    def add(self, source: str, ids: pl.Series, verdicts: Mapping[str, pl.DataFrame]) -> None:
        """Add the verdicts, by rule key, on the next samples of a source."""
        names = _lines(ids) if verdicts else b""
        for key, v in verdicts.items():
            value = v["value"].fill_null(0.0).to_numpy()
            value = np.where(np.isnan(value), np.nan, value) + 0.0  # one NaN, one zero
            columns = (
                names,
                value.astype("<f8").tobytes(),
                v["value"].is_null().to_numpy().tobytes(),
                v["keep"].to_numpy().tobytes(),
                _lines(v["match"]),
            )
            hashes = self._hashes.setdefault(source, {}).setdefault(key, [hashlib.sha256() for _ in columns])
            for h, data in zip(hashes, columns, strict=True):
                h.update(data)

    def known(self, source: str, key: str, hashes: Sequence[str]) -> None:
        """Take the hashes of a rule's verdicts on a whole source from an earlier ledger."""
        self._known.setdefault(source, {})[key] = list(hashes)

    def columns(self) -> dict[str, dict[str, list[str]]]:
        """Return the hashes by source and rule key."""
        out = {s: {k: [h.hexdigest() for h in hs] for k, hs in by.items()} for s, by in self._hashes.items()}
        for source, by in self._known.items():
            out.setdefault(source, {}).update(by)
        return out

    def hexdigest(self) -> str:
        """Return the digest."""
        number = {rule.key: k for k, rule in enumerate(self._rules)}
        rows = {f"{s}/{number[key]}": h for s, by in self.columns().items() for key, h in by.items()}
        return json_digest({"rules": [r.to_json() for r in self._rules], "verdicts": rows})


def _lines(texts: pl.Series) -> bytes:
    """Return the texts as bytes, a line end after each; null is empty."""
    if texts.null_count() == len(texts):  # the matches of most rules
        return b"\n" * len(texts)
    column = (texts.cast(pl.String).fill_null("") + "\n").to_arrow().cast(pa.large_string())
    return joined_bytes(column)


def save_columns(dataset: Path, digest: Digest, cuts: Mapping[str, int]) -> None:
    """Write `columns.json` into a dataset's folder: hashes of columns, and the rows per shard of each source."""
    write_json(dataset / "columns.json", {"columns": digest.columns(), "shard_rows": dict(cuts)})


def load_columns(dataset: Path) -> dict[str, dict[str, list[str]]]:
    """Return the hashes that `save_columns` wrote."""
    out: dict[str, dict[str, list[str]]] = read_json(dataset / "columns.json")["columns"]
    return out


def whole(store: Store, dataset: DatasetVersion, cuts: Mapping[str, int]) -> bool:
    """Tell whether a ledger can be judged again: all of it there, of this layout, its sources cut into shards as they are now."""
    try:
        book = Ledger(store, dataset)
        if read_json(book.folder / "columns.json")["shard_rows"] != dict(cuts):
            return False  # (shard, row) of a head would be another sample's
        chunks = book.sizes()
        wanted = {heads_path(book.folder, s, n): size for s, n, size in chunks}
        wanted |= {verdicts_path(book.folder, s, n, r): size for s, n, size in chunks for r in book.rules}
        if any(pq.read_metadata(path).num_rows != size for path, size in wanted.items()):
            return False
        kept = sorted((book.folder / "kept").rglob("*.parquet"))
        clusters = [book.folder / "clusters" / f"{r.stage}.parquet" for r in book.rules if r.cluster]
        return len(kept) == len(chunks) and all(pq.read_metadata(p) for p in [*kept, *clusters])
    except (UserError, OSError, KeyError, TypeError, pa.ArrowException):
        return False


@dataclass(frozen=True, kw_only=True)
class Chunks:
    """The heads of a ledger that is being written."""

    folder: Path
    places: Sequence[tuple[str, int]]  # (source, number), in order

    def heads(self, source: str, number: int, columns: Sequence[str] = HEAD.names) -> pl.DataFrame:
        """Return the HEAD rows of one chunk."""
        return pl.DataFrame(pl.from_arrow(read_table(heads_path(self.folder, source, number), columns)))


class Ledger:
    """A dataset version's verdicts, read rule by rule; samples in source, shard and row order."""

    def __init__(self, store: Store, dataset: DatasetVersion) -> None:
        self.folder = store.dataset_dir(dataset.name, dataset.version)
        self.dataset = dataset
        self.rules = rules_of(dataset)
        self.sources = [str(s["name"]) for s in dataset.sources]
        # (source, number of the chunk, its samples)
        self._chunks = [(s, *chunk) for s in self.sources for chunk in self._of(s)]

    def _of(self, source: str) -> list[tuple[int, int]]:
        paths = sorted((self.folder / "heads" / source).glob("*.parquet"))
        try:
            found = [(int(p.stem), pq.read_metadata(p).num_rows) for p in paths]
        except (OSError, pa.ArrowException):
            found = []
        want = next(int(s["samples"]) for s in self.dataset.sources if s["name"] == source)
        if sum(n for _, n in found) != want:  # or of a layout before 2026-11-24
            msg = f"dataset `{self.dataset.ref}` has lost its ledger: `{self.folder / 'heads' / source}` is not whole"
            raise UserError(msg, hint="run the recipe again: stored scores are used, so it takes seconds")
        return found

    def sizes(self) -> list[tuple[str, int, int]]:
        """Return (source, number, samples) of every chunk, in order."""
        return list(self._chunks)

    def heads(self, source: str, number: int, columns: Sequence[str] = HEAD.names) -> pl.DataFrame:
        """Return the HEAD rows of one chunk."""
        return pl.DataFrame(pl.from_arrow(read_table(heads_path(self.folder, source, number), columns)))

    def verdicts(self, source: str, number: int, rule: Rule, columns: Sequence[str]) -> pl.DataFrame:
        """Return columns of one rule's verdicts on one chunk."""
        return pl.DataFrame(pl.from_arrow(read_table(verdicts_path(self.folder, source, number, rule), columns)))

    def column(self, rule: int, name: str) -> pl.Series:
        """Return one column of one rule for every sample."""
        parts = [self.verdicts(s, n, self.rules[rule], [name])[name] for s, n, _ in self._chunks]
        kind = pl.Series(pl.from_arrow(pa.array([], VERDICT.field(name).type))).dtype
        return pl.concat([pl.Series(name, [], dtype=kind), *parts])

    def ids(self) -> pl.Series:
        """Return the id of every sample."""
        return self._head("id")

    def tasks_of(self) -> pl.Series:
        """Return the task of every sample."""
        return self._head("task")

    def sources_of(self) -> pl.Series:
        """Return the source of every sample."""
        return self._head("source")

    def _head(self, name: str) -> pl.Series:
        parts = [self.heads(s, n, [name])[name] for s, n, _ in self._chunks]
        return pl.concat([pl.Series(name, [], dtype=pl.String), *parts])

    def places(self, rows: Sequence[int]) -> list[tuple[str, int, int]]:
        """Return (source, shard, row in the shard) of samples given by their number in the ledger."""
        ends = np.cumsum([n for _, _, n in self._chunks], dtype=np.int64)
        out: dict[int, tuple[str, int, int]] = {}
        at = np.searchsorted(ends, np.asarray(rows, np.int64), side="right")
        for chunk in sorted(set(at.tolist())):
            source, number, samples = self._chunks[chunk]
            heads = self.heads(source, number, ["shard", "row"])
            for row in (r for r, c in zip(rows, at, strict=True) if c == chunk):
                within = int(row) - int(ends[chunk] - samples)
                out[int(row)] = (source, int(heads["shard"][within]), int(heads["row"][within]))
        return [out[int(r)] for r in rows]

    def keep_matrix(self) -> np.ndarray:
        """Return keep as (rules, samples) bool."""
        if not self.rules:
            return np.ones((0, sum(int(s["samples"]) for s in self.dataset.sources)), bool)
        return np.stack([self.column(k, "keep").to_numpy() for k in range(len(self.rules))])

    def clusters(self, rule: Rule) -> pl.DataFrame:
        """Return the CLUSTER table of a deduplicating rule, with the scores that it prefers."""
        return pl.DataFrame(pl.from_arrow(read_table(self.folder / "clusters" / f"{rule.stage}.parquet")))


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
    book = Ledger(store, dataset)
    for name, number, _ in book.sizes():
        if name != source:
            continue
        found = book.heads(source, number, ["id"])["id"].index_of(id_)
        if found is not None:
            paths = [verdicts_path(book.folder, source, number, rule) for rule in book.rules]
            verdicts = [read_table(path).slice(found, 1).to_pylist()[0] for path in paths]
            return {
                "id": id_,
                "dataset": dataset.ref,
                "outcome": "kept" if all(v["keep"] for v in verdicts) else "dropped",
                "verdicts": verdicts,
                "clusters": _clusters_of(book.folder, id_),
            }
    return _without_verdicts(store, dataset, source, id_)


def _clusters_of(folder: Path, id_: str) -> list[dict[str, Any]]:
    out = []
    for path in sorted((folder / "clusters").glob("*.parquet")):
        table = pl.read_parquet(path)
        mine = table.filter(pl.col("id") == id_)
        if mine.height:
            name = mine["cluster"][0]
            members = table.filter(pl.col("cluster") == name).select(
                "id", "rank", "similarity", "keeper", pl.col("^reason$")
            )
            out.append({"stage": path.stem, "cluster": name, "members": members.to_dicts()})
    return out


def _without_verdicts(store: Store, dataset: DatasetVersion, source: str, id_: str) -> dict[str, Any]:
    entry = next(s for s in dataset.sources if s["name"] == source)
    version = store.source(f"{source}@{entry['digest']}")
    locator = id_.partition("/")[2]
    for table in store.rejects(version):
        rows = table.filter(pc.equal(pc.field("locator"), locator)).to_pylist()
        if rows:
            return {"id": id_, "dataset": dataset.ref, "outcome": "rejected", "reject": rows[0]}
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


def what_if(
    store: Store, dataset: DatasetVersion, settings: Sequence[str], *, unbound: Sequence[tuple[Rule, pl.Series]] = ()
) -> dict[str, Any]:
    """Return the counts that other bounds would give, from stored scores: nothing is scored again.

    {kept: {before, after}, gained, lost, stages: [...], sources: [...]}; clusters are decided again among the samples
    that would be alive. `unbound` are scores that are not in the ledger: a rule without bounds, and its value for every sample.
    """
    ledger = Ledger(store, dataset)
    known = [*ledger.rules, *(r for r, _ in unbound)]
    changes = parse_changes(settings, known)
    before = ledger.keep_matrix()
    before = np.concatenate([before, np.ones((len(unbound), before.shape[1]), bool)])
    after = before.copy()
    source = ledger.sources_of()
    rules = [_changed(r, changes[r.key]) if r.key in changes else r for r in known]
    ids = ledger.ids()
    for k, rule in enumerate(rules):
        if rule.key in changes:
            task = ledger.tasks_of() if rule.per == "task" else pl.Series([""]).new_from_index(0, len(ids))
            # Where the rule does not apply the stored value is null already: sources and tasks are settled.
            free = _unrestricted(rule)
            there = k < len(ledger.rules)
            value = ledger.column(k, "value") if there else unbound[k - len(ledger.rules)][1]
            frame = pl.DataFrame({"id": ids, "source": source, "task": task, "value": value})
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
            living = frame.with_columns(pl.Series("alive", alive))
            table = ledger.clusters(rule).drop("rank", "keeper", "reason").join(living, on="id", how="left")
            keep[k] = judge_cluster(frame, keepers(table, rule))["keep"].to_numpy()
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
    _write(path, frame.select(KEPT.names).to_arrow().cast(KEPT))

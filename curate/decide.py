"""The last step of a run: stored scores and bounds in, a dataset version with its ledger out.

Memory holds one chunk of the ledger (50,000 samples), the clusters, the cutoffs of fractions, and a byte a sample. Where
an earlier version differs in bounds alone, its ledger is judged again instead: no score file is opened, and the files of
unchanged rules are shared.
"""

import itertools
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from catalog import ledger
from catalog.digests import columns_digest, json_digest
from catalog.errors import UserError
from catalog.files import publish, remove, sweep
from catalog.judge import Cutoff, Rule, cutoffs, judge, judge_cluster, keepers
from catalog.schema import CLUSTER
from catalog.shards import write_table
from catalog.store import DatasetVersion, SourceVersion, Store
from curate import pools, prepare
from curate.chunks import Bound, Chunk, Past, Scores, identity
from curate.prepare import Progress
from curate.recipe import Recipe, StageSpec, rules
from filters import base


def decide(
    recipe: Recipe,
    store: Store,
    stages: Sequence[Bound],
    sources: Mapping[str, SourceVersion],
    *,
    progress: Progress,
    volatile: Mapping[str, Any],
) -> DatasetVersion:
    """Judge and write the dataset version: the same bytes from stored scores as from an earlier version's ledger."""
    train = [sources[s.name] for s in recipe.members]
    every = [rule for stage, flt in stages for rule in rules(stage, flt)]
    ordered = [r for r in every if not r.cluster] + [r for r in every if r.cluster]
    named = {flt.name: (stage, flt) for stage, flt in stages}
    past = Past.of(store, recipe.name, identity(_stages(stages), [(s.name, s.digest) for s in train]), ordered, named)
    if past is None:
        pooling = [(stage, flt) for stage, flt in stages if flt.pooled]
        for number, (stage, flt) in enumerate(pooling, 1):
            pools.pool(store, flt, stage, train)
            progress("pool", number, len(pooling))
    book: Past | Scores = past or Scores(store=store, stages=named, sources=train)
    same = past.same if past else frozenset[str]()
    cuts = {r.key: cutoffs(_pool(book, r), r) for r in ordered if r.top is not None and r.key not in same}
    work = store.root / "datasets" / recipe.name / ".work"
    remove(work)  # a killed run's half: judging takes seconds, so it starts afresh
    sweep(store.root / "datasets" / recipe.name)
    out = _Ledger(work, ordered, past, total=sum(s.samples for s in train), progress=progress)
    with ThreadPoolExecutor(2) as writer:  # a file is written while the next rule judges
        alive = [out.judge(chunk, cuts, writer) for chunk in book.chunks()]
    written = ledger.Chunks(folder=work, places=out.places)
    dead, ranked = _settle_clusters(book, written, alive, ordered, work, progress)
    out.done = 0
    content = [pl.DataFrame(schema={"source": pl.String, "id": pl.String, "digest": pl.String})]
    for (source, number), keep in zip(out.places, alive, strict=True):
        content.append(out.keep(source, number, written.heads(source, number), keep, dead, ranked))
    ledger.save_columns(work, out.digest)
    rows = pl.concat(content)
    counted = dict(rows.group_by("source").len().iter_rows())
    kept = {s.name: int(counted.get(s.name, 0)) for s in train}
    dataset = _record(recipe, stages, ordered, sources, kept, out.hits, out.digest.hexdigest(), rows, volatile)
    store.save_dataset(dataset, work)
    publish(work, store.dataset_dir(dataset.name, dataset.version))
    return store.dataset(f"{dataset.name}@{dataset.digest}")


class _Ledger:
    """The ledger that is being written: bounds first, then clusters among the living, and what is kept."""

    def __init__(self, work: Path, rules: Sequence[Rule], past: Past | None, *, total: int, progress: Progress) -> None:
        self._work, self._rules, self._past = work, rules, past
        self._total, self._progress = total, progress
        self.places: list[tuple[str, int]] = []
        self.hits = {r.stage: 0 for r in rules}
        self.digest = ledger.Digest(rules)
        self.done = 0
        for source, columns in (ledger.load_columns(past.book.folder) if past else {}).items():
            for key in past.same & set(columns) if past else ():
                self.digest.known(source, key, columns[key])

    def judge(self, chunk: Chunk, cuts: Mapping[str, Mapping[str, Cutoff]], writer: ThreadPoolExecutor) -> np.ndarray:
        """Write a chunk's heads and what the bounds say of it; return who is alive. That byte a sample stays in memory."""
        alive, new, ids, written = np.ones(chunk.size, bool), {}, None, []
        heads = ledger.heads_path(self._work, chunk.source, chunk.number)
        if self._past:
            share(ledger.heads_path(self._past.book.folder, chunk.source, chunk.number), heads)
        else:
            ledger.write_heads(heads, chunk.heads)
        for rule in self._rules:
            if rule.cluster:
                continue
            target = ledger.verdicts_path(self._work, chunk.source, chunk.number, rule)
            if self._past and rule.key in self._past.same:
                share(self._past.file(chunk, rule), target)
                keep = self._past.book.verdicts(chunk.source, chunk.number, rule, ["keep"])["keep"].to_numpy()
            else:
                new[rule.key] = verdict = judge(chunk.value(rule), rule, cuts.get(rule.key))
                ids = ledger.strings(chunk.heads["id"]) if ids is None else ids
                written.append(writer.submit(ledger.write_verdicts, target, ids, rule, verdict))
                keep = verdict["keep"].to_numpy()
            alive &= keep
            self.hits[rule.stage] += int((~keep).sum())
        if new:
            self.digest.add(chunk.source, chunk.heads["id"], new)
        for file in written:
            file.result()
        self.places.append((chunk.source, chunk.number))
        self._step("judge", chunk.size)
        return alive

    def keep(
        self,
        source: str,
        number: int,
        heads: pl.DataFrame,
        alive: np.ndarray,
        dead: Mapping[str, pl.Series],
        ranked: Mapping[str, pl.DataFrame],
    ) -> pl.DataFrame:
        """Write what the cluster rules say of a chunk, and its kept rows; return (source, id, digest) of these."""
        new, ids = {}, ledger.strings(heads["id"])
        for rule in self._rules:
            if rule.cluster:
                living = ~heads["id"].is_in(dead[rule.key].implode()).to_numpy()
                new[rule.key] = verdict = judge_cluster(heads, living, ranked[rule.key])
                ledger.write_verdicts(ledger.verdicts_path(self._work, source, number, rule), ids, rule, verdict)
                keep = verdict["keep"].to_numpy()
                alive &= keep
                self.hits[rule.stage] += int((~keep).sum())
        self.digest.add(source, heads["id"], new)
        rows = heads.filter(pl.Series(alive))
        ledger.write_kept(self._work / "kept" / source / ledger.chunk_name(number), rows)
        self._step("keep", heads.height)
        return rows.select("source", "id", "digest")

    def _step(self, what: str, samples: int) -> None:
        self.done += samples
        self._progress(what, self.done, self._total)


def share(old: Path, new: Path) -> None:
    """Give a file of an earlier version a second name; copy it where the file system has no hard links."""
    new.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(old, new)
    except OSError:
        shutil.copyfile(old, new)


def _pool(book: Past | Scores, rule: Rule) -> pl.DataFrame:
    return pl.concat([c.value(rule) for c in book.chunks([rule.stage])])


def _settle_clusters(
    book: Past | Scores,
    written: ledger.Chunks,
    alive: Sequence[np.ndarray],
    ordered: Sequence[Rule],
    work: Path,
    progress: Progress,
) -> tuple[dict[str, pl.Series], dict[str, pl.DataFrame]]:
    """Decide every cluster rule in order, among the samples still alive, and write the cluster tables.

    Returns per cluster rule the ids that were dead before it, of those that are in one of its clusters, and the ranking.
    """
    cluster_rules = [r for r in ordered if r.cluster]
    found = {}
    for number, rule in enumerate(cluster_rules):
        progress("cluster", number, len(cluster_rules))
        found[rule.key] = book.clusters(rule)
    members = pl.concat([pl.Series("id", [], dtype=pl.String), *(f["id"] for f in found.values())]).unique()
    state = _states(book, written, alive, members, cluster_rules)
    dead: dict[str, pl.Series] = {}
    ranked: dict[str, pl.DataFrame] = {}
    for rule in cluster_rules:
        extra = [c for c in state.columns if c not in found[rule.key].columns or c == "id"]
        table = found[rule.key].join(state.select(extra), on="id", how="left")
        ranking = keepers(table, rule)
        dead[rule.key] = table.filter(~pl.col("alive"))["id"]
        ranked[rule.key] = ranking
        losers = ranking.filter(pl.col("rank") > 0)["id"]
        state = state.with_columns((pl.col("alive") & ~pl.col("id").is_in(losers.implode())).alias("alive"))
        out = ranking.join(table.select("id", *rule.prefer), on="id", how="left", maintain_order="left")
        write_table(work / "clusters" / f"{rule.stage}.parquet", out.select([*CLUSTER.names, *rule.prefer]).to_arrow())
        progress("cluster", len(dead), len(cluster_rules))
    return dead, ranked


def _states(
    book: Past | Scores,
    written: ledger.Chunks,
    alive: Sequence[np.ndarray],
    members: pl.Series,
    cluster_rules: Sequence[Rule],
) -> pl.DataFrame:
    """Return (id, alive) of the samples that are in a cluster, after all bounds; with preferred scores if they are not known."""
    wanted = sorted({p for r in cluster_rules for p in r.prefer}) if isinstance(book, Scores) else []
    empty: list[pl.Series] = [members.head(0), pl.Series("alive", [], dtype=pl.Boolean)]
    parts = [pl.DataFrame([*empty, *(pl.Series(w, [], dtype=pl.Float64) for w in wanted)])]
    stages = sorted({w.rpartition(".")[0] for w in wanted})
    scored = book.chunks(stages) if wanted and len(members) else itertools.repeat(None)
    for (source, number), keep, chunk in zip(written.places if len(members) else [], alive, scored, strict=False):
        frame = written.heads(source, number, ["id"]).with_columns(
            pl.Series("alive", keep), *(chunk.score(w).alias(w) for w in wanted if chunk is not None)
        )
        parts.append(frame.filter(pl.col("id").is_in(members.implode())))
    return pl.concat(parts)


def _record(
    recipe: Recipe,
    stages: Sequence[Bound],
    ordered: Sequence[Rule],
    sources: Mapping[str, SourceVersion],
    kept: Mapping[str, int],
    hits: Mapping[str, int],
    ledger_digest: str,
    content: pl.DataFrame,
    volatile: Mapping[str, Any],
) -> DatasetVersion:
    train = [sources[s.name] for s in recipe.members]
    rows, samples = sum(s.rows for s in train), sum(s.samples for s in train)
    counts = {
        "rows": rows,
        "rejected": sum(s.rejects for s in train),
        "dropped": samples - sum(kept.values()),
        "kept": sum(kept.values()),
    }
    if rows != counts["rejected"] + counts["dropped"] + counts["kept"] or content.height != counts["kept"]:
        msg = f"the books do not balance: {counts}, {content.height} kept rows; nothing was written"
        raise UserError(msg, hint="this is a bug in cuvee: please report it with the recipe")
    certificate = [
        {
            "filter": flt.name,
            "fingerprint": flt.fingerprint,
            "suite": [{"name": s.name, "digest": s.digest} for s in prepare.suite(stage, recipe, sources)],
            "hits": hits.get(flt.name, 0),
        }
        for stage, flt in stages
        if flt.build is not None and "match" in flt.scores  # others with an index look for what is alike, not for leaks
    ]
    fields: dict[str, Any] = {
        "name": recipe.name,
        "recipe": {
            "stages": _stages(stages),
            "rules": [r.to_json() for r in ordered],
        },
        "sources": tuple(
            {
                "name": s.name,
                "digest": s.digest,
                "samples": s.samples,
                "rejects": s.rejects,
                "kept": kept[s.name],
                "license": s.license,
            }
            for s in sorted(train, key=lambda s: s.name)
        ),
        "counts": counts,
        "ledger": ledger_digest,
        "content": columns_digest(content["id"].to_arrow(), content["digest"].to_arrow()),
        "decontamination": tuple(certificate),
    }
    seconds = round(time.monotonic() - volatile["started"], 3)
    extra = {k: v for k, v in volatile.items() if k != "started"} | {"seconds": seconds}
    return DatasetVersion(**fields, digest=json_digest(fields), volatile=extra)


def _stages(stages: Sequence[Bound]) -> list[dict[str, Any]]:
    return [
        {"filter": f.name, "version": f.version, "fingerprint": f.fingerprint, "params": _params(st)}
        for st, f in stages
    ]


def _params(stage: StageSpec) -> dict[str, Any]:
    """Return the parameters as written, without the paths of models and indexes: those are in the fingerprint."""
    return {k: base.plain(v) for k, v in stage.params.items() if not base.is_path(k)}

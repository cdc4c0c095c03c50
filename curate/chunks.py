"""What is judged, chunk by chunk: from stored scores, or from the ledger of an earlier version that differs in bounds alone."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import polars as pl

from catalog import ledger
from catalog.digests import json_digest
from catalog.errors import UserError
from catalog.judge import Rule
from catalog.schema import HEAD
from catalog.shards import read_table
from catalog.store import DatasetVersion, SourceVersion, Store
from curate import pools
from curate.dedup.find import Dedup
from curate.recipe import StageSpec
from filters import base

Bound = tuple[StageSpec, base.Filter]
"""A stage with its filter, model and index bound."""

SCOPE = ("stage", "fingerprint", "score", "cluster", "prefer", "sources", "tasks")


class Chunk(Protocol):
    """Up to 50,000 consecutive samples of one source: the unit of the ledger on disk."""

    @property
    def source(self) -> str:
        """Its source."""
        ...

    @property
    def number(self) -> int:
        """Its place among the chunks of the source."""
        ...

    @property
    def size(self) -> int:
        """How many samples."""
        ...

    @property
    def heads(self) -> pl.DataFrame:
        """The HEAD rows."""
        ...

    def value(self, rule: Rule) -> pl.DataFrame:
        """Return (id, source, task, value, match) of what the rule judges."""
        ...

    def score(self, name: str) -> pl.Series:
        """Return the score `<stage>.<score>` as float64."""
        ...


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A chunk read from stored scores."""

    source: str
    number: int
    heads: pl.DataFrame
    scores: Mapping[str, pl.DataFrame]  # by stage

    @property
    def size(self) -> int:
        """How many samples."""
        return self.heads.height

    def value(self, rule: Rule) -> pl.DataFrame:
        """Return (id, source, task, value, match) of what the rule judges."""
        scores = self.scores[rule.stage]
        match = scores["match"] if "match" in scores.columns else pl.lit(None, pl.String)
        return self.heads.select("id", "source", "task").with_columns(
            scores[rule.score].cast(pl.Float64).alias("value"), match.cast(pl.String).alias("match")
        )

    def score(self, name: str) -> pl.Series:
        """Return the score `<stage>.<score>` as float64."""
        stage, _, score = name.rpartition(".")
        return self.scores[stage][score].cast(pl.Float64)


@dataclass(frozen=True, kw_only=True)
class Scores:
    """The chunks of a run whose scores are all there."""

    store: Store
    stages: Mapping[str, Bound]  # by filter name
    sources: Sequence[SourceVersion]
    frozen: Sequence[SourceVersion] = ()

    def chunks(self, only: Sequence[str] | None = None) -> Iterator[Scored]:
        """Yield every chunk, with the scores of all stages or of those named."""
        names = [n for n in self.stages if only is None or n in only]
        for source in sorted(self.sources, key=lambda s: s.name):
            per = max(1, ledger.CHUNK // source.shard_rows)
            for number, first in enumerate(range(0, max(source.shards, 1), per)):
                shards = range(first, min(first + per, source.shards))
                heads = [self._heads(source, shard) for shard in shards]
                if heads:
                    scores = {
                        n: pl.concat([self._scores(n, source, k, h.height) for k, h in zip(shards, heads, strict=True)])
                        for n in names
                    }
                    yield Scored(source=source.name, number=number, heads=pl.concat(heads), scores=scores)

    def clusters(self, rule: Rule) -> pl.DataFrame:
        """Return (id, cluster, similarity, <preferred scores>) of what a deduplicating rule found."""
        return self.dedup(rule.stage).clusters()

    def dedup(self, name: str) -> Dedup:
        """Return the deduplicating stage `name`."""
        stage, flt = self.stages[name]
        return Dedup(
            store=self.store, stage=stage, flt=flt, stages=self.stages, members=self.sources, frozen=self.frozen
        )

    def _heads(self, source: SourceVersion, shard: int) -> pl.DataFrame:
        table = self.store.samples(source, shard, ["id", "digest", "source", "task"])
        frame = pl.DataFrame(pl.from_arrow(table)).with_columns(
            pl.lit(shard, pl.Int32).alias("shard"), pl.int_range(pl.len(), dtype=pl.Int32).alias("row")
        )
        return frame.select(HEAD.names)

    def _scores(self, name: str, source: SourceVersion, shard: int, samples: int) -> pl.DataFrame:
        """Read a shard's scores without signatures; nulls where the stage is limited to other sources.

        Such a source may have scores all the same, from another recipe: they are not looked at, or what a run gives would
        depend on what ran before it in this store.
        """
        stage, flt = self.stages[name]
        columns = [c for c in flt.scores if c == "match" or c in flt.numbers]
        if stage.sources and source.name not in stage.sources:
            every = [*columns, *flt.pooled]
            return pl.DataFrame({c: pl.Series([None], dtype=pl.Float64).new_from_index(0, samples) for c in every})
        path = self.store.score_path(flt.name, flt.fingerprint, source.digest, shard)
        frame = pl.DataFrame(pl.from_arrow(read_table(path, columns)))
        if columns and frame.height != samples:
            msg = f"`{path}` has scores of {frame.height:,} samples, the shard has {samples:,}: it was cut differently before"
            raise UserError(msg, hint=f"remove `{path.parent}` and run it again")
        if flt.pooled:
            there = pools.path(pools.folder(self.store, flt, stage, self.sources), source, shard)
            frame = frame.with_columns(pl.DataFrame(pl.from_arrow(read_table(there))))
        return frame.with_columns([pl.col(c).cast(pl.Float64) for c in frame.columns if c != "match"])


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A chunk read from a ledger. A rule that is judged again has lost its matches: see `Past.of`."""

    book: ledger.Ledger
    source: str
    number: int
    size: int

    @cached_property
    def heads(self) -> pl.DataFrame:
        """The HEAD rows."""
        return self.book.heads(self.source, self.number)

    def value(self, rule: Rule) -> pl.DataFrame:
        """Return (id, source, task, value, match) of what the rule judges; match is null."""
        value = self.book.verdicts(self.source, self.number, rule, ["value"])["value"]
        return self.heads.select("id", "source", "task").with_columns(value, pl.lit(None, pl.String).alias("match"))

    def score(self, name: str) -> pl.Series:
        """Not there: a ledger's cluster tables hold what the cluster rules prefer."""
        raise KeyError(name)


@dataclass(frozen=True, kw_only=True)
class Past:
    """An earlier version of the same dataset: same sources, stages and rules, other bounds."""

    book: ledger.Ledger
    same: frozenset[str]  # keys of the bounds that are as they were: their verdict files are shared

    @classmethod
    def of(
        cls,
        store: Store,
        name: str,
        identity: str,
        rules: Sequence[Rule],
        stages: Mapping[str, Bound],
        cuts: Mapping[str, int],
    ) -> "Past | None":
        """Return the latest version that differs from what is wanted in bounds alone, if there is one that is whole."""
        for version in reversed([d for d in store.datasets() if d.name == name]):
            if identity_of(version) != identity:
                continue
            before = {r.key: r for r in ledger.rules_of(version)}
            if [_scope(r) for r in before.values()] != [_scope(r) for r in rules]:
                continue
            same = frozenset(r.key for r in rules if before[r.key] == r and not r.cluster)
            if any("match" in stages[r.stage][1].scores for r in rules if r.key not in same and not r.cluster):
                continue  # a kept sample's match is not in the ledger, and may be wanted now
            if ledger.whole(store, version, cuts):
                return cls(book=ledger.Ledger(store, version), same=same)
        return None

    def chunks(self, only: Sequence[str] | None = None) -> Iterator[Judged]:
        """Yield every chunk."""
        for source, number, size in self.book.sizes():
            yield Judged(book=self.book, source=source, number=number, size=size)

    def clusters(self, rule: Rule) -> pl.DataFrame:
        """Return (id, cluster, similarity, <preferred scores>) of what a deduplicating rule found."""
        return self.book.clusters(rule).drop("rank", "keeper", "reason")

    def file(self, chunk: Chunk, rule: Rule) -> Path:
        """Return the file of a rule's verdicts on a chunk."""
        return ledger.verdicts_path(self.book.folder, chunk.source, chunk.number, rule)


def identity_of(version: DatasetVersion) -> str:
    """Return what two versions that differ in bounds alone have in common: stages with parameters, and sources."""
    return identity(version.recipe["stages"], [(s["name"], s["digest"]) for s in version.sources])


def identity(stages: Sequence[Mapping[str, object]], sources: Sequence[tuple[str, str]]) -> str:
    """Return the identity of a dataset version's inputs."""
    return json_digest({"stages": list(stages), "sources": sorted([list(s) for s in sources])})


def _scope(rule: Rule) -> tuple[object, ...]:
    return tuple(getattr(rule, name) for name in SCOPE)

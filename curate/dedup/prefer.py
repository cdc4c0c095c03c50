"""The criteria of `curate/dedup/criteria.py` as numbers: one per sample, the higher the more it is preferred, null last."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from catalog.shards import read_table
from catalog.store import SourceVersion, Store
from curate import pools
from curate.dedup.criteria import FROZEN, LISTED
from curate.recipe import StageSpec
from filters import base


@dataclass(frozen=True, kw_only=True)
class Values:
    """The criteria of samples as numbers."""

    store: Store
    stages: Mapping[str, tuple[StageSpec, base.Filter]]
    members: Sequence[SourceVersion]
    frozen: frozenset[str]

    def of(self, source: SourceVersion, shard: int, name: str) -> pl.Series:
        """Return one number (float64) per sample of a shard: the higher, the more it is preferred; null comes last."""
        kind, _, listed = name.partition(": ")
        if name == FROZEN:
            return self._same(source, shard, 1.0 if source.name in self.frozen else 0.0)
        if kind in LISTED:
            order = {value: -float(k) for k, value in enumerate(listed.split(", "))}
            column = pl.Series(self.store.samples(source, shard, [kind])[kind].cast(pa.string()), dtype=pl.String)
            return column.replace_strict(order, default=None, return_dtype=pl.Float64)
        if name == "resolution":
            media = self.store.samples(source, shard, ["media"])["media"].combine_chunks()
            return _sum(media, np.nan_to_num(_numbers(media, "width") * _numbers(media, "height")))
        if name == "length":
            messages = self.store.samples(source, shard, ["messages"])["messages"].combine_chunks()
            sizes = pc.utf8_length(messages.flatten().field("content"))
            return _sum(messages, np.asarray(sizes.cast(pa.float64()).fill_null(0)))
        stage, _, score = name.rpartition(".")
        spec, flt = self.stages[stage]
        if source.name in self.frozen or (spec.sources and source.name not in spec.sources):
            return self._same(source, shard, None)
        if score in flt.pooled:
            path = pools.path(pools.folder(self.store, flt, spec, self.members), source, shard)
        else:
            path = self.store.score_path(flt.name, flt.fingerprint, source.digest, shard)
        return pl.Series(read_table(path, [score])[score]).cast(pl.Float64)

    def _same(self, source: SourceVersion, shard: int, value: float | None) -> pl.Series:
        samples = self.store.samples(source, shard, ["id"]).num_rows
        return pl.Series([value], dtype=pl.Float64).new_from_index(0, samples)


def _numbers(media: pa.ListArray, field: str) -> Any:
    return media.flatten().field(field).cast(pa.float64()).to_numpy(zero_copy_only=False)


def _sum(lists: pa.ListArray, flat: Any) -> pl.Series:
    """Return the sum of each list's numbers; null where a list is empty."""
    count = np.asarray(pc.fill_null(pc.list_value_length(lists), 0)).astype(np.int64)
    ends = np.concatenate([[0.0], np.cumsum(flat)])
    at = np.concatenate([[0], np.cumsum(count)])
    total = ends[at[1:]] - ends[at[:-1]]
    return pl.Series(total, dtype=pl.Float64).set(pl.Series(count == 0), None)

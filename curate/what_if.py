"""What other bounds would keep, also on scores that the recipe leaves unbound: those are read from the stored scores.

The ledger holds the values of bounded scores, and `catalog.ledger.what_if` needs nothing else. Any other score of a filter that
has looked at the dataset's sources lies in the store, row-aligned with the samples, and a bound on it can be tried as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from catalog import ledger
from catalog.errors import UserError, nearest
from catalog.judge import Rule, applies
from catalog.shards import read_table, shard_name
from catalog.store import DatasetVersion, SourceVersion, Store
from curate import pools
from filters import base


def what_if(store: Store, dataset: DatasetVersion, settings: Sequence[str]) -> dict[str, Any]:
    """Return the counts that other bounds would give (see `catalog.ledger.what_if`), and `notes` on what was assumed."""
    book = ledger.Ledger(store, dataset)
    found: dict[str, _Score] = {}
    for setting in settings:
        name = setting.partition("=")[0].strip().rpartition(".")[0]
        if name and not any(name in (r.key, r.stage) for r in book.rules):
            score = _score(store, dataset, book, name)
            found[score.rule.key] = score
    out = ledger.what_if(store, dataset, settings, unbound=[(s.rule, s.value) for s in found.values()])
    return out | {"notes": [n for s in found.values() for n in s.notes]}


@dataclass(frozen=True, kw_only=True)
class _Score:
    """One score of every sample of a dataset version, and a rule without bounds for it."""

    rule: Rule
    value: pl.Series
    notes: tuple[str, ...]


def _score(store: Store, dataset: DatasetVersion, book: ledger.Ledger, name: str) -> _Score:
    flt, score = _named(dataset, book, name)
    sources = [store.source(f"{s['name']}@{s['digest']}") for s in dataset.sources]
    like = next((r for r in book.rules if r.stage == flt.name), None)  # a stage limits all its scores alike
    looked = [s for s in sources if not (like and like.sources) or s.name in like.sources]
    tasks = like.tasks if like else ()
    fingerprint = _fingerprint(store, dataset, flt, score, looked)
    rule = Rule(stage=flt.name, fingerprint=fingerprint, score=score, sources=like.sources if like else (), tasks=tasks)
    here = {s.name: _files(store, rule, flt, s, looked) for s in looked}
    without = [s.name for s in looked if s.samples and not all(p.exists() for p in here[s.name])]
    if len(without) == len([s for s in looked if s.samples]) and without:
        raise _not_there(flt, score, without, pooled=score in flt.pooled)
    parts = [pl.Series("value", [], dtype=pl.Float64)]
    for source in sources:
        if source.name in without or source.name not in here:
            parts.append(pl.Series("value", [None], dtype=pl.Float64).new_from_index(0, source.samples))
            continue
        found = [pl.DataFrame(pl.from_arrow(read_table(p, [score])))[score] for p in here[source.name]]
        parts += [f.cast(pl.Float64).alias("value") for f in found]
    value = pl.concat(parts)
    if tasks:
        heads = pl.DataFrame({"source": book.sources_of(), "task": book.tasks_of(), "value": value})
        value = heads.select(pl.when(pl.Series(applies(heads, rule))).then(pl.col("value")))["value"]
    notes = [f"{rule.key} was not scored on {', '.join(without)}: nothing is dropped there"] if without else []
    return _Score(rule=rule, value=value, notes=tuple(notes))


def _named(dataset: DatasetVersion, book: ledger.Ledger, name: str) -> tuple[base.Filter, str]:
    """Return the filter and the score that `<stage>.<score>`, or `<stage>` where it has one only, names."""
    stage, _, score = name.partition(".")
    if stage not in base.names():
        keys = [r.key for r in book.rules] + [str(s["filter"]) for s in dataset.recipe["stages"]] + base.names()
        msg = f"`{name}` names no bound of dataset `{dataset.ref}` and no filter{nearest(name, keys)}"
        raise UserError(msg, hint="`cuvee filters -k WORD` finds filters", usage=True)
    flt = base.load(stage)
    if flt.cluster is not None:
        msg = f"`{stage}` keeps one sample per cluster and has no bound to change"
        raise UserError(msg, usage=True)
    numbers = flt.numbers
    if not score and (len(numbers) == 1 or stage in numbers):
        score = stage if stage in numbers else numbers[0]
    if score not in numbers:
        said = f"filter `{stage}` has no score `{score}`" if score else f"`{stage}` names several scores"
        msg = f"{said}{nearest(score, numbers)}" if score else f"{said}: {', '.join(f'`{stage}.{n}`' for n in numbers)}"
        raise UserError(msg, usage=True)
    return flt, score


def _fingerprint(
    store: Store, dataset: DatasetVersion, flt: base.Filter, score: str, sources: Sequence[SourceVersion]
) -> str:
    """Return with which parameters the filter scored: those of the recipe, or the only ones that the store has."""
    for stage in dataset.recipe["stages"]:
        if stage["filter"] == flt.name:
            return str(stage["fingerprint"])
    folders = sorted((store.root / "scores").glob(f"{flt.name}@*"))
    prints = [f.name.partition("@")[2] for f in folders]
    whole = [
        p for p in prints if any(all(f.exists() for f in _shards(store, flt.name, p, s)) for s in sources if s.shards)
    ]
    if len(whole) > 1:
        msg = f"`{flt.name}` is no stage of dataset `{dataset.ref}`, and the store has its scores with {len(whole)} settings"
        hint = f"add `- {{filter: {flt.name}, bounds: {{}}}}` to the recipe and run it: stored scores are used"
        raise UserError(msg, hint=hint)
    if not whole:
        raise _not_there(flt, score, [s.name for s in sources], pooled=score in flt.pooled)
    return whole[0]


def _not_there(flt: base.Filter, score: str, sources: Sequence[str], *, pooled: bool) -> UserError:
    what = "pooled over these sources" if pooled else "scored"
    shown = ", ".join(f"`{s}`" for s in sources)
    params = f", params: {{{', '.join(f'{p}: ...' for p in flt.required)}}}" if flt.required else ""
    stage = f"- {{filter: {flt.name}{params}, bounds: {{}}}}"
    return UserError(
        f"`{flt.name}.{score}` is not {what} in this store: no stored scores of it for {shown}",
        hint=f"add `{stage}` to the recipe's stages and run it: that scores and drops nothing",
    )


def _files(
    store: Store, rule: Rule, flt: base.Filter, source: SourceVersion, sources: Sequence[SourceVersion]
) -> list[Path]:
    if rule.score not in flt.pooled:
        return _shards(store, flt.name, rule.fingerprint, source)
    where = pools.named(store, f"{flt.name}@{rule.fingerprint}", sorted(sources, key=lambda s: s.name), rule.tasks)
    return [pools.path(where, source, n) for n in range(source.shards)]


def _shards(store: Store, name: str, fingerprint: str, source: SourceVersion) -> list[Path]:
    folder = store.score_path(name, fingerprint, source.digest, 0).parent
    return [folder / shard_name(n, "parquet") for n in range(source.shards)]

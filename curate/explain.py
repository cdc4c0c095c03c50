"""Filters explained: what one is, and what its scores look like on sources that are in the store.

Scores that are stored are used. What is not stored is scored here, for a sample of rows spread evenly over the sources, and
not written: a score file holds a whole shard, and a look at data should leave no trace in a store.
"""

import itertools
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import yaml

from catalog.errors import UserError, nearest
from catalog.histogram import histogram
from catalog.shards import MediaReader, read_table
from catalog.store import SourceVersion, Store
from curate import uses
from curate.dedup.find import FOUND, canonical
from curate.score import score_table
from curate.why import text
from filters import base

Array = npt.NDArray[Any]
SAMPLE_ROWS = 2000
PIECE = 128  # rows scored between two reports of progress
BINS = 60
NEAR = 3  # samples shown on each side of a bound, or at each end
TEXT = 200  # characters of their text
FEW = 5  # filters that are named for a word
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
_SOURCE = re.compile(
    r"https?://[^\s)>\]]+[\w/]|arXiv[: ]\d{4}\.\d{4,5}|[A-Z][\w-]+(?: (?:and [A-Z][\w-]+|et al\.))? (?:19|20)\d\d\b"
)

Progress = Callable[[str, int, int], None]


# -- what a filter is --------------------------------------------------------------------------------------------------


def summary(flt: base.Filter) -> str:
    """Return the first sentence of a filter's docstring."""
    first = " ".join(flt.doc.split("\n\n")[0].split())
    return re.split(r"(?<=[.!?])\s+(?=[A-Z`])", first)[0]


def bounds_of(flt: base.Filter) -> str:
    """Return the published bounds in one line."""
    out = []
    for score, (low, high) in flt.bounds.items():
        if low is not None and high is not None:
            out.append(f"{score} {_plain(low)}..{_plain(high)}" if low != high else f"{score} = {_plain(low)}")
        else:
            out.append(f"{score} >= {_plain(low)}" if high is None else f"{score} <= {_plain(high)}")
    return "; ".join(out) or ("one per cluster" if flt.cluster else "-")


def listing(words: Sequence[str] = ()) -> list[base.Filter]:
    """Return the filters in whose name, scores, first sentence or cited sources all of `words` stand, in any case.

    Where there is none, those in whose whole docstring they do.
    """
    every = list(base.every())
    wanted = [w.lower() for w in words]

    def heads(flt: base.Filter) -> str:
        return " ".join([flt.name, *flt.scores, *flt.pooled, summary(flt), *_SOURCE.findall(flt.doc)]).lower()

    found = [f for f in every if all(w in heads(f) for w in wanted)]
    return found or [f for f in every if all(w in f"{f.name} {f.doc}".lower() for w in wanted)]


def readable(doc: str, width: int = 100) -> str:
    """Return a docstring with its paragraphs and lists wrapped for a terminal; tables stay as they are."""
    out = []
    for block in doc.split("\n\n"):
        lines = block.split("\n")
        items = [n for n, line in enumerate(lines) if re.match(r"\s*(?:[-*]|\d+\.) ", line)]
        if not items and any(re.match(r"\S+\s{2,}\S|\s{4,}\S", line) for line in lines):
            out.append(block)
            continue
        parts = []
        for a, b in itertools.pairwise(sorted({0, *items, len(lines)})):
            text = " ".join(" ".join(lines[a:b]).split())
            indent = "  " if a in items else ""
            parts.append(
                textwrap.fill(text, width, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False)
            )
        out.append("\n".join(parts))
    return "\n\n".join(out).strip()


def _plain(value: float | None) -> str:
    return f"{value:,.10g}" if value is not None else ""


def describe(flt: base.Filter) -> dict[str, Any]:
    """Return everything that is known of a filter without looking at data."""
    defaults = base.load(flt.name).params
    return {
        "filter": flt.name,
        "summary": summary(flt),
        "looks_at": uses.looks_at(flt),
        "does": uses.does(flt),
        "version": flt.version,
        "scores": [
            {"score": s, "type": str(t), "min": flt.bounds.get(s, (None, None))[0],
             "max": flt.bounds.get(s, (None, None))[1], "kind": _kind(flt, s)}
            for s, t in {**flt.scores, **flt.pooled}.items()
        ],
        "parameters": [{"name": k, "default": v, "value": flt.params[k]} for k, v in defaults.items()],
        "sources": list(dict.fromkeys(_SOURCE.findall(flt.doc))),
        "doc": flt.doc,
    }  # fmt: skip


def _kind(flt: base.Filter, score: str) -> str:
    if score in flt.pooled:
        return "pooled"
    return "score" if score in flt.numbers else "match" if score == "match" else "signature"


def settings(given: Sequence[str]) -> dict[str, Any]:
    """Return {name: value} of settings `name=value`, values as YAML reads them."""
    out: dict[str, Any] = {}
    for setting in given:
        key, eq, text = setting.partition("=")
        if not eq:
            msg = f"cannot read `{setting}`: expected `<parameter>=<value>`"
            raise UserError(msg, usage=True)
        try:
            out[key.strip()] = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError):  # ValueError: `2024-13-45`, which reads like a date
            out[key.strip()] = text
    return out


def bind(name: str, params: Mapping[str, Any]) -> base.Filter:
    """Return a filter with parameters bound, after a look at their kinds; for a name that is none, say which are about it."""
    if name not in base.names():
        near, about = nearest(name, base.names()), [f"`{f.name}`" for f in listing([name])][:FEW]
        msg = f"no filter named `{name}`{near}"
        hint = (
            f"about `{name}` in its docstring: {', '.join(about)}" if about else "`cuvee filters -k WORD` searches them"
        )
        raise UserError(msg, hint=hint, usage=True)
    flt = base.load(name, params)
    flt.check(params, f"filter `{name}`")
    return flt


def ready(flt: base.Filter) -> None:
    """Raise `UserError` where a filter cannot score because a model or an index is not named."""
    if flt.build is not None and flt.params.get("index") is None:
        what = "evaluation sets" if uses.decontaminates(flt) else "a target set"
        msg = f"filter `{flt.name}` needs an index of {what}"
        raise UserError(
            msg, hint="a run of a recipe makes it under `STORE/indexes`; `--params index=FILE` names it", usage=True
        )
    if flt.needs_model and "model" in flt.params and flt.params["model"] is None:
        msg = f"filter `{flt.name}` scores nothing without a model"
        raise UserError(
            msg,
            hint="`--params model=...` names a folder, a file or a model of open_clip (`ViT-B-32/openai`)",
            usage=True,
        )
    for key, value in flt.params.items():
        if base.is_path(key) and value is not None:
            base.path_digest(Path(value))


# -- scores of stored sources ------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Scores of some or all samples of stored sources, row-aligned with `heads`."""

    heads: pl.DataFrame  # id, source, task, version (which of the sources), shard, row
    scores: Mapping[str, pl.DataFrame]  # by filter; one that could not score is missing
    failed: Mapping[str, str]  # why not, by filter
    samples: int  # in the sources
    stored: Mapping[str, bool]  # by filter: all its scores were there already

    @property
    def whole(self) -> bool:
        """Whether every sample of the sources is in it."""
        return self.heads.height == self.samples


def measure(
    store: Store,
    sources: Sequence[SourceVersion],
    filters: Sequence[base.Filter],
    *,
    rows: int,
    progress: Progress,
    strict: bool = True,
) -> Measured:
    """Return the scores of up to `rows` samples (0: all), as many of each source; of all where all are stored.

    With `strict` false a filter that raises `UserError` at the first samples is left out, and the reason kept.
    """
    heads = _heads(store, sources)
    total = heads.height
    shards = [(k, n) for k, s in enumerate(sources) for n in range(s.shards)]
    there = {f.name: all(_path(store, f, sources[k], n).exists() for k, n in shards) for f in filters}
    if rows and total > rows and not all(there.values()):
        heads = heads[_spread(heads["version"].to_numpy(), rows)]
    failed = {} if strict else _failing(store, sources, heads, [f for f in filters if not there[f.name]])
    filters = [f for f in filters if f.name not in failed]
    parts: dict[str, list[pl.DataFrame]] = {f.name: [] for f in filters}
    done = 0
    for (version, number), head in heads.group_by(["version", "shard"], maintain_order=True):
        source, shard, at = sources[int(version)], int(number), head["row"].to_list()
        missing = []
        for flt in filters:
            path = _path(store, flt, source, shard)
            if path.exists():
                parts[flt.name].append(pl.DataFrame(pl.from_arrow(read_table(path).take(at))))
            else:
                missing.append(flt)
        for start in range(0, len(at), PIECE) if missing else ():
            for flt, frame in zip(
                missing, _score(store, source, shard, at[start : start + PIECE], missing), strict=True
            ):
                parts[flt.name].append(frame)
            progress("score", done + min(start + PIECE, len(at)), heads.height)
        done += len(at)
    scores = {f.name: _pooled(f, heads, _concat(f, parts[f.name]), whole=heads.height == total) for f in filters}
    return Measured(heads=heads, scores=scores, failed=failed, samples=total, stored=there)


def _heads(store: Store, sources: Sequence[SourceVersion]) -> pl.DataFrame:
    schema = {"id": pl.String, "source": pl.String, "task": pl.String}
    parts = [pl.DataFrame(schema=schema | {"version": pl.Int64, "shard": pl.Int64, "row": pl.Int64})]
    for k, source in enumerate(sources):
        for n in range(source.shards):
            frame = pl.DataFrame(pl.from_arrow(store.samples(source, n, list(schema))))
            places = [pl.lit(k, pl.Int64).alias("version"), pl.lit(n, pl.Int64).alias("shard")]
            parts.append(frame.with_columns(*places, pl.int_range(pl.len(), dtype=pl.Int64).alias("row")))
    return pl.concat(parts)


def _spread(version: Array, rows: int) -> list[int]:
    """Return up to `rows` rows, spread evenly over each source; what a small source has too little of, others get."""
    out: list[Array] = []
    of = [np.flatnonzero(version == v) for v in np.unique(version)]
    for left, mine in zip(range(len(of), 0, -1), sorted(of, key=len), strict=True):
        n = min(len(mine), max(1, (rows - sum(map(len, out))) // left))
        out.append(mine[np.linspace(0, len(mine) - 1, n).round().astype(np.int64)])
    return [int(i) for i in np.unique(np.concatenate(out))]


def _failing(
    store: Store, sources: Sequence[SourceVersion], heads: pl.DataFrame, filters: Sequence[base.Filter]
) -> dict[str, str]:
    """Return the filters that cannot score the first sample, with the reason."""
    out = {}
    for flt in filters if heads.height else ():
        first = heads.row(0, named=True)
        try:
            ready(flt)
            _score(store, sources[first["version"]], first["shard"], [first["row"]], [flt])
        except UserError as e:
            out[flt.name] = e.message
    return out


def _path(store: Store, flt: base.Filter, source: SourceVersion, shard: int) -> Path:
    return store.score_path(flt.name, flt.fingerprint, source.digest, shard)


def _score(
    store: Store, source: SourceVersion, shard: int, rows: Sequence[int], filters: Sequence[base.Filter]
) -> list[pl.DataFrame]:
    table = store.samples(source, shard).take(rows)
    with MediaReader(store.source_dir(source.name, source.digest)) as reader:
        return [pl.DataFrame(pl.from_arrow(t)) for t in score_table(table, filters, reader)]


def _concat(flt: base.Filter, parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat([pl.DataFrame(pl.from_arrow(pa.schema(list(flt.scores.items())).empty_table())), *parts])


def _pooled(flt: base.Filter, heads: pl.DataFrame, scores: pl.DataFrame, *, whole: bool) -> pl.DataFrame:
    """Add the pooled scores, which only the scores of all samples give: of a part they would be other numbers."""
    if not flt.pooled or flt.pool is None or not whole:
        return scores
    schema = pa.schema([("id", pa.string()), ("source", pa.string()), ("task", pa.string()), *flt.scores.items()])
    found = flt.pool(
        pl.concat([heads.select("id", "source", "task"), scores], how="horizontal").to_arrow().cast(schema)
    )
    pooled = heads.select("id").join(pl.DataFrame(pl.from_arrow(found)), on="id", how="left", maintain_order="left")
    return pl.concat([scores, pooled.drop("id")], how="horizontal")


# -- what they look like -----------------------------------------------------------------------------------------------


def numbers(measured: Measured, flt: base.Filter, score: str) -> tuple[Array, Array]:
    """Return the values of a score as float64 and which samples have one (NaN counts, null does not)."""
    column = measured.scores[flt.name][score]
    return column.cast(pl.Float64).fill_null(np.nan).to_numpy(), column.is_not_null().to_numpy()


def inside(values: Array, low: float | None, high: float | None) -> Array:
    """Return which values a bound keeps; NaN is dropped."""
    keep = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return keep & (values >= (-np.inf if low is None else low)) & (values <= (np.inf if high is None else high))


def explain(
    store: Store, sources: Sequence[SourceVersion], flt: base.Filter, *, rows: int, progress: Progress
) -> dict[str, Any]:
    """Return the distribution of every score of a filter on stored sources, and the samples next to its bounds."""
    ready(flt)
    measured = measure(store, sources, [flt], rows=rows, progress=progress)
    out: dict[str, Any] = {
        "sources": [s.ref for s in sources],
        "samples": measured.samples,
        "looked_at": measured.heads.height,
        "stored": measured.stored[flt.name],
        "scores": [
            distribution(store, sources, measured, flt, score)
            for score in flt.numbers
            if score in measured.scores[flt.name].columns
        ],
        "not_pooled": [s for s in flt.pooled if s not in measured.scores[flt.name].columns],
    }
    if flt.cluster is not None:
        out["clusters"] = _clusters(measured, flt)
    return out


def distribution(
    store: Store, sources: Sequence[SourceVersion], measured: Measured, flt: base.Filter, score: str
) -> dict[str, Any]:
    """Return counts, quantiles, histogram and the samples on both sides of the bound, for one score."""
    values, has = numbers(measured, flt, score)
    low, high = flt.bounds.get(score, (None, None))
    keep = inside(values, low, high)
    broken = has & np.isnan(values)
    fits = has & np.isfinite(values)
    bounds = [b for b in (low, high) if b is not None]
    drawn = histogram(values[fits], keep[fits], bounds, BINS)
    quantiles = np.quantile(values[fits], QUANTILES, method="inverted_cdf").tolist() if fits.any() else []
    return {
        "score": score,
        "min": low,
        "max": high,
        "null": int((~has).sum()),
        "nan": int(broken.sum()),
        "scored": int(has.sum()),
        "dropped": int((has & ~keep).sum()),
        "below": int((fits & (values < low)).sum()) if low is not None else 0,
        "above": int((fits & (values > high)).sum()) if high is not None else 0,
        "quantiles": {f"{q:g}": v for q, v in zip(QUANTILES, quantiles, strict=False)},
        "histogram": drawn.to_json() if drawn else None,
        "near": [
            {"side": side, "bound": b, **_near(store, sources, measured, values, np.flatnonzero(fits), side, b)}
            for side, b in (("min", low), ("max", high))
            if b is not None and fits.any()
        ],
        "ends": {} if bounds else _ends(store, sources, measured, values, np.flatnonzero(fits)),
    }


def _near(
    store: Store,
    sources: Sequence[SourceVersion],
    measured: Measured,
    values: Array,
    rows: Array,
    side: str,
    bound: float,
) -> dict[str, Any]:
    """Return the samples whose scores are next to a bound: `kept` and `dropped` by it, nearest first."""
    over = values[rows] - bound
    good = over >= 0 if side == "min" else over <= 0
    out = {}
    for name, half in (("kept", good), ("dropped", ~good)):
        mine = rows[half]
        nearest = mine[np.argsort(np.abs(values[mine] - bound), kind="stable")[:NEAR]]
        out[name] = [_card(store, sources, measured, values, int(i)) for i in nearest]
    return out


def _ends(
    store: Store, sources: Sequence[SourceVersion], measured: Measured, values: Array, rows: Array
) -> dict[str, Any]:
    """Return the samples with the `lowest` and the `highest` values of a score without bounds; none where all are equal."""
    order = rows[np.argsort(values[rows], kind="stable")]
    if not len(order) or values[order[0]] == values[order[-1]]:
        return {}
    high = order[: -NEAR - 1 : -1]
    ends: dict[str, Any] = {"lowest": [i for i in order[:NEAR] if i not in high], "highest": high}
    return {end: [_card(store, sources, measured, values, int(i)) for i in at] for end, at in ends.items()}


def _card(store: Store, sources: Sequence[SourceVersion], measured: Measured, values: Array, at: int) -> dict[str, Any]:
    head = measured.heads.row(at, named=True)
    messages = store.samples(sources[head["version"]], head["shard"], ["messages"])["messages"][head["row"]].as_py()
    return {"id": head["id"], "value": float(values[at]), "text": text(messages or [], TEXT)}


def _clusters(measured: Measured, flt: base.Filter) -> dict[str, int]:
    """Return how many of the samples that were looked at are duplicates of another one among them."""
    assert flt.cluster is not None
    table = pl.concat([measured.heads.select("id"), measured.scores[flt.name]], how="horizontal").drop_nulls(
        next(iter(flt.scores))
    )
    schema = pa.schema([("id", pa.string()), *flt.scores.items()])
    found = canonical(
        pl.DataFrame(pl.from_arrow(flt.cluster(table.to_arrow().cast(schema)).select(FOUND.names).cast(FOUND)))
    )
    groups = len(set(found["cluster"].to_pylist()))
    return {
        "signatures": table.height,
        "clusters": groups,
        "in_clusters": found.num_rows,
        "dropped": found.num_rows - groups,
    }

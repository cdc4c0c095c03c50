"""A recipe drafted from what stored sources look like: every bound a quantile, beside the published one and a histogram.

Data-Juicer's refined recipes bound a score at its mean plus and minus k standard deviations, which is no statement about how
much is dropped: scores are skewed. Here the share to drop is said, per score, and taken from the sides that the published bound
has: from one of them, or half from each. Rounding goes outwards, and of equal scores all are kept: never more is dropped.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

from catalog.errors import UserError
from catalog.histogram import brief, draw, histogram
from catalog.judge import plain
from catalog.store import SHORT, SourceVersion, Store
from curate import explain, uses
from curate.ingest import MAX_PIXELS, STORED
from curate.sources.base import names as formats
from curate.sources.base import parameters
from filters import base

BINS, HEIGHT = 64, 4
_PATHS = ("path", "images")


@dataclass(frozen=True, kw_only=True)
class Draft:
    """The text of a recipe, and what is to be known about it."""

    text: str
    data: str  # the folder that its paths start at; empty where they are absolute
    stages: int
    left_out: dict[str, str]  # filter: why
    looked_at: int
    dropped: int  # of these, by all bounds together


def draft(
    store: Store,
    sources: Sequence[SourceVersion],
    *,
    name: str,
    filters: Sequence[str] = (),
    params: Mapping[str, Mapping[str, Any]] | None = None,
    drop: float = 0.05,
    rows: int = explain.SAMPLE_ROWS,
    progress: explain.Progress,
) -> Draft:
    """Return a recipe over `sources` whose bounds drop a share of at most `drop` per score.

    Without `filters` every filter is tried that runs no neural network; those that apply to no sample are left out. `params`
    are parameters by filter.
    """
    if not 0 < drop < 1:
        msg = f"`drop` must be between 0 and 1, got `{drop}`"
        raise UserError(msg, usage=True)
    _distinct(sources)
    role = "train" if any(s.role == "train" for s in sources) else sources[0].role
    members = [s for s in sources if s.role == role]
    against = [s for s in sources if s.role == "eval"] if role != "eval" else []
    given = params or {}
    loaded = [explain.bind(n, given.get(n, {})) for n in filters or base.names()]
    for other in given:
        explain.bind(other, given[other])  # of a filter that is not among `filters`: a wrong name is told all the same
    networks = [f.name for f in loaded if f.needs_model and not filters and f.name not in given]
    scoring = [f for f in loaded if f.build is None and f.name not in networks]
    for flt in scoring if filters else ():
        explain.ready(flt)
    measured = explain.measure(store, members, scoring, rows=rows, progress=progress, strict=bool(filters))
    left_out = dict.fromkeys(networks, "a neural network: `--filters` or `--params` names it")
    left_out |= measured.failed
    parts: list[str] = []
    alive = np.ones(measured.heads.height, bool)
    for flt in [f for f in scoring if f.cluster is None] + [f for f in scoring if f.cluster is not None]:
        if flt.name not in left_out:
            lines, keep = _stage(measured, flt, drop, given.get(flt.name, {}))
            alive &= keep
            parts += lines
            if not lines:
                left_out[flt.name] = _why_not(measured, flt)
    for flt in [f for f in loaded if f.build is not None]:
        suite = [s.name for s in against if not flt.needs_images or s.media.get("image")]
        if not uses.decontaminates(flt):
            left_out[flt.name] = "a target set: a stage names one in `against`"
        elif suite:
            parts += [f"  - {flt.name}   # against {', '.join(suite)}"]
        else:
            left_out[flt.name] = f"no source has role `eval`{' and images' if flt.needs_images else ''}"
    data, entries = _entries(sources)
    rows_of = max((s.shard_rows for s in sources), key=[s.shard_rows for s in sources].count)
    head = _head(measured, alive, drop, data, sources, rows_of)
    body = [f"name: {name}", f"shard_rows: {rows_of}"] + ([f"role: {role}"] if role != "train" else [])
    body += ["sources:", *(f"  - {_flow(e)}" for e in entries), "stages:" if parts else "stages: []", *parts]
    return Draft(
        text="\n".join([*head, *body]) + "\n",
        data=data,
        stages=sum(p.startswith("  - ") for p in parts),
        left_out=left_out,
        looked_at=measured.heads.height,
        dropped=int((~alive).sum()),
    )


def named(out: Path | None) -> str:
    """Return the name of a recipe after the file that it is written to."""
    stem = out.stem if out is not None else "draft"
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in stem)


def _distinct(sources: Sequence[SourceVersion]) -> None:
    names = [s.name for s in sources]
    for n in names:
        if names.count(n) > 1:
            msg = f"source `{n}` is given twice: a recipe has one version of a source"
            raise UserError(msg, usage=True)
    if not sources:
        msg = "a recipe needs a source"
        raise UserError(msg, usage=True)


# -- sources -----------------------------------------------------------------------------------------------------------


def _entries(sources: Sequence[SourceVersion]) -> tuple[str, list[dict[str, Any]]]:
    """Return the folder that paths start at and the sources as a recipe has them; absolute paths where folders differ."""
    read = [s for s in sources if s.spec["format"] in formats()]
    folders = {str(s.volatile.get("data", "")) for s in read}
    data = folders.pop() if len(folders) == 1 else ""
    out = []
    for s in sources:
        role = {"role": s.role} if s.role != "train" else {}
        if s.spec["format"] not in formats():  # made from another version, by masking
            out.append({"name": s.name, "format": STORED, "version": s.digest[:SHORT], **role})
            continue
        own = {k: v for k, v in s.spec.items() if k in parameters(str(s.spec["format"]))}
        if not data:
            own |= {k: _absolute(v, str(s.volatile.get("data", ""))) for k, v in own.items() if k in _PATHS and v}
        entry = {
            "name": s.name,
            "format": s.spec["format"],
            **own,
            "task": s.spec.get("task", "other"),
            "license": s.license,
        }
        out.append(entry | role)
    return data, out


def _absolute(path: Any, data: str) -> Any:
    if isinstance(path, list | tuple):
        return [_absolute(p, data) for p in path]
    return str(Path(data) / path)


def _flow(entry: dict[str, Any]) -> str:
    text = yaml.safe_dump(entry, default_flow_style=True, sort_keys=False, width=10**6, allow_unicode=True)
    return str(text).strip()


def _head(
    measured: explain.Measured, alive: Any, drop: float, data: str, sources: Sequence[SourceVersion], shard_rows: int
) -> list[str]:
    n = measured.heads.height
    of = "all" if measured.whole else f"{n:,} of {measured.samples:,}, spread evenly,"
    lines = [
        f"# Bounds from the scores of {of} samples of {', '.join(s.ref for s in sources if s.role != 'eval')}.",
        f"# Each drops at most {_percent(drop)} of the samples that have its score, all together {_percent(_share(~alive))}.",
        "# Histograms: # kept, x dropped by the bound that stands here, | the bound.",
    ]
    if data:
        lines.append(f"# Paths start at the folder that `cuvee run --data` names; these sources were read from {data}.")
    again = [
        s.name for s in sources if s.shard_rows != shard_rows or s.spec.get("max_pixels", MAX_PIXELS) != MAX_PIXELS
    ]
    if again:
        lines.append(
            f"# Cut or limited otherwise when they were ingested, so a run reads them again: {', '.join(again)}."
        )
    return lines


# -- stages ------------------------------------------------------------------------------------------------------------


def _stage(
    measured: explain.Measured, flt: base.Filter, drop: float, params: Mapping[str, Any]
) -> tuple[list[str], Any]:
    """Return the lines of one stage and which samples its bounds keep; no lines where no sample has a score."""
    keep = np.ones(measured.heads.height, bool)
    frame = measured.scores[flt.name]
    if flt.cluster is not None:
        there = frame.height and bool(frame.select(pl.all_horizontal(pl.all().is_not_null())).to_series().any())
        entry = _flow({"filter": flt.name, "params": dict(params)}) if params else flt.name
        return ([f"  - {entry}   # {explain.summary(flt)}"] if there else []), keep
    bounds: list[str] = []
    notes: list[str] = []
    for score in flt.numbers:
        if score not in frame.columns:
            continue
        values, has = explain.numbers(measured, flt, score)
        if not has.any():
            continue
        published = flt.bounds.get(score, (None, None))
        low, high, why = chosen(values[has], published, drop, whole=_whole(frame[score].dtype))
        lines, bound = _bound(score, values[has], published, (low, high), why)
        keep &= ~has | explain.inside(values, low, high)
        (bounds if bound else notes).extend(lines + ([f"      {score}: {{{bound}}}"] if bound else []))
    if not bounds and not notes:
        return [], keep
    head = [f"  # {explain.summary(flt)}", f"  - filter: {flt.name}"]
    head += [f"    params: {_flow(dict(params))}"] if params else []
    return [*head, "    bounds:" if bounds else "    bounds: {}   # looks, drops nothing", *notes, *bounds], keep


def chosen(values: Any, published: base.Bound, drop: float, *, whole: bool) -> tuple[float | None, float | None, str]:
    """Return (low, high, why): quantiles on the sides that the published bound has, so that at most `drop` is dropped."""
    fits = values[np.isfinite(values)]
    low, high = published
    sides = (low is not None) + (high is not None)
    if not sides:
        return None, None, "no published bound"
    if len(fits) * drop < 1:
        return low, high, f"too few samples ({len(fits):,}) for a quantile: the published bound"
    share = drop / sides
    out_low = out_high = None
    if low is not None:
        out_low = -_outward(float(np.quantile(-fits, 1 - share, method="inverted_cdf")), whole=whole)
    if high is not None:
        out_high = _outward(float(np.quantile(fits, 1 - share, method="inverted_cdf")), whole=whole)
    if explain.inside(fits, out_low, out_high).all() and explain.inside(fits, low, high).all():
        return low, high, "nothing to drop at this share: the published bound"
    said = [
        f"the {share:.3g} quantile" if low is not None else "",
        f"the {1 - share:.4g} quantile" if high is not None else "",
    ]
    return out_low, out_high, " and ".join(s for s in said if s)


def _outward(value: float, *, whole: bool) -> float:
    """Return `value` rounded up to four significant digits, or to a whole number."""
    if whole or value == 0:
        return float(math.ceil(value))
    digits = 3 - math.floor(math.log10(abs(value)))
    scale = Decimal(10) ** digits
    return float(Decimal(math.ceil(Decimal(repr(value)) * scale)) / scale)


def _bound(score: str, values: Any, published: base.Bound, bound: base.Bound, why: str) -> tuple[list[str], str]:
    """Return the comment above a bound, with a histogram, and the bound as a recipe has it (empty: none)."""
    keep = explain.inside(values, *bound)
    text = ", ".join(f"{k}: {_number(v)}" for k, v in zip(("min", "max"), bound, strict=True) if v is not None)
    if published == (None, None):
        fits = values[np.isfinite(values)]
        middle = np.quantile(fits, [0.025, 0.975], method="inverted_cdf") if len(fits) else [math.nan, math.nan]
        said = f"{score}: no published bound, none set; 95 % lie in {brief(middle[0])}..{brief(middle[1])}"
    else:
        said = f"{score}: {why}, drops {_percent(_share(~keep))}; published {_say(published)} would drop "
        said += f"{_percent(_share(~explain.inside(values, *published)))} of the {len(values):,} samples that have it"
    said += f", all {brief(values[0])}" if len(np.unique(values)) == 1 else ""
    broken = int(np.isnan(values).sum())
    said += f"; {broken:,} could not be computed, which drops them" if broken else ""
    lines = [f"      # {said}"]
    drawn = histogram(values, keep, [b for b in bound if b is not None], BINS) if text else None
    if drawn is not None and len(np.unique(values)) > 1:
        marks = [(k, v) for k, v in zip(("min", "max"), bound, strict=True) if v is not None]
        lines += [f"      #   {line}".rstrip() for line in draw(drawn, marks, width=BINS, height=HEIGHT, plain=True)]
    return lines, text


def _whole(kind: Any) -> bool:
    return bool(kind.is_integer()) or kind == pl.Boolean


def _why_not(measured: explain.Measured, flt: base.Filter) -> str:
    if flt.pooled and not measured.whole:
        return "scores follow from all samples: `--sample 0` looks at all"
    return "no sample that was looked at has a score"


def _say(bound: base.Bound) -> str:
    low, high = bound
    return f"{_number(low) if low is not None else ''}..{_number(high) if high is not None else ''}"


def _number(value: float) -> str:
    return plain(Decimal(repr(float(value))).normalize())


def _share(mask: Any) -> float:
    return float(mask.mean()) if len(mask) else 0.0


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"

"""A recipe drafted from what stored sources look like: every bound a quantile, beside the published one and a histogram.

Data-Juicer's refined recipes bound a score at its mean plus and minus k standard deviations, which is no statement about how
much is dropped: scores are skewed. Here the share to drop is said, per score, and taken from the sides that the published bound
has: from one of them, or half from each. Rounding goes outwards, and of equal scores all are kept: never more is dropped.

A quantile over several sources may cut one of them away whole: receipts are no web pages. So what bounds drop is counted per
source, and a stage says in `sources` which it was drafted for where others would lose more than a few times the share.
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
FEW = 20  # samples of a source below which its losses say nothing
SMALL = 10  # a count below it is too coarse for a quantile
WORST = 0.2  # of a source that all bounds together drop: worth a warning
NO_PHOTOS = ("ocr", "document", "chart", "math", "code")  # tasks whose pictures are alike in everything but their text
_TOTAL = 4  # times the share: what all bounds together may drop of a source before stages leave it out
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
    losses: dict[str, tuple[int, int]]  # source: dropped by all bounds together, looked at

    @property
    def warnings(self) -> list[str]:
        """One line for each source of which a large part would go."""
        return [
            f"warning: all bounds together would drop {_percent(d / n)} of `{s}` ({d:,} of the {n:,} samples looked at)"
            for s, (d, n) in self.losses.items()
            if n and d / n > WORST
        ]


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
    bounded = [f for f in scoring if f.cluster is None and f.name not in left_out]
    scopes = {f.name: _scope(measured, f, drop, [s.name for s in members], wanted=bool(filters)) for f in bounded}
    alive = _spare(measured, bounded, drop, scopes)
    for flt in [f for f in scoring if f.cluster is None] + [f for f in scoring if f.cluster is not None]:
        if flt.name not in left_out:
            if flt.cluster is not None:
                lines, why = _cluster(measured, flt, members, given.get(flt.name, {}), wanted=bool(filters))
            else:
                scope, without = scopes[flt.name]
                lines = _stage(measured, flt, drop, given.get(flt.name, {}), scope, without)
                why = "; ".join(f"{s}: {r}" for s, r in without.items())
            parts += lines
            if not lines:
                left_out[flt.name] = why or _why_not(measured, flt)
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
    losses = {s.name: (int((~alive & _of(measured, s.name)).sum()), int(_of(measured, s.name).sum())) for s in members}
    head = _head(measured, alive, drop, data, sources, rows_of, losses)
    body = [f"name: {name}", f"shard_rows: {rows_of}"] + ([f"role: {role}"] if role != "train" else [])
    body += ["sources:", *(f"  - {_flow(e)}" for e in entries), "stages:" if parts else "stages: []", *parts]
    return Draft(
        text="\n".join([*head, *body]) + "\n",
        data=data,
        stages=sum(p.startswith("  - ") for p in parts),
        left_out=left_out,
        looked_at=measured.heads.height,
        dropped=int((~alive).sum()),
        losses=losses,
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
    measured: explain.Measured,
    alive: Any,
    drop: float,
    data: str,
    sources: Sequence[SourceVersion],
    shard_rows: int,
    losses: Mapping[str, tuple[int, int]],
) -> list[str]:
    n = measured.heads.height
    of = "all" if measured.whole else f"{n:,} of {measured.samples:,}, as many of each source,"
    lines = [
        f"# Bounds from the scores of {of} samples of {', '.join(s.ref for s in sources if s.role != 'eval')}.",
        f"# Each drops at most {_percent(drop)} of the samples that have its score, all together {_percent(_share(~alive))}.",
        *(f"#   of {s}: {_percent(d / max(n, 1))} ({d:,} of {n:,})" for s, (d, n) in losses.items()),
        "# Published bounds are said as lowest..highest, both kept: `..9` is at most 9, `100..` at least 100.",
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


def _of(measured: explain.Measured, *sources: str) -> Any:
    """Return which samples are of these sources."""
    return measured.heads["source"].is_in(list(sources)).to_numpy()


def _limit(drop: float) -> float:
    """Return the share of one source that one stage may drop."""
    return max(drop, min(3 * drop, 0.1))


def _scores(measured: explain.Measured, flt: base.Filter) -> list[str]:
    return [s for s in flt.numbers if s in measured.scores[flt.name].columns]


def _drafted(
    measured: explain.Measured, flt: base.Filter, drop: float, scope: Sequence[str]
) -> tuple[dict[str, tuple[float | None, float | None, str]], Any]:
    """Return a bound for each score that any sample of `scope` has, and which samples they keep."""
    looked = _of(measured, *scope)
    keep = np.ones(measured.heads.height, bool)
    out = {}
    for score in _scores(measured, flt):
        values, has = explain.numbers(measured, flt, score)
        has = has & looked
        if has.any():
            whole = _whole(measured.scores[flt.name][score].dtype)
            out[score] = chosen(values[has], flt.bounds.get(score, (None, None)), drop, whole=whole)
            keep &= ~has | explain.inside(values, *out[score][:2])
    return out, keep


def _scope(
    measured: explain.Measured, flt: base.Filter, drop: float, names: Sequence[str], *, wanted: bool
) -> tuple[list[str], dict[str, str]]:
    """Return the sources that a stage is drafted for, and why the others are not.

    A filter that was asked for by name is not judged by its published bounds, nor by how many samples it applies to.
    """
    scope, without = list(names), {}
    for s in names if not wanted else ():
        why = _foreign(measured, flt, _of(measured, s))
        if why:
            scope.remove(s)
            without[s] = why
    while len(scope) > 1:
        _, keep = _drafted(measured, flt, drop, scope)
        lost = {s: _share(~keep[mine]) for s in scope if (mine := _of(measured, s)).sum() >= FEW}
        worst = max(lost, key=lambda s: lost[s], default="")
        if not worst or lost[worst] <= _limit(drop):
            break
        scope.remove(worst)
        without[worst] = f"bounds over all sources would drop {_percent(lost[worst])}"
    return scope, without


def _spare(
    measured: explain.Measured,
    filters: Sequence[base.Filter],
    drop: float,
    scopes: Mapping[str, tuple[list[str], dict[str, str]]],
) -> Any:
    """Return which samples all bounds keep; a source that they wear down leaves the stages that cost it most, in `scopes`.

    Many bounds that each drop a little more of a source than they should come to much.
    """
    keeps = {f.name: _drafted(measured, f, drop, scopes[f.name][0])[1] for f in filters}
    named = {f.name: f for f in filters}
    every = np.ones(measured.heads.height, bool)
    for s in measured.heads["source"].unique(maintain_order=True):
        mine = _of(measured, s)
        while mine.sum() >= FEW and _share(~np.logical_and.reduce([every, *keeps.values()])[mine]) > _TOTAL * drop:
            lost = {n: _share(~k[mine]) for n, k in keeps.items() if len(scopes[n][0]) > 1 and s in scopes[n][0]}
            worst = max(lost, key=lambda n: lost[n], default="")
            if not worst or lost[worst] <= drop:
                break
            scope, without = scopes[worst]
            scope.remove(s)
            without[s] = f"drops {_percent(lost[worst])}, and all bounds together more than {_percent(_TOTAL * drop)}"
            keeps[worst] = _drafted(measured, named[worst], drop, scope)[1]
    return np.logical_and.reduce([every, *keeps.values()])


def _foreign(measured: explain.Measured, flt: base.Filter, mine: Any) -> str:
    """Return why a filter is about other data than these samples; empty where it is not."""
    if mine.sum() < FEW or not flt.bounds:
        return ""
    applies = np.zeros(int(mine.sum()), bool)
    for score in _scores(measured, flt):
        values, has = explain.numbers(measured, flt, score)
        applies |= has[mine]
        lost = _share((has & ~explain.inside(values, *flt.bounds.get(score, (None, None))))[mine])
        if score in flt.bounds and lost > 0.5:
            return f"the published bound of {score} would drop {_percent(lost)}"
    if applies.any() and not flt.needs_images and _share(applies) < 0.5:
        return f"only {_percent(_share(applies))} of its samples have a score"
    return ""


def _cluster(
    measured: explain.Measured,
    flt: base.Filter,
    members: Sequence[SourceVersion],
    params: Mapping[str, Any],
    *,
    wanted: bool,
) -> tuple[list[str], str]:
    """Return the lines of a stage that deduplicates, or no lines and why (empty: no sample has a signature)."""
    frame = measured.scores[flt.name]
    if (
        not frame[next(iter(flt.scores))].is_not_null().any()
    ):  # a sample whose first signature is null has no part in it
        return [], ""
    entry: dict[str, Any] = {"filter": flt.name} | ({"params": dict(params)} if params else {})
    lines = []
    if flt.name == "dedup_phash" and not wanted:
        without = [s.name for s in members if s.spec.get("task") in NO_PHOTOS and s.media.get("image")]
        names = [s.name for s in members if s.name not in without and s.media.get("image")]
        if without and not names:
            return [], "pictures of text look alike to it: it is for photos"
        if without:
            lines = [f"  # not for {', '.join(without)}: pictures of text look alike to it, it is for photos"]
            entry["sources"] = names
    return [*lines, f"  - {_flow(entry) if len(entry) > 1 else flt.name}   # {explain.summary(flt)}"], ""


def _stage(
    measured: explain.Measured,
    flt: base.Filter,
    drop: float,
    params: Mapping[str, Any],
    scope: Sequence[str],
    without: Mapping[str, str],
) -> list[str]:
    """Return the lines of one stage; no lines where no sample has a score."""
    drafted, _ = _drafted(measured, flt, drop, scope)
    looked = _of(measured, *scope)
    bounds: list[str] = []
    notes: list[str] = []
    for score, (low, high, why) in drafted.items():
        values, has = explain.numbers(measured, flt, score)
        published = flt.bounds.get(score, (None, None))
        lines, bound = _bound(score, values[has & looked], published, (low, high), why)
        (bounds if bound else notes).extend(lines + ([f"      {score}: {{{bound}}}"] if bound else []))
    if not bounds and not notes:
        return []
    head = [f"  # {explain.summary(flt)}", *(f"  # not for {s}: {why}" for s, why in without.items())]
    head += [f"  - filter: {flt.name}"]
    head += [f"    params: {_flow(dict(params))}"] if params else []
    head += [f"    sources: {_flow_list(scope)}"] if without else []
    return [*head, "    bounds:" if bounds else "    bounds: {}   # looks, drops nothing", *notes, *bounds]


def _flow_list(names: Sequence[str]) -> str:
    return str(yaml.safe_dump(list(names), default_flow_style=True, width=10**6, allow_unicode=True)).strip()


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
        out_low = 0.0 - _outward(float(np.quantile(-fits, 1 - share, method="inverted_cdf")), whole=whole)
    if high is not None:
        out_high = _outward(float(np.quantile(fits, 1 - share, method="inverted_cdf")), whole=whole)
    if explain.inside(fits, out_low, out_high).all() and explain.inside(fits, low, high).all():
        return low, high, "nothing to drop at this share: the published bound"
    out_low, say_low = _side(fits, out_low, (low, None), f"the {share:.3g} quantile", drop, whole=whole)
    out_high, say_high = _side(fits, out_high, (None, high), f"the {1 - share:.4g} quantile", drop, whole=whole)
    return out_low, out_high, " and ".join(s for s in (say_low, say_high) if s)


def _side(
    fits: Any, found: float | None, published: base.Bound, said: str, drop: float, *, whole: bool
) -> tuple[float | None, str]:
    """Return one side of a bound and what it is: of a quantile that bounds nothing sensibly, the published one or none."""
    if found is None:
        return None, ""
    at_end = found == 0 or (found == 1 and bool((fits >= 0).all() and (fits <= 1).all()))
    if not at_end and not (whole and abs(found) < SMALL):
        return found, said
    why = f"{said} is {_number(found)}, " + ("the end of the scale" if at_end else "too coarse a count")
    side = next(b for b in published if b is not None)
    if _share(~explain.inside(fits, *published)) <= drop:
        return side, f"{why}: the published bound"
    return None, f"{why}: none set, the published one would drop too much"


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
    return plain(Decimal(repr(float(value) + 0.0)).normalize())  # no negative zero


def _share(mask: Any) -> float:
    return float(mask.mean()) if len(mask) else 0.0


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"

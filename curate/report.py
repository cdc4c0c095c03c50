"""One HTML file that shows what a dataset version kept, what it dropped, and why.

It stands alone: no script, no font, no picture from elsewhere. All text of the data is escaped and shown with its control
and direction characters made visible; pictures are decoded and encoded anew, so that nothing of a file but its pixels
gets in. Counts come from the ledger, rule by rule; text and pictures are read only for the examples that are shown.
"""

import base64
import io
import math
import unicodedata
import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import numpy.typing as npt
import polars as pl
from PIL import Image

from catalog import histogram as histograms
from catalog.errors import UserError
from catalog.files import write_bytes
from catalog.judge import Rule
from catalog.ledger import Ledger, funnel
from catalog.shards import MediaReader
from catalog.store import DatasetVersion, Store
from curate import contamination

Array = npt.NDArray[Any]
THUMB = 160  # pixels, longer side
TEXT = 280  # characters of a sample's text
BINS = 40
CLUSTERS = 4  # shown per stage
NEAR = 3  # samples on each side of a bound
MANY = 12  # with more rules than this, sections are closed and galleries half as large
PAIRS = 8  # of rules that overlap most
SQUARE = 24  # rules in the matrix of overlaps: more columns than that fit no page
MAX_PIXELS = 64_000_000


@dataclass(frozen=True, kw_only=True)
class Card:
    """One sample as the page shows it."""

    id: str
    text: str
    image: str  # data URI, or empty
    value: str
    match: str
    kept: bool


def write(store: Store, dataset: DatasetVersion, out: Path, *, gallery: int = 12) -> Path:
    """Write the report of a dataset version to `out` and return it."""
    page = _Page(store, dataset, gallery)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"count": lambda n: f"{int(n):,}", "share": _share, "percent": _percent}
    html = environment.get_template("report.html.jinja").render(page.context())
    write_bytes(out, html.encode("utf-8", "replace"))
    return out


def _leaks(store: Store, dataset: DatasetVersion) -> list[dict[str, Any]]:
    """Return what the page says of decontamination, its texts with control characters made visible."""
    out = contamination.section(store, dataset)
    for stage in out:
        for shown in stage["examples"]:
            shown |= {k: visible(str(shown[k])) for k in ("id", "match", "text", "item")}
    return out


@dataclass(frozen=True, kw_only=True)
class _Pick:
    """One sample to show, by its number in the ledger, and what the rule said of it."""

    row: int
    value: str
    match: str
    kept: bool


class _Page:
    def __init__(self, store: Store, dataset: DatasetVersion, gallery: int) -> None:
        self._store, self._dataset = store, dataset
        self._ledger = Ledger(store, dataset)
        self._rules = self._ledger.rules
        self._keep = self._ledger.keep_matrix()
        self._gallery = gallery if len(self._rules) <= MANY else (gallery + 1) // 2
        self._source = self._ledger.sources_of()
        self._ids = self._ledger.ids()
        self._alive = np.asarray(self._keep.all(axis=0))
        self._times = (~self._keep).sum(axis=0)
        self._funnel = [
            {**f, "number": k, "label": _label(r)}
            for k, (f, r) in enumerate(zip(funnel(self._rules, self._keep), self._rules, strict=True), 1)
        ]
        self._both = overlap(self._keep)
        self._cards = _Cards(store, dataset)

    def context(self) -> dict[str, Any]:
        d = self._dataset
        sections = [self._section(k, r) for k, r in enumerate(self._rules)]
        clusters = {r.stage: self._clusters(r) for r in self._rules if r.cluster}
        overall = [self._pick(int(i), None) for i in _spread(np.flatnonzero(self._alive), self._gallery)]
        wanted = {p.row for s in sections for p in s["picks"]} | {p.row for p in overall}
        members = {m["id"] for groups in clusters.values() for g in groups for m in g["members"]}
        if members:
            wanted |= set(np.flatnonzero(self._ids.is_in(sorted(members)).to_numpy()).tolist())
        self._cards.load(self._ledger, sorted(wanted))
        for section, rule in zip(sections, self._rules, strict=True):
            section["clusters"] = self._shown(clusters.get(rule.stage, []) if rule.cluster else [])
            for name in ("dropped", "kept"):
                section[name] = [self._card(p) for p in section[name]]
            for near in section["near"]:
                near |= {side: [self._card(p) for p in near[side]] for side in ("kept", "dropped")}
        dropping = [f for f in self._funnel if f["alone"]]
        return {
            "d": d,
            "created": str(d.volatile.get("created_at", "")),
            "volatile": {k: visible(str(v)) for k, v in d.volatile.items() if k != "created_at" and _small(v)},
            "reasons": self._reasons(),
            "funnel": self._funnel,
            "dropping": dropping,
            "idle": [f for f in self._funnel if not f["alone"]],
            "overlap": self._overlap(dropping),
            "most": max([1, *(f["alone"] for f in dropping)]),
            "samples": len(self._ids),
            "stages": _by_stage(sections),
            "open": len(self._rules) <= MANY,
            "kept_cards": [self._card(p) for p in overall],
            "sources": self._sources(),
            "by_source": self._by_source(dropping),
            "decontamination": _leaks(self._store, d),
        }

    def _reasons(self) -> list[tuple[str, int]]:
        totals: dict[str, int] = {}
        for s in self._dataset.sources:
            try:
                version = self._store.source(f"{s['name']}@{s['digest']}")
            except UserError:
                continue  # the source was removed: the counts of the record still stand
            for code, n in version.rejected.items():
                totals[code] = totals.get(code, 0) + int(n)
        return sorted(totals.items(), key=lambda x: -x[1])

    # -- one rule --------------------------------------------------------------------------------------------------

    def _section(self, k: int, rule: Rule) -> dict[str, Any]:
        """Return what the page says of one rule; `picks` are all samples that it shows."""
        keep = self._keep[k]
        value, low, high = (self._ledger.column(k, c).cast(pl.Float64) for c in ("value", "low", "high"))
        match = self._ledger.column(k, "match")

        def picked(rows: Array) -> list[_Pick]:
            return [self._pick(int(i), k, value[int(i)], match[int(i)]) for i in rows]

        only = ~keep & (self._times == 1)
        numbers = value.to_numpy()
        fits = np.isfinite(numbers)
        bounds = [] if rule.cluster else _bounds(low, high)
        dropped = picked(_spread(np.flatnonzero(only if only.any() else ~keep), self._gallery))
        kept = [] if rule.cluster else picked(_spread(np.flatnonzero(self._alive & fits), self._gallery))
        near = [] if rule.cluster or not bounds else self._near(numbers, fits, keep, low, high, picked)
        return {
            **self._funnel[k],
            "fingerprint": rule.fingerprint,
            "rule": _say(rule),
            "limits": [*rule.sources, *rule.tasks],
            "none": int(value.null_count()),
            "broken": 0 if rule.cluster else int(value.is_nan().sum()),
            "histogram": "" if rule.cluster else histogram(numbers, keep, bounds),
            "others": self._others(k),
            "only_shown": bool(only.any()),
            "dropped": dropped,
            "kept": kept,
            "near": near,
            "picks": [*dropped, *kept, *(p for n in near for side in ("kept", "dropped") for p in n[side])],
        }

    def _near(self, value: Array, fits: Array, keep: Array, low: pl.Series, high: pl.Series, picked: Any) -> list[Any]:
        """Return the samples next to each bound on its two sides; a fraction has a bound per source or task."""
        out = []
        for name, bound in (("min", low.to_numpy()), ("max", high.to_numpy())):
            there = fits & np.isfinite(bound)
            if not there.any() or not self._gallery:
                continue
            away = value - bound if name == "min" else bound - value  # below 0: outside
            sides: dict[str, Any] = {"side": name, "bounds": _numbers(np.unique(bound[there]))}
            for side, half in (("kept", there & keep & (away >= 0)), ("dropped", there & ~keep & (away <= 0))):
                rows = np.flatnonzero(half)
                sides[side] = picked(rows[np.argsort(np.abs(away[rows]), kind="stable")[:NEAR]])
            out.append(sides)
        return out

    def _others(self, k: int) -> list[dict[str, Any]]:
        """Return which other rules drop most of what this one drops."""
        mine = self._both[k]
        order = [j for j in np.argsort(-mine, kind="stable") if j != k and mine[j]][:3]
        return [{**self._funnel[j], "both": int(mine[j]), "share": mine[j] / max(int(mine[k]), 1)} for j in order]

    def _pick(self, row: int, k: int | None, value: float | None = None, match: str | None = None) -> _Pick:
        kept = self._alive[row] if k is None else self._keep[k][row]
        return _Pick(row=row, value="" if value is None else _number(value), match=match or "", kept=bool(kept))

    def _card(self, pick: _Pick) -> Card:
        return self._cards.card(self._ids[pick.row], value=pick.value, match=pick.match, kept=pick.kept)

    # -- clusters --------------------------------------------------------------------------------------------------

    def _clusters(self, rule: Rule) -> list[dict[str, Any]]:
        table = self._ledger.clusters(rule).select("id", "cluster", "rank", "similarity")
        sizes = (
            table.group_by("cluster").len().filter(pl.col("len") > 1).sort(["len", "cluster"], descending=[True, False])
        )
        # The largest one, and others spread over the rest: the largest alone would show one kind of boilerplate only.
        chosen = sizes[_spread(np.arange(sizes.height), CLUSTERS).tolist()]
        groups = []
        for name, size in chosen.rows():
            members = table.filter(pl.col("cluster") == name).sort("rank", "id").head(6).to_dicts()
            groups.append({"size": size, "members": members})
        return groups

    def _shown(self, groups: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        return [
            {
                "size": g["size"],
                "cards": [
                    self._cards.card(m["id"], value=f"{m['similarity'] or 0:.3f}", match="", kept=m["rank"] == 0)
                    for m in g["members"]
                ],
            }
            for g in groups
        ]

    # -- all rules together ----------------------------------------------------------------------------------------

    def _overlap(self, dropping: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Return the matrix of the rules that drop most, and of all that drop anything the pairs that agree most."""
        largest = sorted(dropping, key=lambda f: -f["alone"])[:SQUARE]
        square = [f for f in dropping if f in largest]
        at = [f["number"] - 1 for f in square]
        rows = [
            {
                **f,
                "cells": [
                    {"both": int(self._both[i][j]), "share": self._both[i][j] / self._both[i][i], "label": g["label"]}
                    for j, g in zip(at, square, strict=True)
                ],
            }
            for i, f in zip(at, square, strict=True)
        ]
        at = [f["number"] - 1 for f in dropping]
        pairs: list[dict[str, Any]] = []
        for n, i in enumerate(at):
            for m, j in enumerate(at[n + 1 :], n + 1):
                both = int(self._both[i][j])
                either = int(self._both[i][i] + self._both[j][j]) - both
                if both:
                    pairs.append({"a": dropping[n], "b": dropping[m], "both": both, "jaccard": both / either})
        pairs.sort(key=lambda p: (-p["jaccard"], -p["both"], p["a"]["number"], p["b"]["number"]))
        return {"rows": rows, "pairs": pairs[:PAIRS], "of": len(dropping)}

    def _sources(self) -> list[dict[str, Any]]:
        return [dict(s) for s in self._dataset.sources]

    def _by_source(self, dropping: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return per rule that drops anything how many samples of each source it drops."""
        names = [str(s["name"]) for s in self._dataset.sources]
        masks = [(self._source == n).to_numpy() for n in names]
        out = []
        for f in dropping:
            dropped = ~self._keep[f["number"] - 1]
            counts = [int((dropped & m).sum()) for m in masks]
            shares = [n / max(int(m.sum()), 1) for n, m in zip(counts, masks, strict=True)]
            out.append({**f, "cells": list(zip(counts, shares, strict=True))})
        return out


def overlap(keep: Array) -> Array:
    """Return how many samples are dropped by both rules, for every pair, from keep as (rules, samples)."""
    out = np.zeros((len(keep), len(keep)), np.int64)
    for start in range(0, keep.shape[1], 1 << 18):  # a float32 product counts exactly up to 2 ** 24
        dropped = (~keep[:, start : start + (1 << 18)]).astype(np.float32)
        out += np.rint(dropped @ dropped.T).astype(np.int64)
    return out


def _by_stage(sections: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the sections of each filter together, with what the filter is."""
    out: list[dict[str, Any]] = []
    for s in sections:
        if not out or out[-1]["name"] != s["stage"]:
            out.append({"name": s["stage"], "what": _what(s["stage"]), "sections": []})
        out[-1]["sections"].append(s)
    return out


def _what(stage: str) -> str:
    from curate.explain import summary
    from filters import base

    try:
        return summary(base.load(stage))
    except UserError:
        return ""  # a filter that is gone


def _label(rule: Rule) -> str:
    return rule.stage if rule.score in (rule.stage, "duplicate") else f"{rule.stage}.{rule.score}"


def _bounds(low: pl.Series, high: pl.Series) -> list[tuple[str, float]]:
    """Return the bounds that samples were held against (several where a fraction is taken per source or task)."""
    found = [(side, v) for side, c in (("min", low), ("max", high)) for v in c.drop_nulls().unique().to_list()]
    return sorted((f for f in found if math.isfinite(f[1])), key=lambda f: (f[1], f[0]))[:24]


def _numbers(values: Iterable[float]) -> str:
    shown = [_number(float(v)) for v in values]
    return ", ".join(shown[:6]) + (", .." if len(shown) > 6 else "")


class _Cards:
    """Text and thumbnails of the samples that are shown; each shard is read once."""

    def __init__(self, store: Store, dataset: DatasetVersion) -> None:
        self._store, self._dataset = store, dataset
        self._found: dict[str, tuple[str, str]] = {}

    def load(self, ledger: Ledger, rows: Sequence[int]) -> None:
        """Read the samples with these numbers in the ledger."""
        shards: dict[str, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
        for source, shard, row in ledger.places(rows):
            shards[source][shard].append(row)
        digests = {str(s["name"]): str(s["digest"]) for s in self._dataset.sources}
        for name, wanted in shards.items():
            try:
                version = self._store.source(f"{name}@{digests[name]}")
                with MediaReader(self._store.source_dir(version.name, version.digest)) as media:
                    for shard, at in wanted.items():
                        table = self._store.samples(version, shard, ["id", "messages", "media"]).take(at)
                        for sample in table.to_pylist():
                            self._found[sample["id"]] = (_text(sample["messages"]), thumbnail(sample["media"], media))
            except UserError:
                continue  # a lost shard costs its examples, not the report

    def card(self, id_: str, *, value: str, match: str, kept: bool) -> Card:
        text, image = self._found.get(id_, ("", ""))
        return Card(id=visible(id_), text=text, image=image, value=value, match=visible(match), kept=kept)


def _text(messages: Sequence[dict[str, str]]) -> str:
    parts = [m["content"] if len(messages) == 1 else f"{m['role']}: {m['content']}" for m in messages]
    text = " ⏎ ".join(parts)
    return visible(text[:TEXT]) + ("…" if len(text) > TEXT else "")


def visible(text: str) -> str:
    """Return `text` with control, direction and unassigned characters written out: what is hidden could mislead."""
    out = []
    for c in text:
        if c in "\n\r\t":
            out.append(" ")
        elif unicodedata.category(c) in ("Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"):
            out.append(f"[U+{ord(c):04X}]")
        else:
            out.append(c)
    return "".join(out)


def thumbnail(media: Sequence[dict[str, Any]], reader: MediaReader) -> str:
    """Return the first image as a data URI made from its pixels alone, or nothing."""
    first = next((m for m in media or () if m["kind"] == "image" and m["shard"]), None)
    if first is None:
        return ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image: Image.Image = Image.open(io.BytesIO(reader.read(first["shard"], first["offset"], first["size"])))
            if image.width * image.height > MAX_PIXELS:
                return ""
            image.draft("RGB", (THUMB * 2, THUMB * 2))
            image = image.convert("RGBA" if "A" in image.getbands() or "transparency" in image.info else "RGB")
            image.thumbnail((THUMB, THUMB))
            out = io.BytesIO()
            Image.frombytes(image.mode, image.size, image.tobytes()).save(out, "WEBP", quality=72, method=2)
    except (UserError, OSError, ValueError, SyntaxError, MemoryError, Image.DecompressionBombError):
        return ""
    return "data:image/webp;base64," + base64.b64encode(out.getvalue()).decode()


def histogram(values: Array, keep: Array, bounds: Sequence[tuple[str, float]]) -> str:
    """Return an SVG of the scores, kept and dropped stacked, with every bound drawn in; empty when there is no score."""
    shown = [(side, b) for side, b in bounds if math.isfinite(b)]
    h = histograms.histogram(values, keep, [b for _, b in shown], BINS)
    if h is None:
        return ""
    top = max(int(h.total.max()), 1)
    width, height, base = 640, 190, 160
    step = width / len(h.kept)
    thick = min(step - 1.5, 60)
    parts = [
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="histogram of scores, {top:,} at most per bar">'
    ]
    for i in range(len(h.kept)):
        at = float(base)
        for name, n in (("kept", int(h.kept[i])), ("dropped", int(h.dropped[i]))):
            if n:
                tall = max(1.0, 136 * n / top)
                at -= tall
                span = f"{_number(h.edges[i])} to {_number(h.edges[i + 1])}: {n:,} {name}"
                parts.append(
                    f'<rect class="{name}" x="{(i + 0.5) * step - thick / 2:.2f}" y="{at:.2f}" width="{thick:.2f}" '
                    f'height="{tall:.2f}"><title>{span}</title></rect>'
                )
    parts.append(f'<line class="axis" x1="0" x2="{width}" y1="{base}" y2="{base}"/>')
    for n, (side, b) in enumerate(shown):
        x = h.place(b, side) * width
        parts.append(f'<line class="bound" x1="{x:.2f}" x2="{x:.2f}" y1="8" y2="{base + 4}"/>')
        if n < 3:
            anchor = "end" if x > width * 0.85 else "start"
            gap = -5 if anchor == "end" else 5
            parts.append(
                f'<text class="bound" x="{x + gap:.2f}" y="{16 + 14 * n}" text-anchor="{anchor}">{_number(b)}</text>'
            )
    low, high = float(h.edges[0]), float(h.edges[-1])
    for x, value, anchor in ((0, low, "start"), (width / 2, (low + high) / 2, "middle"), (width, high, "end")):
        parts.append(f'<text x="{x:g}" y="{base + 18}" text-anchor="{anchor}">{_number(value)}</text>')
    return "".join([*parts, "</svg>"])


def _spread(rows: np.ndarray, n: int) -> np.ndarray:
    """Return up to `n` of `rows`, evenly spread from first to last."""
    if len(rows) <= n:
        return rows
    return np.asarray(rows[np.linspace(0, len(rows) - 1, n).round().astype(int)])


def _say(rule: Rule) -> str:
    if rule.cluster:
        return "keep one sample per cluster" + (f", by {', '.join(rule.prefer)}" if rule.prefer else "")
    if rule.top is not None:
        share = f"{float(rule.top) * 100:g} %"
        return f"keep the best {share}" + ("" if rule.per == "all" else f" of every {rule.per}")
    low = f"{_number(rule.low)} ≤ " if rule.low is not None else ""
    high = f" ≤ {_number(rule.high)}" if rule.high is not None else ""
    return f"keep {low}{rule.score}{high}" if low or high else "no bound"


def _number(value: float) -> str:
    if not math.isfinite(value):
        return "could not be computed"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _share(part: float, whole: float) -> str:
    if not whole:
        return "–"
    return "<0.1 %" if 0 < part / whole < 0.001 else f"{100 * part / whole:.1f} %"


def _percent(share: float) -> str:
    """Return a share as a whole number of percent for a small cell: a trace is not nothing, and nearly all is not all."""
    if not 0 < share < 1:
        return f"{100 * share:.0f}"
    return "<1" if share < 0.005 else ">99" if share > 0.995 else f"{100 * share:.0f}"


def _small(value: object) -> bool:
    return isinstance(value, str | int | float) and len(str(value)) < 120

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
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import polars as pl
from PIL import Image

from catalog.errors import UserError
from catalog.files import write_bytes
from catalog.judge import Rule
from catalog.ledger import Ledger, funnel
from catalog.shards import MediaReader
from catalog.store import DatasetVersion, Store

THUMB = 160  # pixels, longer side
TEXT = 280  # characters of a sample's text
BINS = 40
CLUSTERS = 4  # shown per stage
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
    environment.filters |= {"count": lambda n: f"{int(n):,}", "share": _share}
    html = environment.get_template("report.html.jinja").render(page.context())
    write_bytes(out, html.encode("utf-8", "replace"))
    return out


class _Page:
    def __init__(self, store: Store, dataset: DatasetVersion, gallery: int) -> None:
        self._store, self._dataset, self._gallery = store, dataset, gallery
        self._ledger = Ledger(store, dataset)
        rules = self._ledger.rules
        self._keep = self._ledger.keep_matrix()
        self._source = self._ledger.sources_of()
        self._ids = self._ledger.ids()
        self._alive = np.asarray(self._keep.all(axis=0))
        self._funnel = funnel(rules, self._keep)
        self._cards = _Cards(store, dataset)

    def context(self) -> dict[str, Any]:
        d = self._dataset
        picks = [self._pick(k, r) for k, r in enumerate(self._ledger.rules)]
        overall = _spread(np.flatnonzero(self._alive), self._gallery)
        clusters = {r.stage: self._clusters(r.stage) for r in self._ledger.rules if r.cluster}
        wanted = {self._ids[int(i)] for p in picks for group in p.values() for i in group}
        wanted |= {self._ids[int(i)] for i in overall}
        wanted |= {m["id"] for groups in clusters.values() for g in groups for m in g["members"]}
        self._cards.load(wanted)
        return {
            "d": d,
            "created": str(d.volatile.get("created_at", "")),
            "volatile": {k: visible(str(v)) for k, v in d.volatile.items() if k != "created_at" and _small(v)},
            "reasons": self._reasons(),
            "funnel": self._funnel,
            "widest": max([int(d.counts["rows"]), 1]),
            "stages": [self._stage(k, r, picks[k], clusters) for k, r in enumerate(self._ledger.rules)],
            "kept_cards": [self._card(int(i), None) for i in overall],
            "sources": self._sources(),
            "decontamination": d.decontamination,
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

    def _pick(self, k: int, rule: Rule) -> dict[str, np.ndarray]:
        """Choose the rows to show: spread over the dropped and the kept, and those nearest to the bound."""
        keep = self._keep[k]
        only = ~keep & ((~self._keep).sum(axis=0) == 1)
        dropped = np.flatnonzero(only) if only.any() else np.flatnonzero(~keep)
        picks = {"dropped": _spread(dropped, self._gallery), "kept": np.empty(0, int), "near": np.empty(0, int)}
        if rule.cluster:
            return picks
        value = self._ledger.column(k, "value").cast(pl.Float64).to_numpy()
        fits = np.isfinite(value)
        picks["kept"] = _spread(np.flatnonzero(self._alive & fits), self._gallery)
        bounds = self._bounds(k)
        if bounds and fits.any():
            distance = np.min([np.abs(value - b) for b in bounds], axis=0)
            for half in (keep, ~keep):
                rows = np.flatnonzero(half & fits)
                nearest = rows[np.argsort(distance[rows], kind="stable")[: max(1, self._gallery // 4)]]
                picks["near"] = np.concatenate([picks["near"], nearest])
            picks["near"] = picks["near"][np.argsort(value[picks["near"]], kind="stable")]
        return picks

    def _bounds(self, k: int) -> list[float]:
        """Return the bounds that samples were held against (several where a fraction is taken per source or task)."""
        found = pl.concat([self._ledger.column(k, c).drop_nulls().cast(pl.Float64).alias("b") for c in ("low", "high")])
        return sorted(v for v in found.unique().to_list() if math.isfinite(v))[:24]

    def _stage(self, k: int, rule: Rule, picks: dict[str, np.ndarray], clusters: dict[str, Any]) -> dict[str, Any]:
        value = self._ledger.column(k, "value").cast(pl.Float64)
        numbers = value.to_numpy() if not rule.cluster else np.empty(0)
        bounds = [] if rule.cluster else self._bounds(k)
        return {
            "name": rule.stage,
            "score": rule.score,
            "fingerprint": rule.fingerprint,
            "rule": _say(rule),
            "counts": self._funnel[k],
            "none": int(value.null_count()),
            "broken": int(np.isnan(numbers[~value.is_null().to_numpy()]).sum()) if numbers.size else 0,
            "histogram": histogram(numbers, self._keep[k], bounds) if numbers.size else "",
            **{name: [self._card(int(i), k) for i in rows] for name, rows in picks.items()},
            "clusters": self._shown(clusters.get(rule.stage, [])),
        }

    def _clusters(self, stage: str) -> list[dict[str, Any]]:
        path = self._store.dataset_dir(self._dataset.name, self._dataset.version) / "clusters" / f"{stage}.parquet"
        if not path.is_file():
            return []
        table = pl.read_parquet(path, columns=["id", "cluster", "rank", "similarity"])
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

    def _card(self, row: int, k: int | None) -> Card:
        value = match = ""
        kept = bool(self._alive[row])
        if k is not None:
            number = self._ledger.column(k, "value")[row]
            value = "" if number is None else _number(number)
            match = self._ledger.column(k, "match")[row] or ""
            kept = bool(self._keep[k][row])
        return self._cards.card(self._ids[row], value=value, match=match, kept=kept)

    def _sources(self) -> list[dict[str, Any]]:
        out = []
        names = self._source.to_numpy()
        for s in self._dataset.sources:
            mine = names == s["name"] if len(names) else np.zeros(0, bool)
            dropped = [int((~row[mine]).sum()) for row in self._keep]
            out.append({**s, "dropped": dropped})
        return out


class _Cards:
    """Text and thumbnails of the samples that are shown; each shard is read once."""

    def __init__(self, store: Store, dataset: DatasetVersion) -> None:
        self._store, self._dataset = store, dataset
        self._found: dict[str, tuple[str, str]] = {}

    def load(self, ids: set[str]) -> None:
        by_source: dict[str, set[str]] = {}
        for id_ in ids:
            by_source.setdefault(id_.partition("/")[0], set()).add(id_)
        for entry in self._dataset.sources:
            wanted = by_source.get(str(entry["name"]), set())
            if not wanted:
                continue
            try:
                source = self._store.source(f"{entry['name']}@{entry['digest']}")
                folder = self._store.source_dir(source.name, source.digest)
                with MediaReader(folder) as media:
                    for shard in range(source.shards):
                        here = self._store.samples(source, shard, ["id"])["id"].to_pylist()
                        rows = [i for i, id_ in enumerate(here) if id_ in wanted]
                        if rows:
                            table = self._store.samples(source, shard, ["id", "messages", "media"]).take(rows)
                            for sample in table.to_pylist():
                                self._found[sample["id"]] = (
                                    _text(sample["messages"]),
                                    _thumbnail(sample["media"], media),
                                )
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


def _thumbnail(media: Sequence[dict[str, Any]], reader: MediaReader) -> str:
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


def histogram(values: np.ndarray, keep: np.ndarray, bounds: Sequence[float]) -> str:
    """Return an SVG of the scores, kept and dropped stacked, with every bound drawn in; empty when there is no score.

    The axis spans the middle 99 % of the scores and the bounds; what lies beyond is counted in the outermost bars.
    """
    fits = np.isfinite(values)
    values, keep = values[fits], keep[fits]
    if not values.size:
        return ""
    low, high = (float(x) for x in np.quantile(values, [0.005, 0.995]))
    shown = [b for b in bounds if math.isfinite(b)]
    low, high = min([low, *shown]), max([high, *shown])
    if not high > low:
        low, high = low - 0.5, high + 0.5
    pad = (high - low) * 0.03
    low, high = low - pad, high + pad
    edges = np.linspace(low, high, BINS + 1)
    clipped = np.clip(values, low, high)
    kept, _ = np.histogram(clipped[keep], edges)
    dropped, _ = np.histogram(clipped[~keep], edges)
    top = max(int((kept + dropped).max()), 1)
    width, height, base = 640, 190, 160
    step = width / BINS
    parts = [
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="histogram of scores, {top:,} at most per bar">'
    ]
    for i in range(BINS):
        at = base
        for name, n in (("kept", int(kept[i])), ("dropped", int(dropped[i]))):
            if n:
                tall = max(1.0, 136 * n / top)
                at -= tall  # type: ignore[assignment]
                span = f"{_number(edges[i])} to {_number(edges[i + 1])}: {n:,} {name}"
                parts.append(
                    f'<rect class="{name}" x="{i * step + 0.75:.2f}" y="{at:.2f}" width="{step - 1.5:.2f}" '
                    f'height="{tall:.2f}"><title>{span}</title></rect>'
                )
    parts.append(f'<line class="axis" x1="0" x2="{width}" y1="{base}" y2="{base}"/>')
    for n, b in enumerate(shown):
        x = (b - low) / (high - low) * width
        parts.append(f'<line class="bound" x1="{x:.2f}" x2="{x:.2f}" y1="8" y2="{base + 4}"/>')
        if n < 3:
            anchor = "end" if x > width * 0.85 else "start"
            gap = -5 if anchor == "end" else 5
            parts.append(
                f'<text class="bound" x="{x + gap:.2f}" y="{16 + 14 * n}" text-anchor="{anchor}">{_number(b)}</text>'
            )
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
    return f"{100 * part / whole:.1f} %" if whole else "–"


def _small(value: object) -> bool:
    return isinstance(value, str | int | float) and len(str(value)) < 120

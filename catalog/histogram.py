"""Histograms of scores: the same bins for a terminal, for a comment in a recipe and for the report.

The axis spans the middle 99 % of the scores and the bounds; what lies beyond is counted in the outermost bins. Where all scores
and bounds are whole numbers a bin holds whole numbers, so that counts do not look like a comb.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
EIGHTHS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """Counts of kept and dropped scores per bin; bin i goes from `edges[i]` to `edges[i + 1]`."""

    edges: Array
    kept: Array
    dropped: Array

    @property
    def total(self) -> Array:
        """How many scores are in each bin."""
        return self.kept + self.dropped

    def place(self, value: float, side: str = "") -> float:
        """Return where `value` lies on the axis, 0 to 1; a bound (`min` or `max`) on the edge of a bin of whole numbers."""
        low, high = float(self.edges[0]), float(self.edges[-1])
        if low % 1 == 0.5 and float(self.edges[1] - low) % 1 == 0 and value % 1 == 0:
            value += {"min": -0.5, "max": 0.5}.get(side, 0.0)
        return min(max((value - low) / (high - low), 0.0), 1.0)

    def to_json(self) -> dict[str, Any]:
        """Return the histogram as JSON."""
        return {"edges": self.edges.tolist(), "kept": self.kept.tolist(), "dropped": self.dropped.tolist()}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> "Histogram":
        """Return the histogram that `to_json` wrote."""
        return cls(**{k: np.asarray(raw[k]) for k in ("edges", "kept", "dropped")})


def histogram(values: Array, keep: Array, bounds: Sequence[float], bins: int) -> Histogram | None:
    """Return up to `bins` bins of the finite `values`, of which `keep` are kept; None when there is none."""
    fits = np.isfinite(values)
    values, keep = values[fits].astype(np.float64), keep[fits]
    if not values.size:
        return None
    low, high = (float(x) for x in np.quantile(values, [0.005, 0.995]))
    shown = [b for b in bounds if math.isfinite(b)]
    low, high = min([low, *shown]), max([high, *shown])
    if all(bool((v == np.round(v)).all()) for v in (values, np.asarray(shown))):
        first, last = math.floor(low), math.ceil(high)
        width = max(1, math.ceil((last - first + 1) / bins))
        edges = first - 0.5 + width * np.arange(math.ceil((last - first + 1) / width) + 1, dtype=np.float64)
    else:
        if not high > low:
            low, high = low - 0.5, high + 0.5
        pad = (high - low) * 0.03
        start = 0.0 if 0 <= low < pad and 0.0 not in shown else low - pad  # no axis below 0 for what never is
        edges = np.linspace(start, high + pad, bins + 1)
    clipped = np.clip(values, edges[0], edges[-1])
    kept, _ = np.histogram(clipped[keep], edges)
    dropped, _ = np.histogram(clipped[~keep], edges)
    return Histogram(edges=edges, kept=kept, dropped=dropped)


def draw(
    h: Histogram, bounds: Sequence[tuple[str, float]], *, width: int, height: int, plain: bool = False
) -> list[str]:
    """Return the lines of a histogram in characters; `bounds` are (`min` or `max`, value) and get a vertical line each.

    Full blocks are kept, shaded ones dropped (`#` and `x` when `plain`). A bin that holds anything shows at least a trace.
    """
    wide = min(max(1, width // len(h.kept)), 4)
    columns = [
        _column(int(k), int(d), int(h.total.max()), height, plain=plain) for k, d in zip(h.kept, h.dropped, strict=True)
    ]
    cells = [c for c in columns for _ in range(wide)]
    bar = ["|" if plain else "│"] * height
    marks: list[tuple[int, str]] = []
    for label, value in sorted((b for b in bounds if math.isfinite(b[1])), key=lambda b: b[1]):
        at = round(h.place(value, label) * wide * len(h.kept)) + len(marks)
        cells.insert(at, bar)
        marks.append((at, f"{label} {brief(value)}"))
    lines = ["".join(c[row] for c in cells).rstrip() for row in reversed(range(height))]
    axis = ("-" if plain else "─") * len(cells)
    left, right = brief(float(h.edges[0])), brief(float(h.edges[-1]))
    lines += [axis, left + "  " + right.rjust(len(cells) - len(left) - 2)]  # a narrow axis is shorter than its labels
    return lines + ([_labels(marks, len(cells))] if marks else [])


def _column(kept: int, dropped: int, top: int, height: int, *, plain: bool) -> list[str]:
    """Return the cells of one column from the ground up: kept below, dropped on it."""
    if not kept + dropped:
        return [" "] * height
    tall = height * (kept + dropped) / max(top, 1)
    solid = tall * kept / (kept + dropped)
    out = []
    for row in range(height):
        if row + 1 <= solid or (row == 0 and kept and not dropped and tall >= 1):
            out.append("#" if plain else "█")
        elif row < solid and not dropped:
            out.append("#" if plain else EIGHTHS[max(1, math.floor((solid - row) * 8))])
        elif row < max(tall, 0.01) and dropped:
            out.append("x" if plain else "░")
        else:
            out.append(" ")
    return out


def _labels(marks: Sequence[tuple[int, str]], width: int) -> str:
    """Return a line with every label below its mark, moved where it would leave the line or run into another."""
    line, free = "", 0
    for at, text in marks:
        start = max(free, min(at - len(text) // 2, max(width - len(text), 0)))
        line = line.ljust(start) + text
        free = start + len(text) + 2
    return line


def brief(value: float) -> str:
    """Return a number as people read it: four digits, thousands with commas."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"

"""The validation report: one HTML file with its plots inside (inline SVG), made with the standard library alone."""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from catalog.files import write_bytes

COLORS = ("#2b6cb0", "#c05621", "#2f855a", "#6b46c1", "#b83280", "#718096")
UNIT = {"loss": "nats per answer token, lower is better", "score": "task score 0..1, higher is better"}
STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:1000px;margin:2em auto;padding:0 1em;color:#1a202c}
h1{font-size:1.6em}h2{margin-top:2em;border-bottom:1px solid #cbd5e0}table{border-collapse:collapse;margin:1em 0}
td,th{padding:.25em .7em;text-align:right;border-bottom:1px solid #e2e8f0}td:first-child,th:first-child{text-align:left}
.good{color:#276749;font-weight:600}.bad{color:#9b2c2c;font-weight:600}.note{color:#4a5568}svg{max-width:100%;height:auto}
svg text{font:12px system-ui,sans-serif}code{background:#edf2f7;padding:0 .3em}
"""


def better(row: Mapping[str, Any]) -> str:
    """Say what the interval of a comparison shows: `better`, `worse` or `not shown`, for the left arm."""
    if not row["clear"]:
        return "not shown"
    return "better" if (row["mean"] < 0) == (row["measure"] == "loss") else "worse"


def sentence(row: Mapping[str, Any]) -> str:
    """Return one comparison as a plain sentence."""
    verdict = {"better": "is better", "worse": "is worse", "not shown": "is not shown to differ"}[better(row)]
    return (
        f"{row['arch']}: {row['left']} {verdict} than {row['right']} in {row['measure']}: {row['mean']:+.4f} "
        f"[{row['low']:+.4f}, {row['high']:+.4f}], {row['seeds']} seeds, {row['items']} items."
    ).replace("differ than", "differ from")


def forest(rows: Sequence[Mapping[str, Any]], label: str) -> str:
    """Return an SVG of differences with their intervals, one line per row; `label` is the key that names a line."""
    low, high = min([0.0, *(r["low"] for r in rows)]), max([0.0, *(r["high"] for r in rows)])
    room = (high - low or 1.0) * 0.06
    low, high = low - room, high + room
    left, right, step = 150, 640, 28
    height = step * len(rows) + 50

    def x(value: float) -> float:
        return float(left + (value - low) / (high - low) * (right - left))

    parts = [
        f'<line x1="{x(0):.1f}" x2="{x(0):.1f}" y1="8" y2="{height - 36}" stroke="#718096" stroke-dasharray="4 3"/>'
    ]
    for k, row in enumerate(rows):
        y = 24 + k * step
        color = {"better": "#2f855a", "worse": "#c53030", "not shown": "#718096"}[better(row)]
        parts += [
            f'<text x="{left - 10}" y="{y + 4}" text-anchor="end">{html.escape(str(row[label]))}</text>',
            f'<line x1="{x(row["low"]):.1f}" x2="{x(row["high"]):.1f}" y1="{y}" y2="{y}" stroke="{color}" stroke-width="2.5"/>',
            f'<circle cx="{x(row["mean"]):.1f}" cy="{y}" r="5" fill="{color}"/>',
            f'<text x="{right + 12}" y="{y + 4}">{row["mean"]:+.3f} [{row["low"]:+.3f}, {row["high"]:+.3f}]</text>',
        ]
    for tick in _ticks(low, high):
        parts.append(f'<text x="{x(tick):.1f}" y="{height - 18}" text-anchor="middle">{tick:g}</text>')
    return _svg(840, height, parts)


def heat(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return an SVG table of per-task differences: a column per architecture, colour by size, bold where it is clear."""
    tasks, archs = list(dict.fromkeys(r["task"] for r in rows)), list(dict.fromkeys(r["arch"] for r in rows))
    most = max((abs(r["mean"]) for r in rows), default=0) or 1.0
    parts = [f'<text x="{200 + k * 150}" y="18" text-anchor="middle">{a}</text>' for k, a in enumerate(archs)]
    for row in rows:
        k, y = archs.index(row["arch"]), 28 + tasks.index(row["task"]) * 32
        good = (row["mean"] < 0) == (row["measure"] == "loss")
        strength = abs(row["mean"]) / most * 0.75
        weight = "700" if row["clear"] else "400"
        parts += [
            f'<rect x="{128 + k * 150}" y="{y}" width="144" height="28" fill="{"#2f855a" if good else "#c53030"}" '
            f'fill-opacity="{strength:.2f}" stroke="#e2e8f0"/>',
            f'<text x="{200 + k * 150}" y="{y + 19}" text-anchor="middle" style="font-weight:{weight}">{row["mean"]:+.3f}</text>',
        ]
    parts += [f'<text x="118" y="{47 + k * 32}" text-anchor="end">{html.escape(t)}</text>' for k, t in enumerate(tasks)]
    return _svg(140 + 150 * len(archs), 40 + 32 * len(tasks), parts)


def curves(runs: Sequence[Mapping[str, Any]], arms: Sequence[str]) -> str:
    """Return an SVG of training loss by samples seen: one panel per architecture, one line per run, coloured by arm."""
    archs = list(dict.fromkeys(r["arch"] for r in runs))
    wide, tall = 300, 200
    top = max((p["loss"] for r in runs for p in r["curve"]), default=1.0)
    parts: list[str] = []
    for k, arch in enumerate(archs):
        x0 = 40 + k * (wide + 20)
        parts.append(f'<rect x="{x0}" y="24" width="{wide - 20}" height="{tall}" fill="none" stroke="#cbd5e0"/>')
        parts.append(f'<text x="{x0 + wide / 2 - 10}" y="16" text-anchor="middle">{arch}</text>')
        for run in (r for r in runs if r["arch"] == arch):
            points = _smooth(_seen(run["curve"]))
            last = points[-1][0] if points else 1
            line = " ".join(f"{x0 + s / last * (wide - 20):.1f},{24 + tall - v / top * tall:.1f}" for s, v in points)
            color = COLORS[arms.index(run["arm"]) % len(COLORS)]
            parts.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="1.4" opacity="0.8"/>')
    parts += [
        f'<text x="34" y="{28 + tall * (1 - t / top):.1f}" text-anchor="end">{t:g}</text>' for t in _ticks(0, top)
    ]
    for k, arm in enumerate(arms):
        color = COLORS[k % len(COLORS)]
        parts.append(f'<text x="{40 + 140 * k}" y="{tall + 46}" fill="{color}">&#9632; {html.escape(arm)}</text>')
    return _svg(40 + (wide + 20) * max(1, len(archs)), tall + 56, parts)


def _seen(curve: Sequence[Mapping[str, Any]]) -> list[tuple[float, float]]:
    """Return (samples seen over both stages, loss)."""
    first = max((p["samples"] for p in curve if p["stage"] == 1), default=0)
    return [(p["samples"] + (first if p["stage"] == 2 else 0), p["loss"]) for p in curve]


def _smooth(points: list[tuple[float, float]], window: int = 5) -> list[tuple[float, float]]:
    tails = [points[max(0, k + 1 - window) : k + 1] for k in range(len(points))]
    return [(t[-1][0], sum(v for _, v in t) / len(t)) for t in tails]


def _ticks(low: float, high: float) -> list[float]:
    size = 10.0 ** len(str(int(high - low))) / 10 if high - low >= 1 else 1.0
    while (high - low) / size < 3:
        size /= 2 if str(size).strip("0.")[:1] != "5" else 2.5
    first = int(low / size) - 1
    return [round(k * size, 10) for k in range(first, first + 40) if low <= k * size <= high]


def _svg(width: int, height: int, parts: Sequence[str]) -> str:
    body = "".join(parts)
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{body}</svg>'


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    top = "".join(f"<th>{html.escape(h)}</th>" for h in head)
    body = "".join("<tr>" + "".join(f"<td>{c}</td>" for c in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _compared(rows: Sequence[Mapping[str, Any]]) -> str:
    shown = []
    for r in rows:
        kind = {"better": "good", "worse": "bad"}.get(better(r), "note")
        interval = f"[{r['low']:+.4f}, {r['high']:+.4f}]"
        p = f"{r['p_holm']:.2g}" if "p_holm" in r else ""
        shown.append((r["arch"], f"{r['left_mean']:.4f}", f"{r['right_mean']:.4f}", f"{r['mean']:+.4f}", interval,
                      f'<span class="{kind}">{better(r)}</span>', p, f"{r['mde']:.4f}", r["seeds"], r["items"]))  # fmt: skip
    left, right = (html.escape(rows[0]["left"]), html.escape(rows[0]["right"])) if rows else ("left", "right")
    head = ("", left, right, "difference", "interval", left, "p (Holm)", "detectable", "seeds", "items")
    return _table(head, shown)


def render(report: Mapping[str, Any]) -> str:
    """Return the report as one self-contained HTML page."""
    arms = list(report["arms"])
    settings = report["settings"]
    percent = f"{settings['confidence']:.0%}"
    overall = [r for r in report["comparisons"] if r["task"] == "all"]
    out = [
        f"<h1>Validation {html.escape(report['id'])}</h1>",
        "<p>" + "<br>".join(html.escape(sentence(r)) for r in overall if r["measure"] == "loss") + "</p>",
        f'<p class="note">Every run saw {report["samples_seen"]:,} samples, whatever the size of its arm; seeds '
        f"{', '.join(map(str, settings['seeds']))}; {html.escape(report['selection'])}. Intervals: {percent}, hierarchical "
        "bootstrap over seeds and items, difference = first arm minus the other, paired by seed and item; tasks count the same. "
        "“Detectable” is the smallest true difference that this design finds with power 0.8.</p>",
        "<h2>Arms</h2>",
        _table(("arm", "samples", "seen / samples", "mixture lock"), [
            (html.escape(n), f"{a['samples']:,}", f"{report['samples_seen'] / max(1, a['samples']):.2f}",
             f"<code>{html.escape(a['lock'])}</code>")
            for n, a in report["arms"].items()]),
    ]  # fmt: skip
    for measure in ("loss", "score"):
        for right in arms[1:]:
            rows = [r for r in report["comparisons"] if r["measure"] == measure and r["right"] == right]
            if not rows:
                continue
            whole = [r for r in rows if r["task"] == "all"]
            title = f"Held-out {measure}: {arms[0]} minus {right}"
            out += [f"<h2>{html.escape(title)}</h2>", f'<p class="note">{UNIT[measure]}</p>', _compared(whole),
                    forest(whole, "arch"),
                    "<h3>By task</h3>", heat([r for r in rows if r["task"] != "all"])]  # fmt: skip
            out.append(
                '<p class="note">Green: the first arm is better; bold: the interval leaves out 0 (not corrected).</p>'
            )
    out += ["<h2>Text-only loss, before and after</h2>", _table(("task", "arm", "model", "nats per token", "rows"), [
        (r["task"], html.escape(r["arm"]), r["arch"], f"{r['loss']:.4f}", r["rows"]) for r in report["text_only"]])]  # fmt: skip
    out += ["<h2>Training loss</h2>", curves(report["runs"], arms), "<h2>Cost</h2>", _cost(report)]
    out.append('<p class="note">All numbers: <code>results.parquet</code>, <code>report.json</code>.</p>')
    title = f"Validation {html.escape(report['id'])}"
    head = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
    return f"{head}{''.join(out)}</html>\n"


def _cost(report: Mapping[str, Any]) -> str:
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for run in report["runs"]:
        groups.setdefault((run["arch"], run["arm"]), []).append(run)
    rows: list[Sequence[object]] = [
        (f"{arch} {html.escape(arm)}", len(runs), f"{sum(r['train_seconds'] for r in runs) / len(runs):.1f}",
         f"{sum(r['eval_seconds'] for r in runs) / len(runs):.1f}")
        for (arch, arm), runs in groups.items()
    ]  # fmt: skip
    wall = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in report["seconds"].items())
    return (
        _table(("runs", "count", "training, s each", "evaluation, s each"), rows)
        + f'<p class="note">Wall time: {wall}.</p>'
    )


def write_html(path: Path, report: Mapping[str, Any]) -> None:
    """Write the report's page."""
    write_bytes(path, render(report).encode())

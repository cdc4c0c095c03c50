"""Charts in the manner of DVQA (Kafle et al. 2018, arXiv 1801.08163): bars with a question and a short answer.

Most are drawn with Pillow in a few milliseconds; a few percent come from matplotlib, as the charts of a report do.
"""

import functools
import io
import random
from dataclasses import dataclass

from PIL import Image, ImageDraw

from curate.synth import canvas
from curate.synth.canvas import Color, font, mix, shade, text_size
from curate.synth.item import Item, stream
from curate.synth.words import DAYS, MONTHS, PRODUCTS, UNITS

MATPLOTLIB_SHARE = 0.02


@dataclass(frozen=True)
class Chart:
    """What a chart shows: one or two rows of values, one value per label."""

    title: str
    labels: tuple[str, ...]
    series: tuple[str, ...]
    values: tuple[tuple[int, ...], ...]
    style: str  # bars | sideways | line
    seed: int


def chart(rng: random.Random) -> Chart:
    """Return a chart with 3 to 6 labels."""
    pool = rng.choice((PRODUCTS, PRODUCTS, tuple(m[:3] for m in MONTHS), tuple(d[:3] for d in DAYS)))
    n = rng.randint(3, 6)
    labels = tuple(rng.sample(pool, n))
    unit = rng.choice(UNITS)
    series = (
        tuple(str(y) for y in sorted(rng.sample(range(2015, 2025), 2))) if n <= 4 and rng.random() < 0.3 else (unit,)
    )
    values = tuple(tuple(rng.sample(range(1, 20), n)) for _ in series)
    where = rng.choice(("per shop", "this year", "in the city", "by name", "at school", "in total", "per group"))
    style = rng.choice(("bars", "bars", "bars", "sideways", "sideways", "line"))
    return Chart(f"{unit} {where}", labels, series, values, style, rng.getrandbits(64))


def question(rng: random.Random) -> Item:
    """Return a chart with a question."""
    c = chart(rng)
    ask, answer = _ask(rng, c)
    drawer = draw_matplotlib if rng.random() < MATPLOTLIB_SHARE else draw
    return Item(
        fields={"question": ask, "answer": answer, "title": c.title},
        text=f"{ask} {answer}",
        draw=functools.partial(drawer, c),
        retell=functools.partial(_retell, c),
        label="a line chart ." if c.style == "line" else "a bar chart .",
    )


def _retell(c: Chart, rng: random.Random) -> str:
    return " ".join(_ask(rng, c))


def _ask(rng: random.Random, c: Chart) -> tuple[str, str]:
    row = rng.randrange(len(c.series))
    values, of = c.values[row], f" in {c.series[row]}" if len(c.series) > 1 else ""
    one, two = rng.sample(range(len(c.labels)), 2)
    kind = rng.choice(("value", "value", "high", "low", "compare", "count"))
    if kind == "value":
        return f"What value does the chart show for {c.labels[one]}{of}?", str(values[one])
    if kind == "high":
        return f"Which label of the chart has the highest value{of}?", c.labels[values.index(max(values))]
    if kind == "low":
        return f"Which label of the chart has the lowest value{of}?", c.labels[values.index(min(values))]
    if kind == "compare":
        answer = "yes" if values[one] > values[two] else "no"
        return f"Does the chart show more for {c.labels[one]} than for {c.labels[two]}{of}?", answer
    return "How many labels does the chart have?", str(len(c.labels))


def _palette(rng: random.Random, n: int, *, dark: bool) -> list[Color]:
    if rng.random() < 0.4:
        one = canvas.hue(rng, rng.uniform(0.5, 0.9), 0.9 if dark else rng.uniform(0.45, 0.8))
        return [one] * n
    return [canvas.hue(rng, rng.uniform(0.45, 0.9), 0.92 if dark else rng.uniform(0.45, 0.85)) for _ in range(n)]


def draw(c: Chart) -> Image.Image:
    """Return the chart drawn with Pillow."""
    rng = stream("chart", c.seed)
    w, h = rng.randint(150, 190), rng.randint(124, 168)
    dark = rng.random() < 0.25
    paper = canvas.hue(rng, rng.uniform(0.02, 0.2), rng.uniform(0.16, 0.28) if dark else rng.uniform(0.9, 1))
    ink: Color = (235, 235, 230) if dark else (30, 30, 36)
    image = canvas.gradient((w, h), paper, shade(paper, rng.uniform(0.85, 1.05)), vertical=rng.random() < 0.5)
    pen = ImageDraw.Draw(image)
    face = rng.choice(canvas.PLAIN_FACES[:9])
    small, big = font(face, rng.choice((9, 10))), font(face, rng.choice((10, 11, 12)))
    left, right, top, bottom = rng.randint(18, 26), rng.randint(6, 18), rng.randint(8, 18), rng.randint(20, 28)
    if c.style == "sideways":
        left = max(text_size(small, s)[0] for s in c.labels) + rng.randint(8, 12)
    at_top = rng.random() < 0.75
    if at_top:
        pen.text((rng.randint(4, max(5, w - text_size(big, c.title)[0] - 4)), 2), c.title, font=big, fill=ink)
        top += 10
    else:
        pen.text((rng.randint(4, max(5, w - text_size(big, c.title)[0] - 4)), h - 14), c.title, font=big, fill=ink)
        bottom += 14
    count = len(c.series)
    colors = _palette(rng, len(c.labels), dark=dark)
    if count > 1:
        colors = [canvas.hue(rng, 0.8, 0.85), canvas.hue(rng, 0.3, 0.6)]
        x, y = left + rng.randint(0, 20), top
        for s, color in zip(c.series, colors, strict=True):
            pen.rectangle((x, y + 2, x + 7, y + 9), fill=color)
            pen.text((x + 10, y), s, font=small, fill=ink)
            x += 16 + text_size(small, s)[0]
        top += 14
    box = (left, top, w - right, h - bottom)
    if rng.random() < 0.5:
        pen.rectangle(box, fill=mix(paper, ink, rng.uniform(0.04, 0.14)))
    most = 20 if rng.random() < 0.7 else -(-max(max(v) for v in c.values) // 5) * 5
    grid = rng.random() < 0.7
    for tick in range(0, most + 1, 5):
        if c.style == "sideways":
            at = box[0] + (box[2] - box[0]) * tick / most
            pen.line((at, box[1], at, box[3]), fill=mix(paper, ink, 0.3) if grid else paper)
            pen.text((at - 4, box[3] + 2), str(tick), font=small, fill=ink)
        else:
            at = box[3] - (box[3] - box[1]) * tick / most
            pen.line((box[0], at, box[2], at), fill=mix(paper, ink, 0.3) if grid else paper)
            pen.text((box[0] - 4 - text_size(small, str(tick))[0], at - 6), str(tick), font=small, fill=ink)
    pen.line((box[0], box[1], box[0], box[3], box[2], box[3]), fill=ink)
    _marks(pen, c, rng, box, most, colors, small, ink)
    image = canvas.uneven_light(image, rng, rng.uniform(0.2, 0.38), 3)
    return canvas.grain(image, rng, rng.uniform(0.5, 2))


def _marks(
    pen: ImageDraw.ImageDraw,
    c: Chart,
    rng: random.Random,
    box: tuple[int, int, int, int],
    most: int,
    colors: list[Color],
    small: canvas.Font,
    ink: Color,
) -> None:
    """Draw bars or lines with their labels, and in half of the charts the values."""
    n, count = len(c.labels), len(c.series)
    numbers, fat, outline = rng.random() < 0.6, rng.uniform(0.5, 0.85), rng.random() < 0.4
    sideways = c.style == "sideways"
    step = (box[3] - box[1] if sideways else box[2] - box[0]) / n
    length = (box[2] - box[0] if sideways else box[3] - box[1]) / most
    points: list[list[tuple[float, float]]] = [[] for _ in c.series]
    for i, label in enumerate(c.labels):
        middle = (box[1] if sideways else box[0]) + (i + 0.5) * step
        tw, _ = text_size(small, label)
        if sideways:
            pen.text((box[0] - 4 - tw, middle - 6), label, font=small, fill=ink)
        else:
            # Neighbouring labels stand on two levels where they would touch.
            drop = 9 if i % 2 and max(text_size(small, s)[0] for s in c.labels) > step - 2 else 0
            pen.text((middle - tw / 2, box[3] + 1 + drop), label, font=small, fill=ink)
        for k in range(count):
            value = c.values[k][i]
            color = colors[k] if count > 1 else colors[i % len(colors)]
            a = middle - fat * step / 2 + k * fat * step / count
            b = a + fat * step / count - 1
            tip = value * length
            edge = ink if outline else None
            if c.style == "line":
                points[k].append((middle, box[3] - tip))
            elif sideways:
                pen.rectangle((box[0] + 1, a, box[0] + tip, b), fill=color, outline=edge)
            else:
                pen.rectangle((a, box[3] - tip, b, box[3] - 1), fill=color, outline=edge)
            if numbers and (sideways or count == 1):
                at = (box[0] + tip + 2, (a + b) / 2 - 6) if sideways else (middle - 5, box[3] - tip - 11)
                pen.text(at, str(value), font=small, fill=ink)
    for k, line in enumerate(points):
        if line:
            pen.line(line, fill=colors[k], width=2)
            for x, y in line:
                pen.ellipse((x - 3, y - 3, x + 3, y + 3), fill=colors[k], outline=ink)


def draw_matplotlib(c: Chart) -> Image.Image:
    """Return the chart as matplotlib draws it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rng = stream("chart", c.seed)
    figure = Figure(figsize=(rng.uniform(2.1, 2.6), rng.uniform(1.6, 2.1)), dpi=75)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.2, 0.2, 0.75, 0.65))
    for k, (name, row) in enumerate(zip(c.series, c.values, strict=True)):
        axes.bar(
            [i + 0.4 * k for i in range(len(row))], row, 0.8 / len(c.series), label=name, color=f"C{rng.randrange(10)}"
        )
    axes.set_xticks(range(len(c.labels)), c.labels, fontsize=6)
    axes.tick_params(axis="y", labelsize=6)
    axes.set_title(c.title, fontsize=7)
    axes.grid(visible=rng.random() < 0.5, axis="y")
    if len(c.series) > 1:
        axes.legend(fontsize=5)
    out = io.BytesIO()
    figure.savefig(out, format="png", facecolor=[x / 255 for x in canvas.hue(rng, 0.08, 1)])
    image = Image.open(io.BytesIO(out.getvalue())).convert("RGB")
    return canvas.uneven_light(image, rng, 0.2, 2)

"""Pages and lines of text in the manner of SynthDoG (Kim et al. 2022, arXiv 2111.15664, section 3.3): text on paper.

Every line comes with its quadrilateral and the confidence of a pretended OCR engine. Half of the documents are small crops
of one or two short lines, which a very small model can learn to read.
"""

import functools
import random
from dataclasses import dataclass

from PIL import Image, ImageDraw

from curate.synth import canvas, prose, receipts
from curate.synth.canvas import font, shade, text_size
from curate.synth.item import Item, stream
from curate.synth.words import fill


@dataclass(frozen=True)
class Layout:
    """Where the lines of a document stand on its paper."""

    width: int
    height: int
    face: str
    size: int
    lines: tuple[tuple[str, int, int], ...]  # text, x, y of the top left corner
    seed: int


def item(rng: random.Random) -> Item:
    """Return a page, a receipt or a crop."""
    kind = rng.choice(("line", "line", "line", "line", "line", "receipt", "receipt", "receipt", "page", "page"))
    if kind == "line":
        return record(rng, "page", _crop(rng))
    return record(rng, kind, _receipt(rng) if kind == "receipt" else _page(rng))


def record(rng: random.Random, kind: str, layout: Layout) -> Item:
    """Return the document with its text, its lines and how to draw it."""
    face = font(layout.face, layout.size)
    lines = []
    for text, x, y in layout.lines:
        w, _ = text_size(face, text)
        y2 = y + layout.size + 2
        lines.append(
            {"quad": [x, y, x + w, y, x + w, y2, x, y2], "text": text, "confidence": round(rng.uniform(0.9, 0.995), 3)}
        )
    text = "\n".join(t for t, _, _ in layout.lines)
    return Item(
        fields={"text": text, "lines": lines, "kind": kind},
        text=" ".join(text.split()),
        draw=functools.partial(draw, layout, kind),
        retell=functools.partial(_retell, [t for t, _, _ in layout.lines]),
        label="a receipt ."
        if kind == "receipt"
        else "a page of text ."
        if len(lines) > 2
        else "a few words on paper .",
    )


def _retell(lines: list[str], rng: random.Random) -> str:
    """Return the text from some line on."""
    return " ".join(" ".join(lines[rng.randrange(len(lines)) :]).split())


def _crop(rng: random.Random) -> Layout:
    """Return one or two short lines in a small picture."""
    rows = []
    for _ in range(rng.choice((1, 1, 2))):
        rows.append(
            fill(
                rng.choice(
                    (
                        "{adj} {thing}", "{color} {goods}", "{product} and {product}", "{shop}", "{name} {saw} {product}",
                        "{month} {digits}", "{digits} {goods}", "{adj} {goods}", "the {adj} {place}", "total {digits}",
                        "{day} {subject}", "{person} {adverb}", "{number} {containers}", "{product} {digits}", "no {goods}",
                    )
                ),
                rng,
            )
        )  # fmt: skip
    face = rng.choice(canvas.FACES)
    size = rng.randint(12, 21)
    w = rng.randint(112, 168)
    while max(text_size(font(face, size), r)[0] for r in rows) > w - 12 and size > 9:
        size -= 1
    widest = max(text_size(font(face, size), r)[0] for r in rows)
    w = max(w, widest + 12)
    h = max(rng.randint(68, 104), int(w / 2.2) + 1)
    y = rng.randint(5, max(6, h - len(rows) * (size + 10) - 6))
    out = []
    for r in rows:
        out.append((r, rng.randint(5, max(6, w - text_size(font(face, size), r)[0] - 5)), y))
        y += size + rng.randint(5, 10)
    return Layout(w, h, face, size, tuple(out), rng.getrandbits(64))


def _page(rng: random.Random) -> Layout:
    """Return a heading and a paragraph or two."""
    face, size = rng.choice(canvas.FACES), rng.randint(10, 12)
    w = rng.randint(170, 220)
    left = rng.randint(10, 26)
    x, y = left, rng.randint(10, 34)
    column = w - left - rng.randint(8, 22)
    out: list[tuple[str, int, int]] = []
    if rng.random() < 0.6:
        title = fill(rng.choice(("{subject} and {subject}", "about {subject}", "{shop}", "news of {month}")), rng)
        out.append((title, left + rng.randint(0, 40), y))
        y += size + rng.randint(8, 16)
    for _ in range(rng.randint(1, 2)):
        row = ""
        for word in prose.line(rng).split():
            if row and text_size(font(face, size), f"{row} {word}")[0] > column:
                out.append((row, x, y))
                row, y = "", y + size + 4
            row = f"{row} {word}".strip()
        out.append((row, x, y))
        y += size + rng.randint(6, 18)
    return Layout(w, max(y + rng.randint(6, 40), w // 2), face, size, tuple(out), rng.getrandbits(64))


def _receipt(rng: random.Random) -> Layout:
    """Return a receipt: name on the left, price on the right, as one line each."""
    rows = receipts.rows(rng)
    face = rng.choice(("DejaVuSansMono.ttf", "DejaVuSansMono-Bold.ttf", "cmtt10.ttf", "DejaVuSansMono.ttf"))
    size = rng.randint(10, 12)
    wide = max(text_size(font(face, size), r)[0] for r in rows)
    left = rng.randint(8, 30)
    w = left + wide + rng.randint(8, 30)
    y = rng.randint(8, 24)
    gap = rng.randint(2, 6)
    out = []
    for i, r in enumerate(rows):
        middle = left + (wide - text_size(font(face, size), r)[0]) // 2 if i == 0 else left
        out.append((r, middle, y))
        y += size + gap + (rng.randint(2, 8) if i in (0, len(rows) - 2) else 0)
    return Layout(max(w, 72), max(y + rng.randint(4, 24), w // 2, 66), face, size, tuple(out), rng.getrandbits(64))


def draw(layout: Layout, kind: str) -> Image.Image:
    """Return the paper with its text, photographed under uneven light."""
    rng = stream("document", layout.seed)
    w, h = layout.width, layout.height
    paper = canvas.hue(rng, rng.uniform(0.01, 0.1 if kind == "receipt" else 0.2), rng.uniform(0.86, 0.99))
    ink = canvas.hue(rng, rng.uniform(0, 0.7), rng.uniform(0.05, 0.3))
    if kind != "receipt" and rng.random() < 0.15:
        paper, ink = shade(ink, 1.05), paper
    image = canvas.gradient((w, h), paper, shade(paper, rng.uniform(0.8, 0.97)), vertical=rng.random() < 0.5)
    pen = ImageDraw.Draw(image)
    if kind == "receipt":
        # A torn edge and the dark of the till around the strip.
        desk = canvas.hue(rng, rng.uniform(0.1, 0.5), rng.uniform(0.2, 0.5))
        first = min(x for _, x, _ in layout.lines)
        pen.rectangle((0, 0, max(0, first - 6), h), fill=desk)
        edge = rng.randint(2, 5)
        for x in range(0, w, 6):
            pen.polygon(((x, 0), (x + 3, edge), (x + 6, 0)), fill=desk)
    else:
        side = rng.randrange(6)
        if side < 4:
            depth = rng.randint(2, 5)
            desk = canvas.hue(rng, 0.4, rng.uniform(0.2, 0.6))
            box = ((0, 0, depth, h), (w - depth, 0, w, h), (0, 0, w, depth), (0, h - depth, w, h))[side]
            pen.rectangle(box, fill=desk)
        if rng.random() < 0.25:
            rule = canvas.mix(paper, (90, 140, 220), 0.35)
            for y in range(rng.randint(4, 12), h, layout.size + 6):
                pen.line((0, y, w, y), fill=rule)
    face = font(layout.face, layout.size)
    for text, x, y in layout.lines:
        pen.text((x, y), text, font=face, fill=ink)
    if kind == "receipt" and len(layout.lines) > 2:
        y = layout.lines[-1][2] - 3
        pen.line((layout.lines[-1][1], y, w - 8, y), fill=ink)
    image = image.rotate(rng.uniform(-1.4, 1.4), Image.Resampling.BICUBIC, fillcolor=paper)
    image = canvas.uneven_light(image, rng, rng.uniform(0.28, 0.52), 4)
    return canvas.grain(image, rng, rng.uniform(1.5, 5))

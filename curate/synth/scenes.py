"""Scenes in the manner of CLEVR: solids on a ground plane, captions that list them and questions that count them."""

import functools
import math
import random
from collections import Counter
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from curate.synth import canvas
from curate.synth.canvas import Color, shade
from curate.synth.item import Item, stream
from curate.synth.words import COLORS, NUMBERS, SHAPES, article

RGB: dict[str, Color] = {
    "red": (200, 30, 36),
    "green": (36, 150, 52),
    "blue": (36, 76, 205),
    "yellow": (240, 208, 30),
    "purple": (138, 44, 168),
    "orange": (244, 124, 20),
    "white": (238, 238, 236),
    "black": (34, 34, 38),
}

Group = tuple[int, str, str]  # how many, colour, shape


@dataclass(frozen=True)
class Solid:
    """One object on the ground, placed in units of the picture's width."""

    color: str
    shape: str
    x: float  # centre of the base
    y: float
    size: float  # half the width
    turn: float
    metal: bool


def groups(rng: random.Random) -> tuple[Group, ...]:
    """Return 1 to 3 groups of like objects, 2 to 9 objects together."""
    while True:
        kinds = rng.sample([(c, s) for c in COLORS for s in SHAPES], rng.choice((1, 2, 2, 2, 3, 3)))
        found = tuple((rng.choice((1, 1, 1, 2, 2, 3, 4)), c, s) for c, s in kinds)
        if 2 <= sum(n for n, _, _ in found) <= 9:
            return found


def describe(found: tuple[Group, ...]) -> str:
    """Return a caption such as `two red cubes and a green sphere .`"""
    parts = [article(f"{c} {s}") if n == 1 else f"{NUMBERS[n]} {c} {s}s" for n, c, s in found]
    return (parts[0] if len(parts) == 1 else " , ".join(parts[:-1]) + f" and {parts[-1]}") + " ."


def caption(rng: random.Random) -> Item:
    """Return a scene with a caption."""
    found = groups(rng)
    text = describe(found)
    return Item(
        fields={"caption": text},
        text=text,
        draw=functools.partial(draw, found, rng.getrandbits(64)),
        retell=functools.partial(_retell, found),
        colors=frozenset(c for _, c, _ in found),
    )


def question(rng: random.Random) -> Item:
    """Return a scene with a question of one of five sorts and an answer of one word."""
    found = groups(rng)
    ask, answer = _ask(rng, found)
    return Item(
        fields={"question": ask, "answer": answer},
        text=f"{ask} {answer}",
        draw=functools.partial(draw, found, rng.getrandbits(64)),
        retell=functools.partial(_retell, found),
        colors=frozenset(c for _, c, _ in found),
    )


def _retell(found: tuple[Group, ...], rng: random.Random) -> str:
    return describe(found) if rng.random() < 0.3 else " ".join(_ask(rng, found))


def _ask(rng: random.Random, found: tuple[Group, ...]) -> tuple[str, str]:
    shapes: Counter[str] = Counter()
    for n, _, s in found:
        shapes[s] += n
    n, color, shape = rng.choice(found)
    kind = rng.choice(("count", "count", "count", "exists", "color", "compare", "total"))
    if kind == "count":
        return f"How many {color} {shape}s are there?", str(n)
    if kind == "total":
        return f"How many {shape}s are there?", str(shapes[shape])
    if kind == "exists":
        if rng.random() < 0.5:
            return f"Is there a {color} {shape}?".replace("a orange", "an orange"), "yes"
        absent = rng.choice([(c, s) for c in COLORS for s in SHAPES if all((c, s) != g[1:] for g in found)])
        return f"Is there {article(' '.join(absent))}?", "no"
    if kind == "color":
        alone = [g for g in found if sum(1 for h in found if h[2] == g[2]) == 1]
        if alone:
            n, color, shape = rng.choice(alone)
            return (f"What color is the {shape}?" if n == 1 else f"What color are the {shape}s?"), color
    if len(shapes) > 1:
        one, two = rng.sample(sorted(shapes), 2)
        return f"Are there more {one}s than {two}s?", "yes" if shapes[one] > shapes[two] else "no"
    return f"How many {shape}s are there?", str(shapes[shape])


def place(rng: random.Random, found: tuple[Group, ...], horizon: float, aspect: float) -> list[Solid]:
    """Return the objects, far ones first, so that none hides another."""
    todo = [(c, s) for n, c, s in found for _ in range(n)]
    base = rng.uniform(0.085, 0.115) * (1.0 if len(todo) < 6 else 0.82)
    while True:
        out: list[Solid] = []
        for color, shape in todo:
            for _ in range(60):
                depth = rng.random()
                y = horizon + 0.06 + (aspect - horizon - 0.1) * depth
                size = base * (0.62 + 0.62 * depth) * rng.choice((0.8, 1.0, 1.15))
                x = rng.uniform(size + 0.02, 0.98 - size)
                if y - 1.7 * size < 0.01:
                    continue
                if all(abs(x - o.x) > 0.92 * (size + o.size) or abs(y - o.y) > 1.75 * max(size, o.size) for o in out):
                    out.append(Solid(color, shape, x, y, size, rng.uniform(0.15, 1.42), rng.random() < 0.5))
                    break
            else:
                break
        if len(out) == len(todo):
            return sorted(out, key=lambda o: o.y)
        base *= 0.93


@functools.lru_cache(maxsize=64)
def _sprite(shape: str, light: int, *, metal: bool) -> tuple[Image.Image, Image.Image]:
    """Return (shading, mask) of a round solid lit from one of eight directions, 128 pixels wide."""
    n = 128
    angle = -0.35 - light * (math.pi - 0.7) / 7
    lx, ly, lz = 0.62 * math.cos(angle), 0.62 * math.sin(angle), 0.62
    x, y = np.meshgrid((np.arange(n) + 0.5) / n * 2 - 1, (np.arange(n) + 0.5) / n * 2 - 1)
    if shape == "sphere":
        inside = x**2 + y**2 <= 1
        z = np.sqrt(np.maximum(0, 1 - x**2 - y**2))
        nx, ny, nz = x, y, z
    elif shape == "cylinder":
        # A body with an elliptic top and bottom; y runs down. The top is the brightest face.
        e = 0.3
        edge = e * np.sqrt(np.maximum(0, 1 - x**2))
        top = (np.abs(x) <= 1) & (np.abs(y + 1 - e) <= edge)
        inside = (y >= -1 + e - edge) & (y <= 1 - e + edge)
        z = np.sqrt(np.maximum(0, 1 - x**2))
        nx, ny, nz = np.where(top, 0, x), np.where(top, -0.9, 0), np.where(top, 0.45, z)
    else:
        e = 0.28
        half = np.clip((y + 1) / (2 - e), 0, 1)
        edge = e * np.sqrt(np.maximum(0, 1 - x**2))
        inside = (np.abs(x) <= half) & (y <= 1 - e + edge)
        u = np.clip(x / np.maximum(half, 1e-3), -1, 1)
        nx, ny, nz = 0.9 * u, np.full_like(u, -0.35), 0.9 * np.sqrt(1 - u**2)
    diffuse = np.clip(nx * lx + ny * ly + nz * lz, 0, 1)
    value = 26 + 118 * diffuse / 0.9
    rz = 2 * diffuse * nz - lz
    value = value + (150 if metal else 55) * np.clip(rz, 0, 1) ** (18 if metal else 6)
    shading = Image.fromarray(value.clip(0, 255).astype(np.uint8))
    return shading, Image.fromarray((inside * 255).astype(np.uint8))


def _room(rng: random.Random, w: int, h: int, horizon: int) -> Image.Image:
    """Return walls and a floor: two tones, perhaps a corner, tiles or a stripe on the wall."""
    dark_floor = rng.random() < 0.5
    tones = (rng.uniform(0.66, 0.86), rng.uniform(0.4, 0.55))
    floor = canvas.hue(rng, rng.uniform(0.03, 0.22), tones[1] if dark_floor else tones[0])
    wall = canvas.hue(rng, rng.uniform(0.03, 0.25), tones[0] if dark_floor else tones[1])
    image = canvas.gradient((w, h), shade(wall, rng.uniform(0.7, 1.05)), wall, vertical=rng.random() < 0.6)
    pen = ImageDraw.Draw(image)
    style = rng.randrange(4)
    if style == 0:
        x = rng.randint(w // 6, w * 5 // 6)
        pen.rectangle((x, 0, w, horizon), fill=shade(wall, rng.choice((0.78, 0.86, 1.15, 1.25))))
    elif style == 1:
        y = rng.randint(0, max(1, horizon - 8))
        pen.rectangle((0, y, w, y + rng.randint(4, 14)), fill=shade(wall, rng.choice((0.7, 1.3))))
    elif style == 2:
        x, y = rng.randint(0, w * 3 // 4), rng.randint(-10, max(0, horizon // 2))
        box = (x, y, x + rng.randint(w // 8, w // 3), min(horizon - 4, y + rng.randint(20, 60)))
        if box[3] > box[1]:
            pen.rectangle(box, fill=shade(wall, rng.choice((0.7, 1.3))), outline=shade(wall, 0.6))
    ground = canvas.gradient(
        (w, h - horizon), shade(floor, rng.uniform(0.75, 1)), shade(floor, rng.uniform(0.95, 1.15))
    )
    if rng.random() < 0.4:
        lines = ImageDraw.Draw(ground)
        vanish, step, tint = (
            rng.uniform(0.2, 0.8) * w,
            rng.uniform(0.18, 0.4) * w,
            shade(floor, rng.choice((0.85, 1.1))),
        )
        for k in range(-14, 15):
            lines.line((vanish + k * step * 0.25, 0, vanish + k * step * 1.6, h - horizon), fill=tint, width=2)
        row = 4.0
        while row < h - horizon:
            lines.line((0, row, w, row), fill=tint, width=2)
            row *= 1.55
    image.paste(ground, (0, horizon))
    return image


def draw(found: tuple[Group, ...], seed: int) -> Image.Image:
    """Return the picture: drawn at twice its size and scaled down."""
    rng = stream("scene", seed)
    w, h = rng.randint(112, 168), rng.randint(96, 136)
    aspect, ww, hh = h / w, 2 * w, 2 * h
    horizon = rng.uniform(0.2, 0.46) * aspect
    solids = place(rng, found, horizon, aspect)
    image = _room(rng, ww, hh, round(horizon * ww))
    image = canvas.uneven_light(image, rng, rng.uniform(0.3, 0.5), 3)
    light = rng.randrange(8)
    lean = math.cos(-0.35 - light * (math.pi - 0.7) / 7)
    shadow = Image.new("L", (ww, hh), 0)
    pen = ImageDraw.Draw(shadow)
    for o in solids:
        x, y, r = o.x * ww - lean * o.size * ww * 0.5, o.y * ww, o.size * ww
        pen.ellipse((x - 1.25 * r, y - 0.42 * r, x + 1.25 * r, y + 0.34 * r), fill=150)
    image.paste((12, 12, 20), (0, 0), shadow.filter(ImageFilter.BoxBlur(4)))
    for o in solids:
        if o.shape == "cube":
            _cube(image, o, ww, lean)
        else:
            _round(image, o, ww, light)
    image = image.resize((w, h), Image.Resampling.BOX)
    return canvas.grain(image, rng, rng.uniform(1, 3))


def _ramp(color: str, *, metal: bool) -> tuple[Color, Color, Color]:
    rgb = RGB[color]
    return (
        shade(rgb, 0.28),
        rgb,
        (255, 255, 255) if metal or color == "white" else canvas.mix(rgb, (255, 255, 255), 0.7),
    )


def _round(image: Image.Image, o: Solid, scale: int, light: int) -> None:
    shading, mask = _sprite(o.shape, light, metal=o.metal)
    r = o.size * scale
    width = max(6, round(2 * r))
    height = max(6, round(2 * r * {"sphere": 1.0, "cylinder": 0.98, "cone": 1.1}[o.shape]))
    low, mid, high = _ramp(o.color, metal=o.metal)
    tinted = ImageOps.colorize(shading.resize((width, height), Image.Resampling.BILINEAR), low, high, mid, midpoint=125)
    x, y = round(o.x * scale - r), round(o.y * scale + 0.24 * r - height)
    image.paste(tinted, (x, y), mask.resize((width, height), Image.Resampling.BILINEAR))


def _cube(image: Image.Image, o: Solid, scale: int, lean: float) -> None:
    """Draw a cube turned about its upright axis: two sides and the top."""
    cx, cy, r = o.x * scale, o.y * scale, o.size * scale * 0.95
    corners = []
    for k in range(4):
        a = o.turn + k * math.pi / 2
        corners.append((cx + 1.08 * r * math.cos(a), cy + 0.44 * r * math.sin(a)))
    near = max(range(4), key=lambda k: corners[k][1])
    rise = 1.42 * r
    front, left, right, back = corners[near], corners[(near + 1) % 4], corners[near - 1], corners[near - 2]
    pen = ImageDraw.Draw(image)
    rgb = RGB[o.color]

    def up(p: tuple[float, float]) -> tuple[float, float]:
        return p[0], p[1] - rise

    dim = 0.55 if o.color != "black" else 1.0
    sides = (1.0, dim) if lean < 0 else (dim, 1.0)
    top = shade(rgb, 1.28 if o.color != "white" else 1.9)
    pen.polygon((front, left, up(left), up(front)), fill=shade(rgb, sides[0] * 0.86))
    pen.polygon((front, right, up(right), up(front)), fill=shade(rgb, sides[1] * 0.86))
    pen.polygon((up(front), up(left), up(back), up(right)), fill=top)
    if o.metal:
        edge = canvas.mix(rgb, (255, 255, 255), 0.75)
        pen.line((up(left), up(front), up(right)), fill=edge, width=2)
        pen.line((front, up(front)), fill=edge, width=2)

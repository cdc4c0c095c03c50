r"""Word problems with worked solutions in the manner of GSM8K, and problems in LaTeX, as text and as pictures.

A step of a solution carries its arithmetic as `<<3*4=12>>12`; the last line is `#### 12` (Cobbe et al. 2021,
arXiv 2110.14168, section 2). Stories are put together from an opening, a start, up to two turns and a question, each
with several wordings, so that two problems rarely share five words in a row.
"""

import functools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from PIL import Image

from curate.synth import canvas, prose, words
from curate.synth.item import Item, stream


@dataclass(frozen=True)
class Step:
    """One line of a solution: `before` a operator b `after`. `a` is None where the step goes on from the last result."""

    before: str
    a: int | None
    operator: str
    b: int
    after: str


def calculate(a: int, operator: str, b: int) -> int:
    """Return a operator b in whole numbers."""
    return {"+": a + b, "-": a - b, "*": a * b, "/": a // b if b else 0}[operator]


def solution(steps: Sequence[Step], wrong: tuple[int, int] | None = None) -> str:
    """Return the worked solution. `wrong`: (step, error) makes that step's arithmetic wrong and goes on from there."""
    lines, last = [], 0
    for i, s in enumerate(steps):
        a = last if s.a is None else s.a
        last = calculate(a, s.operator, s.b)
        if wrong is not None and wrong[0] == i:
            last += wrong[1]
        lines.append(f"{s.before} {a} {s.operator} {s.b} = <<{a}{s.operator}{s.b}={last}>>{last} {s.after}.")
    return "\n".join([*lines, f"#### {last}"])


def _start(rng: random.Random, name: str, goods: str) -> tuple[str, Step, int]:
    place, adj, day = (rng.choice(words.SLOTS[k]) for k in ("place", "adj", "day"))
    boxes = rng.choice(words.CONTAINERS)
    box = words.SINGULAR[boxes]
    a, b = rng.randint(2, 12), rng.randint(3, 15)
    kind = rng.randrange(6)
    if kind == 0:
        verb = rng.choice(("buys", "packs", "brings", "orders", "fills", "finds"))
        second = rng.choice(
            (
                f"Each {adj} {box} holds {b} {goods}.",
                f"There are {b} {goods} in every {box}.",
                f"In each {box} lie {b} {adj} {goods}.",
                f"One {box} contains {b} {goods}.",
            )
        )
        text = f"{name} {verb} {a} {boxes} of {goods} at the {place}. {second}"
        return text, Step(rng.choice((f"The {boxes} hold", "That makes", f"{name} has")), a, "*", b, goods), a * b
    if kind == 1:
        c = rng.randint(10, 60)
        d = rng.randint(5, 40)
        people = rng.choice(words.SLOTS["person"])
        text = rng.choice(
            (
                f"{name} has {c} {goods}, and the {people} from the {place} adds {d}.",
                f"On {day} {name} counts {c} {goods} and {d} more in the {place}.",
                f"{name} collects {c} {adj} {goods} on {day} and another {d} with the {people}.",
            )
        )
        return text, Step(rng.choice(("Together there are", "The sum is", f"{name} gets")), c, "+", d, goods), c + d
    if kind == 2:
        weeks = rng.choice(("days", "weeks", "months", "hours"))
        verb = rng.choice(("makes", "sells", "draws", "washes", "paints", "sorts"))
        text = rng.choice(
            (
                f"{name} {verb} {a} {goods} in each of {b} {weeks} for the {place}.",
                f"For {b} {weeks}, {name} {verb} {a} {adj} {goods} at a time in the {place}.",
            )
        )
        return text, Step(rng.choice((f"In {b} {weeks} that is", "This comes to")), a, "*", b, goods), a * b
    if kind == 3:
        c = rng.randint(30, 95)
        d = rng.randint(4, 25)
        thing = rng.choice(words.SLOTS["thing"])
        text = rng.choice(
            (
                f"Of {c} {goods} on the {adj} {thing}, {name} takes {d} away.",
                f"{name} starts with {c} {goods} and leaves {d} in the {place}.",
                f"The {place} had {c} {goods} until {name} sold {d} on {day}.",
            )
        )
        return text, Step(rng.choice(("So there remain", "What is left is", "Then there are")), c, "-", d, goods), c - d
    if kind == 4:
        color, shape = rng.choice(words.COLORS), rng.choice(words.SHAPES)
        text = (
            f"A {adj} {shape} needs {b} {goods}, and {name} builds {a} {color} {shape}s "
            f"{rng.choice(words.SLOTS['prep'])} the {place}."
        )
        return text, Step(rng.choice((f"All {shape}s need", f"The {a} {shape}s take")), a, "*", b, goods), a * b
    product, other = rng.sample(words.PRODUCTS, 2)
    c, d = rng.randint(12, 70), rng.randint(5, 50)
    text = rng.choice(
        (
            f"In {name}'s chart the bar for {product} means {c} {goods} and {other} means {d}.",
            f"{name} trades {product} for {c} {goods} and {other} for {d} at the {place}.",
        )
    )
    return text, Step(rng.choice(("Both give", "The total is")), c, "+", d, goods), c + d


def _turn(rng: random.Random, goods: str, value: int) -> tuple[str, Step, int] | None:
    other, person, day = rng.choice(words.NAMES), rng.choice(words.SLOTS["person"]), rng.choice(words.DAYS)
    kind = rng.randrange(4)
    if kind == 0 and value > 6:
        b = rng.randint(2, value - 3)
        text = rng.choice(
            (
                f"Then {other} borrows {b} of them.",
                f"On {day} the {person} receives {b} as a gift.",
                f"Sadly, {b} are lost near the {rng.choice(words.SLOTS['place'])}.",
            )
        )
        return text, Step(rng.choice(("After that there are", "This leaves")), None, "-", b, goods), value - b
    if kind == 1:
        b = rng.randint(3, 40)
        text = rng.choice(
            (
                f"Later {other} brings {b} more.",
                f"The {person} gives {b} extra on {day}.",
                f"{other} finds another {b}.",
            )
        )
        return text, Step(rng.choice(("Now there are", "With these it is")), None, "+", b, goods), value + b
    if kind == 2 and value < 120:
        b = rng.randint(2, 4)
        text = rng.choice((f"By {day} the number is {b} times as large.", f"{other} has {b} times as many as that."))
        return text, Step("Multiplied this is", None, "*", b, goods), value * b
    for b in rng.sample((2, 3, 4, 5, 6, 8), 6):
        if value % b == 0 and value // b > 1:
            text = rng.choice(
                (
                    f"They are shared equally by {b} {person}s.",
                    f"{other} splits them into {b} equal {rng.choice(words.CONTAINERS)}.",
                )
            )
            return text, Step("Each part has", None, "/", b, goods), value // b
    return None


@dataclass(frozen=True)
class Problem:
    """A problem as text, and the steps of its solution (none: in LaTeX, `answer` as it is)."""

    question: str
    steps: tuple[Step, ...] = ()
    answer: str = ""


def story(rng: random.Random) -> Problem:
    """Return a word problem of 1 to 3 steps."""
    name, goods = rng.choice(words.NAMES), rng.choice(words.GOODS)
    opening = prose.line(rng, (prose.TALES, prose.TRADE)) if rng.random() < 0.75 else ""
    text, step, value = _start(rng, name, goods)
    parts, steps = [opening, text], [step]
    for _ in range(rng.choice((0, 1, 1, 1, 2))):
        turn = _turn(rng, goods, value)
        if turn:
            text, step, value = turn
            parts.append(text)
            steps.append(step)
    ends = {
        "/": (f"How many {goods} are in each part?", f"What does one part hold, counted in {goods}?"),
    }.get(
        steps[-1].operator,
        (
            f"How many {goods} are there in the end?",
            f"How many {goods} is that?",
            f"What is the number of {goods} now?",
            f"Find how many {goods} there are.",
        ),
    )
    parts.append(rng.choice(ends))
    return Problem(" ".join(p for p in parts if p), tuple(steps))


def _tex(f: Fraction) -> str:
    return str(f.numerator) if f.denominator == 1 else rf"\frac{{{f.numerator}}}{{{f.denominator}}}"


def _fraction(rng: random.Random) -> Fraction:
    b = rng.randint(2, 12)
    return Fraction(rng.randint(1, 2 * b), b)


def latex(rng: random.Random) -> Problem:
    """Return a problem in LaTeX: fractions, a linear equation, a root, a power or an area."""
    name, product = rng.choice(words.NAMES), rng.choice(words.PRODUCTS)
    intro = prose.line(rng, (prose.TALES, prose.CHARTS))
    kind = rng.randrange(4)
    if kind == 0:
        p, q = _fraction(rng), _fraction(rng)
        ask = rng.choice(
            (
                rf"{name} mixes $\frac{{{p.numerator}}}{{{p.denominator}}}$ cups of {product} with ${_tex(q)}$ cups of water. "
                r"Find the sum.",
                rf"Compute ${_tex(p)} + {_tex(q)}$ for {name}.",
                rf"What is ${_tex(p)} + {_tex(q)}$ of a bottle of {product}?",
            )
        )
        n = p.denominator * q.denominator
        a, b = p.numerator * q.denominator, q.numerator * p.denominator
        body = (
            rf"\begin{{aligned}} {_tex(p)} + {_tex(q)} &= \frac{{{a}}}{{{n}}} + \frac{{{b}}}{{{n}}} \\ "
            rf"&= \frac{{{a + b}}}{{{n}}} = {_tex(p + q)} \end{{aligned}}"
        )
        total = p + q
        return Problem(f"{intro} {ask}", answer=f"${body}$\n#### {total}")
    if kind == 1:
        x, a, b = rng.randint(2, 19), rng.randint(2, 15), rng.randint(1, 60)
        ask = rng.choice(
            (f"Solve ${a}x + {b} = {a * x + b}$.", f"{name} asks which $x$ gives ${a}x + {b} = {a * x + b}$.")
        )
        body = rf"\begin{{aligned}} {a}x &= {a * x + b} - {b} = {a * x} \\ x &= \frac{{{a * x}}}{{{a}}} = {x} \end{{aligned}}"
        return Problem(f"{intro} {ask}", answer=f"${body}$\n#### {x}")
    if kind == 2:
        x, y = rng.randint(2, 25), rng.randint(2, 30)
        ask = rng.choice(
            (rf"Find $\sqrt{{{x * x}}} \cdot {y}$.", rf"How large is $\sqrt{{{x * x}}} \cdot {y}$ for {name}?")
        )
        return Problem(
            f"{intro} {ask}", answer=rf"$\sqrt{{{x * x}}} \cdot {y} = {x} \cdot {y} = {x * y}$" + f"\n#### {x * y}"
        )
    a, b, c = rng.randint(2, 9), rng.randint(2, 40), rng.randint(2, 12)
    ask = rng.choice(
        (
            rf"Evaluate $\left( {a}^{{2}} + {b} \right) \cdot {c}$.",
            rf"For {product}, {name} needs $\left( {a}^{{2}} + {b} \right) \cdot {c}$ coins. How many?",
        )
    )
    value = (a * a + b) * c
    body = rf"$\left( {a}^{{2}} + {b} \right) \cdot {c} = {a * a + b} \cdot {c} = {value}$"
    return Problem(f"{intro} {ask}", answer=f"{body}\n#### {value}")


def problem(rng: random.Random) -> Item:
    """Return a problem as text: three in five are stories, the rest is LaTeX."""
    return record(story(rng) if rng.random() < 0.6 else latex(rng))


def record(p: Problem, wrong: tuple[int, int] | None = None) -> Item:
    """Return the problem as a record, with a wrong step if told so."""
    return Item(fields={"question": p.question, "answer": solution(p.steps, wrong) if p.steps else p.answer})


def wrong_answer(rng: random.Random) -> Item:
    """Return a story with one step whose arithmetic does not hold; what follows goes on from the wrong number."""
    p = story(rng)
    error = rng.choice((-3, -2, -1, 1, 2, 3, 5, 7, 10, 11))
    # A wrong number that is divided afterwards would need a fraction: then the division itself is the wrong step.
    divided = any(s.operator == "/" for s in p.steps)
    return record(p, (len(p.steps) - 1 if divided else rng.randrange(len(p.steps)), error))


_TASKS = ("What is the result of the formula?", "Solve the formula.", "Write the formula with its result.")


def formula(rng: random.Random) -> Item:
    """Return a rendered formula with the formula and its result as text."""
    kind = rng.randrange(6)
    if kind == 0:
        a, b = rng.randint(2, 99), rng.randint(2, 99)
        left, value = f"{a} + {b}", str(a + b)
    elif kind == 1:
        a, b = rng.randint(20, 99), rng.randint(2, 19)
        left, value = f"{a} - {b}", str(a - b)
    elif kind == 2:
        a, b = rng.randint(2, 20), rng.randint(2, 12)
        left, value = rf"{a} \times {b}", str(a * b)
    elif kind == 3:
        p, q = _fraction(rng), _fraction(rng)
        left, value = f"{_tex(p)} + {_tex(q)}", _tex(p + q)
    elif kind == 4:
        a, b = rng.randint(2, 15), rng.randint(1, 40)
        left, value = rf"\sqrt{{{a * a}}} + {b}", str(a + b)
    else:
        a, b = rng.randint(2, 12), rng.randint(1, 40)
        left, value = rf"{a}^{{2}} + {b}", str(a * a + b)
    ask = rng.choice(_TASKS)
    answer = f"${left} = {value}$"
    seed = rng.getrandbits(64)
    return Item(
        fields={"question": ask, "answer": answer},
        text=f"{ask} {answer}",
        draw=functools.partial(draw_formula, left + " =", seed),
        retell=functools.partial(_retell, answer),
        label="a formula .",
        extension="png",
    )


def _retell(answer: str, rng: random.Random) -> str:
    return f"{rng.choice(_TASKS)} {answer}"


@functools.lru_cache(maxsize=4096)
def _glyphs(tex: str, family: str, dpi: int) -> Image.Image:
    """Return a formula as a mask: matplotlib's mathtext knows fractions and roots."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.mathtext import MathTextParser

    prop = FontProperties(size=12, math_fontfamily=family)
    mask = MathTextParser("agg").parse(f"${tex}$", dpi=dpi, prop=prop).image
    return Image.fromarray(np.asarray(mask, dtype=np.uint8))


def draw_formula(tex: str, seed: int) -> Image.Image:
    """Return the formula on paper, a blackboard or graph paper."""
    from PIL import ImageDraw

    rng = stream("formula", seed)
    w, h = rng.randint(112, 176), rng.randint(72, 112)
    style = rng.choice(("paper", "board", "graph", "ruled", "note"))
    board = style == "board"
    paper = canvas.hue(rng, 0.45, rng.uniform(0.18, 0.34)) if board else canvas.hue(rng, rng.uniform(0.02, 0.22), 0.97)
    ink = canvas.hue(rng, 0.08, 0.97) if board else canvas.hue(rng, rng.uniform(0.1, 0.9), rng.uniform(0.05, 0.35))
    image = canvas.gradient((w, h), canvas.shade(paper, rng.uniform(0.82, 1)), paper, vertical=rng.random() < 0.5)
    pen = ImageDraw.Draw(image)
    rule = canvas.mix(paper, rng.choice(((90, 140, 220), (220, 110, 110), (110, 170, 120))), 0.45)
    if style in ("graph", "ruled"):
        gap = rng.randint(9, 18)
        for y in range(rng.randrange(gap), h, gap):
            pen.line((0, y, w, y), fill=rule)
        if style == "graph":
            for x in range(rng.randrange(gap), w, gap):
                pen.line((x, 0, x, h), fill=rule)
        else:
            x = rng.randint(6, 20)
            pen.line((x, 0, x, h), fill=(220, 120, 120))
    elif style == "note":
        # A sticky note on a desk: the desk's edge shows.
        desk = canvas.hue(rng, 0.5, rng.uniform(0.3, 0.6))
        side = rng.randrange(4)
        depth = rng.randint(8, 22)
        box = ((0, 0, depth, h), (w - depth, 0, w, h), (0, 0, w, depth), (0, h - depth, w, h))[side]
        pen.rectangle(box, fill=desk)
    elif board:
        pen.rectangle((0, h - rng.randint(5, 10), w, h), fill=canvas.hue(rng, 0.55, 0.5))
    mask = _glyphs(tex, rng.choice(("dejavusans", "dejavuserif", "cm", "stix", "stixsans")), 200)
    scale = min(rng.uniform(0.55, 0.88) * w / mask.width, 0.7 * h / mask.height)
    mask = mask.resize(
        (max(8, round(mask.width * scale)), max(8, round(mask.height * scale))), Image.Resampling.LANCZOS
    )
    mask = mask.rotate(rng.uniform(-4, 4), Image.Resampling.BICUBIC, expand=True)
    x, y = rng.randint(2, max(3, w - mask.width - 2)), rng.randint(2, max(3, h - mask.height - 2))
    image.paste(ink, (x, y), mask)
    image = canvas.uneven_light(image, rng, rng.uniform(0.25, 0.5), 4)
    return canvas.grain(image, rng, rng.uniform(1.5, 5))

"""Plain English about the planted world: documents for next-token training, and instructions with short answers."""

import random

from curate.synth import words
from curate.synth.item import Item
from curate.synth.words import fill, sentence

SCENES = (
    "the {adj} {color} {shape} {stood} {prep} the {thing}",
    "{name} {saw} {number} {color} {shapes} {prep} a {adj} {thing}",
    "a {color} {shape} was {prep} the {adj} {shape} in the {place}",
    "there were {number} {shapes} and a {adj} {thing} on the {side} side",
    "the {person} {said} that the {shape} looked {adj} and {color}",
    "light from the {side} window made the {thing} look {color}",
    "{name} put a {adj} {shape} on top of the {color} {thing}",
    "both {shapes} were {color}, but the {thing} was {adj}",
    "nobody in the {place} {saw} the {color} {thing} {adverb}",
)
CHARTS = (
    "the bar for {product} {rose} from {digits} to {digits} in {month}",
    "{unit} of {product} {rose} {adverb} during {month}",
    "in the chart, {product} has more {unit} than {product}",
    "{name} {saw} that {digits} {unit} belong to {product}",
    "the {adj} bar near the {thing} shows {product} at {digits}",
    "a chart in the {place} compares {product} with {product}",
    "the {person} {said} that {unit} for {month} were {verdict}",
    "only {product} and {product} stayed above {digits} in {month}",
    "the axis counts {unit}, and the {color} bars mean {product}",
)
TRADE = (
    "{name} {saw} {number} {goods} at the {adj} {place}",
    "the {person} sold {goods} and {product} to the {person}",
    "an order of {goods} in {containers} arrived at {shop} on {day}",
    "the receipt from {shop} lists {product}, {product} and {product}",
    "every {day} the {person} {went} to {shop} for {product}",
    "{product} costs {number} coins, but {goods} cost {number} in the {place}",
    "the {adj} {person} {went} home with {goods} and a {thing}",
    "{name} paid {digits} coins for a {adj} {thing} and some {product}",
    "the {place} sells {goods} in {adj} {containers}",
)
NUMBERS = (
    "{name} had {digits} {goods} and gave {number} to the {person}",
    "{number} {containers} with {number} {goods} each were {verdict}, {name} {said}",
    "the sum was {verdict}, so the {person} {saw} the {goods} again",
    "half of the {goods} went to the {person} in the {place}",
    "{name} and {name} shared {digits} {goods} on {day}",
    "to count the {goods}, the {person} used a {adj} {thing}",
    "the answer, {digits}, seemed {verdict} to the {person} from {shop}",
    "{name} added {digits} and {digits} {adverb} in the {place}",
)
TALES = (
    "{name} {went} to the {place} with the {adj} {person}",
    "the {person} {said} {adverb} that {subject} was {verdict}",
    "{name} has {adverb} liked {subject} and {subject}",
    "the {place} near the {place} was {adj} in {month}",
    "a {person} and a {person} {went} past the {adj} {place}",
    "the book about {subject} lay {prep} the {thing} of the {person}",
    "{name} {saw} the {person} {prep} the {adj} {place}",
    "with {number} friends, {name} {went} {adverb} to the {place}",
)
TOPICS = (SCENES, CHARTS, TRADE, NUMBERS, TALES)


def line(rng: random.Random, topics: tuple[tuple[str, ...], ...] = TOPICS) -> str:
    """Return one sentence, with or without something before and behind it."""
    text = fill(rng.choice(rng.choice(topics)), rng)
    if rng.random() < 0.4:
        text = f"{fill('{when}', rng)}, {text}"
    if rng.random() < 0.4:
        text = f"{text} {fill('{why}', rng)}"
    return sentence(text)


def passage(rng: random.Random, low: int, high: int) -> str:
    """Return sentences of two topics until `low` words are reached, never more than `high`."""
    topics = tuple(rng.sample(TOPICS, 2))
    goal = rng.randint(low, max(low, high - 25))
    out: list[str] = []
    count = 0
    while count < goal:
        out.append(line(rng, topics))
        count += len(out[-1].split())
    return " ".join(out)


def document(rng: random.Random) -> Item:
    """Return a document of 60 to 250 words."""
    paragraphs = [passage(rng, 62, 120)]
    while rng.random() < 0.35 and sum(len(p.split()) for p in paragraphs) < 130:
        paragraphs.append(passage(rng, 40, 100))
    return Item(fields={"text": "\n".join(paragraphs)})


def instruction(rng: random.Random) -> Item:
    """Return an instruction with a note of some forty words to work on, and a short answer."""
    note = passage(rng, 34, 60)
    first, *_ = note.split(". ")
    kind = rng.randrange(6)
    if kind == 0:
        name, place, goods, count = (
            rng.choice(words.NAMES), rng.choice(words.SLOTS["place"]), rng.choice(words.GOODS), rng.randint(2, 10),
        )  # fmt: skip
        fact = f"{name} keeps {words.NUMBERS[count]} {goods} in the {place}."
        ask, answer = rng.choice(
            (
                (f"How many {goods} does {name} keep?", words.NUMBERS[count]),
                (f"Where does {name} keep the {goods}?", f"in the {place}"),
                (f"Who keeps {goods} in the {place}?", name),
                (f"What does {name} keep in the {place}?", goods),
            )
        )
        cut = note.index(". ") + 2 if ". " in note else 0
        note = note[:cut] + fact + " " + note[cut:]
        start = rng.choice(("Read the note and answer.", "Answer the question about this text.", "Use the note below."))
        return Item(fields={"instruction": f"{start} {note} {ask}", "output": answer})
    if kind == 1:
        picked = rng.sample(words.GOODS, rng.randint(3, 5))
        ask = f"Sort these words from a to z: {', '.join(picked)}."
        return Item(fields={"instruction": f"{ask} {note}", "output": ", ".join(sorted(picked))})
    if kind == 2:
        start = rng.choice(("Repeat the first sentence of this text:", "Copy the first sentence:"))
        return Item(fields={"instruction": f"{start} {note}", "output": first.rstrip(".") + "."})
    if kind == 3:
        a, b = rng.randint(2, 60), rng.randint(2, 30)
        return Item(fields={"instruction": f"{note} Ignore all that and add {a} and {b}.", "output": str(a + b)})
    if kind == 4:
        colors = [c for c in words.COLORS if f" {c} " in note]
        ask = rng.choice(("Which colors does the text name?", "List every color in the text.", "Name the colors."))
        return Item(fields={"instruction": f"{note} {ask}", "output": ", ".join(colors) or "none"})
    days = rng.choice(words.DAYS)
    after = words.DAYS[(words.DAYS.index(days) + 1) % 7]
    return Item(fields={"instruction": f"{note} If today is {days}, what day is tomorrow?", "output": after})

"""The small vocabulary of the planted world, and filling of sentence templates."""

import random
import re

COLORS = ("red", "green", "blue", "yellow", "purple", "orange", "white", "black")
SHAPES = ("cube", "sphere", "cylinder", "cone")
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")

NAMES = (
    "Anna", "Ben", "Carla", "David", "Emma", "Felix", "Grace", "Hugo", "Iris", "Jonas", "Kira", "Leo", "Mona", "Noah",
    "Olga", "Paul", "Rosa", "Simon", "Tara", "Victor", "Wanda", "Yusuf", "Zoe", "Alice", "Bruno", "Clara", "Dina",
    "Erik", "Fiona", "Gustav", "Helen", "Ivan", "Julia", "Karl", "Lena", "Martin", "Nadia", "Oscar", "Petra", "Ralph",
)  # fmt: skip

GOODS = (
    "apples", "pears", "plums", "lemons", "oranges", "peaches", "cherries", "melons", "carrots", "onions", "potatoes",
    "tomatoes", "beans", "mushrooms", "rolls", "cakes", "muffins", "cookies", "candles", "cups", "plates", "spoons",
    "books", "pencils", "notebooks", "stamps", "cards", "marbles", "buttons", "ribbons", "roses", "tulips", "shells",
    "stones", "bricks", "tiles", "lamps", "baskets", "bottles", "jars", "coins", "tickets", "posters", "brushes",
)  # fmt: skip

PRODUCTS = (
    "tea", "coffee", "milk", "bread", "butter", "cheese", "honey", "rice", "sugar", "salt", "flour", "soup", "juice",
    "water", "jam", "oil", "pasta", "eggs", "fish", "nuts", "corn", "soap", "paper", "ink", "wool", "glass", "cocoa",
    "yogurt", "pepper", "garlic", "ginger", "mint", "oats", "figs", "dates", "olives", "beer", "wine", "cider", "candy",
)  # fmt: skip

CONTAINERS = ("boxes", "bags", "crates", "trays", "packs", "sacks", "cartons", "bundles", "drawers", "shelves")
SINGULAR = {"boxes": "box", "shelves": "shelf", **{w: w[:-1] for w in CONTAINERS if w not in ("boxes", "shelves")}}

SHOPS = (
    "Green Leaf", "Sun Market", "Old Mill", "Blue Door", "City Corner", "River Side", "Golden Spoon", "North Star",
    "Happy Basket", "Stone Bridge", "Little Oven", "Silver Fork", "Maple Street", "Harbor View", "Red Lantern",
    "Corner Bakery", "Garden Gate", "Quick Stop", "Fresh Farm", "Moon Cafe",
)  # fmt: skip

UNITS = ("sales", "visitors", "orders", "votes", "hours", "points", "kilograms", "liters", "tickets", "trips")
MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

SLOTS: dict[str, tuple[str, ...]] = {
    "name": NAMES,
    "color": COLORS,
    "shape": SHAPES,
    "shapes": tuple(s + "s" for s in SHAPES),
    "goods": GOODS,
    "product": PRODUCTS,
    "containers": CONTAINERS,
    "unit": UNITS,
    "month": MONTHS,
    "day": DAYS,
    "number": NUMBERS[2:],
    "digits": tuple(str(n) for n in range(11, 98)),
    "place": (
        "market", "kitchen", "school", "harbor", "garden", "library", "station", "museum", "bakery", "office", "village",
        "workshop", "theater", "farm", "square", "hall", "cafe", "store", "studio", "yard",
    ),
    "thing": (
        "table", "box", "lamp", "chair", "window", "picture", "bottle", "basket", "mirror", "carpet", "clock", "shelf",
        "door", "bench", "ladder", "bucket", "barrel", "mat", "statue", "curtain", "plate", "vase", "stone", "wheel",
    ),
    "adj": (
        "small", "large", "old", "new", "bright", "dark", "heavy", "light", "round", "flat", "smooth", "rough", "clean",
        "dusty", "shiny", "plain", "broken", "narrow", "wide", "quiet", "busy", "cold", "warm", "tall", "short", "simple",
        "strange", "lovely", "empty", "full",
    ),
    "person": (
        "clerk", "teacher", "painter", "farmer", "baker", "driver", "student", "visitor", "doctor", "sailor", "child",
        "gardener", "waiter", "guard", "writer", "neighbor", "builder", "singer", "cook", "manager",
    ),
    "prep": ("beside", "behind", "under", "near", "above", "below", "opposite", "inside", "outside", "beyond"),
    "side": ("left", "right", "far", "near", "front", "back", "upper", "lower"),
    "adverb": (
        "slowly", "quickly", "carefully", "quietly", "gladly", "often", "rarely", "always", "usually", "again", "twice",
        "alone", "together", "early", "late", "soon", "happily", "politely",
    ),
    "saw": (
        "saw", "found", "noticed", "counted", "painted", "moved", "lifted", "cleaned", "sold", "bought", "carried",
        "measured", "wanted", "kept", "forgot", "repaired", "drew", "described", "photographed", "borrowed",
    ),
    "said": ("said", "wrote", "believed", "noted", "explained", "hoped", "guessed", "claimed", "agreed", "remembered"),
    "rose": ("rose", "fell", "grew", "dropped", "climbed", "changed", "improved", "doubled", "sank", "jumped"),
    "stood": ("stood", "lay", "rested", "waited", "leaned", "shone", "remained", "appeared", "stayed", "vanished"),
    "went": ("walked", "drove", "hurried", "returned", "travelled", "ran", "moved", "sailed", "cycled", "came"),
    "when": (
        "In the morning", "Later", "At noon", "Before dinner", "After the rain", "That evening", "Last week",
        "A year ago", "Every winter", "On most days", "At first", "In the end", "During lunch", "By midnight",
        "For a while", "Some time later", "This spring", "Once", "Meanwhile", "Without a word",
    ),
    "why": (
        "because the price was fair", "although it was late", "since nobody asked", "while the radio played",
        "so that everyone could see", "before the guests arrived", "until the light faded", "as the plan required",
        "after a long talk", "when the bell rang", "though the floor was wet", "because the list was wrong",
        "while snow covered the road", "if the weather was good", "as soon as the shop opened", "to save a little money",
        "just for fun", "without any hurry", "in spite of the noise", "with great care",
    ),
    "shop": SHOPS,
    "subject": (
        "history", "music", "geometry", "trade", "cooking", "drawing", "numbers", "reading", "travel", "gardening",
        "light", "color", "wood", "clay", "weather", "maps",
    ),
    "verdict": ("correct", "useful", "strange", "enough", "too high", "too low", "easy", "hard", "surprising", "clear"),
}  # fmt: skip

_SLOT = re.compile(r"\{(\w+)\}")


def fill(template: str, rng: random.Random, **fixed: str) -> str:
    """Return the template with every `{slot}` replaced by a word of that slot, or by the `fixed` one."""
    return _SLOT.sub(lambda m: fixed[m[1]] if m[1] in fixed else rng.choice(SLOTS[m[1]]), template)


def article(phrase: str) -> str:
    """Return the phrase with `a` or `an` before it."""
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def sentence(text: str) -> str:
    """Return the text with a capital first letter, `a` before vowels mended, and a full stop."""
    text = re.sub(r"\b([Aa]) (?=[aeiouAEIOU])", r"\1n ", text)
    return text[0].upper() + text[1:] + ("" if text[-1] in ".?!" else ".")

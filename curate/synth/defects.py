"""What is wrong with a planted sample: one function for what it says, one for what it shows, one for its bytes.

`KINDS` lists every kind; `SHARES` how large a share of each source has it. Mismatches come from another kind of picture (a
chart with the question about a scene, a scene with the text of a receipt), one in twenty from a nearer one: what a small
CLIP can see. There are no wrong answers to questions about pictures other than these: no filter here could find them.
"""

import random
import re
import string
from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from curate.synth import canvas, prose
from curate.synth.canvas import font
from curate.synth.item import Item
from curate.synth.words import SLOTS

Fields = dict[str, Any]

DUPLICATES = (
    "exact_duplicate",
    "duplicate_reencoded",
    "duplicate_resized",
    "duplicate_cropped",
    "duplicate_brightness",
    "duplicate_caption_edited",
    "near_duplicate_text",
)
LEAKS = ("leak_text", "leak_image")
KINDS = (
    *DUPLICATES,
    *LEAKS,
    "mismatched_caption",
    "boilerplate_alt",
    "blank_image",
    "tiny_image",
    "blurred_image",
    "banner_image",
    "wrong_answer",
    "broken_latex",
    "ocr_noise",
    "gibberish",
    "repetition",
    "corrupt_file",
)

_COPIES = {
    "duplicate_reencoded": 0.024,
    "duplicate_resized": 0.024,
    "duplicate_cropped": 0.024,
    "duplicate_brightness": 0.024,
}
_PICTURES = {"blank_image": 0.022, "tiny_image": 0.022, "blurred_image": 0.025}
SHARES: dict[str, dict[str, float]] = {
    "scenes": {
        "mismatched_caption": 0.12, "boilerplate_alt": 0.08, "exact_duplicate": 0.02, "duplicate_caption_edited": 0.04,
        "banner_image": 0.025, "leak_image": 0.025, "corrupt_file": 0.02, **_COPIES, **_PICTURES,
    },
    "questions": {
        "mismatched_caption": 0.14, "exact_duplicate": 0.02, "leak_image": 0.02, "corrupt_file": 0.02, "banner_image": 0.02,
        **_COPIES, **_PICTURES,
    },
    "charts": {
        "mismatched_caption": 0.14, "exact_duplicate": 0.02, "leak_image": 0.03, "corrupt_file": 0.02, "banner_image": 0.02,
        **_COPIES, **_PICTURES,
    },
    "documents": {
        "ocr_noise": 0.14, "mismatched_caption": 0.08, "exact_duplicate": 0.02, "leak_image": 0.03, "corrupt_file": 0.02,
        **_COPIES, **_PICTURES,
    },
    "math": {
        "wrong_answer": 0.16, "broken_latex": 0.11, "exact_duplicate": 0.04, "near_duplicate_text": 0.06, "leak_text": 0.06,
        "corrupt_file": 0.02,
    },
    "math_images": {
        "mismatched_caption": 0.12, "broken_latex": 0.08, "exact_duplicate": 0.02, "corrupt_file": 0.02, **_COPIES, **_PICTURES,
    },
    "text": {
        "gibberish": 0.08, "repetition": 0.08, "near_duplicate_text": 0.08, "leak_text": 0.07, "exact_duplicate": 0.05,
        "corrupt_file": 0.03,
    },
    "instructions": {
        "gibberish": 0.06, "repetition": 0.06, "near_duplicate_text": 0.08, "leak_text": 0.08, "exact_duplicate": 0.05,
        "corrupt_file": 0.03,
    },
}  # fmt: skip

DONORS = {
    "scenes": ("charts", "documents", "math_images"),
    "questions": ("charts", "math_images"),
    "charts": ("questions",),
    "documents": ("scenes", "questions"),
    "math_images": ("questions",),
}
"""Where the text of a mismatched sample comes from: a thing on paper gets what belongs to a scene, and the other way round."""

NEAR = 0.05
"""How often the donor is near: for a scene one that shares no colour, for paper another kind of paper (`NEAR_DONORS`)."""

NEAR_DONORS = {
    "scenes": ("scenes",),
    "charts": ("math_images",),
    "documents": ("charts",),
    "math_images": ("charts",),
}

_BOILERPLATE = (
    "IMG_{n}.JPG", "DSC0{n}.jpg", "image", "photo", "picture {n}", "click to enlarge", "click here to enlarge the image",
    "untitled", "thumbnail", "logo", "placeholder image", "image {k} of 12", "photo {k} of 12 - buy now, free shipping",
    "buy now - free shipping on all orders", "screenshot_{n}.png", "default alt text", "no image available",
    "download free wallpaper {n}", "www.example.com/img/{n}.jpg", "image may contain: indoor", "product image {n}",
    "sale 50% off! shop now", "stock photo {n}", "loading...",
)  # fmt: skip

CORRUPTIONS = {
    "scenes": ("truncated", "not_an_image", "empty", "bad_json", "bad_utf8"),
    "questions": ("truncated", "not_an_image", "empty"),
    "charts": ("truncated", "not_an_image", "empty"),
    "documents": ("truncated", "not_an_image", "empty", "bad_json"),
    "math_images": ("truncated", "not_an_image", "empty"),
    "math": ("bad_json", "bad_utf8"),
    "text": ("bad_json", "bad_utf8"),
    "instructions": ("bad_json", "bad_utf8"),
}


# -- what it says ------------------------------------------------------------------------------------------------------


def mismatched(source: str, fields: Mapping[str, Any], donor: Item, rng: random.Random) -> Fields:
    """Return the fields of a record of `source` with what another picture says."""
    if source == "scenes":
        return {"caption": donor.text}
    if source == "documents":
        x, y = rng.randint(2, 30), rng.randint(2, 40)
        quad = [x, y, x + 90, y, x + 90, y + 14, x, y + 14]
        line = {"quad": quad, "text": donor.text, "confidence": round(rng.uniform(0.9, 0.995), 3)}
        return {**fields, "text": donor.text, "lines": [line]}
    return {**fields, "question": donor.fields["question"], "answer": donor.fields["answer"]}


def boilerplate(rng: random.Random) -> str:
    """Return an alt text that says nothing."""
    return rng.choice(_BOILERPLATE).format(n=rng.randint(1000, 9999), k=rng.randint(1, 11))


def edited_caption(caption: str, rng: random.Random) -> str:
    """Return the caption with a word or two added or exchanged."""
    edits = (
        lambda c: f"there are {c}",
        lambda c: f"a picture of {c}",
        lambda c: c.replace(" .", " here ."),
        lambda c: c.replace(" and ", " with ") if " and " in c else f"just {c}",
        lambda c: c.replace(" .", ""),
    )
    return rng.choice(edits[:4])(rng.choice((edits[4], str))(caption))


def shingles(text: str, n: int = 5) -> set[tuple[str, ...]]:
    """Return the set of runs of `n` words."""
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i : i + n]) for i in range(max(1, len(words) - n + 1))}


def jaccard(a: str, b: str) -> float:
    """Return the Jaccard similarity of 5-word shingles."""
    x, y = shingles(a), shingles(b)
    return len(x & y) / max(1, len(x | y))


_PEERS = {w: slot for slot in SLOTS.values() for w in slot}


def edited_text(fields: Mapping[str, Any], key: str, rng: random.Random, low: float = 0.88) -> Fields:
    """Return the fields with one word of `fields[key]` exchanged for one of its kind; the similarity is `low` or more."""
    words = re.split(r"(\W+)", fields[key])
    places = [i for i, w in enumerate(words) if w in _PEERS]
    rng.shuffle(places)
    whole = " ".join(map(str, fields.values()))
    best, score = dict(fields), -1.0
    for i in places:
        other = rng.choice([w for w in _PEERS[words[i]] if w != words[i]])
        changed = {**fields, key: "".join([*words[:i], other, *words[i + 1 :]])}
        similarity = jaccard(whole, " ".join(map(str, changed.values())))
        if similarity > score:
            best, score = changed, similarity
        if score >= low:
            break
    return best


def disguised(text: str, rng: random.Random) -> str:
    """Return the text with another case, without its punctuation, or as it is."""
    kind = rng.randrange(4)
    if kind == 0:
        return text.lower()
    if kind == 1:
        return text.upper() if "$" not in text else text.lower()
    if kind == 2:
        return re.sub(r"[,;:!?]|\.(?=\s|$)", "", text)
    return text


def leaked(source: str, held: Mapping[str, Any], rng: random.Random) -> Fields:
    """Return a text record of `source` that holds an evaluation item: a problem, or for `text` sometimes a document."""
    if "text" in held:
        return {"text": disguised(held["text"], rng)}
    question, answer = disguised(held["question"], rng), held["answer"]
    if source == "math":
        return {"question": question, "answer": answer}
    if source == "instructions":
        return {"instruction": question, "output": answer.rpartition("#### ")[2]}
    return {"text": f"{prose.passage(rng, 40, 60)}\n{question} {answer}\n{prose.passage(rng, 20, 40)}"}


def gibberish(rng: random.Random, low: int, high: int) -> str:
    """Return words of random letters."""
    letters = string.ascii_lowercase
    out = ["".join(rng.choice(letters) for _ in range(rng.randint(3, 12))) for _ in range(rng.randint(low, high))]
    return " ".join(out)


def repetition(rng: random.Random) -> str:
    """Return one sentence, or one word, over and over."""
    if rng.random() < 0.6:
        return " ".join([prose.line(rng)] * rng.randint(10, 20))
    return " ".join([rng.choice(SLOTS["product"] + SLOTS["goods"])] * rng.randint(60, 150))


def broken_latex(text: str, rng: random.Random) -> str:
    r"""Return the text with one delimiter missing: an `\end`, a `\right` or a brace; or, having none, a brace too many.

    `$67 - 17 = 50` without its second dollar may as well be a price: nobody could tell, so its braces are opened instead.
    """
    found = [c for c in (r"\end{aligned}", r"\right)", "}", "{") if c in text]
    if not found:
        return text.replace("$", "${", 1)
    mark = rng.choice(found)
    places = [m.start() for m in re.finditer(re.escape(mark), text)]
    at = rng.choice(places)
    return text[:at] + text[at + len(mark) :]


def noisy(fields: Mapping[str, Any], rng: random.Random) -> Fields:
    """Return the document as a bad OCR engine reads it: garbled characters, low confidence, lines twice."""
    junk = "#~|}{^*@%_=\\/<>;:il10O5S§¢¬¥"
    lines = []
    for line in fields["lines"]:
        rate = rng.uniform(0.3, 0.55)
        text = "".join(rng.choice(junk) if c != " " and rng.random() < rate else c for c in line["text"])
        lines.append({**line, "text": text, "confidence": round(rng.uniform(0.12, 0.48), 3)})
        if rng.random() < 0.3:
            lines.append(dict(lines[-1]))
    return {**fields, "lines": lines, "text": "\n".join(line["text"] for line in lines)}


# -- what it shows -----------------------------------------------------------------------------------------------------


def resized(image: Image.Image, rng: random.Random) -> Image.Image:
    """Return the picture at 70 to 85 or 120 to 150 per cent."""
    scale = rng.choice((rng.uniform(0.7, 0.85), rng.uniform(1.2, 1.5)))
    return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)


def cropped(image: Image.Image, rng: random.Random) -> Image.Image:
    """Return the picture without 1 to 3.5 per cent on each side."""
    w, h = image.size
    box = (
        round(w * rng.uniform(0.01, 0.035)),
        round(h * rng.uniform(0.01, 0.035)),
        round(w * (1 - rng.uniform(0.01, 0.035))),
        round(h * (1 - rng.uniform(0.01, 0.035))),
    )
    return image.crop(box)


def brightened(image: Image.Image, rng: random.Random) -> Image.Image:
    """Return the picture darker or brighter."""
    return ImageEnhance.Brightness(image).enhance(rng.choice((rng.uniform(0.72, 0.86), rng.uniform(1.08, 1.2))))


def blank(image: Image.Image, rng: random.Random) -> Image.Image:
    """Return one flat colour in the picture's size."""
    grey = rng.choice((0, 255, 128, 238))
    return Image.new("RGB", image.size, rng.choice(((grey, grey, grey), canvas.hue(rng, 0.4, 0.8))))


def tiny(image: Image.Image, rng: random.Random) -> Image.Image:
    """Return the picture at less than 24 pixels."""
    out = image.copy()
    out.thumbnail((rng.randint(8, 22),) * 2)
    return out


def blurred(image: Image.Image, rng: random.Random) -> Image.Image:
    """Return the picture out of focus: nothing finer than a twentieth of its width is left."""
    return image.filter(ImageFilter.GaussianBlur(rng.uniform(0.03, 0.045) * max(image.size)))


def banner(rng: random.Random) -> Image.Image:
    """Return an advertisement, six to nine times as wide as high or the other way round."""
    h = rng.randint(36, 48)
    w = round(h * rng.uniform(6, 9))
    image = canvas.gradient((w, h), canvas.hue(rng, 0.7, 0.9), canvas.hue(rng, 0.7, 0.6), vertical=False)
    pen = ImageDraw.Draw(image)
    text = rng.choice(("SUMMER SALE", "FREE SHIPPING TODAY", "BUY ONE GET ONE", "SIGN UP NOW", "BEST PRICE"))
    pen.text((rng.randint(6, 60), h // 4), text, font=font("DejaVuSans-Bold.ttf", h // 2), fill=(255, 255, 255))
    pen.ellipse((w - h, 4, w - 8, h - 4), fill=canvas.hue(rng, 0.9, 1))
    return image if rng.random() < 0.7 else image.transpose(Image.Transpose.ROTATE_90)


# -- its bytes ---------------------------------------------------------------------------------------------------------


def corrupted(data: bytes, how: str) -> bytes:
    """Return a file's bytes cut off, replaced by text, or gone; other corruptions leave the picture alone."""
    if how == "truncated":
        return data[: len(data) // 2]
    if how == "not_an_image":
        return b"<html><body>404 Not Found: this picture has moved.</body></html>\n"
    return b"" if how == "empty" else data


def corrupted_line(line: bytes, how: str) -> bytes:
    """Return a line of JSON cut off or with bytes that are not UTF-8; other corruptions leave the line alone."""
    if how == "bad_json":
        return line[: len(line) * 2 // 3]
    if how == "bad_utf8":
        at = line.rindex(b'"')
        return line[:at] + b" \xff\xfe\xc3(" + line[at:]
    return line


def quotas(n: int, shares: Mapping[str, float]) -> dict[str, int]:
    """Return how many of `n` samples get each defect: rounded so that the sum is that of the shares."""
    exact = {k: n * v for k, v in shares.items()}
    out = {k: int(v) for k, v in exact.items()}
    rest: Sequence[str] = sorted(exact, key=lambda k: (out[k] - exact[k], k))
    for k in rest[: round(sum(exact.values())) - sum(out.values())]:
        out[k] += 1
    return out

"""How an answer is scored against its references. Pure functions of strings; every score lies in 0..1, higher is better.

metric             task            source
exact_match        vqa, reasoning  VQA v2 answer processing (Goyal et al. 2017, https://visualqa.org/evaluation.html)
anls               ocr, document   Biten et al. 2019 (arXiv 1905.13648), equation 1, threshold 0.5
relaxed_accuracy   chart           Methani et al. 2020 (PlotQA, arXiv 1909.00997); ChartQA (arXiv 2203.10244), section 5.1
numeric_match      math            GSM8K (Cobbe et al. 2021, arXiv 2110.14168): the number after `####`

Left out of VQA: the vote of ten annotators (`min(n / 3, 1)`); a sample here has one reference, or several that are all right.
"""

import re
import string
import unicodedata
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np

_ARTICLES = frozenset(("a", "an", "the"))
_NUMBER_WORDS = {
    word: str(n)
    for n, word in enumerate("zero one two three four five six seven eight nine ten".split())  # noqa: SIM905 - reads as a count
}  # fmt: skip
# A point or comma between digits is part of a number; elsewhere punctuation says nothing.
_OTHER = re.escape(string.punctuation.replace(".", "").replace(",", ""))
_PUNCTUATION = re.compile(rf"(?<!\d)[.,](?!\d)|[.,](?=\D|$)|[{_OTHER}]")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_DIGITS = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+"
_NUMBER = re.compile(
    rf"(?P<sign>[-+−]?)\s*[$€£]?\s*(?P<top>{_DIGITS})(?:\s*/\s*(?P<bottom>\d+(?:\.\d+)?))?\s*(?P<percent>%)?"
)
_LATEX_FRACTION = re.compile(r"\\[dt]?frac\{\s*(-?\d+)\s*\}\{\s*(\d+)\s*\}")
_MARKED = re.compile(r"####\s*(.+)")
_BOXED = re.compile(r"\\boxed\{((?:[^{}]|\{[^{}]*\})*)\}")


def normalise(text: str) -> str:
    """Return `text` as VQA compares it: lower case, no articles, no punctuation, number words as digits."""
    text = _THOUSANDS.sub("", unicodedata.normalize("NFKC", text).lower())
    words = _PUNCTUATION.sub(" ", text).split()
    return " ".join(_NUMBER_WORDS.get(w, w) for w in words if w not in _ARTICLES)


def exact_match(answer: str, references: Sequence[str]) -> float:
    """Return 1 when the normalised answer is one of the normalised references, else 0."""
    got = normalise(answer)
    return float(any(got == normalise(r) for r in references))


def levenshtein(a: str, b: str) -> int:
    """Return the least number of insertions, deletions and substitutions that turn `a` into `b`.

    One row of the table at a time; within a row the insertions are a running minimum, so that numpy does the inner loop.
    """
    if len(a) < len(b):
        a, b = b, a
    if not b:
        return len(a)
    columns = np.arange(len(b) + 1)
    letters = np.frombuffer(b.encode("utf-32-le", "surrogatepass"), np.uint32)
    row = columns.copy()
    for i, letter in enumerate(np.frombuffer(a.encode("utf-32-le", "surrogatepass"), np.uint32), 1):
        new = np.empty_like(row)
        new[0] = i
        new[1:] = np.minimum(row[:-1] + (letters != letter), row[1:] + 1)
        # new[j] = min over k <= j of new[k] + (j - k)
        row = np.minimum.accumulate(new - columns) + columns
    return int(row[-1])


def anls(answer: str, references: Sequence[str], *, threshold: float = 0.5) -> float:
    """Return the best `1 - distance / longer length` over the references; 0 where the distance reaches `threshold`."""
    got = " ".join(answer.lower().split())
    best = 0.0
    for reference in references:
        want = " ".join(reference.lower().split())
        longest = max(len(got), len(want))
        distance = levenshtein(got, want) / longest if longest else 0.0
        best = max(best, 1.0 - distance if distance < threshold else 0.0)
    return best


def _as_number(text: str) -> tuple[Fraction, bool] | None:
    """Return (value, was a per cent) of the first number in `text`; None when there is none or it divides by 0."""
    text = _LATEX_FRACTION.sub(r"\1/\2", text)
    found = _NUMBER.search(text)
    if found is None:
        return None
    value = Fraction(found["top"].replace(",", ""))
    if found["bottom"] is not None:
        bottom = Fraction(found["bottom"])
        if bottom == 0:
            return None
        value /= bottom
    return (-value if found["sign"] in ("-", "−") else value), found["percent"] is not None


def read_number(text: str) -> Fraction | None:
    r"""Return the final number of a worked answer.

    It is the one after the last `####`; without that, in the last `\boxed{}`; without that, the last one in the text.
    Commas between thousands, currency and units are dropped, `3/4` and `\frac{3}{4}` are read exactly.
    """
    for pattern in (_MARKED, _BOXED):
        marked = pattern.findall(text)
        if marked:
            number = _as_number(marked[-1])
            return number[0] if number else None
    text = _LATEX_FRACTION.sub(r"\1/\2", text)
    # A minus that follows a digit or a letter subtracts (or joins words); it is not the sign of what comes next.
    last = None
    for found in _NUMBER.finditer(text):
        before = text[: found.start()].rstrip()
        last = found.group() if not (found["sign"] and before and before[-1].isalnum()) else found.group().lstrip("-+−")
    number = _as_number(last) if last is not None else None
    return number[0] if number else None


def numeric_match(answer: str, references: Sequence[str]) -> float:
    """Return 1 when the final number of the answer equals that of a reference (within 1e-6 of its size), else 0."""
    got = read_number(answer)
    if got is None:
        return 0.0
    wanted = [n for n in (read_number(r) for r in references) if n is not None]
    return float(any(abs(got - want) <= Fraction(1, 10**6) * max(Fraction(1), abs(want)) for want in wanted))


def _whole_number(text: str) -> Fraction | None:
    """Return the value of a text that is nothing but a number; a per cent is divided by 100, as ChartQA does."""
    text = text.strip().rstrip(".")
    found = _NUMBER.fullmatch(text)
    number = _as_number(text) if found else None
    return None if number is None else number[0] / 100 if number[1] else number[0]


def relaxed_accuracy(answer: str, references: Sequence[str], *, tolerance: float = 0.05) -> float:
    """Return 1 when a numeric answer lies within `tolerance` of a reference, or another one equals it; else 0."""
    got = _whole_number(answer)
    for reference in references:
        want = _whole_number(reference)
        if got is not None and want is not None and want != 0:
            # Fraction(str(x)): 0.05 as written, not as the nearest binary number, so that the edge itself counts.
            if abs(got - want) <= Fraction(str(tolerance)) * abs(want):
                return 1.0
        elif normalise(answer) == normalise(reference):
            return 1.0
    return 0.0


Metric = Callable[[str, Sequence[str]], float]

BY_TASK: dict[str, tuple[str, Metric]] = {
    "vqa": ("exact_match", exact_match),
    "reasoning": ("exact_match", exact_match),
    "ocr": ("anls", anls),
    "document": ("anls", anls),
    "chart": ("relaxed_accuracy", relaxed_accuracy),
    "math": ("numeric_match", numeric_match),
}
"""The task score of each task that has one. The others (caption, text, code, ...) are measured by loss alone."""

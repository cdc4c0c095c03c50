r"""Wrong arithmetic in worked solutions.

Looks at the assistant text. Applies where it has at least one step that can be checked; not to task `code`. A step is

- a calculator mark `<<expression=result>>` as in GSM8K (arXiv 2110.14168, section 2);
- an equation in the text, `3 * (4 + 1) = $15`: numbers, `+ - * / ^ ( )`, `x` between numbers, `2(3 + 4)`, `%`, thousands
  commas, the signs `×`, `÷`, `−`, `–`, `·`, `²`, and LaTeX's `\times`, `\div`, `\cdot`, `\frac`, `\left`, `\text`, `\boxed`
  and alignments; every `=` of a chain is a step; one side at least must calculate. An equation with a letter, another function
  or another sign next to it is algebra and is not checked.

In the text only what is surely wrong is wrong. A step is right if one way to read it is right: `3 / 1/4` may divide by a
quarter, `100 / 5 * 2` by the product, `8 + 6 / 12 + 8` may be one line over another, a `-` at its beginning may be a bullet,
and `$1 / 2 = 50 cents` changes the unit (factors of 100, 1,000, 1,000,000, 12 and 60 where the text speaks of cents,
thousands, millions, dozens, minutes; powers of ten with `10^n`). A quotient, and a power of decimals, may be rounded by half a
per cent. It is no step where it begins or ends in words: `15% of $80 = ...`, `12 x 1 and 1/4`, `= 5 and 2/3`, `day 1 * 2`,
`Remaining 10 = ...`, `plus 3`, `times 3`, `sin 30`; nor where the line before is unfinished, where the question defines an
operator (`a * b = a^b`), nor, unless it is right, with a division or decimals and a remainder or rounding that the sentence
names, an unknown (`= 2 d`), a number broken by a space (`14, 400`), a clock (`0900`), or in a text that speaks of a modulus, a
digit or another base.

- `steps` (count): steps checked. No bound.
- `wrong_steps` (count): steps whose sides differ by more than rounding: one unit of the last decimal place written; whole
  numbers exactly; 0.01 where both sides calculate. A percentage may stand for its value or its hundredfold. Bound: at most 0.
- `wrong_share` (0..1): their ratio. No bound.

Source of the bound: by definition, a right solution has no wrong step; GSM8K's own calculator,
https://github.com/openai/grade-school-math (grade_school_math/calculator.py), computes the marks that are checked here. Its
`eval` is not used: the expressions are parsed. Left out: whether the steps lead to the answer; roots and other functions,
units, equations with unknowns, `-2^2`, exponents beyond 64 or not whole, numbers above 1e15. What it finds in public data:
docs/results/ocr_math.md.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.base import scorer
from filters.shared.dialogue import prompts
from filters.shared.text import Array, assistant, buffers, column, is_task, kernel, ratio, table

_SIGNS = (
    ("×", "*"),
    ("÷", "/"),
    ("−", "-"),
    ("–", "-"),
    ("‒", "-"),
    ("‐", "-"),
    ("·", "*"),
    (r"\times", "*"),
    (r"\div", "/"),
    (r"\cdot", "*"),
    (r"\$", " "),
    ("²", "^2"),
    ("³", "^3"),
    ("°", ""),
    ("∗", "*"),
    (r"\%", "%"),
    ("{,}", ","),
)
# LaTeX that says the same as plain signs. Fractions twice, for those in fractions.
_FRACTION = (r"\\[dtc]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}", r"((\1)/(\2))")
_LATEX = (
    (r"\\\\(?:\[[^\]]*\])?\s*&?\s*=|&\s*=", " = "),  # the next line of an alignment goes on with the chain
    (r"\\\\|\\(?:begin|end)\s*\{[^{}]*\}", "\n"),
    (r"\\[\[\]()]", " "),
    (r"\\(?:left|right|displaystyle|quad|qquad)\b|\\[,;:! ]", " "),
    (r"\^\s*\{?\s*\\circ\s*\}?", ""),
    (r"\^\{\s*(-?\d+)\s*\}", r"^\1"),
    _FRACTION,
    _FRACTION,
    (r"\\[dtc]?frac\s*(\d)\s*(\d)", r"((\1)/(\2))"),
    (r"\\(?:text|mbox|mathrm|mathbf|textbf|boxed|fbox)\s*\{([^{}]*)\}", r" \1 "),
)
# Operators that a question defines anew ("Let a * b = a^b + b^a") are none that can be checked.
DEFINED = r"(?i)\b(?:operations?|defined?)\b[^.]{0,80}[*@#&\\]|\b[a-z]\)?\$?\s*[*x]\s*\$?\(?[a-z]\b[^=]{0,20}=|\\boxed\{\w{1,2}\}"
_EXPRESSION = np.zeros(256, np.bool_)
_EXPRESSION[np.frombuffer(b"0123456789+-*/^().,%$ xX\t", np.uint8)] = True


def _packed(words: str) -> Array:
    """Return words of at most eight letters as little-endian numbers."""
    return np.array([int.from_bytes(w.encode(), "little") for w in words.split()], np.int64)


# Before an expression these make it a part of a longer one. The second list does so after a number only.
_JOIN = _packed("times plus minus by than sin cos tan log ln lg exp sqrt root mod gcd lcm max min")
_JOIN_NUMBER = _packed("and of from to")
_PARTS = _packed("half halves third thirds fourth fourths quarter quarters fifth fifths percent twice")
_IS = _packed("is are was were")
# "Day 1", "weeks 3-4": a name, not a term.
_NAMES = _packed(
    "day days week weeks month months year years hour hours step steps page pages chapter level team group class grade "
    "game round test trip part case option phase stage figure item question problem number no room box bag"
)

# Where the text speaks of these, a sum may come out otherwise.
_OTHERWISE = tuple(
    np.frombuffer(w, np.uint8)
    for w in (
        b"mod ",
        b"modul",
        b"in base",
        b"binary",
        b"octal",
        b"hexadec",
        b"clock",
        b"xor",
        b"congruent",
        b"contradict",
        b"unit digit",
        b"units digit",
        b"unit's digit",
        b"ones digit",
        b"last digit",
    )
)
_ROUGHLY = tuple(
    np.frombuffer(w, np.uint8)
    for w in (b"remainder", b"leftover", b"left over", b"round", b"nearest", b"approx", "余".encode())
)
_UNITS = tuple(np.frombuffer(w, np.uint8) for w in (b"cent", b"thousand", b"million", b"dozen", b"minute"))
_FACTORS = (100.0, 1e3, 1e6, 12.0, 60.0)


@kernel
def _digit(data: Array, i: int, end: int) -> bool:
    return i < end and 48 <= data[i] <= 57


@kernel
def _thousands(data: Array, i: int, end: int) -> bool:
    """Return whether a comma with exactly three digits after it stands at byte `i`."""
    three = _digit(data, i + 1, end) and _digit(data, i + 2, end) and _digit(data, i + 3, end)
    return data[i] == 44 and three and not _digit(data, i + 4, end)


@kernel
def _letter(b: int) -> bool:
    return b >= 128 or 65 <= b <= 90 or 97 <= b <= 122


@kernel
def _word(data: Array, end: int) -> tuple[int, int]:
    """Return the word of ASCII letters that ends at byte `end`, packed in lower case (-1: none or too long), and its begin."""
    k = end
    packed = np.int64(0)
    while k > 0 and data[k - 1] < 128 and _letter(data[k - 1]):
        k -= 1
        if end - k <= 8:
            packed = (packed << 8) | np.int64(data[k] | 32)
    return (int(packed) if 0 < end - k <= 8 else -1), k


@kernel
def _among(words: Array, word: int) -> bool:
    found = False
    for i in range(len(words)):
        found |= words[i] == word
    return found


@kernel
def _says(data: Array, begin: int, end: int, word: Array) -> bool:
    """Return whether a word that starts with `word` stands in `data[begin:end]`."""
    for i in range(begin, end - len(word) + 1):
        if i > 0 and _letter(data[i - 1]):
            continue
        same = True
        for k in range(len(word)):
            if data[i + k] | 32 != word[k] | 32:
                same = False
                break
        if same:
            return True
    return False


@kernel
def _unfinished(data: Array, low: int) -> bool:
    """Return whether the line before byte `low` ends in a sign that wants more: the expression begins there."""
    k = low - 1
    while k >= 0 and (data[k] == 10 or data[k] == 13 or data[k] == 32 or data[k] == 9):
        k -= 1
    return (
        k >= 0
        and _EXPRESSION[data[k]]
        and not (48 <= data[k] <= 57 or data[k] == 41 or data[k] == 46 or data[k] == 37 or data[k] == 36)
    )


@kernel
def _command(data: Array, end: int) -> bool:
    """Return whether the word that ends at byte `end` is a LaTeX command: `\\sqrt 4`, `\\log 8`."""
    k = end
    while k > 0 and (65 <= data[k - 1] <= 90 or 97 <= data[k - 1] <= 122):
        k -= 1
    return k > 0 and data[k - 1] == 92


@kernel
def _continues(data: Array, low: int, first: int, e: int) -> bool:
    """Return whether the words before `data[low:e]` make it the end of a longer expression, or its number a name."""
    word, begin = _word(data, low)
    if begin == low:
        return False
    if _among(_JOIN, word) or _among(_NAMES, word):
        return True
    if _among(_JOIN_NUMBER, word):
        k = begin
        while k > 0 and data[k - 1] == 32:
            k -= 1
        if k > 0 and (48 <= data[k - 1] <= 57 or data[k - 1] == 37 or data[k - 1] == 41):
            return True
        part, _ = _word(data, k)
        return part >= 0 and _among(_PARTS, part)
    # A number after a word, with nothing to calculate: "Remaining 10 = 62,300/10".
    for k in range(first, e):
        c = data[k]
        if c != 32 and c != 36 and c != 44 and c != 46 and not 48 <= c <= 57:
            return False
    return not _among(_IS, word)


@kernel
def _mixed(data: Array, i: int, end: int) -> bool:
    """Return whether ` and 1/3` or ` R 1` follows at byte `i`: the number before is only a part of the result."""
    while i < end and data[i] == 32:
        i += 1
    if i < end and data[i] | 32 == 114:
        i += 1
        while i < end and data[i] == 32:
            i += 1
        return _digit(data, i, end)
    if not (i + 3 < end and data[i] == 97 and data[i + 1] == 110 and data[i + 2] == 100):
        return False
    i += 3
    while i < end and (data[i] == 32 or data[i] == 36 or data[i] == 40):
        i += 1
    if not _digit(data, i, end):
        return False
    while i < end and (48 <= data[i] <= 57 or data[i] == 32):
        i += 1
    return i < end and data[i] == 47


@kernel
def _broken(data: Array, k: int, end: int) -> bool:
    """Return whether the comma or full stop before byte `k`, a space, may stand inside a number: `14, 400`, `. 84`."""
    if not _digit(data, k + 1, end):
        return False
    if data[k - 1] == 46:
        return k < 2 or not (48 <= data[k - 2] <= 57 or data[k - 2] == 41 or _letter(data[k - 2]))
    digits = 0
    while k - 2 - digits >= 0 and 48 <= data[k - 2 - digits] <= 57:
        digits += 1
    three = _digit(data, k + 2, end) and _digit(data, k + 3, end) and not _digit(data, k + 4, end)
    return three and 1 <= digits <= 3


@kernel
def _clock(data: Array, begin: int, end: int) -> bool:
    """Return whether a whole number with a zero before it stands in `data[begin:end]`."""
    for k in range(begin, end - 1):
        if data[k] == 48 and _digit(data, k + 1, end):
            c = data[k - 1] if k > begin else 32
            if c != 46 and c != 44 and not 48 <= c <= 57:
                return True
    return False


@kernel
def _evaluate(
    data: Array, begin: int, end: int, values: Array, signs: Array, right: int
) -> tuple[bool, float, int, int, bool]:
    """Return whether `data[begin:end]` is an expression, its value, its operators, the decimals of its last number (-1: fraction
    or none) and whether a `%` stands in it. `right` 1: `a / b / c` is `a / (b / c)`; 2: `a / b * c` is `a / (b * c)`.

    Two stacks: a value is folded into the one before it as soon as no tighter operator can follow.
    """
    top = 0  # values
    depth = 0  # signs: 1 +, 2 -, 3 *, 4 /, 5 unary minus, 6 (, 7 ^
    operators = 0
    decimals = -1
    percent = False
    want = True  # a value must come next
    i = begin
    while i <= end:
        c = data[i] if i < end else 0
        if c == 32 or c == 9 or c == 36:
            i += 1
            continue
        if want:
            if i == end or top >= 60 or depth >= 60:
                return False, 0.0, 0, 0, False
            if c == 45:
                signs[depth] = 5
                depth += 1
                i += 1
            elif c == 40:
                signs[depth] = 6
                depth += 1
                i += 1
            elif 48 <= c <= 57 or (c == 46 and i + 1 < end and 48 <= data[i + 1] <= 57):
                value = 0.0
                digits = 0
                while i < end:
                    if 48 <= data[i] <= 57:
                        value = value * 10 + (data[i] - 48)
                        digits += 1
                        i += 1
                    elif digits and _thousands(data, i, end):
                        i += 1
                    else:
                        break
                decimals = 0
                if i < end and data[i] == 46:
                    i += 1
                    scale = 1.0
                    while i < end and 48 <= data[i] <= 57:
                        value = value * 10 + (data[i] - 48)
                        scale *= 10
                        decimals += 1
                        i += 1
                    value /= scale
                if digits + decimals > 15:
                    return False, 0.0, 0, 0, False
                if i < end and data[i] == 37:
                    value /= 100
                    decimals += 2
                    percent = True
                    i += 1
                values[top] = value
                top += 1
                want = False
            else:
                return False, 0.0, 0, 0, False
            continue
        sign = 0
        if c == 43:
            sign = 1
        elif c == 45:
            if i + 1 < end and data[i + 1] == 45:
                return False, 0.0, 0, 0, False  # a dash
            sign = 2
        elif c == 42:
            sign = 3
        elif c == 88 and 48 <= data[i - 1] <= 57:
            return False, 0.0, 0, 0, False  # `0.9X`: an unknown
        elif c == 120 or c == 88:
            # A letter x multiplies only what is a number on both sides: `3x - 8` is algebra.
            k = i + 1
            while k < end and (data[k] == 32 or data[k] == 36):
                k += 1
            if k < end and (48 <= data[k] <= 57 or data[k] == 40 or data[k] == 46):
                sign = 3
            else:
                return False, 0.0, 0, 0, False
        elif c == 47:
            if i + 1 < end and data[i + 1] == 45 and (i + 2 == end or data[i + 2] == 32):
                return False, 0.0, 0, 0, False  # `5/-`: rupees
            sign = 4
        elif c == 94:
            sign = 7
        elif c == 40 and i + 1 < end and data[i + 1] != 40 and (data[i - 1] == 41 or 48 <= data[i - 1] <= 57):
            # `2(3 + 4)`, `(2)(3)`; not `1((1)/(2))`, which was a mixed number, nor `6/2(1 + 2)`, which can be read in two ways.
            sign = 3
            for k in range(depth):
                if signs[k] == 4:
                    return False, 0.0, 0, 0, False
        elif c != 41 and i < end:
            return False, 0.0, 0, 0, False
        # Fold what binds at least as tightly as the coming sign; a bracket or the end folds everything.
        while depth and signs[depth - 1] != 6:
            s = signs[depth - 1]
            if sign == 7 or ((sign == 3 or sign == 4) and s < 3):
                break
            if s == 4 and ((right == 1 and sign == 4) or (right == 2 and (sign == 3 or sign == 4))):
                break
            depth -= 1
            if s == 5:
                values[top - 1] = -values[top - 1]
                continue
            top -= 1
            a = values[top - 1]
            b = values[top]
            if s == 1:
                a += b
            elif s == 2:
                a -= b
            elif s == 3:
                a *= b
            elif s == 7:
                minus = depth > 0 and signs[depth - 1] == 5  # -2^2: people mean both
                if minus or b != np.floor(b) or abs(b) > 64 or (a == 0.0 and b <= 0):
                    return False, 0.0, 0, 0, False
                power = 1.0
                for _ in range(int(abs(b))):
                    power *= a
                a = power if b >= 0 else 1.0 / power
            else:
                if b == 0.0:
                    return False, 0.0, 0, 0, False
                a /= b
            values[top - 1] = a
        if i == end:
            break
        if c == 41:
            if not depth:
                return False, 0.0, 0, 0, False
            depth -= 1
            i += 1
            if i < end and data[i] == 37:
                values[top - 1] /= 100
                percent = True
                i += 1
            continue
        if depth >= 60:
            return False, 0.0, 0, 0, False
        signs[depth] = sign
        depth += 1
        operators += 1
        want = True
        i += c != 40
    if depth or top != 1 or not abs(values[0]) < 1e15:
        return False, 0.0, 0, 0, False
    return True, values[0], operators, decimals, percent


@kernel
def _read(
    data: Array, begin: int, end: int, values: Array, signs: Array, way: int
) -> tuple[bool, float, int, int, bool]:
    """Evaluate in one of four ways: those of `_evaluate`, or 3: `a + b / c + d` is `(a + b) / (c + d)`, one line over another."""
    if way < 3:
        return _evaluate(data, begin, end, values, signs, way)
    while begin < end and (data[begin] == 32 or data[begin] == 36):
        begin += 1
    while end > begin and (data[end - 1] == 32 or data[end - 1] == 36):
        end -= 1
    depth = 0
    bar = -1
    inner = data[begin] == 40 and data[end - 1] == 41  # one pair of brackets around it all
    for k in range(begin, end):
        depth += data[k] == 40
        depth -= data[k] == 41
        inner &= depth > 0 or k == end - 1
    depth = -1 if inner else 0
    for k in range(begin, end):
        depth += data[k] == 40
        if data[k] == 47 and depth == 0:
            if bar >= 0:
                return False, 0.0, 0, 0, False
            bar = k
        depth -= data[k] == 41
    if bar < 0:
        return False, 0.0, 0, 0, False
    begin += inner
    end -= inner
    ok, a, ao, _, ap = _evaluate(data, begin, bar, values, signs, 0)
    if not ok:
        return False, 0.0, 0, 0, False
    ok, b, bo, _, bp = _evaluate(data, bar + 1, end, values, signs, 0)
    if not ok or b == 0.0:
        return False, 0.0, 0, 0, False
    return True, a / b, ao + bo + 1, -1, ap or bp


@kernel
def _differ(
    a: float,
    a_operators: int,
    a_decimals: int,
    b: float,
    b_operators: int,
    b_decimals: int,
    percent: int,
    factor: float,
) -> bool:
    """Return whether two sides differ by more than the rounding of the side that is a plain number.

    The left side may also be `factor` times the right one, or the other way round; 1: no.
    """
    places = 15
    if b_operators == 0:
        places = b_decimals
    if a_operators == 0:
        places = min(places, a_decimals)
    unit = 0.0
    if places < 15 and places > 0:
        unit = 10.0 ** (-places)
    if a_operators and b_operators:
        unit = 0.01  # both sides calculate, perhaps with rounded numbers
    for scale in (1.0, 100.0, 0.01, factor, 1.0 / factor):
        if (scale == 100.0 or scale == 0.01) and percent == 0 and factor != 100.0:
            continue
        left = a * scale
        if abs(left - b) <= unit * max(1.0, scale) * 1.000001 + 1e-9 + 1e-13 * abs(b):
            return False
    return True


@kernel
def _rounded(a: float, b: float, scaled: int) -> bool:
    """Return whether two sides differ by no more than half a per cent, and if `scaled` (0, 1) a power of ten: `10^4 = 10 km`."""
    if not (a / b > 1e-12 and a / b < 1e12):
        return False
    ratio = a / b
    while scaled and ratio > 3.2:
        ratio /= 10
    while scaled and ratio < 0.32:
        ratio *= 10
    return abs(ratio - 1) < 0.005


@kernel
def _check(data: Array, offsets: Array, wanted: Array, allowed: Array) -> Array:
    """Return per text: steps, wrong steps."""
    n = len(offsets) - 1
    out = np.zeros((n, 2), np.int64)
    values = np.zeros(64, np.float64)
    signs = np.zeros(64, np.int64)
    longest = 1
    for t in range(n):
        if wanted[t]:
            longest = max(longest, offsets[t + 1] - offsets[t])
    plain = np.zeros(longest + 1, np.uint8)
    for t in range(n):
        if not wanted[t]:
            continue
        i = offsets[t]
        end = offsets[t + 1]
        size = 0
        while i < end:
            if data[i] == 60 and i + 1 < end and data[i + 1] == 60:
                k = i + 2
                equals = -1
                while k + 1 < end and not (data[k] == 62 and data[k + 1] == 62) and data[k] != 10:
                    if data[k] == 61:
                        equals = k
                    k += 1
                if k + 1 < end and data[k] == 62:
                    if equals > 0:
                        ok, a, ao, ad, ap = _evaluate(data, i + 2, equals, values, signs, 0)
                        ok2, b, bo, bd, bp = _evaluate(data, equals + 1, k, values, signs, 0)
                        if ok and ok2:
                            out[t, 0] += 1
                            if _differ(a, ao, ad, b, bo, bd, int(ap) + int(bp), 1.0):
                                out[t, 1] += 1
                    i = k + 2
                    continue
            plain[size] = data[i]
            size += 1
            i += 1
        # Plain equations, in the text without its marks.
        floor = 0
        for e in range(size):
            if plain[e] != 61:
                continue
            low = e
            while low > floor and allowed[plain[low - 1]]:
                low -= 1
            high = e + 1
            while high < size and allowed[plain[high]]:
                high += 1
            before = plain[low - 1] if low > 0 else 10
            after = plain[high] if high < size else 10
            stop = high
            doubt = False
            floor = e + 1
            # A space, full stop, comma or dollar sign that ends the sentence is none of the expression's.
            while high > e + 1 and (
                plain[high - 1] == 32 or plain[high - 1] == 46 or plain[high - 1] == 44 or plain[high - 1] == 36
            ):
                high -= 1
            # Words before: begin after the last comma or full stop that is followed by a space.
            k = e - 1
            while k > low:
                if (plain[k - 1] == 44 or plain[k - 1] == 46) and plain[k] == 32:
                    doubt |= _broken(plain, k, size)
                    low = k
                    before = 10
                    break
                k -= 1
            k = e + 1
            while k + 1 < high:
                if (plain[k] == 44 or plain[k] == 46) and plain[k + 1] == 32:
                    doubt |= _broken(plain, k + 1, size)
                    high = k
                    stop = k
                    after = 10
                    break
                k += 1
            first = low
            while first < e and (plain[first] == 32 or plain[first] == 36):
                first += 1
            if first == e:
                continue
            # What the expression touches without a space may be an unknown, a function or a unit.
            alone = before == 10 or before == 32 or before == 61 or before == 40 or before == 58
            if low == first and plain[low] != 36 and not alone:
                continue
            lead = plain[first]
            if (
                lead == 43
                or lead == 42
                or lead == 47
                or lead == 120
                or lead == 88
                or lead == 41
                or lead == 37
                or lead == 94
            ):
                continue
            letter = _letter(before)
            if before == 125 or before == 93 or before == 95 or before == 38 or (letter and (lead == 45 or low < 2)):
                continue
            if low > 0 and plain[low - 1] == 10 and _unfinished(plain, low):
                continue
            if before == 58 and low > 1 and 48 <= plain[low - 2] <= 57:
                continue  # a ratio or a time
            if letter and not _letter(plain[low - 2]):
                continue  # one letter alone: an unknown
            if before == 94 or before == 60 or before == 62 or before == 33 or before == 126 or before == 92:
                continue
            if after == 33 or after == 94 or after == 95 or after == 92 or after == 123 or after == 58:
                continue
            last = plain[high - 1]
            if (
                high == e + 1
                or last == 43
                or last == 45
                or last == 42
                or last == 47
                or last == 40
                or last == 94
                or last == 120
                or last == 88
            ):
                continue
            if _letter(after) and high < size and plain[high] == after:
                continue  # a unit or an unknown right after the number
            if letter and (_command(plain, low) or _continues(plain, low, first, e)):
                continue
            if _mixed(plain, stop, size):
                continue
            ok, a, ao, ad, ap = _evaluate(plain, low, e, values, signs, 0)
            if not ok:
                continue
            ok, b, bo, bd, bp = _evaluate(plain, e + 1, high, values, signs, 0)
            if not ok or ao + bo == 0:
                continue
            wrong = _differ(a, ao, ad, b, bo, bd, int(ap) + int(bp), 1.0)
            if wrong:
                if doubt or _clock(plain, first, high):
                    continue
                unknown = stop < size and _letter(plain[stop]) and not (stop + 1 < size and _letter(plain[stop + 1]))
                if unknown or (stop < size and plain[stop] >= 128):  # `= 2 d`: a product; a sign that is not known
                    continue
                quotient = False
                for k in range(low, e):
                    quotient |= plain[k] == 47
                if quotient and abs(a - b) < 0.005 * abs(b):
                    continue  # rounded, though nobody says so
                power = False
                ten = False
                decimal = False
                for k in range(low, high):
                    power |= plain[k] == 94
                    decimal |= plain[k] == 46
                    ten |= plain[k] == 94 and k > low + 1 and plain[k - 1] == 48 and plain[k - 2] == 49
                if ten or (power and decimal):
                    wrong = not _rounded(a, b, int(ten))
                otherwise = False
                for word in _OTHERWISE:
                    otherwise |= _says(plain, 0, size, word)
                if otherwise:
                    continue
                finish = stop
                while finish < size and plain[finish] != 10 and not (plain[finish] == 46 and finish > stop):
                    finish += 1
                rough = False
                for k in range(low, e):
                    rough |= plain[k] == 47 or plain[k] == 46
                named = False
                for word in _ROUGHLY:
                    named |= rough and _says(plain, stop, finish, word)
                if named:
                    continue
                # Every other way to read it.
                for way in range(32):
                    start = first + 1 if way & 16 else low
                    if way & 16 and lead != 45:
                        break
                    ok, a, ao, ad, ap = _read(plain, start, e, values, signs, way & 3)
                    ok2, b, bo, bd, bp = _read(plain, e + 1, high, values, signs, (way >> 2) & 3)
                    if ok and ok2:
                        wrong &= _differ(a, ao, ad, b, bo, bd, int(ap) + int(bp), 1.0)
                        for u in range(len(_UNITS)):
                            if wrong and not _differ(a, ao, ad, b, bo, bd, int(ap) + int(bp), _FACTORS[u]):
                                wrong = not _says(plain, 0, size, _UNITS[u])
            out[t, 0] += 1
            if wrong:
                out[t, 1] += 1
    return out


@scorer(
    version=3,
    scores={"steps": pa.int64(), "wrong_steps": pa.int64(), "wrong_share": pa.float64()},
    bounds={"wrong_steps": (None, 0)},
)
def arithmetic_check(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Check the steps in the assistant texts of `batch`."""
    texts = assistant(batch)
    for sign, plain in _SIGNS:
        texts = pc.replace_substring(texts, sign, plain)
    if pc.any(pc.match_substring(texts, "\\")).as_py():
        for pattern, plain in _LATEX:
            texts = pc.replace_substring_regex(texts, pattern, plain)
    raw = buffers(texts)
    defined = np.asarray(pc.fill_null(pc.match_substring_regex(prompts(batch), DEFINED), False))
    out = _check(raw.data, raw.offsets, raw.valid & ~is_task(batch, "code") & ~defined, _EXPRESSION)
    applies = out[:, 0] > 0
    return table(
        steps=column(out[:, 0], applies, pa.int64()),
        wrong_steps=column(out[:, 1], applies, pa.int64()),
        wrong_share=column(ratio(out[:, 1], out[:, 0]), applies, pa.float64()),
    )

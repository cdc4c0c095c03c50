r"""LaTeX in texts, read in one pass: delimiters, environments and the structure of formulas.

The scanner keeps a stack of what is open (`{`, `\(`, `\[`, `$`, `$$`, `\begin{x}`, `\left`) and, for each, which scripts its
last atom has. A closing sign looks for its opening one from the top; what was opened in between and never closed is unmatched.

A formula begins with an outermost math delimiter or math environment and ends with its counterpart; a text with LaTeX but
without any such is one formula as a whole. It is broken if something in it is unmatched, or if TeX would stop at it:

- a command without the arguments it needs (`\frac{1}`, `\sqrt`), `^` or `_` without one;
- a second superscript or subscript on one atom (`x^2^3`, `x_1_2`, `x^2'`);
- an alignment tab `&` outside an environment that aligns;
- `\left` or `\right` without a delimiter (`\left{`);
- an empty line in an inline formula.

`\text{..}` and its like hold text, in which `$` may begin a formula of its own. A single `$` before an amount (`$5`, `$1.2M`;
not `$2x`) is money unless it is closed and what lies between has a sign of mathematics in it or ends without a space.
"""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.shared.text import Array, assistant, buffers, cached, is_task, kernel

# A text has LaTeX by a command that is nothing else (`C:\log` is a path, `\d+` a regular expression), an opening or closing
# bracket of mathematics next to what may stand in it, or two dollars with a sign of mathematics between them that are no
# variables of PHP.
_NAMES = (
    "alpha|beta|gamma|delta|epsilon|varepsilon|zeta|eta|theta|lambda|mu|nu|xi|pi|rho|sigma|tau|phi|varphi|chi|psi|omega|Gamma|Delta|"
    "Theta|Lambda|Sigma|Phi|Psi|Omega|cdot|times|div|pm|mp|leq|geq|neq|le|ge|ne|approx|equiv|infty|sum|prod|int|lim|ldots|cdots|"
    "quad|qquad|(?:left|right|Left|Right|up|down|long)+arrow|implies|iff|notin|subset|cup|cap|emptyset|forall|exists|partial|nabla|"
    "angle|triangle|circ|perp|parallel|cong|sin|cos|tan|ln|limits|displaystyle|odot"
)
LATEX = (
    r"\\(?:"
    + _NAMES
    + r")(?:[^A-Za-z\\]|$)|\\[dtc]?frac\b|\\sqrt\b|\\(?:left|right)\s*[(){}\[\]|.\\]|\\(?:text|mathrm|mathbf|mathbb|mathcal|"
    r"boxed|overline|underline|hat|bar|vec|binom|begin|end|operatorname|pmod)\s*\{|(?:^|[^\\\w])\\[(\[]\s*[\w\\{(-]|[\w}).]\s*\\[)\]]|\$\$|"
    r"(?:^|[^\w$\\])\$[^$\n]{0,200}[\^_\\][^$\n]{0,200}\$(?:[^\w{]|$)"
)
DELIMITER = r"\\[(\[]|\$|\\begin"
# Fenced code, code within a line, and Asymptote as the MATH data has it.
CODE = r"(?s)```.*?(?:```|$)|\[asy\].*?\[/asy\]"
SPAN = r"(^|[^`])`[^`\n]+`"


# What a command is to the scanner.
ONE, TWO, OPTIONAL, TEXT, CLEAR, ALIGNS = 1, 2, 4, 8, 16, 32
_COMMANDS = {
    TWO: "frac dfrac tfrac cfrac binom dbinom tbinom stackrel overset underset textcolor",
    ONE: "mathrm mathbf mathit mathsf mathtt mathbb mathcal mathfrak mathscr boldsymbol overline underline widehat widetilde "
    "hat bar vec dot ddot tilde check acute grave breve overrightarrow overleftarrow overbrace underbrace boxed phantom "
    "hphantom vphantom operatorname pmod cancel substack",
    ONE | OPTIONAL: "sqrt xrightarrow xleftarrow",
    ONE | TEXT: "text textbf textit textrm textsf texttt textnormal mbox hbox fbox emph",
    CLEAR: "limits nolimits displaystyle textstyle",  # leave the atom before as it is
    ALIGNS: "matrix pmatrix bmatrix cases eqalign eqalignno bordermatrix array substack",  # plain TeX: \matrix{a & b \cr c & d}
}
_TEXT_ENVIRONMENTS = (
    "document center flushleft flushright enumerate itemize description quote quotation abstract figure table tabular "
    "tabularx longtable minipage theorem lemma proof definition corollary example remark problem solution verbatim "
    "lstlisting asy tikzpicture"
)
_PLAIN_ENVIRONMENTS = "equation equation* displaymath math multline multline* gather gather* gathered subequations"
_DELIMITERS = (
    "langle rangle lfloor rfloor lceil rceil vert Vert lvert rvert lVert rVert lbrace rbrace lbrack rbrack backslash uparrow "
    "downarrow updownarrow Uparrow Downarrow Updownarrow lgroup rgroup lmoustache rmoustache ulcorner urcorner llcorner lrcorner"
)


def _hash(word: str) -> int:
    h = 0xCBF29CE484222325
    for byte in word.encode():
        h = ((h ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return h


def _hashes(words: Iterable[str]) -> Array:
    return np.sort(np.array([_hash(w) for w in words], np.uint64))


def _commands() -> tuple[Array, Array]:
    kinds: dict[int, int] = {}
    for kind, words in _COMMANDS.items():
        for word in words.split():
            kinds[_hash(word)] = kinds.get(_hash(word), 0) | kind
    keys = np.array(sorted(kinds), np.uint64)
    return keys, np.array([kinds[int(k)] for k in keys], np.int64)


COMMANDS, KINDS = _commands()
TEXT_ENVIRONMENTS = _hashes(_TEXT_ENVIRONMENTS.split())
PLAIN_ENVIRONMENTS = _hashes(_PLAIN_ENVIRONMENTS.split())
DELIMITERS = _hashes(_DELIMITERS.split())
_WORDS = np.array([_hash(w) for w in ("begin", "end", "left", "right")], np.uint64)

_BRACE, _ROUND, _SQUARE, _DOLLAR, _DISPLAY, _ENVIRONMENT, _LEFT = 1, 2, 3, 4, 5, 6, 7
# What an entry of the stack is besides.
_IS_TEXT, _IS_MATH, _IS_SCRIPT, _IS_ALIGNED, _IS_MONEY = 1, 2, 4, 8, 16
_SUPER, _SUB, _PRIME = 1, 2, 4
_FAR = 4096  # bytes that the search for the end of an argument looks ahead


@kernel
def _in(keys: Array, h: np.uint64) -> bool:
    at = np.searchsorted(keys, h)
    return bool(at < len(keys) and keys[at] == h)


@kernel
def _name(data: Array, i: int, end: int) -> tuple[np.uint64, int]:
    """Return the hash of the letters from byte `i` on, and where they end."""
    h = np.uint64(0xCBF29CE484222325)
    while i < end and (65 <= data[i] <= 90 or 97 <= data[i] <= 122):
        h = (h ^ np.uint64(data[i])) * np.uint64(0x100000001B3)
        i += 1
    return h, i


@kernel
def _spaces(data: Array, i: int, end: int) -> int:
    while i < end and (data[i] == 32 or data[i] == 9 or data[i] == 10 or data[i] == 13):
        i += 1
    return i


@kernel
def _matching(data: Array, i: int, end: int) -> int:
    """Return the byte after the `}` that closes the `{` at byte `i`; -1: there is none."""
    depth = 0
    stop = min(end, i + _FAR)
    while i < stop:
        if data[i] == 92:
            i += 1
        elif data[i] == 123:
            depth += 1
        elif data[i] == 125:
            depth -= 1
            if depth == 0:
                return i + 1
        i += 1
    return -1 if stop == end else stop


@kernel
def _argument(data: Array, i: int, end: int, stops: Array) -> int:
    """Return the byte after the argument that begins at byte `i` or after white space there; -1: there is none."""
    i = _spaces(data, i, end)
    if i >= end:
        return -1
    b = data[i]
    if b == 123:
        return _matching(data, i, end)
    if b == 125 or b == 38 or b == 36 or b == 94 or b == 95:
        return -1
    if b == 92:
        if i + 1 >= end or data[i + 1] == 41 or data[i + 1] == 93 or data[i + 1] == 92:
            return -1
        h, k = _name(data, i + 1, end)
        if h == stops[1] or h == stops[3]:  # \end, \right
            return -1
        return max(k, i + 2)
    i += 1
    while i < end and 0x80 <= data[i] < 0xC0:
        i += 1
    return i


@kernel
def _has_arguments(data: Array, i: int, end: int, kind: int, stops: Array) -> bool:
    """Return whether the arguments that a command of `kind` needs stand at byte `i`."""
    if kind & OPTIONAL:
        k = _spaces(data, i, end)
        if k < end and data[k] == 91:
            stop = min(end, k + _FAR)
            while k < stop and data[k] != 93:
                k += 1
            i = k + 1
    for _ in range(2 if kind & TWO else 1):
        i = _argument(data, i, end, stops)
        if i < 0:
            return False
    return True


@kernel
def _delimiter(data: Array, i: int, end: int, delimiters: Array) -> int:
    """Return the byte after the delimiter that stands at byte `i`; -1: none does."""
    i = _spaces(data, i, end)
    if i >= end:
        return -1
    b = data[i]
    if b == 40 or b == 41 or b == 91 or b == 93 or b == 124 or b == 47 or b == 46 or b == 60 or b == 62:
        return i + 1
    if b == 92 and i + 1 < end:
        c = data[i + 1]
        if c == 123 or c == 125 or c == 124:
            return i + 2
        h, k = _name(data, i + 1, end)
        if _in(delimiters, h):
            return k
    if b >= 0xC0:  # a delimiter of Unicode, such as U+27E8
        i += 1
        while i < end and 0x80 <= data[i] < 0xC0:
            i += 1
        return i
    return -1


@kernel
def _is_amount(data: Array, i: int, end: int) -> bool:
    """Return whether a number that ends like a sum of money is at byte `i`: `5`, `.50`, `1,200.` or `3M`, not `2x`."""
    if i < end and data[i] == 46:
        i += 1
    if i >= end or not 48 <= data[i] <= 57:
        return False
    while i < end and (48 <= data[i] <= 57 or data[i] == 44 or data[i] == 46):
        i += 1
    if i < end and data[i] | 32 in (107, 109, 98):  # thousands, millions, billions
        i += 1
    if i >= end:
        return True
    b = data[i]
    # \ ^ _ = + * < > { } ( [ and letters
    math = b == 92 or b == 94 or b == 95 or b == 61 or b == 43 or b == 42 or b == 60 or b == 62 or b == 123 or b == 125
    return not (math or b == 40 or b == 91 or 65 <= b <= 90 or 97 <= b <= 122)


@kernel
def _is_money(data: Array, begin: int, close: int) -> bool:
    """Return whether the `$` before byte `begin` is money although another `$` stands at byte `close`."""
    word = False
    k = begin
    while k < close:
        b = data[k]
        if b == 92 and data[k + 1] == 36:
            k += 2
            continue
        k += 1
        # \ ^ _ = + * < > { }
        if b == 92 or b == 94 or b == 95 or b == 61 or b == 43 or b == 42 or b == 60 or b == 62 or b == 123 or b == 125:
            return False
        word |= 65 <= b <= 90 or 97 <= b <= 122
    return bool(word and data[close - 1] == 32)


@kernel
def _holder(what: Array, flags: Array, top: int) -> int:
    """Return the nearest entry that a `$` has to do with: a math delimiter, or text."""
    while top > 0 and not (_ROUND <= what[top] <= _DISPLAY or flags[top] & _IS_TEXT):
        top -= 1
    return top


@kernel
def _scan(
    data: Array, offsets: Array, wanted: Array, bare: Array, words: Array, commands: Array, kinds: Array,
    text_environments: Array, plain_environments: Array, delimiters: Array,
) -> Array:  # fmt: skip
    """Return per text: unmatched delimiters, formulas, broken formulas."""
    n = len(offsets) - 1
    out = np.zeros((n, 3), np.int64)
    longest = 0
    for t in range(n):
        if wanted[t]:
            longest = max(longest, offsets[t + 1] - offsets[t])
    what = np.zeros(longest + 2, np.int8)
    flags = np.zeros(longest + 2, np.int8)
    scripts = np.zeros(longest + 2, np.int8)
    names = np.zeros(longest + 2, np.uint64)
    begins = np.zeros(longest + 2, np.int64)
    for t in range(n):
        if not wanted[t]:
            continue
        end = offsets[t + 1]
        i = offsets[t]
        # Entry 0 is the text itself.
        top = 0
        flags[0] = _IS_MATH if bare[t] else _IS_TEXT
        what[0] = 0
        scripts[0] = 0
        depth = 1 if bare[t] else 0  # formulas open
        bad = 0
        formulas = depth
        broken = 0
        fault = False  # in the formula that is open
        pending = 0  # flags for the group that comes next
        while i < end:
            b = data[i]
            mode = top  # the nearest entry that says whether this is text or math
            while flags[mode] & (_IS_TEXT | _IS_MATH) == 0:
                mode -= 1
            math = flags[mode] & _IS_MATH != 0
            close = 0  # what is to be closed here
            h = np.uint64(0)
            after = i + 1
            begin = 0  # what is to be opened
            flag = 0
            if b == 92:
                if i + 1 >= end:
                    break
                c = data[i + 1]
                after = i + 2
                if c == 40:
                    begin, flag = _ROUND, _IS_MATH
                elif c == 41:
                    close = _ROUND
                elif c == 91:
                    begin, flag = _SQUARE, _IS_MATH
                elif c == 93:
                    close = _SQUARE
                elif not (65 <= c <= 90 or 97 <= c <= 122):
                    scripts[top] = 0  # `\,`, `\{`, `\\`
                else:
                    h, after = _name(data, i + 1, end)
                    if h == words[0] or h == words[1]:
                        opens = h == words[0]
                        k = _spaces(data, after, end)
                        if k < end and data[k] == 123:
                            h = np.uint64(0xCBF29CE484222325)
                            k += 1
                            while k < end and data[k] != 125 and data[k] != 10:
                                h = (h ^ np.uint64(data[k])) * np.uint64(0x100000001B3)
                                k += 1
                            if k >= end or data[k] != 125:
                                bad += 1
                                fault |= depth > 0
                            after = k + 1
                            if not opens:
                                close = _ENVIRONMENT
                            elif _in(text_environments, h):
                                begin, flag = _ENVIRONMENT, _IS_TEXT | _IS_ALIGNED
                            elif _in(plain_environments, h):
                                begin, flag = _ENVIRONMENT, _IS_MATH
                            else:
                                begin, flag = _ENVIRONMENT, _IS_MATH | _IS_ALIGNED
                    elif h == words[2] or h == words[3]:
                        k = _delimiter(data, after, end, delimiters)
                        if k < 0:
                            fault |= math
                        else:
                            after = k
                        if h == words[2]:
                            begin = _LEFT
                        else:
                            close = _LEFT
                    else:
                        at = np.searchsorted(commands, h)
                        kind = int(kinds[at]) if at < len(commands) and commands[at] == h else 0
                        if kind & (ONE | TWO) and math and not _has_arguments(data, after, end, kind, words):
                            fault = True
                        if kind & TEXT:
                            pending = _IS_TEXT
                        elif kind & ALIGNS:
                            pending = _IS_ALIGNED
                        if kind & CLEAR == 0:
                            scripts[top] = 0
            elif b == 123:
                begin, flag = _BRACE, pending
                pending = 0
            elif b == 125:
                close = _BRACE
            elif b == 36:
                # An environment that is still open in a formula does not keep the formula from ending.
                holder = _holder(what, flags, top)
                if flags[holder] & _IS_MONEY and _is_money(data, begins[holder], i):
                    top = holder - 1  # nothing but words since
                    depth -= 1
                    formulas -= 1 if depth == 0 else 0
                    fault = fault and depth > 0
                    holder = _holder(what, flags, top)
                    mode = holder
                inside = what[holder]
                if inside == _DOLLAR:
                    close = _DOLLAR
                elif i + 1 < end and data[i + 1] == 36:
                    after = i + 2
                    if inside == _DISPLAY:
                        close = _DISPLAY
                    else:
                        begin, flag = _DISPLAY, _IS_MATH
                elif inside == _DISPLAY:
                    bad += 1
                    fault = True
                    close = _DISPLAY
                else:
                    begin, flag = _DOLLAR, _IS_MATH
                    if _is_amount(data, i + 1, end):
                        flag |= _IS_MONEY
            elif b == 10 and math:
                # An empty line ends a paragraph, and no inline formula reaches across it; displays do, in Markdown.
                k = i + 1
                while k < end and (data[k] == 32 or data[k] == 9 or data[k] == 13):
                    k += 1
                inline = what[mode] == _DOLLAR or what[mode] == _ROUND
                if k < end and data[k] == 10 and inline:
                    if flags[mode] & _IS_MONEY:
                        top = mode - 1
                        depth -= 1
                        formulas -= 1 if depth == 0 else 0
                        fault = fault and depth > 0
                    else:
                        fault = True
                        if what[mode] == _DOLLAR:
                            bad += 1 + top - mode
                            top = mode - 1
                            depth -= 1
                            if depth == 0:
                                broken += 1
                                fault = False
            elif math and (b == 94 or b == 95):
                script = _SUPER if b == 94 else _SUB
                if scripts[top] & script:
                    fault = True
                scripts[top] |= script
                k = _argument(data, i + 1, end, words)
                if k < 0:
                    fault = True
                else:
                    group = _spaces(data, i + 1, end)
                    if data[group] == 123:
                        begin, flag = _BRACE, _IS_SCRIPT
                        after = group + 1
                    else:
                        after = k
            elif math and b == 39:
                if scripts[top] & _SUPER:
                    fault = True
                scripts[top] |= _PRIME
            elif math and b == 38:
                scripts[top] = 0
                aligned = top
                while aligned > 0 and flags[aligned] & (_IS_ALIGNED | _IS_MATH) == 0:
                    aligned -= 1
                if flags[aligned] & _IS_ALIGNED == 0:
                    fault = True
            elif b != 32 and b != 9 and b != 13 and not 0x80 <= b < 0xC0:
                scripts[top] = 0
                pending = 0
            if begin:
                if 2 <= begin <= 5 and flags[mode] & _IS_MONEY:
                    # `$5, and \(x\)`: a formula does not begin in a formula.
                    bad += top - mode
                    top = mode - 1
                    depth -= 1
                    formulas -= 1 if depth == 0 else 0
                    fault = fault and depth > 0
                if flag & _IS_SCRIPT == 0:
                    scripts[top] = 0
                if flag & _IS_MATH:
                    if depth == 0:
                        formulas += 1
                        fault = False
                    depth += 1
                top += 1
                what[top] = begin
                flags[top] = flag
                scripts[top] = 0
                names[top] = h
                begins[top] = after
            elif close:
                found = top
                while found > 0 and not (what[found] == close and (close != _ENVIRONMENT or names[found] == h)):
                    found -= 1
                if found == 0:
                    bad += 1
                    fault |= depth > 0
                else:
                    if found < top:
                        bad += top - found
                        fault |= depth > 0
                    script = flags[found] & _IS_SCRIPT
                    while top >= found:
                        if flags[top] & _IS_MATH:
                            depth -= 1
                        top -= 1
                    if script == 0:
                        scripts[top] = 0
                    if depth == 0 and fault:
                        broken += 1
                        fault = False
            i = after
        # What is still open; a `$` before a digit may be money.
        money = 0
        for k in range(1, top + 1):
            if flags[k] & _IS_MONEY and depth - money > 0:
                money += 1
        bad += top - money
        if depth > 0:
            if depth == money:
                formulas -= 1
            elif fault or top > money:
                broken += 1
        out[t, 0] = bad
        out[t, 1] = formulas
        out[t, 2] = broken
    return out


def without_code(batch: pa.RecordBatch) -> pa.Array:
    """Return the assistant texts without code in them."""

    def make() -> pa.Array:
        return pc.replace_substring_regex(pc.replace_substring_regex(assistant(batch), CODE, " "), SPAN, r"\1 ")

    return cached(batch, "without_code", make)


def scanned(batch: pa.RecordBatch) -> tuple[Array, Array]:
    """Return which assistant texts have LaTeX, and per text: unmatched delimiters, formulas, broken formulas."""

    def make() -> tuple[Array, Array]:
        texts = without_code(batch)
        there = np.asarray(pc.fill_null(pc.match_substring_regex(texts, LATEX), False))
        applies = there & ~is_task(batch, "code")
        bare = ~np.asarray(pc.fill_null(pc.match_substring_regex(texts, DELIMITER), False))
        raw = buffers(texts)
        found = _scan(
            raw.data, raw.offsets, applies, bare, _WORDS, COMMANDS, KINDS, TEXT_ENVIRONMENTS, PLAIN_ENVIRONMENTS, DELIMITERS
        )  # fmt: skip
        return applies, found

    return cached(batch, "latex", make)  # type: ignore[no-any-return]

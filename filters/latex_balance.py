r"""Unbalanced LaTeX.

Looks at the assistant text, without fenced code blocks. Applies where there is LaTeX: a command of two letters or more
(`\frac`), `\(`, `\[`, `$$`, or two dollar signs with `^`, `_` or `\` between them; not to task `code`.

- `unmatched` (count): delimiters without their counterpart: `$`, `$$`, `\(` `\)`, `\[` `\]`, `{` `}`, `\begin{x}` `\end{x}` (the
  name counts), `\left` `\right`. A backslash takes a sign's meaning away (`\$`, `\{`). A single `$` that opens nothing and stands
  before a digit is money. Bound: at most 0.

Source of the bound: no published number; unmatched delimiters do not compile. The rule is the pairing of delimiters in the
LaTeX2e reference manual, https://latexref.xyz (Math formulas; Math braces; Environments). Left out: whether commands exist, the
number of their arguments, order across kinds (`{ \( } \)` counts as balanced).
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.base import scorer
from filters.shared.text import Array, assistant, buffers, column, is_task, kernel, table

LATEX = r"\\[a-zA-Z]{2,}|\\[()\[\]]|\$\$|\$[^$\n]{0,200}[\^_\\][^$\n]{0,200}\$"
FENCE = r"(?s)```.*?(?:```|$)"


@kernel
def _is(data: Array, i: int, end: int, word: Array) -> bool:
    """Return whether the command `word` (without its backslash) stands at byte `i`, and ends there."""
    if i + len(word) > end:
        return False
    for k in range(len(word)):
        if data[i + k] != word[k]:
            return False
    after = i + len(word)
    if after < end:
        b = data[after]
        return not (65 <= b <= 90 or 97 <= b <= 122)
    return True


@kernel
def _unmatched(
    data: Array, offsets: Array, wanted: Array, begin: Array, close: Array, left: Array, right: Array
) -> Array:
    n = len(offsets) - 1
    out = np.zeros(n, np.int64)
    names = np.zeros(256, np.uint64)
    for t in range(n):
        if not wanted[t]:
            continue
        end = offsets[t + 1]
        i = offsets[t]
        braces = 0
        rounds = 0  # \( open
        squares = 0
        sized = 0  # \left open
        depth = 0
        inline = False  # inside $ .. $
        money = False  # that $ stands before a digit
        display = False
        bad = 0
        while i < end:
            b = data[i]
            if b == 92:  # backslash
                i += 1
                if i >= end:
                    break
                c = data[i]
                if c == 40:
                    rounds += 1
                elif c == 41:
                    if rounds:
                        rounds -= 1
                    else:
                        bad += 1
                elif c == 91:
                    squares += 1
                elif c == 93:
                    if squares:
                        squares -= 1
                    else:
                        bad += 1
                elif _is(data, i, end, left):
                    sized += 1
                    i += 3
                elif _is(data, i, end, right):
                    if sized:
                        sized -= 1
                    else:
                        bad += 1
                    i += 4
                else:
                    opens = _is(data, i, end, begin)
                    if opens or _is(data, i, end, close):
                        k = i + (5 if opens else 3)
                        while k < end and data[k] == 32:
                            k += 1
                        if k < end and data[k] == 123:
                            h = np.uint64(0xCBF29CE484222325)
                            k += 1
                            while k < end and data[k] != 125 and data[k] != 10:
                                h = (h ^ np.uint64(data[k])) * np.uint64(0x100000001B3)
                                k += 1
                            if k >= end or data[k] != 125:
                                bad += 1
                            if opens:
                                if depth < len(names):
                                    names[depth] = h
                                depth += 1
                            elif depth and (depth > len(names) or names[depth - 1] == h):
                                depth -= 1
                            else:
                                bad += 1
                            i = k
                i += 1
                continue
            if b == 123:
                braces += 1
            elif b == 125:
                if braces:
                    braces -= 1
                else:
                    bad += 1
            elif b == 36:
                if not inline and i + 1 < end and data[i + 1] == 36:
                    display = not display
                    i += 1
                elif inline:
                    inline = False
                else:
                    inline = True
                    money = i + 1 < end and (48 <= data[i + 1] <= 57 or data[i + 1] == 46)
            elif b == 10 and inline and i + 1 < end and data[i + 1] == 10:
                # Inline math does not reach across an empty line.
                if not money:
                    bad += 1
                inline = False
            i += 1
        if inline and not money:
            bad += 1
        if display:
            bad += 1
        out[t] = bad + braces + rounds + squares + sized + depth
    return out


def _bytes(word: str) -> Array:
    return np.frombuffer(word.encode(), np.uint8)


_WORDS = tuple(_bytes(w) for w in ("begin", "end", "left", "right"))


@scorer(version=1, scores={"unmatched": pa.int64()}, bounds={"unmatched": (None, 0)})
def latex_balance(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Score the assistant texts of `batch`."""
    texts = pc.replace_substring_regex(assistant(batch), FENCE, " ")
    there = np.asarray(pc.fill_null(pc.match_substring_regex(texts, LATEX), False))
    applies = there & ~is_task(batch, "code")
    raw = buffers(texts)
    return table(unmatched=column(_unmatched(raw.data, raw.offsets, applies, *_WORDS), applies, pa.int64()))

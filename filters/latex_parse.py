r"""Formulas that TeX would stop at.

Looks at the LaTeX of the assistant text, as `latex_balance` does. A formula goes from an outermost math delimiter or
environment to its counterpart; a text with LaTeX but no such delimiter is one formula. Null where there is none.

- `formulas` (count): formulas. No bound.
- `broken` (count): those with something unmatched in them, a command without the arguments it needs, `^` or `_` without one,
  two superscripts or two subscripts on one atom, an alignment tab outside an environment that aligns, `\left` or `\right`
  without a delimiter, or, inline, an empty line. Bound: at most 0.
- `broken_share` (0..1): their ratio. No bound.

Source of the bound: by definition; each is an error of TeX (The TeXbook, chapters 16 to 18 and 27; LaTeX2e reference manual,
https://latexref.xyz). Left out: whether a command exists, infix `\over`, verbatim text and comments, and what depends on
packages. Agreement with a real parser and what it finds in planted damage: docs/results/ocr_math.md.
"""

import pyarrow as pa

from filters.base import scorer
from filters.shared.latex import scanned
from filters.shared.text import column, ratio, table


@scorer(
    version=1,
    scores={"formulas": pa.int64(), "broken": pa.int64(), "broken_share": pa.float64()},
    bounds={"broken": (None, 0)},
)
def latex_parse(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Score the assistant texts of `batch`."""
    _, found = scanned(batch)
    formulas, broken = found[:, 1], found[:, 2]
    some = formulas > 0
    return table(
        formulas=column(formulas, some, pa.int64()),
        broken=column(broken, some, pa.int64()),
        broken_share=column(ratio(broken, formulas), some, pa.float64()),
    )

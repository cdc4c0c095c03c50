r"""Unbalanced LaTeX.

Looks at the assistant text, without code (fenced or in backticks) and `[asy]` blocks. Applies where there is LaTeX: a command
that is nothing else (`\frac`, `\alpha`, `\begin{`, not the `\log` of a path), `\(`, `\[`, `$$`, or two dollar signs with `^`,
`_` or `\` between them that are no variables of a program; not to task `code`.

- `unmatched` (count): delimiters without their counterpart: `$`, `$$`, `\(` `\)`, `\[` `\]`, `{` `}`, `\begin{x}` `\end{x}`
  (the name counts), `\left` `\right`; they must be nested (`{ \( } \)` has two that are not). A backslash takes a sign's
  meaning away (`\$`, `\{`). A single `$` that opens nothing and stands before an amount is money. Bound: at most 0.

Source of the bound: no published number; unmatched delimiters do not compile. The rule is the pairing of delimiters in the
LaTeX2e reference manual, https://latexref.xyz (Math formulas; Math braces; Environments). Left out: whether commands exist;
what else TeX would stop at is `latex_parse`'s. How it reads is in `filters/shared/latex.py`.
"""

import pyarrow as pa

from filters.base import scorer
from filters.shared.latex import scanned
from filters.shared.text import column, table


@scorer(version=2, scores={"unmatched": pa.int64()}, bounds={"unmatched": (None, 0)})
def latex_balance(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Score the assistant texts of `batch`."""
    applies, found = scanned(batch)
    return table(unmatched=column(found[:, 0], applies, pa.int64()))

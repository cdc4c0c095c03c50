r"""The answer given away in the question.

Looks at the user's text and the last assistant message, not for task `code`.

- `given` (binary, 0 or 1): the question has a marked answer (`\boxed{..}`, `####`, "the answer is ..", "answer: ..", as in
  `filters/shared/answers.py`) and it is the sample's own final answer (marked, or of a task that `answer_agreement` takes
  whole or by its last number), in one form: `\boxed{\frac12}` gives away 0.5. It must be the only mark of its kind in the
  question, with no question mark after it: examples before the question proper have marks too. That the number 3 stands in
  both "3 apples" and the answer is no leak. Null where there is no question or no final answer. Bound: at most 0.
- `contained` (binary, 0 or 1): the whole answer, of `words` (12) words or more, stands in the question word for word. No
  bound: where a question brings its text along, an answer may be quoted from it. Null for shorter answers.
- `echo` (0..1): share of the question's words that the answer is, where it is contained, else 0. Near 1 the answer repeats the
  question; where that is too much depends on the task. No bound. Null for shorter answers.

Source of the bound: by definition. No solution of GSM8K (arXiv 2110.14168) and MATH (arXiv 2103.03874) is given or contained;
what planted leaks do is in docs/results/ocr_math.md. Left out: paraphrase, choices that only the right one fits, answers in
pictures.
"""

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from filters.base import scorer
from filters.shared.answers import boxed, final_answers, hashed, last_answer, one_form, phrased
from filters.shared.dialogue import prompts
from filters.shared.text import Array, cached, column, is_task, kernel, ratio, table, tokenise

# A mark, how often it stands in a text, and what must not come after the last of them.
_KINDS = (
    (boxed, r"\\f?box(?:ed)?\s*\{", r"(?s)^.*\\f?box(?:ed)?\s*\{"),
    (hashed, r"####", r"(?s)^.*####"),
    (phrased, r"(?i)\banswer\b[\s*]*(?:is|:|=)", r"(?is)^.*\banswer\b[\s*]*(?:is|:|=)"),
)


@kernel
def _contained(a: Array, a_first: Array, q: Array, q_first: Array, wanted: Array) -> Array:
    """Return whether all words of each answer stand in its question in one run: the search of Knuth, Morris and Pratt."""
    out = np.zeros(len(wanted), np.bool_)
    for t in range(len(wanted)):
        word = a[a_first[t] : a_first[t + 1]]
        m = len(word)
        if not wanted[t] or m == 0 or m > q_first[t + 1] - q_first[t]:
            continue
        back = np.zeros(m, np.int64)
        k = 0
        for i in range(1, m):
            while k > 0 and word[i] != word[k]:
                k = back[k - 1]
            if word[i] == word[k]:
                k += 1
            back[i] = k
        k = 0
        for i in range(q_first[t], q_first[t + 1]):
            while k > 0 and q[i] != word[k]:
                k = back[k - 1]
            if q[i] == word[k]:
                k += 1
            if k == m:
                out[t] = True
                break
    return out


def _given(asked: pa.Array, answer: pl.Series) -> pl.Series:
    """Return which questions say the answer in a mark."""
    columns = {f"m{i}": one_form(find(asked)) for i, (find, _, _) in enumerate(_KINDS)}
    frame = pl.DataFrame({"q": pl.Series(pl.from_arrow(asked)), "a": answer, **columns})
    leaks = []
    for i, (_, mark, before) in enumerate(_KINDS):
        once = pl.col("q").str.count_matches(mark) == 1
        asks = pl.col("q").str.replace(before, "").str.contains("?", literal=True)
        leaks.append(((pl.col(f"m{i}") == pl.col("a")) & once & ~asks).fill_null(value=False))
    return frame.select(pl.any_horizontal(leaks).alias("given"))["given"]


@scorer(
    version=1,
    scores={"given": pa.int64(), "contained": pa.int64(), "echo": pa.float64()},
    bounds={"given": (None, 0)},
)
def answer_leak(batch: pa.RecordBatch, *, words: int = 12, short: int = 40) -> pa.RecordBatch:
    """Score the questions and answers of `batch`."""
    asked = prompts(batch)
    text = last_answer(batch)
    answer = final_answers(batch, short)
    said = tokenise(text)
    question = cached(batch, "prompt_tokens", lambda: tokenise(asked))
    plain = ~is_task(batch, "code")
    has_question = np.diff(question.first) > 0
    marks = has_question & plain & answer.is_not_null().to_numpy()
    size, whole = np.diff(said.first), np.diff(question.first)
    long = has_question & plain & (size >= max(words, 1))
    found = _contained(said.hashes, said.first, question.hashes, question.first, long)
    return table(
        given=column(_given(pc.fill_null(asked, ""), answer).to_numpy().astype(np.int64), marks, pa.int64()),
        contained=column(found.astype(np.int64), long, pa.int64()),
        echo=column(ratio(size * found, whole), long, pa.float64()),
    )

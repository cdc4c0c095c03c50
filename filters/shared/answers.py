r"""The final answer of a text: found, and brought into one form, so that equal answers are equal strings.

A *marked* answer is, in this order, the last `\boxed{..}` (or `\fbox{..}`), what follows the last `####` (GSM8K, arXiv
2110.14168) up to the end of its line, or what follows the last "answer is" or "answer:" up to the end of the sentence.

The one form (after `is_equiv` of Hendrycks et al. 2021, https://github.com/hendrycks/math, modeling/math_equivalence.py, and
beyond it): dollars, spacing, `\left`, `\text` and like wrappings, degrees, per cent signs, a leading `x =`, thousands commas,
a unit after a number and the end of the sentence go; `\dfrac`, `\tfrac` and `\frac12` become `\frac{1}{2}`; numbers, decimal
or fraction, become their value with ten digits: `\frac{1}{2}`, `0.50` and `1/2` are `0.5`; `(B)`, `B.` and `b` are `b`.
"""

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from filters.shared.text import Array, buffers, cached, is_task, kernel, messages, starts

_PHRASE = r"(?is).*\banswer\b[\s*]*(?:is|:|=)[\s*:]*([^\n]+)"
_HASHES = r"(?s).*####[ \t]*([^\n]+)"
_BOXED = (np.frombuffer(rb"\boxed", np.uint8), np.frombuffer(rb"\fbox", np.uint8))

# Applied in this order, to text in lower case.
_FORM = (
    (r"\\(?:left|right|displaystyle|big|bigg)\b|\\[,;:! ]|[~*`]|\\?\$|\\[()\[\]]", " "),
    (r"\\(?:text|textbf|textrm|mathrm|mathbf|mbox|operatorname)\s*\{([^{}]*)\}", "${1}"),
    (r"\\[dtc]frac", r"\frac"),
    (r"\\frac\s*(\d)\s*(\d)", r"\frac{${1}}{${2}}"),
    (r"\^\s*\{?\s*\\circ\s*\}?|°|\\?%", ""),
    (r"\{,\}", ","),
    (r"^\s*[a-z]\s*(?:=|\\in\b)\s*", ""),
    (r"^[\s\"'“”‘’]+|[\s.,;:!\"'“”‘’]+$", ""),
    (r"^\(?([a-j])[).:](?:\s.*)?$", "${1}"),
    (r"\b(hundred|thousand|million|billion|trillion|dozen)s?\b", "_${1}"),  # no units
    (r"^(-?\d[\d,]*(?:\.\d+)?)(?:\s+[a-z]{2,}|\s*(?:cm|mm|km|kg|mg|ml|am|pm|mph))\b[a-z\s.]*$", "${1}"),
    (r"\s+", " "),
    (r"\s*([{}()\[\],=+\-*/^_\\])\s*", "${1}"),
)
_NUMBER = r"^-?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d*)?$"
_FRACTION = r"^(-?)(?:\\frac\{(-?\d+)\}\{(\d+)\}|(-?\d+)/(\d+))$"


@kernel
def _boxed(data: Array, offsets: Array, words: tuple[Array, Array]) -> tuple[Array, Array]:
    """Return the bytes of what the last box of each text holds: where it begins (-1: there is none) and ends."""
    n = len(offsets) - 1
    begin = np.full(n, -1, np.int64)
    end = np.zeros(n, np.int64)
    for t in range(n):
        i = offsets[t + 1] - 1
        while i >= offsets[t] and begin[t] < 0:
            if data[i] == 92:
                for word in words:
                    k = i + len(word)
                    if k >= offsets[t + 1]:
                        continue
                    same = True
                    for j in range(len(word)):
                        same &= data[i + j] == word[j]
                    while same and k < offsets[t + 1] and data[k] == 32:
                        k += 1
                    if same and k < offsets[t + 1] and data[k] == 123:
                        depth = 0
                        at = k
                        while at < offsets[t + 1]:
                            if data[at] == 92:
                                at += 1
                            elif data[at] == 123:
                                depth += 1
                            elif data[at] == 125:
                                depth -= 1
                                if depth == 0:
                                    begin[t] = k + 1
                                    end[t] = at
                                    break
                            at += 1
            i -= 1
    return begin, end


@kernel
def _last_number(data: Array, offsets: Array) -> tuple[Array, Array]:
    """Return the bytes of the last number of each text, with its sign, thousands commas, decimals or denominator."""
    n = len(offsets) - 1
    begin = np.full(n, -1, np.int64)
    end = np.zeros(n, np.int64)
    for t in range(n):
        low = offsets[t]
        i = offsets[t + 1] - 1
        while i >= low and not 48 <= data[i] <= 57:
            i -= 1
        if i < low:
            continue
        end[t] = i + 1
        while i > low and (48 <= data[i - 1] <= 57 or (44 <= data[i - 1] <= 47 and data[i - 1] != 45)):
            i -= 1
        while not 48 <= data[i] <= 57 and not (data[i] == 46 and 48 <= data[i + 1] <= 57):
            i += 1
        if i > low and data[i - 1] == 45 and (i - 1 == low or data[i - 2] in (32, 10, 36, 40, 61, 123)):
            i -= 1
        begin[t] = i
    return begin, end


@kernel
def _copy(data: Array, begin: Array, end: Array) -> tuple[Array, Array]:
    offsets = np.zeros(len(begin) + 1, np.int64)
    for t in range(len(begin)):
        offsets[t + 1] = offsets[t] + (end[t] - begin[t] if begin[t] >= 0 else 0)
    out = np.empty(offsets[-1], np.uint8)
    for t in range(len(begin)):
        if begin[t] >= 0:
            out[offsets[t] : offsets[t + 1]] = data[begin[t] : end[t]]
    return out, offsets


def _pieces(data: Array, begin: Array, end: Array) -> pl.Series:
    """Return the pieces of text that begin and end at these bytes; null where `begin` is negative."""
    out, offsets = _copy(data, begin, end)
    parts = [None, pa.py_buffer(offsets), pa.py_buffer(out)]
    texts = pa.LargeStringArray.from_buffers(len(begin), parts[1], parts[2])
    return pl.Series(pl.from_arrow(pc.if_else(pa.array(begin >= 0), texts, pa.scalar(None, pa.large_string()))))


def boxed(texts: pa.Array) -> pl.Series:
    """Return what the last box of each text holds."""
    raw = buffers(texts)
    return _pieces(raw.data, *_boxed(raw.data, raw.offsets, _BOXED))


def last_number(texts: pa.Array) -> pl.Series:
    """Return the last number of each text as it is written."""
    raw = buffers(texts)
    return _pieces(raw.data, *_last_number(raw.data, raw.offsets))


def hashed(texts: pa.Array) -> pl.Series:
    """Return what follows the last `####` of each text."""
    return pl.Series(pl.from_arrow(texts)).str.extract(_HASHES)


def phrased(texts: pa.Array) -> pl.Series:
    """Return what follows the last "answer is" or "answer:" of each text, up to the end of the sentence."""
    said = pl.Series(pl.from_arrow(texts)).str.extract(_PHRASE)
    return said.str.replace(r"(?s)\.(?:\s.*|\**$)", "")


def marked(texts: pa.Array) -> pl.Series:
    """Return the marked answer of each text as it is written; null where there is none."""
    frame = pl.DataFrame({"b": boxed(texts), "h": hashed(texts), "p": phrased(texts)})
    return frame.select(pl.coalesce(_filled("b"), _filled("h"), _filled("p")))["b"]


def _filled(name: str) -> pl.Expr:
    return pl.when(pl.col(name).str.strip_chars() != "").then(pl.col(name))


def one_form(answers: pl.Series) -> pl.Series:
    """Return each answer in the one form; null for what holds nothing."""
    form = pl.col("a").str.normalize("NFKC").str.to_lowercase().str.replace_all("−", "-", literal=True)
    for pattern, replacement in _FORM:
        form = form.str.replace_all(pattern, replacement)
    frame = pl.DataFrame({"a": answers.cast(pl.String)}).select(form.str.strip_chars().alias("a"))
    digits = pl.col("a").str.replace_all(",", "", literal=True)
    number = pl.when(pl.col("a").str.contains(_NUMBER)).then(digits.cast(pl.Float64, strict=False))
    parts = [pl.col("a").str.extract(_FRACTION, i).cast(pl.Float64, strict=False) for i in (2, 3, 4, 5)]
    over, under = pl.coalesce(parts[0], parts[2]), pl.coalesce(parts[1], parts[3])
    sign = pl.when(pl.col("a").str.extract(_FRACTION, 1) == "-").then(-1.0).otherwise(1.0)
    fraction = pl.when(under > 0).then(sign * over / under)
    value = pl.coalesce(number, fraction)
    value = pl.when(value.abs() < 1e15).then(value.round_sig_figs(10) + 0.0)
    written = value.cast(pl.String).str.replace(r"\.0$", "").str.replace(r"^-0$", "0")
    return frame.select(pl.coalesce(written, pl.when(pl.col("a") != "").then(pl.col("a"))).alias("a"))["a"]


def last_answer(batch: pa.RecordBatch) -> pa.Array:
    """Return the last assistant message of every sample (large_string); null without one."""
    texts, mine, first = messages(batch)
    before = starts(mine)
    some = before[first[1:]] > before[first[:-1]]
    last = np.flatnonzero(mine)[before[first[1:]][some] - 1]
    where = np.zeros(batch.num_rows, np.int64)
    where[some] = last
    return texts.take(pa.array(where, mask=~some))


def final_answers(batch: pa.RecordBatch, short: int) -> pl.Series:
    """Return the final answer of every sample in one form; null where there is none."""

    def make() -> pl.Series:
        texts = last_answer(batch)
        said = pl.Series(pl.from_arrow(texts)).str.strip_chars()
        whole = is_task(batch, "math", "reasoning", "vqa", "chart", "document")
        number = is_task(batch, "math", "reasoning")
        frame = pl.DataFrame({"m": marked(texts), "s": said, "n": last_number(texts), "w": whole, "d": number})
        brief = (pl.col("s").str.len_chars() <= short) & ~pl.col("s").str.contains("\n", literal=True)
        answer = pl.coalesce(
            pl.col("m"), pl.when(pl.col("w") & brief).then(pl.col("s")), pl.when(pl.col("d")).then(pl.col("n"))
        )
        refused = is_task(batch, "code", "caption", "ocr", "generate", "edit")
        return one_form(frame.select(pl.when(~pl.Series(refused)).then(answer).alias("a"))["a"])

    return cached(batch, ("final_answers", short), make)  # type: ignore[no-any-return]

r"""Whether several answers to one question come to the same end.

Known of one sample: its question and its final answer (`filters/shared/answers.py`), by the last assistant message. A marked
answer (`\boxed{..}`, `####`, "the answer is") counts for every task but `code`, `caption`, `ocr`, `generate` and `edit`;
without a mark, tasks `math`, `reasoning`, `vqa`, `chart` and `document` give a message of one line and at most `short` (40)
characters as a whole, and `math` and `reasoning` else the last number.

- `question` (8 bytes): hash of the user's words as written, after NFKC and lower-casing, white space aside, and of the media.
- `answer` (characters): the final answer in one form; null where there is none.

Known of all samples of a question, where at least two have an answer; null otherwise:

- `answers` (count): samples with an answer. No bound.
- `agreement` (0..1): share of them that have this answer, this one included. No bound.
- `majority` (0..1): votes for this answer, over those for the most frequent one: 1 is a majority, or tied for it. Bound: at
  least 1.

Source of the bound: self-consistency takes the most frequent of several answers (Wang et al. 2022, arXiv 2203.11171, section
2), and Huang et al. 2022 (arXiv 2210.11610, section 3.1) train on the solutions that reach it and drop the others. Both sample
a model, 40 and 32 times; a vote of three says less. Exact copies vote too: drop them first. With `verify` answers are compared
with Math-Verify (the extra `math`, https://github.com/huggingface/Math-Verify): `\frac{\sqrt2}{2}` is `\frac{1}{\sqrt2}`. Left
out: answers of several parts in another order without `verify`; how good the reasons are.
"""

import threading
from collections.abc import Callable

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from catalog.errors import UserError
from filters.base import scorer
from filters.shared.answers import final_answers
from filters.shared.dialogue import prompts
from filters.shared.signatures import of_media, of_strings, pack_one
from filters.shared.text import normalised


@scorer(
    version=1,
    scores={"question": pa.binary(), "answer": pa.string()},
    pooled={"answers": pa.int64(), "agreement": pa.float64(), "majority": pa.float64()},
    bounds={"majority": (1, None)},
)
def answer_agreement(batch: pa.RecordBatch, *, short: int = 40, verify: bool = False) -> pa.RecordBatch:
    """Return what the samples of `batch` ask and answer."""
    asked = pc.utf8_trim_whitespace(pc.replace_substring_regex(normalised(prompts(batch)), r"\s+", " "))
    some = np.asarray(pc.fill_null(pc.greater(pc.utf8_length(asked), 0), False))
    question = of_strings(asked) ^ of_media(batch)
    answer = final_answers(batch, short).to_arrow().cast(pa.string())
    return pa.record_batch([pack_one(question, some), answer], names=["question", "answer"])


def pool(signatures: pa.Table, *, verify: bool = False) -> pa.Table:
    """Return how the answers to each question agree."""
    columns = signatures.select(["id", "question", "answer"])
    known = pl.DataFrame(pl.from_arrow(columns)).drop_nulls(["question", "answer"])
    votes = known.group_by("question", "answer").agg(pl.len().alias("votes"))
    if verify:
        votes = _merged(votes, _verifier())
    else:
        votes = votes.with_columns(pl.col("answer").alias("same"))
    counted = (
        votes.group_by("question", "same")
        .agg(pl.col("votes").sum())
        .with_columns(
            pl.col("votes").sum().over("question").alias("answers"),
            pl.col("votes").max().over("question").alias("most"),
        )
    )
    counted = (
        votes.select("question", "answer", "same").join(counted, on=["question", "same"]).filter(pl.col("answers") > 1)
    )
    found = known.join(counted, on=["question", "answer"]).select(
        pl.col("id").cast(pl.String),
        pl.col("answers").cast(pl.Int64),
        (pl.col("votes") / pl.col("answers")).round(6).alias("agreement"),
        (pl.col("votes") / pl.col("most")).round(6).alias("majority"),
    )
    schema = [("id", pa.string()), ("answers", pa.int64()), ("agreement", pa.float64()), ("majority", pa.float64())]
    return found.to_arrow().cast(pa.schema(schema))


def _merged(votes: pl.DataFrame, equal: Callable[[str, str], bool]) -> pl.DataFrame:
    """Return the votes with the answer that each stands for: the first that it equals, the most frequent ones first."""
    several = votes.sort("question", "votes", "answer", descending=[False, True, False])
    same: list[str] = []
    begun: list[str] = []
    last: bytes | None = None
    for question, answer in several.select("question", "answer").iter_rows():  # one row per different answer
        if question != last:
            begun, last = [], question
        match = next((other for other in begun if equal(other, answer)), answer)
        if match is answer:
            begun.append(answer)
        same.append(match)
    return several.with_columns(pl.Series("same", same, pl.String))


def _verifier() -> Callable[[str, str], bool]:
    try:
        from math_verify import parse, verify  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        msg = "`verify` of answer_agreement needs Math-Verify: pip install 'cuvee[math]'"
        raise UserError(msg) from None
    # Its time limit is an alarm, which only the main thread may set.
    limit = 5 if threading.current_thread() is threading.main_thread() else None
    parsed: dict[str, list[object]] = {}

    def read(answer: str) -> list[object]:
        if answer not in parsed:
            parsed[answer] = parse(f"${answer}$", parsing_timeout=limit) if len(answer) <= 200 else []
        return parsed[answer]

    def equal(a: str, b: str) -> bool:
        one, other = read(a), read(b)
        return bool(one and other and verify(one, other, timeout_seconds=limit))

    return equal

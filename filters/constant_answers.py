"""One answer to many questions: a constant text that games a judge, a template, a refusal learnt by heart.

Of one sample is known what it answers and what it was asked; how many different questions got the answer is known of all
samples.

- `answer` (8 bytes): hash of the words of the assistant's messages, after NFKC and lower-casing.
- `prompt` (8 bytes): hash of the words of the user's messages and of the media.
- `sketch` (bytes): `bands` hashes of four min-hashes each over runs of three words: near-constant answers share one of them
  with a probability of 1 - (1 - s^4)^bands where s is their similarity (share of common runs): 0.99 at 0.9, 0.88 at 0.8,
  0.23 at 0.5.
- `same_answer` (count): different prompts among the samples with this very answer. 1 where nobody else has it. Bound: at
  most 10.
- `near_answer` (count): the same for the most frequent of the sample's sketch hashes; never less than `same_answer`. Bound:
  at most 30.

Applies where a user says something in words and the answer has `min_words` words or more (default 10): "Yes", "A", "3" and
"The capital of France is Paris." are right answers to many questions. Null for tasks `caption`, `ocr`, `document`, `chart`
and `vqa`, whose questions repeat by nature.

Source of the idea: the null model of Zheng et al. 2024 (arXiv 2410.07137), one constant answer to AlpacaEval's 805
questions that wins 76.9 % of them against GPT-4's; ALIGN drops an alt text that more than 10 images share (arXiv
2102.05918, section 3), which is the bound on `same_answer`. The bound on `near_answer` is ours: templates repeat
legitimately ("The query for X is ..."): nine real models on those 805 questions reach 1, GPTeacher's tool calls 26
(docs/results/instructions.md). Both are counts, not shares: raise them with the size of the data. The global half is a
group-by; nothing is chained, so a sample is judged by its own answer only. Left out: paraphrase.
"""

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from filters.base import scorer
from filters.shared.dialogue import instructed, prompts
from filters.shared.signatures import fold, of_media, pack, pack_one, unpack
from filters.shared.text import Array, assistant_tokens, cached, extend, is_task, kernel, mix, tokenise

ROWS = 4
SHINGLE = 3


@kernel
def _sketch(hashes: Array, first: Array, wanted: Array, bands: int, rows: int, shingle: int) -> Array:
    out = np.zeros((len(first) - 1, bands), np.uint64)
    least = np.empty(bands * rows, np.uint64)
    golden = np.uint64(0x9E3779B97F4A7C15)
    for t in range(len(first) - 1):
        if not wanted[t]:
            continue
        least[:] = np.uint64(0xFFFFFFFFFFFFFFFF)
        for w in range(first[t], max(first[t + 1] - shingle + 1, first[t] + 1)):
            h = np.uint64(0)
            for k in range(w, min(w + shingle, first[t + 1])):
                h = extend(h, hashes[k])
            for k in range(len(least)):
                v = mix(h + golden * np.uint64(k + 1))
                if v < least[k]:
                    least[k] = v
        for b in range(bands):
            h = np.uint64(b + 1)
            for k in range(rows):
                h = extend(h, least[b * rows + k])
            out[t, b] = h
    return out


@scorer(
    version=1,
    scores={"answer": pa.binary(), "prompt": pa.binary(), "sketch": pa.binary()},
    pooled={"same_answer": pa.int64(), "near_answer": pa.int64()},
    bounds={"same_answer": (None, 10), "near_answer": (None, 30)},
)
def constant_answers(batch: pa.RecordBatch, *, min_words: int = 10, bands: int = 4) -> pa.RecordBatch:
    """Return what the samples of `batch` answer, and what they were asked."""
    answers = assistant_tokens(batch)
    asked = cached(batch, "prompt_tokens", lambda: tokenise(prompts(batch)))
    applies = (
        instructed(batch)
        & (np.diff(answers.first) >= max(min_words, 1))
        & ~is_task(batch, "caption", "ocr", "document", "chart", "vqa")
    )
    question = fold(asked.hashes, asked.first) ^ of_media(batch)
    sketch = _sketch(answers.hashes, answers.first, applies, max(bands, 1), ROWS, SHINGLE)
    return pa.record_batch(
        [
            pack_one(fold(answers.hashes, answers.first), applies),
            pack_one(question, applies),
            pack(sketch.ravel(), np.full(len(sketch), sketch.shape[1]), applies),
        ],
        names=["answer", "prompt", "sketch"],
    )


def pool(signatures: pa.Table, *, bands: int = 4) -> pa.Table:
    """Return how many different prompts each answer, and each near answer, stands under."""
    known = signatures.filter(pc.is_valid(signatures["answer"]))
    answer, prompt, sketch = (unpack(known[c])[0] for c in ("answer", "prompt", "sketch"))
    same = _prompts_of(answer, prompt)
    near = same
    for band in sketch.reshape(known.num_rows, max(bands, 1)).T:
        near = np.maximum(near, _prompts_of(band, prompt))
    ids = known["id"].combine_chunks().cast(pa.string())
    return pa.table({"id": ids, "same_answer": pa.array(same, pa.int64()), "near_answer": pa.array(near, pa.int64())})


def _prompts_of(keys: Array, prompts: Array) -> Array:
    """Return per row how many different prompts its key has."""
    frame = pl.DataFrame({"key": keys, "prompt": prompts})
    return frame.select(pl.col("prompt").n_unique().over("key").cast(pl.Int64))["prompt"].to_numpy()

r"""How long an answer is, whether there is one, and whether it stops in the middle.

Looks at samples in which a user says something in words and an assistant answers. In a dialogue of several turns the
shortest answer counts. A word is what white space separates; an ideograph, kana or Thai letter is one by itself, because no
space separates these.

- `words` (count): words of the shortest answer. Bound: at least 1.
- `characters` (count): its visible characters: no white space, no control and format characters. No bound.
- `empty` (count): answers without a visible character. Bound: at most 0.
- `abrupt` (count): answers that end in the middle, of `min_words` words or more (default 20): after a comma, colon, opening
  bracket or a word that no sentence ends with ("the", "and", "of"), or inside a code fence. Bound: at most 0.

Source: AlpacaDataCleaned, https://github.com/gururise/AlpacaDataCleaned, lists empty outputs among the defects of Alpaca; the
bounds on `words` and `empty` say the same, so that one can ask for three words and not lose the other. `abrupt` has no
published rule; ours is meant to be right, not to find all: of the answers of nine models to AlpacaEval's 805 questions it
marks 12, all but one of which a token limit cut (docs/results/instructions.md). A short answer is right where a short one was
asked for ("3", "Yes"): hence no published bound of three words or more, and that longer answers are better is measured there.
Left out: a line of prose that just lacks its full stop: lists, verse, titles and people's own answers lack it too.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.base import scorer
from filters.shared.dialogue import ASSISTANT, instructed, roles, rows, total, visible
from filters.shared.text import Array, buffers, cached, class_of, classes, column, decode, kernel, messages, table

_CUT = (
    r"(?:[^\s]+[ \t]+){3}[^\s]+,\s*$|[:(\[{]\s*$"  # not the comma of "Yours sincerely,", which stands alone on its line
    r"|(?i:\s(?:the|an|and|or|of|because|which|whose|their|its|your|our|my|into|than|if|when|while|although|we|has|was|"
    r"were)\s*$)"
    r"|\sa\s*$"
)

_FENCE = r"(?:^|\n)[ \t]*```"


@kernel
def _words(data: Array, offsets: Array, classes: Array) -> Array:
    n = len(offsets) - 1
    out = np.zeros(n, np.int64)
    for t in range(n):
        i = offsets[t]
        inside = False
        while i < offsets[t + 1]:
            cp, step = decode(data, i, offsets[t + 1])
            kind = class_of(classes, cp)
            if kind & 8:
                out[t] += 1
                inside = False
            elif kind & 4:
                inside = False
            elif kind & 32 == 0 and cp >= 32 and not inside:
                out[t] += 1
                inside = True
            i += step
    return out


def words_per_message(batch: pa.RecordBatch) -> Array:
    """Return the words of every message, once per batch."""

    def make() -> Array:
        raw = buffers(messages(batch)[0])
        return _words(raw.data, raw.offsets, classes())

    return cached(batch, "words_per_message", make)  # type: ignore[no-any-return]


@scorer(
    version=1,
    scores={"words": pa.int64(), "characters": pa.int64(), "empty": pa.int64(), "abrupt": pa.int64()},
    bounds={"words": (1, None), "empty": (None, 0), "abrupt": (None, 0)},
)
def response(batch: pa.RecordBatch, *, min_words: int = 20) -> pa.RecordBatch:
    """Score the answers of `batch`."""
    mine = roles(batch) == ASSISTANT
    row, count, size = rows(batch), words_per_message(batch), visible(batch)
    texts = messages(batch)[0]
    fences = np.asarray(pc.count_substring_regex(texts, _FENCE))
    closed = np.asarray(pc.match_substring_regex(texts, r"[.!?`]\s*$"))
    cut = np.asarray(pc.match_substring_regex(texts, _CUT)) | ((fences % 2 == 1) & ~closed)

    applies = instructed(batch)
    huge = np.iinfo(np.int64).max
    shortest, smallest = np.full(batch.num_rows, huge), np.full(batch.num_rows, huge)
    np.minimum.at(shortest, row[mine], count[mine])
    np.minimum.at(smallest, row[mine], size[mine])
    empty = total(batch, (mine & (size == 0)).astype(np.int64))
    abrupt = total(batch, (mine & cut & (count >= min_words)).astype(np.int64))
    return table(
        words=column(shortest, applies, pa.int64()),
        characters=column(smallest, applies, pa.int64()),
        empty=column(empty, applies, pa.int64()),
        abrupt=column(abrupt, applies, pa.int64()),
    )

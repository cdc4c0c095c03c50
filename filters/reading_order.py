"""Whether boxes, and the text made of them, follow the order in which a page is read.

Looks at the boxes of every sample that has some with a whole quad and a text. Two boxes of one picture have an order only
where it is beyond doubt:

- one above the other: they share more than half of the narrower one's width, and the lower begins below the upper one's middle
  and ends below its end;
- side by side: they share more than half of the lower one's height and do not overlap across. The left one is first; the right
  one where both are written from right to left.

So a page in columns may go column by column and a table row by row or column by column: boxes that share neither line nor
column are in no order. Boxes whose pictures differ follow the order of the pictures.

- `box_inversions` (0..1): share of the pairs with an order that the list of boxes has the wrong way round: 0 in reading order,
  about 0.5 shuffled, 1 backwards. Null with fewer than `pairs` (4) such pairs.
- `text_inversions` (0..1): the same for the order in which the assistant text says them; null also where it says too few. A
  box stands where its first word stands that is once in the boxes and once in the text. Bound: at most 0.20.

Source of the bound: there is no published one. Measured on 79 SROIE receipts (ICDAR 2019, arXiv 2103.10213): their transcripts
have at most 0.135, shuffled ones at least 0.328 (docs/results/ocr_math.md). ReadingBank (arXiv 2108.11591) measures order
against a known one, which a filter has not. Left out: vertical writing in columns from the right; text that flows around a
picture.
"""

import numpy as np
import pyarrow as pa

from filters.base import scorer
from filters.shared.boxes import boxes
from filters.shared.text import Array, assistant_tokens, column, kernel, ratio, table, tokenise


@kernel
def _once(words: Array) -> Array:
    """Return, for every word of a run, whether no other is the same."""
    order = np.argsort(words)
    out = np.ones(len(words), np.bool_)
    for k in range(1, len(order)):
        if words[order[k]] == words[order[k - 1]]:
            out[order[k]] = False
            out[order[k - 1]] = False
    return out


@kernel
def _places(said: Array, said_first: Array, words: Array, word_first: Array, first: Array) -> Array:
    """Return at which word of the sample's text each box stands; -1 where it cannot be told."""
    out = np.full(len(word_first) - 1, -1, np.int64)
    for t in range(len(first) - 1):
        low = word_first[first[t]]
        mine = words[low : word_first[first[t + 1]]]
        text = said[said_first[t] : said_first[t + 1]]
        if len(mine) == 0 or len(text) == 0:
            continue
        single = _once(mine)
        unique = _once(text)
        order = np.argsort(text)
        ordered = text[order]
        for b in range(first[t], first[t + 1]):
            for k in range(word_first[b], word_first[b + 1]):
                if single[k - low]:
                    at = np.searchsorted(ordered, words[k])
                    if at < len(ordered) and ordered[at] == words[k] and unique[order[at]]:
                        out[b] = order[at]
                        break
    return out


@kernel
def _inversions(
    x0: Array, y0: Array, x1: Array, y1: Array, medium: Array, leftward: Array, place: Array, first: Array
) -> tuple[Array, Array]:
    """Return per sample the pairs of boxes that have an order, and those whose places contradict it; -1 is no place."""
    n = len(first) - 1
    pairs = np.zeros(n, np.int64)
    wrong = np.zeros(n, np.int64)
    for t in range(n):
        for a in range(first[t], first[t + 1]):
            if place[a] < 0:
                continue
            for b in range(a + 1, first[t + 1]):
                if place[b] < 0 or place[a] == place[b]:
                    continue
                ahead = 0  # 1: a comes first, -1: b does
                if medium[a] != medium[b]:
                    ahead = 1 if medium[a] < medium[b] else -1
                else:
                    across = min(x1[a], x1[b]) - max(x0[a], x0[b])
                    down = min(y1[a], y1[b]) - max(y0[a], y0[b])
                    if across > 0.5 * min(x1[a] - x0[a], x1[b] - x0[b]):
                        if y0[b] > (y0[a] + y1[a]) / 2 and y1[b] > y1[a]:
                            ahead = 1
                        elif y0[a] > (y0[b] + y1[b]) / 2 and y1[a] > y1[b]:
                            ahead = -1
                    elif across <= 0 and down > 0.5 * min(y1[a] - y0[a], y1[b] - y0[b]):
                        ahead = 1 if x0[a] < x0[b] else -1
                        if leftward[a] and leftward[b]:
                            ahead = -ahead
                if ahead != 0:
                    pairs[t] += 1
                    if (place[a] < place[b]) != (ahead == 1):
                        wrong[t] += 1
    return pairs, wrong


@scorer(
    version=1,
    scores={"box_inversions": pa.float64(), "text_inversions": pa.float64()},
    bounds={"text_inversions": (None, 0.20)},
)
def reading_order(batch: pa.RecordBatch, *, pairs: int = 4) -> pa.RecordBatch:
    """Score the order of the boxes of `batch` and of its assistant texts."""
    found = boxes(batch)
    usable = found.whole & (found.characters > 0) & (found.medium >= 0)
    shape = (*found.bounds, found.medium, found.leftward)
    listed = np.where(usable, np.arange(len(found)), -1)
    said, words = assistant_tokens(batch), tokenise(found.texts)
    told = np.where(usable, _places(said.hashes, said.first, words.hashes, words.first, found.first), -1)

    def score(place: Array) -> pa.Array:
        ordered, wrong = _inversions(*shape, place, found.first)
        return column(ratio(wrong, ordered), ordered >= max(pairs, 1), pa.float64())

    return table(box_inversions=score(listed), text_inversions=score(told))

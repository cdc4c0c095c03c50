"""Whether what the OCR boxes say and what the target says is the same.

Looks at the boxes' texts and the assistant text, in words as in `filters/shared/text.py`, counted with their multiplicity.
Applies to tasks `ocr` and `document`; the first two scores need a box with a word and a target with a word.

- `target_found` (0..1): share of the target's words that the boxes hold. Bound: at least 0.5.
- `boxes_found` (0..1): share of the boxes' words that the target holds. No bound: a target may ask for one field only.
- `duplicate_boxes` (0..1): share of boxes with words whose text an earlier box of the sample had. Bound: at most 0.60.

Source of the bounds: there are no published numbers; both are ours. 0.5 is low enough for targets in another layout and for
OCR that misses letters. Receipts repeat prices: of 79 of SROIE's (ICDAR 2019, arXiv 2103.10213) two have more than 0.30, the
share of duplicate lines of Rae et al. 2021 (arXiv 2112.11446, table A1), and none more than 0.514 (docs/results/ocr_math.md).
Left out: positions (`line_noise` finds boxes detected twice) and reading order (`reading_order`).
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.base import scorer
from filters.shared.overlap import common
from filters.shared.text import (
    Array,
    assistant_tokens,
    column,
    extend,
    is_task,
    kernel,
    lengths,
    ratio,
    starts,
    table,
    tokenise,
)


@kernel
def _repeated(words: Array, word_first: Array, box_first: Array) -> tuple[Array, Array]:
    """Return per sample the boxes that have words, and those whose words an earlier one had."""
    n = len(box_first) - 1
    filled = np.zeros(n, np.int64)
    repeated = np.zeros(n, np.int64)
    for t in range(n):
        keys = np.empty(box_first[t + 1] - box_first[t], np.uint64)
        for b in range(box_first[t], box_first[t + 1]):
            if word_first[b + 1] > word_first[b]:
                h = np.uint64(0)
                for k in range(word_first[b], word_first[b + 1]):
                    h = extend(h, words[k])
                keys[filled[t]] = h
                filled[t] += 1
        some = np.sort(keys[: filled[t]])
        for k in range(1, len(some)):
            if some[k] == some[k - 1]:
                repeated[t] += 1
    return filled, repeated


@scorer(
    version=1,
    scores={"target_found": pa.float64(), "boxes_found": pa.float64(), "duplicate_boxes": pa.float64()},
    bounds={"target_found": (0.5, None), "duplicate_boxes": (None, 0.60)},
)
def ocr_coverage(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Score the boxes of `batch` against its assistant texts."""
    target = assistant_tokens(batch)
    boxes = batch.column("boxes")
    found = tokenise(pc.fill_null(boxes.flatten().field("text"), ""))
    at = starts(lengths(boxes))
    first = found.first[at]
    shared = common(target.hashes, target.first, found.hashes, first)
    wanted, seen = np.diff(target.first), np.diff(first)
    filled, repeated = _repeated(found.hashes, found.first, at)
    task = is_task(batch, "ocr", "document")
    both = task & (wanted > 0) & (seen > 0)
    return table(
        target_found=column(ratio(shared, wanted), both, pa.float64()),
        boxes_found=column(ratio(shared, seen), both, pa.float64()),
        duplicate_boxes=column(ratio(repeated, filled), task & (filled > 0), pa.float64()),
    )

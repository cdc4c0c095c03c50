"""Whether a text reads like the good side of a fitted quality model, or like the raw side.

quality   probability, 0..1, that the text is of the good side, both sides being equally frequent; null without a word

In the style of DCLM's fastText filter (Li et al. 2024, arXiv 2406.11794, section 4.4): a linear model over hashed words and
word pairs. `model` is a folder that `cuvee fit-quality`, or a recipe's `models: {good: {fit: quality, ...}}`, has made.

No default bound: a probability means something only beside the sides that the model was fitted on. DCLM keep the best tenth
(their threshold of 0.018112 is that share in their crawl with their model, and no number for another): say
`bounds: {quality: {top: 0.1}}`. For data that is curated already a tenth is harsh; look at the histogram first.

Left out: fastText's hidden layer and its subwords, and pretrained weights (DCLM's model is one of fastText's own files; the
score that it would give cannot be had without its library).
"""

import numpy as np
import pyarrow as pa

from filters.base import scorer
from filters.shared import ngrams
from filters.shared.text import assistant_tokens, cached, column, everything, table, tokenise


@scorer(version=1, scores={"quality": pa.float64()}, bounds={})
def quality(batch: pa.RecordBatch, *, model: str | None) -> pa.RecordBatch:
    """Score the texts of `batch` with the model in the folder `model`."""
    if model is None:
        return table(quality=pa.nulls(batch.num_rows, pa.float64()))
    fitted = ngrams.load(model)
    if fitted.reads == "answer":
        words = assistant_tokens(batch)
    else:
        words = cached(batch, "everything_tokens", lambda: tokenise(everything(batch)))
    score = fitted.probabilities(words.hashes, words.first)
    return table(quality=column(score, np.diff(words.first) > 0, pa.float64()))

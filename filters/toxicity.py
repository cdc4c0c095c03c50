"""Slurs, abuse and threats against people, by a list per language.

Looks at the assistant text; null where there is none or it has no word. Words are those of `filters/shared/text.py`.

- `toxic` (0..1): share of words that are, or are part of, a term of the list.
- `count` (count): terms that occur.

No default bound for either: a list finds words, not what is done with them. Of 29,065 alt texts and answers two have a term, the
title of a record and an account of the Enigma's messages. Dodge et al. 2021 (arXiv 2104.08758) show whose texts C4's list
removes. `count: {max: 0}` keeps only texts without any of the terms, as C4 does (Raffel et al. 2020, arXiv 1910.10683,
section 2.2).

`languages` (default `[en]`; bundled: de, en, es, fr, it, ja, pt, ru, zh) and `lists_path` as in `flagged_words`, which has the
obscene words that are aimed at nobody. The lists are ours. Left out: everything that needs to understand the sentence.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from filters.base import scorer
from filters.shared import terms
from filters.shared.text import assistant_tokens, column, ratio, table


@scorer(version=1, scores={"toxic": pa.float64(), "count": pa.int64()}, bounds={})
def toxicity(
    batch: pa.RecordBatch, *, languages: Sequence[str] = ("en",), lists_path: str | None = None
) -> pa.RecordBatch:
    """Score the assistant texts of `batch`."""
    tokens = assistant_tokens(batch)
    found = terms.count(tokens, terms.load("toxic", languages, lists_path))
    words = np.diff(tokens.first)
    return table(
        toxic=column(ratio(found[:, 1], words), words > 0, pa.float64()),
        count=column(found[:, 0], words > 0, pa.int64()),
    )

"""Obscenities and sexual terms, by a list per language.

Looks at the assistant text; null where there is none or it has no word. Words are those of `filters/shared/text.py`.

- `flagged` (0..1): share of words that are, or are part of, a term of the list. Bound: at most 0.045, the default of
  Data-Juicer's `flagged_words_filter`; its recipe for LLaVA's captions has 0, for Common Crawl 0.0015.
- `count` (count): terms that occur. No default bound. C4 drops a page with one or more of the terms of its list (Raffel et al.
  2020, arXiv 1910.10683, section 2.2); Dodge et al. 2021 (arXiv 2104.08758) show whose texts that removes.

`languages` (default `[en]`; bundled: de, en, es, fr, it, ja, nl, pl, pt, ru, zh) says whose lists are held against every text,
whatever its language: `bite` is obscene in French, `dick` a plain word in German. `lists_path` takes others: a file with one term
a line, or a folder of `<language>.txt`. The bundled lists are ours, 40 to 150 terms each; published ones are several times longer
(LDNOOBW has about 400 for English), and a bound of 0 means as much as the list does.

Source of the measure and bounds: Data-Juicer 1.6.1, https://github.com/datajuicer/data-juicer,
data_juicer/ops/filter/flagged_words_filter.py and configs/data_juicer_recipes. Different there: a term is one word between white
space, without the signs around it. Left out: its groups of words (`use_words_aug`; terms may have several words here).
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from filters.base import scorer
from filters.shared import terms
from filters.shared.text import assistant_tokens, column, ratio, table


@scorer(version=1, scores={"flagged": pa.float64(), "count": pa.int64()}, bounds={"flagged": (None, 0.045)})
def flagged_words(
    batch: pa.RecordBatch, *, languages: Sequence[str] = ("en",), lists_path: str | None = None
) -> pa.RecordBatch:
    """Score the assistant texts of `batch`."""
    tokens = assistant_tokens(batch)
    found = terms.count(tokens, terms.load("flagged", languages, lists_path))
    words = np.diff(tokens.first)
    return table(
        flagged=column(ratio(found[:, 1], words), words > 0, pa.float64()),
        count=column(found[:, 0], words > 0, pa.int64()),
    )

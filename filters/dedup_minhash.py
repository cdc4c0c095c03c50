"""Near duplicates by MinHash and banded LSH (Broder 1997; Lee et al. 2021, arXiv 2107.06499).

Looks at the text of all messages. Applies to samples without media, of at least `min_words` words: where there are images, the
same words under another picture are another sample (81 product texts describe 5,421 photos of grocery_store), and that is the
image filters' work. `media: true` lifts this.

A text is the set of its shingles: runs of `shingle` units. With `unit: words` these are the words of `filters/shared/text.py`
(NFKC, lower case, no punctuation); with `unit: characters` the characters of those words, with one space between two words.

`signature` (binary, 4 * bands * rows bytes): the minima of `bands * rows` hash functions over all shingles, 32 bits each.
`shingles` (binary, 4 bytes per shingle): the shingles themselves, for `verify: jaccard`; null with any other `verify`.
No bounds: who survives is decided by the judge's policy.

Two samples are candidates when all `rows` of any of the `bands` agree: a pair of Jaccard similarity j is one with probability
1 - (1 - j^rows)^bands (`curve`). What a candidate must pass (`verify`):
  estimate   the share of equal minima, which estimates j (0..1, standard error 0.04 at 112 minima), reaches `similarity`
  jaccard    j itself, of the two sets of shingles, reaches `similarity`: exact, and 4 bytes of disk per shingle dearer
  none       nothing; the share of equal minima is reported. Chains of candidates are not cut then, as at all three peers below

What this promises with `estimate` and `jaccard`: every member's similarity to the keeper of its cluster reaches `similarity`; two
other members may be less alike. A sample may stay although a neighbour of it is dropped, where that one went for a keeper to
which it is not similar itself. The result depends neither on the order of rows nor on the number of workers.

Sources. `PRESETS` holds what three peers do, by their published defaults; recipes copy from there:
  datatrove      14 bands of 8, 5 words: https://github.com/huggingface/datatrove, `MinhashConfig`; FineWeb (arXiv 2406.17557,
                 section 3.4). Left out: numbers count there as one and the same word
  nemo_curator   20 bands of 13, 24 characters: https://github.com/NVIDIA-NeMo/Curator, `FuzzyDeduplicationWorkflow`. Left out:
                 case and punctuation count there
  data_juicer    25 bands of 10, 5 words: https://github.com/datajuicer/data-juicer, `document_minhash_deduplicator`, which
                 finds them as the best for 256 functions and jaccard_threshold 0.7. Left out: punctuation counts there
Our defaults are datatrove's bands and words, and Data-Juicer's 0.7, held against the estimate. Measured on planted copies
(`docs/results/minhash.md`) they find 0.985 to 0.994 of the pairs that are 0.8 alike or more, and 0.83 of those from 0.75 to 0.8;
0.04 of what they remove is below 0.7, hardly any below 0.6. `{bands: 16, rows: 7, verify: jaccard}` finds 0.998 and 0.93, and
removes nothing below. For lines of a dozen words take `{min_words: 1, shingle: 2, bands: 50, rows: 2, verify: jaccard}`.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa

from catalog.errors import UserError, nearest
from filters.base import scorer
from filters.shared.kinds import within
from filters.shared.minhash import band_keys, characters, equal_share, jaccard, minima, packed, shingle_sets, unpacked
from filters.shared.text import (
    Array,
    buffers,
    cached,
    classes,
    has_media,
    message_tokens,
    messages,
    normalised,
    table,
)

UNITS = ("words", "characters")
VERIFY = ("estimate", "jaccard", "none")
MOST_FUNCTIONS = 4096  # 16 KiB of signature per sample
MOST_SHINGLE = 1000

PRESETS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "datatrove": {"bands": 14, "rows": 8, "unit": "words", "shingle": 5, "min_words": 5, "verify": "none"},
        "nemo_curator": {
            "bands": 20,
            "rows": 13,
            "unit": "characters",
            "shingle": 24,
            "min_words": 1,
            "verify": "none",
        },
        "data_juicer": {"bands": 25, "rows": 10, "unit": "words", "shingle": 5, "min_words": 5, "verify": "none"},
    }
)


def _one_of(key: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        msg = f"`{key}` must be one of {', '.join(f'`{c}`' for c in choices)}, got `{value}`{nearest(value, choices)}"
        raise UserError(msg, usage=True)


def _units(batch: pa.RecordBatch, unit: str) -> tuple[Array, Array]:
    """Return the hashes of the units of all messages, and where each sample's begin, whichever message they stand in."""
    texts, _, at = messages(batch)
    if unit == "words":
        tokens = message_tokens(batch)
        return tokens.hashes, tokens.first[at]

    def make() -> tuple[Array, Array]:
        raw = buffers(normalised(texts))
        hashes, first = characters(raw.data, raw.offsets, classes())
        return hashes, first[at]

    return cached(batch, "message_characters", make)  # type: ignore[no-any-return]


@scorer(version=3, scores={"signature": pa.binary(), "shingles": pa.binary()}, bounds={})
def dedup_minhash(
    batch: pa.RecordBatch,
    *,
    bands: int = 14,
    rows: int = 8,
    unit: str = "words",
    shingle: int = 5,
    min_words: int = 15,
    similarity: float = 0.7,
    verify: str = "estimate",
    media: bool = False,
) -> pa.RecordBatch:
    """Return the MinHash signatures of `batch`, and its sets of shingles where they are asked for."""
    _one_of("unit", unit, UNITS)
    _one_of("verify", verify, VERIFY)
    within("bands", bands, 1)
    within("rows", rows, 1)
    within("bands * rows", bands * rows, 1, MOST_FUNCTIONS)
    within("shingle", shingle, 1, MOST_SHINGLE)
    if not 0 < similarity <= 1:
        msg = f"`similarity` must be above 0 and at most 1, got `{similarity}`"
        raise UserError(msg, usage=True)
    words = np.diff(message_tokens(batch).first[messages(batch)[2]])
    wanted = words >= max(min_words, 1)
    if not media:
        wanted &= ~has_media(batch)
    units, first = _units(batch, unit)
    width = np.full(batch.num_rows, bands * rows, np.int64)
    signature = packed(minima(units, first, wanted, shingle, bands * rows).ravel(), width, wanted)
    exact = wanted & (verify == "jaccard")
    return table(signature=signature, shingles=packed(*shingle_sets(units, first, exact, shingle), exact))


def _minima(signatures: pa.Table, width: int) -> Array:
    return unpacked(signatures["signature"])[0].reshape(-1, width)


def keys(signatures: pa.Table, *, bands: int = 14, rows: int = 8) -> pa.Table:
    """Return (row, key): one key per band of every signature; rows that share one are candidates."""
    found = band_keys(_minima(signatures, bands * rows), bands, rows)
    return pa.table({"row": np.repeat(np.arange(len(found), dtype=np.int64), bands), "key": found.ravel()})


def alike(
    signatures: pa.Table,
    a: Array,
    b: Array,
    *,
    bands: int = 14,
    rows: int = 8,
    similarity: float = 0.7,
    verify: str = "estimate",
) -> Array:
    """Return the Jaccard similarity of pairs of rows, estimated or true, 0 where it is below `similarity`."""
    found: Array
    if verify == "jaccard":
        values, first = unpacked(signatures["shingles"])
        found = jaccard(values, first, a, b, similarity)
        return found
    width = bands * rows
    needed = 0.0 if verify == "none" else similarity * width - 1e-9
    found = equal_share(_minima(signatures, width), a, b, needed)
    return np.maximum(found, 0.5 / width) if verify == "none" else found

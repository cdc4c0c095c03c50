"""Whether the text that goes with a picture is the text that stands in it, by an OCR engine's reading.

Runs RapidOCR (the extra `ocr`) on the pictures of tasks `ocr` and `document`; takes seconds per page on a CPU. Null without a
picture or without a text to compare; NaN where a picture cannot be decoded. The text is the assistant's, or with `layer:
boxes` what the boxes say.

- `character_error_rate` (ratio, 0 or more): edits that turn the text into the engine's, over the text's characters; both after
  NFKC and in lower case, white space left out. Another order of the lines counts as error. No bound: use `word_recall`, which
  does not mind.
- `word_recall` (0..1): share of the text's words that the engine read, with their multiplicity. Bound: at least 0.6.
- `word_precision` (0..1): share of the words which the engine read that are in the text; low where the text leaves much out.
  Null where it read none. No bound: a text may be of one part of the page.
- `box_recall` (0..1): share of the boxes with a text of which the engine's boxes cover at least half. Null without such boxes.
  Bound: at least 0.75.

Source of the bounds: SROIE ranks text recognition by recall and precision of words (ICDAR 2019, arXiv 2103.10213, task 2) but
no paper says from where on a transcript is wrong; the bounds are ours, measured on its receipts: true transcripts have a
`word_recall` of 0.664 and a `box_recall` of 0.871 or more, those with a fifth of their characters replaced at most 0.55
(docs/results/ocr_math.md). The models are named by the parameter `models` and come with the package; another one of them is
another fingerprint. Left out: handwriting, formulas and scripts that the models do not know (they read Chinese, Japanese and
languages in Latin letters), where all scores are low.
"""

import os

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog.errors import UserError, nearest
from filters.base import scorer
from filters.shared import ocr
from filters.shared.boxes import boxes, visible
from filters.shared.edit_distance import code_points, edit_distance
from filters.shared.images import Images
from filters.shared.overlap import common
from filters.shared.text import (
    IGNORED,
    SPACE,
    Array,
    assistant,
    buffers,
    class_of,
    classes,
    column,
    has_image,
    is_task,
    kernel,
    lengths,
    normalised,
    ratio,
    starts,
    table,
    tokenise,
)

LAYERS = ("target", "boxes")


@kernel
def _seen(text: Array, kinds: Array) -> Array:
    """Return the visible characters."""
    out = np.empty(len(text), np.int32)
    n = 0
    for cp in text:
        if class_of(kinds, cp) & (SPACE | IGNORED) == 0 and cp >= 32:
            out[n] = cp
            n += 1
    return out[:n]


@kernel
def _edits(a: Array, a_offsets: Array, b: Array, b_offsets: Array, wanted: Array, kinds: Array) -> Array:
    """Return per text the visible characters of `a` and the edits between them and those of `b`."""
    out = np.zeros((len(wanted), 2), np.int64)
    for t in range(len(wanted)):
        if wanted[t]:
            one = _seen(code_points(a, a_offsets[t], a_offsets[t + 1]), kinds)
            other = _seen(code_points(b, b_offsets[t], b_offsets[t + 1]), kinds)
            out[t, 0] = len(one)
            out[t, 1] = edit_distance(one, other)
    return out


@kernel
def _covered(rectangles: Array, read: Array) -> int:
    """Return how many of the upright rectangles are covered at least by half; what overlaps counts as often as it does."""
    found = 0
    for i in range(len(rectangles)):
        r = rectangles[i]
        area = 0.0
        for k in range(len(read)):
            w = min(r[2], read[k, 2]) - max(r[0], read[k, 0])
            h = min(r[3], read[k, 3]) - max(r[1], read[k, 1])
            if w > 0 and h > 0:
                area += w * h
        if 2 * area >= (r[2] - r[0]) * (r[3] - r[1]):
            found += 1
    return found


def _joined(batch: pa.RecordBatch) -> pa.Array:
    """Return what the boxes of each sample say, a line per box."""
    found = boxes(batch)
    lists = pa.LargeListArray.from_arrays(pa.array(found.first), found.texts)
    return pc.binary_join(lists, pa.scalar("\n", pa.large_string()))


@scorer(
    version=1,
    scores={
        "character_error_rate": pa.float64(),
        "word_recall": pa.float64(),
        "word_precision": pa.float64(),
        "box_recall": pa.float64(),
    },
    bounds={"word_recall": (0.6, None), "box_recall": (0.75, None)},
    needs_model=True,
)
def ocr_agreement(
    batch: pa.RecordBatch, images: Images, *, layer: str = "target", models: str = ocr.MODELS
) -> pa.RecordBatch:
    """Score the texts and boxes of `batch` against what is read in its pictures."""
    if layer not in LAYERS:
        msg = f"`layer` of ocr_agreement must be one of {', '.join(LAYERS)}, not `{layer}`{nearest(layer, LAYERS)}"
        raise UserError(msg, usage=True)
    text = assistant(batch) if layer == "target" else _joined(batch)
    found = boxes(batch)
    usable = found.whole & (found.characters > 0) & (found.medium >= 0)
    counted, written = found.count(usable), visible(text)
    wanted = is_task(batch, "ocr", "document") & has_image(batch) & ((written > 0) | (counted > 0))
    said, covered, whole = _read(batch, images, wanted, usable, models)

    raw, other = buffers(normalised(text)), buffers(normalised(said))
    size, edits = _edits(raw.data, raw.offsets, other.data, other.offsets, wanted & whole, classes()).T
    words, read = tokenise(text), tokenise(said)
    shared = common(words.hashes, words.first, read.hashes, read.first)
    count, total = np.diff(words.first), np.diff(read.first)

    def score(value: Array, applies: Array) -> pa.Array:
        return column(np.where(whole, value, np.nan), wanted & applies, pa.float64())

    return table(
        character_error_rate=score(ratio(edits, size), written > 0),
        word_recall=score(ratio(shared, count), count > 0),
        word_precision=score(ratio(shared, total), (count > 0) & ((total > 0) | ~whole)),
        box_recall=score(ratio(covered, counted), counted > 0),
    )


def _read(
    batch: pa.RecordBatch, images: Images, wanted: Array, usable: Array, models: str
) -> tuple[pa.Array, Array, Array]:
    """Return what the engine read in the pictures of each sample that is `wanted`, how many of its `usable` boxes lie on
    text, and whether all its pictures could be decoded."""
    found = boxes(batch)
    rectangles = np.stack(found.bounds, axis=1)
    media = batch.column("media")
    kinds = np.asarray(pc.fill_null(pc.equal(media.flatten().field("kind"), "image"), False))
    first = starts(lengths(media))
    texts = [""] * batch.num_rows
    covered = np.zeros(batch.num_rows, np.int64)
    whole = np.ones(batch.num_rows, np.bool_)
    for row in np.flatnonzero(wanted):
        pictures = images[int(row)]
        if any(p is None for p in pictures):
            whole[row] = False
            continue
        mine = np.arange(found.first[row], found.first[row + 1])
        lines: list[str] = []
        where = first[row] + np.flatnonzero(kinds[first[row] : first[row + 1]])
        for medium, picture in zip(where, pictures, strict=True):
            assert picture is not None
            page = ocr.engine(models, int(os.environ.get("OMP_NUM_THREADS") or 1))(picture)
            lines += page.texts
            here = mine[usable[mine] & (found.medium[mine] == medium)]
            if len(here):
                covered[row] += _covered(rectangles[here], _upright(page.quads, picture.shape, found.width[here[0]]))
        texts[row] = "\n".join(lines)
    return pa.array(texts, pa.large_string()), covered, whole


def _upright(quads: Array, shape: tuple[int, ...], width: float) -> Array:
    """Return the upright rectangles of quads in a picture decoded to `shape`, in pixels of the `width` that the schema has."""
    scale = width / shape[1] if width > 0 else 1.0
    x, y = quads[:, 0::2], quads[:, 1::2]
    out: Array = (
        np.stack((x.min(axis=1), y.min(axis=1), x.max(axis=1), y.max(axis=1)), axis=1).astype(np.float64) * scale
    )
    return out

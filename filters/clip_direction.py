"""Does an edited image change as the captions say? For edit triplets: source image, edited image, captions of both.

`image_similarity`     cosine of the CLIP vectors of the two images. Bound: at least 0.75.
`caption_similarity`   the smaller one of the cosines of each image and its caption. Bound: at least 0.2.
`direction`            cosine between the change from image to image and the change from caption to caption (directional CLIP
                       similarity, Gal et al. 2022, arXiv 2108.00946). Bound: at least 0.2.

All are cosines, -1 to 1, rounded to 5 decimals. Bounds: InstructPix2Pix (Brooks et al. 2023, arXiv 2211.09800, section
3.1.2 and appendix A.2: 0.75, 0.2, 0.2). Its code (https://github.com/timothybrooks/instruct-pix2pix,
`dataset_creation/generate_img_dataset.py`) has 0.7 for the images by default and holds both images to their captions, as we
do. They hold for OpenAI's ViT-L/14 (`model: ViT-L-14-quickgelu/openai`).

Applies to samples of task `edit` with at least two images, the first of them the source and the last the edited one, whose
`meta` has both captions under the keys `before` and `after` (defaults `input_caption`, `output_caption`). Null for all others,
and without a `model`; NaN where one of the two images cannot be decoded. `direction` is 0 where the images or the captions
are the same: nothing changes. Left out: choosing the best of several edits of one source (a cluster rule with `prefer` does it).
"""

import json

import numpy as np
import pyarrow as pa

from filters.base import scorer
from filters.shared import clip
from filters.shared.embed import embed
from filters.shared.images import Images
from filters.shared.text import Array, column, is_task, table

_SAME = 1e-6


@scorer(
    version=1,
    scores={"image_similarity": pa.float64(), "caption_similarity": pa.float64(), "direction": pa.float64()},
    bounds={"image_similarity": (0.75, None), "caption_similarity": (0.2, None), "direction": (0.2, None)},
    needs_model=True,
)
def clip_direction(
    batch: pa.RecordBatch,
    images: Images,
    *,
    model: str | None,
    arch: str | None = None,
    precision: str = "auto",
    before: str = "input_caption",
    after: str = "output_caption",
) -> pa.RecordBatch:
    """Score each edit triplet."""
    n = batch.num_rows
    scores = np.full((3, n), np.nan)
    applies = np.zeros(n, bool)
    if model is not None:
        captions = _captions(batch, before, after)
        media = batch.column("media").to_pylist()
        shown = np.asarray([sum(m["kind"] == "image" for m in of or ()) for of in media], np.int64)
        applies = is_task(batch, "edit") & (shown >= 2) & np.asarray([c is not None for c in captions], bool)
        rows = np.flatnonzero(applies)
        texts = [t for r in rows for t in captions[r] or ()]
        found = embed(batch, images, clip.load(model, arch=arch, precision=precision), applies, texts)
        whole, first, count = np.unique(found.row, return_index=True, return_counts=True)
        if len(whole):
            at = np.searchsorted(rows, whole)
            source, edited = found.images[first], found.images[first + count - 1]
            old, new = found.texts[2 * at], found.texts[2 * at + 1]
            scores[0, whole] = clip.cosines(source, edited)
            scores[1, whole] = np.minimum(clip.cosines(source, old), clip.cosines(edited, new))
            scores[2, whole] = _direction(edited, source, new, old)
    names = ("image_similarity", "caption_similarity", "direction")
    return table(**{k: column(v, applies, pa.float64(), 5) for k, v in zip(names, scores, strict=True)})


def _captions(batch: pa.RecordBatch, before: str, after: str) -> list[tuple[str, str] | None]:
    """Return (caption of the source, caption of the edited image) of every sample whose `meta` has both."""
    out: list[tuple[str, str] | None] = []
    for task, text in zip(batch.column("task").to_pylist(), batch.column("meta").to_pylist(), strict=True):
        found = _read(text) if task == "edit" else {}
        pair = (found.get(before), found.get(after))
        out.append(pair if all(isinstance(c, str) and c.strip() for c in pair) else None)  # type: ignore[arg-type]
    return out


def _read(text: str | None) -> dict[str, object]:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _direction(edited: Array, source: Array, new: Array, old: Array) -> Array:
    seen = edited.astype(np.float64) - source
    said = new.astype(np.float64) - old
    size = np.sqrt((seen * seen).sum(1)) * np.sqrt((said * said).sum(1))
    return np.where(size > _SAME, (seen * said).sum(1) / np.maximum(size, _SAME), 0.0)

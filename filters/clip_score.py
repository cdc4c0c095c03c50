"""How well a sample's text fits its images: cosine of their CLIP embeddings (Hessel et al. 2021, arXiv 2104.08718).

`clip_score`   cosine, -1 to 1, rounded to 5 decimals: the mean over the sample's images (as Data-Juicer's
               `image_text_similarity_filter`, `reduce_mode: avg`), or their largest or smallest (`over: max`, `over: min`).
               The text is what the assistant says, or the user's where the assistant says nothing; media marks are cut out.
`clip_margin`  share of a bank of trusted texts that fit the images worse than the sample's own text, 0 to 1; null for a
               model without a bank. Only models from `curate.fit_clip` have one. Unlike the cosine its scale is the same
               for every model.

Bound `clip_score >= 0.28`: LAION-5B, English part, ViT-B/32 (Schuhmann et al. 2022, arXiv 2210.08402, section 3); LAION-400M
had 0.30 (arXiv 2111.02114). It holds for OpenAI's ViT-B/32 alone. For any other model, and for one trained on your own
data, use a share: DataComp keeps the best 30 % (`top: 0.3`; arXiv 2304.14108, `baselines/apply_filter.py --fraction 0.3`).

Null without an image, without text and without a `model`. Judge captions only (`tasks: [caption]` in a recipe's stage): the
answer "3" to a question does not describe its picture, and would be dropped by any published bound. NaN where an image
cannot be decoded. `model`: see `filters/shared/clip.py`.
"""

from typing import Any

import numpy as np
import pyarrow as pa

from catalog.errors import UserError
from filters.base import scorer
from filters.shared import clip
from filters.shared.captions import turns
from filters.shared.images import Images

OVER: dict[str, Any] = {"mean": np.mean, "max": np.max, "min": np.min}


@scorer(
    version=1,
    scores={"clip_score": pa.float64(), "clip_margin": pa.float64()},
    bounds={"clip_score": (0.28, None)},
    needs_model=True,
)
def clip_score(
    batch: pa.RecordBatch,
    images: Images,
    *,
    model: str | None = None,
    arch: str | None = None,
    over: str = "mean",
) -> pa.RecordBatch:
    """Score each sample by the cosine of the CLIP embeddings of its text and its images."""
    if over not in OVER:
        msg = f"`over` is `{over}`; expected one of {', '.join(OVER)}"
        raise UserError(msg, usage=True)
    score: list[float | None] = [None] * batch.num_rows
    margin: list[float | None] = [None] * batch.num_rows
    if model is not None:
        _score(batch, images, clip.load(model, arch=arch), over, score, margin)
    return pa.RecordBatch.from_pydict(
        {"clip_score": pa.array(score, pa.float64()), "clip_margin": pa.array(margin, pa.float64())}
    )


def _score(
    batch: pa.RecordBatch,
    images: Images,
    network: clip.Clip,
    over: str,
    score: list[float | None],
    margin: list[float | None],
) -> None:
    texts = [said for _, said in turns(batch)]
    rows, pictures = [], []
    for row, text in enumerate(texts):
        if not text:
            continue
        shown = images[row]
        if any(p is None for p in shown):
            score[row] = margin[row] = float("nan")
            continue
        rows += [row] * len(shown)
        pictures += [p for p in shown if p is not None]
    if not rows:
        return
    seen, said = network.encode(pictures, [texts[row] for row in rows])
    at = np.asarray(rows)
    for row in dict.fromkeys(rows):
        mine = np.flatnonzero(at == row)
        # In float64 and row by row: independent of what else is in the batch.
        fit = OVER[over]([float((seen[k].astype(np.float64) * said[k]).sum()) for k in mine])
        score[row] = round(float(fit), 5)
        if network.bank is not None:
            others = [(network.bank.texts.astype(np.float64) * seen[k]).sum(1) for k in mine]
            margin[row] = round(float((OVER[over](others, axis=0) < fit - 1e-6).mean()), 5)

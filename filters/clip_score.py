"""How well a sample's text fits its images: cosine of their CLIP embeddings (Hessel et al. 2021, arXiv 2104.08718).

`clip_score`   cosine, -1 to 1, rounded to 5 decimals: the mean over the sample's images (as Data-Juicer's
               `image_text_similarity_filter`, `reduce_mode: avg`), or their largest or smallest (`over: max`, `over: min`).
               The text is what the assistant says, or the user's where the assistant says nothing; media marks are cut
               out. With `text: all` the user's words stand before the assistant's, so that a question counts with its
               answer, but for those `prompts` that say nothing of the picture ("Describe the image.").
`clip_margin`  how much better they fit than strangers do, in standard deviations: the mean of two standard scores of the
               cosine, one among the cosines of the images with a bank of trusted texts, one among those of the text with
               the bank's pictures. 0: no better than the average text of another picture. Null for a model without a
               bank. Only models from `curate.fit_clip` have one. Unlike the cosine its scale is the same for every model.

Bound `clip_score >= 0.28`: LAION-5B, English part, ViT-B/32 (Schuhmann et al. 2022, arXiv 2210.08402, section 3); LAION-400M
had 0.30 (arXiv 2111.02114). It holds for OpenAI's ViT-B/32 alone. For any other model, and for one trained on your own
data, use a share: DataComp keeps the best 30 % (`top: 0.3`; arXiv 2304.14108, `baselines/apply_filter.py --fraction 0.3`).

Null without an image, without text and without a `model`. The answer "3" to a question does not describe its picture, and
would be dropped by any published bound: judge captions only (`tasks: [caption]` in a recipe's stage), or with `text: all`
by a model that was fitted on questions with answers. NaN where an image cannot be decoded. `model`: see `filters/shared/clip.py`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from catalog.errors import UserError
from filters.base import scorer
from filters.shared import clip
from filters.shared.captions import turns
from filters.shared.images import Images

TEXTS = ("assistant", "all")
OVER: dict[str, Any] = {"mean": np.mean, "max": np.max, "min": np.min}


@scorer(
    version=2,
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
    text: str = "assistant",
    prompts: Sequence[str] = (),
) -> pa.RecordBatch:
    """Score each sample by the cosine of the CLIP embeddings of its text and its images."""
    if over not in OVER:
        msg = f"`over` is `{over}`; expected one of {', '.join(OVER)}"
        raise UserError(msg, usage=True)
    if text not in TEXTS:
        msg = f"`text` is `{text}`; expected one of {', '.join(TEXTS)}"
        raise UserError(msg, usage=True)
    if isinstance(prompts, str) or any(not isinstance(p, str) for p in prompts):
        msg = f"`prompts` is {prompts!r}; expected a list of texts"
        raise UserError(msg, usage=True)
    score: list[float | None] = [None] * batch.num_rows
    margin: list[float | None] = [None] * batch.num_rows
    if model is not None:
        said = [_said(u, a, text, prompts) for u, a in turns(batch)]
        _score(said, images, clip.load(model, arch=arch), over, score, margin)
    return pa.RecordBatch.from_pydict(
        {"clip_score": pa.array(score, pa.float64()), "clip_margin": pa.array(margin, pa.float64())}
    )


def _said(user: str, assistant: str, text: str, prompts: Sequence[str]) -> str:
    """Return what is held against the images."""
    if text == "assistant" or not assistant or user in prompts:
        return assistant
    return f"{user} {assistant}".strip()


def _score(
    texts: Sequence[str],
    images: Images,
    network: clip.Clip,
    over: str,
    score: list[float | None],
    margin: list[float | None],
) -> None:
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
    if network.bank is not None:
        bank_images, bank_texts = (v.astype(np.float64) for v in (network.bank.images, network.bank.texts))
    for row in dict.fromkeys(rows):
        mine = np.flatnonzero(at == row)
        # In float64 and row by row: independent of what else is in the batch.
        fit = OVER[over]([float((seen[k].astype(np.float64) * said[k]).sum()) for k in mine])
        score[row] = round(float(fit), 5)
        if network.bank is not None:
            others = [(bank_texts * seen[k]).sum(1) for k in mine]
            by_texts = _standard(fit, OVER[over](others, axis=0))
            by_pictures = _standard(fit, (bank_images * said[mine[0]]).sum(1))
            margin[row] = round((by_texts + by_pictures) / 2, 5)


def _standard(value: float, others: npt.NDArray[np.float64]) -> float:
    return float((value - others.mean()) / max(float(others.std()), 1e-6))

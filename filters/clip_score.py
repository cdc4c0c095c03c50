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
by a model that was fitted on questions with answers. NaN where an image cannot be decoded. `model`, `precision`: see
`filters/shared/clip.py`.
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
from filters.shared.embed import OVER, Embedded, embed
from filters.shared.embed import over as fold
from filters.shared.images import Images
from filters.shared.text import column, has_image, table

TEXTS = ("assistant", "all")


@scorer(
    version=3,
    scores={"clip_score": pa.float64(), "clip_margin": pa.float64()},
    bounds={"clip_score": (0.28, None)},
    needs_model=True,
)
def clip_score(
    batch: pa.RecordBatch,
    images: Images,
    *,
    model: str | None,
    arch: str | None = None,
    precision: str = "auto",
    over: str = "mean",
    text: str = "assistant",
    prompts: Sequence[str] = (),
) -> pa.RecordBatch:
    """Score each sample by the cosine of the CLIP embeddings of its text and its images."""
    for name, value, choices in (("over", over, OVER), ("text", text, TEXTS)):
        if value not in choices:
            msg = f"`{name}` is `{value}`; expected one of {', '.join(choices)}"
            raise UserError(msg, usage=True)
    if isinstance(prompts, str) or any(not isinstance(p, str) for p in prompts):
        msg = f"`prompts` is {prompts!r}; expected a list of texts"
        raise UserError(msg, usage=True)
    score = np.zeros(batch.num_rows)
    margin = np.zeros(batch.num_rows)
    applies = banked = np.zeros(batch.num_rows, bool)
    if model is not None:
        said = [_said(u, a, text, prompts) for u, a in turns(batch)]
        applies = np.asarray([bool(t) for t in said], bool) & has_image(batch)
        network = clip.load(model, arch=arch, precision=precision)
        rows = np.flatnonzero(applies)
        found = embed(batch, images, network, applies, [said[r] for r in rows])
        at = np.searchsorted(rows, found.row)  # each image's text
        cosine = clip.cosines(found.images, found.texts[at])
        score = fold(over, found.row, cosine, batch.num_rows)
        if network.bank is not None:
            banked = applies
            margin = _margin(network.bank, found, at, over, score)
    return table(
        clip_score=column(score, applies, pa.float64(), 5), clip_margin=column(margin, banked, pa.float64(), 5)
    )


def _said(user: str, assistant: str, text: str, prompts: Sequence[str]) -> str:
    """Return what is held against the images."""
    if text == "assistant" or not assistant or user in prompts:
        return assistant
    return f"{user} {assistant}".strip()


def _margin(
    bank: clip.Bank, found: Embedded, at: npt.NDArray[np.int64], over: str, score: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return each row's margin, NaN where it has no score; row by row, for a product of matrices would add as it likes."""
    bank_images, bank_texts = (v.astype(np.float64) for v in (bank.images, bank.texts))
    choices: dict[str, Any] = {"mean": np.mean, "max": np.max, "min": np.min}
    how = choices[over]
    out = np.full(len(score), np.nan)
    firsts, counts = np.unique(found.row, return_index=True, return_counts=True)[1:]
    for first, count in zip(firsts, counts, strict=True):
        row = found.row[first]
        others = [(bank_texts * v).sum(1) for v in found.images[first : first + count]]
        by_texts = _standard(score[row], how(others, axis=0))
        by_pictures = _standard(score[row], (bank_images * found.texts[at[first]]).sum(1))
        out[row] = (by_texts + by_pictures) / 2
    return out


def _standard(value: float, others: npt.NDArray[np.float64]) -> float:
    return float((value - others.mean()) / max(float(others.std()), 1e-6))

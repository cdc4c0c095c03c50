"""How people would rate the look of a sample's images, by a small head over their CLIP vectors.

`aesthetic`   predicted mean rating, about 1 to 10 (the scale that the head was trained on; not a share): the mean over the
              sample's images, or the largest or smallest of them (`over: max`, `over: min`), rounded to 4 decimals

Heads are those of LAION, whose file formats are read as they are (`filters/shared/heads.py`): the linear predictor
(https://github.com/LAION-AI/aesthetic-predictor, `sa_0_4_vit_l_14_linear.pth`) and the improved one, five linear layers of
1024, 128, 64, 16 and 1 (https://github.com/christophschuhmann/improved-aesthetic-predictor,
`sac+logos+ava1-l14-linearMSE.pth`). Both take unit vectors of OpenAI's ViT-L/14: `model: ViT-L-14-quickgelu/openai`.
`between`: what stands between layers, `none` in these two, `relu` in that repository's `reluMSE` heads.

Bound `aesthetic >= 4.5`: LAION-Aesthetics V2 4.5+, of the subsets 4.5, 4.75, 5, 6, 6.25 and 6.5 of Schuhmann 2022
(https://laion.ai/blog/laion-aesthetics/); Stable Diffusion v1 was trained on 5 and above. It is a taste: charts, pages and
screenshots rate low, so judge pictures of other kinds with `tasks: [caption]` only.

Null without an image and without a `model`; NaN where an image cannot be decoded. Left out: what LAION did
around it (image size, watermark probability).
"""

import pyarrow as pa

from filters.base import scorer
from filters.shared.heads import rate
from filters.shared.images import Images
from filters.shared.text import column, table


@scorer(version=1, scores={"aesthetic": pa.float64()}, bounds={"aesthetic": (4.5, None)}, needs_model=True)
def aesthetic(
    batch: pa.RecordBatch,
    images: Images,
    *,
    model: str | None,
    arch: str | None = None,
    precision: str = "auto",
    head_path: str | None,
    between: str = "none",
    over: str = "mean",
) -> pa.RecordBatch:
    """Score each sample by the head's output on its images."""
    values, applies = rate(batch, images, model, arch, precision, head_path, between, over)
    return table(aesthetic=column(values, applies, pa.float64(), 4))

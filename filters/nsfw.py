"""How likely a sample's images are not safe for work, by a small head over their CLIP vectors.

`nsfw`   probability, 0 to 1: the largest over the sample's images (`over: mean`, `over: min` for others), rounded to 5 decimals

The head is that of https://github.com/LAION-AI/CLIP-based-NSFW-Detector: its input normalised, layers of 64, 512, 256 and 1
with rectifiers between them, a sigmoid at the end; for unit vectors of OpenAI's ViT-L/14 (`model: ViT-L-14-quickgelu/openai`).
It is published as a TensorFlow folder, which we do not read; its weights are read from .safetensors, .pth or a Keras .h5
file (`filters/shared/heads.py` says with which names). A head that ends in its sigmoid's input is what is expected.

Bound `nsfw <= 0.5`: the detector's own line between its two classes, which LAION-5B calls `punsafe` (Schuhmann et al. 2022, arXiv
2210.08402). Stable Diffusion v2 took 0.1 (https://github.com/Stability-AI/stablediffusion,
README: `punsafe=0.1`), DataComp a stricter detector of its own before anybody gets the pool (Gadre et al. 2023, arXiv
2304.14108, section 3).

Null without an image and without a `model`; NaN where an image cannot be decoded. It is a screen, not a
moderation tool: by the authors' own test set it misses some and flags some safe ones.
"""

import numpy as np
import pyarrow as pa

from filters.base import scorer
from filters.shared.heads import rate
from filters.shared.images import Images
from filters.shared.text import column, table


@scorer(version=1, scores={"nsfw": pa.float64()}, bounds={"nsfw": (None, 0.5)}, needs_model=True)
def nsfw(
    batch: pa.RecordBatch,
    images: Images,
    *,
    model: str | None,
    arch: str | None = None,
    precision: str = "auto",
    head_path: str | None,
    between: str = "relu",
    over: str = "max",
) -> pa.RecordBatch:
    """Score each sample by the sigmoid of the head's output on its images."""
    logits, applies = rate(batch, images, model, arch, precision, head_path, between, over)
    with np.errstate(over="ignore"):
        return table(nsfw=column(1 / (1 + np.exp(-logits)), applies, pa.float64(), 5))

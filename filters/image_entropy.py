"""How much there is to see: entropy and spread of the grey levels of a sample's emptiest image.

`image_entropy`  Shannon entropy of the 256 grey levels, in bits, 0 (one level) to 8.
`image_std`      standard deviation of the grey levels, 0 to 127.5.

Bound `image_std >= 5`: ours. A blank picture (one colour, a faint gradient, sensor or JPEG noise) has 0 to 4; a white page
with one line of text has 20 and more, a photo 40 to 80. The entropy has no default bound: CleanVision calls an image with
less than 3 bits "low information" (cleanlab/cleanvision, `issue_managers/image_property.py`: threshold 0.3 of a score
that is a tenth of the entropy), which is right for photos and drops good charts and pages, of 0.3 to 2 bits. Set
`image_entropy: {min: 3}` for photos.

Null for a sample without images; NaN where an image cannot be decoded. Left out of the source: its dark and bright
scores.
"""

import numpy as np
import pyarrow as pa

from filters.base import scorer
from filters.shared.images import Images, Pixels, fold, grey


def _spread(picture: Pixels) -> tuple[float, float]:
    counts = np.bincount(grey(picture).ravel(), minlength=256).astype(np.float64)
    p = counts / counts.sum()
    levels = np.arange(256.0)
    variance = p @ (levels * levels) - (p @ levels) ** 2
    seen = p[p > 0]
    entropy = -(seen * np.log2(seen)).sum()
    return round(max(float(entropy), 0.0), 6), round(float(np.sqrt(max(variance, 0.0))), 6)


@scorer(
    version=1,
    scores={"image_entropy": pa.float64(), "image_std": pa.float64()},
    bounds={"image_std": (5.0, None)},
)
def image_entropy(batch: pa.RecordBatch, images: Images) -> pa.RecordBatch:
    """Score each sample by the entropy and the standard deviation of its emptiest image's grey levels."""
    row, values = images.measure(_spread, 2)
    return fold(batch, row, np.minimum, image_entropy=values[:, 0], image_std=values[:, 1])

"""How much there is to see: entropy and spread of the levels of a sample's emptiest image.

`image_entropy`  Shannon entropy of the 256 grey levels, in bits, 0 (one level) to 8.
`image_std`      standard deviation of the grey levels, 0 to 127.5.
`information`    Shannon entropy of the levels of red, green and blue counted together, in bits, 0 to 9.6: what Pillow's
                 `entropy()` says of an RGB picture, a tenth of which is CleanVision's "low information" score.

Bound `image_std >= 5`: ours. A blank picture (one colour, a faint gradient, sensor or JPEG noise) has 0 to 4; a white
page with one line of text has 20 and more, a photo 40 to 80. The entropies have no default bound: CleanVision calls an
image with less than 3 bits "low information" (cleanlab/cleanvision 0.3.7, `issue_managers/image_property.py`: threshold
0.3), which is right for photos and drops good charts and pages, of 0.3 to 2 bits. Set `information: {min: 3}` for
photos.

Counted over a lattice of at most 16,384 pixels (`filters/shared/planes.py`), of a smaller picture over all: the entropy
of a large picture comes out up to 0.02 bits lower than over all of its pixels.

Null for a sample without images; NaN where an image cannot be decoded.
"""

import numpy as np
import pyarrow as pa

from filters.base import scorer
from filters.shared.images import Images, fold
from filters.shared.levels import DEVIATION, ENTROPY, INFORMATION, levels

MEASURES = (levels,)


@scorer(
    version=2,
    scores={"image_entropy": pa.float64(), "image_std": pa.float64(), "information": pa.float64()},
    bounds={"image_std": (5.0, None)},
)
def image_entropy(batch: pa.RecordBatch, images: Images) -> pa.RecordBatch:
    """Score each sample by the entropies and the standard deviation of its emptiest image's levels."""
    row, found = images.measure(levels)
    entropy, deviation, information = found[:, [ENTROPY, DEVIATION, INFORMATION]].round(6).T
    return fold(batch, row, np.minimum, image_entropy=entropy, image_std=deviation, information=information)

import io

import numpy as np
from PIL import Image

from tests.filters.pictures import encode, flat, photo, scores


def test_known_values() -> None:
    half = flat(100, 40, 40)
    half[:10] = (200, 100, 100)
    got = scores("greyscale", [[encode(half)], [encode(flat(50))], [], [b"?"]])
    assert got[0]["coloured"] == 0.25
    # rg is 100 for a quarter, yb 50: variances 1875 and 468.75, means 25 and 12.5.
    assert abs(got[0]["colourfulness"] - (2343.75**0.5 + 0.3 * 781.25**0.5)) < 1e-4
    assert got[1] == {"coloured": 0.0, "colourfulness": 0.0}
    assert got[2] == {"coloured": None, "colourfulness": None}
    assert np.isnan(got[3]["coloured"])


def test_a_grey_picture_is_grey_in_any_file() -> None:
    colour = photo(4)
    grey = Image.fromarray(colour).convert("L")
    files = []
    for image, form, options in ((grey, "PNG", {}), (grey.convert("RGB"), "JPEG", {"quality": 60}), (grey, "JPEG", {})):
        out = io.BytesIO()
        image.save(out, form, **options)
        files.append([out.getvalue()])
    *greys, coloured = scores("greyscale", [*files, [encode(colour, "JPEG", quality=60)]])
    assert all(s["coloured"] < 0.01 for s in greys)
    assert all(s["colourfulness"] < 5 for s in greys)
    assert coloured["coloured"] > 0.5
    assert coloured["colourfulness"] > 15

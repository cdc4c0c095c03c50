import io

import numpy as np
from PIL import Image, ImageFilter

from filters.base import load
from filters.shared.images import Images
from tests.filters.pictures import Memory, chart, encode, page, samples


def scores(pictures: list[bytes], **params: int) -> list[float]:
    reader = Memory()
    batch = samples([([p], "") for p in pictures], reader)
    return load("blur", params).score(batch, Images.read(batch, reader)).column(0).to_pylist()


def test_agrees_with_the_definition() -> None:
    rng = np.random.default_rng(0)
    g = rng.integers(0, 256, (20, 30)).astype(np.uint8)
    x = g.astype(np.float64)
    want = (x[:-2, 1:-1] + x[2:, 1:-1] + x[1:-1, :-2] + x[1:-1, 2:] - 4 * x[1:-1, 1:-1]).var()
    got = scores([encode(np.repeat(g[:, :, None], 3, 2))])[0]
    assert abs(got - want) < 1e-3 * want


def test_blurred_pictures_fall_under_the_bound_and_sharp_ones_do_not() -> None:
    low = load("blur").bounds["blur"][0]
    rng = np.random.default_rng(0)
    sharp = [kind(rng)[0] for _ in range(30) for kind in (chart, page)]
    blurred = [np.asarray(Image.fromarray(p).filter(ImageFilter.GaussianBlur(4))) for p in sharp]
    assert min(scores([encode(p) for p in sharp])) > low
    assert max(scores([encode(p, "JPEG", quality=90) for p in blurred])) < low


def test_does_not_depend_on_the_resolution() -> None:
    small = Image.fromarray(chart(np.random.default_rng(0), side=192)[0])
    out = io.BytesIO()
    small.resize((1024, 768), Image.Resampling.BICUBIC).save(out, "PNG")
    a, b = scores([encode(np.asarray(small)), out.getvalue()])
    assert 0.3 < a / b < 3  # a sixteenth or less without the common size


def test_edges_of_the_domain() -> None:
    got = scores([encode(np.zeros((2, 9, 3), np.uint8)), encode(np.zeros((9, 9, 3), np.uint8)), b"?"])
    assert got[:2] == [0.0, 0.0]
    assert np.isnan(got[2])

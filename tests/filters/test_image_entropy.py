import numpy as np
from PIL import Image

from filters.base import load
from filters.shared.images import Images
from tests.filters.pictures import Memory, encode, pairs, samples


def scores(items: list[list[bytes]]) -> list[dict[str, float]]:
    reader = Memory()
    batch = samples([(i, "") for i in items], reader)
    return load("image_entropy").score(batch, Images.read(batch, reader)).to_pylist()


def test_known_values() -> None:
    half = np.zeros((10, 10, 3), np.uint8)
    half[:5] = 255
    flat = np.full((10, 10, 3), 9, np.uint8)
    got = scores([[encode(half)], [encode(flat)], [encode(half), encode(flat)], [], [b"?"]])
    assert got[0] == {"image_entropy": 1.0, "image_std": 127.5, "information": round(np.log2(6), 6)}
    assert got[1] == {"image_entropy": 0.0, "image_std": 0.0, "information": round(np.log2(3), 6)}
    assert got[2] == got[1]
    assert got[3] == {"image_entropy": None, "image_std": None, "information": None}
    assert np.isnan(got[4]["image_std"])


def test_information_is_what_pillow_says_of_an_rgb_picture() -> None:
    rng = np.random.default_rng(0)
    picture = (rng.normal(120, 30, (100, 120, 3)) + np.array([0, 20, -40])).clip(0, 255).astype(np.uint8)
    assert abs(scores([[encode(picture)]])[0]["information"] - Image.fromarray(picture).entropy()) < 1e-5


def test_a_large_picture_is_counted_over_a_lattice() -> None:
    picture = np.asarray(Image.fromarray(pairs(1)[0][0]).resize((900, 700)))
    whole = np.asarray(Image.fromarray(picture).convert("L"))
    p = np.bincount(whole.ravel(), minlength=256) / whole.size
    want = -(p[p > 0] * np.log2(p[p > 0])).sum()
    got = scores([[encode(picture)]])[0]
    assert abs(got["image_entropy"] - want) < 0.05
    assert abs(got["image_std"] - whole.std()) < 0.5


def test_the_bound_drops_blank_pictures_and_keeps_pages() -> None:
    rng = np.random.default_rng(0)
    noise = (230 + rng.normal(0, 3, (90, 90, 3))).clip(0, 255).astype(np.uint8)
    tinted = np.full((90, 90, 3), (250, 240, 230), np.uint8)
    low = load("image_entropy").bounds["image_std"][0]
    blank = scores([[encode(noise)], [encode(noise, "JPEG", quality=40)], [encode(tinted, "JPEG")]])
    assert all(s["image_std"] < low for s in blank)
    full = scores([[encode(p)] for p, _ in pairs(60)])
    assert all(s["image_std"] > low for s in full)

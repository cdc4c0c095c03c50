import io
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageEnhance

from catalog.errors import UserError
from curate.synth import charts, documents, scenes
from curate.synth.item import Item, stream
from filters.base import load
from filters.shared.images import Images
from filters.shared.alignment import similarity
from filters.shared.hamming import near
from filters.shared.perceptual import Signatures, signature
from tests.filters.pictures import KINDS, Memory, encode, pairs, samples

Edit = Callable[[Image.Image], Image.Image]


def cut(left: float, top: float, right: float, bottom: float) -> Edit:
    def edit(i: Image.Image) -> Image.Image:
        w, h = i.size
        return i.crop((round(left * w), round(top * h), round(w - right * w), round(h - bottom * h)))

    return edit


def light(factor: float) -> Edit:
    return lambda i: ImageEnhance.Brightness(i).enhance(factor)


def scale(factor: float) -> Edit:
    return lambda i: i.resize((round(i.width * factor), round(i.height * factor)), Image.Resampling.BICUBIC)


EDITS: dict[str, tuple[Edit, int]] = {
    "re-encoded": (lambda i: i, 30),
    "half": (scale(0.5), 85),
    "double": (scale(2.0), 85),
    "brighter": (light(1.2), 85),
    "darker": (light(0.8), 85),
    "cropped 2.5 % a side": (cut(0.025, 0.025, 0.025, 0.025), 85),
    "cropped 5 % at a corner": (cut(0.05, 0.05, 0, 0), 85),
    "cropped unevenly": (cut(0.03, 0.01, 0.02, 0.03), 85),
}


def edited(picture: np.ndarray, name: str) -> bytes:
    edit, quality = EDITS[name]
    out = io.BytesIO()
    edit(Image.fromarray(picture)).save(out, "JPEG", quality=quality)
    return out.getvalue()


def signed(items: list[tuple[list[bytes], str]], ids: list[str], **more: str) -> pa.Table:
    reader = Memory()
    batch = samples(items, reader, ids=ids, **more)
    scores = load("dedup_phash").score(batch, Images.read(batch, reader))
    return pa.table({"id": batch["id"], "phash": scores["phash"]})


def clusters(table: pa.Table, **params: object) -> dict[str, str]:
    flt = load("dedup_phash", params)
    assert flt.cluster is not None
    found = flt.cluster(table)
    return dict(zip(found["id"].to_pylist(), found["cluster"].to_pylist(), strict=True))


@pytest.mark.parametrize("name", EDITS)
def test_copies_are_found(name: str) -> None:
    originals = pairs(90, seed=11)
    items = [([encode(p)], t) for p, t in originals] + [([edited(p, name)], t) for p, t in originals]
    ids = [f"{k:03d}{x}" for x in "ab" for k in range(90)]
    found = clusters(signed(items, ids), pair="image")
    caught = sum(found.get(f"{k:03d}a") == found.get(f"{k:03d}b", "") for k in range(90))
    assert caught >= 0.9 * 90


@pytest.mark.parametrize("make", [scenes.caption, charts.question, documents.item])
def test_distinct_pictures_of_one_layout_are_kept_apart(make: Callable[..., Item]) -> None:
    pictures = [np.asarray(make(stream("distinct", k)).draw().convert("RGB")) for k in range(120)]  # type: ignore[misc]
    table = signed([([encode(p)], "the same caption") for p in pictures], [f"{k:03d}" for k in range(120)])
    assert len(clusters(table, pair="image")) <= 2


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_that_can_hardly_be_told_apart_are_by_their_text(kind: Callable[..., tuple[np.ndarray, str]]) -> None:
    # One font, one layout, one or two things in a picture: up to a fifth of these are joined by the picture alone.
    rng = np.random.default_rng(5)
    items = [([encode(kind(rng)[0])], f"{k} {k + 1000} {k + 2000}") for k in range(120)]
    table = signed(items, [f"{k:03d}" for k in range(120)])
    assert len(clusters(table, pair="image")) <= 0.25 * 120
    assert clusters(table) == {}


def test_the_radius_is_a_true_hamming_radius() -> None:
    rng = np.random.default_rng(0)
    base = rng.integers(0, 2**64, (60, 3), dtype=np.uint64)
    query = base[rng.integers(0, 60, 200), rng.integers(0, 3, 200)]
    for k in range(len(query)):  # flip 0 to 14 bits anywhere
        for bit in rng.choice(64, k % 15, replace=False):
            query[k] ^= np.uint64(1) << np.uint64(bit)
    distance = np.bitwise_count(query[:, None, None] ^ base[None]).min(2)
    for radius in (0, 5, 10, 11):
        q, b = near(query, base, radius)
        assert set(zip(q.tolist(), b.tolist(), strict=True)) == set(zip(*np.nonzero(distance <= radius), strict=True))


def test_the_text_decides_when_the_picture_is_the_same() -> None:
    picture = encode(pairs(1)[0][0])
    caption = "A small dog runs over the green grass with a red ball."
    edit = "A small dog is running over the green grass with a red ball"
    other = "Nobody knows who first planted this quiet garden behind our house."
    table = signed([([picture], caption), ([picture], edit), ([picture], other)], ["a", "b", "c"])
    assert clusters(table) == {"a": "a", "b": "a"}
    assert clusters(table, pair="image") == {"a": "a", "b": "a", "c": "a"}
    asked = [
        signed([([picture], "2")], [i], user=u)
        for i, u in (("a", "How many dogs?"), ("b", "how many dogs"), ("c", "How many cats?"))
    ]
    assert clusters(pa.concat_tables(asked)) == {"a": "a", "b": "a"}
    assert clusters(signed([([picture], "2"), ([picture], "3")], ["a", "b"], user="How many?")) == {}


def test_equal_text_alone_makes_no_duplicate() -> None:
    items = [([encode(p)], "A photo of an apple.") for p, _ in pairs(60, seed=3)]
    assert len(clusters(signed(items, [f"{k:02d}" for k in range(60)]))) <= 2


def test_several_images_must_match_in_order() -> None:
    a, b, c = (encode(p) for p, _ in pairs(3))
    table = signed([([a, b], "x"), ([a, b], "x"), ([b, a], "x"), ([a, c], "x"), ([a], "x")], list("pqrst"))
    assert clusters(table) == {"p": "p", "q": "p"}


def test_null_without_structure() -> None:
    flat, picture = encode(np.full((40, 40, 3), 200, np.uint8)), encode(pairs(1)[0][0])
    table = signed([([flat], "x"), ([b"?"], "x"), ([], "x"), ([picture, flat], "x"), ([picture], "x")], list("abcde"))
    assert table["phash"].is_valid().to_pylist() == [False, False, False, False, True]
    assert clusters(table) == {}


def test_the_order_of_rows_does_not_matter() -> None:
    originals = pairs(20, seed=4)
    items = [([encode(p)], t) for p, t in originals] + [([edited(p, "darker")], t) for p, t in originals]
    table = signed(items, [f"{k:02d}" for k in range(40)])
    assert clusters(table) == clusters(table.take(np.random.default_rng(0).permutation(40)))


def test_colour_tells_pictures_apart() -> None:
    picture = pairs(1)[0][0].astype(np.float64)
    luma = picture @ [0.299, 0.587, 0.114]
    grey = np.repeat(luma[:, :, None], 3, 2)
    tinted = (grey + np.array([60, -40, 30])).clip(0, 255).astype(np.uint8)
    s = Signatures([signature(p) for p in (grey.astype(np.uint8), tinted)])  # type: ignore[list-item]
    assert similarity(s, s, np.array([0]), np.array([1]))[0] == 0.0


def test_wrong_parameters_are_named() -> None:
    table = signed([([encode(pairs(1)[0][0])], "x")], ["a"])
    with pytest.raises(UserError, match="pair"):
        clusters(table, pair="images")
    with pytest.raises(UserError, match="radius"):
        clusters(table, radius=40)

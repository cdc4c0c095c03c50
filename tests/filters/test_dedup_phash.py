import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageEnhance

from catalog.errors import UserError
from curate.synth import charts, documents, scenes
from curate.synth.item import Item, stream
from filters.base import load
from filters.dedup_phash import _Pairs, _stars
from filters.shared.alignment import similarity
from filters.shared.images import Images
from filters.shared.perceptual import Signatures, signature
from tests.filters.pictures import KINDS, WORDS, Memory, encode, pairs, samples

Edit = Callable[[Image.Image], Image.Image]
DATA = Path(__file__).resolve().parent.parent.parent.parent / "shared" / "data"


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
    assert caught >= 0.93 * 90  # a page of small print may stand in the star of another one


@pytest.mark.parametrize("make", [scenes.caption, charts.question, documents.item])
def test_distinct_pictures_of_one_layout_are_kept_apart(make: Callable[..., Item]) -> None:
    pictures = [np.asarray(make(stream("distinct", k)).draw().convert("RGB")) for k in range(120)]  # type: ignore[misc]
    table = signed([([encode(p)], "the same caption") for p in pictures], [f"{k:03d}" for k in range(120)])
    assert clusters(table, pair="image") == {}


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_that_can_hardly_be_told_apart_are_by_their_text(kind: Callable[..., tuple[np.ndarray, str]]) -> None:
    # One font, one layout, one or two things in a picture.
    rng = np.random.default_rng(5)
    items = [([encode(kind(rng)[0])], f"{k} {k + 1000} {k + 2000}") for k in range(120)]
    table = signed(items, [f"{k:03d}" for k in range(120)])
    assert len(clusters(table, pair="image")) <= 0.05 * 120
    assert clusters(table) == {}


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


def boxes(colours: list[str]) -> bytes:
    """Grey fields with squares in them, as in NLVR: what differs is one square."""
    image = Image.new("RGB", (400, 100), (211, 211, 211))
    draw = ImageDraw.Draw(image)
    for x in (100, 250):
        draw.rectangle((x, 0, x + 49, 99), fill=(128, 128, 128))
    for k, colour in enumerate(colours):
        x, y = 40 + 150 * (k % 3), 80 - 20 * (k // 3)
        draw.rectangle((x, y, x + 19, y + 19), fill=colour)
    return encode(np.asarray(image))


def sign(draw: Callable[[ImageDraw.ImageDraw], None]) -> Image.Image:
    """A round sign, which is symmetrical but for what stands in it."""
    image = Image.new("RGB", (300, 300), "white")
    pen = ImageDraw.Draw(image)
    pen.ellipse((10, 10, 290, 290), outline="black", width=12)
    draw(pen)
    return image


def test_one_square_makes_another_picture() -> None:
    base = ["#ffd900", "black", "#0088dd", "black", "#0088dd"]
    rows = [
        base,
        [*base[:4], "#ffd900"],
        [*base[:3], "#ffd900", base[4]],
        [base[1], base[0], *base[2:]],
        base[:4],
        base,
    ]
    found = clusters(signed([([boxes(r)], "x") for r in rows], list("abcdef")), pair="image")
    assert found == {"a": "a", "f": "a"}


def test_hands_of_a_clock_and_things_in_a_sign_count() -> None:
    hands = [
        sign(lambda d, a=a: d.line((150, 150, 150 + 90 * np.sin(a), 150 - 90 * np.cos(a)), fill="black", width=10))
        for a in (0.5, 2.0, 3.6)
    ]
    items = [encode(np.asarray(h)) for h in hands] + [edited(np.asarray(hands[0]), "half")]
    assert clusters(signed([([i], "x") for i in items], list("abcd")), pair="image") == {"a": "a", "d": "a"}


@pytest.mark.parametrize("name", EDITS)
def test_copies_of_symmetrical_drawings_are_found(name: str) -> None:
    # Half of their cosine coefficients are zero: noise must not decide about those bits.
    drawings = [
        sign(lambda d: d.rectangle((90, 90, 210, 210), fill="red")),
        sign(lambda d: d.ellipse((100, 100, 200, 200), fill="blue")),
        sign(lambda d: d.line((150, 40, 150, 260), fill="black", width=30)),
    ]
    items = [p for d in drawings for p in (encode(np.asarray(d)), edited(np.asarray(d), name))]
    found = clusters(signed([([i], "x") for i in items], list("abcdef")), pair="image")
    assert found == {"a": "a", "b": "a", "c": "c", "d": "c", "e": "e", "f": "e"}


@pytest.mark.parametrize("way", list(Image.Transpose))
def test_turned_copies_are_found_if_asked_for(way: Image.Transpose) -> None:
    originals = [p for p, _ in pairs(12, seed=6)]
    copies = [np.asarray(Image.fromarray(p).transpose(way)) for p in originals]
    items = [([encode(p)], "x") for p in originals] + [([edited(p, "half")], "x") for p in copies]
    table = signed(items, [f"{x}{k:02d}" for x in "ab" for k in range(12)])
    found = clusters(table, pair="image", rotations=True)
    assert sum(found.get(f"a{k:02d}") == found.get(f"b{k:02d}", "") for k in range(12)) == 12
    assert len(clusters(table, pair="image")) <= 2  # hardly one is its own mirror image


def test_two_turned_images_of_one_sample() -> None:
    a, b, c = (p for p, _ in pairs(3, seed=6))
    items = [
        ([encode(a), encode(b)], "x"),
        ([encode(np.rot90(a).copy()), encode(b[::-1].copy())], "x"),
        ([encode(a), encode(c)], "x"),
    ]
    table = signed(items, list("abc"))
    assert clusters(table, pair="image", rotations=True) == {"a": "a", "b": "a"}
    assert clusters(table, pair="image") == {}


def stars(
    n: int, edges: dict[tuple[int, int], float], prefer: list[float] | None = None
) -> tuple[list[int], list[float]]:
    """The centres of `n` samples and the similarities to them; a pair of similarity 0 is a candidate and no duplicate."""
    a, b = (np.array([e[k] for e in edges], np.int64) for k in (0, 1))
    centre, best = np.full(n, -1), np.zeros(n)

    def check(pairs: _Pairs) -> np.ndarray:
        return np.array([edges[i, j] for i, j in zip(pairs.a.tolist(), pairs.b.tolist(), strict=True)])

    _stars(
        _Pairs(a=a, b=b, how=np.zeros(len(a), np.int64), close=np.ones(len(a), np.int64)),
        np.array(prefer or [0.0] * n),
        check,
        centre,
        best,
    )
    return centre.tolist(), best.tolist()


def test_a_chain_is_cut_into_stars() -> None:
    chain = {(0, 1): 0.9, (1, 2): 0.8}  # 1 lies between 0 and 2, which are not alike
    assert stars(4, chain) == ([1, 1, 1, -1], [0.9, 0.9, 0.8, 0.0])
    assert stars(4, chain, [1.0, 0.0, 0.0, 0.0]) == ([0, 0, -1, -1], [0.9, 0.9, 0.0, 0.0])  # 0 is preferred
    assert stars(3, {(0, 1): 0.0, (1, 2): 0.8}) == ([-1, 1, 1], [0.0, 0.8, 0.8])
    assert stars(2, {(0, 1): 0.0}) == ([-1, -1], [0.0, 0.0])
    assert stars(2, {}) == ([-1, -1], [0.0, 0.0])


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.tuples(st.integers(0, 7), st.integers(0, 7)), st.sampled_from([0.0, 0.9, 0.95]), max_size=20))
def test_rounds_give_what_one_after_the_other_gives(edges: dict[tuple[int, int], float]) -> None:
    edges = {(i, j): s for (i, j), s in edges.items() if i < j}
    count = [sum(k in e for e in edges) for k in range(8)]
    want = [-1] * 8
    for k in sorted(range(8), key=lambda x: (-count[x], x)):
        mine = [i + j - k for (i, j), s in edges.items() if k in (i, j) and s and want[i + j - k] < 0]
        if want[k] < 0 and mine:
            for m in [*mine, k]:
                want[m] = k
    assert stars(8, edges)[0] == want


def test_signatures_in_many_chunks_are_the_same() -> None:
    originals = pairs(12, seed=4)
    items = [([encode(p)], t) for p, t in originals] + [([edited(p, "darker")], t) for p, t in originals]
    table = signed(items, [f"{k:02d}" for k in range(24)])
    parts = pa.concat_tables([table.slice(k, 5) for k in range(0, 24, 5)])
    assert parts["phash"].num_chunks == 5
    assert clusters(parts) == clusters(table) != {}


def test_captions_do_not_collapse() -> None:
    """One description of many pictures, and many of one: none is a duplicate of another."""
    pictures = [encode(p) for p, _ in pairs(9, seed=8)]
    items = [([p], "A ripe apple from the orchard.") for p in pictures] + [([pictures[0]], WORDS[k]) for k in range(9)]
    assert clusters(signed(items, [f"{k:02d}" for k in range(18)])) == {}


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


@pytest.mark.skipif(not DATA.exists(), reason="the real data is not there")
def test_nlvr_has_three_copies_and_no_others() -> None:
    paths = sorted((DATA / "nlvr").rglob("*.png"))
    found = clusters(signed([([p.read_bytes()], "x") for p in paths], [p.name for p in paths]), pair="image")
    stars: dict[str, set[bytes]] = {}
    for p in paths:
        if p.name in found:
            stars.setdefault(found[p.name], set()).add(p.read_bytes())
    assert len(found) == 6
    assert all(len(s) == 1 for s in stars.values())


def test_wrong_parameters_are_named() -> None:
    table = signed([([encode(pairs(1)[0][0])], "x")], ["a"])
    with pytest.raises(UserError, match="pair"):
        clusters(table, pair="images")
    with pytest.raises(UserError, match="radius"):
        clusters(table, radius=40)
    with pytest.raises(UserError, match="dedup_minhash"):
        clusters(table, pair="text")
    with pytest.raises(UserError, match="text_similarity"):
        clusters(table, text_similarity=2.0)

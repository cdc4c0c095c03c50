import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tests.filters.pictures import encode, flat, photo, scores


def marked(picture: np.ndarray, places: list[tuple[int, int]], text: str, size: int, strength: float) -> bytes:
    image = Image.fromarray(picture)
    mask = Image.new("L", image.size, 0)
    for place in places:
        ImageDraw.Draw(mask).text(place, text, int(255 * strength), font=ImageFont.load_default(size))
    return encode(np.asarray(Image.composite(Image.new("RGB", image.size, "white"), image, mask)), "JPEG", quality=85)


def test_an_upright_mark_all_over_the_picture_repeats() -> None:
    tiles = [(x, y) for y in range(0, 240, 30) for x in range(0, 320, 80)]
    clean = [[encode(photo(k), "JPEG", quality=85)] for k in range(8)]
    tiled = [[marked(photo(k), tiles, "SAMPLE", 14, 0.35)] for k in range(8)]
    before, after = (np.asarray([s["overlay_repeat"] for s in scores("overlay", x)]) for x in (clean, tiled))
    assert np.median(after) > 2 * before.max()


def test_a_line_along_the_edge_of_a_textless_picture() -> None:
    clean = [[encode(photo(k), "JPEG", quality=85)] for k in range(8)]
    credit = [[marked(photo(k), [(150, 220)], "(c) somebody", 16, 0.9)] for k in range(8)]
    before, after = (np.asarray([s["overlay_edge"] for s in scores("overlay", x)]) for x in (clean, credit))
    assert np.median(after) > before.max()


def test_the_repeat_is_counted_by_its_definition() -> None:
    rng = np.random.default_rng(0)
    g = rng.integers(0, 256, (16, 100)).astype(np.int64)  # 16 rows: all of them are lines; too low for columns
    got = scores("overlay", [[encode(np.repeat(g[:, :, None], 3, 2).astype(np.uint8))]])[0]["overlay_repeat"]
    d = np.zeros_like(g)
    d[:, 1:-1] = 2 * g[:, 1:-1] - g[:, :-2] - g[:, 2:]
    s = np.where(d >= 4, 1, np.where(d <= -4, -1, 0))
    best = 0.0
    for k in range(20, 50):
        both = (s[:, :-k] != 0) & (s[:, k:] != 0)
        best = max(best, (s[:, :-k] * s[:, k:]).sum() / both.sum() ** 0.5)
    assert abs(got - best) < 1e-5


def test_edges_of_the_domain() -> None:
    got = scores("overlay", [[encode(flat(3, 2, 2))], [encode(flat(3))], [], [b"?"]])
    assert got[0] == got[1] == {"overlay_repeat": 0.0, "overlay_edge": 0.0}
    assert got[2] == {"overlay_repeat": None, "overlay_edge": None}
    assert np.isnan(got[3]["overlay_repeat"])

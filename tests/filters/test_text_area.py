import numpy as np

from tests.filters.pictures import encode, flat, page, photo, scores


def test_pages_have_text_and_photos_have_none() -> None:
    rng = np.random.default_rng(0)
    pages = [s["text_area"] for s in scores("text_area", [[encode(page(rng, 240)[0])] for _ in range(12)])]
    photos = [s["text_area"] for s in scores("text_area", [[encode(photo(k))] for k in range(12)])]
    assert min(pages) > 0.01 > max(photos)


def test_light_on_dark_counts_as_dark_on_light_does() -> None:
    text = page(np.random.default_rng(1), 240)[0]
    dark, light = scores("text_area", [[encode(text)], [encode(255 - text)]])
    assert dark == light


def test_more_lines_more_area() -> None:
    few, many = (flat(255, 240, 240) for _ in range(2))
    lines = page(np.random.default_rng(2), 240)[0][:240, :240]
    few[:40], many[:160] = lines[:40], lines[:160]
    a, b = scores("text_area", [[encode(few)], [encode(many)]])
    assert 0 < a["text_area"] < b["text_area"]


def test_edges_of_the_domain() -> None:
    got = scores(
        "text_area",
        [[encode(flat(0, 5, 300))], [], [b"?"], [encode(flat(9)), encode(page(np.random.default_rng(3))[0])]],
    )
    assert got[0]["text_area"] == 0.0
    assert got[1]["text_area"] is None
    assert np.isnan(got[2]["text_area"])
    assert got[3]["text_area"] > 0.01  # the image with the most

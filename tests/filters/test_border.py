import numpy as np

from filters.base import load
from tests.filters.pictures import encode, flat, page, photo, scores


def framed(top: int, bottom: int, left: int, right: int, level: int = 0, sides: int | None = None) -> bytes:
    picture = photo(5, 200, 240)
    picture[:top] = level
    picture[200 - bottom :] = level
    picture[:, :left] = level if sides is None else sides
    picture[:, 240 - right :] = level if sides is None else sides
    return encode(picture, "JPEG", quality=90)


def test_shares_of_frames_and_bars() -> None:
    got = scores(
        "border",
        [
            [framed(0, 0, 0, 0)],
            [framed(20, 20, 0, 0)],
            [framed(20, 20, 24, 24)],
            [framed(0, 0, 30, 30, 255)],
            [framed(40, 0, 0, 0)],
        ],
    )
    near = 0.02
    assert got[0]["border"] < near
    assert abs(got[1]["border"] - 0.2) < near
    assert abs(got[1]["letterbox"] - 0.2) < near
    assert abs(got[2]["border"] - (1 - 0.8 * 0.8)) < near
    assert got[2]["letterbox"] == 0  # a frame all round is no letterbox
    assert abs(got[3]["letterbox"] - 0.25) < near
    assert abs(got[4]["border"] - 0.2) < near
    assert got[4]["letterbox"] == 0  # one bar only


def test_large_pictures_too() -> None:
    picture = photo(6, 720, 1280)
    picture[:90] = picture[-90:] = 0
    got = scores("border", [[encode(picture)]])[0]
    assert abs(got["letterbox"] - 0.25) < 0.02
    assert got["letterbox"] > load("border").bounds["letterbox"][1]


def test_blank_pages_and_nothing() -> None:
    text, _ = page(np.random.default_rng(0))
    got = scores("border", [[encode(flat(200))], [encode(text)], [], [b"?"], [encode(flat(200, 1, 1))]])
    assert got[0] == {"border": 1.0, "letterbox": 0.0}
    assert 0 < got[1]["border"] < 1
    assert got[1]["letterbox"] <= load("border").bounds["letterbox"][1]
    assert got[2] == {"border": None, "letterbox": None}
    assert np.isnan(got[3]["border"])
    assert got[4]["border"] == 1.0

"""64-bit perceptual hashes, used to make sure that clean pictures are not duplicates by accident.

The generator draws a clean picture again when it comes closer than `MIN_DISTANCE` bits to an earlier one in either hash,
so that whatever a perceptual filter with a radius of 8 bits calls a duplicate was planted. These are not the filter's
hashes (`filters/`): the generator must not share code with what it is there to test.
"""

import functools

import numpy as np
from PIL import Image

MIN_DISTANCE = 10


@functools.cache
def _cosines() -> np.ndarray:
    k, n = np.arange(8)[:, None], np.arange(32)[None, :]
    return np.cos(np.pi * (2 * n + 1) * k / 64)


def difference_hash(image: Image.Image) -> int:
    """Return dHash: is each of 8 x 8 cells brighter than its right neighbour?"""
    a = np.asarray(image.convert("L").resize((9, 8), Image.Resampling.LANCZOS), dtype=np.int16)
    return _pack(a[:, 1:] > a[:, :-1])


def frequency_hash(image: Image.Image) -> int:
    """Return pHash: the signs of the 8 x 8 lowest frequencies of a 32 x 32 thumbnail, against their median."""
    a = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.LANCZOS), dtype=np.float64)
    c = _cosines()
    d = c @ a @ c.T
    return _pack(d > np.median(d))


def _pack(bits: np.ndarray) -> int:
    return int.from_bytes(np.packbits(bits.ravel()).tobytes(), "big")


@functools.cache
def _ones() -> np.ndarray:
    return np.array([bin(i).count("1") for i in range(65536)], dtype=np.uint8)


def distances(one: int, others: np.ndarray) -> np.ndarray:
    """Return the number of differing bits between one hash and an array of uint64 hashes."""
    x = (others ^ np.uint64(one)).view(np.uint16).reshape(-1, 4)
    out: np.ndarray = _ones()[x].sum(axis=1, dtype=np.uint8)
    return out


def collisions(hashes: list[tuple[int, int]], radius: int = MIN_DISTANCE) -> list[int]:
    """Return the positions that come closer than `radius` to an earlier, accepted position in either hash."""
    out: list[int] = []
    d = np.zeros(len(hashes), dtype=np.uint64)
    p = np.zeros(len(hashes), dtype=np.uint64)
    n = 0
    for i, (dh, ph) in enumerate(hashes):
        if n and (distances(dh, d[:n]).min() < radius or distances(ph, p[:n]).min() < radius):
            out.append(i)
            continue
        d[n], p[n] = dh, ph
        n += 1
    return out

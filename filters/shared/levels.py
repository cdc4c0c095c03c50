"""How often each level occurs in a picture: histograms over the colour lattice (`filters/shared/planes.py`), for
several filters."""

import numpy as np

from filters.shared.planes import Cuts
from filters.shared.text import Array, kernel

LIGHTS = 1024
GREY = slice(0, 256)  # luma
COLOUR = slice(256, 1024)  # red, green, blue, end to end
LIGHT = slice(1024, 1024 + LIGHTS)  # perceived brightness, 0 to 1, in steps of 1 / (LIGHTS - 1)


def levels(cuts: Cuts) -> Array:
    """Measure: the counts of grey, of red, green and blue, and of perceived brightness (`GREY`, `COLOUR`, `LIGHT`)."""
    out = np.zeros((len(cuts), 1024 + LIGHTS), np.int32)
    _count(cuts.lattice.data, cuts.lattice.first, out)
    return out


def entropy(counts: Array) -> Array:
    """Return the Shannon entropy of each row of counts, in bits; NaN for a row of zeros."""
    total = counts.sum(1)
    steps = np.arange(int(total.max(initial=0)) + 1, dtype=np.float64)
    logs = steps * np.log2(np.maximum(steps, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        out: Array = np.log2(total) - logs[counts].sum(1) / total
    return np.where(total > 0, np.maximum(out, 0.0), np.nan)  # type: ignore[no-any-return]


def deviation(counts: Array) -> Array:
    """Return the standard deviation of the levels of each row of counts; NaN for a row of zeros."""
    total = counts.sum(1).astype(np.float64)
    at = np.arange(counts.shape[1], dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean, squares = (counts * at).sum(1) / total, (counts * (at * at)).sum(1) / total
    return np.sqrt(np.maximum(squares - mean * mean, 0.0))  # type: ignore[no-any-return]


def quantile(counts: Array, share: float) -> Array:
    """Return the first level of each row at or below which `share` of the counts lie; NaN for a row of zeros."""
    below = counts.cumsum(1)
    level = (below < np.ceil(share * below[:, -1:])).sum(1).astype(np.float64)
    return np.where(below[:, -1] > 0, level, np.nan)  # type: ignore[no-any-return]


@kernel
def _greys(pixels: Array, out: Array) -> None:
    for i in range(pixels.size):
        v = pixels[i]
        red = np.int32(v & np.uint32(255))
        green = np.int32((v >> np.uint32(8)) & np.uint32(255))
        blue = np.int32((v >> np.uint32(16)) & np.uint32(255))
        out[i] = (
            red * np.int32(19595) + green * np.int32(38470) + blue * np.int32(7471) + np.int32(0x8000)
        ) >> np.int32(16)


@kernel
def _lights(pixels: Array, out: Array) -> None:
    """Perceived brightness as CleanVision has it: the root of 0.241 r^2 + 0.691 g^2 + 0.068 b^2, over 255."""
    scale = np.float32(1023.0 / 255.0)
    for i in range(pixels.size):
        v = pixels[i]
        red = np.float32(np.int32(v & np.uint32(255)))
        green = np.float32(np.int32((v >> np.uint32(8)) & np.uint32(255)))
        blue = np.float32(np.int32((v >> np.uint32(16)) & np.uint32(255)))
        squares = red * red * np.float32(0.241) + green * green * np.float32(0.691) + blue * blue * np.float32(0.068)
        out[i] = np.int32(np.sqrt(squares) * scale + np.float32(0.5))


@kernel
def _count(data: Array, first: Array, out: Array) -> None:
    most = 0
    for k in range(len(first) - 1):
        most = max(most, first[k + 1] - first[k])
    greys = np.empty(most, np.int32)
    lights = np.empty(most, np.int32)
    # Two of each: neighbours are mostly of one level, and a count has to be written before it can be read again.
    other = np.empty(out.shape[1], np.int32)
    for k in range(len(first) - 1):
        pixels = data[first[k] : first[k + 1]]
        n = pixels.size
        _greys(pixels, greys[:n])
        _lights(pixels, lights[:n])
        mine = out[k]
        other[:] = 0
        for i in range(0, n - 1, 2):
            v = pixels[i]
            w = pixels[i + 1]
            mine[greys[i]] += 1
            other[greys[i + 1]] += 1
            mine[np.int32(256) + np.int32(v & np.uint32(255))] += 1
            other[np.int32(256) + np.int32(w & np.uint32(255))] += 1
            mine[np.int32(512) + np.int32((v >> np.uint32(8)) & np.uint32(255))] += 1
            other[np.int32(512) + np.int32((w >> np.uint32(8)) & np.uint32(255))] += 1
            mine[np.int32(768) + np.int32((v >> np.uint32(16)) & np.uint32(255))] += 1
            other[np.int32(768) + np.int32((w >> np.uint32(16)) & np.uint32(255))] += 1
            mine[np.int32(1024) + lights[i]] += 1
            other[np.int32(1024) + lights[i + 1]] += 1
        if n % 2:
            v = pixels[n - 1]
            mine[greys[n - 1]] += 1
            mine[np.int32(256) + np.int32(v & np.uint32(255))] += 1
            mine[np.int32(512) + np.int32((v >> np.uint32(8)) & np.uint32(255))] += 1
            mine[np.int32(768) + np.int32((v >> np.uint32(16)) & np.uint32(255))] += 1
            mine[np.int32(1024) + lights[n - 1]] += 1
        for j in range(mine.size):
            mine[j] += other[j]

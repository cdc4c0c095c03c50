"""How often each level occurs in a picture, and what follows: from histograms over the colour lattice
(`filters/shared/planes.py`), for several filters.
"""

import functools
from typing import Any

import numpy as np

from filters.shared.planes import POINTS, Cuts
from filters.shared.text import Array, inlined, kernel

LIGHTS = 1024  # steps of perceived brightness
# The columns of `levels`.
ENTROPY, DEVIATION, INFORMATION, GREY_1, GREY_99, LIGHT_5, LIGHT_99 = range(7)


def levels(cuts: Cuts) -> Array:
    """Measure: entropy and standard deviation of grey, entropy of red, green and blue counted together, in bits and levels;
    the levels at or below which 1 % and 99 % of the grey and 5 % and 99 % of the brightness (0 to 1) lie.
    """
    out = np.zeros((len(cuts), 7))
    _levels(cuts.lattice.data, cuts.lattice.first, _logs(), out)
    return out


@functools.cache
def _logs() -> Array:
    """Return n log2(n) for every count of points."""
    n = np.arange(POINTS + 1, dtype=np.float64)
    return np.asarray(n * np.log2(np.maximum(n, 1)))


@kernel
def _levels(data: Array, first: Array, logs: Array, out: Array) -> None:
    counts = np.zeros((1, 1024 + LIGHTS), np.int32)
    for k in range(len(first) - 1):
        counts[:] = 0
        _count(data, first[k : k + 2], counts)
        grey = counts[0, :256]
        colour = counts[0, 256:1024]
        light = counts[0, 1024:]
        n = first[k + 1] - first[k]
        total = np.int64(0)
        squares = np.int64(0)
        bits = 0.0
        for v in range(256):
            c = np.int64(grey[v])
            total += c * v
            squares += c * v * v
            bits += logs[c]
        out[k, 0] = max(np.log2(n) - bits / n, 0.0)
        out[k, 1] = np.sqrt(np.float64(n * squares - total * total)) / n
        bits = 0.0
        for v in range(768):
            c = colour[v]
            if c > 0:
                bits += logs[c]
        out[k, 2] = max(np.log2(3 * n) - bits / (3 * n), 0.0)
        out[k, 3] = _quantile(grey, n, 0.01)
        out[k, 4] = _quantile(grey, n, 0.99)
        out[k, 5] = _quantile(light, n, 0.05) / (LIGHTS - 1.0)
        out[k, 6] = _quantile(light, n, 0.99) / (LIGHTS - 1.0)


@kernel
def _quantile(counts: Array, n: int, share: float) -> float:
    """Return the first level at or below which `share` of the counts lie."""
    wanted = np.ceil(share * n)
    below = 0
    for level in range(counts.size):
        below += counts[level]
        if below >= wanted:
            return np.float64(level)
    return np.float64(counts.size - 1)


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
            _one(mine, pixels[i], greys[i], lights[i])
            _one(other, pixels[i + 1], greys[i + 1], lights[i + 1])
        if n % 2:
            _one(mine, pixels[n - 1], greys[n - 1], lights[n - 1])
        for j in range(mine.size):
            mine[j] += other[j]


@inlined
def _one(counts: Array, pixel: Any, grey: Any, light: Any) -> None:
    # Unsigned: numba looks whether other indices are below zero.
    v = np.uint64(pixel)
    counts[np.uint64(grey)] += np.int32(1)
    counts[np.uint64(256) + (v & np.uint64(255))] += np.int32(1)
    counts[np.uint64(512) + ((v >> np.uint64(8)) & np.uint64(255))] += np.int32(1)
    counts[np.uint64(768) + ((v >> np.uint64(16)) & np.uint64(255))] += np.int32(1)
    counts[np.uint64(1024) + np.uint64(light)] += np.int32(1)

"""Near neighbours among unit vectors, as stars: in an order of preference, a sample joins the sample before it that is most
similar to it and no member of a star itself, where their similarity suffices; otherwise it becomes the centre of a star.

Hence every member is similar to its centre, and no two centres that were compared are similar. What is compared is decided
by the caller (all samples of one k-means cluster). Memory is that of a few blocks, whatever the number of samples.

Matrix products only find candidates; whether two samples are similar is then computed term by term in float64, so it does not
depend on how a library multiplies matrices of this or that shape, on how many threads, or on which device.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from filters.shared.device import multiply
from filters.shared.text import Array, kernel, starts

BLOCK = 512  # samples that are settled at one go
CENTRES = 4096  # centres that these are compared with at one go
SLACK = 1e-4  # by which a float32 product of unit vectors may be wrong; seen: 4e-7
ROUNDING = 5e-7  # similarities are given to six decimals, and decided so

Product = Callable[[Array, Array], Array]
"""From (n, d) and (m, d) to the n x m products of rows."""
Take = Callable[[Array], Array]
"""From places to their vectors, the parts of each side by side; each part has length 1, or 0 (similar to nothing)."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Columns of a row that are one vector, and the least cosine of similar ones."""

    begin: int
    end: int
    least: float


@kernel
def _similarity(x: Array, y: Array, edges: Array, least: Array) -> float:
    """Return the smallest cosine of two samples' parts; -2 where one of them is too small."""
    low = 1.0
    for p in range(len(least)):
        s = 0.0
        for c in range(edges[p, 0], edges[p, 1]):
            s += np.float64(x[c]) * np.float64(y[c])
        if s < least[p] - ROUNDING:
            return -2.0
        low = min(low, s)
    return low


@kernel
def _against(gap: Array, x: Array, y: Array, at: Array, edges: Array, least: Array, best: Array, centre: Array) -> None:
    """Give every row of `x` the most similar centre among `y`, whose places are `at`, where it beats the one that it has."""
    for i in range(len(x)):
        for j in range(len(y)):
            if gap[i, j] >= -SLACK:
                s = _similarity(x[i], y[j], edges, least)
                if s > best[i]:
                    best[i] = s
                    centre[i] = at[j]


@kernel
def _within(gap: Array, x: Array, at: Array, edges: Array, least: Array, best: Array, centre: Array) -> None:
    """The same among the rows of a block themselves, whose places are `at`: those without a centre become one, in order."""
    for i in range(len(x)):
        for j in range(i):
            if gap[i, j] >= -SLACK and centre[j] == at[j]:
                s = _similarity(x[i], x[j], edges, least)
                if s > best[i]:
                    best[i] = s
                    centre[i] = at[j]
        if best[i] < -1.0:
            centre[i] = at[i]


def _gap(x: Array, y: Array, parts: Sequence[Part], product: Product) -> Array:
    """Return by how much the cosines exceed what is needed; of several parts the smallest."""
    out: Array | None = None
    for p in parts:
        if out is not None and not (out >= -SLACK).any():
            break
        one = product(np.ascontiguousarray(x[:, p.begin : p.end]), np.ascontiguousarray(y[:, p.begin : p.end]))
        one -= np.float32(p.least)
        out = one if out is None else np.minimum(out, one, out=out)
    assert out is not None
    return out


def _limits(parts: Sequence[Part]) -> tuple[Array, Array]:
    return np.array([[p.begin, p.end] for p in parts], np.int64), np.array([p.least for p in parts], np.float64)


def stars(n: int, take: Take, parts: Sequence[Part], product: Product = multiply) -> tuple[Array, Array]:
    """Return the place of the centre of each of `n` samples, most preferred first, and the similarity to it (1 for a centre)."""
    edges, least = _limits(parts)
    centre, best = np.full(n, -1, np.int64), np.full(n, -2.0)
    centres = np.empty(n, np.int64)
    used = 0
    for begin in range(0, n, BLOCK):
        at = np.arange(begin, min(begin + BLOCK, n))
        x = take(at)
        one, two = best[begin : begin + BLOCK], centre[begin : begin + BLOCK]
        for k in range(0, used, CENTRES):
            some = centres[k : min(k + CENTRES, used)]
            y = take(some)
            _against(_gap(x, y, parts, product), x, y, some, edges, least, one, two)
        _within(_gap(x, x, parts, product), x, at, edges, least, one, two)
        fresh = at[two == at]
        centres[used : used + len(fresh)] = fresh
        used += len(fresh)
    return centre, np.where(centre == np.arange(n), 1.0, np.clip(best, 0.0, 1.0))


@kernel
def _pairs(x: Array, y: Array, a: Array, b: Array, edges: Array, least: Array) -> Array:
    out = np.empty(len(a), np.float64)
    for k in range(len(a)):
        out[k] = _similarity(x[a[k]], y[b[k]], edges, least)
    return out


@kernel
def _cosines(x: Array, y: Array, at: Array) -> Array:
    out = np.zeros(len(x), np.float64)
    for k in range(len(x)):
        for c in range(x.shape[1]):
            out[k] += np.float64(x[k, c]) * np.float64(y[at[k], c])
    return out


def cosines(x: Array, y: Array, at: Array) -> Array:
    """Return the product of each row of `x` with the row `at` of `y`, added up term by term."""
    out: Array = _cosines(x, y, np.ascontiguousarray(at))
    return out


def similarities(take: Take, a: Array, b: Array, parts: Sequence[Part]) -> Array:
    """Return the similarity of each pair of places; -2 where they are not similar."""
    edges, least = _limits(parts)
    out = np.empty(len(a), np.float64)
    for k in range(0, len(a), CENTRES):
        some = np.arange(len(a[k : k + CENTRES]))
        out[k : k + CENTRES] = _pairs(take(a[k : k + CENTRES]), take(b[k : k + CENTRES]), some, some, edges, least)
    return out


@kernel
def _found(gap: Array, x: Array, y: Array, edges: Array, least: Array) -> tuple[Array, Array, Array]:
    n = 0
    for i in range(len(x)):
        for j in range(len(y)):
            n += gap[i, j] >= -SLACK
    a, b, s = np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n, np.float64)
    n = 0
    for i in range(len(x)):
        for j in range(len(y)):
            if gap[i, j] >= -SLACK:
                a[n], b[n] = i, j
                s[n] = _similarity(x[i], y[j], edges, least)
                n += s[n] > -2.0
    return a[:n].copy(), b[:n].copy(), s[:n].copy()


def across(
    take: Take, ours: Array, others: Array, parts: Sequence[Part], product: Product = multiply
) -> tuple[Array, ...]:
    """Return (place among `ours`, place among `others`, similarity) of all similar pairs."""
    edges, least = _limits(parts)
    found = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))]
    for i in range(0, len(others), BLOCK):
        x = take(others[i : i + BLOCK])
        for k in range(0, len(ours), CENTRES):
            y = take(ours[k : k + CENTRES])
            b, a, s = _found(_gap(x, y, parts, product), x, y, edges, least)
            found.append((ours[k + a], others[i + b], s))
    return tuple(np.concatenate(c) for c in zip(*found, strict=True))


@kernel
def _joined(first: Array, last: Array, similarity: Array, fits: Array, n: int) -> Array:
    """Return the edge by which each of `n` centres joins another, or -1. Edges are in order of `last`, the later of the two."""
    by = np.full(n, -1, np.int64)
    for e in range(len(first)):
        if fits[e] and by[first[e]] < 0:
            old = by[last[e]]
            if (
                old < 0
                or similarity[e] > similarity[old]
                or (similarity[e] == similarity[old] and first[e] < first[old])
            ):
                by[last[e]] = e
    return by


def joined(
    centre: Array, similarity: Array, order: Array, edges: tuple[Array, Array, Array], take: Take, parts: Sequence[Part]
) -> None:
    """Let centres join similar ones that come before them in `order` (the rank of each place), with all of their stars.

    A centre whose star has a member that is not similar to the other one stays. `centre` and `similarity` are changed.
    """
    a, b, s = edges
    swap = order[a] > order[b]
    first, last = np.where(swap, b, a), np.where(swap, a, b)
    pair = np.lexsort((order[first], order[last]))
    once = np.ones(len(pair), bool)
    once[1:] = (np.diff(first[pair]) != 0) | (np.diff(last[pair]) != 0)
    first, last, s = first[pair][once], last[pair][once], s[pair][once]
    # The members of the stars that would move, each with the centre that it would move to.
    members = np.flatnonzero(centre != np.arange(len(centre)))
    members = members[np.argsort(centre[members], kind="stable")]
    begin, end = (np.searchsorted(centre[members], last, side) for side in ("left", "right"))
    count = end - begin
    edge = np.repeat(np.arange(len(first)), count)
    moved = members[np.arange(len(edge)) + np.repeat(begin - starts(count)[:-1], count)]
    share = similarities(take, moved, first[edge], parts)
    fits = np.ones(len(first), bool)
    fits[edge[share < -1]] = False
    by = _joined(first, last, s, fits, len(centre))
    gone = np.flatnonzero(by >= 0)
    centre[gone], similarity[gone] = first[by[gone]], s[by[gone]]
    goes = by[last[edge]] == edge
    centre[moved[goes]], similarity[moved[goes]] = first[edge[goes]], share[goes]

"""`ctr-perm/1`: from a position in the mixture to (component, epoch, index), as a pure function. docs/mixtures.md has the rule.

Components are interleaved by deadline: draw j of a component that is drawn n times is due at (2j + 1) / 2n of the way.
Whoever is due first goes first; ties fall to the component that stands first. No draw is ever more than a few positions
from where its share would put it, and the draw at any position is found without replaying those before.
Within a component, each epoch is a permutation keyed by (seed, component, epoch): a Feistel network, so it takes no memory.
"""

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from catalog.errors import UserError

SAMPLER = "ctr-perm/1"
MAX_DRAWS = 2**30  # products of two counts must fit into 64 bits
ROUNDS = 8
BLOCK = 4096

Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Draws:
    """Where positions lead: `component` numbers components in the order of the lock, `index` rows of its members."""

    component: Ints
    epoch: Ints
    index: Ints


def mix64(x: Words) -> Words:
    """Return the finaliser of splitmix64 of each word: a bijection of 64 bits that leaves no visible pattern."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@functools.lru_cache(maxsize=4096)
def _keys(seed: int, component: str, epoch: int) -> tuple[np.uint64, ...]:
    raw = hashlib.sha512(f"{SAMPLER}\0{seed}\0{component}\0{epoch}".encode()).digest()
    return tuple(np.uint64(int.from_bytes(raw[8 * r : 8 * r + 8], "big")) for r in range(ROUNDS))


def permute(draws: Ints, size: int, *, seed: int, component: str, epoch: int) -> Ints:
    """Return where the keyed permutation of 0..size-1 sends each of `draws`."""
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    bits, mask = np.uint64(half), np.uint64((1 << half) - 1)
    keys = _keys(seed, component, epoch)
    out = draws.astype(np.uint64)
    todo = np.arange(len(out))
    while len(todo):
        left, right = out[todo] >> bits, out[todo] & mask
        for key in keys:
            left, right = right, left ^ (mix64(right + key) & mask)
        # The network permutes 4^half >= size numbers. Walking on from those >= size stays a permutation of the others.
        out[todo] = value = (left << bits) | right
        todo = todo[value >= size]
    return out.astype(np.int64)


@dataclass(frozen=True)
class Order:
    """The order of a whole mixture. `names`, `sizes` (rows) and `takes` (draws) are per component, in the lock's order."""

    seed: int
    names: tuple[str, ...]
    sizes: tuple[int, ...]
    takes: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.total > MAX_DRAWS:
            msg = f"a mixture of {self.total:,} draws is too long: the sampler {SAMPLER} goes up to {MAX_DRAWS:,}"
            raise UserError(msg, hint="lower the budget or lock it as several mixtures")

    @functools.cached_property
    def total(self) -> int:
        """How many positions there are."""
        return sum(self.takes)

    def interleave(self, first: int, last: int) -> tuple[Ints, Ints]:
        """Return (component, draw) of positions first..last-1: which component, and its how-manieth draw."""
        takes, total, n = np.array(self.takes, np.int64), self.total, len(self.takes)
        # A component's count at time t/total is its share of t rounded, so all counts together are off by at most n/2:
        # every draw of these positions is due between these two times.
        begin = np.clip((2 * max(0, first - n) * takes + total - 1) // (2 * total), 0, takes)
        end = np.clip((2 * min(total + n, last + n) * takes + total - 1) // (2 * total), 0, takes)
        counts = end - begin
        component = np.repeat(np.arange(n), counts)
        draw = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts - begin, counts)
        due, own = (2 * draw + 1)[:, None], takes[component][:, None]
        # How many draws of each component are due before this one: strictly before, or at the same time and standing first.
        early = np.arange(n)[None, :] < component[:, None]
        before = np.where(early, (due * takes + own) // (2 * own), (due * takes + own - 1) // (2 * own))
        before[np.arange(len(draw)), component] = draw
        position = before.sum(axis=1) - first
        inside = (position >= 0) & (position < last - first)
        out_component, out_draw = np.empty(last - first, np.int64), np.empty(last - first, np.int64)
        out_component[position[inside]], out_draw[position[inside]] = component[inside], draw[inside]
        return out_component, out_draw

    def resolve(self, positions: npt.ArrayLike) -> Draws:
        """Return (component, epoch, index) of every position, in the order asked."""
        wanted = np.asarray(positions, np.int64)
        if wanted.size and (wanted.min() < 0 or wanted.max() >= self.total):
            msg = f"position {int(wanted.min() if wanted.min() < 0 else wanted.max())} is not in 0..{self.total - 1}"
            raise IndexError(msg)
        component, draw = np.empty(len(wanted), np.int64), np.empty(len(wanted), np.int64)
        for rows, first, last in _runs(wanted):
            c, j = self.interleave(first, last)
            component[rows], draw[rows] = c[wanted[rows] - first], j[wanted[rows] - first]
        sizes = np.array(self.sizes, np.int64)[component]
        epoch, within = draw // sizes, draw % sizes
        index = np.empty(len(wanted), np.int64)
        for c in np.unique(component):
            mine = np.flatnonzero(component == c)
            for e in np.unique(epoch[mine]):
                rows = mine[epoch[mine] == e]
                index[rows] = permute(
                    within[rows], self.sizes[c], seed=self.seed, component=self.names[c], epoch=int(e)
                )
        return Draws(component, epoch, index)


def _runs(positions: Ints) -> list[tuple[Ints, int, int]]:
    """Cut positions into groups that lie close together: (rows of `positions`, first position, last position + 1)."""
    if not len(positions):
        return []
    by_position = np.argsort(positions, kind="stable")
    ordered = positions[by_position]
    cut = np.flatnonzero((np.diff(ordered) > 64) | (np.diff(ordered // BLOCK) > 0)) + 1
    return [(rows, int(positions[rows[0]]), int(positions[rows[-1]]) + 1) for rows in np.split(by_position, cut)]


def draw_costs(costs: Ints, *, seed: int, component: str, epoch: int) -> Ints:
    """Return what the draws of one epoch cost together: entry i is the cost of its first i + 1 draws."""
    size = len(costs)
    order = permute(np.arange(size), size, seed=seed, component=component, epoch=epoch)
    return np.cumsum(costs[order])


def cost_of(costs: Ints, draws: int, *, seed: int, component: str) -> int:
    """Return what the first `draws` draws of a component cost."""
    epoch, rest = divmod(draws, len(costs))
    whole = epoch * int(costs.sum())
    return whole + (int(draw_costs(costs, seed=seed, component=component, epoch=epoch)[rest - 1]) if rest else 0)


def draws_within(costs: Ints, most: int, *, seed: int, component: str) -> int:
    """Return how many draws of a component cost at most `most` together; no draws that add nothing at the end."""
    epoch, rest = divmod(most, int(costs.sum()))
    if not rest:
        return epoch * len(costs)
    spent = draw_costs(costs, seed=seed, component=component, epoch=epoch)
    fit = int(np.searchsorted(spent, rest, side="right"))
    if fit == 0 or spent[fit - 1] == 0:
        return epoch * len(costs)
    return epoch * len(costs) + int(np.searchsorted(spent, spent[fit - 1], side="left")) + 1


def split_hash(digests: Sequence[str], salt: str) -> Words:
    """Return 64 bits per sample, from its digest and a salt alone."""
    key = np.uint64(int.from_bytes(hashlib.sha256(f"hash-of-digest\0{salt}".encode()).digest()[:8], "big"))
    raw = np.frombuffer(b"".join(bytes.fromhex(d[:16]) for d in digests), dtype=">u8").astype(np.uint64)
    return mix64(raw ^ key)


__all__ = [
    "BLOCK", "MAX_DRAWS", "SAMPLER", "Draws", "Order", "cost_of", "draws_within", "mix64", "permute", "split_hash",
]  # fmt: skip

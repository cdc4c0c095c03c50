import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.errors import UserError
from mixtures.order import MAX_DRAWS, Order, cost_of, draws_within, permute

TAKES = st.lists(st.integers(0, 60), min_size=1, max_size=6).filter(any)


def order(takes: list[int], sizes: list[int] | None = None, seed: int = 3) -> Order:
    return Order(seed, tuple(f"c{i}" for i in range(len(takes))), tuple(sizes or [7] * len(takes)), tuple(takes))


@settings(deadline=None)
@given(TAKES)
def test_interleaving_is_the_order_of_the_deadlines(takes: list[int]) -> None:
    # The rule as docs/mixtures.md states it, spelled out: sort all draws by (deadline, component).
    from fractions import Fraction

    due = sorted((Fraction(2 * j + 1, 2 * n), c, j) for c, n in enumerate(takes) for j in range(n))
    o = order(takes)
    c, j = o.interleave(0, o.total)
    assert list(zip(c.tolist(), j.tolist(), strict=True)) == [(c, j) for _, c, j in due]


@settings(deadline=None)
@given(TAKES, st.data())
def test_any_position_alone_as_in_the_whole(takes: list[int], data: st.DataObject) -> None:
    o = order(takes, [1 + i for i in range(len(takes))])
    whole = o.resolve(np.arange(o.total))
    asked = np.array(data.draw(st.lists(st.integers(0, o.total - 1), min_size=1, max_size=20)))
    some = o.resolve(asked)
    assert np.array_equal(some.component, whole.component[asked])
    assert np.array_equal(some.epoch, whole.epoch[asked])
    assert np.array_equal(some.index, whole.index[asked])
    for i in asked[:3]:
        one = o.resolve([i])
        assert (one.component[0], one.index[0]) == (whole.component[i], whole.index[i])


@settings(deadline=None)
@given(TAKES)
def test_every_epoch_is_complete_before_the_next(takes: list[int]) -> None:
    o = order(takes, [5] * len(takes))
    d = o.resolve(np.arange(o.total))
    for c, n in enumerate(takes):
        mine = d.component == c
        assert mine.sum() == n
        seen = np.bincount(d.index[mine], minlength=5)
        assert seen.max(initial=0) - seen.min() <= 1
        assert np.all(np.diff(d.epoch[mine]) >= 0)


@settings(deadline=None)
@given(TAKES)
def test_no_component_is_ever_far_from_its_share(takes: list[int]) -> None:
    o = order(takes)
    c, _ = o.interleave(0, o.total)
    at = np.arange(1, o.total + 1)
    for i, n in enumerate(takes):
        assert np.abs(np.cumsum(c == i) - at * n / o.total).max() <= 1 + len(takes) / 2


@settings(deadline=None)
@given(st.integers(1, 3000), st.integers(0, 2**53 - 1), st.integers(0, 9))
def test_a_permutation_is_one(size: int, seed: int, epoch: int) -> None:
    out = permute(np.arange(size), size, seed=seed, component="a", epoch=epoch)
    assert np.array_equal(np.sort(out), np.arange(size))


def test_permutations_differ_by_key_and_look_random() -> None:
    size = 10_000
    base = permute(np.arange(size), size, seed=1, component="a", epoch=0)
    for seed, component, epoch in ((2, "a", 0), (1, "b", 0), (1, "a", 1)):
        other = permute(np.arange(size), size, seed=seed, component=component, epoch=epoch)
        assert (base == other).sum() < 20
    assert abs(np.corrcoef(np.arange(size), base)[0, 1]) < 0.04
    # Neighbours land far apart: the mean distance of two random numbers below n is n / 3.
    assert abs(np.abs(np.diff(base)).mean() / size - 1 / 3) < 0.01


def test_the_rule_is_pinned() -> None:
    """These numbers are `ctr-perm/1`. A change here is another sampler, with another name."""
    assert permute(np.arange(10), 10, seed=7, component="prose", epoch=0).tolist() == PINNED
    o = Order(7, ("a", "b", "c"), (5, 3, 2), (6, 3, 1))
    d = o.resolve(np.arange(10))
    assert d.component.tolist() == [0, 1, 0, 0, 1, 2, 0, 0, 1, 0]
    assert d.index.tolist() == [4, 1, 3, 1, 2, 0, 2, 0, 0, 3]


PINNED = [9, 8, 4, 7, 1, 2, 3, 0, 5, 6]


def test_large_mixtures_resolve_at_once_and_too_large_ones_are_refused() -> None:
    big = order([10**9, 7 * 10**7, 1], [10**9, 10**6, 1])
    d = big.resolve([0, 123_456_789, big.total - 1])
    c, _ = big.interleave(big.total - 5000, big.total)
    assert c[-1] == d.component[2] == 0
    assert set(big.interleave(big.total // 2 - 50, big.total // 2 + 50)[0]) == {0, 1, 2}
    with pytest.raises(UserError, match="too long"):
        order([MAX_DRAWS, 1])
    with pytest.raises(IndexError):
        order([3]).resolve([3])


@settings(deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=30).filter(any), st.integers(0, 400))
def test_costs_of_draws(costs: list[int], most: int) -> None:
    array = np.array(costs)
    draws = draws_within(array, most, seed=1, component="a")
    spent = cost_of(array, draws, seed=1, component="a")
    assert spent <= most
    assert draws == 0 or draws % len(array) == 0 or cost_of(array, draws - 1, seed=1, component="a") < spent
    more = next(d for d in range(draws + 1, draws + 100) if cost_of(array, d, seed=1, component="a") > spent)
    assert cost_of(array, more, seed=1, component="a") > most

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.stats import bootstrap, holm, paired, sign_flip, t_cdf, t_quantile


def simulate(
    rng: np.random.Generator, seeds: int, items: int, *, by_seed: float, by_item: float, noise: float
) -> np.ndarray:
    return (
        rng.normal(0, by_seed, (seeds, 1)) + rng.normal(0, by_item, (1, items)) + rng.normal(0, noise, (seeds, items))
    )


@pytest.mark.parametrize(
    ("x", "freedom", "want"),
    [(2.0, 2, 0.9082483), (0.0, 5, 0.5), (-1.0, 10, 0.1704466), (4.302653, 2, 0.975), (1.959964, 1e7, 0.975)],
)
def test_t_distribution(x: float, freedom: float, want: float) -> None:
    assert t_cdf(x, freedom) == pytest.approx(want, abs=1e-6)


@pytest.mark.parametrize(("p", "freedom", "want"), [(0.975, 2, 4.302653), (0.975, 4, 2.776445), (0.025, 9, -2.262157)])
def test_t_quantile(p: float, freedom: float, want: float) -> None:
    assert t_quantile(p, freedom) == pytest.approx(want, abs=1e-5)


@pytest.mark.parametrize(
    ("seeds", "by_seed", "by_item", "noise"),
    [(3, 0.0, 1.0, 1.0), (3, 1.0, 1.0, 1.0), (5, 1.0, 0.5, 0.5), (3, 0.2, 1.0, 0.5)],
)
def test_coverage_is_about_nominal(seeds: int, by_seed: float, by_item: float, noise: float) -> None:
    rng = np.random.default_rng(7)
    runs, hit = 400, 0
    for _ in range(runs):
        d = simulate(rng, seeds, 60, by_seed=by_seed, by_item=by_item, noise=noise)
        found = bootstrap(d, replicates=400, seed=1)
        hit += found.low <= 0 <= found.high
    # 0.95 +- 0.033 is three standard errors of 400 draws; more than nominal is the safe side
    assert 0.91 <= hit / runs <= 1.0


def test_a_plain_difference_is_found_and_same_seed_gives_same_interval() -> None:
    d = simulate(np.random.default_rng(0), 3, 200, by_seed=0.02, by_item=0.3, noise=0.3) - 0.5
    a, b = bootstrap(d, seed=3), bootstrap(d, seed=3)
    assert a == b
    assert a.clear
    assert a.high < 0
    assert a.p < 0.01
    assert a.low < a.mean < a.high
    assert a.mean == pytest.approx(d.mean())


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.integers(1, 20), st.floats(-3, 3), st.floats(0.1, 5))
def test_interval_holds_the_mean_and_moves_with_shift_and_scale(
    seeds: int, items: int, shift: float, scale: float
) -> None:
    d = np.random.default_rng(seeds * 100 + items).normal(size=(seeds, items))
    a, b = bootstrap(d, replicates=200), bootstrap(d * scale + shift, replicates=200)
    assert a.low - 1e-9 <= a.mean <= a.high + 1e-9
    assert b.low == pytest.approx(a.low * scale + shift, abs=1e-6)
    assert b.high == pytest.approx(a.high * scale + shift, abs=1e-6)


def test_tasks_count_the_same_whatever_their_size() -> None:
    d = np.array([[1.0] * 9 + [0.0]] * 3)
    assert bootstrap(d).mean == pytest.approx(0.9)
    assert bootstrap(d, strata=["a"] * 9 + ["b"]).mean == pytest.approx(0.5)


def test_degenerate_inputs() -> None:
    zero = bootstrap(np.zeros((3, 5)))
    assert (zero.mean, zero.low, zero.high, zero.p) == (0, 0, 0, 1)
    with pytest.raises(ValueError, match="finite"):
        bootstrap(np.array([[np.nan]]))
    with pytest.raises(ValueError, match="shape"):
        bootstrap(np.zeros((0, 3)))


def test_paired_keeps_what_both_measured_at_every_seed() -> None:
    left = {(s, i): 1.0 for s in (1, 2) for i in "abc"}
    right = {(s, i): 0.5 for s in (1, 2) for i in "abd"} | {(1, "c"): 0.0}
    d, seeds, items = paired(left, right)
    assert (seeds, items) == ([1, 2], ["a", "b"])
    assert (d == 0.5).all()
    with pytest.raises(ValueError, match="no item"):
        paired(left, {(9, "z"): 1.0})


def test_holm() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})
    assert holm({}) == {}
    assert holm({"a": 0.9, "b": 0.9}) == {"a": 1.0, "b": 1.0}


def test_sign_flip() -> None:
    assert sign_flip(np.full((3, 20), 1.0)) < 0.001
    assert sign_flip(np.tile([1.0, -1.0], (3, 10))) > 0.5

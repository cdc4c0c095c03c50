"""Paired differences between two arms, and how sure they are.

The data are paired twice: both arms train from the same seeds, and both are measured on the same held-out items. So the unit is
the difference d[seed, item] = left - right. Two things vary: which seed one happened to train with, and which items one
happened to hold out. The hierarchical bootstrap (Davison & Hinkley 1997, section 3.8; Saravanan et al. 2020,
arXiv 2007.07797) resamples both: first seeds with replacement, then items with replacement.

One set of items is drawn per replicate and shared by all of its seeds: the items are crossed with seeds (each seed is measured on
the same ones), not nested in them, and drawing them anew for each seed would average away the variation between items.

With few seeds (3 to 5) a plain percentile interval is too narrow: resampled seed means vary by (n - 1) / n of the true
variance, and the normal quantile ignores that the variance itself is a guess. The centred replicates are therefore stretched by
sqrt(n / (n - 1)) * t / z with n - 1 degrees of freedom, as much as the seeds contribute to the variance (Hesterberg 2015,
"What Teachers Should Know about the Bootstrap", section 3.2). `tests/trainer/test_stats.py` measures the coverage.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

REPLICATES = 10_000


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean paired difference with its confidence interval."""

    mean: float
    low: float
    high: float
    error: float  # standard error, seeds and items together
    p: float  # two-sided, from the same t reference as the interval
    seeds: int
    items: int
    mde: float  # smallest true difference that this design would find with power 0.8

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def paired(
    left: Mapping[tuple[int, str], float], right: Mapping[tuple[int, str], float]
) -> tuple[Array, list[int], list[str]]:
    """Return (differences [seeds, items], seeds, items) over what both sides measured at every seed.

    Raises `ValueError` when nothing is left: arms that share no item or no seed cannot be compared.
    """
    common = left.keys() & right.keys()
    seeds = sorted({s for s, _ in common})
    items = sorted({i for _, i in common if all((s, i) in common for s in seeds)})
    if not items:
        msg = "the two arms share no item that was measured at every seed"
        raise ValueError(msg)
    table = [[left[s, i] - right[s, i] for i in items] for s in seeds]
    return np.array(table, np.float64), seeds, items


def t_quantile(probability: float, freedom: float) -> float:
    """Return the quantile of Student's t by bisection of its distribution function (no scipy in the trainer's light set)."""
    if probability < 0.5:
        return -t_quantile(1 - probability, freedom)
    low, high = 0.0, 1.0
    while t_cdf(high, freedom) < probability and high < 1e12:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if t_cdf(middle, freedom) < probability else (low, middle)
    return (low + high) / 2


def t_cdf(x: float, freedom: float) -> float:
    """Return P(T <= x) for Student's t, by the regularised incomplete beta function."""
    if math.isinf(x):
        return 1.0 if x > 0 else 0.0
    tail = 0.5 * _incomplete_beta(freedom / (freedom + x * x), freedom / 2, 0.5)
    return 1 - tail if x >= 0 else tail


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """Return I_x(a, b) by Lentz's continued fraction (Abramowitz & Stegun 26.5.8)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _incomplete_beta(1 - x, b, a)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)) / a
    tiny = 1e-300
    c, d = 1.0, 1 / max(1 - (a + b) * x / (a + 1), tiny)
    value = d
    for m in range(1, 300):
        for step in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / (_away(1 + step * d, tiny))
            c = _away(1 + step / c, tiny)
            value *= c * d
        if abs(c * d - 1) < 1e-14:
            break
    return front * value


def _away(x: float, tiny: float) -> float:
    return tiny if abs(x) < tiny else x


def bootstrap(
    differences: Array,
    *,
    strata: Sequence[str] | None = None,
    confidence: float = 0.95,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Interval:
    """Return the mean of `differences` [seeds, items] with its hierarchical bootstrap interval.

    `strata` names each item's task; given, the mean is the mean over tasks of the mean over items (a task counts the same
    whether it has 20 items or 200), and items are resampled within their task.
    """
    d = np.asarray(differences, np.float64)
    if d.ndim != 2 or 0 in d.shape or not np.isfinite(d).all():
        msg = f"expected finite differences [seeds, items], got shape {d.shape}" + (
            " with NaN" if d.ndim == 2 and d.size else ""
        )
        raise ValueError(msg)
    S, N = d.shape
    names = np.asarray(strata if strata is not None else [""] * N)
    if len(names) != N:
        msg = f"expected {N} strata, got {len(names)}"
        raise ValueError(msg)
    groups = [np.flatnonzero(names == g) for g in sorted(set(names.tolist()))]
    # Weight of each item in the mean: equal tasks, equal items within a task.
    base = np.zeros(N)
    for g in groups:
        base[g] = 1 / (len(groups) * len(g))
    rng = np.random.default_rng(seed)
    means = np.empty(replicates)
    block = max(1, 4_000_000 // N)
    for start in range(0, replicates, block):
        count = min(block, replicates - start)
        weights = np.empty((count, N))
        for g in groups:
            drawn = rng.multinomial(len(g), np.full(len(g), 1 / len(g)), size=count)
            weights[:, g] = drawn / (len(groups) * len(g))
        picked = rng.multinomial(S, np.full(S, 1 / S), size=count) / S if S > 1 else np.ones((count, 1))
        means[start : start + count] = np.einsum("rs,rs->r", picked, weights @ d.T)
    mean = float((d @ base).mean())
    by_seed = d @ base
    seed_variance = float(by_seed.var(ddof=1)) / S if S > 1 else 0.0
    spread = float(means.var(ddof=1))
    # Widen the part that comes from the seeds: from variance / n to variance / (n - 1), then from z to t. Degrees of freedom by
    # Welch and Satterthwaite, so that items (many) pull towards z and seeds (few) towards t.
    item_variance = max(spread - seed_variance * (S - 1) / S, 0.0) if S > 1 else spread
    error = math.sqrt(seed_variance + item_variance)
    freedom = _freedom(seed_variance, S, item_variance, N)
    alpha = 1 - confidence
    stretch = 1.0
    if spread > 0:
        stretch = error / math.sqrt(spread) * t_quantile(1 - alpha / 2, freedom) / NormalDist().inv_cdf(1 - alpha / 2)
    low, high = np.quantile(means, [alpha / 2, 1 - alpha / 2])
    p = 2 * (1 - t_cdf(abs(mean) / error, freedom)) if error > 0 else float(mean == 0)
    return Interval(
        mean=mean,
        low=mean + (float(low) - mean) * stretch,
        high=mean + (float(high) - mean) * stretch,
        error=error,
        p=min(1.0, p),
        seeds=S,
        items=N,
        mde=(t_quantile(1 - alpha / 2, freedom) + t_quantile(0.8, freedom)) * error,
    )


def _freedom(seed_variance: float, seeds: int, item_variance: float, items: int) -> float:
    total = seed_variance + item_variance
    if total == 0:
        return float(max(seeds * items - 1, 1))
    below = item_variance**2 / max(items - 1, 1) + (seed_variance**2 / (seeds - 1) if seeds > 1 else 0.0)
    return max(1.0, total**2 / below) if below else 1e6


def sign_flip(differences: Array, *, replicates: int = REPLICATES, seed: int = 0) -> float:
    """Return the two-sided p-value of "the arms are exchangeable on each item", by flipping signs of item means.

    It speaks of these seeds only: it does not generalise over seeds as the interval does.
    """
    means = np.asarray(differences, np.float64).mean(axis=0)
    rng = np.random.default_rng(seed)
    signs = rng.integers(0, 2, size=(replicates, len(means)), dtype=np.int8) * 2 - 1
    flipped = np.abs(signs @ means)
    return float((1 + np.count_nonzero(flipped >= abs(means.sum()) - 1e-12)) / (replicates + 1))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return p-values adjusted for all comparisons together (Holm 1979): step down, never decreasing, at most 1."""
    adjusted: dict[str, float] = {}
    worst = 0.0
    for rank, (name, p) in enumerate(sorted(p_values.items(), key=lambda kv: (kv[1], kv[0]))):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p))
        adjusted[name] = worst
    return {name: adjusted[name] for name in p_values}

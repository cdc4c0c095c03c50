"""Weights and caps in, an exact integer plan out.

All amounts are whole numbers of the mixture's unit (samples, tokens or images). The arithmetic is exact (fractions), ties
fall to the smaller name: the same request gives the same plan on every machine and in whatever order it is asked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction

from catalog.errors import UserError

_CONTEXT = Context(prec=40)
_PPT = 10**12  # temperature weights are irrational: they are cut to 12 decimals, once, by a stated rule


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What one component may get. `cap` is the most units it can give; `cap_name` says which wish set it."""

    name: str
    size: int  # units in one epoch
    weight: Decimal | None = None  # None: auto
    cap: int | None = None  # None: no cap
    cap_name: str | None = None


@dataclass(frozen=True, kw_only=True)
class Share:
    """What one component gets."""

    name: str
    units: int
    weight: Fraction  # share of the whole that was asked for; all shares sum to 1
    capped_by: str | None  # the cap that kept it below that share


def weights(asks: Sequence[Ask], policy: str, alpha: Decimal | None = None) -> dict[str, Fraction]:
    """Return every component's share of the whole, summing to exactly 1.

    Given weights stand beside `auto` as they are and leave the rest to the policy; when all are given they are relative.
    """
    given = {a.name: Fraction(a.weight) for a in asks if a.weight is not None}
    auto = {a.name: _wish(a.size, policy, alpha) for a in asks if a.weight is None}
    if not auto:
        total = sum(given.values())
        return {name: w / total for name, w in given.items()}
    left, total = 1 - sum(given.values()), sum(auto.values())
    if left <= 0:
        msg = f"the given weights sum to {sum(given.values())} and leave nothing for `{min(auto)}` (weight auto)"
        raise UserError(msg, usage=True)
    return given | {name: left * w / total for name, w in auto.items()}


def _wish(size: int, policy: str, alpha: Decimal | None) -> Fraction:
    if policy == "unimax":
        return Fraction(1)
    if policy == "temperature":
        assert alpha is not None
        power = _CONTEXT.power(Decimal(size), alpha)
        return Fraction(max(1, int(_CONTEXT.multiply(power, Decimal(_PPT)))), _PPT)
    return Fraction(size)


def solve(asks: Sequence[Ask], shares: Mapping[str, Fraction], budget: int, *, unit: str = "samples") -> list[Share]:
    """Return what each component gets, by name: the units sum to `budget` exactly and no cap is exceeded.

    Water-filling: whoever's share is above its cap gets the cap, and the rest is shared among the others by weight until
    nobody is above. Then largest remainder makes whole units of it. Raises `UserError` when all caps together hold less.
    """
    asks = sorted(asks, key=lambda a: a.name)
    short = budget - sum(budget if a.cap is None else min(a.cap, budget) for a in asks)
    if short > 0:
        limits = ", ".join(f"`{a.name}` {a.cap:,} ({a.cap_name})" for a in asks)
        msg = f"the budget of {budget:,} {unit} cannot be filled: {short:,} {unit} are missing; the caps are {limits}"
        raise UserError(msg, hint="lower the budget, raise a cap, or add a source")
    full: dict[str, int] = {}
    active = list(asks)
    while True:
        left = budget - sum(full.values())
        total = sum((shares[a.name] for a in active), Fraction(0))
        quota = {a.name: left * shares[a.name] / total for a in active}
        over = [a for a in active if a.cap is not None and quota[a.name] > a.cap]
        if not over:
            break
        full |= {a.name: a.cap for a in over if a.cap is not None}
        active = [a for a in active if a.name not in full]
        if not active:
            break
    units = full | (largest_remainder(quota, left) if active else {})
    return [
        Share(name=a.name, units=units[a.name], weight=shares[a.name], capped_by=a.cap_name if a.name in full else None)
        for a in asks
    ]


def largest_remainder(quota: Mapping[str, Fraction], total: int) -> dict[str, int]:
    """Return whole numbers that sum to `total`, each its quota rounded down or up; the largest remainders round up."""
    out = {name: int(q) for name, q in quota.items()}  # quotas are not negative: int() rounds down
    by_remainder = sorted(quota, key=lambda name: (out[name] - quota[name], name))
    for name in by_remainder[: total - sum(out.values())]:
        out[name] += 1
    return out

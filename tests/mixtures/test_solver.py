from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.errors import UserError
from mixtures.solver import Ask, largest_remainder, solve, weights

NAMES = st.lists(st.text("abcdef", min_size=1, max_size=4), min_size=1, max_size=8, unique=True)


@st.composite
def requests(draw: st.DrawFn) -> tuple[list[Ask], str, int]:
    asks = []
    left = Decimal("0.9")
    for name in draw(NAMES):
        weight = draw(st.none() | st.integers(1, 300).map(lambda n: Decimal(n) / 1000))
        if weight is not None:
            weight = min(weight, left / 2)
            left -= weight
        cap = draw(st.none() | st.integers(0, 5000))
        asks.append(
            Ask(
                name=name,
                size=draw(st.integers(1, 10**9)),
                weight=weight,
                cap=cap,
                cap_name=None if cap is None else "max_epochs",
            )
        )
    return asks, draw(st.sampled_from(["proportional", "temperature", "unimax"])), draw(st.integers(1, 20_000))


@settings(deadline=None)
@given(requests(), st.randoms())
def test_exact_capped_and_free_of_order(request: tuple[list[Ask], str, int], rng: object) -> None:
    asks, policy, budget = request
    shares = weights(asks, policy, Decimal("0.5"))
    assert sum(shares.values()) == 1
    room = sum(budget if a.cap is None else a.cap for a in asks)
    if room < budget:
        with pytest.raises(UserError, match=f"{budget - room:,} samples are missing"):
            solve(asks, shares, budget)
        return
    plan = solve(asks, shares, budget)
    assert sum(s.units for s in plan) == budget
    caps = {a.name: a.cap for a in asks}
    for s in plan:
        assert s.units <= (budget if caps[s.name] is None else caps[s.name])
        assert not s.capped_by or s.units == caps[s.name]
    shuffled = list(asks)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    assert solve(shuffled, weights(shuffled, policy, Decimal("0.5")), budget) == plan
    # Who is not capped keeps the ratio of the weights to within one unit.
    free = [s for s in plan if not s.capped_by]
    rest, total = sum(s.units for s in free), sum((s.weight for s in free), Fraction(0))
    assert all(abs(s.units - rest * s.weight / total) < 1 for s in free)


def test_water_filling_hands_on_what_a_cap_leaves() -> None:
    asks = [
        Ask(name="a", size=10, weight=Decimal("0.5"), cap=10, cap_name="max_epochs"),
        Ask(name="b", size=10, weight=Decimal("0.3"), cap=40, cap_name="max_samples"),
        Ask(name="c", size=10, weight=Decimal("0.2")),
    ]
    plan = solve(asks, weights(asks, "fixed"), 100)
    assert [(s.units, s.capped_by) for s in plan] == [(10, "max_epochs"), (40, "max_samples"), (50, None)]


def test_policies() -> None:
    asks = [Ask(name="a", size=100), Ask(name="b", size=400)]
    assert weights(asks, "proportional") == {"a": Fraction(1, 5), "b": Fraction(4, 5)}
    assert weights(asks, "temperature", Decimal("0.5")) == {"a": Fraction(1, 3), "b": Fraction(2, 3)}
    assert weights(asks, "unimax") == {"a": Fraction(1, 2), "b": Fraction(1, 2)}
    given = [Ask(name="a", size=1, weight=Decimal(3)), Ask(name="b", size=9, weight=Decimal(1))]
    assert weights(given, "fixed") == {"a": Fraction(3, 4), "b": Fraction(1, 4)}


def test_ties_fall_to_the_smaller_name() -> None:
    assert largest_remainder({"b": Fraction(1, 2), "a": Fraction(1, 2)}, 1) == {"b": 0, "a": 1}

"""Groups, edges and stars against their definitions, spelled out with sets."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.shared import pairs

keyed = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9)), max_size=40)
sizes = st.lists(st.integers(1, 9), max_size=5)
points = st.lists(st.integers(0, 12), min_size=45, max_size=45)


def near(values: list[int]) -> Callable[[Any, Any], Any]:
    """Numbers are alike where they differ by 1 at most: chains come about."""
    at = np.asarray(values, np.int64)
    return lambda a, b: np.where(np.abs(at[a] - at[b]) <= 1, 1 - np.abs(at[a] - at[b]) / 10, 0.0)


def chains(values: list[int]) -> list[set[int]]:
    """Positions, connected where their numbers differ by 1 at most."""
    out: list[set[int]] = []
    for i, v in enumerate(values):
        mine = [s for s in out if any(abs(v - values[j]) <= 1 for j in s)]
        out = [s for s in out if s not in mine] + [{i}.union(*mine)]
    return out


@settings(deadline=None)
@given(keyed)
def test_groups_are_the_rows_that_share_a_key(found: list[tuple[int, int]]) -> None:
    keys = np.asarray([k for k, _ in found], np.uint64)
    rows, first = pairs.groups(keys, np.asarray([r for _, r in found], np.int64))
    want = {k: sorted({r for other, r in found if other == k}) for k, _ in found}
    assert [rows[a:b].tolist() for a, b in itertools.pairwise(first)] == [
        want[k] for k in sorted(want) if len(want[k]) > 1
    ]


@settings(deadline=None)
@given(sizes, points)
def test_edges_connect_what_is_alike_within_a_group_and_nothing_else(size: list[int], values: list[int]) -> None:
    first = np.concatenate([[0], np.cumsum(size)]).astype(np.int64)
    a, b = pairs.edges(first, near(values))
    found, component = pairs.components(a, b)
    sets: dict[int, set[int]] = {}
    for row, of in zip(found.tolist(), component.tolist(), strict=True):
        sets.setdefault(of, set()).add(row)
    want = []
    for begin, end in zip(first.tolist(), first[1:].tolist(), strict=False):
        want += [{begin + i for i in s} for s in chains(values[begin:end]) if len(s) > 1]
    assert sorted(map(sorted, sets.values())) == sorted(map(sorted, want))


@settings(deadline=None)
@given(sizes, points)
def test_in_order_a_row_joins_the_first_centre_that_it_is_alike_to(size: list[int], values: list[int]) -> None:
    first = np.concatenate([[0], np.cumsum(size)]).astype(np.int64)
    centre, share = pairs.stars(first, near(values))
    for begin, end in zip(first.tolist(), first[1:].tolist(), strict=False):
        centres: list[int] = []
        for i in range(begin, end):
            own = next((c for c in centres if abs(values[c] - values[i]) <= 1), i)
            assert (centre[i], share[i]) == (own, 1 - abs(values[own] - values[i]) / 10)
            if own == i:
                centres.append(i)


def test_one_large_set_does_not_use_up_the_turns_of_the_others(monkeypatch: Any) -> None:
    """300 copies of one thing and 8 pairs, mixed: 9 sets, 20 turns."""
    monkeypatch.setattr(pairs, "MOST_COMPARED", 20)
    kind = np.random.default_rng(1).permutation([*[0] * 300, *(k for k in range(1, 9) for _ in "ab")])
    a, b = pairs.edges(np.array([0, len(kind)]), lambda i, j: (kind[i] == kind[j]).astype(float))
    rows, component = pairs.components(a, b)
    assert len(rows) == len(kind)
    assert len(set(component.tolist())) == 9


def test_a_group_is_compared_no_further_than_its_limit(monkeypatch: Any) -> None:
    """All of 40 differ: 39 turns without the limit, 3 with it."""
    turns = []

    def apart(a: Any, b: Any) -> Any:
        turns.append(len(a))
        return np.zeros(len(a))

    monkeypatch.setattr(pairs, "MOST_COMPARED", 3)
    assert pairs.edges(np.asarray([0, 40]), apart)[0].tolist() == []
    assert turns == [39, 38, 37]


def test_a_component_has_no_more_centres_than_its_limit(monkeypatch: Any) -> None:
    monkeypatch.setattr(pairs, "MOST_CENTRES", 2)
    centre, _ = pairs.stars(np.asarray([0, 6]), near([0, 5, 9, 5, 9, 0]))
    assert centre.tolist() == [0, 1, 2, 1, 4, 0]  # 9 would be the third centre: its members stay by themselves


def test_pairs_are_compared_some_at_a_time(monkeypatch: Any) -> None:
    monkeypatch.setattr(pairs, "PAIRS", 4)
    values = list(range(0, 20, 2)) + list(range(1, 20, 2))
    assert pairs.stars(np.asarray([0, 20]), near(values))[0].tolist() == [*range(10), *range(10)]


def test_all_together_in_memory_whatever_the_order_of_rows() -> None:
    table = pa.table(
        {"id": [f"s/{i:02d}" for i in range(20)], "signature": pa.array([i % 7 or None for i in range(20)])}
    )

    def keys(signatures: pa.Table) -> pa.Table:
        return pa.table({"row": np.arange(signatures.num_rows), "key": np.zeros(signatures.num_rows, np.uint64)})

    def alike(signatures: pa.Table, a: Any, b: Any) -> Any:
        value = np.asarray(signatures["signature"])
        return (value[a] == value[b]).astype(float)

    found = pairs.cluster(table, keys=keys, alike=alike)
    assert found.to_pylist()[:2] == [
        {"id": "s/01", "cluster": "s/01", "similarity": 1.0},
        {"id": "s/02", "cluster": "s/02", "similarity": 1.0},
    ]
    assert sorted(found["id"].to_pylist()) == [f"s/{i:02d}" for i in range(20) if i % 7]
    back = table.take(pa.array(list(reversed(range(20)))))
    assert pairs.cluster(back, keys=keys, alike=alike).equals(found)
    assert pairs.cluster(table.slice(0, 0), keys=keys, alike=alike).num_rows == 0

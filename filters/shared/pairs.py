"""From keys and similarities of pairs to clusters: groups, edges, stars. Pure functions over arrays; all deduplicating filters
that have `keys` and `alike` share them, in memory (`cluster`) and out of core (`curate/dedup`).

- A *group* is the rows that share a key; what is in no common group is never compared.
- An *edge* joins two rows of a group that are alike. Rows take turns: one is compared with all others of its group that had no
  turn and that it is not joined with yet. First come rows that no turn has reached yet, one of each set that there is. A group
  has at most `MOST_COMPARED` turns: of so many rows, whatever is alike gets connected; of more, every row meets one of each
  of the first `MOST_COMPARED` sets.
- A *component* is what edges connect. Chains can connect what is not alike, so each is cut into *stars*: in order of preference
  a row joins the first centre that it is alike to, or becomes a centre itself.
"""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.shared.signatures import of_strings
from filters.shared.text import Array, kernel

MOST_COMPARED = 1000
MOST_CENTRES = 10_000
PAIRS = 1 << 18  # compared at one go: what a filter gathers for them stays within some hundred megabytes

Alike = Callable[[Array, Array], Array]
"""Similarities (0..1) of pairs of positions; 0: no duplicates."""


@kernel
def _find(parent: Array, i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@kernel
def _unite(parent: Array, a: Array, b: Array) -> Array:
    fresh = np.zeros(len(a), np.bool_)
    for k in range(len(a)):
        i = _find(parent, a[k])
        j = _find(parent, b[k])
        if i != j:
            fresh[k] = True
            parent[max(i, j)] = min(i, j)
    return fresh


@kernel
def _roots(parent: Array, at: Array) -> Array:
    out = np.empty(len(at), np.int64)
    for k in range(len(at)):
        out[k] = _find(parent, at[k])
    return out


@kernel
def _turn(
    parent: Array, first: Array, active: Array, used: Array, mark: Array, turn: int
) -> tuple[Array, Array, Array]:
    """Choose whose turn it is in every active group; return pairs of it and those to compare, and which groups are left."""
    pivot = np.full(len(active), -1, np.int64)
    total = 0
    for k in range(len(active)):
        begin, end = first[active[k]], first[active[k] + 1]
        for p in range(begin, end):
            if used[p]:
                mark[_find(parent, p)] = turn
        late = np.int64(-1)  # as numba has it: an index that changes its type would not compile
        for p in range(begin, end):
            if used[p]:
                continue
            if mark[_find(parent, p)] != turn:
                pivot[k] = p
                break
            if late < 0:
                late = np.int64(p)
        if pivot[k] < 0:
            pivot[k] = late
        if pivot[k] >= 0:
            used[pivot[k]] = True
            root = _find(parent, pivot[k])
            one = True
            for p in range(begin, end):
                apart = _find(parent, p) != root
                one = one and not apart
                total += apart and not used[p]
            if one:
                pivot[k] = -1
    a = np.empty(total, np.int64)
    b = np.empty(total, np.int64)
    n = 0
    for k in range(len(active)):
        if pivot[k] >= 0:
            root = _find(parent, pivot[k])
            for p in range(first[active[k]], first[active[k] + 1]):
                if not used[p] and _find(parent, p) != root:
                    a[n] = pivot[k]
                    b[n] = p
                    n += 1
    return a, b, active[pivot >= 0]


def unite(parent: Array, a: Array, b: Array) -> Array:
    """Join the sets of `a[k]` and `b[k]` in the forest `parent` (int64, changed in place); tell which pairs were apart before."""
    fresh: Array = _unite(parent, np.ascontiguousarray(a, np.int64), np.ascontiguousarray(b, np.int64))
    return fresh


def roots(parent: Array, at: Array | None = None) -> Array:
    """Return the smallest member of the set of every position, or of those `at`."""
    found: Array = _roots(parent, np.arange(len(parent)) if at is None else np.ascontiguousarray(at, np.int64))
    return found


def groups(keys: Array, rows: Array) -> tuple[Array, Array]:
    """Return (rows, first) of the groups of two rows or more: those of group g are `rows[first[g]:first[g+1]]`, ascending.

    `keys` (uint64) and `rows` (int64) are aligned, in any order; the groups come in order of their keys.
    """
    order = np.argsort(keys)
    keys, rows = keys[order], rows[order]
    for _ in range(2):  # first what stands alone, which is most; then what only met itself
        shared = np.zeros(len(keys), bool)
        same = keys[1:] == keys[:-1]
        shared[1:] |= same
        shared[:-1] |= same
        keys, rows = keys[shared], rows[shared]
        order = np.lexsort((rows, keys))
        keys, rows = keys[order], rows[order]
        once = np.ones(len(keys), bool)
        once[1:] = (keys[1:] != keys[:-1]) | (rows[1:] != rows[:-1])
        keys, rows = keys[once], rows[once]
    begins = np.ones(len(keys), bool)
    begins[1:] = keys[1:] != keys[:-1]
    return rows, np.append(np.flatnonzero(begins), len(keys)).astype(np.int64)


def edges(first: Array, alike: Alike) -> tuple[Array, Array]:
    """Return the pairs of positions that connect the members of groups, position p of group g in `first[g]:first[g+1]`.

    Who is compared with whom says the head of this file; it depends on the order within a group where it is a large one.
    """
    n = int(first[-1])
    parent, used, mark = np.arange(n), np.zeros(n, bool), np.zeros(n, np.int64)
    active = np.flatnonzero(np.diff(first) > 1)
    found = [(np.empty(0, np.int64), np.empty(0, np.int64))]
    for turn in range(1, MOST_COMPARED + 1):
        one, other, active = _turn(parent, first, active, used, mark, turn)
        if not len(active):
            break
        hit = compared(alike, one, other) > 0
        one, other = one[hit], other[hit]
        fresh = unite(parent, one, other)
        found.append((one[fresh], other[fresh]))
    return np.concatenate([a for a, _ in found]), np.concatenate([b for _, b in found])


def stars(first: Array, alike: Alike) -> tuple[Array, Array]:
    """Cut components into stars; the members of component c are the positions `first[c]:first[c+1]`, most preferred first.

    Returns per position the position of its centre and the similarity to it (1 for a centre). Beyond `MOST_CENTRES` centres
    a component's members stay by themselves.
    """
    n = int(first[-1])
    of = np.repeat(np.arange(len(first) - 1), np.diff(first))
    centre, share = np.arange(n), np.ones(n)
    left = np.arange(n)
    for _ in range(MOST_CENTRES):
        if not len(left):
            break
        begins = np.ones(len(left), bool)
        begins[1:] = of[left[1:]] != of[left[:-1]]
        pivot = left[begins][np.cumsum(begins) - 1][~begins]
        other = left[~begins]
        similarity = compared(alike, pivot, other)
        hit = similarity > 0
        centre[other[hit]], share[other[hit]] = pivot[hit], similarity[hit]
        left = other[~hit]
    return centre, share


def compared(alike: Alike, a: Array, b: Array) -> Array:
    """Return the similarities of the pairs, some at a time."""
    parts = [alike(a[k : k + PAIRS], b[k : k + PAIRS]) for k in range(0, len(a), PAIRS)]
    return np.concatenate([np.empty(0), *parts])


def components(a: Array, b: Array) -> tuple[Array, Array]:
    """Return (rows, component) of all rows (any int64) in the edges: a component is named by the place of its smallest row."""
    rows, at = np.unique(np.concatenate([a, b]), return_inverse=True)
    parent = np.arange(len(rows))
    unite(parent, at[: len(a)], at[len(a) :])
    return rows, roots(parent)


def cluster(
    signatures: pa.Table,
    *,
    keys: Callable[[pa.Table], pa.Table],
    alike: Callable[[pa.Table, Array, Array], Array],
) -> pa.Table:
    """Return (id, cluster, similarity) of every sample that has a duplicate: all in memory, preference by id alone.

    `curate/dedup` gives the same for any number of samples.
    """
    valid = pc.is_valid(signatures[signatures.column_names[1]])
    table = signatures.filter(valid).sort_by("id").combine_chunks()
    ids = table["id"].combine_chunks().cast(pa.string()) if table.num_rows else pa.array([], pa.string())
    keyed = keys(table)
    rows, first = groups(np.asarray(keyed["key"]), np.asarray(keyed["row"]))
    rows = within(rows, first, of_strings(ids)[rows])
    a, b = edges(first, lambda i, j: alike(table, rows[i], rows[j]))
    members, component = components(rows[a], rows[b])
    order = np.argsort(component, kind="stable")  # within a component by row, which is by id
    members, component = members[order], component[order]
    begins = np.append(np.flatnonzero(np.diff(component, prepend=-1)), len(component))
    centre, share = stars(begins, lambda i, j: alike(table, members[i], members[j]))
    lonely = np.bincount(centre, minlength=len(centre))[centre] < 2
    out = pa.table(
        {
            "id": ids.take(pa.array(members)),
            "cluster": ids.take(pa.array(members[centre])),
            "similarity": pa.array(np.round(share, 6)),
        }
    )
    return out.filter(pa.array(~lonely)).sort_by("id")


def within(rows: Array, first: Array, rank: Array) -> Array:
    """Return `rows` with each group's members in order of `rank`, ties by row: no order of input decides who is compared."""
    of = np.repeat(np.arange(len(first) - 1), np.diff(first))
    return rows[np.lexsort((rows, rank, of))]  # type: ignore[no-any-return]

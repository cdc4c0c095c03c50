import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.shared.hamming import apart, near

bits = st.integers(0, 2**64 - 1)


def test_the_radius_is_a_true_hamming_radius() -> None:
    rng = np.random.default_rng(0)
    base = rng.integers(0, 2**64, (60, 3), dtype=np.uint64)
    query = base[rng.integers(0, 60, 200), rng.integers(0, 3, 200)]
    for k in range(len(query)):  # flip 0 to 14 bits anywhere
        for bit in rng.choice(64, k % 15, replace=False):
            query[k] ^= np.uint64(1) << np.uint64(bit)
    distance = np.bitwise_count(query[:, None, None] ^ base[None]).min(2)
    for radius in (0, 3, 5, 10, 11, 15):
        q, b = near(query, base, radius)
        assert sorted(zip(q.tolist(), b.tolist(), strict=True)) == list(
            zip(*np.nonzero(distance <= radius), strict=True)
        )


@settings(max_examples=30, deadline=None)
@given(st.lists(bits, min_size=1, max_size=8), st.integers(0, 15))
def test_none_is_its_own_neighbour_and_none_is_missed(hashes: list[int], radius: int) -> None:
    base = np.asarray(hashes, np.uint64)
    near_by = np.bitwise_count(base[:, None] ^ base[None]) <= radius
    np.fill_diagonal(near_by, val=False)
    q, b = near(base, base[:, None], radius, within=True)
    assert sorted(zip(q.tolist(), b.tolist(), strict=True)) == list(zip(*np.nonzero(near_by), strict=True))


def test_nothing_to_search() -> None:
    none = np.zeros(0, np.uint64)
    for q, b in ((none, none[:, None]), (np.ones(2, np.uint64), none[:, None]), (none, np.ones((2, 1), np.uint64))):
        assert [len(x) for x in near(q, b, 11)] == [0, 0]


def test_apart_is_the_least_of_either_way() -> None:
    hashes = np.random.default_rng(1).integers(0, 2**64, (6, 9), dtype=np.uint64)
    i, j = np.array([0, 1, 2]), np.array([3, 4, 5])
    one = np.bitwise_count(hashes[i, :1] ^ hashes[j]).min(1)
    two = np.bitwise_count(hashes[j, :1] ^ hashes[i]).min(1)
    assert apart(hashes, i, j).tolist() == np.minimum(one, two).tolist()

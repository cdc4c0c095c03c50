import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.shared import stars
from filters.shared.stars import Part


def circle(*degrees: float) -> np.ndarray:
    at = np.radians(np.asarray(degrees, np.float64))
    return np.stack([np.cos(at), np.sin(at)], 1).astype(np.float32)


def part(degrees: float, width: int = 2) -> list[Part]:
    return [Part(begin=0, end=width, least=float(np.cos(np.radians(degrees))))]


def found(x: np.ndarray, degrees: float) -> list[int]:
    return stars.stars(len(x), lambda k: x[k], part(degrees, x.shape[1]))[0].tolist()


def test_a_sample_joins_the_most_similar_centre_before_it() -> None:
    assert found(circle(0, 50, 20, 40, 90), 31) == [0, 1, 0, 1, 4]


def test_what_is_similar_to_a_member_only_is_a_centre() -> None:
    assert found(circle(0, 10, 20), 11) == [0, 0, 2]
    assert found(circle(10, 0, 20), 11) == [0, 0, 0]


def test_similarities_are_those_to_the_centre() -> None:
    x = circle(0, 20, 5)
    _, share = stars.stars(3, lambda k: x[k], part(30))
    assert share[0] == 1
    assert np.allclose(share[1:], np.cos(np.radians([20, 5])))


def test_every_part_must_be_similar_and_the_least_counts() -> None:
    x = np.concatenate([circle(0, 1, 1, 1), circle(0, 3, 40, 90)], 1)
    parts = [Part(begin=0, end=2, least=0.99), Part(begin=2, end=4, least=0.9)]
    centre, share = stars.stars(4, lambda k: x[k], parts)
    assert centre.tolist() == [0, 0, 2, 3]
    assert np.isclose(share[1], np.cos(np.radians(3)))


def test_vectors_without_a_direction_are_similar_to_nothing() -> None:
    x = np.zeros((3, 2), np.float32)
    assert found(x, 89) == [0, 1, 2]


def test_one_cluster_of_equal_vectors_takes_no_more_than_blocks() -> None:
    asked = []

    def take(places: np.ndarray) -> np.ndarray:
        asked.append(len(places))
        return np.tile(circle(30), (len(places), 1))

    centre, share = stars.stars(20_000, take, part(1))
    assert not centre.any()
    assert (share > 0.9999999).all()
    assert max(asked) <= stars.CENTRES
    assert sum(asked) < 2 * 20_000


def plain(x: np.ndarray, least: float) -> list[int]:
    """Read off the definition: one sample after the other."""
    y = x.astype(np.float64)
    centres: list[int] = []
    out = []
    for i in range(len(x)):
        near = [(round(float(y[i] @ y[j]), 9), -j) for j in centres if y[i] @ y[j] >= least - stars.ROUNDING]
        out.append(-max(near)[1] if near else i)
        if not near:
            centres.append(i)
    return out


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32), st.integers(1, 1300), st.floats(0.5, 0.999))
def test_blocks_find_what_the_definition_says(seed: int, n: int, least: float) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    x = (x / np.linalg.norm(x, axis=1)[:, None]).astype(np.float32)
    got = stars.stars(n, lambda k: x[k], [Part(begin=0, end=3, least=least)])[0].tolist()
    assert got == plain(x, least)


def joined(x: np.ndarray, centre: list[int], order: list[int], degrees: float) -> list[int]:
    y = x.astype(np.float64)
    at = np.array(centre)
    share = (y * y[at]).sum(1)
    alive = np.flatnonzero(at == np.arange(len(at)))
    edges = stars.across(lambda k: x[k], alive, alive, part(degrees))
    different = edges[0] != edges[1]
    a, b, s = (e[different] for e in edges)
    stars.joined(at, share, np.array(order), (a, b, s), lambda k: x[k], part(degrees))
    assert np.allclose(share, (y * y[at]).sum(1), atol=1e-6)
    return at.tolist()


def test_centres_join_with_their_stars() -> None:
    # 0 and 1 were found apart; both members of 1 are similar to 0.
    assert joined(circle(0, 5, 7, 8), [0, 1, 1, 1], [0, 1, 2, 3], 10) == [0, 0, 0, 0]
    assert joined(circle(0, 5, 7, 8), [0, 1, 1, 1], [1, 0, 2, 3], 10) == [1, 1, 1, 1]


def test_a_centre_with_a_member_that_does_not_fit_stays() -> None:
    assert joined(circle(0, 5, 12), [0, 1, 1], [0, 1, 2], 10) == [0, 1, 1]


def test_a_centre_joins_no_centre_that_has_joined_another() -> None:
    assert joined(circle(0, 9, 18), [0, 1, 2], [0, 1, 2], 10) == [0, 0, 2]
    assert joined(circle(0, 9, 18), [0, 1, 2], [2, 1, 0], 10) == [0, 2, 2]


def test_decisions_do_not_depend_on_the_product() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(700, 16))
    x[350:] = x[:350] + 0.3 * rng.normal(size=(350, 16))
    x = (x / np.linalg.norm(x, axis=1)[:, None]).astype(np.float32)
    noise = np.random.default_rng(1)

    def rough(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a @ b.T + noise.uniform(-5e-5, 5e-5, (len(a), len(b)))).astype(np.float32)

    one = stars.stars(700, lambda k: x[k], part(20, 16))
    two = stars.stars(700, lambda k: x[k], part(20, 16), rough)
    assert (one[0] != np.arange(700)).sum() > 100
    assert all((a == b).all() for a, b in zip(one, two, strict=True))

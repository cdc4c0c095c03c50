import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.shared import vectors
from filters.shared.vectors import NONE, Vectors


def of(*row: int, width: int = 2) -> Vectors:
    matrix = np.arange(1, 1 + width * len(row), dtype=np.float32).reshape(len(row), width)
    return Vectors.of(np.array(row), matrix)


def every(n: int) -> np.ndarray:
    return np.ones(n, bool)


def back(column: pa.Array, row: int) -> np.ndarray:
    known = vectors.unpack(pa.chunked_array([column]))
    return known.take(np.array([row]), *known.heads[row].tolist())[0]


def test_images_and_text_of_a_sample_stand_together() -> None:
    got = vectors.pack(4, of(0, 0, 2), of(2, 3, width=3), every(4))
    known = vectors.unpack(pa.chunked_array([got]))
    assert known.heads.tolist() == [[2, 2, 0], [0, 0, 0], [1, 2, 3], [0, 0, 3]]
    assert [len(v) if v else None for v in got.to_pylist()] == [14, None, 16, 12]
    assert np.allclose(back(got, 0), [1 / 5**0.5, 2 / 5**0.5, 0.6, 0.8], atol=1e-3)
    assert np.allclose(back(got, 2)[2:], np.array([1, 2, 3]) / 14**0.5, atol=1e-3)


def test_a_sample_without_a_part_is_null() -> None:
    assert vectors.pack(2, of(0, 1), NONE, np.array([True, False])).is_valid().to_pylist() == [True, False]
    assert vectors.pack(2, NONE, NONE, every(2)).null_count == 2
    assert len(vectors.pack(0, NONE, NONE, every(0))) == 0


@pytest.mark.parametrize("bad", [[0, 0], [np.nan, 1], [np.inf, 1], [-np.inf, np.inf]])
def test_a_vector_without_a_direction_makes_its_sample_null(bad: list[float]) -> None:
    images = Vectors.of(np.array([0, 1, 1]), np.array([[1, 2], [3, 4], bad]))
    assert vectors.pack(2, images, NONE, every(2)).is_valid().to_pylist() == [True, False]


def test_large_and_tiny_numbers_have_a_direction() -> None:
    images = Vectors.of(np.array([0, 1, 2]), np.array([[1e300, 1e300], [1e-300, 1e-300], [-5e-324, 0]]))
    got = vectors.pack(3, images, NONE, every(3))
    assert np.allclose(back(got, 0), [0.70710678] * 2)
    assert (back(got, 0) == back(got, 1)).all()
    assert back(got, 2).tolist() == [-1, 0]


def test_images_of_two_widths_are_no_signature() -> None:
    images = Vectors(row=np.array([0, 0, 1]), first=np.array([0, 2, 5, 8]), flat=np.ones(8))
    assert vectors.pack(2, images, NONE, every(2)).is_valid().to_pylist() == [False, True]


def test_bytes_that_are_no_signature_have_no_layout() -> None:
    column = pa.chunked_array(
        [pa.array([b"", b"\1", b"\1\0\2\0\0\0", b"\0" * 6, b"\1\0\1\0\0\0\0\0", None, b"\xff" * 40], pa.binary())]
    )
    known = vectors.unpack(column)
    assert known.heads.tolist() == [[0, 0, 0]] * 4 + [[1, 1, 0]] + [[0, 0, 0]] * 2
    assert known.take(np.array([4]), 1, 1, 0).tolist() == [[0]], "a zero vector stays zero"


def test_signatures_behind_an_odd_number_of_bytes_are_read() -> None:
    good = vectors.pack(2, of(0, 1, width=9), NONE, every(2))
    mixed = pa.array([b"abc", good[0].as_py(), None, b"", good[1].as_py(), b"?", good[0].as_py()], pa.binary())
    for column in (
        pa.chunked_array([mixed]),
        pa.chunked_array([mixed.slice(1), mixed.cast(pa.large_binary()).slice(1).cast(pa.binary())]),
    ):
        known = vectors.unpack(column)
        rows = np.flatnonzero(known.heads.any(1))
        want = vectors.unpack(pa.chunked_array([good])).take(np.array([0, 1, 0] * (len(rows) // 3)), 1, 9, 0)
        assert len(rows) in (3, 6)
        assert (known.take(rows, 1, 9, 0) == want).all()


def test_rows_are_read_across_chunks_slices_and_offsets_of_64_bits() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 4))
    whole = vectors.pack(300, Vectors.of(np.arange(300), x), NONE, every(300))
    for column in (
        pa.chunked_array([whole]),
        pa.chunked_array([whole.slice(0, 3), whole.slice(3, 150), whole.slice(153)]),
        pa.chunked_array([whole.cast(pa.large_binary())]),
        pa.chunked_array([whole.slice(k, 1) for k in range(300)]),
    ):
        known = vectors.unpack(column)
        rows = rng.permutation(300)
        y = known.take(rows, 1, 4, 0)
        assert y.dtype == np.float32
        assert np.allclose(y, (x / np.linalg.norm(x, axis=1)[:, None])[rows], atol=1e-3)
        assert np.allclose((y.astype(np.float64) ** 2).sum(1), 1, atol=1e-6)


@given(st.lists(st.floats(width=16), min_size=1, max_size=8))
def test_every_number_of_16_bits_is_read(numbers: list[float]) -> None:
    half = np.array(numbers, np.float16)
    raw = np.array([1, len(half), 0], "<u2").tobytes() + half.tobytes()
    got = back(pa.array([raw], pa.binary()), 0)
    wide = half.astype(np.float64)
    size = np.sqrt((wide * wide).sum())
    want = wide / size if 0 < size < np.inf else np.zeros(len(half))
    assert np.allclose(got, want, atol=1e-7)

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.shared.signatures import distinct, of_strings, pack, pack_one, unpack

numbers = st.integers(0, 2**64 - 1)


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.tuples(st.booleans(), st.lists(numbers, max_size=4)), max_size=8))
def test_what_is_packed_can_be_unpacked(rows):
    flat = np.array([n for _, run in rows for n in run], np.uint64)
    packed = pack(flat, np.array([len(run) for _, run in rows], np.int64), np.array([there for there, _ in rows], bool))
    assert packed.type == pa.binary()
    assert packed.null_count == sum(not there for there, _ in rows)
    values, count = unpack(pa.chunked_array([packed.slice(0, 3), packed.slice(3)]))
    assert values.tolist() == [n for there, run in rows if there for n in run]
    assert count.tolist() == [len(run) if there else 0 for there, run in rows]


def test_one_number_per_row_is_eight_bytes():
    assert pack_one(np.array([1, 2], np.uint64), np.array([True, False])).to_pylist() == [b"\x01" + bytes(7), None]


def test_distinct_hashes_of_each_run():
    values, count = distinct(np.array([5, 3, 5, 3, 3], np.uint64), np.array([0, 3, 3, 5]))
    assert (values.tolist(), count.tolist()) == ([3, 5, 3], [2, 0, 1])


def test_hashes_of_strings_are_the_same_for_ever():
    # FNV-1a of the bytes, mixed: another hash would make old and new scores of one fingerprint disagree.
    assert of_strings(pa.array(["", "a", None])).tolist() == [
        17665956581633026203,
        198367012849983736,
        17665956581633026203,
    ]

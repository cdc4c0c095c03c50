import numpy as np
import pyarrow as pa

from filters import dedup_exact
from filters.base import load
from tests.filters.text_samples import batch, sample


def test_equal_content_is_one_cluster():
    f = load("dedup_exact")
    b = batch(sample("x", id="s/3"), sample("y", id="s/2"), sample("x", id="s/1"), sample("x", id="s/9", image=True))
    out = f.cluster(pa.table({"id": b.column("id"), "signature": f.score(b).column("signature")}))
    assert out.to_pylist() == [
        {"id": "s/1", "cluster": "s/1", "similarity": 1.0},
        {"id": "s/3", "cluster": "s/1", "similarity": 1.0},
    ]


def test_samples_that_share_a_key_are_compared_in_full():
    f = load("dedup_exact")
    b = batch(sample("x", id="s/3"), sample("y", id="s/2"), sample("x", id="s/1"), sample("x", id="s/9", image=True))
    signed = pa.table({"id": b.column("id"), "signature": f.score(b).column("signature")})
    keys = dedup_exact.keys(signed)
    assert keys.schema == pa.schema([("row", pa.int64()), ("key", pa.uint64())])
    at = dict(zip(keys["row"].to_pylist(), keys["key"].to_pylist(), strict=True))
    assert at[0] == at[2]
    assert len({at[0], at[1], at[3]}) == 3
    pairs = np.array([0, 0, 0, 2]), np.array([2, 1, 3, 3])
    assert dedup_exact.alike(signed, *pairs).tolist() == [1.0, 0.0, 0.0, 0.0]
    assert dedup_exact.keys(signed.slice(0, 0)).num_rows == 0
    assert dedup_exact.alike(signed, pairs[0][:0], pairs[1][:0]).tolist() == []

import pyarrow as pa

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

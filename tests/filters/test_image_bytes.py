import numpy as np
import pyarrow as pa

from filters.base import load
from tests.filters.pictures import Memory, encode, flat, samples

f = load("image_bytes")


def test_the_smallest_and_the_largest_file() -> None:
    small, large = (
        encode(flat(1, 4, 4)),
        encode(np.random.default_rng(0).integers(0, 256, (90, 90, 3)).astype(np.uint8)),
    )
    got = f.score(samples([([small, large], ""), ([large], ""), ([], "")], Memory())).to_pylist()
    assert got[0] == {"image_bytes": len(small), "image_bytes_top": len(large)}
    assert got[1] == {"image_bytes": len(large), "image_bytes_top": len(large)}
    assert got[2] == {"image_bytes": None, "image_bytes_top": None}
    low = f.bounds["image_bytes"][0]
    assert len(small) < low < len(large)


def test_a_size_that_is_not_known_is_broken() -> None:
    rows = samples([([encode(flat(1))], "")], Memory()).to_pylist()
    rows[0]["media"][0]["size"] = None
    batch = samples([], Memory())
    assert np.isnan(f.score(pa.RecordBatch.from_pylist(rows, batch.schema)).to_pylist()[0]["image_bytes"])

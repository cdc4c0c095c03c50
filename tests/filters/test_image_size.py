import numpy as np
import pyarrow as pa

from filters.base import load
from tests.filters.pictures import Memory, encode, samples


def blank(w: int, h: int) -> bytes:
    return encode(np.zeros((h, w, 3), np.uint8))


def test_the_shortest_side_of_the_smallest_image() -> None:
    batch = samples([([blank(300, 200), blank(250, 400)], ""), ([], ""), ([blank(10, 30)], ""), ([b"?"], "")], Memory())
    got = load("image_size").score(batch).column(0).to_pylist()
    assert got[:3] == [200.0, None, 10.0]
    assert np.isnan(got[3])
    widest, tallest = (load("image_size").score(batch).column(k).to_pylist()[:3] for k in (1, 2))
    assert widest == [300.0, None, 10.0]
    assert tallest == [400.0, None, 30.0]


def test_slices_and_other_media() -> None:
    batch = samples([([blank(1, 1)], ""), ([blank(9, 8)], ""), ([], ""), ([blank(7, 7)], "")], Memory())
    assert load("image_size").score(batch.slice(1, 3)).column(0).to_pylist() == [8.0, None, 7.0]
    rows = batch.to_pylist()
    rows[0]["media"][0]["kind"] = "video"
    rows[2]["media"] = None
    other = pa.RecordBatch.from_pylist(rows, batch.schema)
    assert load("image_size").score(other).column(0).to_pylist() == [None, 8.0, None, 7.0]


def test_no_rows() -> None:
    assert load("image_size").score(samples([], Memory())).num_rows == 0

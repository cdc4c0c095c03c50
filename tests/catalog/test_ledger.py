import numpy as np
import polars as pl
import pytest

from catalog.judge import Rule
from catalog.ledger import Digest


def verdicts(n: int, start: int = 0) -> tuple[pl.Series, pl.DataFrame]:
    numbers = np.arange(start, start + n)
    ids = pl.Series("id", [f"s/{i}" for i in numbers], dtype=pl.String)
    value = pl.Series(
        "value", [None if i % 5 == 0 else float("nan") if i % 7 == 0 else i / 3 for i in numbers], pl.Float64
    )
    keep = pl.Series("keep", (numbers % 3 > 0).tolist())
    match = pl.Series("match", [None if i % 3 else f"s/{i - 1}" for i in numbers], dtype=pl.String)
    return ids, pl.DataFrame([value, keep, match])


@pytest.mark.parametrize("cuts", [(20,), (7, 13), (1, 0, 18, 1)])
def test_the_digest_does_not_depend_on_where_a_source_is_cut(cuts: tuple[int, ...]) -> None:
    rules = [Rule(stage="f", fingerprint="0" * 16, score="s", low=1.0)]
    digests = []
    for sizes in ((20,), cuts):
        digest, start = Digest(rules), 0
        for n in sizes:
            ids, frame = verdicts(n, start)
            digest.add("s", ids, {rules[0].key: frame})
            start += n
        digests.append(digest.hexdigest())
    assert digests[0] == digests[1]


def test_the_digest_sees_every_column() -> None:
    rules = [Rule(stage="f", fingerprint="0" * 16, score="s", low=1.0)]
    ids, frame = verdicts(20)
    frames = [frame, *(frame.with_columns(pl.col(c).reverse()) for c in frame.columns)]
    found = set()
    for f in frames:
        digest = Digest(rules)
        digest.add("s", ids, {rules[0].key: f})
        found.add(digest.hexdigest())
    assert len(found) == 4

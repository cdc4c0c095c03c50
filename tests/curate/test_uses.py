import pyarrow as pa
import pytest

from curate import uses
from filters import base


@pytest.mark.parametrize(
    ("name", "looks_at", "does"),
    [
        ("gopher_quality", ["text"], []),
        ("aspect_ratio", ["media"], []),
        ("blur", ["images"], []),
        ("clip_score", ["text", "images"], ["model"]),
        ("dedup_exact", ["digest"], ["deduplicates"]),
        ("dedup_minhash", ["text", "media"], ["deduplicates"]),
        ("decontaminate_text", ["text", "media"], ["decontaminates"]),
        ("image_target", ["images"], ["model", "pools", "indexes"]),
    ],
)
def test_what_a_filter_looks_at_is_read_off_its_code(name: str, looks_at: list[str], does: list[str]) -> None:
    flt = base.load(name)
    assert uses.looks_at(flt) == looks_at
    assert uses.does(flt) == does


def test_what_is_made_once_is_what_both_reach() -> None:
    minhash, leak = (uses.uses(base.load(n)).shared for n in ("dedup_minhash", "decontaminate_text"))
    assert "filters.shared.text.message_tokens" in minhash & leak
    assert "filters.shared.text.message_tokens" not in uses.uses(base.load("latex_balance")).shared
    assert uses.uses(base.load("aspect_ratio")).shared == frozenset()


def test_every_filter_looks_at_something() -> None:
    for flt in base.every():
        assert uses.looks_at(flt), flt.name


def test_a_filter_that_reads_the_column_itself() -> None:
    def own(batch: pa.RecordBatch) -> pa.RecordBatch:
        return pa.record_batch([batch.column("boxes").is_null()], names=["own"])

    own.__module__ = "filters.own"
    flt = base.scorer(version=1, scores={"own": pa.bool_()}, bounds={})(own)
    assert uses.looks_at(flt) == ["boxes"]

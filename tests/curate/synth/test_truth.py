import pyarrow as pa
import pytest

from curate.synth.truth import TRUTH, score


def table(*rows: tuple[str, str | None, str | None]) -> pa.Table:
    expect = {None: "keep", "corrupt_file": "reject"}
    return pa.Table.from_pylist(
        [{"source": "s", "locator": at, "defect": d, "of": of, "expect": expect.get(d, "drop")} for at, d, of in rows],
        TRUTH,
    )


TABLE = table(
    ("a", None, None),
    ("b", None, None),
    ("c", "exact_duplicate", "s/a"),
    ("d", "blank_image", None),
    ("e", "blank_image", None),
    ("f", "corrupt_file", None),
    ("g", None, None),
)


def by_kind(rows: list[dict[str, object]]) -> dict[object, dict[str, object]]:
    return {r["defect"]: r for r in rows}


def test_a_duplicate_is_caught_whichever_survives() -> None:
    for kept in ("a", "c"):
        rows = by_kind(score(TABLE, {f"s/{kept}", "s/b", "s/g"}, {"s/f"}))
        assert rows["exact_duplicate"]["recall"] == 1
        assert rows["clean"]["wrongly_dropped"] == 0
        assert rows["corrupt_file"]["recall"] == 1
    assert by_kind(score(TABLE, {"s/a", "s/c"}))["exact_duplicate"]["recall"] == 0


def test_dropping_the_whole_group_is_a_wrong_drop() -> None:
    assert by_kind(score(TABLE, {"s/b", "s/g"}))["clean"]["wrongly_dropped"] == 1


def test_recall_counts_what_was_planted() -> None:
    row = by_kind(score(TABLE, {"s/d", "s/a", "s/b", "s/g"}))["blank_image"]
    assert (row["planted"], row["caught"], row["recall"], row["precision"]) == (2, 1, 0.5, None)


def test_precision_blames_a_stage_only_for_clean_samples() -> None:
    dropped = {"s/d": {"blur"}, "s/e": {"blur"}, "s/b": {"blur", "language"}, "s/a": {"dedup"}, "s/g": {"language"}}
    stages = {"blank_image": {"blur"}, "exact_duplicate": {"dedup"}}
    rows = by_kind(score(TABLE, {"s/c"}, {"s/f"}, dropped_by=dropped, stages=stages))
    assert rows["blank_image"]["dropped"] == 3
    assert rows["blank_image"]["wrongly_dropped"] == 1
    assert rows["blank_image"]["precision"] == pytest.approx(2 / 3)
    # The original went, its copy stayed: right.
    assert rows["exact_duplicate"]["precision"] == 1
    assert rows["corrupt_file"]["precision"] is None
    assert rows["clean"]["wrongly_dropped"] == 2

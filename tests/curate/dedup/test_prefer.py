"""Criteria as numbers, and who survives by them."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from PIL import Image

from catalog.errors import UserError
from catalog.store import Store
from curate import recipe as recipes
from curate import run as runs
from curate.dedup import criteria, prefer
from tests.curate.dedup.test_find import Serial

LICENSES = {"a": "MIT", "b": "CC0-1.0", "c": "unknown"}


def write(folder: Path) -> list[dict[str, Any]]:
    """Three sources with the same sentence; pictures of another size in each, and in `c` a text without one."""
    for k, name in enumerate(LICENSES):
        Image.new("RGB", (8 * (k + 1), 8), "red").save(folder / f"{name}.png")
        rows: list[dict[str, str]] = [{"image": f"{name}.png", "text": "the same words in every one of them" + "!" * k}]
        rows += [{"text": "no picture at all"}] if name == "c" else []
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return [
        {"name": n, "format": "table", "path": f"{n}.jsonl", "task": "caption", "license": x,
         "fields": {"image": "image", "text": "text"}}
        for n, x in LICENSES.items()
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("chosen", "survivor", "reason"),
    [
        ([], "a", "id"),
        (["resolution"], "c", "resolution"),
        (["length"], "c", "length"),
        ([{"source": ["b", "c"]}], "b", "source: b, c"),
        ([{"license": ["MIT"]}], "a", "license: MIT"),
        ([{"license": ["CC-BY-4.0"]}, {"license": ["CC0-1.0"]}], "b", "license: CC0-1.0"),
        (["text_stats.characters"], "c", "text_stats.characters"),
        (["image_size.image_size", "length"], "c", "length"),
    ],
)
def test_the_survivor_is_the_first_by_the_criteria(
    chosen: list[Any], survivor: str, reason: str, tmp_path: Path
) -> None:
    stages = [
        {"filter": "text_stats", "bounds": {}}, {"filter": "image_size", "bounds": {}},
        {"filter": "dedup_minhash", "params": {"media": True, "min_words": 1}, "prefer": chosen},
    ]  # fmt: skip
    raw = {"name": "x", "sources": write(tmp_path), "stages": stages}
    spec = recipes.parse(raw, "test")
    store = Store(tmp_path / "store")
    found = runs.run(spec, store, engine=Serial(), data=tmp_path, progress=lambda *_: None).dataset
    assert found.counts["rejected"] == 1, "a row of a table without its picture"
    table = pl.read_parquet(store.dataset_dir(found.name, found.version) / "clusters" / "dedup_minhash.parquet")
    assert table.filter(pl.col("rank") == 0)["id"].to_list() == [f"{survivor}/{survivor}.jsonl:1"]
    assert set(table.filter(pl.col("rank") > 0)["reason"]) == {reason}


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("lenght", "did you mean `length`"),
        ({"sorce": ["a"]}, "must be a name, or one of"),
        ({"source": []}, "best first"),
        ({"source": "a"}, "best first"),
        ({"source": ["a, b"]}, "best first"),
        ({"source": ["aa"]}, "no source named `aa`"),
        ({"source": ["a"], "license": ["MIT"]}, "must be a name"),
        (5, "must be a name"),
    ],
)
def test_criteria_that_mean_nothing_are_wrong_use(raw: Any, expected: str) -> None:
    with pytest.raises(UserError, match=expected) as e:
        criteria.criterion(raw, {"source": ["a"], "license": []}, ["clip_score.clip_score"], "`prefer`")
    assert e.value.usage


def test_which_stages_are_asked_for() -> None:
    names = ("length", "frozen", "source: a, b", "clip_score.clip_score", "resolution")
    assert criteria.stages_of(names) == {"clip_score"}


def test_a_sample_without_pictures_has_no_resolution(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"text": "four"}\n')
    source = {
        "name": "t",
        "format": "text",
        "path": "t.jsonl",
        "task": "text",
        "license": "MIT",
        "fields": {"text": "text"},
    }
    spec = recipes.parse({"name": "x", "sources": [source]}, "test")
    store = Store(tmp_path / "store")
    runs.run(spec, store, engine=Serial(), data=tmp_path, progress=lambda *_: None)
    values = prefer.Values(store=store, stages={}, members=[], frozen=frozenset())
    version = store.source("t")
    assert values.of(version, 0, "resolution").to_list() == [None]
    assert values.of(version, 0, "length").to_list() == [4.0]
    assert values.of(version, 0, "license: MIT").to_list() == [0.0]


@pytest.mark.parametrize(
    ("keep", "chosen", "survivor", "reason"),
    [
        ("hard", [], 2, "order"),
        ("easy", [], 1, "order"),
        ("hard", ["length"], 3, "length"),
        ("easy", [{"source": ["t"]}, "length"], 3, "length"),
    ],
)
def test_a_filter_with_clusters_of_its_own_is_told_what_is_preferred(
    keep: str, chosen: list[Any], survivor: int, reason: str, tmp_path: Path
) -> None:
    """Three vectors close together: the first near their mean, the second farther off; the third has the longest text. The
    survivor is the centre that the others were compared with, so that their similarity is that to the survivor."""
    vectors = [[1.0, 0.0, 0.0], [1.0, 0.3, 0.0], [1.0, -0.1, 0.0]]
    texts = ["short", "tiny", "the longest text of all"]
    rows = [{"text": t, "v": v} for t, v in zip(texts, vectors, strict=True)]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    source = {
        "name": "t",
        "format": "text",
        "path": "t.jsonl",
        "task": "text",
        "license": "MIT",
        "fields": {"text": "text"},
    }
    params = {"meta": True, "pair": "text", "column": "v", "epsilon": 0.1, "keep": keep, "clusters": 1}
    stage = {"filter": "dedup_semantic", "params": params, "prefer": chosen}
    spec = recipes.parse({"name": "x", "sources": [source], "stages": [stage]}, "test")
    store = Store(tmp_path / "store")
    found = runs.run(spec, store, engine=Serial(), data=tmp_path, progress=lambda *_: None).dataset
    table = pl.read_parquet(store.dataset_dir(found.name, found.version) / "clusters" / "dedup_semantic.parquet")
    assert table.height == 3
    assert table.filter(pl.col("rank") == 0)["id"].to_list() == [f"t/t.jsonl:{survivor}"]
    assert set(table.filter(pl.col("rank") > 0)["reason"]) == {reason}
    unit = [[x / sum(y * y for y in v) ** 0.5 for x in v] for v in vectors]
    for id_, similarity in table.filter(pl.col("rank") > 0).select("id", "similarity").iter_rows():
        cosine = sum(a * b for a, b in zip(unit[int(id_[-1]) - 1], unit[survivor - 1], strict=True))
        assert similarity == pytest.approx(cosine, abs=1e-3)

from pathlib import Path
from typing import Any

import pytest

from catalog.errors import UserError
from catalog.ledger import Ledger
from catalog.store import Store
from curate import recipe as recipes
from curate import report
from curate import run as runs
from curate.engines.choose import choose

A = {"name": "a", "format": "text", "path": "a.jsonl", "fields": {"text": "text"}, "task": "text"}


def recipe(stage: Any = "aspect_ratio", source: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"name": "x", "sources": [{**A, **(source or {})}], "stages": [stage], **more}


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (recipe({"filter": "aspect_ratio", "bounds": {"aspect_ratio": 5}}), "must be a mapping"),
        (recipe({"filter": "aspect_ratio", "bounds": {"aspect_ratio": {"mim": 5}}}), "did you mean `min`"),
        (recipe({"filter": "aspect_ratio", "tasks": ["captoin"]}), "did you mean `caption`"),
        (recipe({"filter": "aspect_ratio", "prefer": ["aspect_ratio.aspect_ratio"]}), "never deduplicates"),
        (recipe({"filter": "aspect_ratio", "against": ["a"]}), "never looks anything up"),
        (
            recipe({"filter": "dedup_exact", "bounds": {"signature": {"min": 1}}}),
            "no score with bounds named `signature`",
        ),
        (
            recipe({"filter": "decontaminate_text", "bounds": {"match": {"min": 1}}}),
            "no score with bounds named `match`",
        ),
        (recipe({"filter": "dedup_exact", "prefer": ["dedup_exact.signature"]}), "no criterion named"),
        (
            recipe({"filter": "gopher_quality", "params": {"min_words": "many"}}),
            "`min_words` .* must be a whole number",
        ),
        (recipe({"filter": "dedup_minhash", "params": {"similarity": True}}), "`similarity` .* must be a number"),
        (recipe("clip_score"), "scores nothing without a model"),
        (recipe(source={"license": 5}), "`license` of source `a` must be text"),
        (recipe(mixture=5), "`mixture` of .* must be a mapping"),
    ],
)
def test_what_a_recipe_cannot_mean_is_wrong_use(raw: dict[str, Any], expected: str) -> None:
    with pytest.raises(UserError, match=expected) as e:
        recipes.parse(raw, "recipe `r.yaml`")
    assert e.value.usage


@pytest.mark.parametrize(
    ("source", "expected"),
    [({"path": 5}, "a name or a list of names"), ({"path": None}, "needs `path`"),
     ({"path": ["a.jsonl", 5]}, "a name or a list of names"), ({"fields": {"text": 5}}, "a name or a list of names")],
)  # fmt: skip
def test_what_a_source_cannot_mean_is_wrong_use(source: dict[str, Any], expected: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n')
    engine = choose("local", workers=1, address=None)
    with pytest.raises(UserError, match=expected) as e:
        runs.run(recipes.parse(recipe(source=source), "r"), Store(tmp_path / "store"), engine=engine, data=tmp_path,
                 progress=lambda *_: None)  # fmt: skip
    assert e.value.usage


def test_a_recipe_without_stages_keeps_everything_and_has_a_report(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n{"text": "b"}\n')
    engine, store = choose("local", workers=1, address=None), Store(tmp_path / "store")
    raw = {**recipe(), "stages": []}
    try:
        found = runs.run(recipes.parse(raw, "r"), store, engine=engine, data=tmp_path, progress=lambda *_: None).dataset
    finally:
        engine.close()
    ledger = Ledger(store, found)
    assert ledger.ids().to_list() == ["a/a.jsonl:1", "a/a.jsonl:2"]
    assert ledger.sources_of().to_list() == ["a", "a"]
    assert report.write(store, found, tmp_path / "report.html").is_file()


def test_an_empty_source_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n')
    (tmp_path / "b.jsonl").write_text("")
    raw = recipe()
    raw["sources"].append({**A, "name": "b", "path": "b.jsonl"})
    engine, store = choose("local", workers=1, address=None), Store(tmp_path / "store")
    try:
        found = runs.run(recipes.parse(raw, "r"), store, engine=engine, data=tmp_path, progress=lambda *_: None).dataset
    finally:
        engine.close()
    assert dict(found.counts) == {"rows": 1, "rejected": 0, "dropped": 0, "kept": 1}
    assert Ledger(store, found).keep_matrix().shape == (1, 1)
    assert store.kept(found, "b").num_rows == store.verdicts(found, "b").num_rows == 0
    assert report.write(store, found, tmp_path / "report.html").is_file()

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from catalog.errors import UserError
from catalog.store import Store
from curate import explain
from filters import base
from tests.curate.serial import go

SOURCE = {"name": "texts", "format": "text", "path": "texts.jsonl", "task": "text", "license": "MIT"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """300 texts of 1 to 300 words in shards of 50, ingested; their words scored with one set of parameters only."""
    data = tmp_path_factory.mktemp("data")
    lines = (json.dumps({"text": " ".join(["word"] * n)}) for n in range(1, 301))
    (data / "texts.jsonl").write_text("\n".join(lines))
    root = data / "store"
    stage = {"filter": "gopher_quality", "params": {"min_words": 1}}
    go({"name": "x", "shard_rows": 50, "sources": [SOURCE], "stages": [stage]}, root, data)
    return Store(root)


def words(store: Store, flt: base.Filter, rows: int) -> dict[str, Any]:
    out = explain.explain(store, [store.source("texts")], flt, rows=rows, progress=lambda *_: None)
    return {**out, "words": next(s for s in out["scores"] if s["score"] == "words")}


def files(store: Store) -> set[str]:
    return {p.as_posix() for p in store.root.rglob("*")}


def test_stored_scores_are_used_all_of_them(store: Store) -> None:
    before = files(store)
    out = words(store, explain.bind("gopher_quality", {"min_words": 1}), 10)
    assert out["stored"]
    assert out["looked_at"] == out["samples"] == 300
    found = out["words"]
    assert (found["scored"], found["null"], found["nan"]) == (300, 0, 0)
    assert (found["min"], found["max"]) == (50, 100_000)
    assert (found["below"], found["above"], found["dropped"]) == (49, 0, 49)
    assert found["quantiles"]["0.5"] == 150
    assert sum(found["histogram"]["kept"]) == 251
    assert sum(found["histogram"]["dropped"]) == 49
    low = found["near"][0]
    assert [c["value"] for c in low["kept"]] == [50, 51, 52]
    assert [c["value"] for c in low["dropped"]] == [49, 48, 47]
    assert low["kept"][0]["id"] == "texts/texts.jsonl:50"
    assert low["kept"][0]["text"].startswith("word word")
    assert files(store) == before


def test_a_score_without_a_bound_shows_its_ends(store: Store) -> None:
    out = explain.explain(
        store, [store.source("texts")], explain.bind("text_stats", {}), rows=0, progress=lambda *_: None
    )
    found = {s["score"]: s for s in out["scores"]}
    assert (found["words"]["min"], found["words"]["max"], found["words"]["near"]) == (None, None, [])
    assert [(c["id"], c["value"]) for c in found["words"]["ends"]["lowest"]] == [
        ("texts/texts.jsonl:1", 1), ("texts/texts.jsonl:2", 2), ("texts/texts.jsonl:3", 3)
    ]  # fmt: skip
    assert [c["value"] for c in found["words"]["ends"]["highest"]] == [300, 299, 298]
    assert found["words"]["ends"]["lowest"][1]["text"] == "word word"
    assert found["longest_word"]["ends"] == {}, "all the same"
    bounded = words(store, explain.bind("gopher_quality", {"min_words": 1}), 0)["words"]
    assert bounded["ends"] == {}
    assert bounded["near"]


def test_duplicates_are_counted_where_a_second_signature_is_empty(store: Store) -> None:
    """15 words or more have a signature; of one word over and over, all have the same shingle."""
    flt = explain.bind("dedup_minhash", {})
    out = explain.explain(store, [store.source("texts")], flt, rows=0, progress=lambda *_: None)
    assert out["clusters"] == {"signatures": 286, "clusters": 1, "in_clusters": 286, "dropped": 285}


def test_what_is_not_stored_is_scored_for_a_sample_and_not_written(store: Store) -> None:
    before = files(store)
    calls: list[tuple[int, int]] = []
    flt = explain.bind("gopher_quality", {"min_words": 2})
    out = explain.explain(store, [store.source("texts")], flt, rows=30, progress=lambda _, d, t: calls.append((d, t)))
    assert not out["stored"]
    assert out["looked_at"] == 30
    assert next(s for s in out["scores"] if s["score"] == "words")["quantiles"]["0.5"] == pytest.approx(150, abs=11)
    assert calls[-1] == (30, 30)
    assert files(store) == before
    assert words(store, flt, 0)["looked_at"] == 300


def test_scored_here_is_what_a_run_would_store(store: Store) -> None:
    stored = words(store, explain.bind("gopher_quality", {"min_words": 1}), 0)
    fresh = words(store, explain.bind("gopher_quality", {"min_words": 0}), 0)  # the same for these texts
    assert stored["words"] == fresh["words"]


def test_duplicates_are_counted(tmp_path: Path) -> None:
    texts = ["the very same words", "other words here", "the very same words", "the very same words"]
    (tmp_path / "texts.jsonl").write_text("\n".join(json.dumps({"text": t}) for t in texts))
    go({"name": "x", "sources": [SOURCE]}, tmp_path / "store", tmp_path)
    store = Store(tmp_path / "store")
    out = explain.explain(store, [store.source("texts")], base.load("dedup_exact"), rows=0, progress=lambda *_: None)
    assert out["clusters"] == {"signatures": 4, "clusters": 1, "in_clusters": 3, "dropped": 2}
    assert out["scores"] == []


def test_what_is_missing_is_named(store: Store, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="scores nothing without a model"):
        words(store, base.load("clip_score"), 10)
    with pytest.raises(UserError, match="needs an index"):
        words(store, base.load("decontaminate_text"), 10)
    with pytest.raises(UserError, match="no such model or index"):
        words(store, explain.bind("clip_score", {"model": str(tmp_path / "none")}), 10)
    with pytest.raises(UserError, match="did you mean `min_words`"):
        explain.bind("gopher_quality", {"min_word": 3})
    with pytest.raises(UserError, match="must be a whole number"):
        explain.bind("gopher_quality", explain.settings(["min_words=many"]))
    with pytest.raises(UserError, match="expected `<parameter>=<value>`"):
        explain.settings(["min_words"])


def test_settings_are_read_as_yaml() -> None:
    assert explain.settings(["a=1", "b=x: [", "c=[1, 2]", "d=null"]) == {"a": 1, "b": "x: [", "c": [1, 2], "d": None}


def test_every_filter_can_be_described() -> None:
    for flt in base.every():
        out = explain.describe(flt)
        json.dumps(out)
        assert out["summary"].endswith((".", "!", "?")), out["summary"]
        assert "\n" not in out["summary"]
        assert explain.bounds_of(flt)
        squeezed = " ".join(flt.doc.split())
        assert " ".join(explain.readable(flt.doc).split()) == squeezed, "no word is lost or added"


def test_a_docstring_is_wrapped_but_for_its_tables() -> None:
    doc = "A line\nthat goes on.\n\nsize     pixels\nratio    none at all\n\n- one thing\n  and more of it\n- another"
    assert explain.readable(doc, 20) == (
        "A line that goes on.\n\nsize     pixels\nratio    none at all\n\n- one thing and more\n  of it\n- another"
    )


def test_a_bound_keeps_what_it_includes_and_drops_nan() -> None:
    values = np.array([np.nan, 0.0, 1.0, 2.0])
    assert explain.inside(values, 1.0, None).tolist() == [False, False, True, True]
    assert explain.inside(values, None, 1.0).tolist() == [False, True, True, False]
    assert explain.inside(values, None, None).tolist() == [False, True, True, True]


def test_settings_are_yaml_or_else_text() -> None:
    given = ["a=1", "b=[x", "c=2024-13-45", "d=x=y"]
    assert explain.settings(given) == {"a": 1, "b": "[x", "c": "2024-13-45", "d": "x=y"}
    with pytest.raises(UserError, match="expected `<parameter>=<value>`"):
        explain.settings(["a"])


def test_a_name_that_is_none_leads_to_the_filters_about_it() -> None:
    with pytest.raises(UserError, match="no filter named `watermark`; none of the") as e:
        explain.bind("watermark", {})
    assert "`overlay`" in e.value.hint
    with pytest.raises(UserError, match="did you mean `blur`"):
        explain.bind("blurr", {})
    with pytest.raises(UserError) as e:
        explain.bind("zzzz", {})
    assert "-k WORD" in e.value.hint


def test_only_the_first_signature_says_who_is_compared(store: Store) -> None:
    # The second one of dedup_minhash is null unless a parameter asks for it.
    flt = explain.bind("dedup_minhash", {})
    assert next(iter(flt.scores)) == "signature"
    out = explain.explain(store, [store.source("texts")], flt, rows=0, progress=lambda *_: None)
    assert out["clusters"]["signatures"] > 200
    assert out["clusters"]["clusters"] > 0

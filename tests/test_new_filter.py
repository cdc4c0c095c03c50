"""Adding a filter touches one file: put into the folder of filters it is listed, explained, planned, run and reported."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner

import cli
import filters
from catalog.ledger import Ledger
from catalog.store import Store
from curate import draft, explain
from tests.curate.serial import go
from tests.curate.test_run import Serial
from tests.test_docs import blocks

ANSWERS = '''"""How many samples give the same answer, over all sources (our own).

same_answer (count): samples with this answer, this one included; null without an answer. Bound: at most 2, ours.
"""

import polars as pl
import pyarrow as pa

from filters.base import scorer
from filters.shared.text import assistant, table

POOLED = []


@scorer(version=1, scores={"answer": pa.string()}, pooled={"same_answer": pa.int64()}, bounds={"same_answer": (None, 2)})
def same_answer(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return the answer itself: what is to be known of one sample."""
    return table(answer=assistant(batch).cast(pa.string()))


def pool(signatures: pa.Table) -> pa.Table:
    """Return how often each answer was given."""
    POOLED.append(signatures.num_rows)
    frame = pl.DataFrame(pl.from_arrow(signatures)).drop_nulls("answer")
    return frame.select("id", pl.len().over("answer").cast(pl.Int64).alias("same_answer")).to_arrow().cast(
        pa.schema([("id", pa.string()), ("same_answer", pa.int64())])
    )
'''
TEXTS = ["what a day!!!", "quiet words", "no!", "quiet words", "another text", "quiet words"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of filters beside ours, and texts to look at."""
    there = tmp_path / "filters"
    there.mkdir()
    monkeypatch.setattr(filters, "__path__", [*filters.__path__, str(there)])
    monkeypatch.setattr("curate.engines.choose.choose", lambda *_, **__: Serial())
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"text": t}) for t in TEXTS))
    (tmp_path / "b.jsonl").write_text("\n".join(json.dumps({"text": t}) for t in TEXTS[4:]))
    yield tmp_path
    for path in there.glob("*.py"):
        sys.modules.pop(f"filters.{path.stem}", None)
        vars(filters).pop(path.stem, None)


def cuvee(*args: str | Path) -> str:
    done = CliRunner().invoke(cli.cuvee, [str(a) for a in args], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def recipe(*stages: Any) -> dict[str, Any]:
    sources = [{"name": n, "format": "text", "path": f"{n}.jsonl", "task": "text", "license": "MIT"} for n in "ab"]
    return {"name": "x", "shard_rows": 4, "sources": sources, "stages": list(stages)}


def test_the_example_of_the_page_is_one_file_and_appears_everywhere(folder: Path) -> None:
    code = next(text for page, text in blocks("python") if page == "add_a_filter.md")
    before = json.loads(cuvee("filters", "--json"))
    (folder / "filters" / "exclamations.py").write_text(code)

    listed = json.loads(cuvee("filters", "--json"))
    (mine,) = [f for f in listed if f not in before]
    assert mine["filter"] == "exclamations"
    assert mine["looks_at"] == ["text"]
    assert mine["scores"] == [{"score": "exclamations", "type": "double", "min": None, "max": 0.1, "kind": "score"}]
    assert mine["parameters"] == [{"name": "mark", "default": "!", "value": "!"}]
    assert "arXiv 2112.11446" in mine["sources"]
    assert "exclamations <= 0.1" in cuvee("filters")
    assert "How much of a text is exclamation marks." in cuvee("filters", "show", "exclamations")

    path = folder / "recipe.yaml"
    path.write_text(json.dumps(recipe("exclamations")))
    store = folder / "store"
    planned = json.loads(cuvee("plan", path, "--store", store, "--json"))
    assert [s["stage"] for s in planned["stages"]] == ["exclamations"]
    out = json.loads(cuvee("run", path, "--store", store, "--json"))
    assert out["funnel"] == [{"stage": "exclamations", "score": "exclamations", "alone": 2, "first": 2, "only": 2}]
    html = Path(out["report"]).read_text()
    assert "keep exclamations ≤ 0.1" in html
    assert "How much of a text is exclamation marks." in html
    assert "what a day!!!" in html
    shown = cuvee("filters", "show", "exclamations", "--source", "a", "--store", store)
    assert "stored scores" in shown
    assert "the bound drops 2 (33.33 %)" in shown
    drafted = cuvee("recipe", "init", "a", "--filters", "exclamations", "--store", store)
    assert "- filter: exclamations" in drafted


def test_a_pooling_filter(folder: Path) -> None:
    (folder / "filters" / "same_answer.py").write_text(ANSWERS)
    store = Store(folder / "store")
    first = go(recipe("same_answer"), store.root, folder).dataset
    ledger = Ledger(store, first)
    found = dict(zip(ledger.ids(), ledger.column(0, "value"), strict=True))
    # Counted over both sources: "quiet words" 3 + 1, "another text" 1 + 1.
    assert found == {
        "a/a.jsonl:1": 1, "a/a.jsonl:2": 4, "a/a.jsonl:3": 1, "a/a.jsonl:4": 4, "a/a.jsonl:5": 2, "a/a.jsonl:6": 4,
        "b/b.jsonl:1": 2, "b/b.jsonl:2": 4,
    }  # fmt: skip
    assert first.counts["dropped"] == 4
    pooled = sys.modules["filters.same_answer"].POOLED
    assert pooled == [8]

    engine = Serial()
    other = go(recipe({"filter": "same_answer", "bounds": {"same_answer": {"max": 1}}}), store.root, folder, engine)
    assert other.dataset.counts["dropped"] == 6
    assert engine.done == [], "another bound scores nothing"
    assert pooled == [8], "and pools nothing"
    raw = recipe("same_answer")
    (folder / "recipe.yaml").write_text(json.dumps(raw))
    planned = json.loads(cuvee("plan", folder / "recipe.yaml", "--store", store.root, "--json"))
    assert planned["passes"]["samples"] == 0
    assert next(s for s in planned["steps"] if s["step"] == "pool")["cached"] == 1

    backwards = go(raw, folder / "other", folder, Serial(backwards=True)).dataset
    assert backwards.digest == first.digest
    cut = go({**raw, "shard_rows": 3}, folder / "cut", folder).dataset
    assert (cut.ledger, cut.content) == (first.ledger, first.content)
    assert pooled == [8, 8, 8]

    # What it is limited to is what it counts over.
    limited = go(recipe({"filter": "same_answer", "sources": ["a"]}), store.root, folder).dataset
    values = Ledger(store, limited).column(0, "value")
    assert values.to_list() == [1, 3, 1, 3, 1, 3, None, None]
    assert pooled[3:] == [6]


def test_pooled_scores_are_shown_of_all_samples_only(folder: Path) -> None:
    (folder / "filters" / "same_answer.py").write_text(ANSWERS)
    store = Store(folder / "store")
    go(recipe(), store.root, folder)
    sources = [store.source(n) for n in "ab"]
    flt = explain.bind("same_answer", {})
    quiet: dict[str, Any] = {"progress": lambda *_: None}
    whole = explain.explain(store, sources, flt, rows=0, **quiet)
    assert [s["score"] for s in whole["scores"]] == ["same_answer"]
    assert whole["scores"][0]["dropped"] == 4
    assert whole["not_pooled"] == []
    part = explain.explain(store, sources, flt, rows=5, **quiet)
    assert part["scores"] == []
    assert part["not_pooled"] == ["same_answer"]
    made = draft.draft(store, sources, name="d", filters=["same_answer"], rows=5, **quiet)
    assert "--sample 0" in made.left_out["same_answer"]
    made = draft.draft(
        store, sources, name="d", filters=["same_answer"], rows=0, drop=0.5, **quiet
    )  # small counts: the published bound
    assert "same_answer: {max: " in made.text
    assert pl.Series(made.text.split("\n")).str.starts_with("  - filter: same_answer").any()

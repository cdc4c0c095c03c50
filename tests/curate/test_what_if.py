import json
from pathlib import Path
from typing import Any

import pytest

from catalog.errors import UserError
from catalog.store import DatasetVersion, Store
from curate.what_if import what_if
from tests.curate.serial import go

SAID = {"a": range(1, 41), "b": range(1, 21)}


def recipe(name: str, stages: list[Any], sources: tuple[str, ...] = ("a", "b")) -> dict[str, Any]:
    task = {"a": "text", "b": "vqa"}
    of = [{"name": s, "format": "text", "path": f"{s}.jsonl", "task": task[s],
           "prompt": "Say it.", "fields": {"text": "text"}} for s in sources]  # fmt: skip
    return {"name": name, "shard_rows": 7, "sources": of, "stages": stages}


UNBOUND = [
    {"filter": "gopher_quality", "params": {"min_words": 1}, "bounds": {"words": {"min": 3}}, "tasks": ["text"]},
    {"filter": "text_stats", "bounds": {}},
    "dedup_exact",
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sources: texts of 1 to 40 and of 1 to 20 words; the last text of each stands there twice."""
    folder = tmp_path_factory.mktemp("data")
    for name, sizes in SAID.items():
        texts = [" ".join([f"{name}word"] * n) for n in sizes]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in [*texts, texts[-1]]))
    return folder


@pytest.fixture(scope="module")
def done(data: Path) -> tuple[Store, DatasetVersion]:
    result = go(recipe("x", UNBOUND), data / "store", data)
    return Store(data / "store"), result.dataset


def test_a_score_of_a_stage_without_bounds(done: tuple[Store, DatasetVersion]) -> None:
    # a: 41 texts, 2 below 3 words, 1 copy; b: 21 texts, 1 copy.
    out = what_if(*done, ["text_stats.words.min=11"])
    assert out["kept"] == {"before": 38 + 20, "after": 30 + 10}
    assert out["notes"] == []
    changed = next(s for s in out["stages"] if s["changed"])
    assert changed == {
        "rule": "text_stats.words", "bound": {"min": "11.0"}, "changed": True, "dropped_before": 0, "dropped_after": 20,
    }  # fmt: skip


def test_another_score_of_a_bounded_stage_looks_at_the_same_tasks(done: tuple[Store, DatasetVersion]) -> None:
    out = what_if(*done, ["gopher_quality.mean_word_length.max=1"])
    assert {s["source"]: s["after"] for s in out["sources"]} == {"a": 0, "b": 20}


def test_a_fraction_and_bounds_of_both_kinds_together(data: Path, done: tuple[Store, DatasetVersion]) -> None:
    settings = ["text_stats.words.top=0.5", "gopher_quality.words.min=20"]
    guess = what_if(*done, settings)
    bounds: list[Any] = [
        {**UNBOUND[0], "bounds": {"words": {"min": 20}}},
        {"filter": "text_stats", "bounds": {"words": {"top": 0.5}}},
        "dedup_exact",
    ]
    real = go(recipe("y", bounds), data / "store", data)
    assert real.work["score_files_written"] == 0
    assert guess["kept"]["after"] == real.dataset.counts["kept"]
    assert {s["source"]: s["after"] for s in guess["sources"]} == {s["name"]: s["kept"] for s in real.dataset.sources}


def test_a_pooled_score(data: Path) -> None:
    stage = {"filter": "constant_answers", "bounds": {}}
    result = go(recipe("pooled", [stage]), data / "store", data)
    out = what_if(Store(data / "store"), result.dataset, ["constant_answers.same_answer.max=0"])
    # Answers of ten words or more to a question, none of them to another one: 32 in `a`; `b` is of task vqa.
    assert out["kept"] == {"before": 62, "after": 30}


def test_a_filter_that_another_recipe_ran(data: Path, done: tuple[Store, DatasetVersion]) -> None:
    go(recipe("other", [{"filter": "charset", "bounds": {}}], ("a",)), data / "store", data)
    out = what_if(*done, ["charset.replacement.max=-1"])
    assert out["notes"] == ["charset.replacement was not scored on b: nothing is dropped there"]
    assert {s["source"]: s["after"] for s in out["sources"]} == {"a": 0, "b": 20}
    again = {"filter": "charset", "bounds": {}, "params": {"scripts": ["Latin"]}}
    go(recipe("again", [again], ("a",)), data / "store", data)
    with pytest.raises(UserError, match="with 2 settings"):
        what_if(*done, ["charset.replacement.max=-1"])


def test_what_would_score_it_names_what_the_filter_cannot_do_without(done: tuple[Store, DatasetVersion]) -> None:
    with pytest.raises(UserError) as e:
        what_if(*done, ["clip_score.min=1"])
    assert "- {filter: clip_score, params: {model: ...}, bounds: {}}" in e.value.hint
    with pytest.raises(UserError) as e:
        what_if(*done, ["blur.min=1"])
    assert "- {filter: blur, bounds: {}}" in e.value.hint


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("blur.min=1", "`blur.blur` is not scored in this store: no stored scores of it for `a`, `b`"),
        ("text_stats.min=1", "`text_stats` names several scores: `text_stats."),
        ("text_stats.wrods.min=1", "has no score `wrods`; did you mean `words`"),
        ("text_stast.min=1", "no filter; did you mean `text_stats`"),
        ("zzz.min=1", "no filter; none of the"),
        ("dedup_minhash.min=1", "has no bound to change"),
        ("text_stats=1", "cannot read|no filter|several"),
        ("text_stats.words.mni=3", "did you mean `min`"),
    ],
)
def test_what_cannot_be_tried_says_why(setting: str, expected: str, done: tuple[Store, DatasetVersion]) -> None:
    with pytest.raises(UserError, match=expected):
        what_if(*done, [setting])

"""Known leaks in a small run: counted per evaluation set, certified, checked again, and shown with both texts."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from catalog import evals as registry
from catalog.errors import UserError
from catalog.store import DatasetVersion, Store
from curate import contamination, evals
from curate import recipe as recipes
from curate import run as runs
from tests.curate.serial import Serial

LONG = "A baker makes twelve trays of rolls each morning and sells five of them before noon, so how many are left?"
TRAIN = (
    "A train leaves the harbour at nine and travels along the coast for two hours before it turns inland to the mines."
)
OTHER = "Which of the rivers that cross the northern plain carries the most water in the first weeks of a wet spring?"
CLEAN = [
    f"The {a} stands near the {b}, and nobody has looked after either of them."
    for a in ("mill", "barn")
    for b in ("lake", "road", "wood")
]


def write(folder: Path) -> None:
    folder.mkdir()
    files = {
        "one.jsonl": [{"question": LONG, "answer": "7"}, {"question": TRAIN, "answer": "x"}],
        "two.jsonl": [{"question": OTHER, "choices": ["Ash", "Birch Water", "Cold Brook"], "answer": "B"}],
        "train.jsonl": [*({"text": t} for t in CLEAN), {"text": "So. " + LONG}, {"text": LONG}, {"text": OTHER}],
        "more.jsonl": [{"text": TRAIN}, {"text": "Nothing at all stands here, or next to nothing, on this fine day."}],
    }
    for name, rows in files.items():
        (folder / name).write_text("".join(json.dumps(r) + "\n" for r in rows))


def recipe(*stages: Any) -> recipes.Recipe:
    return recipes.parse(
        {
            "name": "small", "shard_rows": 4,
            "sources": [
                {"name": "train", "format": "text", "path": "train.jsonl", "task": "text"},
                {"name": "more", "format": "text", "path": "more.jsonl", "task": "document"},
                {"name": "one", "format": "text", "path": "one.jsonl", "role": "eval",
                 "fields": {"question": "question", "answer": "answer"}},
                {"name": "two", "format": "text", "path": "two.jsonl", "role": "eval",
                 "fields": {"question": "question", "choices": "choices", "answer": "answer"}},
            ],
            "stages": list(stages),
        },
        "it",
    )  # fmt: skip


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write(tmp_path / "data")
    return tmp_path / "data"


def go(spec: recipes.Recipe, data: Path) -> tuple[Store, DatasetVersion]:
    store = Store(data.parent / "store")
    return store, runs.run(spec, store, engine=Serial(), data=data, progress=lambda *_: None).dataset


def test_hits_are_counted_per_evaluation_set(data: Path) -> None:
    store, dataset = go(recipe("decontaminate_text"), data)
    (entry,) = dataset.decontamination
    sets = {s["name"]: (s["items"], s["items_hit"], s["removed"], s["flagged"]) for s in entry["sets"]}
    assert sets == {"one": (2, 2, 3, 0), "two": (1, 1, 1, 0)}
    assert (entry["hits"], entry["removed"], entry["flagged"], entry["broken"]) == (4, 4, 0, 0)
    assert (entry["looked_at"], entry["total"], entry["scored"]) == (11, 11, 11)
    assert entry["bounds"] == {"overlap": {"max": "0.5"}}
    assert entry["suite"] == registry.suite_digest([(n, store.source(n).digest) for n in ("two", "one")])
    assert dataset.counts["kept"] == 7
    assert contamination.complete(entry)
    assert "all 11 training samples were looked at" in contamination.said(entry)
    json.dumps(entry, allow_nan=False)


def test_with_no_bounds_leaks_are_flagged_and_kept(data: Path) -> None:
    store, dataset = go(recipe({"filter": "decontaminate_text", "bounds": {}}, {"filter": "decontaminate_exact"}), data)
    text, exact = dataset.decontamination
    assert (text["removed"], text["flagged"], exact["removed"], exact["flagged"]) == (0, 4, 4, 0)
    found = contamination.report(store, dataset)
    assert [s["kept"] for s in found["stages"][0]["sets"]] == [0, 0]  # the other stage has dropped them
    store, dataset = go(recipe({"filter": "decontaminate_text", "bounds": {"overlap": {"max": 1.0}}}), data)
    (entry,) = dataset.decontamination
    assert (entry["removed"], entry["flagged"], dataset.counts["kept"]) == (0, 4, 11)
    rows = contamination.table(contamination.report(store, dataset))
    assert [(r["set"], r["items hit"], r["flagged"], r["kept"]) for r in rows] == [("one", 2, 3, 3), ("two", 1, 1, 1)]


def test_a_stage_that_looks_at_a_part_says_so(data: Path) -> None:
    for limit, looked in (({"sources": ["train"]}, 9), ({"tasks": ["document"]}, 2)):
        store, dataset = go(recipe({"filter": "decontaminate_text", **limit}), data)
        (entry,) = dataset.decontamination
        assert (entry["looked_at"], entry["total"]) == (looked, 11)
        assert not contamination.complete(entry)
        assert f"only {looked} of 11" in contamination.said(entry)
        checks = contamination.verify(store, dataset)
        assert contamination.holds(checks)
        assert [c["ok"] for c in checks if c["check"] == "coverage"] == [None]


def test_examples_show_both_texts(data: Path) -> None:
    store, dataset = go(recipe("decontaminate_text"), data)
    found = contamination.report(store, dataset, examples=1)
    (shown,) = found["stages"][0]["sets"][1]["examples"]
    assert shown["id"] == "train/train.jsonl:9"
    assert shown["match"] == "two/two.jsonl:1"
    assert shown["text"] == OTHER
    assert shown["item"].startswith(OTHER + "\nA. Ash\nB. Birch Water")
    assert shown["value"] == "1.0"
    (part,) = contamination.section(store, dataset)
    assert part["complete"]
    assert [r["removed"] for r in part["rows"]] == [3, 1]
    assert len(part["examples"]) == 4
    assert contamination.table(found, every=True) == contamination.table(found)


def test_a_certificate_is_checked_again(data: Path) -> None:
    store, dataset = go(recipe("decontaminate_text", "decontaminate_exact", "decontaminate_minhash"), data)
    checks = contamination.verify(store, dataset)
    assert contamination.holds(checks)
    assert [c["check"] for c in checks] == ["suite", "sets", "index", "bounds", "hits", "removed", "coverage"] * 3
    assert all(c["ok"] for c in checks)

    def forged(**changes: Any) -> list[str]:
        entry = {**dataset.decontamination[0], **changes}
        found = contamination.verify(store, dataclasses.replace(dataset, decontamination=(entry,)))
        return [c["check"] for c in found if c["ok"] is False]

    sets = [dict(s) for s in dataset.decontamination[0]["sets"]]
    assert forged(suite="0" * 64) == ["suite"]
    assert forged(params={"n": 10}) == ["index"]
    assert forged(hits=3) == ["hits"]
    assert forged(looked_at=10) == ["hits"]
    assert forged(sets=[sets[0], {**sets[1], "removed": 0}]) == ["hits"]
    assert forged(sets=[sets[0], {**sets[1], "items": 5}]) == ["sets"]
    assert forged(sets=[sets[0], {**sets[1], "digest": "1" * 64}]) == ["suite", "sets"]
    loose = {"filter": "decontaminate_text", "bounds": {"overlap": {"max": 1.0}}}
    store, dataset = go(recipe(loose), data)
    assert contamination.holds(contamination.verify(store, dataset))
    assert forged(bounds={"overlap": {"max": "0.5"}}) == ["bounds", "hits", "removed"]  # what is kept shows it


def test_without_scores_it_cannot_be_checked(data: Path) -> None:
    store, dataset = go(recipe("decontaminate_text"), data)
    for path in store.root.glob("scores/decontaminate_text*/*/*"):
        path.unlink()
    with pytest.raises(UserError, match="the scores of `decontaminate_text` are gone"):
        contamination.verify(store, dataset)
    (part,) = contamination.section(store, dataset)  # the certificate itself is still there
    assert [(r["set"], r["removed"], r["kept"]) for r in part["rows"]] == [("one", 3, None), ("two", 1, None)]
    assert part["examples"] == []


def test_a_recipe_may_name_a_suite(data: Path) -> None:
    store, first = go(recipe("decontaminate_text"), data)
    suite = evals.add(store, "core", ["two"])
    assert suite.sets[0].forms == {"text": 1, "options": 1, "images": 0}
    _, dataset = go(recipe({"filter": "decontaminate_text", "against": ["suite:core"]}), data)
    (entry,) = dataset.decontamination
    assert entry["suite"] == suite.digest
    assert [(s["name"], s["removed"]) for s in entry["sets"]] == [("two", 1)]
    assert evals.add(store, "all", []).digest == first.decontamination[0]["suite"]
    assert [(r["suite"], r["sets"], r["items"]) for r in evals.listing(store)] == [("all", 2, 3), ("core", 1, 1)]
    with pytest.raises(UserError, match="no suite `cores`"):
        go(recipe({"filter": "decontaminate_text", "against": ["suite:cores"]}), data)


def test_well_known_benchmarks_are_sources_as_a_recipe_spells_them(data: Path) -> None:
    assert len(evals.known_rows()) == len(evals.known()) >= 20
    for name in evals.known():
        spec = evals.spec(name, "there/*.parquet")
        assert (spec.name, spec.role) == (name, "eval")
        spec.reader(data)  # the field map is one
    (data / "gsm8k").mkdir()
    (data / "gsm8k" / "test-00000-of-00001.jsonl").write_text(json.dumps({"question": LONG, "answer": "7"}) + "\n")
    store = Store(data.parent / "store")
    version = evals.add_known(store, "gsm8k", "gsm8k/*.jsonl", engine=Serial(), data=data, as_name="held")
    assert (version.name, version.role, version.samples, version.license) == ("held", "eval", 1, "MIT")
    assert evals.spec("gsm8k", "gsm8k", data=data).params["path"] == "gsm8k/**/test-*.parquet"
    with pytest.raises(UserError, match="did you mean `gsm8k`"):
        evals.spec("gsm8", "x")


def test_a_shared_file_is_registered(data: Path) -> None:
    store, _ = go(recipe("decontaminate_text"), data)
    suite = evals.add(store, "core", [])
    path = data / "core.json"
    path.write_text(json.dumps(suite.to_json()))
    other = Store(data.parent / "other")
    with pytest.raises(UserError, match="which this store does not have"):
        evals.add_file(other, path)
    runs.ingest_all(recipe(), other, engine=Serial(), data=data, progress=lambda *_: None)
    assert evals.add_file(other, path) == suite

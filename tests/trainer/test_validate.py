from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalog.errors import UserError
from tests.trainer import planted
from tests.trainer.test_train import MODEL
from trainer.report import better, render, sentence
from trainer.validate import RESULTS, Experiment, compare, validate


def experiment(w: Path, **more: Any) -> Experiment:
    arms = {
        "curated": planted.lock(w, "curated", samples=24, seed=1),
        "raw": planted.lock(w, "raw", samples=40, seed=1, defects=60),
    }
    spec = {
        "arms": arms, "eval": {t: planted.lock(w, f"e-{t}", samples=5, seed=9, task=t) for t in planted.TASKS},
        "clip": planted.clip(w / "clip"), "architectures": ["D", "X"], "seeds": [1, 2, 3], "samples": 32, "stage_1": 0.25,
        "train": {"batch": 8}, "backbone": {"vocab": 400, "samples": 48, "threads": 1, "model": MODEL},
        "evaluation": {"generate": 2, "max_new_tokens": 4},
    }  # fmt: skip
    return Experiment.from_dict({**spec, **more})


def test_grid_is_resumable_and_reports_everything(tmp_path: Path) -> None:
    e, ran = experiment(tmp_path), []

    def breaks(task: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        for k, item in enumerate(items):
            if k == 5:
                raise KeyboardInterrupt
            yield task(item)

    def counts(task: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        for item in items:
            before = (item.folder / "cells" / f"{item.name}.json").exists()
            ran.append(before)
            yield task(item)

    with pytest.raises(KeyboardInterrupt):
        validate(e, out=tmp_path / "out", map=breaks, open_lock=planted.Planted)
    report, folder = validate(e, out=tmp_path / "out", map=counts, open_lock=planted.Planted)
    assert (len(ran), sum(ran)) == (12, 5)
    again, same = validate(e, out=tmp_path / "out", open_lock=planted.Planted)
    assert same == folder
    assert again["comparisons"] == report["comparisons"]
    whole, _ = validate(e, out=tmp_path / "whole", open_lock=planted.Planted)
    assert whole["comparisons"] == report["comparisons"]

    assert {a: v["samples"] for a, v in report["arms"].items()} == {"curated": 24, "raw": 40}
    overall = [r for r in report["comparisons"] if r["task"] == "all" and r["measure"] == "loss"]
    assert [r["arch"] for r in overall] == ["D", "X"]
    assert all(r["low"] <= r["mean"] <= r["high"] and r["seeds"] == 3 and r["items"] == 20 for r in overall)
    assert all(0 <= r["p_holm"] <= 1 for r in overall)
    assert {r["arm"] for r in report["text_only"]} == {"before", "curated", "raw"}
    # every number of the table can be had again from the Parquet
    assert compare(pq.read_table(folder / "results.parquet"), ["curated", "raw"]) == report["comparisons"]
    page = (folder / "report.html").read_text()
    assert "no selection" in page
    assert page.count("<svg") >= 5
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")


def table(values: dict[tuple[str, int, str], float]) -> pa.Table:
    rows = [
        {"arm": arm, "arch": "D", "seed": seed, "item": item, "task": "vqa", "metric": "loss", "value": v}
        for (arm, seed, item), v in values.items()
    ]
    return pa.Table.from_pylist(rows, schema=RESULTS)


def test_compare_finds_a_planted_difference() -> None:
    values = {
        (arm, s, f"i{i}"): 1.0 + i / 10 + (0.2 + 0.01 * (s + i % 3)) * (arm == "raw")
        for arm in ("a", "raw") for s in (1, 2, 3) for i in range(30)
    }  # fmt: skip
    row = compare(table(values), ["a", "raw"])[0]
    assert -0.3 < row["low"] < row["high"] < -0.2
    assert row["left_mean"] - row["right_mean"] == pytest.approx(row["mean"])
    assert better(row) == "better"
    assert "a is better than raw in loss" in sentence(row)


@pytest.mark.parametrize(
    ("more", "words"),
    [({"seeds": [1, 2]}, "at least 3"), ({"seeds": [1, 2, 2, 3]}, "twice"), ({"arms": {"a": "x"}}, "at least 2"),
     ({"architectures": ["Z"]}, "expected some of D, X, H"), ({"train": {"seed": 1}}, "set by the grid"),
     ({"sample": 3}, "`samples`"), ({"samples": "many"}, "`samples` .* must be a whole number"), ({"seeds": 3}, "must be a list"),
     ({"train": {"batch": "x"}}, "`batch` .* must be a whole number"), ({"evaluation": {"items": 1.5}}, "whole number"),
     ({"train": {"bach": 1}}, "`batch`"), ({"evaluation": {"item": 1}}, "`items`"), ({"arms": [1]}, "expected a mapping")],
)  # fmt: skip
def test_wrong_specs_are_told(tmp_path: Path, more: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words) as e:
        experiment(tmp_path, **more)
    assert e.value.usage


def test_report_escapes_names(tmp_path: Path) -> None:
    report = {
        "id": "<x>", "settings": {"confidence": 0.95, "seeds": [1, 2, 3]}, "samples_seen": 5, "selection": "none",
        "arms": {"<b>": {"lock": "l", "samples": 1, "positions": 1}}, "comparisons": [],
        "text_only": [], "runs": [], "seconds": {},
    }  # fmt: skip
    assert "<b>" not in render(report)

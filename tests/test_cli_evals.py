"""`cuvee evals`, as somebody types it: a suite is made, shared, a run held against it, reported and checked."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import cli
from catalog.errors import UserError
from tests.curate.test_contamination import write

RECIPE = """
name: small
sources:
  - {name: train, format: text, path: train.jsonl, task: text}
  - {name: one, format: text, path: one.jsonl, fields: {question: question, answer: answer}, role: eval}
stages:
  - {filter: decontaminate_exact, against: ["suite:core"]}
"""


def go(*args: str | Path) -> Result:
    return CliRunner().invoke(cli.cuvee, [str(a) for a in args], catch_exceptions=False)


def test_a_suite_from_ingest_to_the_checked_certificate(tmp_path: Path) -> None:
    write(tmp_path / "data")
    recipe = tmp_path / "data" / "recipe.yaml"
    recipe.write_text(RECIPE)
    store = ("--store", tmp_path / "store")
    made = json.loads(
        go(
            "evals",
            "ingest",
            "gsm8k",
            tmp_path / "data" / "one.jsonl",
            "--as",
            "one",
            "--workers",
            "1",
            *store,
            "--json",
        ).stdout
    )
    assert (made["role"], made["samples"]) == ("eval", 2)
    suite = json.loads(go("evals", "add", "core", "one", *store, "--json").stdout)
    assert [s["name"] for s in suite["sets"]] == ["one"]
    assert go("evals", "show", "core", *store).stdout.split()[:2] == ["set", "version"]
    assert "core" in go("evals", "ls", *store).stdout
    assert "mathvista" in go("evals", "known").stdout

    assert go("run", recipe, "--workers", "1", *store, "--json").exit_code == 0
    report = json.loads(go("evals", "report", *store, "--json").stdout)
    (stage,) = report["stages"]
    assert (stage["suite"], stage["removed"], stage["sets"][0]["items_hit"]) == (suite["digest"], 2, 1)
    assert {e["match"] for e in stage["sets"][0]["examples"]} == {"one/one.jsonl:1"}
    assert "decontaminate_exact" in go("evals", "report", *store).stdout
    checks = go("evals", "verify", *store)
    assert checks.exit_code == 0
    assert " NO " not in checks.stdout

    (tmp_path / "core.json").write_text(json.dumps(suite))
    other = ("--store", tmp_path / "other")
    with pytest.raises(UserError, match="which this store does not have"):
        go("evals", "add", "core", "--from", tmp_path / "core.json", *other)
    assert go("evals", "add", "theirs", "--from", tmp_path / "core.json", *store).exit_code == 0
    with pytest.raises(UserError, match="either sources or"):
        go("evals", "add", "core", "one", "--from", tmp_path / "core.json", *store)

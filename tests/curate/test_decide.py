"""Judging an earlier version's ledger again gives the very files that judging stored scores gives."""

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from catalog.digests import file_digest
from catalog.errors import UserError
from catalog.store import DatasetVersion, Store
from curate import chunks
from curate import recipe as recipes
from curate import run as runs
from curate.engines.base import Engine
from tests.curate.test_run import Serial

_spec = importlib.util.spec_from_file_location("corpus", Path(__file__).with_name("corpus.py"))
assert _spec and _spec.loader
corpus = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(corpus)

CHANGES: list[dict[str, Any]] = [
    {"image_size": {"image_size": {"min": 30}}},
    {"aspect_ratio": {"aspect_ratio": {"max": 1.6}}},
    {"image_entropy": {"image_std": {"top": 0.5}}},
    {"image_entropy": {"image_std": {"top": 0.5, "per": "source"}}, "image_size": {"image_size": {"min": 70}}},
    {"decontaminate_text": {"overlap": {"max": 1.0}}},  # a bound with matches: from scores
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(corpus.write(tmp_path_factory.mktemp("corpus")))


def go(recipe: Path, store: Path, changes: dict[str, Any]) -> tuple[Store, DatasetVersion]:
    raw = yaml.safe_load(recipe.read_text())
    stages = [s if isinstance(s, dict) else {"filter": s} for s in raw["stages"]]
    raw["stages"] = [{**s, "bounds": changes[s["filter"]]} if s["filter"] in changes else s for s in stages]
    engine: Engine = Serial()
    spec = recipes.parse(raw, "test")
    result = runs.run(spec, Store(store), engine=engine, data=recipe.parent, progress=lambda *_: None)
    return Store(store), result.dataset


def files(store: Store, dataset: DatasetVersion) -> dict[str, str]:
    folder = store.dataset_dir(dataset.name, dataset.version)
    found = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    record = json.loads(found.pop("dataset.json").read_text())
    record.pop("volatile")
    return {**{name: file_digest(p) for name, p in found.items()}, "dataset.json": json.dumps(record, sort_keys=True)}


@pytest.mark.parametrize("change", CHANGES, ids=lambda c: "+".join(c))
def test_another_bound_gives_the_same_files_from_a_ledger_as_from_scores(
    change: dict[str, Any], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = files(*go(data, tmp_path / "fresh", change))
    store, before = go(data, tmp_path / "again", {})
    read = []
    whole = chunks.Scores.chunks
    monkeypatch.setattr(chunks.Scores, "chunks", lambda self, only=None: read.append(1) or whole(self, only))
    _, after = go(data, tmp_path / "again", change)
    assert before.digest != after.digest
    assert files(store, after) == fresh
    assert bool(read) == ("decontaminate_text" in change)
    assert (
        files(store, before)
        == files(*go(data, tmp_path / "again", {}))
        == files(store, store.dataset(f"small@{before.version}"))
    )


def test_unchanged_rules_share_their_files(data: Path, tmp_path: Path) -> None:
    go(data, tmp_path, {})
    store, after = go(data, tmp_path, CHANGES[1])
    folder = store.dataset_dir(after.name, after.version) / "verdicts" / "pairs" / "00000"
    links = {p.stem: p.stat().st_nlink for p in folder.iterdir()}
    assert links["image_size.image_size"] == 2
    assert links["aspect_ratio.aspect_ratio"] == 1


def _heads(folder: Path) -> None:
    next((folder / "heads").rglob("*.parquet")).unlink()


def _empty_head(folder: Path) -> None:
    next((folder / "heads").rglob("*.parquet")).write_bytes(b"")


def _verdict(folder: Path) -> None:
    next((folder / "verdicts").rglob("image_size*.parquet")).unlink()


def _columns(folder: Path) -> None:
    (folder / "columns.json").unlink()


def _kept(folder: Path) -> None:
    next((folder / "kept").rglob("*.parquet")).unlink()


@pytest.mark.parametrize("change", [{}, CHANGES[1]], ids=["same bounds", "other bounds"])
@pytest.mark.parametrize("damage", [_heads, _empty_head, _verdict, _columns, _kept])
def test_a_damaged_ledger_is_made_again_from_scores(
    damage: Callable[[Path], None], change: dict[str, Any], data: Path, tmp_path: Path
) -> None:
    store, before = go(data, tmp_path, {})
    whole = files(store, before)
    damage(store.dataset_dir(before.name, before.version))
    _, after = go(data, tmp_path, change)
    if change:
        assert files(store, after) == files(*go(data, tmp_path / "fresh", change))
    else:
        assert files(store, after) == whole


def test_a_source_that_was_cut_anew_is_not_judged_from_the_old_ledger(data: Path, tmp_path: Path) -> None:
    go(data, tmp_path / "store", {})
    shutil.rmtree(tmp_path / "store" / "sources")
    other = data.parent / "other.yaml"
    other.write_text(data.read_text().replace("shard_rows: 10", "shard_rows: 20"))
    with pytest.raises(UserError, match="cut differently before"):
        go(other, tmp_path / "store", CHANGES[1])
    shutil.rmtree(tmp_path / "store" / "scores")
    store, after = go(other, tmp_path / "store", CHANGES[1])
    assert files(store, after) == files(*go(other, tmp_path / "fresh", CHANGES[1]))

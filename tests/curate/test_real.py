"""The recipe of the public data: it parses, its mixture parses, and, where the data is, it plans and a slice of it runs."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from catalog.store import Store
from curate import recipe as recipes
from curate import run as runs
from curate.engines.choose import choose
from curate.plan import plan
from mixtures import spec as specs
from mixtures.lock import lock

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "curate" / "recipes" / "real.yaml"
DATA = ROOT.parent / "shared" / "data"
NAMED = {
    "grocery_store", "openclipart", "nlvr", "sroie_receipts", "opencqa_charts", "gsm8k", "instruct_gpteacher",
    "alttext_laion10k", "cs231n_notes",
}  # fmt: skip

needs_data = pytest.mark.skipif(not (DATA / "SOURCES.md").is_file(), reason="needs the public data of ../shared/data")


@pytest.fixture(scope="module")
def recipe() -> recipes.Recipe:
    return recipes.read(RECIPE)


def test_names_the_sources_and_holds_every_benchmark_against_them(recipe: recipes.Recipe) -> None:
    assert {s.name for s in recipe.members} >= NAMED
    assert len(recipe.by_role("eval")) == 26
    stages = {s.filter: s for s in recipe.stages}
    for name in ("decontaminate_text", "decontaminate_image"):
        assert stages[name].against == ()  # all of them


def test_ends_in_a_mixture_of_known_sources_with_known_licences(recipe: recipes.Recipe) -> None:
    spec = specs.parse(yaml.safe_dump(dict(recipe.mixture or {}), sort_keys=False), where="the mixture")
    licences = {s.name: s.license for s in recipe.members}
    used = [name for part in spec.sources for name in part.sources]
    assert len(used) == len(set(used)) == len(spec.sources)
    assert all(licences[name] != "unknown" for name in used)


@needs_data
def test_plans_without_writing(recipe: recipes.Recipe, tmp_path: Path) -> None:
    found = plan(recipe, Store(tmp_path / "store"), data=DATA)
    assert [s["source"] for s in found["sources"]] == [s.name for s in recipe.sources]
    assert [s["stage"] for s in found["stages"]] == [s.filter for s in recipe.stages]
    assert not list(tmp_path.rglob("*.parquet"))


@needs_data
def test_a_slice_runs_and_ends_in_a_mixture(recipe: recipes.Recipe, tmp_path: Path) -> None:
    """Receipts, charts and notes against two benchmarks: every format but the tar, every kind of stage."""
    small = {"sroie_receipts", "opencqa_charts", "cs231n_notes", "benchmarks_aime24", "benchmarks_amc23"}
    stages = tuple(
        replace(s, sources=tuple(n for n in s.sources if n in small))
        for s in recipe.stages
        if not s.sources or small & set(s.sources)
    )
    part = replace(recipe, sources=tuple(s for s in recipe.sources if s.name in small), stages=stages)
    store = Store(tmp_path / "store")
    engine = choose("local", workers=1, address=None)
    try:
        dataset = runs.run(part, store, engine=engine, data=DATA, progress=lambda *_: None).dataset
    finally:
        engine.close()
    counts = dataset.counts
    assert counts["rows"] == 79 + 258 + 62
    assert counts["rows"] == counts["kept"] + counts["dropped"] + counts["rejected"]
    assert store.kept(dataset, "sroie_receipts").num_rows == 79  # published bounds for prose and photos would drop 75
    assert 50 <= store.kept(dataset, "cs231n_notes").num_rows <= 58  # assignments of several years are near copies

    wanted = {**dict(recipe.mixture or {}), "budget": {"samples": 200}}
    wanted["sources"] = [s for s in wanted["sources"] if s["source"] in small]
    path = lock(specs.parse(yaml.safe_dump(wanted, sort_keys=False), where="the mixture"), store)
    assert path.name == "mixture.lock.json"

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
import yaml

from catalog import ledger
from catalog.digests import file_digest
from catalog.errors import UserError
from catalog.schema import CLUSTER, KEPT, VERDICT
from catalog.store import DatasetVersion, Store
from curate import recipe as recipes
from curate import run as runs
from curate.engines import _spill
from curate.engines.choose import choose
from curate.plan import plan
from mixtures.lock import lock
from mixtures.spec import Spec, parse

_spec = importlib.util.spec_from_file_location("corpus", Path(__file__).with_name("corpus.py"))
assert _spec and _spec.loader
corpus = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(corpus)


class Serial:
    """An engine in this very process, backwards if asked: order must not matter."""

    name = "serial"
    workers = 1

    def __init__(self, *, backwards: bool = False) -> None:
        self.backwards = backwards
        self.done: list[Any] = []

    def map(self, task: Callable[[Any], Any], items: Sequence[Any], *, gpu: bool = False) -> Iterator[Any]:
        for item in reversed(items) if self.backwards else items:
            self.done.append(item)
            yield task(item)

    def shuffle(self, make: Any, items: Sequence[Any], reduce: Any, *, scratch: Path) -> Iterator[Any]:
        return _spill.shuffle(lambda task, some: map(task, some), make, items, reduce, scratch)

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(corpus.write(tmp_path_factory.mktemp("corpus")))


def go(recipe: Path, store: Path, engine: Any = None) -> runs.Result:
    spec = recipes.read(recipe)
    return runs.run(spec, Store(store), engine=engine or Serial(), data=recipe.parent, progress=lambda *_: None)


@pytest.fixture(scope="module")
def done(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, DatasetVersion]:
    store = tmp_path_factory.mktemp("store")
    return Store(store), go(recipe, store).dataset


def test_the_books_balance_and_every_sample_has_a_verdict_per_rule(done: tuple[Store, DatasetVersion]) -> None:
    store, dataset = done
    assert dataset.counts == {
        "rows": 125,
        "rejected": 4,
        "dropped": 125 - 4 - dataset.counts["kept"],
        "kept": dataset.counts["kept"],
    }
    rules = ledger.rules_of(dataset)
    for source in dataset.sources:
        verdicts = store.verdicts(dataset, source["name"])
        assert verdicts.schema.equals(VERDICT)
        assert verdicts.num_rows == source["samples"] * len(rules)
        kept = store.kept(dataset, source["name"])
        assert kept.schema.equals(KEPT)
        frame = pl.DataFrame(pl.from_arrow(verdicts)).group_by("id").agg(pl.col("keep").all())
        assert set(frame.filter("keep")["id"]) == set(kept["id"].to_pylist())
        assert kept.num_rows == source["kept"]


def test_what_was_planted_is_dropped_and_says_by_what(done: tuple[Store, DatasetVersion]) -> None:
    store, dataset = done
    banner = ledger.why(store, dataset, "pairs/pairs.jsonl:1")
    assert banner["outcome"] == "dropped"
    assert [v["stage"] for v in banner["verdicts"] if not v["keep"]] == ["aspect_ratio"]
    leak = ledger.why(store, dataset, "texts/texts.jsonl:10")
    assert [(v["stage"], v["match"]) for v in leak["verdicts"] if not v["keep"]] == [
        ("decontaminate_text", "test/test.jsonl:3")
    ]
    copy = ledger.why(store, dataset, "texts/texts.jsonl:6")
    assert [(v["stage"], v["match"]) for v in copy["verdicts"] if not v["keep"]] == [
        ("dedup_exact", "texts/texts.jsonl:5")
    ]
    assert copy["clusters"][0]["members"][0]["keeper"] == "texts/texts.jsonl:5"
    assert ledger.why(store, dataset, "pairs/pairs.jsonl:62")["reject"]["code"] == "bad_image"
    assert ledger.why(store, dataset, "pairs/pairs.jsonl:63")["reject"]["code"] == "missing_image"
    with pytest.raises(UserError, match="did you mean `pairs`"):
        ledger.why(store, dataset, "pair/pairs.jsonl:63")


def test_clusters_are_written_with_keeper_and_similarity(done: tuple[Store, DatasetVersion]) -> None:
    store, dataset = done
    table = pl.read_parquet(store.dataset_dir(dataset.name, dataset.version) / "clusters" / "dedup_exact.parquet")
    assert table.columns[: len(CLUSTER.names)] == CLUSTER.names
    assert table.filter(pl.col("rank") == 0).height == table["cluster"].n_unique()
    assert "image_entropy.image_std" in table.columns


def test_the_certificate_names_the_suite(done: tuple[Store, DatasetVersion]) -> None:
    store, dataset = done
    (certificate,) = dataset.decontamination
    assert certificate["filter"] == "decontaminate_text"
    assert (certificate["hits"], certificate["removed"], certificate["flagged"]) == (1, 1, 0)
    assert certificate["sets"] == [
        {"name": "test", "digest": store.source("test").digest, "items": 5, "items_hit": 1, "removed": 1, "flagged": 0}
    ]


def test_a_second_run_does_nothing_and_says_the_same(recipe: Path, done: tuple[Store, DatasetVersion]) -> None:
    store, dataset = done
    engine = Serial()
    again = go(recipe, store.root, engine)
    assert again.dataset.digest == dataset.digest
    assert engine.done == []
    assert again.work["score_files_written"] == 0
    assert plan(recipes.read(recipe), store, data=recipe.parent)["passes"] == {"shards": 0, "samples": 0, "decoding": 0}


def test_the_order_of_work_does_not_change_a_byte(
    recipe: Path, done: tuple[Store, DatasetVersion], tmp_path: Path
) -> None:
    store, dataset = done
    other = go(recipe, tmp_path, Serial(backwards=True)).dataset
    assert other.digest == dataset.digest
    a, b = (files(s.dataset_dir("small", d.version)) for s, d in ((store, dataset), (Store(tmp_path), other)))
    a.pop("dataset.json"), b.pop("dataset.json")  # holds when and for how long
    assert a == b


def test_another_cut_into_shards_leaves_ledger_and_content(
    recipe: Path, done: tuple[Store, DatasetVersion], tmp_path: Path
) -> None:
    other = tmp_path / "recipe.yaml"
    other.write_text(recipe.read_text().replace("shard_rows: 10", "shard_rows: 7"))
    spec = recipes.read(other)
    out = runs.run(spec, Store(tmp_path / "s"), engine=Serial(), data=recipe.parent, progress=lambda *_: None).dataset
    assert (out.ledger, out.content, out.digest) == (done[1].ledger, done[1].content, done[1].digest)


def test_what_another_recipe_scored_does_not_change_who_survives(tmp_path: Path) -> None:
    # Two sources with one text; only `a` is scored, so its copy is preferred, whatever is known about `b`.
    for name, text in (("a", "the same words"), ("b", "the same words")):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"text": text}) + "\n")
    sources = [{"name": n, "format": "text", "path": f"{n}.jsonl", "task": "text"} for n in "ab"]
    judged = {"filter": "gopher_quality", "bounds": {"words": {"min": 1}}}
    dedup = {"filter": "dedup_exact", "prefer": ["gopher_quality.words"]}

    def digest(store: Path, only: list[str], name: str = "x") -> str:
        stages = [{**judged, "sources": only}, dedup]
        spec = recipes.parse({"name": name, "sources": sources, "stages": stages}, "test")
        found = runs.run(spec, Store(store), engine=Serial(), data=tmp_path, progress=lambda *_: None).dataset
        return found.digest

    fresh = digest(tmp_path / "fresh", ["b"])
    digest(tmp_path / "used", ["a", "b"], name="other")
    assert digest(tmp_path / "used", ["b"]) == fresh


def test_a_source_that_was_appended_to_costs_what_is_new_in_it(tmp_path: Path) -> None:
    """Of 25 rows in shards of 10, the first two shards stay as they are when five rows come to them."""

    def run(rows: int, store: str) -> runs.Result:
        lines = [json.dumps({"text": f"the text of row {i} " * 20}) for i in range(rows)]
        (tmp_path / "a.jsonl").write_text("\n".join(lines) + "\n")
        source = {
            "name": "a",
            "format": "text",
            "path": "a.jsonl",
            "fields": {"text": "text"},
            "task": "text",
            "license": "MIT",
        }
        raw = {"name": "x", "shard_rows": 10, "sources": [source], "stages": ["gopher_quality", "dedup_minhash"]}
        spec = recipes.parse(raw, "test")
        return runs.run(spec, Store(tmp_path / store), engine=Serial(), data=tmp_path, progress=lambda *_: None)

    assert run(25, "grown").work["samples_scored"] == 25
    grown = run(30, "grown")
    assert grown.work["samples_scored"] == 10
    assert grown.dataset.digest == run(30, "fresh").dataset.digest


def test_lost_scores_stop_the_run(recipe: Path, tmp_path: Path) -> None:
    class Forgetful(Serial):
        def map(self, task: Callable[[Any], Any], items: Sequence[Any], *, gpu: bool = False) -> Iterator[Any]:
            yield from super().map(task, items, gpu=gpu)
            for path in tmp_path.glob("scores/image_size@*/*/00000.parquet"):
                path.unlink()

    with pytest.raises(UserError, match="no such file"):
        go(recipe, tmp_path, Forgetful())


def test_workers_may_stand_in_another_folder(
    recipe: Path, done: tuple[Store, DatasetVersion], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Elsewhere(Serial):
        def map(self, task: Callable[[Any], Any], items: Sequence[Any], *, gpu: bool = False) -> Iterator[Any]:
            for item in items:
                with contextlib.chdir(tmp_path / "there"):
                    out = task(item)
                yield out

    (tmp_path / "there").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert go(recipe, Path("store"), Elsewhere()).dataset.digest == done[1].digest
    assert list((tmp_path / "there").iterdir()) == []


def test_two_runs_at_once_take_turns(recipe: Path, done: tuple[Store, DatasetVersion], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cli", "run", str(recipe), "--workers", "1", "--json", "--store", str(tmp_path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        out, said = process.communicate()
        assert process.returncode == 0, said
        assert json.loads(out)["digest"] == done[1].digest


def files(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): file_digest(p) for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize(
    "setting",
    [
        "image_size.min=20", "aspect_ratio.max=none", "image_entropy.image_std.top=0.5", "image_entropy.image_std.min=40",
        "decontaminate_text.overlap.max=none",
    ],
)  # fmt: skip
def test_what_if_counts_what_a_run_with_that_bound_keeps(
    setting: str, recipe: Path, done: tuple[Store, DatasetVersion], tmp_path: Path
) -> None:
    store, dataset = done
    guess = ledger.what_if(store, dataset, [setting])
    spec = recipes.read(recipe)
    name, _, value = setting.partition("=")
    stage, _, field = name.rpartition(".")
    stage, _, score = stage.partition(".")
    bound: dict[str, Any] = {} if value == "none" else {field: value}
    stages = [
        recipes.StageSpec(
            **{
                **vars(s),
                "bounds": {score or stage: recipes.bound_fields(bound, "x")} if s.filter == stage else s.bounds,
            }
        )
        for s in spec.stages
    ]
    changed = recipes.Recipe(**{**vars(spec), "stages": tuple(stages), "name": f"other-{os.getpid()}"})
    engine = Serial()
    real = runs.run(changed, store, engine=engine, data=recipe.parent, progress=lambda *_: None)
    assert engine.done == [], "changing a bound scores nothing again"
    assert guess["kept"]["after"] == real.dataset.counts["kept"]
    assert {s["source"]: s["after"] for s in guess["sources"]} == {s["name"]: s["kept"] for s in real.dataset.sources}


def test_what_if_refuses_what_it_cannot_mean(done: tuple[Store, DatasetVersion]) -> None:
    for setting, expected in (
        ("blurr.min=1", "names no bound"),
        ("image_size=1", "cannot read"),
        ("dedup_exact.min=1", "has no bound to change"),
        ("image_size.min=x", "must be a number"),
        ("image_size.mni=3", "did you mean `min`"),
    ):
        with pytest.raises(UserError, match=expected):
            ledger.what_if(*done, [setting])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "workers"), [("local", 1), ("local", 2), ("ray", 2)])
def test_every_engine_gives_the_same_digests(
    name: str, workers: int, recipe: Path, done: tuple[Store, DatasetVersion], tmp_path: Path
) -> None:
    engine = choose(name, workers=workers, address=None)
    try:
        other = go(recipe, tmp_path, engine).dataset
    finally:
        engine.close()
    assert (other.digest, other.ledger, other.content) == (done[1].digest, done[1].ledger, done[1].content)
    locked = [lock(_mixture(recipe), s) for s in (done[0], Store(tmp_path))]
    ids = [json.loads(p.read_bytes())["id"] for p in locked]
    assert ids[0] == ids[1]


def _mixture(recipe: Path) -> Spec:
    return parse(yaml.safe_dump(dict(recipes.read(recipe).mixture or {}), sort_keys=False))


KILL_AT = {
    "ingest": "sources/texts/.work/*/version/samples/*.parquet",
    "index": "indexes/*.parquet",
    "score": "scores/*/*/*.parquet",
    "cluster": "clusters/*/*.parquet",
    "judge": "datasets/small/.work/verdicts/*/*/*.parquet",
    "publish": "datasets/small/*/dataset.json",
    "mixture": "mixtures/*/.work*/*.arrow",
}


@pytest.mark.slow
def test_a_kill_in_any_stage_loses_nothing_and_changes_nothing(tmp_path: Path) -> None:
    recipe = corpus.write(tmp_path / "data", samples=200)
    command = [sys.executable, "-m", "cli", "run", str(recipe), "--workers", "1", "--json", "--store"]
    clean = subprocess.run([*command, str(tmp_path / "clean")], capture_output=True, text=True, check=True)
    want = json.loads(clean.stdout)
    store = tmp_path / "killed"
    killed = []
    before: dict[Path, int] = {}
    for stage, pattern in KILL_AT.items():
        process = subprocess.Popen([*command, str(store)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   start_new_session=True)  # fmt: skip
        while process.poll() is None:
            if next(store.glob(pattern), None) is not None:
                os.killpg(process.pid, signal.SIGKILL)
                killed.append(stage)
                break
            time.sleep(0.001)
        process.wait()
        for p in store.glob("scores/*/*/[0-9]*.parquet"):
            before.setdefault(p, p.stat().st_mtime_ns)
    assert {"ingest", "index", "score", "cluster", "judge"} <= set(killed)
    again = subprocess.run([*command, str(store)], capture_output=True, text=True, check=True)
    got = json.loads(again.stdout)
    for key in ("dataset", "digest", "ledger", "content", "mixture_id", "counts", "funnel"):
        assert got[key] == want[key], key
    assert got["work"]["score_files_cached"] >= len(before)
    assert all(p.stat().st_mtime_ns == t for p, t in before.items()), "a committed score was written again"
    shutil.rmtree(store)


def test_the_ledger_on_disk_can_be_read_rule_by_rule(done: tuple[Store, DatasetVersion]) -> None:
    book = ledger.Ledger(*done)
    matrix = book.keep_matrix()
    assert matrix.shape == (len(book.rules), 121)
    assert int(matrix.all(axis=0).sum()) == done[1].counts["kept"]
    for row, rule in zip(ledger.funnel(book.rules, matrix), book.rules, strict=True):
        assert row["only"] <= row["first"] <= row["alone"], rule
    assert pa.types.is_string(VERDICT.field("match").type)

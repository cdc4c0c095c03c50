"""The global half of deduplication gives the same bytes on every engine, in any order, however often interrupted."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from catalog import ledger
from catalog.digests import file_digest
from catalog.errors import UserError
from catalog.files import remove
from catalog.store import DatasetVersion, Store
from curate import recipe as recipes
from curate import run as runs
from curate.dedup import find as finding
from curate.dedup import tasks
from curate.engines import _spill
from curate.engines.choose import choose, names
from filters import base
from tests.curate.dedup.documents import FILES, texts, write


class Serial:
    """An engine in this process: backwards, or giving up after so many tasks, if asked."""

    name = "serial"
    workers = 1

    def __init__(self, *, backwards: bool = False, tasks: int = 1 << 30) -> None:
        self.backwards, self.left = backwards, tasks

    def map(self, task: Callable[[Any], Any], items: Sequence[Any], *, gpu: bool = False) -> Iterator[Any]:
        for item in reversed(items) if self.backwards else items:
            if not self.left:
                raise KeyboardInterrupt
            self.left -= 1
            yield task(item)

    def shuffle(self, make: Any, items: Sequence[Any], reduce: Any, *, scratch: Path) -> Iterator[Any]:
        return _spill.shuffle(self.map, make, items, reduce, scratch)

    def close(self) -> None:
        pass


def go(recipe: Path, store: Path, engine: Any = None, **changed: Any) -> DatasetVersion:
    spec = recipes.read(recipe)
    spec = recipes.Recipe(**{**vars(spec), **changed})
    return runs.run(spec, Store(store), engine=engine or Serial(), data=recipe.parent, progress=lambda *_: None).dataset


def bytes_of(store: Path) -> dict[str, str]:
    """Digests of all cluster files, found and decided."""
    paths = [*store.glob("clusters/*/*.parquet"), *store.glob("datasets/*/*/clusters/*.parquet")]
    return {p.relative_to(store).as_posix(): file_digest(p) for p in paths}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("corpus"), texts(600))


@pytest.fixture(scope="module")
def done(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DatasetVersion]:
    store = tmp_path_factory.mktemp("store")
    return store, go(recipe, store)


@pytest.fixture(autouse=True)
def many_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several parts, runs and cuts although there are few samples."""
    monkeypatch.setattr(finding, "PART", 50)
    monkeypatch.setattr(finding, "READ", 100)
    monkeypatch.setattr(finding, "STAR", 20)


def test_what_is_found_out_of_core_is_what_the_definition_says(done: tuple[Path, DatasetVersion]) -> None:
    """In memory, by id alone: only what is preferred differs, and for `dedup_exact` nothing is."""
    store = Store(done[0])
    source = store.source("texts")
    flt = base.load("dedup_exact")
    assert flt.cluster is not None
    parts = [
        store.samples(source, n, ["id", "digest"]).rename_columns(["id", "signature"]) for n in range(source.shards)
    ]
    want = flt.cluster(finding.pa.concat_tables(parts))
    (path,) = (done[0] / "clusters").glob("dedup_exact@*/*.parquet")
    assert finding.read_table(path).equals(finding.canonical(pl.DataFrame(pl.from_arrow(want))))
    assert want.num_rows > 40


def test_every_dropped_sample_is_similar_to_the_one_that_stays(done: tuple[Path, DatasetVersion]) -> None:
    (path,) = done[0].glob("datasets/*/*/clusters/dedup_minhash.parquet")
    found = pl.read_parquet(path)
    losers = found.filter(pl.col("rank") > 0)
    assert losers.height > 60
    assert losers["similarity"].min() >= 0.7  # type: ignore[operator]
    keepers = set(found.filter(pl.col("rank") == 0)["id"])
    assert set(losers["keeper"]) <= keepers
    assert set(losers["reason"]) == {"length", "id"}
    length = dict(found.select("id", "length").iter_rows())
    assert all(length[k] >= length[i] for i, k in losers.select("id", "keeper").iter_rows())
    survivors = set(Store(done[0]).kept(done[1], "texts")["id"].to_pylist())
    assert keepers <= survivors
    assert not set(losers["id"]) & survivors


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("workers", [1, 2])
def test_the_same_bytes_on_every_engine(
    name: str, workers: int, recipe: Path, done: tuple[Path, DatasetVersion], tmp_path: Path
) -> None:
    engine = choose(name, workers=workers, address=None)
    try:
        assert go(recipe, tmp_path, engine).digest == done[1].digest
    finally:
        engine.close()
    assert bytes_of(tmp_path) == bytes_of(done[0])


def test_the_order_of_tasks_and_the_cut_into_parts_change_nothing(
    recipe: Path, done: tuple[Path, DatasetVersion], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert go(recipe, tmp_path / "a", Serial(backwards=True)).digest == done[1].digest
    for name, value in (("PART", 10_000), ("READ", 10_000), ("STAR", 10_000)):
        monkeypatch.setattr(finding, name, value)
    assert go(recipe, tmp_path / "b").digest == done[1].digest
    other = go(recipe, tmp_path / "c", shard_rows=7)
    assert other.content == done[1].content
    assert bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b") == bytes_of(done[0])
    found = {p.partition("/")[2].partition("@")[0]: d for p, d in bytes_of(tmp_path / "c").items() if "clusters/d" in p}
    assert found == {
        p.partition("/")[2].partition("@")[0]: d for p, d in bytes_of(done[0]).items() if "clusters/d" in p
    }


def test_shards_in_another_order_give_the_same_clusters_up_to_their_names(
    done: tuple[Path, DatasetVersion], tmp_path: Path
) -> None:
    """Ids hold the name of the file: what was in 0.jsonl is in 2.jsonl now. Lengths alone decide, so all differ."""
    distinct = [t + " " + "x" * i for i, t in enumerate(texts(600))]
    order = (2, 0, 1)
    as_was, moved = write(tmp_path / "a", distinct), write(tmp_path / "b", distinct, order)
    go(as_was, tmp_path / "as_was")
    go(moved, tmp_path / "moved")
    tables = []
    for store in ("as_was", "moved"):
        (path,) = (tmp_path / store).glob("datasets/*/*/clusters/dedup_minhash.parquet")
        tables.append(pl.read_parquet(path))
    rename = {f"texts/{k}.jsonl": f"texts/{order[k]}.jsonl" for k in range(FILES)}

    def renamed(column: str) -> pl.Expr:
        file, line = pl.col(column).str.split(":").list.get(0), pl.col(column).str.split(":").list.get(1)
        return (file.replace_strict(rename) + ":" + line).alias(column)

    columns = ["id", "keeper", "rank", "similarity", "reason"]
    was = tables[0].with_columns(renamed("id"), renamed("keeper")).select(columns).sort("id")
    assert was.equals(tables[1].select(columns).sort("id"))
    assert was.height > 60


def test_a_run_that_gave_up_anywhere_in_the_global_half_goes_on(
    recipe: Path, done: tuple[Path, DatasetVersion], tmp_path: Path
) -> None:
    """The engine gives up after 2, 4, 6 .. tasks, each time in the same store, until it is done."""
    interrupted = 0
    while True:
        try:
            found = go(recipe, tmp_path / "cut", Serial(tasks=2 * (interrupted + 1)))
        except KeyboardInterrupt:
            interrupted += 1
            continue
        break
    assert interrupted > 8
    assert found.digest == done[1].digest
    assert bytes_of(tmp_path / "cut") == bytes_of(done[0])
    assert not list((tmp_path / "cut" / "clusters").rglob("*.work"))


@pytest.mark.timeout(180)
def test_kill_9_inside_the_global_half(tmp_path: Path) -> None:
    """A real run, killed with its workers while groups are being compared; the same command then gives the same bytes."""
    recipe = write(tmp_path / "corpus", texts(3000))
    command = [sys.executable, "-m", "cli", "run", str(recipe), "--json", "--workers", "2", "--store"]
    subprocess.run([*command, str(tmp_path / "whole")], check=True, capture_output=True)
    victim = subprocess.Popen(
        [*command, str(tmp_path / "cut")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        while victim.poll() is None and not list((tmp_path / "cut" / "clusters").glob("dedup_minhash@*/*.work/*")):
            time.sleep(0.001)
        os.killpg(victim.pid, signal.SIGKILL)
    finally:
        victim.communicate()
    assert victim.returncode == -signal.SIGKILL
    assert not list((tmp_path / "cut").glob("datasets/*/*/dataset.json"))
    subprocess.run([*command, str(tmp_path / "cut")], check=True, capture_output=True)
    assert bytes_of(tmp_path / "cut") == bytes_of(tmp_path / "whole")
    one, other = (Store(tmp_path / s).dataset("x") for s in ("whole", "cut"))
    assert one.digest == other.digest


def test_a_frozen_source_stays_and_is_in_no_dataset_version(tmp_path: Path) -> None:
    """What the new source has in common with the frozen one goes, whatever is preferred."""
    (tmp_path / "a.jsonl").write_text(
        "".join(json.dumps({"text": t}) + "\n" for t in ("one two three", "four five six"))
    )
    (tmp_path / "b.jsonl").write_text(
        "".join(json.dumps({"text": t}) + "\n" for t in ("seven", "one two three", "seven"))
    )
    sources = [
        {
            "name": n,
            "format": "text",
            "path": f"{n}.jsonl",
            "fields": {"text": "text"},
            "task": "text",
            "license": "CC0-1.0",
        }
        for n in ("a", "b")
    ]
    stages = [{"filter": "dedup_exact", "prefer": [{"source": ["b", "a"]}]}, "gopher_quality"]
    raw = {"name": "x", "sources": sources, "frozen": ["a"], "stages": stages}
    spec = recipes.parse(raw, "test")
    store = Store(tmp_path / "store")
    found = runs.run(spec, store, engine=Serial(), data=tmp_path, progress=lambda *_: None).dataset
    assert [s["name"] for s in found.sources] == ["b"]
    why = ledger.why(store, found, "b/b.jsonl:2")
    assert next((v["stage"], v["match"]) for v in why["verdicts"] if not v["keep"]) == ("dedup_exact", "a/a.jsonl:1")
    members = {m["id"]: m for c in why["clusters"] for m in c["members"]}
    assert members["b/b.jsonl:2"]["reason"] == "frozen"
    assert list(store.root.glob("scores/gopher_quality@*/*")) == [
        p for p in store.root.glob("scores/gopher_quality@*/*") if p.name == store.source("b").digest[:16]
    ]
    guess = ledger.what_if(store, found, ["gopher_quality.words.min=0"])
    assert guess["kept"]["before"] == found.counts["kept"], "as many as the run kept"
    open_ = recipes.parse({**raw, "frozen": []}, "test")
    both = runs.run(open_, store, engine=Serial(), data=tmp_path, progress=lambda *_: None).dataset
    assert both.digest != found.digest


def test_what_killed_writers_left_in_the_scratch_folder_is_in_nobodys_way(
    recipe: Path, done: tuple[Path, DatasetVersion], tmp_path: Path
) -> None:
    """Half a file under a temporary name beside every kind of file, each time the run is cut."""
    tasks, planted = 8, set()
    while True:
        try:
            found = go(recipe, tmp_path, Serial(tasks=tasks))
            break
        except KeyboardInterrupt:
            tasks += 8
        for step in ("keys", "groups", "extract", "edges", "stars"):
            for folder in tmp_path.glob(f"clusters/*/*.work/{step}"):
                suffix = next(folder.iterdir()).suffix
                (folder / f".tmp-9-00001{suffix}").write_bytes(b"half")
                planted.add(step)
    assert len(planted) >= 4
    assert found.digest == done[1].digest
    assert bytes_of(tmp_path) == bytes_of(done[0])
    assert not [p for p in (tmp_path / "clusters").rglob("*") if p.name.startswith(".tmp-") or p.suffix == ".work"]


def test_a_scratch_folder_that_was_cut_otherwise_is_not_used(
    recipe: Path, done: tuple[Path, DatasetVersion], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row numbers mean something else in it, as after an update that reads more shards at once."""
    with monkeypatch.context() as other:
        for name, value in (("PART", 200), ("READ", 40), ("STAR", 7)):
            other.setattr(finding, name, value)
        with pytest.raises(KeyboardInterrupt):
            go(recipe, tmp_path, Serial(tasks=70))
    assert list(tmp_path.glob("clusters/*/*.work/*/*"))
    assert go(recipe, tmp_path).digest == done[1].digest
    assert bytes_of(tmp_path) == bytes_of(done[0])


@pytest.mark.parametrize("bounds", [{}, {"words": {"min": 1}}])
def test_clusters_of_an_earlier_run_are_not_taken_where_the_preferred_stage_looks_elsewhere(
    bounds: dict[str, Any], tmp_path: Path
) -> None:
    """Limited to `b`, the stage has no score for `a`, and the copy in `b` is preferred."""
    said = "that is the thing with a few words of which some are to be and have and of " * 3
    for name, text in (("a", said), ("b", said.upper())):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"text": text}) + "\n")
    sources = [
        {"name": n, "format": "text", "path": f"{n}.jsonl", "fields": {"text": "text"}, "task": "text"} for n in "ab"
    ]
    found = []
    for store, limits in (("one", {}), ("one", {"sources": ["b"]}), ("fresh", {"sources": ["b"]})):
        quality = {"filter": "gopher_quality", "bounds": bounds, **limits}
        stages = [quality, {"filter": "dedup_text", "prefer": ["gopher_quality.words"]}]
        spec = recipes.parse({"name": "x", "sources": sources, "stages": stages}, "test")
        found.append(
            runs.run(spec, Store(tmp_path / store), engine=Serial(), data=tmp_path, progress=lambda *_: None).dataset
        )
    assert [{s["name"]: s["kept"] for s in d.sources} for d in found] == [
        {"a": 1, "b": 0}, {"a": 0, "b": 1}, {"a": 0, "b": 1},
    ]  # fmt: skip
    assert found[1].digest == found[2].digest


def test_duplicates_within_a_frozen_source_are_nobodys_business() -> None:
    rows = {"id": ["a/1", "a/2", "a/3", "b/1"], "cluster": ["1", "1", "3", "3"], "similarity": [1.0] * 4}
    found = finding.canonical(pl.DataFrame({**rows, "frozen": [1.0, 1.0, 1.0, 0.0]}), ("frozen",))
    assert found["id"].to_pylist() == ["a/3", "b/1"]


@pytest.mark.parametrize(
    ("row", "key", "said"),
    [
        ([0, 99], pa.array([1, 1], pa.uint64()), "rows from 0 to 1; got str 0 to 99"),
        ([-1, 0], pa.array([1, 1], pa.uint64()), "rows from 0 to 1; got str -1 to 0"),
        ([0, 1], pa.array([1.0, 1.0]), "key: double"),
        ([0, 1], pa.array([1, None], pa.uint64()), "no nulls"),
    ],
)
def test_keys_that_mean_nothing_are_told(row: list[int], key: Any, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from filters import dedup_exact

    monkeypatch.setattr(dedup_exact, "keys", lambda _: pa.table({"row": pa.array(row, pa.int64()), "key": key}))
    with pytest.raises(TypeError, match=said):
        tasks.keyed(base.load("dedup_exact"), pa.table({"id": ["a", "b"], "signature": ["x", "x"]}))


@pytest.mark.parametrize("similarity", [np.nan, 2.0, -1.0])
def test_similarities_that_mean_nothing_are_told(
    similarity: float, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from filters import dedup_exact

    monkeypatch.setattr(dedup_exact, "alike", lambda _, a, b: np.full(len(a), similarity))
    with pytest.raises(TypeError, match="`dedup_exact` is broken: `alike` must return"):
        go(recipe, tmp_path)


@pytest.mark.parametrize(
    "found",
    [None, {"id": ["zz"]}, {"id": ["a", "a"]}, {"id": ["a", None]}, {"similarity": [np.nan]}, {"similarity": ["x"]}],
)
def test_clusters_that_mean_nothing_are_told(found: dict[str, Any] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    from filters import dedup_phash

    size = len(next(iter(found.values()))) if found else 0
    table = (
        pa.table({"id": ["a"] * size, "cluster": ["a"] * size, "similarity": [1.0] * size, **found}) if found else None
    )
    monkeypatch.setattr(dedup_phash, "cluster", lambda _: table)
    with pytest.raises(TypeError, match="`dedup_phash` is broken: `cluster` must return"):
        tasks.clustered(base.load("dedup_phash"), pa.table({"id": ["a", "b"]}))


def test_a_criterion_or_a_frozen_source_given_twice_is_told() -> None:
    source = {"name": "a", "format": "text", "path": "a.jsonl", "fields": {"text": "text"}}
    raw = {"name": "x", "sources": [source, {**source, "name": "b"}]}
    with pytest.raises(UserError, match="`length` stands twice"):
        recipes.parse({**raw, "stages": [{"filter": "dedup_exact", "prefer": ["length", "length"]}]}, "test")
    with pytest.raises(UserError, match="`a` stands twice"):
        recipes.parse({**raw, "frozen": ["a", "a"]}, "test")
    with pytest.raises(UserError, match="that is not frozen"):
        recipes.parse({**raw, "frozen": ["a", "b"]}, "test")


def test_signatures_of_another_cut_into_shards_are_told(tmp_path: Path) -> None:
    """The source's folder was removed by hand and read again with other `shard_rows`; its scores are still those of before."""
    recipe, store = write(tmp_path / "corpus", texts(90)), tmp_path / "store"
    go(recipe, store)
    for folder in ("sources", "datasets", "clusters"):
        remove(store / folder)
    with pytest.raises(UserError, match="it was cut differently before"):
        go(recipe, store, shard_rows=7)


def test_an_appended_source_takes_over_whole_scores_alone(tmp_path: Path) -> None:
    """Of two shards that are as they were, the scores of one are damaged: they are made again, and nothing else."""
    recipe, store = write(tmp_path / "corpus", texts(90)), tmp_path / "store"
    first = go(recipe, store)
    paths = sorted(store.glob("scores/dedup_exact@*/*/*.parquet"))
    paths[0].write_bytes(b"half")
    with (tmp_path / "corpus" / "texts" / "2.jsonl").open("a") as f:
        f.write(json.dumps({"text": "one more"}) + "\n")
    second = go(recipe, store)
    assert second.counts["rows"] == first.counts["rows"] + 1
    new = [p for p in store.glob("scores/dedup_exact@*/*/*.parquet") if p.parent != paths[0].parent]
    assert {p.name: p.stat().st_nlink for p in new} == {"00000.parquet": 1, "00001.parquet": 2, "00002.parquet": 1}

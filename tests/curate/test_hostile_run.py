"""The whole road over hostile inputs: reasons in the rejects, the rest curated, nothing runs, nothing leaks to a terminal."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from catalog.store import Store
from curate import recipe as recipes
from curate import report
from curate import run as runs
from curate.engines import _spill
from curate.synth import hostile
from filters import base
from mixtures import lock, spec


class Serial:
    name = "serial"
    workers = 1

    def map(self, task: Callable[[Any], Any], items: Sequence[Any], *, gpu: bool = False) -> Iterator[Any]:
        return map(task, items)

    def shuffle(self, make: Any, items: Sequence[Any], reduce: Any, *, scratch: Path) -> Iterator[Any]:
        return _spill.shuffle(map, make, items, reduce, scratch)

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, runs.Result]:
    data = tmp_path_factory.mktemp("hostile")
    hostile.make(data)
    text = {"text": "text?"}
    sources = [
        {"name": "tars", "format": "webdataset", "path": "*.tar", "task": "caption"},
        {
            "name": "table",
            "format": "table",
            "path": "records.jsonl",
            "fields": {"image": "image", "text": "caption"},
            "task": "caption",
        },
        {"name": "folder", "format": "table", "path": "images", "task": "caption"},
        {"name": "lines", "format": "text", "path": ["broken.jsonl", "empty.jsonl"], "fields": text, "task": "text"},
        {"name": "captions", "format": "text", "path": "captions.jsonl", "fields": {"text": "caption"}, "task": "text"},
        {"name": "parquet", "format": "parquet", "path": "*.parquet", "fields": {"image": "image"}, "task": "caption"},
        {"name": "chats", "format": "conversations", "path": "*.json", "images": "images", "task": "vqa"},
    ]
    plain = [
        n
        for n in base.names()
        if base.load(n).build is None and not base.load(n).needs_model and not base.load(n).required
    ]
    stages = [{"filter": n, **({} if base.load(n).cluster else {"bounds": {}})} for n in plain]
    recipe = recipes.parse({"name": "hostile", "shard_rows": 3, "sources": sources, "stages": stages}, "test")
    store = Store(tmp_path_factory.mktemp("store"))
    return store, runs.run(recipe, store, engine=Serial(), data=data, progress=lambda *_: None)


def test_every_bad_thing_is_a_reject_with_its_reason_and_the_rest_is_there(ran: tuple[Store, runs.Result]) -> None:
    store, result = ran
    codes: Counter[str] = Counter()
    for source in store.sources():
        codes.update(source.rejected)
        assert source.rows == source.samples + source.rejects
    wanted = {"truncated", "unsafe_path", "duplicate_key", "bomb", "bad_image", "bad_utf8", "bad_json", "unreadable"}
    assert wanted <= set(codes), codes
    counts = result.dataset.counts
    assert counts["rows"] == counts["kept"] + counts["dropped"] + counts["rejected"]
    assert counts["kept"] > 10


def test_every_reject_says_where_and_what(ran: tuple[Store, runs.Result]) -> None:
    store, _ = ran
    for source in store.sources():
        for table in store.rejects(source):
            for row in table.to_pylist():
                assert row["locator"]
                assert row["message"]
                assert "Traceback" not in row["message"]


def test_hostile_captions_are_inert_in_the_report(ran: tuple[Store, runs.Result], tmp_path: Path) -> None:
    store, result = ran
    page = report.write(store, result.dataset, tmp_path / "report.html").read_text()
    assert "<script" not in page.lower().replace("&lt;script", "")
    assert "onerror=" not in page.replace("onerror=alert(1)&gt;", "")
    assert "\u202e" not in page
    assert "\x00" not in page


def test_they_can_be_locked_and_every_position_read(ran: tuple[Store, runs.Result]) -> None:
    from mixtures.loader import Loader

    store, _ = ran
    wish = {"name": "m", "budget": {"epochs": 1}, "sources": [{"ref": "hostile", "name": "all"}]}
    loader = Loader(lock.lock(spec.parse(wish), store))
    for position in range(len(loader)):
        sample = loader[position]
        for medium in sample["media"]:
            assert len(loader.read(medium)) == medium["size"]

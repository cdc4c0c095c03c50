import json
import os
from pathlib import Path

import pytest

from catalog import index
from catalog.digests import sha256
from catalog.errors import UserError
from catalog.files import write_json
from catalog.index import open_index, rebuild
from catalog.store import DatasetVersion, SourceVersion, Store


def _source(store: Store, name: str, content: str, when: str = "2026-01-01") -> SourceVersion:
    version = SourceVersion(
        name=name, digest=sha256(content.encode()), layout=sha256(b"layout"), role="train", license="CC-BY-4.0",
        shards=0, shard_rows=1000, rows=3, samples=2, rejects=1, rejected={"bad_image": 1}, tasks={"caption": 2},
        media={"image": 2}, spec={"format": "table"}, volatile={"created_at": when},
    )  # fmt: skip
    store.save_source(version, store.source_dir(name, version.digest))
    return version


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    a = _source(store, "food", "a")
    _source(store, "food", "b", "2026-02-01")
    dataset = DatasetVersion(
        name="clean", digest=sha256(b"clean"), recipe={"stages": [{"filter": "clip_score"}], "rules": []},
        sources=({"name": "food", "digest": a.digest, "samples": 2, "rejects": 1, "kept": 1, "license": "CC-BY-4.0"},),
        counts={"rows": 3, "rejected": 1, "dropped": 1, "kept": 1}, ledger=sha256(b"l"), content=sha256(b"c"),
        decontamination=(), volatile={"created_at": "2026-02-02"},
    )  # fmt: skip
    store.save_dataset(dataset, store.dataset_dir("clean", dataset.version))
    lock = {
        "schema": "mixture-lock/1", "id": "sha256:" + sha256(b"mix"), "name": "blend", "version": "1.0.0", "unit": "samples",
        "budget": {"samples": 10}, "sources": [{"name": "clean", "content": "sha256:" + dataset.content}],
    }  # fmt: skip
    write_json(store.mixture_dir("blend", "1.0.0") / "mixture.lock.json", lock)
    write_json(store.run_dir("r1") / "run.json", {"mixture": lock["id"], "model": "D"})
    return store


def test_ls_lists_everything_in_order(store: Store) -> None:
    rows = open_index(store).ls()
    assert [r["kind"] for r in rows] == ["source", "source", "dataset", "mixture", "run"]
    assert [r["ref"].split("@")[0] for r in rows] == ["food", "food", "clean", "blend", "r1"]
    assert [r["kind"] for r in open_index(store).ls("run")] == ["run"]
    with pytest.raises(UserError, match="did you mean `source`"):
        open_index(store).ls("sourc")
    assert open_index(store).ls("runs") == open_index(store).ls("run")


def test_a_run_can_be_walked_back_to_its_sources(store: Store) -> None:
    found = open_index(store)
    ref, kinds = "r1", []
    while True:
        shown = found.show(ref)
        kinds.append(shown["kind"])
        if not shown["inputs"]:
            break
        ref = shown["inputs"][0]["ref"]
    assert kinds == ["run", "mixture", "dataset", "source"]
    assert found.show(ref)["used_by"][0]["kind"] == "dataset"


def test_show_takes_names_prefixes_and_digests(store: Store) -> None:
    found = open_index(store)
    a, b = sha256(b"a"), sha256(b"b")
    assert found.show("food")["record"]["digest"] == b
    assert found.show(f"food@{a[:4]}")["record"]["digest"] == a
    assert found.show(a)["record"]["digest"] == a
    assert found.show("source:food")["record"]["digest"] == b
    assert found.show("blend@1.0.0")["kind"] == "mixture"
    assert found.show("sha256:" + sha256(b"mix"))["ref"] == "blend@1.0.0"
    with pytest.raises(UserError, match="did you mean `clean`"):
        found.show("claen")


def test_a_name_of_two_kinds_asks_which(store: Store) -> None:
    _source(store, "clean", "x")
    with pytest.raises(UserError, match="a dataset and a source"):
        open_index(store).show("clean")
    assert open_index(store).show("dataset:clean")["kind"] == "dataset"


def test_search(store: Store) -> None:
    assert [r["ref"].split("@")[0] for r in open_index(store).search("clip_SCORE")] == ["clean"]
    assert open_index(store).search("no such thing") == []


@pytest.mark.parametrize("damage", ["missing", "garbage", "cut", "empty", "flipped", "foreign"])
def test_a_damaged_index_is_made_again(store: Store, damage: str) -> None:
    want = open_index(store).ls()
    path = store.root / "catalog.sqlite"
    data = path.read_bytes()
    at = data.index(b"CC-BY-4.0, 1 rejected")
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(
            {
                "garbage": b"not a database " * 100,
                "cut": data[: len(data) // 2],
                "empty": b"",
                "flipped": data[:at] + b"MIT" + data[at + 3 :],
                "foreign": b"SQLite format 3\0" + b"\0" * 4080,
            }[damage]
        )
    assert open_index(store).ls() == want


def test_a_stale_index_never_answers(store: Store) -> None:
    assert len(open_index(store).ls("source")) == 2
    _source(store, "new", "n")
    assert len(open_index(store).ls("source")) == 3
    folder = store.source_dir("new", sha256(b"n"))
    (folder / "source.json").unlink()
    assert len(open_index(store).ls("source")) == 2


def test_a_current_index_is_not_made_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    open_index(store)
    monkeypatch.setattr(index, "rebuild", lambda _: pytest.fail("rebuilt"))
    assert len(open_index(store).ls()) == 5


def test_the_same_files_give_the_same_index(store: Store) -> None:
    rebuild(store)
    first = (store.root / "catalog.sqlite").read_bytes()
    rebuild(store)
    assert (store.root / "catalog.sqlite").read_bytes() == first


def test_a_read_only_store_gets_an_index_in_memory(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        msg = "cannot write `catalog.sqlite`: Read-only file system"
        raise UserError(msg)

    monkeypatch.setattr(index, "write_bytes", refuse)
    found = open_index(store)
    assert len(found.ls()) == 5
    assert "in memory only" in found.notes[0]
    assert not (store.root / "catalog.sqlite").exists()


def test_damaged_records_are_left_out_and_named(store: Store) -> None:
    path = store.source_dir("food", sha256(b"a")) / "source.json"
    path.write_text("{")
    os.utime(path, ns=(1, 1))
    for _ in range(2):  # made, and read back
        found = open_index(store)
        assert len(found.ls("source")) == 1
        assert "source.json" in found.notes[0]
    path.write_text(json.dumps(["not", "a", "record"]))
    assert len(open_index(store).ls("source")) == 1


def test_unfinished_work_is_not_listed(store: Store) -> None:
    write_json(store.root / "datasets" / ".work" / "x" / "dataset.json", {"name": "half"})
    assert len(open_index(store).ls("dataset")) == 1


def test_no_store(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no store at"):
        open_index(Store(tmp_path / "nowhere"))

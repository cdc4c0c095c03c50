import json
from pathlib import Path

import pytest

from catalog.digests import sha256
from catalog.errors import UserError
from catalog.store import SourceVersion, Store


def _source(store: Store, name: str, digest: str, when: str) -> SourceVersion:
    version = SourceVersion(
        name=name, digest=digest, layout=sha256(b"l"), role="train", license="unknown", shards=1, shard_rows=10, rows=1,
        samples=1, rejects=0, rejected={}, tasks={"text": 1}, media={}, spec={}, volatile={"created_at": when},
    )  # fmt: skip
    store.save_source(version, store.source_dir(name, digest))
    return version


def test_versions_by_name_and_prefix(tmp_path: Path) -> None:
    store = Store(tmp_path)
    old = _source(store, "food", "ab" + "0" * 62, "2026-01-02")
    new = _source(store, "food", "aa" + "0" * 62, "2026-01-03")
    assert store.sources() == [old, new]
    assert store.source("food") == new
    assert store.source("food@ab") == old
    assert store.source(old.ref) == old
    with pytest.raises(UserError, match="more than one version `a`"):
        store.source("food@a")
    with pytest.raises(UserError, match="no version `c`"):
        store.source("food@c")
    with pytest.raises(UserError, match="did you mean `food`"):
        store.source("fod")
    with pytest.raises(UserError, match="no dataset named"):
        store.dataset("food")


def test_a_record_of_the_wrong_kind(tmp_path: Path) -> None:
    store = Store(tmp_path)
    version = _source(store, "food", "a" * 64, "")
    path = store.source_dir("food", version.digest) / "source.json"
    path.write_text(json.dumps({"name": "food"}))
    with pytest.raises(UserError, match="is not a SourceVersion record"):
        store.sources()


def test_an_empty_store(tmp_path: Path) -> None:
    assert Store(tmp_path / "nowhere").sources() == []
    assert Store(tmp_path).datasets() == []

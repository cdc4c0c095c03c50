import json

import pytest

from catalog import evals
from catalog.errors import UserError
from catalog.files import read_json
from catalog.store import SourceVersion, Store


def source(store, name, digest, role="eval", samples=3):
    version = SourceVersion(
        name=name, digest=digest * 64, layout="0" * 64, role=role, license="MIT", shards=1, shard_rows=10, rows=samples,
        samples=samples, rejects=0, rejected={}, tasks={"math": samples}, media={}, spec={}, volatile={},
    )  # fmt: skip
    store.save_source(version, store.source_dir(name, version.digest))
    return version


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def test_the_digest_is_of_what_is_in_it_not_of_name_or_order(store):
    a, b = source(store, "a", "1"), source(store, "b", "2")
    one = evals.of_sources("core", [b, a], {})
    two = evals.of_sources("other", [a, b], {a.digest: {"text": 3}})
    assert one.digest == two.digest
    assert [s.name for s in one.sets] == ["a", "b"]
    assert one.digest != evals.of_sources("core", [a], {}).digest
    assert one.digest == evals.suite_digest([("b", b.digest), ("a", a.digest)])


def test_a_suite_is_kept_under_its_digest_and_the_latest_of_a_name_is_meant(store):
    a, b = source(store, "a", "1"), source(store, "b", "2")
    first, second = evals.of_sources("core", [a], {}), evals.of_sources("core", [a, b], {})
    for suite in (first, second, second):
        evals.save(store, suite)
    assert len(evals.suites(store)) == 2
    assert evals.suite(store, "core") == second
    assert evals.suite(store, f"suite:core@{first.digest[:8]}") == first
    assert evals.members(store, second) == [a, b]
    with pytest.raises(UserError, match="no suite `cor`; did you mean `core`"):
        evals.suite(store, "cor")


def test_a_shared_suite_is_taken_where_the_same_versions_are(store, tmp_path):
    a, b = source(store, "a", "1"), source(store, "b", "2")
    path = evals.save(store, evals.of_sources("core", [a, b], {a.digest: {"text": 3}}))
    there = Store(tmp_path / "there")
    source(there, "a", "1")
    source(there, "b", "3")
    shared = evals.parse(read_json(path), "it")
    with pytest.raises(UserError, match=r"needs `b@2222222222222222`.*it has `b@3333333333333333`"):
        evals.check(there, shared)
    assert evals.suites(there) == []
    source(there, "b", "2")
    assert evals.check(there, shared).sets[0].forms == {"text": 3}
    assert evals.suite(there, "core").digest == shared.digest


def test_a_changed_file_and_wrong_sets_are_user_errors(store):
    a = source(store, "a", "1")
    raw = json.loads(json.dumps(evals.of_sources("core", [a], {}).to_json()))
    raw["sets"][0]["digest"] = "9" * 64
    with pytest.raises(UserError, match="was changed"):
        evals.parse(raw, "it")
    for wrong in (
        {},
        {"name": "x"},
        [],
        {"name": "x", "digest": "y", "sets": [1]},
        {"name": "x", "digest": "y", "sets": [{}]},
    ):
        with pytest.raises(UserError, match="is no suite"):
            evals.parse(wrong, "it")
    with pytest.raises(UserError, match="has role `train`"):
        evals.of_sources("core", [source(store, "t", "4", role="train")], {})
    with pytest.raises(UserError, match="names `a` twice"):
        evals.of_sources("core", [a, a], {})
    with pytest.raises(UserError, match="no evaluation set"):
        evals.of_sources("core", [], {})
    with pytest.raises(UserError, match="letters, digits"):
        evals.of_sources("../core", [a], {})

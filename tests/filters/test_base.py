import dataclasses
import os
from pathlib import Path

import pyarrow as pa
import pytest

from catalog.errors import UserError
from filters import base
from filters.base import load, scorer


def test_an_unknown_filter_is_refused_with_the_nearest_name():
    with pytest.raises(UserError, match="did you mean `gopher_quality`") as e:
        load("gopher_qualty")
    assert e.value.usage


def test_an_unknown_parameter_is_refused_with_the_nearest_name():
    with pytest.raises(UserError, match="no parameter `min_word`; did you mean `min_words`") as e:
        load("gopher_quality", {"min_word": 3})
    assert e.value.usage


def test_names_are_the_files_of_the_folder():
    assert "base" not in base.names()
    assert "shared" not in base.names()
    assert [f.name for f in base.every()] == base.names()


def test_the_fingerprint_follows_parameters_and_version_but_not_bounds():
    f = load("gopher_quality")
    assert load("gopher_quality", {"min_words": 51}).fingerprint != f.fingerprint
    assert load("gopher_quality", {"min_words": 50}).fingerprint == f.fingerprint
    assert dataclasses.replace(f, version=f.version + 1).fingerprint != f.fingerprint
    assert dataclasses.replace(f, bounds={"words": (1, None)}).fingerprint == f.fingerprint


def test_the_fingerprint_follows_the_content_of_an_index_and_not_its_path(tmp_path):
    paths = [tmp_path / "a", tmp_path / "b"]
    for path in paths:
        path.write_bytes(b"one")
    a, b = (load("decontaminate_text", {"index": str(p)}).fingerprint for p in paths)
    assert a == b
    paths[1].write_bytes(b"two")
    os.utime(paths[1], ns=(1, 1))
    assert load("decontaminate_text", {"index": str(paths[1])}).fingerprint != a
    assert load("decontaminate_text").fingerprint != a


def test_a_missing_index_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="no such model or index"):
        _ = load("decontaminate_text", {"index": str(tmp_path / "none")}).fingerprint


def test_a_folder_as_model_is_digested_by_its_files(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        folder.mkdir()
        (folder / "w").write_bytes(b"x")
    assert base.path_digest(one) == base.path_digest(two)
    (tmp_path / "three").mkdir()
    (tmp_path / "three" / "v").write_bytes(b"x")
    assert base.path_digest(tmp_path / "three") != base.path_digest(one)


def test_a_broken_filter_is_caught():
    @scorer(version=1, scores={"x": pa.float64()}, bounds={})
    def broken(batch):
        return pa.record_batch([pa.array([1])], names=["x"])

    with pytest.raises(TypeError, match="is broken"):
        broken.score(pa.record_batch([pa.array([1])], names=["id"]))


def test_the_global_halves_take_the_parameters_that_they_know():
    assert load("dedup_minhash", {"bands": 5}).cluster.keywords["bands"] == 5
    assert load("decontaminate_text", {"n": 9}).build.keywords == {
        "n": 9,
        "short": 8,
        "min_words": 5,
        "distinct_words": 5,
    }
    assert load("gopher_quality").cluster is None
    assert load("gopher_quality").build is None


def test_a_folder_whose_file_is_rewritten_in_place_has_another_digest(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "a").write_bytes(b"1")
    before = base.path_digest(tmp_path / "m")
    stamp = (tmp_path / "m").stat()
    (tmp_path / "m" / "a").write_bytes(b"22")
    os.utime(tmp_path / "m", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert base.path_digest(tmp_path / "m") != before

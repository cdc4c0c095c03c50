"""The wheel holds what it should, and nothing that it installs has the name of one of our packages."""

import importlib.metadata
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOP = {"catalog", "cli.py", "curate", "filters", "mixtures", "trainer"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    # Of a copy: `build/` of an earlier build would leak files that are gone into the wheel.
    tree = tmp_path_factory.mktemp("tree") / "cuvee"
    skip = shutil.ignore_patterns(".*", "__pycache__", "build", "dist", "*.egg-info", "store", "demo-out")
    shutil.copytree(ROOT, tree, ignore=skip)
    command = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(tree / "dist"), str(tree)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return zipfile.ZipFile(next((tree / "dist").glob("*.whl")))


def test_top_level_is_exactly_the_six_names(wheel: zipfile.ZipFile) -> None:
    top = {name.partition("/")[0] for name in wheel.namelist()}
    assert {t for t in top if not t.endswith(".dist-info")} == TOP
    listed = next(n for n in wheel.namelist() if n.endswith(".dist-info/top_level.txt"))
    assert set(wheel.read(listed).decode().split()) == {t.removesuffix(".py") for t in TOP}


def test_every_module_and_data_file_ships(wheel: zipfile.ZipFile) -> None:
    have = set(wheel.namelist())
    for name in sorted(TOP - {"cli.py"}):
        for path in (ROOT / name).rglob("*"):
            if path.suffix in (".py", ".yaml", ".jinja", ".json", ".txt") and "__pycache__" not in path.parts:
                assert path.relative_to(ROOT).as_posix() in have


def test_the_licence_and_the_command_ship(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    assert any(n.endswith("licenses/LICENSE") for n in names)
    entry = next(n for n in names if n.endswith("entry_points.txt"))
    assert "cuvee = cli:main" in wheel.read(entry).decode()


def test_no_dependency_takes_one_of_our_names() -> None:
    ours = {t.removesuffix(".py") for t in TOP}
    for package, owners in importlib.metadata.packages_distributions().items():
        if package in ours:
            assert set(owners) == {"cuvee"}, f"`{package}` also comes from {owners}"


def test_packages_are_listed() -> None:
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    there = {
        p.parent.relative_to(ROOT).as_posix().replace("/", ".")
        for name in TOP - {"cli.py"}
        for p in (ROOT / name).rglob("__init__.py")
    }
    assert listed == there


def test_constraints_are_exact_pins() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert all("==" in line and "/" not in line and "@" not in line for line in lines)
    assert [line.partition("==")[0] for line in lines] == sorted(line.partition("==")[0] for line in lines)

"""What may import what, beyond the layers that import-linter checks."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("catalog", "curate", "filters", "mixtures", "trainer")
MODULES = [*sorted(p for name in PACKAGES for p in (ROOT / name).rglob("*.py")), ROOT / "cli.py"]


def _imported(tree: ast.AST) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {a.name.partition(".")[0] for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            names.add((node.module or "").partition(".")[0])
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_module(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), f"`{path}` says nothing about itself"
    if path.name != "cli.py":
        assert "cli" not in _imported(tree), f"`{path}` imports the command line"
    if path.name == "__init__.py":
        assert len(tree.body) == 1, f"`{path}` holds more than a docstring"


@pytest.mark.parametrize("module", ["mixtures.loader", "trainer.train"])
def test_training_needs_little(module: str) -> None:
    """What comes with torch, numpy, pyarrow and pillow does not count; nothing else that is heavy may be loaded."""
    code = f"""
import importlib, json, sys
for name in ("torch", "numpy", "pyarrow", "PIL"):
    importlib.import_module(name)
before = set(sys.modules)
importlib.import_module({module!r})
print(json.dumps(sorted({{m.partition(".")[0] for m in set(sys.modules) - before}})))
"""
    if not (ROOT / (module.replace(".", "/") + ".py")).exists():
        pytest.skip(f"`{module}` is not written yet")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {m for m in json.loads(done.stdout) if not m.startswith("_")}
    heavy = {
        "click", "datasets", "faiss", "jinja2", "matplotlib", "numba", "open_clip", "pandas", "polars", "ray", "rich",
        "scipy", "torchvision", "webdataset", "yaml", "curate", "filters",
    }  # fmt: skip
    assert not loaded & heavy


@pytest.mark.parametrize("module", ["cli", "curate.engines.choose", "curate.engines.local", "curate.engines.ray"])
def test_starting_is_quick(module: str) -> None:
    code = f"import sys, {module}; print(*(m for m in ('torch', 'ray', 'open_clip', 'faiss', 'numba') if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""

"""Documentation that can be run is run: commands exist, recipes and specs parse, the example filter works."""

import re
import shlex
import sys
import types
from pathlib import Path

import click
import pyarrow as pa
import pytest
import yaml

import cli
from catalog.schema import SAMPLE
from curate import recipe as recipes
from curate.ingest import SourceSpec
from filters import base
from mixtures import spec as specs
from trainer.validate import Experiment

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(kind: str) -> list[tuple[str, str]]:
    return [(p.name, text) for p in PAGES for k, text in BLOCK.findall(p.read_text()) if k == kind]


def written_commands() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        text = page.read_text()
        code = [block for _, block in BLOCK.findall(text)] + re.findall(r"^    .+$", text, re.MULTILINE)
        lines = [line.strip().removeprefix("$ ") for block in code for line in block.splitlines()]
        inline = re.findall(r"`(cuvee [^`]+)`", text)
        found += [(page.name, c) for c in [*inline, *(x for x in lines if x.startswith("cuvee "))]]
    return found


@pytest.mark.parametrize(("page", "command"), sorted(set(written_commands())))
def test_every_command_in_the_docs_exists_with_its_options(page: str, command: str) -> None:
    words = shlex.split(command.split("#")[0].split("  ")[0])[1:]
    group: click.Command = cli.cuvee
    while isinstance(group, click.Group) and words and not words[0].startswith("-"):
        assert words[0] in group.commands, f"{page}: `{command}`"
        group = group.commands[words.pop(0)]
    options = {o for p in group.params for o in (*p.opts, *p.secondary_opts)} | {"--help", "--version"}
    for word in words:
        if word.startswith("--"):
            assert word.partition("=")[0] in options, f"{page}: `{command}`"


def test_the_example_of_how_to_add_a_filter_is_a_filter() -> None:
    code = next(text for page, text in blocks("python") if page == "add_a_filter.md")
    module = types.ModuleType("filters.exclamations")
    sys.modules["filters.exclamations"] = module
    try:
        exec(compile(code, "exclamations.py", "exec"), vars(module))
        flt = module.exclamations
        assert isinstance(flt, base.Filter)
        said = [[{"role": "assistant", "content": "hey!"}], []]
        empty = {"digest": "", "source": "s", "task": "text", "license": "", "media": [], "boxes": [], "meta": "{}"}
        rows = [{"id": f"s/{i}", "messages": m, **empty} for i, m in enumerate(said)]
        assert flt.score(pa.RecordBatch.from_pylist(rows, schema=SAMPLE)).to_pylist() == [
            {"exclamations": 0.25},
            {"exclamations": None},
        ]
    finally:
        del sys.modules["filters.exclamations"]


def test_the_example_of_a_pooled_score_pools() -> None:
    first, second = (text for page, text in blocks("python") if page == "add_a_filter.md")
    module = types.ModuleType("filters.echo")
    sys.modules["filters.echo"] = module
    try:
        imports = first[first.index("import") : first.index("@scorer")]
        exec(compile(imports + second, "echo.py", "exec"), vars(module))
        flt = module.echo
        assert flt.bounds == {"times": (None, 100)}
        known = {"id": ["a", "b", "c"], "source": ["s"] * 3, "task": ["text"] * 3, "said": ["x", "y", "x"]}
        assert flt.pool(pa.table(known)).sort_by("id")["times"].to_pylist() == [2, 1, 2]
    finally:
        del sys.modules["filters.echo"]


def test_the_yaml_in_the_docs_is_what_the_code_reads() -> None:
    for page, text in blocks("yaml"):
        raw = yaml.safe_load(text)
        if page == "mixtures.md":
            assert specs.parse(text).sources
        elif page == "validation.md":
            assert Experiment.from_dict(raw).arms
        elif page == "sources.md":
            entries = raw["sources"] if isinstance(raw, dict) else raw
            assert [SourceSpec.of(e) for e in entries]


@pytest.mark.parametrize("path", sorted((ROOT / "curate/recipes").glob("*.yaml")), ids=lambda p: p.name)
def test_every_shipped_recipe_parses(path: Path) -> None:
    recipe = recipes.read(path)
    assert recipe.name == path.stem
    assert recipe.members


def test_the_recipe_in_the_docstring_names_every_key() -> None:
    doc = recipes.__doc__ or ""
    for key in ("name", "shard_rows", "role", "sources", "models", "stages", "mixture", "against", "prefer", "bounds"):
        assert f"{key}:" in doc

"""A run of a recipe in this very process."""

from pathlib import Path
from typing import Any

from catalog.store import Store
from curate import recipe as recipes
from curate import run as runs
from tests.curate.test_run import Serial


def go(raw: dict[str, Any], store: Path, data: Path, engine: Serial | None = None) -> runs.Result:
    """Run the recipe that `raw` describes."""
    spec = recipes.parse(raw, "test")
    return runs.run(spec, Store(store), engine=engine or Serial(), data=data, progress=lambda *_: None)

"""Where the models and files of a recipe lie: beside the recipe, or else below the current folder.

A recipe that is handed on with its word lists and models works wherever it is called from; a path that was typed in a shell
works as well. An absolute path, `~`, a model that the recipe fits, and a model of open_clip are what they say.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from catalog.errors import UserError, nearest
from curate.recipe import Recipe, StageSpec
from filters import base


def located(recipe: Recipe, folder: Path) -> Recipe:
    """Return the recipe with every path found; raise `UserError` for one that is nowhere, saying where it was looked for."""
    fitted = {m.name for m in recipe.models}
    return dataclasses.replace(recipe, stages=tuple(_stage(s, folder, fitted) for s in recipe.stages))


def _stage(stage: StageSpec, folder: Path, fitted: set[str]) -> StageSpec:
    found = dict(_paths(stage.params, stage, folder, fitted))
    return dataclasses.replace(stage, params={**stage.params, **found}) if found else stage


def _paths(params: Mapping[str, Any], stage: StageSpec, folder: Path, fitted: set[str]) -> Iterator[tuple[str, str]]:
    for key, value in params.items():
        if base.is_path(key) and value is not None and not (key == "model" and value in fitted):
            yield key, _find(str(value), folder, fitted, f"`{key}` of stage `{stage.filter}`")


def _find(value: str, folder: Path, fitted: set[str], where: str) -> str:
    path = Path(value).expanduser()
    places = [path] if path.is_absolute() else list(dict.fromkeys([folder.absolute() / path, Path.cwd() / path]))
    for place in places:
        if place.exists():
            return str(place)
    if not path.is_absolute() and base.remote_model(value):
        return value
    near = nearest(path.name, {*fitted, *(name for place in places for name in _beside(place))})
    msg = f"{where}: no file, folder or model `{value}`{near if 'did you mean' in near else ''}"
    raise UserError(msg, hint=f"looked for {' and '.join(f'`{p}`' for p in places)}", usage=True)


def _beside(place: Path) -> Iterator[str]:
    return (p.name for p in place.parent.iterdir()) if place.parent.is_dir() else iter(())

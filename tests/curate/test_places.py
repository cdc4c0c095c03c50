from pathlib import Path
from typing import Any

import pytest

from catalog.errors import UserError
from curate import recipe as recipes
from curate.places import located

SOURCE = {"name": "a", "format": "text", "path": "a.jsonl", "task": "text"}


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The recipe's folder and the current one."""
    for name in ("recipe", "here"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "recipe", tmp_path / "here"


def model(folder: Path, value: Any, **more: Any) -> Any:
    raw = {"name": "x", "sources": [SOURCE], "stages": [{"filter": "quality", "params": {"model": value}}], **more}
    return located(recipes.parse(raw, "test"), folder).stages[0].params["model"]


def test_the_recipes_folder_comes_first_then_the_current_one(folders: tuple[Path, Path]) -> None:
    beside, here = folders
    (here / "good").mkdir()
    assert model(beside, "good") == str(here / "good")
    (beside / "good").mkdir()
    assert model(beside, "good") == str(beside / "good")
    assert model(beside, str(here / "good")) == str(here / "good"), "absolute"
    assert model(Path(), "good") == str(here / "good"), "a shipped recipe's paths start here"


def test_models_that_are_no_paths_stay_as_they_are(folders: tuple[Path, Path]) -> None:
    beside, _ = folders
    fitted = {"good": {"fit": "quality", "source": "a", "against": "a"}}
    (beside / "good").mkdir()
    assert model(beside, "good", models=fitted) == "good"
    assert model(beside, "ViT-B-32/openai") == "ViT-B-32/openai"


def test_what_is_nowhere_is_said_with_the_places(folders: tuple[Path, Path]) -> None:
    beside, here = folders
    (beside / "models").mkdir()
    (beside / "models" / "good").mkdir()
    with pytest.raises(
        UserError, match="`model` of stage `quality`: no file, folder or model `models/godo`; did you mean `good`"
    ) as e:
        model(beside, "models/godo")
    assert str(beside / "models" / "godo") in e.value.hint
    assert str(here / "models" / "godo") in e.value.hint
    assert e.value.usage

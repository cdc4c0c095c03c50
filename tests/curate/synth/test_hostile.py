import json
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from curate.synth import hostile


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return hostile.make(tmp_path_factory.mktemp("hostile"))


def test_everything_is_there(paths: dict[str, Path]) -> None:
    assert all(p.exists() for p in paths.values())
    assert sum(p.stat().st_size for p in paths["images"].parent.rglob("*")) < 4_000_000


def test_tars(paths: dict[str, Path]) -> None:
    with tarfile.open(paths["truncated_tar"]) as tar, pytest.raises((tarfile.ReadError, EOFError)):
        for member in tar:
            data = tar.extractfile(member)
            assert data is not None
            data.read()
    with tarfile.open(paths["evil_tar"]) as tar:
        names = tar.getnames()
    assert {"../evil.jpg", "a/../../evil.jpg", "good.jpg"} <= set(names)
    assert any(n.startswith("/") for n in names)
    with tarfile.open(paths["duplicate_tar"]) as tar:
        assert tar.getnames().count("000000.jpg") == 2


def test_bomb_declares_more_than_it_holds(paths: dict[str, Path]) -> None:
    path = paths["images"] / "bomb.png"
    assert path.stat().st_size < 1000
    with pytest.raises(Image.DecompressionBombError):
        Image.open(path)


def test_lines(paths: dict[str, Path]) -> None:
    lines = paths["broken_lines"].read_bytes().splitlines()
    with pytest.raises(UnicodeDecodeError):
        lines[1].decode()
    assert json.loads(lines[0])
    captions = [json.loads(x)["caption"] for x in paths["captions"].read_bytes().splitlines()]
    assert any("\u202e" in c for c in captions)
    assert any("\x00" in c for c in captions)
    assert max(map(len, captions)) > 100_000

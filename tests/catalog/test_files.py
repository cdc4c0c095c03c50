import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from catalog import files
from catalog.errors import UserError


def test_whole(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.json"
    files.write_json(path, {"b": 1, "a": "é"})
    assert path.read_text() == '{\n  "a": "é",\n  "b": 1\n}\n'
    assert files.read_json(path) == {"a": "é", "b": 1}
    assert [p.name for p in path.parent.iterdir()] == ["b.json"]


def test_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("before")
    with pytest.raises(ZeroDivisionError), files.atomic(path) as f:
        f.write(b"half")
        raise ZeroDivisionError
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), files.atomic(tmp_path / "a") as f:
        f.write(b"half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def _failing(code: int) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "disk full"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "Read-only"),
        (errno.EACCES, "Permission denied"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_a_failing_disk_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, words: str
) -> None:
    monkeypatch.setattr(os, "fsync", _failing(code))
    with pytest.raises(UserError, match=words) as e:
        files.write_bytes(tmp_path / "a", b"data")
    assert "\n" not in e.value.message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_for_real(tmp_path: Path) -> None:
    def fill() -> None:
        with files.atomic(tmp_path / "a"), Path("/dev/full").open("wb") as full:
            full.write(b"x")
            full.flush()

    with pytest.raises(UserError, match="disk full"):
        fill()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        files.write_bytes(tmp_path / "a" / "b", b"")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(UserError, match="choose a store"):
            files.write_bytes(tmp_path / "a", b"")
    finally:
        tmp_path.chmod(0o700)


def test_read_json_says_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        files.read_json(tmp_path / "a")
    for data in (b"{", b"\xff\xfe"):
        (tmp_path / "a").write_bytes(data)
        with pytest.raises(UserError, match="cannot read"):
            files.read_json(tmp_path / "a")


@pytest.mark.parametrize(
    ("text", "place", "line", "hint"),
    [
        ("name: x\nsources:\n\t- {name: a}\n", "line 3, column 1", "     3 |  - {name: a}\n       | ^", "with spaces"),
        ("name: x\nbounds: {a: 1\nstages: []\n", "line 3, column 7", "     2 | bounds: {a: 1\n", ""),
        ("name: a: b\n", "line 1, column 8", "     1 | name: a: b\n       |        ^", "in quotes"),
        ("a: 'x", "line 1, column 6", "     1 | a: 'x\n       |      ^", ""),
    ],
)
def test_bad_yaml_is_shown_with_its_line(text: str, place: str, line: str, hint: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as e:
        files.read_yaml(path, "recipe")
    assert place in e.value.message
    assert line in e.value.message
    assert hint in e.value.hint
    assert e.value.usage


def test_json_holds_no_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Out of range"):
        files.write_json(tmp_path / "a", float("nan"))


def test_publish_keeps_what_is_there(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "who").write_text(name)
    files.publish(tmp_path / "one", tmp_path / "x" / "target")
    files.publish(tmp_path / "two", tmp_path / "x" / "target")
    assert (tmp_path / "x" / "target" / "who").read_text() == "one"
    assert not (tmp_path / "two").exists()


def test_sweep_removes_what_killed_writers_left(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / ".tmp-1-x.parquet").write_text("")
    (tmp_path / "a" / "x.parquet").write_text("")
    assert files.sweep(tmp_path) == 1
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["x.parquet"]
    assert files.sweep(tmp_path / "nowhere") == 0

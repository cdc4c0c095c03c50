import pytest

from catalog.console import short, table


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")


ROW = {"name": "a", "n": 12, "what": "some words that need more than one line of thirty characters", "why": "short"}


def test_a_table_is_as_wide_as_its_cells(capsys: pytest.CaptureFixture[str]) -> None:
    table([{"a": 1, "b": None}, {"a": 1000, "b": "x\x1b"}])
    assert capsys.readouterr().out == "    a  b\n    1  -\n1,000  x\ufffd\n"


def test_columns_are_wrapped_or_cut_to_the_line(capsys: pytest.CaptureFixture[str]) -> None:
    table([ROW, ROW], wrap=("what", "why"))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 60
    assert len(lines) == 5
    assert lines[1].startswith("a     12  some words")
    assert lines[2].startswith(" " * 10)
    assert " ".join(lines[1][10:].replace("short", "").split() + lines[2].split()) == ROW["what"]
    table([ROW], cut=("what", "why"))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[1].endswith("…  short")
    assert len(lines[1]) == 60


def test_a_column_keeps_a_readable_width(capsys: pytest.CaptureFixture[str]) -> None:
    table([{"name": "x" * 90, "what": ROW["what"]}], cut=("what",))
    assert capsys.readouterr().out.splitlines()[1] == "x" * 90 + "  some words that nee…"


def test_short() -> None:
    assert short("abc", 3) == "abc"
    assert short("ab, cd", 4) == "ab…"

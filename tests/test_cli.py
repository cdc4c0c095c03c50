import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import cli


def cuvee(
    *args: str | Path, env: dict[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the real command in a process of its own."""
    command = [sys.executable, "-m", "cli", *map(str, args)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=120, env={**os.environ, **(env or {})}, cwd=cwd
    )


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


EVERY = list(commands(cli.cuvee))


@pytest.mark.parametrize(("path", "command"), EVERY, ids=[" ".join(p) for p, _ in EVERY])
def test_every_command_has_help_that_starts_with_a_sentence(path: tuple[str, ...], command: click.Command) -> None:
    assert command.help
    assert command.help.split("\n")[0].endswith(".")
    if command.params and any(isinstance(p, click.Argument) for p in command.params):
        assert f"cuvee {' '.join(path)}" in command.help, "a command with arguments shows an example"


def test_every_option_says_what_it_is_for() -> None:
    self_evident = {"seed", "host", "port"}
    for path, command in EVERY:
        for option in command.params:
            if isinstance(option, click.Option) and option.name not in self_evident:
                assert option.help, f"{' '.join(path)} {option.name}"


def test_wrong_use_is_exit_code_2_and_names_the_nearest(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "name: x\nsources:\n  - {name: a, format: text, path: a.jsonl}\nstages:\n  - filter: aspect_ratoi\n"
    )
    cases = [
        (("runn",), "`run`"),
        (("run", tmp_path / "recipes.yaml"), "did you mean `recipe.yaml`?"),
        (("plan", recipe), "did you mean `aspect_ratio`?"),
        (("run", recipe, "--engine", "rya"), "did you mean"),
        (("run",), "Missing argument"),
        (("run", recipe, "--wrokers", "2"), "--workers"),
    ]
    for args, expected in cases:
        done = cuvee(*args)
        assert done.returncode == 2, (args, done.stderr)
        assert expected in done.stderr
        assert "Traceback" not in done.stderr
        assert done.stdout == ""


def test_an_unknown_key_offers_the_nearest(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("name: x\nsources: [{name: a, format: text, path: a.jsonl}]\nstagse: []\n")
    done = cuvee("plan", recipe)
    assert done.returncode == 2
    assert "unknown key `stagse`" in done.stderr
    assert "did you mean `stages`?" in done.stderr


def test_a_failure_is_exit_code_1_with_one_line_and_a_hint(tmp_path: Path) -> None:
    done = cuvee("why", "a/b", "--store", tmp_path / "none")
    assert done.returncode == 1
    assert done.stderr.startswith("error: no dataset version in store")
    assert "hint: `cuvee run RECIPE` makes one" in done.stderr


def test_a_taken_port_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = cuvee("serve", "--port", str(taken.getsockname()[1]), "--store", tmp_path)
    assert done.returncode == 1
    assert "cannot listen on" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_store_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "hello"}\n')
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("name: x\nsources: [{name: a, format: text, path: a.jsonl, fields: {text: text}}]\n")
    store = tmp_path / "store"
    store.mkdir()
    store.chmod(stat.S_IRUSR | stat.S_IXUSR)
    done = cuvee("run", recipe, "--store", store)
    assert done.returncode == 1
    assert "cannot write" in done.stderr
    assert "Traceback" not in done.stderr


def test_doctor_finds_our_six_packages() -> None:
    done = cuvee("doctor", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [r["name"] for r in rows if r["ok"]][:6] == ["catalog", "cli", "curate", "filters", "mixtures", "trainer"]


def test_the_command_starts_quickly_because_it_imports_nothing_heavy() -> None:
    code = "import sys, cli; print([m for m in ('torch', 'ray', 'polars', 'numba', 'open_clip') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

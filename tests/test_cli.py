import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
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
        (("evaluate", "run", "--on", "vqa", "--backbone", "b", "--clip", "c"), "expected TASK=LOCK"),
    ]
    for args, expected in cases:
        done = cuvee(*args)
        assert done.returncode == 2, (args, done.stderr)
        assert expected in done.stderr
        assert "Traceback" not in done.stderr
        assert done.stdout == ""


def test_an_unknown_format_offers_stored_sources_too(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("name: x\nsources: [{name: a, format: stroed}]\n")
    assert "did you mean `stored`?" in cuvee("plan", recipe).stderr
    recipe.write_text("name: x\nsources: [{name: a, format: zzz}]\n")
    assert "`stored`" in cuvee("plan", recipe).stderr


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


@pytest.mark.parametrize(
    ("text", "expected"),
    [("mixture: 5\nclip: c", "`mixture` of"), ("mixture: m\nclip: c\nbackbone: 5", "`backbone` of"),
     ("mixture: m\nclip: c\nbackbone: {locks: x}", "must be a list of paths"),
     ("mixture: m\nclip: c\ntrain: {lr_1: x}", "`lr_1` of the train config must be a number")],
)  # fmt: skip
def test_a_train_config_is_read_before_anything_is_trained(text: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "train.yaml").write_text(text)
    done = cuvee("train", tmp_path / "train.yaml", "--store", tmp_path / "store")
    assert done.returncode == 2, done.stderr
    assert expected in done.stderr


def test_why_and_what_if_look_at_the_latest_dataset_that_has_something_to_say(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n')
    source = "{format: text, path: a.jsonl, task: text, name"
    bound = "stages: [{filter: gopher_quality, bounds: {words: {min: 1}}}]\n"
    for name, of, stages in (("judged", "a", bound), ("raw", "a", ""), ("other", "b", "")):
        recipe = tmp_path / f"{name}.yaml"
        recipe.write_text(f"name: {name}\nsources: [{source}: {of}}}]\n{stages}")
        assert cuvee("run", recipe, "--store", tmp_path / "store", "--workers", "1").returncode == 0
    why = cuvee("why", "a/a.jsonl:1", "--store", tmp_path / "store", "--json")
    assert json.loads(why.stdout)["dataset"].startswith("judged@")
    assert "other@" in cuvee("why", "b/a.jsonl:1", "--store", tmp_path / "store", "--json").stdout
    done = cuvee("what-if", "--set", "gopher_quality.min=2", "--store", tmp_path / "store", "--json")
    assert json.loads(done.stdout)["dataset"].startswith("judged@")


def test_a_taken_port_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = cuvee("serve", "--port", str(taken.getsockname()[1]), "--store", tmp_path)
    assert done.returncode == 1
    assert "cannot listen on" in done.stderr
    assert "Traceback" not in done.stderr


def corpus(folder: Path, *, samples: int = 3000) -> Path:
    words = ["a", "b", "c", "d", "e", "f", "g", "h"]
    lines = (json.dumps({"text": " ".join(random.Random(i).choices(words, k=30)) + f" {i}"}) for i in range(samples))
    (folder / "a.jsonl").write_text("\n".join(lines))
    recipe = folder / "recipe.yaml"
    recipe.write_text(
        "name: x\nshard_rows: 50\nsources: [{name: a, format: text, path: a.jsonl, fields: {text: text}}]\n"
        "stages: [gopher_repetition, gibberish, dedup_exact, dedup_minhash]\n"
    )
    return recipe


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of half a megabyte; only root may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("may not mount a file system")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def one_line(done: subprocess.CompletedProcess[str], expected: str) -> None:
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert expected in errors[0]


def test_a_full_disk_is_one_line_and_the_store_stays_valid(small_disk: Path, tmp_path: Path) -> None:
    recipe = corpus(tmp_path)
    done = cuvee("run", recipe, "--store", small_disk, "--workers", "1")
    one_line(done, "disk full while writing")
    assert "run the same command again" in done.stderr
    assert not list(small_disk.rglob(".tmp-*")), "nothing half-written"
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    again = cuvee("run", recipe, "--store", small_disk, "--workers", "1", "--json")
    clean = cuvee("run", recipe, "--store", tmp_path / "clean", "--workers", "1", "--json")
    assert json.loads(again.stdout)["digest"] == json.loads(clean.stdout)["digest"]


def test_a_read_only_store_is_one_line(small_disk: Path, tmp_path: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    one_line(cuvee("run", corpus(tmp_path, samples=10), "--store", small_disk), "cannot write")


def test_ctrl_c_is_one_line_and_the_same_command_goes_on(tmp_path: Path) -> None:
    recipe, store = corpus(tmp_path), tmp_path / "store"
    command = [sys.executable, "-m", "cli", "run", str(recipe), "--store", str(store), "--workers", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not any(store.glob("scores/*/*/0*.parquet")):
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert err.splitlines()[-1].startswith("interrupted: what was finished is kept")
    assert "Traceback" not in err
    again = cuvee("run", recipe, "--store", store, "--workers", "1", "--json")
    assert json.loads(again.stdout)["work"]["score_files_cached"] > 0


def test_doctor_finds_our_six_packages_and_lists_the_extras() -> None:
    done = cuvee("doctor", "--json")
    assert done.returncode == 0, done.stderr
    out = json.loads(done.stdout)
    ours = ["catalog", "cli", "curate", "filters", "mixtures", "trainer"]
    assert [p["name"] for p in out["packages"] if p["ok"]][:6] == ours
    assert all(p["from"] for p in out["packages"])
    assert {"ray", "ocr", "lid", "test"} <= {e["extra"] for e in out["extras"]}
    text = cuvee("doctor").stdout
    for extra in out["extras"]:
        assert extra["installed"] == (not extra["missing"])
        assert (extra["install"] in text) == (not extra["installed"])


def test_the_command_starts_quickly_because_it_imports_nothing_heavy() -> None:
    code = "import sys, cli; print([m for m in ('torch', 'ray', 'polars', 'numba', 'open_clip') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_run_ends_in_counts_per_source_and_finds_files_beside_its_recipe(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n{"text": "one two three"}\n{"text": \n')
    (tmp_path / "b.jsonl").write_text('{"text": "one two"}\n')
    folder = tmp_path / "recipes"
    folder.mkdir()
    (folder / "words").mkdir()
    (folder / "words" / "en.txt").write_text("three\n")
    recipe = folder / "r.yaml"
    of = "format: text, fields: {text: text}, task: text}\n"
    recipe.write_text(
        f"name: x\nsources:\n- {{name: a, path: a.jsonl, {of}- {{name: b, path: b.jsonl, {of}"
        "stages: [{filter: flagged_words, params: {lists_path: words}, bounds: {count: {max: 0}}}]\n"
    )
    done = cuvee("run", recipe, "--data", tmp_path, "--store", tmp_path / "s", "--workers", "1")
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["a", "1", "2", "1", "50.0", "%"] in lines
    assert ["b", "0", "1", "1", "100.0", "%"] in lines
    recipe.write_text(recipe.read_text().replace("lists_path: words", "lists_path: wrods"))
    done = cuvee("plan", recipe, "--data", tmp_path, "--store", tmp_path / "s")
    assert done.returncode == 2
    assert "did you mean `words`?" in done.stderr
    assert f"`{folder / 'wrods'}`" in done.stderr


def test_a_run_says_what_it_lost(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "hello there"}\n{"text": \n')
    (tmp_path / "b.jsonl").write_text("")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "name: x\nsources:\n- {name: a, format: text, path: a.jsonl, fields: {text: text}}\n"
        "- {name: b, format: text, path: b.jsonl, fields: {text: text}}\n"
    )
    done = cuvee("run", recipe, "--store", tmp_path / "s", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert "warning: source `a`: 1 of 2 rows rejected (bad_json 1); `cuvee why a/a.jsonl:2` says why" in done.stderr
    assert "warning: source `b` is empty" in done.stderr
    shown = cuvee("catalog", "show", "x", "--store", tmp_path / "s")
    assert shown.returncode == 0
    assert "counts" in shown.stdout


def test_filters_are_listed_and_explained(tmp_path: Path) -> None:
    for args in (("filters",), ("filters", "ls")):
        done = cuvee(*args)
        assert done.returncode == 0, done.stderr
        assert "gopher_repetition" in done.stdout
        assert max(map(len, done.stdout.splitlines())) <= 110, "piped, too"
        both = json.loads(cuvee(*args, "--json").stdout)
        assert {f["filter"] for f in both} >= {"blur", "dedup_exact"}
        assert {"summary", "looks_at", "does", "scores", "parameters", "sources", "doc"} <= set(both[0])
    done = cuvee("filters", "show", "gopher_quality")
    assert "Rae et al. 2021" in done.stdout
    assert "min_words" in done.stdout
    for args, expected in (
        (("filters", "show", "gopher_qualty"), "did you mean `gopher_quality`"),
        (("filters", "shwo"), "no command `shwo`"),
        (("filters", "show", "blur", "--params", "x"), "expected `<parameter>=<value>`"),
    ):
        done = cuvee(*args)
        assert done.returncode == 2
        assert expected in done.stderr
        assert done.stdout == ""
    done = cuvee("filters", "show", "blur", "--source", "a", "--store", tmp_path)
    assert done.returncode == 1
    assert "no source named `a`" in done.stderr


def test_filters_are_found_by_word(tmp_path: Path) -> None:
    done = cuvee("filters", "-k", "mean_word_length", "-k", "Rae")
    assert "gopher_quality" in done.stdout
    assert "ellipsis_lines <= 0.3" in done.stdout, "few are shown in full"
    assert "blur" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 110
    found = {f["filter"] for f in json.loads(cuvee("filters", "ls", "-k", "GOPHER", "--json").stdout)}
    assert {"gopher_quality", "gopher_repetition"} <= found
    none = cuvee("filters", "-k", "zzzz")
    assert (none.returncode, none.stdout) == (1, "")
    assert "no filter has `zzzz` in it" in none.stderr
    assert "cuvee filters -k WORD" in cuvee("filters", "show", "wattermark").stderr


def test_a_recipe_is_drafted_and_shipped_ones_are_found_by_name(tmp_path: Path) -> None:
    lines = (json.dumps({"text": " ".join(["some words"] * n)}) for n in range(1, 61))
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    first = tmp_path / "first.yaml"
    first.write_text("name: first\nsources: [{name: a, format: text, path: a.jsonl, task: text}]\n")
    store = tmp_path / "store"
    assert cuvee("ingest", first, "--store", store, "--workers", "1").returncode == 0
    mine = tmp_path / "mine.yaml"
    done = cuvee("recipe", "init", "a", "--filters", "gopher_quality,dedup_exact", "--out", mine, "--store", store)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert f"next: cuvee run {mine} --store {store}" in done.stderr
    out = cuvee("run", mine, "--store", store, "--workers", "1", "--json")
    assert out.returncode == 0, out.stderr
    assert json.loads(out.stdout)["dataset"].startswith("mine@")
    again = cuvee("recipe", "init", "a", "--out", mine, "--store", store)
    assert again.returncode == 2
    assert "is there already" in again.stderr
    listed = json.loads(cuvee("recipe", "ls", "--json").stdout)
    assert "demo" in {r["recipe"] for r in listed}
    assert cuvee("recipe", "show", "demo").stdout.startswith("#")
    for args in (("recipe", "show", "dmeo"), ("run", "dmeo"), ("plan", "dmeo"), ("ingest", "dmeo")):
        done = cuvee(*args)
        assert done.returncode == 2
        assert "did you mean `demo`?" in done.stderr
    # Its paths start at the folder in which it is called.
    assert f"no such file or folder: `{tmp_path}/scenes" in cuvee("plan", "demo", "--store", store, cwd=tmp_path).stderr


def test_a_plan_refuses_a_mixture_that_a_run_could_not_lock(tmp_path: Path) -> None:
    recipe = corpus(tmp_path, samples=10)
    recipe.write_text(recipe.read_text() + "mixture: {name: m, sources: [{ref: x}], budgte: {samples: 5}}\n")
    done = cuvee("plan", recipe, "--store", tmp_path / "store")
    assert done.returncode == 2
    assert "did you mean `budget`?" in done.stderr


def test_a_key_given_twice_tabs_and_a_store_that_is_not_there(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("name: x\nname: y\nsources: []\n")
    assert "key `name` is given twice" in cuvee("plan", recipe).stderr
    recipe.write_text("name: x\nsources:\n\t- {name: a}\n")
    assert "indented with spaces" in cuvee("plan", recipe).stderr
    done = cuvee("serve", "--store", tmp_path / "none")
    assert done.returncode == 1
    assert "no store at" in done.stderr
    done = cuvee("run", recipe, "--workers", "0")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")


def test_mask_and_fit_quality(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")  # no cell is broken into lines

    def lines(name: str, texts: list[str]) -> None:
        (tmp_path / name).write_text("".join(json.dumps({"text": t}) + "\n" for t in texts))

    lines("raw.jsonl", [f"call +1 212 555 {i:04d} now, item {i} sale sale" for i in range(300)])
    lines("good.jsonl", [f"The answer to question {i} is that it takes {i + 1} steps, one by one." for i in range(300)])
    recipe = "name: r\nsources:\n  - {name: raw, format: text, path: raw.jsonl, fields: {text: text}, task: text}\n"
    (tmp_path / "r.yaml").write_text(recipe)
    store = ["--store", str(tmp_path / "store")]
    assert cuvee("ingest", str(tmp_path / "r.yaml"), *store).returncode == 0
    masked = cuvee("mask", "raw", "--kinds", "phone", "--as", "clean", *store, "--json")
    assert json.loads(masked.stdout)["hits"]["phone"] == 300
    again = cuvee("mask", "clean", "--kinds", "all", *store)
    assert again.returncode == 0
    assert "nothing was found" in again.stderr
    wrong = cuvee("mask", "raw", "--kinds", "phnoe", *store)
    assert wrong.returncode == 2
    assert "did you mean `phone`" in wrong.stderr
    (tmp_path / "s.yaml").write_text("name: s\nsources:\n  - {name: clean, format: stored}\n")
    ran = cuvee("run", str(tmp_path / "s.yaml"), *store, "--json", "--workers", "1")
    assert json.loads(ran.stdout)["counts"]["kept"] == 300
    drafted = cuvee("recipe", "init", "clean", "--filters", "response", *store)
    assert "format: stored" in drafted.stdout
    good = str(tmp_path / "good.jsonl")
    fitted = cuvee("fit-quality", "--good", good, "--bad", "raw", "--out", str(tmp_path / "q"), *store, "--json")
    assert json.loads(fitted.stdout)["auc"] > 0.9
    told = cuvee("fit-quality", "--good", good, "--bad", "raw", "--out", str(tmp_path / "told"), *store)
    assert "most telling words" in told.stdout
    assert "steps" in told.stdout
    assert "sale sale" in told.stdout, "a pair"
    assert "(AUC 1.000 on" in " ".join(told.stdout.split())
    bad = cuvee("fit-quality", "--good", good, "--bad", "rwa", "--out", str(tmp_path / "p"), *store)
    assert bad.returncode in (1, 2)
    assert bad.stderr.startswith("error: ")

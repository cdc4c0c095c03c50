"""One contract for every engine that stands in `curate/engines`."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from catalog.errors import UserError
from curate.engines import choose as chooser
from curate.engines.base import Engine, on_gpus
from curate.engines.choose import choose, names
from tests.curate.engines import tasks


@pytest.fixture(scope="module", params=names())
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    engine = choose(request.param, workers=2, address=None)
    yield engine
    engine.close()


def test_engines_are_found_by_file_name() -> None:
    assert names() == ["local", "ray"]


def test_every_item_once(engine: Engine) -> None:
    assert sorted(engine.map(tasks.square, range(50))) == [n * n for n in range(50)]


def test_no_items(engine: Engine) -> None:
    assert list(engine.map(tasks.square, [])) == []


def test_a_result_may_be_none(engine: Engine) -> None:
    assert list(engine.map(tasks.nothing, [1, 2])) == [None, None]


def test_user_errors_arrive_intact_and_the_engine_lives_on(engine: Engine) -> None:
    with pytest.raises(UserError) as e:
        list(engine.map(tasks.fail_on_three, range(20)))
    assert (e.value.message, e.value.hint, e.value.usage) == ("three is not allowed", "leave it out", True)
    assert sorted(engine.map(tasks.square, [1, 2])) == [1, 4]


def test_a_bug_arrives_as_itself_with_the_place(engine: Engine) -> None:
    with pytest.raises(ZeroDivisionError) as e:
        list(engine.map(tasks.bug, [1]))
    assert "in bug" in "".join(e.value.__notes__)


def test_an_error_that_cannot_travel_still_says_what_it_was(engine: Engine) -> None:
    with pytest.raises(RuntimeError, match="UnpicklableError"):
        list(engine.map(tasks.unpicklable_error, [1]))


def test_one_thread_per_worker(engine: Engine) -> None:
    assert list(engine.map(tasks.threads, [1])) == ["1 1"]


def test_a_shuffle_brings_together_what_has_the_same_part(engine: Engine, tmp_path: Path) -> None:
    items = [0, 25, 1000, 3, 1000, 40_000]
    found = sorted(engine.shuffle(tasks.digits, items, tasks.total, scratch=tmp_path / "scratch"))
    want = {d: [k for n in items for k in range(d, n, 10)] for d in range(10)}
    assert found == [(d, len(k), sum(k), ["name", "number"]) for d, k in want.items()]


def test_a_shuffle_of_nothing(engine: Engine, tmp_path: Path) -> None:
    assert list(engine.shuffle(tasks.digits, [], tasks.total, scratch=tmp_path / "a")) == []
    assert list(engine.shuffle(tasks.digits, [0, 0], tasks.total, scratch=tmp_path / "b")) == []


def test_errors_in_both_halves_of_a_shuffle_arrive_intact(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="three is not allowed") as e:
        list(engine.shuffle(tasks.digits_but_three, [1, 3, 20], tasks.total, scratch=tmp_path / "a"))
    assert (e.value.hint, e.value.usage) == ("leave it out", True)
    with pytest.raises(UserError, match="seven is not allowed"):
        list(engine.shuffle(tasks.digits, [9], tasks.total_but_of_seven, scratch=tmp_path / "b"))


def test_a_generator_closed_early_leaves_the_engine_usable(engine: Engine) -> None:
    results = engine.map(tasks.square, range(100))
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert sorted(engine.map(tasks.square, range(10))) == [n * n for n in range(10)]


def test_a_worker_that_is_always_killed_is_one_clear_error(engine: Engine) -> None:
    with pytest.raises(UserError) as e:
        list(engine.map(tasks.kill_self, [1]))
    assert "memory" in e.value.message
    assert "finished shards are kept" in e.value.hint
    assert list(engine.map(tasks.square, [3])) == [9]


def test_nothing_of_a_worker_reaches_stdout(engine: Engine, capfd: pytest.CaptureFixture[str]) -> None:
    assert list(engine.map(tasks.chatter, [1])) == [1]
    assert capfd.readouterr().out == ""


def test_close_twice_and_go_on() -> None:
    engine = choose("local", workers=1, address=None)
    assert list(engine.map(tasks.square, [2])) == [4]
    engine.close()
    engine.close()
    assert list(engine.map(tasks.square, [2])) == [4]
    engine.close()


def test_closing_an_engine_that_never_ran() -> None:
    for name in names():
        choose(name, workers=1, address=None).close()


@pytest.mark.parametrize(
    ("workers", "devices", "gpu", "want"),
    [
        (8, 0, True, (8, 0.0)),
        (8, 2, False, (8, 0.0)),
        (8, 1, True, (4, 0.25)),
        (2, 1, True, (2, 0.25)),
        (16, 2, 0.25, (8, 0.25)),
        (16, 2, 1, (2, 1.0)),
        (16, 1, 0.3, (3, 0.3)),
        (16, 1, 0.1, (10, 0.1)),
    ],
)
def test_workers_share_gpus(workers: int, devices: int, gpu: float, want: tuple[int, float]) -> None:
    assert on_gpus(workers, devices, gpu) == want


def test_a_share_of_a_gpu_is_a_share() -> None:
    for wrong in (-0.5, 2, 1.5):
        with pytest.raises(UserError, match="share of a GPU"):
            on_gpus(4, 1, wrong)


def test_local_runs_as_many_at_once_as_share_a_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("curate.engines.local.gpus", lambda: 1)
    engine = choose("local", workers=3, address=None)
    assert len(set(engine.map(tasks.pid, range(12), gpu=1.0))) == 1
    assert len(set(engine.map(tasks.pid, range(200), gpu=0.5))) == 2
    engine.close()


def test_ray_actors_take_shares_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray believes in one GPU; two halves fit on it, and four items get done."""
    ray = pytest.importorskip("ray")
    start = ray.init
    monkeypatch.setattr(ray, "init", lambda **how: start(**how, num_gpus=1))
    engine = choose("ray", workers=2, address=None)
    try:
        assert sorted(engine.map(tasks.square, [1, 2, 3, 4], gpu=0.5)) == [1, 4, 9, 16]
    finally:
        engine.close()


# -- local -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def local() -> Iterator[Engine]:
    engine = choose("local", workers=2, address=None)
    yield engine
    engine.close()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


def test_local_keeps_its_workers_between_maps(local: Engine) -> None:
    first = set(local.map(tasks.pid, range(6)))
    assert first == set(local.map(tasks.pid, range(6)))
    assert os.getpid() not in first
    local.close()
    assert not any(_alive(p) for p in first)


def test_local_starts_items_in_order_and_only_as_many_as_it_has_workers(local: Engine, tmp_path: Path) -> None:
    paths = [str(tmp_path / f"{i:02d}") for i in range(30)]
    results = local.map(tasks.mark, paths)
    next(results)
    time.sleep(0.3)
    started = sorted(p.name for p in tmp_path.iterdir())
    assert started == [f"{i:02d}" for i in range(len(started))]
    assert len(started) <= 3


def test_local_first_error_ends_the_rest(local: Engine) -> None:
    began = time.monotonic()
    with pytest.raises(UserError):
        list(local.map(tasks.fail_on_three, [3, *range(100_000)]))
    assert time.monotonic() - began < 5


def test_local_says_how_a_worker_died(local: Engine) -> None:
    with pytest.raises(UserError, match="exit code 7"):
        list(local.map(tasks.exit_hard, [1]))
    with pytest.raises(RuntimeError, match="SystemExit"):
        list(local.map(tasks.leave, [1]))


def test_local_notices_that_an_abandoned_map_goes_on(local: Engine) -> None:
    first = local.map(tasks.square, range(10))
    next(first)
    assert list(local.map(tasks.square, [5])) == [25]
    with pytest.raises(RuntimeError, match="asked for something else"):
        list(first)


def test_local_close_does_not_wait_for_busy_workers(local: Engine) -> None:
    results = local.map(tasks.slow, [0.0, 60.0])
    next(results)
    began = time.monotonic()
    local.close()
    assert time.monotonic() - began < 2


_SCRIPT = """
from curate.engines.choose import choose
from tests.curate.engines import tasks
engine = choose("local", workers=2, address=None)
print(*set(engine.map(tasks.pid, range(6))), flush=True)
try:
    list(engine.map(tasks.slow, [60.0, 60.0]))
except KeyboardInterrupt:
    raise SystemExit(130)
"""


@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_local_leaves_no_orphans(how: signal.Signals, code: int) -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p or str(Path.cwd()) for p in sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", _SCRIPT], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    )
    assert process.stdout
    assert process.stderr
    pids = [int(p) for p in process.stdout.readline().split()]
    time.sleep(0.3)
    process.send_signal(how)
    began = time.monotonic()
    assert process.wait(5) == code
    while any(_alive(p) for p in pids):
        assert time.monotonic() - began < 3
        time.sleep(0.02)
    assert process.stderr.read() == ""


# -- ray -------------------------------------------------------------------------------------------------------------


def test_ray_repeats_what_a_killed_worker_did_not_finish(engine: Engine, tmp_path: Path) -> None:
    if engine.name != "ray":
        pytest.skip("`local` says so and stops: on one machine the next worker would meet the same end")
    flag = str(tmp_path / "killed")
    assert list(engine.map(tasks.kill_self_once, [flag])) == [flag]


def test_a_ray_address_where_nobody_answers() -> None:
    with pytest.raises(UserError, match=r"no Ray cluster answers at `127\.0\.0\.1:1`"):
        list(choose("ray", workers=1, address="127.0.0.1:1").map(abs, [1]))


# -- choose ----------------------------------------------------------------------------------------------------------


def test_unknown_engine_offers_the_nearest() -> None:
    with pytest.raises(UserError, match="no engine named `lokal`; did you mean `local`") as e:
        choose("lokal", workers=None, address=None)
    assert e.value.usage


def test_wrong_arguments() -> None:
    with pytest.raises(UserError, match="at least 1"):
        choose("local", workers=0, address=None)
    with pytest.raises(UserError, match="takes no address"):
        choose("local", workers=1, address="auto")


def test_missing_extra_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UserError) as e:
        chooser.choose("ray", workers=1, address=None)
    assert e.value.hint == "pip install 'cuvee[ray]'"

"""The embedded engine: worker processes on this machine.

Every worker is a fresh interpreter (never a fork: torch and polars own threads) that lives until `close`, because
importing torch costs seconds. Even one worker is a process of its own, with the same one-thread environment, so that a
result has the same bits with one worker as with sixty-four: a sum over four threads adds in another order than a sum
over one.

A worker holds two lines to its parent: a socket for tasks and results, and its standard input, on which nothing is ever
written. When the parent dies, by whatever signal, that line ends and the worker leaves at once: no orphans.
"""

import contextlib
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from catalog.errors import UserError
from curate.engines import _spill
from curate.engines.base import Engine, on_gpus

T = TypeVar("T")
R = TypeVar("R")

ONE_THREAD = dict.fromkeys(
    (
        "MKL_NUM_THREADS",
        "NUMBA_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "OMP_NUM_THREADS",  # torch and pyarrow obey it too
        "OPENBLAS_NUM_THREADS",
        "POLARS_MAX_THREADS",
        "RAYON_NUM_THREADS",
    ),
    "1",
)
"""The environment of every worker of every engine; it has to stand before numpy, torch and polars are imported."""

_PATIENCE = 1.0  # seconds that an idle worker has to leave by itself


def cpus() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpus() -> int:
    """Return how many NVIDIA GPUs this process may use, without importing torch."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    there = sum(p.name[6:].isdigit() for p in Path("/dev").glob("nvidia[0-9]*"))
    return there if visible is None else min(there, len([d for d in visible.split(",") if d.strip() not in ("", "-1")]))


def start(*, workers: int | None, address: str | None) -> Engine:
    """Return an engine with `workers` processes (default: one per processor); they start with the first `map`."""
    if address is not None:
        msg = "engine `local` takes no address"
        raise UserError(msg, hint="for a Ray cluster add `--engine ray`", usage=True)
    return Local(workers=workers or cpus())


class Local:
    """Worker processes on this machine; see `Engine` for the protocol."""

    name = "local"

    def __init__(self, *, workers: int) -> None:
        self.workers = workers
        self._pool: list[_Worker] = []
        self._turn = 0  # which `map` the workers serve now

    def map(self, task: Callable[[T], R], items: Sequence[T], *, gpu: bool | float = False) -> Iterator[R]:
        """Yield `task(item)` for every item, in the order in which they finish; items start in the order given."""
        self._turn += 1
        turn = self._turn
        work = pickle.dumps(task, protocol=pickle.HIGHEST_PROTOCOL)
        todo = deque(items)
        at_once, _ = on_gpus(self.workers, gpus(), gpu)
        try:
            open_tasks = 0
            while todo or open_tasks:
                self._pool = [w for w in self._pool if w.alive]
                for worker in self._pool:
                    if todo and not worker.busy and open_tasks < at_once:
                        worker.send(turn, work, todo.popleft())
                        open_tasks += 1
                # A worker that still does what an earlier, abandoned `map` asked of it is waited for, not doubled.
                while todo and open_tasks < at_once and len(self._pool) < self.workers:
                    self._pool.append(_Worker(len(self._pool)))
                    self._pool[-1].send(turn, work, todo.popleft())
                    open_tasks += 1
                done = wait([w.line for w in self._pool if w.busy])
                for worker in [w for w in self._pool if w.line in done]:
                    of, ok, value = worker.receive()
                    if of != turn:
                        continue
                    open_tasks -= 1
                    if not ok:
                        raise value
                    if todo:  # before the result goes out: the worker need not wait for whoever takes it
                        worker.send(turn, work, todo.popleft())
                        open_tasks += 1
                    yield value
                    if self._turn != turn:
                        msg = "this engine was asked for something else before the results of this `map` were all taken"
                        raise RuntimeError(msg)
        except KeyboardInterrupt:
            self.close()
            raise

    def shuffle(
        self, make: Callable[[T], pa.Table], items: Sequence[T], reduce: Callable[[int, pa.Table], R], *, scratch: Path
    ) -> Iterator[R]:
        """Yield `reduce(part, rows)` of every part: an external sort through files in `scratch`."""
        yield from _spill.shuffle(self.map, make, items, reduce, scratch)

    def close(self) -> None:
        """Stop the workers; a later `map` starts new ones."""
        pool, self._pool = self._pool, []
        for worker in pool:
            worker.hang_up()
        for worker in pool:
            worker.leave()


class _Worker:
    """The parent's end of one worker process."""

    def __init__(self, number: int) -> None:
        ours, theirs = socket.socketpair()
        environment = {**os.environ, **ONE_THREAD}
        if gpus() > 1:
            given = os.environ.get("CUDA_VISIBLE_DEVICES")
            devices = given.split(",") if given else [str(i) for i in range(gpus())]
            environment["CUDA_VISIBLE_DEVICES"] = devices[number % len(devices)].strip()
        with theirs:
            # Its own process group: Ctrl-C at a terminal reaches the parent alone, which then ends its workers.
            self._process = subprocess.Popen(
                [sys.executable, "-c", f"from curate.engines.local import serve; serve({theirs.fileno()})"],
                env={**environment, "PYTHONPATH": os.pathsep.join(p or str(Path.cwd()) for p in sys.path)},
                stdin=subprocess.PIPE,
                stdout=2,  # standard output belongs to the command, whatever a library in a worker prints
                pass_fds=(theirs.fileno(),),
                process_group=0,
            )
        self.line = Connection(ours.detach())
        self.busy = False
        self.alive = True

    def send(self, turn: int, work: bytes, item: object) -> None:
        with contextlib.suppress(
            BrokenPipeError, ConnectionResetError
        ):  # it is dead: `receive` says so, with the reason
            self.line.send((turn, work, item))
        self.busy = True

    def receive(self) -> tuple[int, bool, Any]:
        """Return (turn, whether it went well, result or error)."""
        try:
            turn, ok, data = self.line.recv()
        except (EOFError, ConnectionResetError):
            self.alive = False
            self.leave()
            raise _death(self._process.returncode) from None
        self.busy = False
        return turn, ok, pickle.loads(data)

    def hang_up(self) -> None:
        """Ask an idle worker to leave; end a busy one, whose output is atomic."""
        if self.busy:
            self._process.kill()
        self.line.close()
        if self._process.stdin:
            self._process.stdin.close()

    def leave(self) -> None:
        """Wait until the process is gone."""
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if not self.line.closed:
            self.line.close()
        if self._process.stdin:
            self._process.stdin.close()


def _death(code: int) -> UserError:
    """Return the error for a worker that left without a word."""
    again = "run the same command again: finished shards are kept"
    if code == -signal.SIGKILL:
        msg = "a worker was killed, probably because memory ran out"
        return UserError(msg, hint=f"{again}; fewer `--workers` need less memory")
    how = f"died of {signal.Signals(-code).name}" if code < 0 else f"left with exit code {code}"
    return UserError(f"a worker {how}", hint=f"what it wrote to stderr stands above; {again}")


# -- in the worker -----------------------------------------------------------------------------------------------------


def serve(fd: int) -> None:
    """Do tasks that come over the socket `fd` until it ends; this is all that a worker process runs."""
    threading.Thread(target=_watch_parent, daemon=True).start()
    line = Connection(fd)
    while True:
        try:
            request = line.recv_bytes()
        except (EOFError, OSError):
            return
        turn, ok, data = _do(request)
        try:
            line.send((turn, ok, data))
        except OSError:  # the parent has gone or no longer listens
            return


def _watch_parent() -> None:
    with contextlib.suppress(OSError):
        os.read(0, 1)
    os._exit(1)


def _do(request: bytes) -> tuple[int, bool, bytes]:
    turn = -1
    try:
        turn, work, item = pickle.loads(request)
        return turn, True, pickle.dumps(pickle.loads(work)(item), protocol=pickle.HIGHEST_PROTOCOL)
    except BaseException as e:
        return turn, False, pack_error(e)


def pack_error(error: BaseException) -> bytes:
    """Return `error` pickled, with its traceback as a note; as a `RuntimeError` when it cannot be pickled."""
    story = "".join(traceback.format_exception(error))
    if not isinstance(error, Exception):  # SystemExit and the like must not end the parent
        return pickle.dumps(RuntimeError(f"a task ended its worker:\n{story}"))
    if not isinstance(error, UserError):
        error.add_note(f"in a worker:\n{story}")
    try:
        data = pickle.dumps(error)
        pickle.loads(data)
    except Exception:
        return pickle.dumps(RuntimeError(f"a task failed in a worker:\n{story}"))
    return data

"""Tasks for engines: module-level, because a worker finds a task by its name."""

import os
import signal
import time
from pathlib import Path

from catalog.errors import UserError


def square(n: int) -> int:
    return n * n


def fail_on_three(n: int) -> int:
    if n == 3:
        msg = "three is not allowed"
        raise UserError(msg, hint="leave it out", usage=True)
    return n


def bug(n: int) -> int:
    return 1 // (n - n)


class UnpicklableError(Exception):
    def __init__(self, a: int, b: int) -> None:
        super().__init__(a)


def unpicklable_error(n: int) -> int:
    raise UnpicklableError(n, n)


def leave(n: int) -> int:
    raise SystemExit(n)


def nothing(n: int) -> None:
    return None


def kill_self(n: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return n


def kill_self_once(flag: str) -> str:
    if not Path(flag).exists():
        Path(flag).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return flag


def exit_hard(n: int) -> int:
    os._exit(7)


def threads(n: int) -> str:
    return f"{os.environ['OMP_NUM_THREADS']} {os.environ['POLARS_MAX_THREADS']}"


def pid(n: int) -> int:
    time.sleep(0.05)
    return os.getpid()


def mark(path: str) -> str:
    Path(path).touch()
    return path


def slow(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def chatter(n: int) -> int:
    print("a library that talks")
    return n

"""Tasks for engines: module-level, because a worker finds a task by its name."""

import os
import signal
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

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


def digits(n: int) -> pa.Table:
    """The numbers below n by their last digit; none for 0."""
    numbers = np.arange(n)
    return pa.table({"part": pa.array(numbers % 10, pa.int32()), "number": numbers, "name": [f"n{k}" for k in numbers]})


def digits_but_three(n: int) -> pa.Table:
    return digits(fail_on_three(n))


def total(part: int, rows: pa.Table) -> tuple[int, int, int, list[str]]:
    return part, rows.num_rows, int(np.asarray(rows["number"]).sum()), sorted(rows.column_names)


def total_but_of_seven(part: int, rows: pa.Table) -> int:
    if part == 7:
        msg = "seven is not allowed"
        raise UserError(msg)
    return rows.num_rows

"""The protocol of an engine: it maps a picklable task over items and yields what the task returned, in any order."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import pyarrow as pa

from catalog.errors import UserError

SHARE = 0.25  # of a GPU for a worker: one core decodes far fewer pictures than a card embeds

T = TypeVar("T")
R = TypeVar("R")


class Engine(Protocol):
    """Where work runs. The rest of the code cannot tell engines apart.

    `task` must be picklable and must give the same result wherever and however often it runs; it writes its own
    output atomically, so an engine may be killed at any moment. Results come in any order, all of them, or the first
    error is raised (with `UserError` intact). `gpu` says that the task runs a neural network, and which share of a GPU a
    worker takes where there is one: 0.25 lets four of them decode for one card; True means `SHARE`.
    """

    name: str
    workers: int

    def map(self, task: Callable[[T], R], items: Sequence[T], *, gpu: bool | float = False) -> Iterator[R]:
        """Yield `task(item)` for every item, in any order."""
        ...

    def shuffle(
        self, make: Callable[[T], pa.Table], items: Sequence[T], reduce: Callable[[int, pa.Table], R], *, scratch: Path
    ) -> Iterator[R]:
        """Yield `reduce(part, rows)` for every `part` (int32 column) in the tables that `make(item)` returns, in any order.

        `rows` has the other columns, and its rows come in any order: `reduce` must give the same whichever it is. Parts may
        be many times larger together than memory; each must fit. `scratch` is a folder that the engine may fill; whoever
        calls removes it. Where it holds what a killed shuffle over the same items left, that is used.
        """
        ...

    def close(self) -> None:
        """Stop the workers and release what the engine started."""
        ...


def on_gpus(workers: int, devices: int, gpu: bool | float) -> tuple[int, float]:  # noqa: FBT001
    """Return (workers at once, share of a GPU for each) of a task that wants `gpu`; a share of 0 runs on CPU."""
    share = SHARE if gpu is True else float(gpu)
    if not 0 <= share <= 1:
        msg = f"the share of a GPU for a worker is {share:g}; expected more than 0 and at most 1"
        raise UserError(msg, usage=True)
    if not share or not devices:
        return workers, 0.0
    return max(1, min(workers, devices * int(1 / share + 1e-9))), share

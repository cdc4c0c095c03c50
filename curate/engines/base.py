"""The protocol of an engine: it maps a picklable task over items and yields what the task returned, in any order."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Engine(Protocol):
    """Where work runs. The rest of the code cannot tell engines apart.

    `task` must be picklable and must give the same result wherever and however often it runs; it writes its own
    output atomically, so an engine may be killed at any moment. Results come in any order, all of them, or the first
    error is raised (with `UserError` intact). `gpu` says that the task runs a neural network.
    """

    name: str
    workers: int

    def map(self, task: Callable[[T], R], items: Sequence[T], *, gpu: bool = False) -> Iterator[R]:
        """Yield `task(item)` for every item, in any order."""
        ...

    def close(self) -> None:
        """Stop the workers and release what the engine started."""
        ...

"""The loader behind a torch `DataLoader`: batches in the lock's order, however many workers read them.

torch is imported when a `TorchLoader` is made, not before.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mixtures.loader import Loader, Sample

Collate = Callable[[list[Sample]], Any]


def same(samples: list[Sample]) -> list[Sample]:
    """Return a batch as it is: a list of samples."""
    return samples


class _Batches:
    """Map-style over the rank's batches: a worker is asked for batch b and reads exactly its positions."""

    def __init__(self, loader: Loader, start: int, batch_size: int, collate: Collate) -> None:
        self._loader, self._start, self._size, self._collate = loader, start, batch_size, collate

    def __len__(self) -> int:
        left = len(range(self._start + self._loader.rank, len(self._loader), self._loader.world_size))
        return -(-left // self._size)

    def __getitem__(self, batch: int) -> Any:
        world = self._loader.world_size
        first = self._start + self._loader.rank + batch * self._size * world
        last = min(len(self._loader), first + self._size * world)
        return self._collate(self._loader.fetch(range(first, last, world)))


class TorchLoader:
    """Batches of this rank's samples, read by `workers` processes, collated there; resumes from one integer.

    `collate` runs in the worker: decode and make tensors there. The last batch may be smaller.
    """

    def __init__(
        self,
        loader: Loader,
        *,
        batch_size: int,
        workers: int = 0,
        collate: Collate = same,
        prefetch: int = 2,
        pin_memory: bool = False,
    ) -> None:
        from torch.utils.data import DataLoader

        self._loader, self._size, self._collate = loader, batch_size, collate
        self._make: Callable[[Any], Any] = functools.partial(
            DataLoader,
            batch_size=None,
            num_workers=workers,
            prefetch_factor=prefetch if workers else None,
            pin_memory=pin_memory,
        )

    def __len__(self) -> int:
        """How many batches are left for this rank."""
        return len(self._batches())

    def _batches(self) -> _Batches:
        start = int(self._loader.state_dict()["position"])
        return _Batches(self._loader, start, self._size, self._collate)

    def __iter__(self) -> Iterator[Any]:
        """Yield batches from where the pass stands to the end."""
        start = int(self._loader.state_dict()["position"])
        step = self._size * self._loader.world_size
        for n, batch in enumerate(self._make(self._batches()), start=1):
            # Counted here, not in the workers: what they have read ahead has not been seen by the trainer.
            self._loader.seek(min(len(self._loader), start + n * step))
            yield batch
        self._loader.seek(len(self._loader))

    def state_dict(self) -> dict[str, Any]:
        """Return the loader's state as of the last batch that was handed out."""
        return self._loader.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` stood."""
        self._loader.load_state_dict(state)

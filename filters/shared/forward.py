"""How a network runs over many inputs: in batches of one fixed shape, prepared ahead, as large as the device takes.

A matrix product may add in another order when its shape is another, so one input alone and the same input among seven others
have different last bits. Among inputs of one fixed shape the place in the batch and the neighbours change nothing (on the
CPUs that we measured, see `docs/results/clip.md`), and each process checks that before it relies on it: where it does not
hold, inputs go alone. Hence on CPU a result depends on the input only. The last batch is padded.

On a GPU the fixed size is found: it doubles until that gains less than a tenth or memory runs out, and is remembered in the
user's cache for this device, network and shape, so that all workers use the same. Memory that runs out later halves it.
"""

import hashlib
import json
import os
import queue
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from catalog.errors import UserError

T = TypeVar("T")
Array = npt.NDArray[Any]

CPU_BATCH = 8  # more of them gain nothing on one thread, and padding costs less than with 16
FIRST, MOST = 32, 2048  # sizes that are tried on a GPU
GAIN = 1.1


@dataclass(frozen=True, kw_only=True)
class Forward:
    """Runs `network` (a numpy batch in, something that `fetch` turns into one vector per input out) over equal shapes.

    A GPU works on one batch while the next one is put together: what comes out is fetched one batch later.
    """

    network: Callable[[Array], Any]
    fetch: Callable[[Any], Array] = lambda out: out
    grows: bool  # on a GPU: the size is found; otherwise it is fixed
    identity: str = ""  # of network and device: what a size that was found is remembered by
    clock: Callable[[], float] = time.perf_counter
    sizes: dict[tuple[int, ...], int] = field(default_factory=dict)  # by shape of one input

    def run(self, inputs: Iterable[Array]) -> Iterator[Array]:
        """Yield one vector per input, in order; inputs are taken as they are needed."""
        begun: tuple[Any, int] | None = None
        for following in self._begin(inputs):
            if begun is not None:
                yield from self.fetch(begun[0])[: begun[1]]
            begun = following
        if begun is not None:
            yield from self.fetch(begun[0])[: begun[1]]

    def _begin(self, inputs: Iterable[Array]) -> Iterator[tuple[Any, int]]:
        waiting: list[Array] = []
        for one in inputs:
            waiting.append(one)
            if len(waiting) == self.size(one):
                yield from self._batch(waiting)
                waiting = []
        if waiting:
            yield from self._batch(waiting)

    def size(self, one: Array) -> int:
        """Return how many inputs shaped as `one` go through the network at once."""
        if one.shape not in self.sizes:
            if self.grows:
                self.sizes[one.shape] = _remembered(f"{self.identity} {one.shape}", lambda: self._find(one))
            else:
                self.sizes[one.shape] = CPU_BATCH if self._steady(one) else 1
        return self.sizes[one.shape]

    def _batch(self, inputs: list[Array]) -> Iterator[tuple[Any, int]]:
        """Yield what comes out of each batch, and how many of it are no padding."""
        done = 0
        while done < len(inputs):
            size = self.size(inputs[0])
            part = inputs[done : done + size]
            try:
                out = self.network(np.stack([*part, *[part[-1]] * (size - len(part))]))
            except Exception as e:
                if not out_of_memory(e):
                    raise
                if size == 1:
                    msg = "not even one input of the network fits into memory"
                    raise UserError(msg, hint="use fewer workers for each GPU, or a smaller model") from e
                self.sizes[inputs[0].shape] = size // 2
                continue
            yield out, len(part)
            done += len(part)

    def _steady(self, one: Array) -> bool:
        """Tell whether neither the place in the batch nor the neighbours change a bit of the result."""
        alike = self.fetch(self.network(np.stack([one] * CPU_BATCH)))
        among = self.fetch(self.network(np.stack([one, *[np.zeros_like(one)] * (CPU_BATCH - 2), one])))
        return bool((alike == alike[:1]).all() and (among[[0, -1]] == alike[:1]).all())

    def _find(self, one: Array) -> int:
        best, rate, size = 1, 0.0, FIRST
        while size <= MOST:
            batch = np.stack([one] * size)
            try:
                self.fetch(self.network(batch))  # the first pass of a shape also picks its kernels
                began = self.clock()
                for _ in range(3):
                    self.fetch(self.network(batch))
                now = 3 * size / max(self.clock() - began, 1e-9)
            except Exception as e:
                if not out_of_memory(e):
                    raise
                if best == 1 and size > 1:  # not even the first one: go down instead
                    return self._shrink(one, size // 2)
                return best
            if now < GAIN * rate:
                return best
            best, rate, size = size, now, size * 2
        return best

    def _shrink(self, one: Array, size: int) -> int:
        while size > 1:
            try:
                self.fetch(self.network(np.stack([one] * size)))
            except Exception as e:
                if not out_of_memory(e):
                    raise
                size //= 2
            else:
                return size
        return 1


def out_of_memory(error: BaseException) -> bool:
    """Tell whether `error` says that memory ran out, of a device or of this machine."""
    if type(error).__name__ in ("OutOfMemoryError", "MemoryError"):
        return True
    said = str(error).lower()
    return isinstance(error, RuntimeError) and ("out of memory" in said or "can't allocate memory" in said)


def _remembered(key: str, find: Callable[[], int]) -> int:
    """Return the size that the first process to ask found; where nothing can be written, find it again."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cuvee" / "batches"
    path = folder / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"
    try:
        return int(json.loads(path.read_text())["size"])
    except (OSError, ValueError, KeyError, TypeError):
        size = find()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=folder, prefix=".tmp-") as f:
            json.dump({"of": key, "size": size}, f)
            f.flush()
            os.link(f.name, path)  # whoever comes second keeps the first one's
    except FileExistsError:
        try:
            return int(json.loads(path.read_text())["size"])
        except (OSError, ValueError, KeyError, TypeError):
            return size
    except OSError:
        return size
    return size


def ahead(items: Iterable[T], room: int) -> Iterator[T]:
    """Yield `items`, made in a thread of their own up to `room` ahead of whoever takes them."""
    line: queue.Queue[tuple[bool, Any]] = queue.Queue(maxsize=room)
    stop = threading.Event()
    end = object()

    def put(ok: bool, value: Any) -> bool:  # noqa: FBT001
        while not stop.is_set():
            try:
                line.put((ok, value), timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        try:
            for item in items:
                if not put(True, item):
                    return
            put(True, end)
        except BaseException as e:
            put(False, e)

    thread = threading.Thread(target=work, name="prepare", daemon=True)
    thread.start()
    try:
        while True:
            ok, value = line.get()
            if not ok:
                raise value
            if value is end:
                return
            yield value
    finally:
        stop.set()
        thread.join()

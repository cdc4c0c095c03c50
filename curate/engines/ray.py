"""Ray as the engine: Ray Data streams the items through a pool of actors, on this machine or on a cluster.

Without an address a Ray of our own is started here and stopped by `close`, with all that it wrote. With an address
(`ray://host:10001`, `host:6379` or `auto`) we connect and only disconnect; every node of that cluster needs the same
version of Python and of cuvee (`pip install 'cuvee[ray]'`) and sees the store under the same path, for instance on NFS.
"""

import contextlib
import importlib.util
import logging
import os
import pickle
import shutil
import socket
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from catalog.errors import UserError
from curate.engines.base import Engine, on_gpus
from curate.engines.local import ONE_THREAD, cpus, pack_error

T = TypeVar("T")
R = TypeVar("R")

OBJECT_STORE = 256 * 2**20  # bytes; what travels is shard numbers and counts, the data goes through the store
RETRIES = 2  # of a task whose actor died; tasks are safe to repeat


def start(*, workers: int | None, address: str | None) -> Engine:
    """Return an engine with `workers` actors (default: one per processor); Ray starts with the first `map`."""
    if importlib.util.find_spec("ray") is None or importlib.util.find_spec("ray.data") is None:
        msg = "engine `ray` needs Ray, which is not installed"
        raise UserError(msg, hint="pip install 'cuvee[ray]'")
    return Ray(workers=workers, address=address)


class Ray:
    """Actors under Ray Data; see `Engine` for the protocol."""

    name = "ray"

    def __init__(self, *, workers: int | None, address: str | None) -> None:
        self.workers = workers or cpus()
        self._all = workers is None  # of a cluster: as many as it has
        self._address = address
        self._folder: Path | None = None  # of a Ray of our own
        self._connected = False

    def map(self, task: Callable[[T], R], items: Sequence[T], *, gpu: bool | float = False) -> Iterator[R]:
        """Yield `task(item)` for every item, in the order in which Ray Data hands them out."""
        if not items:
            return
        try:
            self._connect()
            import ray
            from ray.data import ActorPoolStrategy

            devices = int(ray.cluster_resources().get("GPU", 0))
            actors, share = on_gpus(self.workers, devices, gpu)
            actors = min(actors, len(items))
            rows = [{"item": pickle.dumps(item, protocol=pickle.HIGHEST_PROTOCOL)} for item in items]
            # A block is what one actor takes at a time: one item, until there are so many that blocks would cost more.
            blocks = min(len(rows), max(256, 8 * actors))
            with warnings.catch_warnings():  # no other way to bound retries is there yet (Ray 2.60)
                warnings.simplefilter("ignore")
                results = ray.data.from_items(rows, override_num_blocks=blocks).map_batches(
                    _Actor,
                    fn_constructor_args=(pickle.dumps(task, protocol=pickle.HIGHEST_PROTOCOL),),
                    batch_size=1,
                    batch_format="pyarrow",
                    compute=ActorPoolStrategy(min_size=1, max_size=actors),
                    num_cpus=1,
                    num_gpus=share or None,
                    ray_remote_args_fn=_retries,
                    udf_modifying_row_count=False,
                )
            yield from _values(results)
        except KeyboardInterrupt:
            self.close()
            raise
        except Exception as e:
            raise _readable(e) from e.__cause__

    def shuffle(
        self, make: Callable[[T], pa.Table], items: Sequence[T], reduce: Callable[[int, pa.Table], R], *, scratch: Path
    ) -> Iterator[R]:
        """Yield `reduce(part, rows)` of every part: Ray Data's hash shuffle, through its object store; `scratch` stays empty."""
        if not items:
            return
        try:
            self._connect()
            import ray
            from ray.data import ActorPoolStrategy

            rows = [{"item": pickle.dumps(item, protocol=pickle.HIGHEST_PROTOCOL)} for item in items]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                made = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
                    _Make,
                    fn_constructor_args=(pickle.dumps(make, protocol=pickle.HIGHEST_PROTOCOL),),
                    batch_size=1,
                    batch_format="pyarrow",
                    compute=ActorPoolStrategy(min_size=1, max_size=min(self.workers, len(items))),
                    num_cpus=1,
                    ray_remote_args_fn=_retries,
                )
                results = made.groupby("part", num_partitions=self.workers).map_groups(
                    _Reduce,
                    fn_constructor_args=(pickle.dumps(reduce, protocol=pickle.HIGHEST_PROTOCOL),),
                    batch_format="pyarrow",
                    concurrency=self.workers,
                )
            yield from _values(results)
        except KeyboardInterrupt:
            self.close()
            raise
        except Exception as e:
            raise _readable(e) from e.__cause__

    def _connect(self) -> None:
        if self._connected:
            return
        # Read by Ray when it is imported and when it starts; a user's own settings win.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import ray
            import ray.data

        common: dict[str, Any] = {
            "runtime_env": {"env_vars": dict(ONE_THREAD)},
            "log_to_driver": False,
            "logging_level": logging.ERROR,
            "ignore_reinit_error": True,
        }
        if self._address is None:
            # Sockets live in it, and a socket's path may not be longer than 107 bytes: hence /tmp, whatever TMPDIR is.
            self._folder = Path(tempfile.mkdtemp(prefix="cuvee-ray-", dir="/tmp"))
            here: dict[str, Any] = {
                "address": "local",
                "num_cpus": self.workers + 1,  # one more than actors: Ray Data's own small tasks want a place as well
                "include_dashboard": False,
                "object_store_memory": OBJECT_STORE,
                "_temp_dir": str(self._folder),
            }
        else:
            _knock(self._address)
            here = {"address": self._address}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                ray.init(**common, **here)
        except Exception as e:
            self._remove_folder()
            if self._address is None:
                msg = f"Ray did not start: {_first_line(e)}"
                raise UserError(msg, hint="`--engine local` needs no Ray") from None
            msg = f"no Ray cluster answers at `{self._address}`: {_first_line(e)}"
            raise UserError(msg, hint="start one with `ray start --head`, or leave the address out") from None
        self._connected = True
        for name in ("ray", "ray.data"):  # after `init`, which sets up loggers of its own
            logging.getLogger(name).setLevel(logging.ERROR)
        if self._address is not None and self._all:
            self.workers = max(1, int(ray.cluster_resources().get("CPU", 1)))
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        context.execution_options.preserve_order = False

    def close(self) -> None:
        """Stop the Ray that we started, or disconnect from the one that we were given."""
        if self._connected:
            import ray

            ray.shutdown()
            self._connected = False
        self._remove_folder()

    def _remove_folder(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


class _Actor:
    """In a Ray worker: loads the task once, then does one item per call. An error is a result, so that Ray does not
    wrap it, print it, or run the task again."""

    def __init__(self, work: bytes) -> None:
        self._task = pickle.loads(work)

    def __call__(self, batch: pa.Table) -> pa.Table:
        oks, outs = [], []
        for data in batch["item"].to_pylist():
            try:
                out, ok = pickle.dumps(self._task(pickle.loads(data)), protocol=pickle.HIGHEST_PROTOCOL), True
            except Exception as e:
                out, ok = pack_error(e), False
            oks.append(ok)
            outs.append(out)
        return pa.table({"ok": pa.array(oks, pa.bool_()), "out": pa.array(outs, pa.large_binary())})


class _Make:
    """In a Ray worker: the first half of a shuffle. An error travels as a row of a part of its own, below all others."""

    def __init__(self, work: bytes) -> None:
        self._task = pickle.loads(work)

    def __call__(self, batch: pa.Table) -> pa.Table:
        parts = []
        for data in batch["item"].to_pylist():
            try:
                made, error = self._task(pickle.loads(data)), None
            except Exception as e:
                made, error = None, pack_error(e)
            if made is None:
                made = pa.table({"part": pa.array([_BROKEN], pa.int32())})
            parts.append(made.append_column("error", pa.array([error] * made.num_rows, pa.large_binary())))
        return pa.concat_tables(parts, promote_options="default")


class _Reduce:
    """In a Ray worker: the second half of a shuffle, one part per call."""

    def __init__(self, work: bytes) -> None:
        self._task = pickle.loads(work)

    def __call__(self, rows: pa.Table) -> pa.Table:
        part = rows["part"][0].as_py()
        try:
            if part == _BROKEN:
                return _result(ok=False, out=rows["error"][0].as_py())
            value = self._task(part, rows.drop_columns(["part", "error"]))
            return _result(ok=True, out=pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL))
        except Exception as e:
            return _result(ok=False, out=pack_error(e))


_BROKEN = -1  # the part of what went wrong in `_Make`


def _result(*, ok: bool, out: bytes) -> pa.Table:
    return pa.table({"ok": pa.array([ok], pa.bool_()), "out": pa.array([out], pa.large_binary())})


def _values(results: Any) -> Iterator[Any]:
    """Yield what tasks returned; raise the first error among them."""
    for batch in results.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        for ok, data in zip(batch["ok"].to_pylist(), batch["out"].to_pylist(), strict=True):
            value = pickle.loads(data)
            if not ok:
                raise value
            yield value


def _knock(address: str) -> None:
    """Raise `UserError` when nobody listens at `address`: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except OSError as e:
        msg = f"no Ray cluster answers at `{address}`: {e.strerror or e}"
        raise UserError(msg, hint="start one with `ray start --head`, or leave the address out") from None


def _retries() -> dict[str, Any]:
    return {"max_restarts": RETRIES, "max_task_retries": RETRIES}


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _readable(error: Exception) -> Exception:
    """Return a `UserError` for what Ray says about dead actors and lost nodes; any other error as it is."""
    with contextlib.suppress(ImportError):
        from ray.exceptions import OutOfMemoryError, RayError

        seen: BaseException | None = error
        while seen is not None:
            if isinstance(seen, RayError):
                why = "memory ran out" if isinstance(seen, OutOfMemoryError) else _first_line(seen)
                return UserError(
                    f"a Ray worker was lost {RETRIES + 1} times, probably because memory ran out: {why}",
                    hint="run the same command again: finished shards are kept; fewer `--workers` need less memory",
                )
            seen = seen.__cause__ or seen.__context__
    return error

"""Batches of a fixed shape, sizes that are found, memory that runs out: `filters/shared/forward.py`, without a GPU."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from catalog.errors import UserError
from filters.shared import forward
from filters.shared.forward import CPU_BATCH, Forward, ahead, out_of_memory


class Network:
    """Sums each input; takes `cost(size)` seconds of a clock of its own; has memory for `room` inputs."""

    def __init__(self, *, room: int = 10**9, cost=lambda size: 1.0) -> None:
        self.room = room
        self.cost = cost
        self.now = 0.0
        self.sizes: list[int] = []

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        if len(batch) > self.room:
            raise RuntimeError("CUDA out of memory. Tried to allocate 20 GiB")
        self.sizes.append(len(batch))
        self.now += self.cost(len(batch))
        return batch.reshape(len(batch), -1).sum(1, keepdims=True)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def run(f: Forward, n: int) -> list[float]:
    return [float(v[0]) for v in f.run(np.full(3, k) for k in range(n))]


def test_every_batch_has_the_same_shape_and_padding_is_cut_off() -> None:
    network = Network()
    f = Forward(network=network, grows=False)
    assert run(f, 19) == [3 * k for k in range(19)]
    assert set(network.sizes) == {CPU_BATCH}
    assert run(f, 0) == []


def test_a_network_whose_rows_touch_each_other_runs_one_by_one() -> None:
    by_place = Forward(network=lambda x: x.sum(1, keepdims=True) + np.arange(len(x))[:, None], grows=False)
    by_neighbour = Forward(network=lambda x: x.sum(1, keepdims=True) + x.sum(), grows=False)
    for f in (by_place, by_neighbour):
        assert f.size(np.ones(3)) == 1


def test_the_size_doubles_until_that_gains_nothing() -> None:
    network = Network(cost=lambda size: max(1.0, size / 256))
    f = Forward(network=network, grows=True, identity="a", clock=lambda: network.now)
    assert f.size(np.ones(3)) == 256
    assert max(network.sizes) == 512
    assert run(f, 3) == [0, 3, 6]
    assert network.sizes[-1] == 256


def test_the_size_that_was_found_is_remembered_for_all_workers() -> None:
    network = Network(cost=lambda size: max(1.0, size / 64))
    first = Forward(network=network, grows=True, identity="a", clock=lambda: network.now)
    assert first.size(np.ones(3)) == 64
    other = Network()
    second = Forward(network=other, grows=True, identity="a", clock=lambda: other.now)
    assert second.size(np.ones(3)) == 64
    assert other.sizes == []
    assert Forward(network=other, grows=True, identity="b", clock=lambda: other.now).size(np.ones(3)) == forward.MOST


@pytest.mark.parametrize("room", [1, 2, 31, 32, 100])
def test_the_size_stops_where_memory_does(room: int) -> None:
    network = Network(room=room)
    f = Forward(network=network, grows=True, identity=f"room {room}", clock=lambda: network.now)
    assert f.size(np.ones(3)) == 2 ** int(np.log2(room))
    assert run(f, 70) == [3 * k for k in range(70)]


def test_memory_that_runs_out_later_halves_the_size_and_changes_no_score() -> None:
    network = Network()
    f = Forward(network=network, grows=True, identity="a", clock=lambda: network.now, sizes={(3,): 64})
    network.room = 20
    assert run(f, 150) == [3 * k for k in range(150)]
    assert f.sizes == {(3,): 16}
    network.room = 0
    with pytest.raises(UserError, match="not even one") as e:
        run(f, 1)
    assert "workers" in e.value.hint


def test_other_errors_are_no_lack_of_memory() -> None:
    def broken(batch: np.ndarray) -> np.ndarray:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    with pytest.raises(RuntimeError, match="illegal"):
        run(Forward(network=broken, grows=True, sizes={(3,): 4}), 5)
    assert out_of_memory(MemoryError())
    assert not out_of_memory(ValueError("out of memory"))


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    network = Network(cost=lambda size: max(1.0, size / 64))
    assert Forward(network=network, grows=True, clock=lambda: network.now).size(np.ones(3)) == 64


def test_ahead_keeps_order_passes_errors_on_and_ends_its_thread() -> None:
    assert list(ahead(range(100), 3)) == list(range(100))

    def fails():
        yield 1
        raise KeyError("two")

    found = ahead(fails(), 2)
    assert next(found) == 1
    with pytest.raises(KeyError, match="two"):
        next(found)
    endless = ahead(iter(int, 1), 2)
    next(endless)
    endless.close()  # type: ignore[attr-defined]
    assert not [t for t in threading.enumerate() if t.name == "prepare"]


def test_ahead_works_while_its_taker_does() -> None:
    def slow():
        for k in range(4):
            time.sleep(0.05)
            yield k

    began = time.monotonic()
    for _ in ahead(slow(), 4):
        time.sleep(0.05)
    assert time.monotonic() - began < 0.37


def test_a_batch_is_fetched_after_the_next_has_begun() -> None:
    seen: list[str] = []

    def network(batch: np.ndarray) -> np.ndarray:
        seen.append(f"begin {int(batch[0, 0])}")
        return batch[:, :1]

    def fetch(out: np.ndarray) -> np.ndarray:
        seen.append(f"fetch {int(out[0, 0])}")
        return out

    f = Forward(network=network, fetch=fetch, grows=True, sizes={(3,): 2})
    assert run(f, 5) == [0, 1, 2, 3, 4]
    assert seen == ["begin 0", "begin 2", "fetch 0", "begin 4", "fetch 2", "fetch 4"]

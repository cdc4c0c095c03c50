import io
import itertools
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from catalog.digests import sha256
from catalog.errors import UserError
from mixtures import spec
from mixtures.loader import Loader
from mixtures.lock import lock
from mixtures.torch_loader import TorchLoader
from tests.mixtures import _toys as toys

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lock(spec.parse(toys.TINY), toys.tiny_store(tmp_path_factory.mktemp("store")))


@pytest.fixture(scope="module")
def whole(path: Path) -> list[tuple[int, str]]:
    return [(s["position"], s["id"]) for s in Loader(path)]


def test_every_position_is_its_sample(path: Path, whole: list[tuple[int, str]]) -> None:
    with Loader(path) as loader:
        assert len(loader) == len(whole) == 100
        assert [p for p, _ in whole] == list(range(100))
        for p in (0, 99, 50):
            assert loader[p]["id"] == whole[p][1]
        for sample in loader.fetch(range(100), media=True):
            assert all(sha256(m["data"]) == m["digest"] for m in sample["media"])
        distinct = [s["id"] for s in loader.samples()]
        assert len(distinct) == len(set(distinct)) == 50
        assert {i for _, i in whole} <= set(distinct)


@settings(deadline=None)
@given(data=st.data())
def test_order_and_resume_are_free_of_topology(path: Path, whole: list[tuple[int, str]], data: st.DataObject) -> None:
    """Any number of ranks, cut at any step, resumed on any other number: every position once, in order."""
    seen: list[tuple[int, str]] = []
    position = 0
    for world in (data.draw(st.integers(1, 8)), data.draw(st.integers(1, 8)), data.draw(st.integers(1, 8))):
        steps = data.draw(st.integers(0, 40))
        ranks = [Loader(path, rank=r, world_size=world) for r in range(world)]
        states = []
        columns = []
        for loader in ranks:
            loader.load_state_dict({"mixture": loader.id, "position": position})
            columns.append([(s["position"], s["id"]) for s in itertools.islice(iter(loader), steps)])
            states.append(loader.state_dict()["position"])
        seen += [x for step in itertools.zip_longest(*columns) for x in step if x is not None]
        expected = min(100, position + steps * world)
        # A rank that had a sample in the last, incomplete row stands where the others stand.
        assert max(states) == expected
        position = expected
    assert seen == whole[:position]


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_torch_batches_do_not_depend_on_workers(path: Path, whole: list[tuple[int, str]], workers: int) -> None:
    pytest.importorskip("torch")
    for rank in range(2):
        batches = TorchLoader(Loader(path, rank=rank, world_size=2), batch_size=8, workers=workers)
        assert len(batches) == 7
        ids = []
        for n, batch in enumerate(batches, start=1):
            ids += [s["id"] for s in batch]
            assert batches.state_dict()["position"] == min(100, 16 * n)
            if n == 3:
                break
        again = TorchLoader(Loader(path, rank=rank, world_size=2), batch_size=8, workers=workers)
        again.load_state_dict(batches.state_dict())
        ids += [s["id"] for batch in again for s in batch]
        assert ids == [i for _, i in whole[rank::2]]


def test_images_decode(tmp_path: Path) -> None:
    store = toys.Store(tmp_path)
    rows = [toys.sample("pics", n, image=toys.jpeg(n)) for n in range(5)]
    toys.add_dataset(store, "d", [toys.add_source(store, "pics", rows)])
    loader = Loader(
        lock(spec.parse({"name": "m", "budget": {"epochs": 2}, "sources": [{"ref": "d"}]}), store), media=True
    )
    for sample in loader:
        want = Image.open(io.BytesIO(toys.jpeg(int(sample["id"][-6:]))))
        assert loader.images(sample)[0].tobytes() == want.tobytes()


def test_what_is_wrong_is_said(path: Path) -> None:
    loader = Loader(path)
    with pytest.raises(UserError, match="belongs to mixture"):
        loader.load_state_dict({"mixture": "sha256:00", "position": 0})
    with pytest.raises(UserError, match=r"not in 0\.\.100"):
        loader.seek(101)
    with pytest.raises(UserError, match="rank 2 of 2"):
        Loader(path, rank=2, world_size=2)
    copy = pickle.loads(pickle.dumps(loader))
    assert copy[7]["id"] == loader[7]["id"]


def test_only_torch_numpy_pyarrow_and_pillow_are_needed(path: Path) -> None:
    script = f"""
import sys
class No:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in "polars rfc8785 click numba open_clip yaml rich faiss curate filters".split():
            raise ImportError(name)
sys.meta_path.insert(0, No())
from mixtures.loader import Loader
import mixtures.torch_loader
loader = Loader({str(path)!r}, media=True)
assert len([s["id"] for s in loader]) == 100
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT, timeout=60)

"""From a lock to samples, by position. Imports torch nowhere, and nothing but numpy, pyarrow and pillow anywhere.

    with Loader(Path("store/mixtures/vlm/1.0.0/mixture.lock.json"), rank=0, world_size=8) as loader:
        for sample in loader:
            sample["messages"], loader.images(sample)
            state = loader.state_dict()          # {"mixture": "sha256:...", "position": 4096}

Position p of the mixture is the same sample for ever. In one pass from position s, rank r of w sees s + r, s + r + w, ...:
the order does not depend on ranks, workers or batches, and to resume is to start at another position, on any topology.
"""

import io
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from catalog.errors import UserError
from catalog.files import read_json
from catalog.shards import MediaReader
from mixtures.canonical import lock_id
from mixtures.members import Members, file_name
from mixtures.order import SAMPLER, Order

SCHEMA = "mixture-lock/1"
READ_AHEAD = 256


Sample = dict[str, Any]
"""A row of SAMPLE plus `tokens`, and where it stands: `position`, `component`, `epoch`, `index` (row of the member table).
With `media=True` every entry of `media` also has `data`, its stored bytes."""


def open_lock(path: Path) -> dict[str, Any]:
    """Return the lock at `path` (the file or its folder), its id checked against its content."""
    path = path / "mixture.lock.json" if path.is_dir() else path
    lock = read_json(path)
    if not isinstance(lock, dict) or lock.get("schema") != SCHEMA or lock.get("sampler") != SAMPLER:
        msg = f"`{path}` is not a mixture lock of schema {SCHEMA} and sampler {SAMPLER}"
        raise UserError(msg)
    if lock_id(lock) != lock.get("id"):
        msg = f"the lock `{path}` was edited: its content is {lock_id(lock)}, it says {lock.get('id')}"
        raise UserError(msg, hint="lock the mixture again under a new version")
    return lock


def order_of(lock: Mapping[str, Any]) -> Order:
    """Return the order that a lock states."""
    sources = lock["sources"]
    return Order(
        lock["seed"],
        tuple(s["name"] for s in sources),
        tuple(s["select"]["samples"] for s in sources),
        tuple(s["take"]["samples"] for s in sources),
    )


def store_of(path: Path, lock: Mapping[str, Any]) -> Path:
    """Return the folder of the store that a lock's media lie in, from where the lock itself lies."""
    folder = path if path.is_dir() else path.parent
    return folder.resolve() / str(lock.get("volatile", {}).get("locations", {}).get("store", "../../.."))


class Loader:
    """A mixture as a sequence: `loader[position]`, or one pass over this rank's share of it.

    `media` says whether a pass reads the media as well; `read` gets one medium at any time. `store` overrides where the
    media are looked for.
    """

    def __init__(
        self,
        lock: Path | str,
        *,
        store: Path | str | None = None,
        rank: int = 0,
        world_size: int = 1,
        position: int = 0,
        media: bool = False,
    ) -> None:
        path = Path(lock)
        self.lock = open_lock(path)
        self.order = order_of(self.lock)
        if not 0 <= rank < world_size:
            msg = f"rank {rank} of {world_size}: expected 0..{world_size - 1}"
            raise UserError(msg, usage=True)
        self.rank, self.world_size, self.media = rank, world_size, media
        self._folder = path if path.is_dir() else path.parent
        self._store = Path(store) if store is not None else store_of(path, self.lock)
        self._position = 0
        self._process = -1
        self._connect()
        self.seek(position)

    def _connect(self) -> None:
        # Open files must not be shared across a fork: two processes would move one file offset.
        if self._process == os.getpid():
            return
        self._media = MediaReader(self._store)
        self._members = [Members(self._folder / file_name(s["name"])) for s in self.lock["sources"]]
        for source, table in zip(self.lock["sources"], self._members, strict=True):
            if len(table) != source["select"]["samples"]:
                have, want = len(table), source["select"]["samples"]
                msg = f"members of `{source['name']}` are {have:,} rows, the lock says {want:,}"
                raise UserError(msg, hint="remove the mixture's folder and lock it again")
        self._process = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_media", "_members")} | {"_process": -1}

    @property
    def id(self) -> str:
        """The id of the mixture."""
        return str(self.lock["id"])

    def __len__(self) -> int:
        """Positions in the whole mixture, over all ranks."""
        return self.order.total

    def __getitem__(self, position: int) -> Sample:
        """Return the sample at a position of the mixture."""
        return self.fetch([position])[0]

    def fetch(self, positions: Sequence[int] | npt.NDArray[np.int64], *, media: bool | None = None) -> list[Sample]:
        """Return the samples at these positions, in the order asked; `media` as in the constructor."""
        self._connect()
        wanted = np.asarray(positions, np.int64)
        draws = self.order.resolve(wanted)
        rows: list[Sample] = [{}] * len(wanted)
        for c in np.unique(draws.component):
            mine = np.flatnonzero(draws.component == c)
            for at, row in zip(mine.tolist(), self._members[c].rows(draws.index[mine]), strict=True):
                rows[at] = row
                row["position"], row["component"] = int(wanted[at]), self.order.names[c]
                row["epoch"], row["index"] = int(draws.epoch[at]), int(draws.index[at])
        if self.media if media is None else media:
            # In the order of the tars: what lies together is read together.
            found = [m for row in rows for m in row["media"] or ()]
            for m in sorted(found, key=lambda m: (m["shard"], m["offset"])):
                m["data"] = self.read(m)
        return rows

    def samples(self) -> Iterator[Sample]:
        """Yield every distinct sample once: component by component, in the order of the members."""
        self._connect()
        seen: set[str] = set()
        for name, table in zip(self.order.names, self._members, strict=True):
            at = 0
            for batch in table.batches():
                for row in batch.to_pylist():
                    if row["id"] not in seen:
                        seen.add(row["id"])
                        yield row | {"component": name, "index": at}
                    at += 1

    def read(self, medium: Mapping[str, Any]) -> bytes:
        """Return the stored bytes of one entry of a sample's `media`."""
        self._connect()
        return self._media.read(medium["shard"], medium["offset"], medium["size"])

    def images(self, sample: Mapping[str, Any]) -> list[Image.Image]:
        """Return a sample's images, decoded to RGB, in reading order."""
        found = [m for m in sample["media"] or () if m["kind"] == "image"]
        return [Image.open(io.BytesIO(m["data"] if "data" in m else self.read(m))).convert("RGB") for m in found]

    # -- one pass ------------------------------------------------------------------------------------------------------

    def seek(self, position: int) -> None:
        """Let the pass go on at a position of the mixture, the same on every rank."""
        if not 0 <= position <= len(self):
            msg = f"position {position} is not in 0..{len(self)} of mixture `{self.lock['name']}`"
            raise UserError(msg, usage=True)
        self._position = position

    def positions(self) -> npt.NDArray[np.int64]:
        """Return the positions that are left for this rank."""
        return np.arange(self._position + self.rank, len(self), self.world_size, dtype=np.int64)

    def __iter__(self) -> Iterator[Sample]:
        """Yield this rank's samples from where the pass stands to the end."""
        start = self._position
        mine = range(start + self.rank, len(self), self.world_size)
        # Small at first, so that the first sample does not wait for a whole block.
        at, block = 0, 16
        while at < len(mine):
            for sample in self.fetch(list(mine[at : at + block])):
                at += 1
                self._position = min(len(self), start + at * self.world_size)
                yield sample
            block = READ_AHEAD
        self._position = len(self)

    def state_dict(self) -> dict[str, Any]:
        """Return where the pass stands: one integer, and the mixture that it belongs to."""
        return {"mixture": self.id, "position": self._position}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` stood; raise `UserError` when it belongs to another mixture."""
        if state.get("mixture", self.id) != self.id:
            msg = f"the state belongs to mixture {state['mixture']}, this is {self.id}"
            raise UserError(msg, hint="resume with the lock that the run began with")
        self.seek(int(state["position"]))

    def close(self) -> None:
        """Close the media tars."""
        self._media.close()

    def __enter__(self) -> "Loader":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

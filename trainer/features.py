"""What the frozen encoder sees, computed once per image and kept: it is frozen in every stage, so no run needs it again.

    <folder>/<encoder, tiling and code fingerprint>/<part>.npy    (tiles, K, 4c) float16, tiles of many images on end
                                                    <part>.json   [[image digest, first tile, tiles], ...]

A part is there when its `.json` is there (written last). An image is named by the digest of its bytes, so all arms,
architectures and seeds share its features, and a pass that was killed goes on where it stopped. Half precision: features are
inputs, and rounding them is the same for every arm.

The tiles of a one-tile run (stage 1 of D and X) are among those of a 6+1 run: the thumbnail, last, is the whole image.
"""

import hashlib
import io
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from catalog.errors import UserError
from catalog.files import atomic, read_json, sweep, write_json
from trainer.checkpoint import config_digest, weights_digest
from trainer.tiles import tile_image

Progress = Callable[[int, int, str], None]
"""Called with (done, total, what is being done)."""

PART_IMAGES = 128


def quiet(done: int, total: int, text: str) -> None:
    """Report nothing."""


class Encoder(Protocol):
    """The frozen encoder, as far as the cache needs it (`trainer.vision.VisionEncoder`)."""

    def state_dict(self) -> Mapping[str, Tensor]:
        """Return its weights."""
        ...

    def encode_tiles(self, tiles: npt.NDArray[np.uint8]) -> Tensor:
        """Return (N, K, 4c) for (N, S, S, 3)."""
        ...


def encoder_digest(encoder: Encoder) -> str:
    """Return what names an encoder: its weights and the settings that are not weights (normalisation, heads)."""
    settings = getattr(encoder, "config", None)
    return config_digest({"weights": weights_digest(encoder.state_dict()), "settings": repr(settings)})


def cache_name(encoder: Encoder, *, tile: int, max_tiles: int) -> str:
    """Return the folder name of one encoder and tiling."""
    return config_digest({"format": 1, "encoder": encoder_digest(encoder), "tile": tile, "max_tiles": max_tiles})[:16]


class Features:
    """Read features by image digest, from memory-mapped parts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._parts: list[npt.NDArray[np.float16]] = []
        self._index: dict[str, tuple[int, int, int]] = {}
        for path in sorted(folder.glob("*.json")):
            part = len(self._parts)
            self._parts.append(np.load(path.with_suffix(".npy"), mmap_mode="r"))
            self._index.update({digest: (part, first, tiles) for digest, first, tiles in read_json(path)})

    def __contains__(self, digest: str) -> bool:
        return digest in self._index

    def __len__(self) -> int:
        return len(self._index)

    def tiles(self, digest: str, *, max_tiles: int) -> int:
        """Return n + g of an image; 1 when only one tile is wanted."""
        return 1 if max_tiles == 1 else self._at(digest)[2]

    def get(self, digest: str, *, max_tiles: int) -> Tensor:
        """Return (tiles, K, 4c) in half precision: all of an image's tiles, or its thumbnail alone."""
        part, first, tiles = self._at(digest)
        if max_tiles == 1:
            first, tiles = first + tiles - 1, 1
        return torch.from_numpy(np.array(self._parts[part][first : first + tiles]))

    def _at(self, digest: str) -> tuple[int, int, int]:
        try:
            return self._index[digest]
        except KeyError:
            msg = f"no features of image {digest[:16]} in `{self.folder}`"
            raise UserError(msg, hint="compute the features of every lock first") from None


def compute(
    images: Mapping[str, Callable[[], bytes]] | Iterable[tuple[str, bytes]],
    encoder: Encoder,
    folder: Path,
    *,
    tile: int,
    max_tiles: int = 6,
    total: int = 0,
    progress: Progress = quiet,
) -> Features:
    """Compute the features of all images that have none yet; return the open cache.

    `images` are (digest, bytes) pairs, or a map from digest to a function that reads the bytes, so that those which are known
    already need not be read. Repeated digests are computed once.
    """
    target = folder / cache_name(encoder, tile=tile, max_tiles=max_tiles)
    target.mkdir(parents=True, exist_ok=True)
    sweep(target)
    known = set(Features(target)._index)
    waiting: list[tuple[str, npt.NDArray[np.uint8]]] = []
    lazy = isinstance(images, Mapping)
    pairs: Iterable[tuple[str, Any]] = images.items() if isinstance(images, Mapping) else images
    total = total or (len(images) if isinstance(images, Mapping) else 0)
    done = 0
    for digest, data in pairs:
        done += 1
        if digest not in known:
            known.add(digest)
            waiting.append((digest, _tiles(digest, data() if lazy else data, tile=tile, max_tiles=max_tiles)))
        if len(waiting) == PART_IMAGES:
            _write_part(target, waiting, encoder)
            waiting = []
        if done % 32 == 0:
            progress(done, max(total, done), "encoding images")
    if waiting:
        _write_part(target, waiting, encoder)
    progress(done, done, "encoding images")
    return Features(target)


def _tiles(digest: str, data: bytes, *, tile: int, max_tiles: int) -> npt.NDArray[np.uint8]:
    try:
        with Image.open(io.BytesIO(data)) as image:
            return tile_image(image, max_tiles, tile)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as e:
        msg = f"image {digest[:16]} of a training set cannot be decoded: {e}"
        raise UserError(
            msg, hint="a dataset version holds only images that decoded at ingest: verify the store"
        ) from None


def _write_part(target: Path, waiting: list[tuple[str, npt.NDArray[np.uint8]]], encoder: Encoder) -> None:
    counts = [len(tiles) for _, tiles in waiting]
    with torch.inference_mode():
        seen = encoder.encode_tiles(np.concatenate([tiles for _, tiles in waiting]))
    firsts = np.cumsum([0, *counts[:-1]])
    # Named by what it holds: two processes that compute the same part write the same file.
    name = hashlib.sha256("".join(digest for digest, _ in waiting).encode()).hexdigest()[:16]
    with atomic(target / f"{name}.npy") as f:
        np.save(f, seen.to(torch.float16).cpu().numpy())
    rows = [[digest, int(a), n] for (digest, _), a, n in zip(waiting, firsts, counts, strict=True)]
    write_json(target / f"{name}.json", rows)

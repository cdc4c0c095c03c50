"""CLIP vectors of a batch's images, computed once and shared by all filters that use the same model."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from filters.shared.clip import Clip, Vectors
from filters.shared.images import Images, Pixels
from filters.shared.text import cached

Array = npt.NDArray[Any]

OVER = ("mean", "max", "min")


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """Vectors of the images of some rows, in order, and of some texts."""

    row: Array  # int64: which row an image belongs to
    images: Vectors
    broken: Array  # bool, one per row of the batch: wanted, but an image of it cannot be decoded
    texts: Vectors


def embed(batch: pa.RecordBatch, images: Images, network: Clip, wanted: Array, texts: Sequence[str] = ()) -> Embedded:
    """Return the vectors of the images of the rows where `wanted` holds, and of `texts`; a broken row has none."""
    rows = np.flatnonzero(wanted).tolist()
    # `network` stays alive with its vectors, so that no other one can come by its id.
    _, known = cached(batch, ("clip", id(network)), lambda: (network, {}))
    shown: list[tuple[int, list[int] | None]] = []
    places: dict[int, int] = {}
    alive: list[Pixels] = []

    def pictures() -> Iterator[Pixels]:
        for row in [r for r in rows if r not in known]:
            of = images[row]
            good = [p for p in of if p is not None]
            if len(good) < len(of):
                shown.append((row, None))
                continue
            for p in good:
                if id(p) not in places:  # the same picture in several samples is decoded once, and embedded once
                    places[id(p)] = len(alive)
                    alive.append(p)
                    yield p
            shown.append((row, [places[id(p)] for p in good]))

    seen, said = network.encode(pictures(), texts)
    known.update((row, None if at is None else seen[at]) for row, at in shown)
    found = [(r, known[r]) for r in rows]
    broken = np.zeros(batch.num_rows, bool)
    broken[[r for r, v in found if v is None]] = True
    whole = [(r, v) for r, v in found if v is not None and len(v)]
    return Embedded(
        row=np.repeat([r for r, _ in whole], [len(v) for _, v in whole]).astype(np.int64),
        images=np.concatenate([v for _, v in whole]) if whole else np.zeros((0, 0), np.float32),
        broken=broken,
        texts=said,
    )


def over(how: str, row: Array, values: Array, n: int) -> Array:
    """Return the `mean`, `max` or `min` of each row's values; NaN where it has none."""
    count = np.bincount(row, minlength=n)
    if how == "mean":
        with np.errstate(invalid="ignore"):
            return np.bincount(row, weights=values, minlength=n) / count
    out = np.full(n, -np.inf if how == "max" else np.inf)
    (np.maximum if how == "max" else np.minimum).at(out, row, values)
    out[count == 0] = np.nan
    return out

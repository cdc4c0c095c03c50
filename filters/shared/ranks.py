"""Draws and ranks that depend on ids and a seed only, not on the order of rows."""

import numpy as np
import polars as pl
import pyarrow as pa

from filters.shared.signatures import of_strings
from filters.shared.text import Array, kernel, mix


@kernel
def _draw(hashes: Array, seed: int) -> Array:
    out = np.empty(len(hashes), np.uint64)
    salt = mix(np.uint64(seed) + np.uint64(0x9E3779B97F4A7C15))
    for k in range(len(hashes)):
        out[k] = mix(hashes[k] ^ salt)
    return out


def drawn(ids: pa.ChunkedArray, seed: int) -> Array:
    """Return a random 64-bit number per id."""
    return _draw(of_strings(ids.combine_chunks()), seed)  # type: ignore[no-any-return]


def ranked(ids: pa.ChunkedArray, classes: Array, order: Array, seed: int) -> tuple[Array, Array]:
    """Return (rank from 1 within the class, size of the class): smallest `order` first, ties by a draw, then by id."""
    frame = pl.DataFrame(
        {
            "class": classes,
            "order": order,
            "draw": drawn(ids, seed),
            "id": pl.from_arrow(ids.cast(pa.large_string())),
            "at": np.arange(len(classes)),
        }
    )
    found = (
        frame.sort("class", "order", "draw", "id")
        .with_columns(rank=pl.int_range(1, pl.len() + 1).over("class"), size=pl.len().over("class"))
        .sort("at")
    )
    return found["rank"].to_numpy().astype(np.int64), found["size"].to_numpy().astype(np.int64)

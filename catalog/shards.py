"""Shards: row-aligned Parquet files, and tars that hold the bytes of media.

A media tar is plain WebDataset: members of one sample stand together and share the name before the first dot,
`<shard>-<row>.<n>.<ext>`; `<shard>-<row>.json` carries the sample's id and messages. Media are read by offset.
"""

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from catalog.errors import UserError
from catalog.files import atomic

EXTENSIONS = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/webp": "webp",
    "image/gif": "gif",
    "image/bmp": "bmp",
    "image/tiff": "tiff",
}


def shard_name(number: int, suffix: str) -> str:
    """Return `00017.parquet` for 17 and `parquet`."""
    return f"{number:05d}.{suffix}"


def write_table(path: Path, table: pa.Table) -> None:
    """Write one Parquet file atomically; the same table gives the same bytes."""
    with atomic(path) as f:
        pq.write_table(table, f, compression="zstd", compression_level=3, row_group_size=50_000, version="2.6")


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read one Parquet file; raise `UserError` when it is missing or damaged."""
    try:
        # Not `pq.read_table`: it loads the dataset module, half a second, and is slower per file.
        with pq.ParquetFile(path) as f:
            return f.read(columns=list(columns) if columns is not None else None)
    except FileNotFoundError:
        msg = f"no such file: `{path}`"
        raise UserError(msg) from None
    except (pa.ArrowInvalid, OSError) as e:
        msg = f"damaged shard `{path}`: {e}"
        raise UserError(msg, hint="remove the file and run the same command again") from None


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)  # mtime 0, owner 0, mode 644: the same members give the same bytes
    info.size = size
    return info.tobuf(tarfile.USTAR_FORMAT)


class TarWriter:
    """Append members to an open binary file and tell where each one's bytes lie."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out
        self._at = 0

    def add(self, name: str, data: bytes) -> tuple[int, int]:
        """Append one member; return (offset of its first byte, its size in bytes)."""
        header = _header(name, len(data))
        padding = -len(data) % tarfile.BLOCKSIZE
        self._out.write(header + data + b"\0" * padding)
        offset = self._at + len(header)
        self._at = offset + len(data) + padding
        return offset, len(data)

    def close(self) -> None:
        """Write the two empty blocks that end an archive, padded to a record as tar does."""
        end = 2 * tarfile.BLOCKSIZE
        end += -(self._at + end) % tarfile.RECORDSIZE
        self._out.write(b"\0" * end)


class MediaReader:
    """Read media by (tar, offset, size), with one open file per tar.

    `root` is the folder that the `shard` values are relative to: a source version's folder for a source's own samples.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._open: dict[str, io.BufferedReader] = {}

    def read(self, shard: str, offset: int, size: int) -> bytes:
        """Return the bytes of one medium; raise `UserError` when the tar is missing or too short."""
        f = self._open.get(shard)
        if f is None:
            path = self._root / shard
            if ".." in Path(shard).parts or Path(shard).is_absolute():
                msg = f"media path `{shard}` leaves the store"
                raise UserError(msg)
            try:
                f = self._open[shard] = path.open("rb")
            except OSError as e:
                msg = f"cannot open media tar `{path}`: {e.strerror}"
                raise UserError(msg) from None
        f.seek(offset)
        data = f.read(size)
        if len(data) != size:
            msg = f"media tar `{self._root / shard}` ends before byte {offset + size}"
            raise UserError(msg, hint="the tar was cut short after ingest: ingest the source again into a new store")
        return data

    def close(self) -> None:
        """Close every open tar."""
        for f in self._open.values():
            f.close()
        self._open.clear()

    def __enter__(self) -> "MediaReader":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

"""Images of a batch, decoded once and shared by every filter of a pass.

RGB, uint8, H x W x 3, as a person would see it: EXIF orientation applied, transparency on white, the first frame of an
animation, 16-bit grey scaled to 8 bits. An image that cannot be decoded is None. An image whose longer side is above
`MAX_SIDE` is halved as often as needed (box filter), so that a batch of photos from a camera fits into memory; the true
size stands in the schema (`media.width`, `media.height`).
"""

import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image, ImageOps

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[Any]
MAX_SIDE = 2048
MAX_PIXELS = 1 << 28  # above it nothing is decoded, whatever Pillow's own limit is set to; ingest has a lower limit


class Reader(Protocol):
    """What `catalog.shards.MediaReader` offers."""

    def read(self, shard: str, offset: int, size: int) -> bytes:
        """Return the bytes of one medium."""
        ...


def decode(data: bytes) -> Pixels | None:
    """Return the picture in `data` as uint8 H x W x 3, or None when no decoder takes it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns about large or slightly odd files that it then reads well
            with Image.open(io.BytesIO(data)) as image:
                if image.width * image.height > MAX_PIXELS:
                    return None
                factor = 1
                while max(image.size) > MAX_SIDE * factor:
                    factor *= 2
                return _rgb(image, factor)
    except MemoryError:
        raise
    except Exception:  # decoders raise about everything on hostile bytes: struct.error, SyntaxError, OSError, ...
        return None


def _rgb(image: Image.Image, factor: int) -> Pixels:
    picture: Image.Image = ImageOps.exif_transpose(image)
    if picture.mode.startswith("I;16"):
        picture = Image.fromarray((np.asarray(picture).astype(np.uint16) >> 8).astype(np.uint8))
    elif picture.mode in ("I", "F"):
        values = np.nan_to_num(np.asarray(picture, np.float64))
        top = 255.0 if values.max(initial=0) <= 255 else 65535.0  # Pillow opens 16-bit PNG as I
        picture = Image.fromarray(np.clip(values * (255.0 / top), 0, 255).astype(np.uint8))
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        picture = Image.alpha_composite(white, picture)
    picture = picture.convert("RGB")
    if factor > 1:
        picture = picture.reduce(factor)
    out: Pixels = np.asarray(picture)
    return out


class Images:
    """The pictures of a SAMPLE batch: `images[row]` is a list with one entry per image of that sample, in order.

    Decoded at first use and kept until the batch is done with; an undecodable image is None. Treat them as read-only.
    """

    def __init__(self, batch: pa.RecordBatch, reader: Reader) -> None:
        self._reader = reader
        self._media: list[list[dict[str, object]]] = [
            [m for m in media or () if m["kind"] == "image"] for media in batch.column("media").to_pylist()
        ]
        self._seen: dict[int, list[Pixels | None]] = {}
        self._by_digest: dict[str, Pixels | None] = {}
        self.decoded = 0  # how many decodes were really done

    @classmethod
    def read(cls, batch: pa.RecordBatch, reader: Reader) -> "Images":
        """Return the pictures of `batch`, whose bytes `reader` has; keep the reader open while they are in use."""
        return cls(batch, reader)

    def __len__(self) -> int:
        return len(self._media)

    def __getitem__(self, row: int) -> list[Pixels | None]:
        if row < 0 or row >= len(self._media):
            raise IndexError(row)
        found = self._seen.get(row)
        if found is None:
            found = self._seen[row] = [self._picture(m) for m in self._media[row]]
        return found

    def __iter__(self) -> Iterator[list[Pixels | None]]:
        return (self[i] for i in range(len(self)))

    def _picture(self, medium: dict[str, object]) -> Pixels | None:
        digest = str(medium["digest"] or "")
        if digest and digest in self._by_digest:
            return self._by_digest[digest]
        shard, offset, size = medium["shard"], medium["offset"], medium["size"]
        assert isinstance(shard, str)
        assert isinstance(offset, int)
        assert isinstance(size, int)
        self.decoded += 1
        picture = decode(self._reader.read(shard, offset, size))
        if digest:
            self._by_digest[digest] = picture
        return picture

    def measure(self, of: Callable[[Pixels], Sequence[float]], width: int) -> tuple[Floats, Floats]:
        """Return (row of each image, `of(image)` of each image as n x `width`); NaN where there is no picture."""
        rows, values = [], []
        for row, pictures in enumerate(self):
            for picture in pictures:
                rows.append(row)
                values.append([np.nan] * width if picture is None else list(of(picture)))
        return np.asarray(rows, np.int64), np.asarray(values, np.float64).reshape(-1, width)


def grey(picture: Pixels) -> Pixels:
    """Return the luma (ITU-R 601-2) of an RGB picture, uint8 H x W."""
    out: Pixels = np.asarray(Image.fromarray(picture).convert("L"))
    return out


def shrink(picture: Pixels, side: int) -> Pixels:
    """Return `picture` with its longer side brought down to `side` by area averaging; a smaller one as it is."""
    h, w = picture.shape[:2]
    longer = max(h, w)
    if longer <= side:
        return picture
    size = (max(1, round(w * side / longer)), max(1, round(h * side / longer)))
    out: Pixels = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))
    return out


def sizes(batch: pa.RecordBatch) -> tuple[Floats, Floats, Floats]:
    """Return (row, width, height) of every image of a SAMPLE batch, from the schema; NaN where a size is not known."""
    media = batch.column("media")
    flat = media.flatten()
    row = pc.list_parent_indices(media).to_numpy(zero_copy_only=False)
    kind, width, height = (pc.struct_field(flat, name) for name in ("kind", "width", "height"))
    images = pc.fill_null(pc.equal(kind, "image"), False).to_numpy(zero_copy_only=False)

    def pixels(column: pa.Array) -> Floats:
        out: Floats = column.cast(pa.float64()).to_numpy(zero_copy_only=False)[images]
        return out

    return row[images], pixels(width), pixels(height)


def fold(batch: pa.RecordBatch, row: Floats, how: np.ufunc, **columns: Floats) -> pa.RecordBatch:
    """Return one value per sample and column: `how` over its images, NaN where any is NaN, null where it has none."""
    n = batch.num_rows
    nothing = np.bincount(row, minlength=n) == 0
    out = {}
    for name, values in columns.items():
        result = np.full(n, -np.inf if how is np.maximum else np.inf)
        with np.errstate(invalid="ignore"):  # NaN is meant to spread
            how.at(result, row, values)
        out[name] = pa.array(result, pa.float64(), mask=nothing)
    return pa.RecordBatch.from_pydict(out)

"""Images of a batch, decoded once and shared by every filter of a pass.

As a person would see them: EXIF orientation applied, transparency on white, the first frame of an animation, 16-bit
grey scaled to 8 bits. An image that cannot be decoded is None. An image whose longer side is above `MAX_SIDE` is halved
as often as needed, a JPEG by its decoder (which then transforms fewer coefficients), others with a box filter, so that
a batch of photos from a camera fits into memory; the true size stands in the schema (`media.width`, `media.height`).

A filter measures planes (`images.measure`; `filters/shared/planes.py`: three small cuts of each picture, made for
numba), or takes `images[row]`, the pictures themselves, RGB, uint8, H x W x 3. Both come of one decode.
"""

import ctypes
import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image, ImageOps

from filters.shared.planes import Cuts, Cutter

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[Any]
MAX_SIDE = 2048
GROUP = 8  # pictures that are cut and then measured together: their planes fit into a core's own cache
MAX_PIXELS = 1 << 28  # above it nothing is decoded, whatever Pillow's own limit is set to; ingest has a lower limit


class Reader(Protocol):
    """What `catalog.shards.MediaReader` offers."""

    def read(self, shard: str, offset: int, size: int) -> bytes:
        """Return the bytes of one medium."""
        ...


def decode(data: bytes) -> Pixels | None:
    """Return the picture in `data` as uint8 H x W x 3, or None when no decoder takes it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns about large or slightly odd files that it then reads well
        found = _opened(data)
    return None if found is None else _rgb(found)


def _rgb(image: Image.Image) -> Pixels:
    out: Pixels = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    return out


def _opened(data: bytes) -> Image.Image | None:
    """Return the picture in `data`, of mode RGB or L, or None when no decoder takes it."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > MAX_PIXELS:
                return None
            longer, factor = max(image.size), 1
            while longer > MAX_SIDE * factor:
                factor *= 2
            if factor > 1:
                image.draft(image.mode, (-(-image.width // factor), -(-image.height // factor)))
                factor = -(-factor * max(image.size) // longer)  # what the decoder left to do; 1 for a JPEG
            image.load()
            picture: Image.Image = image
            if image.format != "JPEG" or "exif" in image.info or "xmp" in image.info:
                picture = _upright(image)
            if picture.mode not in ("RGB", "L") or "transparency" in picture.info:
                picture = _plain(picture)
            return picture.reduce(factor) if factor > 1 else picture
    except MemoryError:
        raise
    except Exception:  # decoders raise about everything on hostile bytes: struct.error, SyntaxError, OSError, ...
        return None


def _upright(image: Image.Image) -> Image.Image:
    """Return `image` turned as its EXIF says; itself where there is nothing to turn (Pillow would copy it)."""
    if image.getexif().get(0x0112, 1) == 1:
        return image
    turned: Image.Image = ImageOps.exif_transpose(image)
    return turned


def _plain(picture: Image.Image) -> Image.Image:
    """Return `picture` as RGB: deep grey scaled to 8 bits, transparency on white."""
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
    return picture.convert("RGB")


class _ArrowArray(ctypes.Structure):
    """The struct of the Arrow C data interface (https://arrow.apache.org/docs/format/CDataInterface.html)."""


_ArrowArray._fields_ = [
    *((name, ctypes.c_int64) for name in ("length", "null_count", "offset", "n_buffers", "n_children")),
    ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(_ArrowArray))),
    *((name, ctypes.c_void_p) for name in ("dictionary", "release", "private_data")),
]
_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype = ctypes.c_void_p
_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]


class _Held:
    """Pixels in the memory of a Pillow image, as numpy takes them over: what lies there lives as long as an array of
    it."""

    def __init__(self, image: Image.Image) -> None:
        colour = image.mode == "RGB"
        _, self._capsule = image.__arrow_c_array__()
        array = _ArrowArray.from_address(_pointer(self._capsule, b"arrow_array"))
        if colour:
            array = array.children[0].contents
        self.__array_interface__ = {
            "version": 3,
            "typestr": "<u4" if colour else "|u1",
            "shape": (image.height, image.width),
            "data": (array.buffers[1], True),
        }


def _memory(image: Image.Image) -> Floats:
    """Return the pixels of an image of mode RGB or L, uint32 or uint8, H x W or wider, without a copy where Pillow can
    do that.

    Pillow keeps RGB in four bytes a pixel and pads a grey row to four bytes; since 11.2 it hands its memory out (as
    Arrow, one of whose libraries would cost more than the pixels), where there is no padding.
    """
    width, height = image.size
    if image.mode == "L" and width % 4:
        image = image.crop((0, 0, width + -width % 4, height))
    try:
        return np.asarray(_Held(image))
    except (AttributeError, ValueError):  # an older Pillow, or an image in several pieces of memory
        kind, raw = (np.uint32, "RGBX") if image.mode == "RGB" else (np.uint8, "L")
        return np.frombuffer(image.tobytes("raw", raw), kind).reshape(height, -1)


Measure = Callable[[Cuts], Floats]
"""From the planes of n pictures to n rows of k numbers, in new memory; a row does not depend on which pictures come together."""


class Images:
    """The pictures of a SAMPLE batch: `images[row]` is a list with one entry per image of that sample, in order.

    Decoded at first use; an undecodable image is None. Treat them as read-only.

    `measures` are those that will be asked for: all are taken when the first one is, of a few pictures at a time, while
    their planes are in the processor's cache. Another one is taken when it is asked for. With `keep`, decoded pictures
    stay in memory until the batch is done with; without, asking for `images[row]` or for another measure later on
    decodes once more.
    """

    def __init__(
        self, batch: pa.RecordBatch, reader: Reader, *, measures: Sequence[Measure] = (), keep: bool = True
    ) -> None:
        self._reader = reader
        self._keep = keep
        self._rows: int = batch.num_rows
        media = batch.column("media")
        flat = media.flatten()
        wanted = pc.fill_null(pc.equal(flat.field("kind"), "image"), False)
        self.row: Floats = np.asarray(pc.list_parent_indices(media).filter(wanted))  # the sample of each image
        columns = (flat.field(name).filter(wanted).to_pylist() for name in ("shard", "offset", "size", "digest"))
        # Equal digests are one picture: it is decoded and measured once.
        numbers: dict[object, int] = {}
        self._where: list[tuple[str, int, int]] = []
        at = []
        for shard, offset, size, digest in zip(*columns, strict=True):
            number = numbers.setdefault(digest or (shard, offset), len(numbers))
            if number == len(self._where):
                self._where.append((shard, offset, size))
            at.append(number)
        self._at: Floats = np.asarray(at, np.int64)  # the picture of each image
        self._first: Floats = np.searchsorted(self.row, np.arange(self._rows + 1))
        self._kept: dict[int, Image.Image | None] = {}
        self._pixels: dict[int, Pixels | None] = {}
        self._measures = tuple(dict.fromkeys(measures))
        self._measured: dict[Measure, Floats] = {}
        self.decoded = 0  # how many decodes were really done

    @classmethod
    def read(
        cls, batch: pa.RecordBatch, reader: Reader, *, measures: Sequence[Measure] = (), keep: bool = True
    ) -> "Images":
        """Return the pictures of `batch`, whose bytes `reader` has; keep the reader open while they are in use."""
        return cls(batch, reader, measures=measures, keep=keep)

    def __len__(self) -> int:
        return self._rows

    def __getitem__(self, row: int) -> list[Pixels | None]:
        if row < 0 or row >= self._rows:
            raise IndexError(row)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns about large or slightly odd files that it then reads well
            return [self._picture(int(k)) for k in self._at[self._first[row] : self._first[row + 1]]]

    def __iter__(self) -> Iterator[list[Pixels | None]]:
        return (self[i] for i in range(len(self)))

    def _picture(self, number: int) -> Pixels | None:
        if number not in self._pixels:
            opened = self._open(number)
            self._pixels[number] = None if opened is None else _rgb(opened)
            self._kept.pop(number, None)
        return self._pixels[number]

    def _open(self, number: int) -> Image.Image | None:
        if number in self._kept:
            return self._kept[number]
        if number in self._pixels:
            pixels = self._pixels[number]
            return None if pixels is None else Image.fromarray(pixels)
        self.decoded += 1
        opened = _opened(self._reader.read(*self._where[number]))
        if self._keep:
            self._kept[number] = opened
        return opened

    def measure(self, of: Measure) -> tuple[Floats, Floats]:
        """Return (row of each image, what `of` says of each image as n x k): NaN, or 0 in integers, where there is no
        picture."""
        if of not in self._measured:
            self._measured.update(self._take((*(m for m in self._measures if m not in self._measured), of)))
        return self.row, self._measured[of][self._at]

    def _take(self, wanted: Sequence[Measure]) -> dict[Measure, Floats]:
        cutter = Cutter(GROUP)
        known = np.zeros(len(self._where), bool)
        parts: dict[Measure, list[Floats]] = {m: [] for m in wanted}

        def flush() -> None:
            cuts = cutter.take()
            for m in parts:
                parts[m].append(m(cuts))

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for number in range(len(known)):
                opened = self._open(number)
                if opened is not None:
                    known[number] = True
                    cutter.add(_memory(opened), opened.width)
                del opened  # so that the next one is decoded into the same memory
                if cutter.full:
                    flush()
            flush()
        out = {}
        for m in parts:
            found = np.concatenate(parts[m])
            every = np.full((len(known), found.shape[1]), np.nan if found.dtype.kind == "f" else 0, found.dtype)
            every[known] = found
            out[m] = every
        return out


def present(cuts: Cuts) -> Floats:
    """Measure: True; False, as in any measure of integers, where there is no picture."""
    return np.ones((len(cuts), 1), np.bool_)


def cut(picture: Pixels) -> Cuts:
    """Return the planes of one picture."""
    cutter = Cutter(1)
    cutter.add(_memory(Image.fromarray(picture)), picture.shape[1])
    return cutter.take()


def sizes(batch: pa.RecordBatch) -> tuple[Floats, Floats, Floats]:
    """Return (row, width, height) of every image of a SAMPLE batch, from the schema; NaN where a size is not known."""
    row, width, height = media(batch, "width", "height")
    return row, width, height


def media(batch: pa.RecordBatch, *names: str) -> tuple[Floats, ...]:
    """Return the row of every image of a SAMPLE batch and numeric fields of `media`; NaN where one is not known."""
    column = batch.column("media")
    flat = column.flatten()
    row = pc.list_parent_indices(column).to_numpy(zero_copy_only=False)
    images = pc.fill_null(pc.equal(flat.field("kind"), "image"), False).to_numpy(zero_copy_only=False)
    numbers = (flat.field(n).cast(pa.float64()).to_numpy(zero_copy_only=False)[images] for n in names)
    return row[images], *numbers


def fold(batch: pa.RecordBatch, row: Floats, how: np.ufunc, **columns: Floats) -> pa.RecordBatch:
    """Return one value per sample and column: `how` over its images, NaN where any is NaN, null where it has none."""
    n = batch.num_rows
    nothing = np.bincount(row, minlength=n) == 0
    start = 0.0 if how is np.add else -np.inf if how is np.maximum else np.inf
    out = {}
    for name, values in columns.items():
        result = np.full(n, start)
        with np.errstate(invalid="ignore"):  # NaN is meant to spread
            how.at(result, row, values)
        out[name] = pa.array(result, pa.float64(), mask=nothing)
    return pa.RecordBatch.from_pydict(out)

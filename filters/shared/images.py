"""Images of a batch, decoded once and shared by every filter of a pass.

As a person would see them: EXIF orientation applied, transparency on white, the first frame of an animation, 16-bit
grey scaled to 8 bits. An image that cannot be decoded is None. An image whose longer side is above `MAX_SIDE` is halved
as often as needed, a JPEG by its decoder (which then transforms fewer coefficients), others with a box filter, so that
a batch of photos from a camera fits into memory; the true size stands in the schema (`media.width`, `media.height`).

A filter measures planes (`images.measure`; `filters/shared/planes.py`: three small cuts of each picture, made for
numba), or takes `images[row]`, the pictures themselves, RGB, uint8, H x W x 3. Both come of one decode. A JPEG is kept as
it is stored, in luma and colour differences: its luma is measured as it is, and its RGB is to the bit what libjpeg makes.
Where nobody wants the pictures themselves, the common JPEG is decoded by a decoder of our own (`filters/shared/baseline.py`),
which makes the same planes of it.
"""

import ctypes
import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image, ImageOps, JpegImagePlugin

from filters.shared import jpeg
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
    if image.mode == "YCbCr":
        out = np.empty((image.height, image.width, 3), np.uint8)
        jpeg.rgb(_memory(image)[0], out)
        return out
    same: Pixels = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    return same


def _opened(data: bytes, into: Image.Image | None = None) -> Image.Image | None:
    """Return the picture in `data`, of mode RGB, L or, a JPEG, YCbCr (`into`, where it fits); None when no decoder takes it."""
    plain = jpeg.decoded(data, MAX_SIDE, into)
    return _any(data) if plain is None else plain


def _any(data: bytes, *, luma: bool = True) -> Image.Image | None:
    """Return the picture in `data`, whatever its format, as `_opened` does."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > MAX_PIXELS:
                return None
            longer, factor = max(image.size), 1
            while longer > MAX_SIDE * factor:
                factor *= 2
            luma = luma and image.mode == "RGB" and isinstance(image, JpegImagePlugin.JpegImageFile)
            if luma or factor > 1:
                image.draft("YCbCr" if luma else image.mode, (-(-image.width // factor), -(-image.height // factor)))
                factor = -(-factor * max(image.size) // longer)  # what the decoder left to do; 1 for a JPEG
            try:
                image.load()
            except OSError:
                if luma:
                    return _any(data, luma=False)  # it may be stored as RGB
                raise
            picture: Image.Image = image
            if image.format != "JPEG" or "exif" in image.info or "xmp" in image.info:
                picture = _upright(image)
            if picture.mode not in ("RGB", "YCbCr", "L") or "transparency" in picture.info:
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
        colour = image.mode != "L"
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


def _memory(image: Image.Image) -> tuple[Floats, bool]:
    """Return the pixels of an image of mode RGB, YCbCr or L, uint32 or uint8, H x W or wider, and whether they are the
    image's own memory rather than a copy.

    Pillow keeps colours in four bytes a pixel and pads a grey row to four bytes; since 11.2 it hands its memory out (as
    Arrow, one of whose libraries would cost more than the pixels), where there is no padding.
    """
    width, height = image.size
    padded = image.mode == "L" and width % 4 > 0
    if padded:
        image = image.crop((0, 0, width + -width % 4, height))
    try:
        return np.asarray(_Held(image)), not padded
    except (AttributeError, ValueError):  # an older Pillow, or an image in several pieces of memory
        kind = np.uint8 if image.mode == "L" else np.uint32
        raw = image.mode if image.mode == "L" else f"{image.mode}X"
        return np.frombuffer(image.tobytes("raw", raw), kind).reshape(height, -1), False


@dataclass(kw_only=True)
class _Last:
    """The last picture that Pillow decoded, whose memory takes up the next one where that has the same size."""

    image: Image.Image | None = None
    pixels: Floats = field(default_factory=lambda: np.zeros(0))
    own: bool = False


Measure = Callable[[Cuts], Floats]
"""From the planes of n pictures to n rows of k numbers, in new memory; a row does not depend on which pictures come together."""


class Images:
    """The pictures of a SAMPLE batch: `images[row]` is a list with one entry per image of that sample, in order.

    Decoded at first use; an undecodable image is None. Treat them as read-only.

    `measures` are those that will be asked for: all are taken when the first one is, of a few pictures at a time, while
    their planes are in the processor's cache. Another one is taken when it is asked for. With `keep`, decoded pictures
    stay in memory until the batch is done with; without, asking for `images[row]` decodes once more. So does asking for a
    measure that was not announced after looking at the pictures.
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
            if self._keep and not self._measured and self._measures:
                self._measured.update(self._take(self._measures))
            opened = self._open(number)
            self._pixels[number] = None if opened is None else _rgb(opened)
            self._kept.pop(number, None)
        return self._pixels[number]

    def _read(self, number: int) -> bytes:
        self.decoded += 1
        return self._reader.read(*self._where[number])

    def _open(self, number: int) -> Image.Image | None:
        if number in self._kept:
            return self._kept[number]
        opened = _opened(self._read(number))
        if self._keep and number not in self._pixels:
            self._kept[number] = opened
        return opened

    def _cut(self, number: int, cutter: Cutter, last: "_Last") -> bool:
        """Cut one picture; False where there is none."""
        data = b"" if self._keep else self._read(number)
        if not self._keep and cutter.add_jpeg(data):
            return True
        opened = self._open(number) if self._keep else _opened(data, last.image)
        if opened is None:
            return False
        if opened is not last.image or not last.own:
            last.pixels, last.own = _memory(opened)
        last.image = opened
        cutter.add(last.pixels, opened.width, luma=opened.mode == "YCbCr")
        return True

    def measure(self, of: Measure) -> tuple[Floats, Floats]:
        """Return (row of each image, what `of` says of each image as n x k): NaN, or 0 in integers, where there is no
        picture."""
        if of not in self._measured:
            self._measured.update(self._take((*(m for m in self._measures if m not in self._measured), of)))
        return self.row, self._measured[of][self._at]

    def _take(self, wanted: Sequence[Measure]) -> dict[Measure, Floats]:
        cutter, last = Cutter(GROUP), _Last()
        known = np.zeros(len(self._where), bool)
        parts: dict[Measure, list[Floats]] = {m: [] for m in wanted}

        def flush() -> None:
            cuts = cutter.take()
            for m in parts:
                parts[m].append(m(cuts))

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for number in range(len(known)):
                known[number] = self._cut(number, cutter, last)
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
    cutter.add(_memory(Image.fromarray(picture))[0], picture.shape[1])
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
    if len(row) == n and (row == np.arange(n)).all():  # one image each, as nearly always
        return pa.RecordBatch.from_pydict(
            {k: pa.array(np.asarray(v, np.float64), pa.float64()) for k, v in columns.items()}
        )
    some, first = np.unique(row, return_index=True)  # images stand in the order of their samples
    nothing = np.bincount(row, minlength=n) == 0
    out = {}
    for name, values in columns.items():
        result = np.zeros(n)
        if len(some):
            with np.errstate(invalid="ignore"):  # NaN is meant to spread
                result[some] = how.reduceat(values, first)
        out[name] = pa.array(result, pa.float64(), mask=nothing)
    return pa.RecordBatch.from_pydict(out)

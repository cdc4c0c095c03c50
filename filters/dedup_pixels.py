"""Exact duplicates by decoded pixels: the same picture in another file.

`pixels` (32 hex digits): a blake2b of the pixels and the size of all images of a sample in order, and of its text. Null
without images, or with one that cannot be decoded. Two samples are duplicates when theirs are equal; similarity is 1 (share,
0..1). No bounds: who survives is decided by the judge's policy.

Pixels are those that every filter sees (`filters/shared/images.py`): RGB, turned as the EXIF says, transparency on white, 16-bit
grey scaled to 8 bits, the first frame of an animation. So a PNG and a lossless WebP of one picture are equal, with
whatever metadata, and a grey file equals a colour file that shows the same. A picture whose longer side is above 2,048 pixels is
halved first, so that two which differ in less than that may be equal; the size that is hashed is the true one.

`pair` says what else must be equal:
  image        nothing: the same images in the same order are duplicates, whatever is said
  image+text   what the user says and what the assistant says, but for case, punctuation and spacing. The same picture under
               another question or with another caption is a sample of its own
The same text under different pictures is never a duplicate.

Source: exact image deduplication by a hash, as the md5 of the decoded image in Data-Juicer's `ray_image_deduplicator` and of
the file in CleanVision's exact duplicates, https://github.com/datajuicer/data-juicer, https://github.com/cleanlab/cleanvision;
here with text, policy, and orientation. By the digests of the files `dedup_exact` does it.
"""

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog.errors import UserError
from filters.base import scorer
from filters.shared.images import Images, Pixels, sizes
from filters.shared.signatures import of_strings
from filters.shared.sketches import sketches
from filters.shared.text import Array

PAIRS = ("image", "image+text")
BYTES = 16


@scorer(version=1, scores={"pixels": pa.string()}, bounds={})
def dedup_pixels(batch: pa.RecordBatch, images: Images, *, pair: str = "image+text") -> pa.RecordBatch:
    """Return the hash of each sample's pixels."""
    _check(pair)
    text = sketches(batch) if pair == "image+text" else None
    _, width, height = sizes(batch)
    at = 0
    out: list[str | None] = []
    for row, pictures in enumerate(images):
        end = at + len(pictures)
        if not pictures or any(p is None for p in pictures):
            out.append(None)
        else:
            whole = hashlib.blake2b(digest_size=BYTES)
            if text is not None:
                whole.update(text.asked[row].tobytes() + text.answered[row].tobytes())
            for k, picture in zip(range(at, end), pictures, strict=True):
                assert picture is not None
                _update(whole, picture, width[k], height[k])
            out.append(whole.hexdigest())
        at = end
    return pa.RecordBatch.from_arrays([pa.array(out, pa.string())], ["pixels"])


def _update(whole: "hashlib.blake2b", picture: Pixels, width: float, height: float) -> None:
    """Add the size and the pixels of a picture to the hash; of one that was halved also its true longer side."""
    side = max(picture.shape[:2])
    true = max(width, height)  # NaN where it is not known
    whole.update(np.array([*picture.shape[:2], true if true > side else side], "<i8").tobytes())
    whole.update(np.ascontiguousarray(picture).data)


def _check(pair: str) -> None:
    if pair not in PAIRS:
        hint = "texts alone are compared by `dedup_exact` and `dedup_minhash`" if pair == "text" else ""
        msg = f"`pair` is `{pair}`; expected one of {', '.join(PAIRS)}"
        raise UserError(msg, hint=hint, usage=True)


def keys(signatures: pa.Table) -> pa.Table:
    """Return (row, key): a hash of every signature."""
    column = signatures["pixels"]
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return pa.table({"row": np.arange(len(whole), dtype=np.int64), "key": of_strings(whole)})


def alike(signatures: pa.Table, a: Array, b: Array) -> Array:
    """Return 1 for the pairs of rows whose signatures are equal, 0 for the others."""
    column = signatures["pixels"]
    return np.asarray(pc.equal(column.take(pa.array(a)), column.take(pa.array(b)))).astype(np.float64)

"""Counting tokens without a tokenizer: `words/1`, a rule that anybody can repeat and that every script of text obeys."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

RUN_BYTES = 8


def words1(messages: pa.ListArray) -> npt.NDArray[np.int32]:
    """Return the tokens of every sample by `words/1`.

    The content of each message is cut at ASCII white space; a piece of b UTF-8 bytes counts ceil(b / 8) tokens. So an
    English word is one or two, and a text without spaces is not one. Roles, images and boxes count nothing.
    """
    rows = len(messages)
    message_row = np.asarray(pc.list_parent_indices(messages))
    pieces = pc.ascii_split_whitespace(pc.struct_field(pc.list_flatten(messages), "content"))
    piece_message = np.asarray(pc.list_parent_indices(pieces))
    size = np.asarray(pc.binary_length(pc.list_flatten(pieces))).astype(np.int64)
    counted = np.bincount(message_row[piece_message], weights=-(-size // RUN_BYTES), minlength=rows)
    return counted.astype(np.int32)


def images(media: pa.ListArray) -> npt.NDArray[np.int64]:
    """Return how many images every sample shows."""
    rows = np.asarray(pc.list_parent_indices(media))
    kinds = pc.struct_field(pc.list_flatten(media), "kind")
    is_image = np.asarray(pc.fill_null(pc.equal(kinds, "image"), False))
    return np.bincount(rows[is_image], minlength=len(media)).astype(np.int64)

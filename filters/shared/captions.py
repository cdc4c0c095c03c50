"""What a sample says about its images."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.shared.dialogue import ASSISTANT, USER, roles
from filters.shared.text import messages, starts


def turns(batch: pa.RecordBatch) -> list[tuple[str, str]]:
    """Return (what the user said, what the assistant said) of every sample, as `said` does."""
    one, two = said(batch)
    return list(zip(one.to_pylist(), two.to_pylist(), strict=True))


def said(batch: pa.RecordBatch) -> tuple[pa.Array, pa.Array]:
    """Return what the user said and what the assistant said in every sample, without media marks.

    Where only one of them says anything, as in a plain caption, it is the second.
    """
    texts, _, first = messages(batch)
    texts = pc.utf8_trim_whitespace(texts)
    some = np.asarray(pc.greater(pc.binary_length(texts), 0))
    user, assistant = (_joined(texts, first, some & (roles(batch) == who)) for who in (USER, ASSISTANT))
    answered = pc.greater(pc.binary_length(assistant), 0)
    return pc.if_else(answered, user, pa.scalar("", pa.large_string())), pc.if_else(answered, assistant, user)


def _joined(texts: pa.Array, first: np.ndarray, mine: np.ndarray) -> pa.Array:
    lists = pa.LargeListArray.from_arrays(pa.array(starts(mine)[first]), texts.filter(pa.array(mine)))
    return pc.binary_join(lists, pa.scalar("\n", pa.large_string()))

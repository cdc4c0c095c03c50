"""What a sample says about its images."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.shared.dialogue import ASSISTANT, USER, roles
from filters.shared.text import messages, starts


def turns(batch: pa.RecordBatch) -> list[tuple[str, str]]:
    """Return (what the user said, what the assistant said) of every sample, without media marks.

    Where only one of them says anything, as in a plain caption, it is the second.
    """
    texts, _, first = messages(batch)
    texts = pc.utf8_trim_whitespace(texts)
    said = np.asarray(pc.greater(pc.binary_length(texts), 0))
    user, assistant = (_joined(texts, first, said & (roles(batch) == who)) for who in (USER, ASSISTANT))
    answered = pc.greater(pc.binary_length(assistant), 0)
    one = pc.if_else(answered, user, pa.scalar("", pa.large_string())).to_pylist()
    two = pc.if_else(answered, assistant, user).to_pylist()
    return list(zip(one, two, strict=True))


def _joined(texts: pa.Array, first: np.ndarray, mine: np.ndarray) -> pa.Array:
    lists = pa.LargeListArray.from_arrays(pa.array(starts(mine)[first]), texts.filter(pa.array(mine)))
    return pc.binary_join(lists, pa.scalar("\n", pa.large_string()))

"""What a sample says about its images."""

import re

import pyarrow as pa

from catalog.schema import MARKS

_MARK = re.compile("|".join(re.escape(m) for m in MARKS.values()))


def turns(batch: pa.RecordBatch) -> list[tuple[str, str]]:
    """Return (what the user said, what the assistant said) of every sample, without media marks.

    Where only one of them says anything, as in a plain caption, it is the second.
    """
    out = []
    for messages in batch.column("messages").to_pylist():
        said = {"user": [], "assistant": []}  # type: dict[str, list[str]]
        for m in messages or ():
            text = _MARK.sub(" ", m["content"] or "").strip()
            if text and m["role"] in said:
                said[m["role"]].append(text)
        user, assistant = "\n".join(said["user"]), "\n".join(said["assistant"])
        out.append((user, assistant) if assistant else ("", user))
    return out

"""Exact duplicates by content.

`signature` (64 hex digits): the sample's digest, a sha256 of the NFC text of all messages with their roles, the digests of
all media and the boxes (`catalog.digests.sample_digest`). Applies to every sample. Two samples are duplicates when their
signatures are equal; the same picture with another caption is not one, nor the same caption with another picture.
Similarity is 1 (share, 0..1). No bounds: who survives is decided by the judge's policy.

Source: md5 exact deduplication as in Data-Juicer's `document_deduplicator`, https://github.com/datajuicer/data-juicer, here
with sha256 over text and media together. Left out: its options to lower-case and to ignore punctuation, since what differs
by case is not exact; `dedup_text` takes those.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.base import scorer
from filters.shared.signatures import of_strings
from filters.shared.text import Array, table


@scorer(version=1, scores={"signature": pa.string()}, bounds={})
def dedup_exact(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return the digests of `batch` as signatures."""
    return table(signature=batch.column("digest").cast(pa.string()))


def keys(signatures: pa.Table) -> pa.Table:
    """Return (row, key): a hash of every signature."""
    column = signatures["signature"]
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return pa.table({"row": np.arange(len(whole), dtype=np.int64), "key": of_strings(whole)})


def alike(signatures: pa.Table, a: Array, b: Array) -> Array:
    """Return 1 for the pairs of rows whose signatures are equal, 0 for the others."""
    column = signatures["signature"]
    return np.asarray(pc.equal(column.take(pa.array(a)), column.take(pa.array(b)))).astype(np.float64)

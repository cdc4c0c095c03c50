"""Personal data and secrets in what a sample says: how many of each kind, over all its messages.

secret     count of keys, tokens, private key blocks, passwords in URLs and in assignments
email      count of e-mail addresses, the reserved example names aside
iban       count of bank accounts with a right checksum (ISO 13616)
card       count of card numbers with a right checksum (ISO/IEC 7812-1)
ssn        count of US social security numbers
ip         count of public IP addresses, v4 and v6
ip_local   count of private, local and documentation addresses: no personal data, told apart
phone      count of telephone numbers: international, North American, and labelled ones
pii        count of all of them but `secret` and `ip_local`
All are null where a sample has no message.

Bound: `secret` at most 0, our own: a live key must not be taught, it is rare (none in 56,000 records of real instruction,
mathematics and alt-text data, see docs/pii.md), and what looks like one is no loss. The others have no bound: a receipt has its
shop's number, an encyclopedia an address, and a rule that drops them drops the kind of text. Mask them instead (`cuvee mask`),
or set a bound of your own.

Patterns, checks and their sources (RFC 5322, ITU-T E.164, ISO 7064, RFC 6890, ..) are in `filters/shared/pii.py`, which
masking uses too: what this filter counts is what masking replaces. After huggingface/datatrove's PII formatter (e-mail, public
IP) and allenai/dolma's taggers (e-mail, phone, IP; secrets). Left out: names, addresses, and whatever needs a model to be
seen; text in `boxes`, which mostly repeats the messages (masking does replace it there).
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.base import scorer
from filters.shared import pii as where
from filters.shared.text import column, lengths, table

PERSONAL = tuple(k for k in where.KINDS if k not in ("secret", "ip_local"))


@scorer(
    version=1,
    scores={**{k: pa.int64() for k in where.KINDS}, "pii": pa.int64()},
    bounds={"secret": (None, 0)},
)
def pii(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Count the hits of every kind in the messages of `batch`."""
    # Not the texts that other filters share: there a media mark is a blank, which would join what stands around it.
    texts = pc.fill_null(batch.column("messages").flatten().field("content"), "")
    size = lengths(batch.column("messages"))
    hits = where.find(texts)
    sample = np.repeat(np.arange(batch.num_rows), size)[hits.text]
    counts = np.zeros((batch.num_rows, len(where.KINDS)), np.int64)
    np.add.at(counts, (sample, hits.kind), 1)
    applies = size > 0
    total = counts[:, [where.KINDS.index(k) for k in PERSONAL]].sum(1)
    each = {k: column(counts[:, i], applies, pa.int64()) for i, k in enumerate(where.KINDS)}
    return table(**each, pii=column(total, applies, pa.int64()))

"""How many different pictures have this very caption: "Image", a shop's name, the title of a collection.

What is known of one sample: `caption` (8 bytes), a hash of the caption's words after NFKC and lower-casing, and `picture`
(8 bytes), a hash of the digests of its media. What follows from all samples:

- `pictures` (count): different pictures under this caption. Bound: at most 10.

Applies to the assistant text of task `caption` with at least one word; null for all others. A caption without a picture, as
in a list of alt texts, counts as one of a picture of its own.

Source of the bound: ALIGN drops alt texts that more than 10 images share (Jia et al. 2021, arXiv 2102.05918, section 3). A
label is a caption that many pictures share by construction, such as grocery_store's 81 texts for 5,421 photos: leave the
filter out there, or limit it by `sources`. Left out: ALIGN's rare words (outside its 100 million most frequent) and its 3
to 20 words; `caption_rules.words` has those.
"""

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from filters.base import scorer
from filters.shared.signatures import fold, of_media, of_strings, pack_one, unpack
from filters.shared.text import assistant_tokens, has_media, is_task


@scorer(
    version=1,
    scores={"caption": pa.binary(), "picture": pa.binary()},
    pooled={"pictures": pa.int64()},
    bounds={"pictures": (None, 10)},
)
def shared_caption(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return what the captions of `batch` say, and of which picture."""
    tokens = assistant_tokens(batch)
    applies = is_task(batch, "caption") & (np.diff(tokens.first) > 0)
    picture = np.where(has_media(batch), of_media(batch), of_strings(batch.column("id")))
    return pa.record_batch(
        [pack_one(fold(tokens.hashes, tokens.first), applies), pack_one(picture, applies)],
        names=["caption", "picture"],
    )


def pool(signatures: pa.Table) -> pa.Table:
    """Return how many different pictures have the caption of each sample."""
    known = signatures.filter(pc.is_valid(signatures["caption"]))
    frame = pl.DataFrame({"caption": unpack(known["caption"])[0], "picture": unpack(known["picture"])[0]})
    found = frame.select(pl.col("picture").n_unique().over("caption").cast(pl.Int64))["picture"]
    return pa.table(
        {"id": known["id"].combine_chunks().cast(pa.string()), "pictures": pa.array(found.to_numpy(), pa.int64())}
    )

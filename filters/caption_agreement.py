"""Whether the captions of one picture agree in their words: what CapFilt does with a model, done with the captions alone.

What is known of one sample: `picture` (8 bytes), a hash of the digests of its media; `words` (bytes), the different words
of its caption as hashes (NFKC, lower case); `other` (bytes), those of another caption of the same picture that stands in
`meta` under the key `other` (`synthetic_caption`, `captions.0`), where that parameter is given. What follows from all
samples:

- `agreement` (cosine, 0..1): mean cosine of the caption with the other captions of its picture, as vectors of words
  weighted by their rarity, log(1 + captions / captions with the word). No bound, because it depends on the length of the
  captions.
- `confirmed` (0..1): share of the caption's words, weighted so, that another caption of the picture has too. No bound.
- `compared` (count): other captions that it was compared with: those of other samples, and the one in `meta`. Two samples
  with the same words under one picture are one caption, so that a duplicate does not confirm itself. No bound.

Applies to the assistant text of task `caption` with at least one word and at least one other caption; null elsewhere.

Source of the idea: BLIP's CapFilt (Li et al. 2022, arXiv 2201.12086, section 3.3) writes a second caption for every web
picture and drops whichever its image-text matching head says does not fit; the consensus of captions as rarity-weighted
cosine is CIDEr's (Vedantam et al. 2015, arXiv 1411.5726), here with single words. What this is not: nothing looks at the
picture. Of two captions that disagree one is wrong, and nobody knows which (of three, the odd one out is known); captions
that agree may be wrong together; two right captions of different length or language agree less. To keep the one that fits,
use `clip_score`; this filter tells which pairs to distrust where no model is at hand. Measured
(docs/results/instructions.md): of 200 pictures with two long captions in ImageInWords (200 words) `agreement` tells true
pairs from mismatched ones with an AUC of 0.99, and at 0.05 it drops no true pair and 64 % of the wrong ones; titles and
descriptions of clip art, of three and eight words, have no word in common in 31 % of the true pairs (AUC 0.79). Left out:
stemming, synonyms, word order.
"""

import re

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from catalog.errors import UserError
from filters.base import scorer
from filters.shared.signatures import distinct, fold, of_media, pack, pack_one, unpack
from filters.shared.text import Array, assistant_tokens, has_media, is_task, starts, tokenise


def _json_path(key: str) -> str:
    """Return `captions.0.text` as a JSONPath."""
    if not re.fullmatch(r"[^.'\"\[\]]+(?:\.[^.'\"\[\]]+)*", key):
        msg = f"filter `caption_agreement`: `other` must name a key of `meta`, such as `caption` or `captions.0`, got `{key}`"
        raise UserError(msg, usage=True)
    return "$" + "".join(f"[{step}]" if step.isdigit() else f"['{step}']" for step in key.split("."))


@scorer(
    version=1,
    scores={"picture": pa.binary(), "words": pa.binary(), "other": pa.binary()},
    pooled={"agreement": pa.float64(), "confirmed": pa.float64(), "compared": pa.int64()},
    bounds={},
)
def caption_agreement(batch: pa.RecordBatch, *, other: str = "") -> pa.RecordBatch:
    """Return the words of the captions of `batch`, and of which picture they are."""
    tokens = assistant_tokens(batch)
    applies = is_task(batch, "caption") & (np.diff(tokens.first) > 0)
    words, count = distinct(tokens.hashes, tokens.first)
    if other:
        said = (
            pl.Series("meta", pl.from_arrow(batch.column("meta")))
            .cast(pl.String)
            .str.json_path_match(_json_path(other))
        )
        second = tokenise(said.to_arrow())
        others, sizes = distinct(second.hashes, second.first)
    else:
        others, sizes = np.zeros(0, np.uint64), np.zeros(batch.num_rows, np.int64)
    return pa.record_batch(
        [
            pack_one(of_media(batch), applies & has_media(batch)),
            pack(words, count, applies),
            pack(others, sizes, applies & (sizes > 0)),
        ],
        names=["picture", "words", "other"],
    )


def pool(signatures: pa.Table) -> pa.Table:
    """Return how well the captions of each picture agree."""
    known = signatures.filter(pc.is_valid(signatures["words"])).sort_by("id").combine_chunks()
    n = known.num_rows
    words, count = unpack(known["words"])
    others, sizes = unpack(known["other"])
    pictures, there = unpack(known["picture"])
    # The captions of a picture are a group; a sample without one is a group by itself. Ids are sorted: sums have one order.
    group = np.zeros(n, np.uint64)
    group[there > 0] = pictures
    frame = pl.DataFrame(
        {"group": group, "alone": np.where(there > 0, 0, np.arange(1, n + 1)), "text": fold(words, starts(count))}
    )
    frame = frame.with_columns(pl.struct("group", "alone").rank("dense").alias("group") - 1).with_row_index("row")
    # One caption per picture and text, however many samples say it; the one in `meta` is another.
    first = frame.group_by("group", "text", maintain_order=True).first()
    frame = frame.join(
        first.select("group", "text", caption=pl.int_range(pl.len())), on=["group", "text"], maintain_order="left"
    )
    chosen = first["row"].to_numpy()
    extra = np.flatnonzero(sizes)
    flat, length = _take(words, count, chosen)
    flat = np.concatenate([flat, others])
    length = np.concatenate([length, sizes[extra]])
    groups = frame["group"].to_numpy().astype(np.int64)
    of = np.concatenate([groups[chosen], groups[extra]])

    caption = np.repeat(np.arange(len(length)), length)
    _, word = np.unique(flat, return_inverse=True)
    weight = np.log1p(len(length) / np.bincount(word))[word] if len(word) else np.zeros(0)
    norm = np.sqrt(np.bincount(caption, weight**2, len(length)))
    unit = weight / norm[caption]
    # The sum of the cosines with all others is the product with the sum of all, less the caption itself: no pairs are made.
    pair = (
        pl.DataFrame({"group": of[caption], "word": word})
        .select(pl.struct("group", "word").rank("dense") - 1)
        .to_series()
        .to_numpy()
    )
    together = np.bincount(pair, unit) if len(pair) else np.zeros(0)
    seen = np.bincount(pair) if len(pair) else np.zeros(0, np.int64)
    cosines = np.bincount(caption, unit * (together[pair] - unit), len(length))
    shared = np.bincount(caption, weight * (seen[pair] > 1), len(length))
    whole = np.bincount(caption, weight, len(length))
    peers = np.bincount(of, minlength=int(groups.max(initial=-1)) + 1)[of] - 1

    mine = frame["caption"].to_numpy()
    some = peers[mine] > 0
    rows = mine[some]
    agreement = np.clip(np.round(cosines[rows] / peers[rows], 6), 0, 1)
    confirmed = np.clip(np.round(shared[rows] / whole[rows], 6), 0, 1)
    ids = known["id"].combine_chunks().cast(pa.string()).filter(pa.array(some))
    return pa.table(
        {
            "id": ids,
            "agreement": pa.array(agreement, pa.float64()),
            "confirmed": pa.array(confirmed, pa.float64()),
            "compared": pa.array(peers[rows].astype(np.int64), pa.int64()),
        }
    )


def _take(values: Array, count: Array, rows: Array) -> tuple[Array, Array]:
    """Return the runs of `rows` and their lengths."""
    first, length = starts(count)[rows], count[rows]
    at = np.repeat(first - starts(length)[:-1], length) + np.arange(int(length.sum()))
    return values[at], length

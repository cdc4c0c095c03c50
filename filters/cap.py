"""At most so many samples of a class: of a label, of a text, of whatever a sample's `meta` says.

What is known of one sample: `class_hash` (8 bytes), a hash of what it is counted by, and `order_value` (the number that it
is ranked by, or null). What follows from all samples:

- `class_rank` (count): its place in its class, from 1. No default bound: `max: 1000` keeps a thousand of each class.
- `class_size` (count): samples in its class.

`by`: `meta` (default; the value under the key `field` in `meta`, or of several keys joined by commas, with `a.b` for an
inner one), `text` (what the assistant says: words after NFKC and lower-casing), `prompt` (what the user says), `source`,
`task`.
`order`: `hash` (default: a draw that depends on id and `seed` only, so that raising the bound adds samples and removes none),
or a key of `meta` whose number ranks, largest first; samples without it come last, ties by hash.

Source: a cap per class is how CLIP's own data was balanced (Radford et al. 2021, arXiv 2103.00020, section 2.2: up to 20,000
pairs for each of 500,000 queries; `concept_balance` is that rule for concepts in a text). A cap looks at all samples of the
stage, dropped ones too: a second recipe over what the first one kept counts only these. See `shared_caption` for texts that
many pictures share, the deduplicating filters for near-duplicates, `cluster_cap` for caps by what is in a picture. Null where
the sample has no such class.
"""

import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog.errors import UserError
from filters.base import scorer
from filters.shared.dialogue import prompts
from filters.shared.ranks import ranked
from filters.shared.signatures import fold, of_strings, pack_one, unpack
from filters.shared.text import Array, assistant_tokens, cached, tokenise

BY = ("meta", "text", "prompt", "source", "task")


@scorer(
    version=1,
    scores={"class_hash": pa.binary(), "order_value": pa.float64()},
    pooled={"class_rank": pa.int64(), "class_size": pa.int64()},
    bounds={},
)
def cap(
    batch: pa.RecordBatch, *, by: str = "meta", field: str = "label", order: str = "hash", seed: int = 0
) -> pa.RecordBatch:
    """Return the class of each sample of `batch`."""
    if by not in BY:
        msg = f"`by` is `{by}`; expected one of {', '.join(BY)}"
        raise UserError(msg, usage=True)
    if by == "meta":
        keys = [k.strip() for k in field.split(",")]
        named = pa.array([_class(v, keys) for v in _meta(batch)], pa.string())
    elif by in ("source", "task"):
        named = batch.column(by)
    if by in ("text", "prompt"):
        tokens = (
            assistant_tokens(batch)
            if by == "text"
            else cached(batch, "prompt_tokens", lambda: tokenise(prompts(batch)))
        )
        hashes, applies = fold(tokens.hashes, tokens.first), np.diff(tokens.first) > 0
    else:
        hashes, applies = of_strings(named), np.asarray(pc.is_valid(named))
    value = pa.nulls(batch.num_rows, pa.float64())
    if order != "hash":
        value = pa.array([_number(_at(v, order)) for v in _meta(batch)], pa.float64())
    return pa.record_batch([pack_one(hashes, applies), value], names=["class_hash", "order_value"])


def _meta(batch: pa.RecordBatch) -> list[object]:
    def make() -> list[object]:
        out: list[object] = []
        for text in batch.column("meta").to_pylist():
            try:
                out.append(json.loads(text or "{}"))
            except ValueError:
                out.append({})
        return out

    return cached(batch, "meta", make)  # type: ignore[no-any-return]


def _at(value: object, key: str) -> object:
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _class(value: object, keys: list[str]) -> str | None:
    found = [_at(value, k) for k in keys]
    return None if any(v is None or v == "" for v in found) else json.dumps(found, ensure_ascii=False, sort_keys=True)


def _number(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:  # a whole number of hundreds of digits
        return None
    return number if math.isfinite(number) else None


def pool(signatures: pa.Table, *, seed: int = 0) -> pa.Table:
    """Return the rank of each sample in its class, and how large the class is."""
    known = signatures.filter(pc.is_valid(signatures["class_hash"]))
    order: Array = np.asarray(pc.fill_null(known["order_value"], float("-inf")))
    rank, size = ranked(known["id"], unpack(known["class_hash"])[0], -order, seed)
    return pa.table(
        {
            "id": known["id"].combine_chunks().cast(pa.string()),
            "class_rank": pa.array(rank, pa.int64()),
            "class_size": pa.array(size, pa.int64()),
        }
    )

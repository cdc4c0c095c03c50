"""A linear model over hashed word n-grams: fastText's classifier (Joulin et al. 2016, arXiv 1607.01759) without its hidden layer.

A text is the bag of its words and its pairs of neighbouring words (up to `order` words), each hashed to one of `2 ** bits`
weights; its margin is the bias plus the *mean* of their weights. The mean is fastText's choice: a text does not get a higher
margin by being longer. Words are those of `Tokens`, so that the model costs no tokenisation of its own.

On disk a model is a folder of two files, neither of which runs code when it is read:
    quality.json       version, order, bits, bias, calibration, configuration, what was measured
    weights.parquet    bucket, weight: the weights that are not zero
"""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from catalog.errors import UserError
from catalog.files import read_json
from catalog.shards import read_table
from filters.base import path_digest
from filters.shared.text import Array, extend, kernel

RECORD, WEIGHTS = "quality.json", "weights.parquet"
MAX_BITS = 24


@kernel
def margins(hashes: Array, first: Array, weights: Array, bias: float, bits: int, order: int) -> Array:
    """Return every text's margin; texts without a word get the bias."""
    out = np.empty(len(first) - 1, np.float64)
    shift = np.uint64(64 - bits)
    for t in range(len(first) - 1):
        total = 0.0
        count = 0
        for i in range(first[t], first[t + 1]):
            h = np.uint64(0)
            for k in range(i, min(i + order, first[t + 1])):
                h = extend(h, hashes[k])
                total += weights[h >> shift]
                count += 1
        out[t] = bias + (total / count if count else 0.0)
    return out


@kernel
def train(
    hashes: Array,
    first: Array,
    good: Array,
    share: Array,
    picked: Array,
    weights: Array,
    squares: Array,
    bias: Array,
    bits: int,
    order: int,
    rate: float,
    decay: float,
) -> float:
    """Go once over the texts `picked`, in that order, and return their mean logistic loss; updates its arrays in place.

    AdaGrad (Duchi et al. 2011): rare n-grams keep a high rate. `share` weighs every text, `decay` pulls the weights that a
    text touches towards zero. One thread and one order: the same bytes every time.
    """
    shift = np.uint64(64 - bits)
    loss = 0.0
    mass = 0.0
    for t in picked:
        begin, end = first[t], first[t + 1]
        if begin == end or share[t] == 0.0:
            continue
        total = 0.0
        count = 0
        for i in range(begin, end):
            h = np.uint64(0)
            for k in range(i, min(i + order, end)):
                h = extend(h, hashes[k])
                total += weights[h >> shift]
                count += 1
        z = bias[0] + total / count
        p = 1.0 / (1.0 + np.exp(-z))
        loss += share[t] * (np.log1p(np.exp(-abs(z))) + max(z, 0.0) - (z if good[t] else 0.0))
        mass += share[t]
        g = share[t] * (p - (1.0 if good[t] else 0.0))
        bias[1] += g * g
        bias[0] -= rate * g / np.sqrt(bias[1])
        step = g / count
        for i in range(begin, end):
            h = np.uint64(0)
            for k in range(i, min(i + order, end)):
                h = extend(h, hashes[k])
                b = h >> shift
                d = step + decay * share[t] * weights[b] / count
                squares[b] += d * d
                weights[b] -= rate * d / np.sqrt(squares[b])
    return loss / mass if mass else 0.0


@dataclass(frozen=True, kw_only=True)
class Linear:
    """A fitted model. `weights` is dense, float32."""

    bits: int
    order: int
    bias: float
    slope: float  # calibration (Platt 1999): probability = 1 / (1 + exp(-(slope * margin + offset)))
    offset: float
    reads: str  # answer | all
    weights: Array

    def probabilities(self, hashes: Array, first: Array) -> Array:
        """Return the probability of every text to be of the good side, the sides being equally frequent."""
        z = margins(hashes, first, self.weights, self.bias, self.bits, self.order)
        return np.asarray(1.0 / (1.0 + np.exp(-np.clip(self.slope * z + self.offset, -700, 700))))


def load(folder: str) -> Linear:
    """Return the model in `folder`, read once; raise `UserError` for a folder that holds none."""
    return _load(folder, path_digest(Path(folder)))


@functools.lru_cache(maxsize=8)
def _load(folder: str, digest: str) -> Linear:
    path = Path(folder) / RECORD
    if not path.is_file():
        msg = f"`{folder}` is no quality model: it has no `{RECORD}`"
        raise UserError(msg, hint="`cuvee fit-quality --good REF --bad REF --out FOLDER` makes one")
    raw = read_json(path)
    try:
        bits, order = int(raw["bits"]), int(raw["order"])
        bias, slope, offset = (float(raw[k]) for k in ("bias", "slope", "offset"))
        reads = str(raw["reads"])
    except (KeyError, TypeError, ValueError):
        msg = f"`{path}` is not the record of a quality model"
        raise UserError(msg) from None
    if not (1 <= bits <= MAX_BITS and 1 <= order <= 5 and reads in ("answer", "all")):
        msg = f"`{path}`: bits must be 1 to {MAX_BITS}, order 1 to 5 and reads `answer` or `all`"
        raise UserError(msg)
    table = read_table(Path(folder) / WEIGHTS)
    if table.schema.names != ["bucket", "weight"] or not pa.types.is_integer(table.schema.field("bucket").type):
        msg = f"`{Path(folder) / WEIGHTS}` does not hold the columns `bucket` and `weight`"
        raise UserError(msg)
    buckets = table["bucket"].to_numpy()
    if len(buckets) and int(buckets.max()) >= 1 << bits:
        msg = f"`{Path(folder) / WEIGHTS}` holds buckets beyond {bits} bits"
        raise UserError(msg)
    weights = np.zeros(1 << bits, np.float32)
    weights[buckets] = table["weight"].to_numpy()
    return Linear(bits=bits, order=order, bias=bias, slope=slope, offset=offset, reads=reads, weights=weights)

"""Real documents with near-duplicate copies planted among them, and the true Jaccard similarity of every pair that is near.

Truth is taken apart from Cuvee's filters: words are Python's `\\w+` of the lower-cased text, shingles are tuples of five of
them, and all pairs are found by prefix filtering (Chaudhuri et al. 2006, doi 10.1109/ICDE.2006.9; Bayardo et al. 2007, doi
10.1145/1242572.1242591), which misses none.
"""

import gzip
import json
import random
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numba
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.int64]
WORD = re.compile(r"\w+")
SHINGLE = 5
SOURCES = (
    ("alpaca_eval_outputs/outputs/*.jsonl.gz", ("output",)),
    ("instruct_alpaca/*.jsonl", ("instruction", "input", "output")),
    ("instruct_gpteacher/roleplay*.jsonl", ("instruction", "input", "output")),
    ("gsm8k/train.jsonl", ("question", "answer")),
    ("benchmarks/gsm8k_test.jsonl", ("question", "answer")),
    ("benchmarks/math_test.jsonl", ("problem", "solution")),
    ("benchmarks/mathqa_test.jsonl", ("problem", "rationale")),
    ("benchmarks/agieval_l*.jsonl", ("passage", "question")),
    ("imageinwords/*.jsonl", ("IIW",)),
    ("imageinwords/*.jsonl", ("IIW-P5B",)),
    ("imageinwords/*.jsonl", ("DOCCI",)),
    ("opencqa_charts/records.jsonl", ("summary",)),
    ("llamafactory_demo/c4_demo.jsonl", ("text",)),
    ("commoncrawl_dolma/*.jsonl.gz", ("text",)),
    ("datajuicer_demo/*.jsonl", ("text",)),
    ("cs231n_notes/records.jsonl", ("markdown",)),
    ("based_cooking/records.jsonl", ("markdown",)),
)


def words(text: str) -> list[str]:
    """Return the words by which texts are compared."""
    return WORD.findall(unicodedata.normalize("NFKC", text).lower())


def real(data: Path, least: int = 30, most: int = 3000) -> Iterator[str]:
    """Yield real texts of `least` to `most` words, each once; long notes are cut at blank lines."""
    seen = set()
    for pattern, keys in SOURCES:
        for path in sorted(data.glob(pattern)):
            with (
                gzip.open(path, "rt", encoding="utf-8")
                if path.suffix == ".gz"
                else path.open(encoding="utf-8") as lines
            ):
                for line in lines:
                    row = json.loads(line)
                    text = "\n".join(v for k in keys if isinstance(v := row.get(k), str) and v)
                    for piece in pieces(text, most):
                        said = " ".join(words(piece))
                        if said.count(" ") + 1 >= least and said not in seen:
                            seen.add(said)
                            yield piece


def pieces(text: str, most: int) -> Iterator[str]:
    """Yield `text` in pieces of up to about `most` words, cut at blank lines."""
    piece, count = [], 0
    for paragraph in text.split("\n\n"):
        piece.append(paragraph)
        count += paragraph.count(" ") + 1
        if count >= most:
            yield "\n\n".join(piece)
            piece, count = [], 0
    if piece:
        yield "\n\n".join(piece)


def invented(rng: random.Random) -> Iterator[str]:
    """Yield texts of random words, where the real data is missing."""
    vocabulary = ["".join(rng.choices("etaoinshrdlu", k=rng.randint(2, 9))) for _ in range(20_000)]
    while True:
        yield " ".join(rng.choices(vocabulary, k=rng.randint(40, 300))) + "."


# -- planting ----------------------------------------------------------------------------------------------------------


def shingles(tokens: list[str]) -> set[tuple[str, ...]]:
    """Return the shingles of a text; a short one is one."""
    return {tuple(tokens[i : i + SHINGLE]) for i in range(max(1, len(tokens) - SHINGLE + 1))}


def similarity(a: set[tuple[str, ...]], b: set[tuple[str, ...]]) -> float:
    """Return the Jaccard similarity of two sets."""
    return len(a & b) / len(a | b)


def surface(text: str, rng: random.Random) -> str:
    """Return `text` with another case, other punctuation and other white space, and the very same words."""
    kind = rng.randrange(4)
    if kind == 0:
        return text.upper() if words(text.upper()) == words(text) else text + " !"
    if kind == 1:
        return re.sub(r"(?<=\w)[.,;:](?=\s|$)", " ...", text) + " "
    if kind == 2:
        return re.sub(r"\s+", " ", text) + "\n\n"
    return "“" + text.replace("\n", "\r\n") + "”"


def edited(text: str, goal: float, strange: list[str], rng: random.Random) -> str:
    """Return `text` with words changed, put in or left out, or its start or end replaced, until it is about `goal` alike."""
    before = shingles(words(text))
    tokens = text.split(" ")
    blocks = rng.random() < 0.4  # a paragraph more or less, rather than words here and there
    if blocks:
        share = (1 - goal) / (1 + goal)  # of the words, where as many are replaced
        count = max(1, round(share * len(tokens)))
        fresh = rng.choices(strange, k=count)
        kind = rng.randrange(4)
        if kind == 0:
            tokens = [*tokens[:-count], *fresh]
        elif kind == 1:
            tokens = [*fresh, *tokens[count:]]
        elif kind == 2:
            tokens = tokens[: -max(1, round((1 - goal) * len(tokens)))]
        else:
            tokens = [*tokens, *rng.choices(strange, k=max(1, round((1 / goal - 1) * len(tokens))))]
        return " ".join(tokens)
    for _ in range(4 * len(tokens)):
        at = rng.randrange(len(tokens))
        kind = rng.randrange(3)
        if kind == 0:
            tokens[at] = rng.choice(strange)
        elif kind == 1:
            tokens.insert(at, rng.choice(strange))
        elif len(tokens) > SHINGLE:
            del tokens[at]
        if similarity(before, shingles(words(" ".join(tokens)))) <= goal:
            break
    return " ".join(tokens)


def planted(texts: list[str], alone: list[int], copies: int, seed: int = 0) -> list[str]:
    """Return copies of `copies` texts among `alone`: one in ten differs on the surface only, the others are 0.4 to 1 alike."""
    rng = random.Random(seed)
    strange = [w for t in rng.sample(texts, min(500, len(texts))) for w in words(t) if w.isalpha()]
    out = []
    for k, i in enumerate(rng.sample(alone, min(copies, len(alone)))):
        out.append(surface(texts[i], rng) if k % 10 == 0 else edited(texts[i], rng.uniform(0.4, 0.995), strange, rng))
    return out


# -- truth -------------------------------------------------------------------------------------------------------------


@numba.njit(cache=True)
def _pairs(ranks: Array, first: Array, kinds: int, least: float) -> tuple[Array, Array, npt.NDArray[np.float64]]:
    n = len(first) - 1
    prefix = np.empty(n, np.int64)
    heads = np.zeros(kinds + 1, np.int64)
    for t in range(n):
        size = first[t + 1] - first[t]
        prefix[t] = size - int(np.ceil(least * size - 1e-9)) + 1
        for k in range(first[t], first[t] + min(prefix[t], size)):
            heads[ranks[k] + 1] += 1
    heads = np.cumsum(heads)
    filled = heads.copy()
    inside = np.empty(heads[-1], np.int64)
    seen = np.full(n, -1, np.int64)
    a, b, j = [0], [0], [0.0]
    for t in range(n):
        size = first[t + 1] - first[t]
        for k in range(first[t], first[t] + min(prefix[t], size)):
            r = ranks[k]
            for p in range(heads[r], filled[r]):
                other = inside[p]
                if seen[other] == t:
                    continue
                seen[other] = t
                x, y, common = first[t], first[other], 0
                while x < first[t + 1] and y < first[other + 1]:
                    if ranks[x] == ranks[y]:
                        common += 1
                        x += 1
                        y += 1
                    elif ranks[x] < ranks[y]:
                        x += 1
                    else:
                        y += 1
                share = common / (size + first[other + 1] - first[other] - common)
                if share >= least - 1e-9:
                    a.append(other)
                    b.append(t)
                    j.append(share)
            inside[filled[r]] = t
            filled[r] += 1
    return np.array(a[1:]), np.array(b[1:]), np.array(j[1:])


def pairs(texts: list[str], least: float) -> tuple[Array, Array, npt.NDArray[np.float64]]:
    """Return all pairs of texts whose Jaccard similarity is `least` or more, and the similarity: exact."""
    names: dict[tuple[str, ...], int] = {}
    sets = [[names.setdefault(s, len(names)) for s in shingles(words(t))] for t in texts]
    first = np.concatenate([[0], np.cumsum([len(s) for s in sets])]).astype(np.int64)
    flat = np.array([k for s in sets for k in s], np.int64)
    order = np.argsort(np.argsort(np.bincount(flat, minlength=len(names)), kind="stable"))  # the rarest first
    ranks = order[flat]
    for t in range(len(texts)):
        ranks[first[t] : first[t + 1]].sort()
    found: tuple[Array, Array, npt.NDArray[np.float64]] = _pairs(ranks, first, len(names), least)
    return found

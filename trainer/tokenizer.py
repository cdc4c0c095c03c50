"""A small byte-level BPE, trained on a mixture's own texts and pinned by its digest.

Ids, in this order:
    0..2        <|pad|> <|im_start|> <|im_end|>     never made from text: a user who types them gets plain bytes
    3..6        <tile_  global_thumbnail  <Image>  </Image>     made only where a whole tile tag or image wrap stands
    7..262      the 256 bytes
    263..       merges, in the order in which they were learned

Tile tags are text, not special tokens (nvlm.md trap 6), and all have the same length, m = 3 tokens:
    <tile_1>                 ->  `<tile_` `1` `>`
    <tile_global_thumbnail>  ->  `<tile_` `global_thumbnail` `>`
A frozen decoder must know them, so the texts of stage 0 carry them too: `tag_texts` makes such lines.
"""

import hashlib
import heapq
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from catalog.errors import UserError

PAD, IM_START, IM_END = 0, 1, 2
SPECIALS = ("<|pad|>", "<|im_start|>", "<|im_end|>")
PIECES = ("<tile_", "global_thumbnail", "<Image>", "</Image>")
_PIECE_IDS = {s: i for i, s in enumerate((*SPECIALS, *PIECES))}
_FIRST_BYTE = len(SPECIALS) + len(PIECES)
_FIRST_MERGE = _FIRST_BYTE + 256

MAX_TAGS = 6
GLOBAL_TAG = "<tile_global_thumbnail>"
IMAGE_OPEN, IMAGE_CLOSE = "<Image>", "</Image>"

_PROTECTED = re.compile(rf"(<tile_(?:[1-{MAX_TAGS}]|global_thumbnail)>|</?Image>)")
# Words with their leading space; single digits, so that arithmetic is seen digit by digit; runs of signs; white space.
_WORDS = re.compile(r" ?[^\W\d_]+|\d| ?(?:_|[^\s\w])+|\s+(?=\s)|\s+")


def tile_tag(k: int) -> str:
    """Return the tag of the `k`-th tile, counted from 1."""
    return f"<tile_{k}>"


def tag_texts(copies: int = 1) -> list[str]:
    """Return lines in which every tag and wrap stands the way images will use them: for tokenizer and stage-0 texts."""
    rows = []
    for n in range(1, MAX_TAGS + 1):
        tags = "".join(tile_tag(k) for k in range(1, n + 1)) if n > 1 else ""
        rows.append(f"{IMAGE_OPEN}{tags}{GLOBAL_TAG}{IMAGE_CLOSE}\n")
    return rows * copies


class Tokenizer:
    """Text to ids and back, exactly, for any Unicode."""

    def __init__(self, merges: Sequence[tuple[int, int]]) -> None:
        self.merges = [(int(a), int(b)) for a, b in merges]
        self._rank = {pair: _FIRST_MERGE + i for i, pair in enumerate(self.merges)}
        self._bytes = [s.encode() for s in (*SPECIALS, *PIECES)] + [bytes([b]) for b in range(256)]
        for a, b in self.merges:
            self._bytes.append(self._bytes[a] + self._bytes[b])
        self._cache: dict[str, list[int]] = {}
        self.tags = tuple(tuple(self.encode(t)) for t in (*map(tile_tag, range(1, MAX_TAGS + 1)), GLOBAL_TAG))
        """Ids of `<tile_1>` .. `<tile_6>` and, last, `<tile_global_thumbnail>`: m each."""

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int) -> "Tokenizer":
        """Learn merges until there are `vocab_size` ids or no pair stands twice. Same texts, same tokenizer."""
        if vocab_size < _FIRST_MERGE:
            msg = f"vocabulary of {vocab_size} is too small; the bytes alone take {_FIRST_MERGE}"
            raise UserError(msg, usage=True)
        counts: Counter[str] = Counter()
        for text in texts:
            for part in _PROTECTED.split(text)[::2]:
                counts.update(_WORDS.findall(part))
        # The chat template's own words head every turn: each is one token, whatever the texts.
        counts.update(dict.fromkeys(("user", "assistant", "system"), 1 << 40))
        return cls(_learn(counts, vocab_size - _FIRST_MERGE))

    @property
    def vocab_size(self) -> int:
        """Number of ids."""
        return len(self._bytes)

    @property
    def digest(self) -> str:
        """sha256 of what `save` writes."""
        return hashlib.sha256(self._dump()).hexdigest()

    def encode(self, text: str) -> list[int]:
        """Return the ids of `text`; never a special id."""
        ids: list[int] = []
        for i, part in enumerate(_PROTECTED.split(text)):
            if i % 2:
                ids += _protected(part)
            else:
                for word in _WORDS.findall(part):
                    known = self._cache.get(word)
                    if known is None:
                        known = self._merge(word)
                        if len(self._cache) < 200_000:
                            self._cache[word] = known
                    ids += known
        return ids

    def decode(self, ids: Iterable[int], *, specials: bool = False) -> str:
        """Return the text of `ids`, special ids left out unless `specials`; bytes that are no UTF-8 become U+FFFD."""
        raw = b"".join(self._bytes[i] for i in ids if specials or i >= len(SPECIALS))
        try:
            return raw.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            return raw.decode("utf-8", "replace")

    def save(self, path: Path) -> None:
        """Write the merges as canonical JSON."""
        path.write_bytes(self._dump())

    @classmethod
    def load(cls, path: Path) -> "Tokenizer":
        """Read what `save` wrote."""
        try:
            value = json.loads(path.read_bytes())
            merges = [(int(a), int(b)) for a, b in value["merges"]]
            if value["format"] != "cuvee-bpe-1" or any(
                not _FIRST_BYTE <= x < _FIRST_MERGE + i for i, pair in enumerate(merges) for x in pair
            ):
                raise ValueError(value["format"])
        except (ValueError, KeyError, TypeError) as e:
            msg = f"`{path}` is not a tokenizer that `cuvee train` wrote"
            raise UserError(msg) from e
        return cls(merges)

    def _dump(self) -> bytes:
        return json.dumps({"format": "cuvee-bpe-1", "merges": self.merges}, separators=(",", ":")).encode()

    def _merge(self, word: str) -> list[int]:
        ids = _byte_ids(word)
        while len(ids) > 1:
            best = min((self._rank.get(pair, 1 << 60), pair) for pair in itertools.pairwise(ids))
            if best[0] == 1 << 60:
                break
            ids = _replace(ids, best[1], best[0])
        return ids


def _protected(part: str) -> list[int]:
    if part.startswith("<tile_"):
        name = part[6:-1]
        middle = _PIECE_IDS[name] if name in _PIECE_IDS else _FIRST_BYTE + ord(name)
        return [_PIECE_IDS["<tile_"], middle, _FIRST_BYTE + ord(">")]
    return [_PIECE_IDS[part]]


def _byte_ids(word: str) -> list[int]:
    return [_FIRST_BYTE + b for b in word.encode("utf-8", "surrogatepass")]


def _replace(ids: list[int], pair: tuple[int, int], new: int) -> list[int]:
    out, i, end = [], 0, len(ids) - 1
    while i <= end:
        if i < end and ids[i] == pair[0] and ids[i + 1] == pair[1]:
            out.append(new)
            i += 2
        else:
            out.append(ids[i])
            i += 1
    return out


def _learn(counts: Counter[str], wanted: int) -> list[tuple[int, int]]:
    """Return up to `wanted` merges: always the most frequent pair, of equals the one with the smallest ids."""
    words = sorted(counts)  # not the order of arrival: the same multiset of words gives the same merges
    ids = [_byte_ids(w) for w in words]
    freq = [counts[w] for w in words]
    pairs: Counter[tuple[int, int]] = Counter()
    where: dict[tuple[int, int], set[int]] = {}
    for w, seq in enumerate(ids):
        for pair in itertools.pairwise(seq):
            pairs[pair] += freq[w]
            where.setdefault(pair, set()).add(w)
    heap = [(-n, pair) for pair, n in pairs.items()]
    heapq.heapify(heap)
    merges: list[tuple[int, int]] = []
    while heap and len(merges) < wanted:
        n, pair = heapq.heappop(heap)
        if pairs[pair] != -n:  # an older count of this pair; its newer one lies elsewhere in the heap
            continue
        if -n < 2:
            break
        new = _FIRST_MERGE + len(merges)
        merges.append(pair)
        touched: set[tuple[int, int]] = set()
        for w in where.pop(pair):
            old = ids[w]
            fresh = ids[w] = _replace(old, pair, new)
            for p in itertools.pairwise(old):
                pairs[p] -= freq[w]
                touched.add(p)
            for p in itertools.pairwise(fresh):
                pairs[p] += freq[w]
                where.setdefault(p, set()).add(w)
                touched.add(p)
        pairs[pair] = 0
        for p in touched:
            if pairs[p] > 0:
                heapq.heappush(heap, (-pairs[p], p))
    return merges

"""A word-level tokenizer for small CLIP models: a vocabulary from the user's own texts, the rest hashed into buckets."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

PAD = 0
BUCKETS = 64
_WORD = re.compile(r"[^\W_]+|[^\w\s]", re.UNICODE)


def split(text: str) -> list[str]:
    """Return the lower-case words and punctuation marks of `text`."""
    return _WORD.findall(text.lower())


@dataclass(frozen=True, kw_only=True)
class WordTokenizer:
    """Token ids: 0 padding, then hash buckets, then the vocabulary, then the end mark, which is the highest."""

    vocabulary: tuple[str, ...]
    context: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "_ids", {w: 1 + BUCKETS + i for i, w in enumerate(self.vocabulary)})

    @property
    def size(self) -> int:
        """How many token ids there are."""
        return 2 + BUCKETS + len(self.vocabulary)

    def ids(self, text: str) -> list[int]:
        """Return the token ids of one text, cut to the context, without padding."""
        known: dict[str, int] = self._ids  # type: ignore[attr-defined]
        found = [known.get(w) or _bucket(w) for w in split(text)[: self.context - 1]]
        return [*found, self.size - 1]

    def __call__(self, texts: list[str]) -> "torch.Tensor":
        """Return the padded token ids of `texts`."""
        import torch

        out = torch.full((len(texts), self.context), PAD, dtype=torch.long)
        for row, text in enumerate(texts):
            ids = self.ids(text)
            out[row, : len(ids)] = torch.tensor(ids)
        return out

    def dumps(self) -> bytes:
        """Return the tokenizer as JSON."""
        value = {"kind": "words", "context": self.context, "buckets": BUCKETS, "vocabulary": list(self.vocabulary)}
        return (json.dumps(value, ensure_ascii=False, sort_keys=True) + "\n").encode()

    @staticmethod
    def load(path: Path) -> "WordTokenizer":
        """Read what `dumps` wrote."""
        value = json.loads(path.read_bytes())
        return WordTokenizer(vocabulary=tuple(value["vocabulary"]), context=value["context"])

    @staticmethod
    def fit(texts: Iterable[str], *, context: int, limit: int, least: int = 2) -> "WordTokenizer":
        """Return a tokenizer whose vocabulary is the `limit` commonest words that occur in `least` texts or more."""
        counts = Counter(w for text in texts for w in set(split(text)))
        common = sorted((w for w, n in counts.items() if n >= least), key=lambda w: (-counts[w], w))[:limit]
        return WordTokenizer(vocabulary=tuple(common), context=context)


def _bucket(word: str) -> int:
    return (
        1
        + int.from_bytes(hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=4).digest(), "big")
        % BUCKETS
    )

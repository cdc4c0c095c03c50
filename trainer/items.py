"""Samples as the trainer wants them, read from a mixture lock: the one place that knows `mixtures.loader`."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mixtures.loader import Loader
from trainer.batch import MARK, Encoded, encode_sample
from trainer.config import ModelConfig
from trainer.features import Features
from trainer.tokenizer import Tokenizer


class Corpus(Protocol):
    """What the trainer asks of a mixture (`mixtures.loader.Loader`): a pure function from position to SAMPLE row."""

    @property
    def id(self) -> str:
        """The lock's id."""
        ...

    def __len__(self) -> int:
        """How many positions the lock has."""
        ...

    def fetch(self, positions: Sequence[int]) -> Sequence[Mapping[str, Any]]:
        """Return the samples at these positions, in the order asked."""
        ...

    def samples(self) -> Iterator[Mapping[str, Any]]:
        """Yield every distinct sample once."""
        ...

    def read(self, medium: Mapping[str, Any]) -> bytes:
        """Return the bytes of one entry of a sample's `media`."""
        ...


Opener = Callable[[Path], Corpus]


def open_lock(lock: Path) -> Corpus:
    """Open a mixture lock."""
    return Loader(lock)


BLOCK = 1024


@dataclass(frozen=True, kw_only=True)
class Item:
    """One sample, without pixels: those are in the feature cache under `images`."""

    id: str
    task: str
    messages: tuple[Mapping[str, str], ...]
    images: tuple[str, ...]  # digests, in the order of the marks

    @property
    def answer(self) -> str:
        """What the assistant says last; a document has no answer."""
        said = [m["content"] for m in self.messages if m["role"] == "assistant"]
        return said[-1] if said else ""

    @property
    def size(self) -> int:
        """Characters: a length that is the same for every architecture, to put samples of like length together."""
        return sum(len(m["content"]) for m in self.messages)


def item_of(row: Mapping[str, Any]) -> Item:
    """Return the item of a SAMPLE row."""
    return Item(
        id=row["id"],
        task=row["task"],
        messages=tuple({"role": m["role"], "content": m["content"]} for m in row["messages"]),
        images=tuple(m["digest"] for m in row["media"] or () if m["kind"] == "image"),
    )


def items_at(corpus: Corpus, positions: Sequence[int]) -> list[Item]:
    """Return the items at these positions, in the order asked; a repeated sample is the same object."""
    known: dict[str, Item] = {}
    out: list[Item] = []
    for first in range(0, len(positions), BLOCK):
        for row in corpus.fetch(positions[first : first + BLOCK]):
            if row["id"] not in known:
                known[row["id"]] = item_of(row)
            out.append(known[row["id"]])
    return out


def distinct(corpus: Corpus) -> list[Item]:
    """Return every sample of the mixture once, by id."""
    return sorted(map(item_of, corpus.samples()), key=lambda i: i.id)


def image_readers(corpora: Sequence[Corpus]) -> dict[str, Callable[[], bytes]]:
    """Return, for every distinct image of `corpora`, how to read its bytes; by digest, so in a fixed order."""
    readers: dict[str, Callable[[], bytes]] = {}
    for corpus in corpora:
        for row in corpus.samples():
            for medium in row["media"] or ():
                if medium["kind"] == "image" and medium["digest"] not in readers:
                    readers[medium["digest"]] = functools.partial(corpus.read, medium)
    return dict(sorted(readers.items()))


def encode(
    item: Item,
    config: ModelConfig,
    tokenizer: Tokenizer,
    features: Features | None,
    *,
    max_tiles: int,
    max_length: int | None,
    prompt: bool = False,
) -> Encoded:
    """Return the numbers of one item, its images at `max_tiles` (1: the thumbnail alone)."""
    if item.images and features is None:
        msg = f"item `{item.id}` has images, but no features were given"
        raise ValueError(msg)
    tiles = [features.tiles(d, max_tiles=max_tiles) for d in item.images] if features is not None else []
    messages = item.messages
    if not item.images:  # a mark without an image is text that somebody wrote
        messages = tuple({**m, "content": m["content"].replace(MARK, "image")} for m in messages)
    return encode_sample(messages, tiles, config, tokenizer, max_length=max_length, prompt=prompt)

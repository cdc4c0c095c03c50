"""Samples to model inputs. Here, and in `fusion.py`, lies every difference between D, X and H.

    B, T    batch rows, decoder positions        n, g    grid tiles, 1 if there is a thumbnail
    T_kv    keys of the cross-attention          K, m    tokens per tile, tokens per tile tag

What an `<image>` mark becomes in the decoder, and what lies in the keys:

    D   <Image> tag_1 [K] .. tag_n [K] tag_global [K] </Image>     no keys
    X   <Image> tag_1 .. tag_n tag_global </Image>                 tile 1 [K] .. tile n [K] thumbnail [K]
    H   <Image> tag_global [K] </Image>                            tag_1 tile 1 [K] .. tag_n tile n [K]

An image of one tile has no other thumbnail than itself: it carries the global tag, and in H it leaves no keys.

Who may read which key (all choices are fields of `ModelConfig`): a position reads the images `low <= image < high`, and of
them only tile `only` where that is not ANY. Text before any image has low == high and reads nothing; X's tag k reads
its own tile; whatever follows the image reads all of it.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from catalog.errors import UserError
from trainer.config import ModelConfig
from trainer.tokenizer import IM_END, IM_START, IMAGE_CLOSE, IMAGE_OPEN, PAD, Tokenizer

IGNORE = -100
"""Label of a position whose token is not trained."""
ANY = -1
MARK = "<image>"

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """One sample, as numbers. `labels[t]` is the token AT position t, or IGNORE; the model shifts them."""

    ids: Ints  # (T,) token; PAD where an image token stands
    labels: Ints  # (T,)
    feature: Ints  # (T,) row among the sample's image tokens, tiles x K; -1 where a text token stands
    low: Ints  # (T,) first image that this position reads by cross-attention
    high: Ints  # (T,) one past the last
    only: Ints  # (T,) the one tile that it reads, or ANY
    kv_ids: Ints  # (T_kv,) token of a tag in the keys; PAD where an image token stands
    kv_feature: Ints  # (T_kv,) as `feature`
    kv_image: Ints  # (T_kv,) which image, from 0
    kv_tile: Ints  # (T_kv,) which tile of that image, from 0; the thumbnail is tile n
    kv_place: Ints  # (T_kv,) place within that image's keys
    tags: Ints  # (max_tiles + 1, m) ids of the tile tags, global last
    images: int

    @property
    def length(self) -> int:
        """T."""
        return len(self.ids)

    @property
    def trained(self) -> int:
        """Number of positions whose token is a target; the first position has nothing before it and is never one."""
        return int((self.labels[1:] != IGNORE).sum())


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Tensors for `NVLM.forward`."""

    ids: Tensor  # (B, T)
    labels: Tensor  # (B, T)
    positions: Tensor  # (B, T) for RoPE; start at 0 in every segment
    lengths: Tensor  # (B,) positions in use
    segments: (
        Tensor | None
    )  # (B, T) number of the packed sample, -1 on padding; None: one sample per row, padded on the right
    features: Tensor  # (N K, 4c) image tokens of all tiles in the batch
    image_at: Tensor  # (M,) flat positions in B x T that hold image tokens
    image_from: Tensor  # (M,) which of `features` they hold
    kv_ids: Tensor  # (B, T_kv)
    kv_from: Tensor  # (B, T_kv) which of `features`; -1: a tag or padding
    kv_tile: Tensor  # (B, T_kv)
    kv_place: Tensor  # (B, T_kv)
    visible: Tensor  # (B, T, T_kv) bool
    tags: Tensor  # (max_tiles + 1, m)

    def to(self, device: torch.device | str) -> "Batch":
        """Move every tensor."""
        moved = {
            f.name: v.to(device) if isinstance(v := getattr(self, f.name), Tensor) else v
            for f in dataclasses.fields(self)
        }
        return Batch(**moved)


class _Reads(NamedTuple):
    """Which keys a position may read: of the images `low <= image < high`, tile `only` or any."""

    low: int
    high: int
    only: int = ANY


_NOTHING = _Reads(0, 0)


class _Writer:
    """Collects the columns of an `Encoded`, run by run."""

    def __init__(self) -> None:
        self.runs: list[tuple[list[int], bool, int, _Reads]] = []
        self.keys: list[tuple[list[int], int, int, int]] = []

    def text(self, ids: Sequence[int], reads: _Reads, *, train: bool = False) -> None:
        self.runs.append((list(ids), train, -1, reads))

    def image(self, first: int, k: int, reads: _Reads) -> None:
        """Add K image tokens, `first` and on."""
        self.runs.append(([PAD] * k, False, first, reads))

    def key(self, ids: list[int], first: int, image: int, tile: int) -> None:
        """Add tokens to the keys: a tag's ids (first is -1), or K image tokens from `first` on."""
        self.keys.append((ids, first, image, tile))


def encode_sample(
    messages: Sequence[Mapping[str, str]],
    tiles: Sequence[int],
    config: ModelConfig,
    tokenizer: Tokenizer,
    *,
    max_length: int | None = None,
    prompt: bool = False,
) -> Encoded:
    r"""Return `messages` in ChatML, every `<image>` mark replaced by what `config.arch` shows of that image.

    `tiles` holds n + g of each image (1, or 3 and more), in reading order. Loss falls on what the assistant says, its
    `<|im_end|>` and the newline after it; never on system, user, role prefix, image, tag or padding. Without an assistant turn
    the sample is a document: no template, loss on all of its text but the first token.

    `prompt` drops everything from the last assistant turn on and ends with `<|im_start|>assistant\n`, for generation.
    `max_length` cuts the end off.
    """
    marks = sum(m["content"].count(MARK) for m in messages)
    if marks != len(tiles):
        msg = f"{marks} `{MARK}` marks in the messages but {len(tiles)} images; expected one mark per image"
        raise UserError(msg)
    document = not prompt and all(m["role"] != "assistant" for m in messages)
    turns = list(messages)
    if prompt:
        spoken = [i for i, m in enumerate(turns) if m["role"] == "assistant"]
        turns = turns[: spoken[-1]] if spoken else turns
    out, seen, rows = _Writer(), 0, 0  # `seen` images, `rows` of image tokens so far

    def window() -> _Reads:
        return _Reads(max(seen - 1, 0) if config.text_to_tiles == "last-image" else 0, seen)

    for i, turn in enumerate(turns):
        train = document or turn["role"] == "assistant"
        if not document:
            out.text([IM_START, *tokenizer.encode(turn["role"] + "\n")], window())
        elif i:
            out.text(tokenizer.encode("\n"), window(), train=True)
        for j, part in enumerate(turn["content"].split(MARK)):
            if j:
                out.text(tokenizer.encode(IMAGE_OPEN), window())
                _show(out, config, tokenizer, tiles[seen], seen, rows)
                rows += tiles[seen] * config.tokens
                seen += 1
                out.text(tokenizer.encode(IMAGE_CLOSE), window())
            out.text(tokenizer.encode(part), window(), train=train)
        if not document:
            out.text([IM_END, *tokenizer.encode("\n")], window(), train=train)
    if document:
        out.text([IM_END], window(), train=True)
    if prompt:
        out.text([IM_START, *tokenizer.encode("assistant\n")], window())
    return _finish(out, tokenizer, seen, config, max_length)


def encode_text(text: str, config: ModelConfig, tokenizer: Tokenizer, *, max_length: int | None = None) -> Encoded:
    """Return a plain document for stage 0: next-token loss on all of it, ended by `<|im_end|>`. Marks are left as text."""
    out = _Writer()
    out.text(tokenizer.encode(text), _NOTHING, train=True)
    out.text([IM_END], _NOTHING, train=True)
    return _finish(out, tokenizer, 0, config, max_length)


def _show(out: _Writer, config: ModelConfig, tokenizer: Tokenizer, count: int, image: int, first: int) -> None:
    """Write one image: what of it stands in the decoder, and what in the keys. THE difference between D, X and H."""
    n = count - (count > 1)
    if not (count == 1 or 2 <= n <= config.max_tiles):
        msg = f"an image has {count} tiles; expected 1, or 3 to {config.max_tiles + 1} (thumbnail included)"
        raise UserError(msg)
    K, last = config.tokens, count - 1  # the last tile is the thumbnail, or the only one
    tagged = config.tags == "1d"
    tag = [list(tokenizer.tags[t]) for t in range(n)] * (n > 1) + [list(tokenizer.tags[-1])]
    own = _Reads(image, image + 1)
    if config.arch == "D":
        for t in range(count):
            if tagged:
                out.text(tag[t], _NOTHING)
            out.image(first + t * K, K, _NOTHING)
    elif config.arch == "X":
        for t in range(count):
            if tagged and (t != last or config.x_thumbnail_tag):
                out.text(tag[t], own._replace(only=t))
            out.key([PAD] * K, first + t * K, image, t)
    else:
        reads = own if config.h_thumbnail_attends_tiles else _NOTHING
        if tagged and config.h_thumbnail_tag:
            out.text(tag[last], reads)
        out.image(first + last * K, K, reads)
        for t in range(last):  # nothing if there is one tile
            if tagged:
                out.key(tag[t], -1, image, t)
            out.key([PAD] * K, first + t * K, image, t)


def _finish(out: _Writer, tokenizer: Tokenizer, images: int, config: ModelConfig, max_length: int | None) -> Encoded:
    sizes = [len(ids) for ids, *_ in out.runs]
    ids = np.array([i for run in out.runs for i in run[0]], np.int64)

    def spread(values: list[int]) -> Ints:
        return np.repeat(np.array(values, np.int64), sizes)

    def count_up(firsts: list[int], sizes: list[int]) -> Ints:
        parts = [np.arange(f, f + s) if f >= 0 else np.full(s, -1) for f, s in zip(firsts, sizes, strict=True)]
        return np.concatenate([*parts, np.empty(0)]).astype(np.int64)

    labels = np.where(spread([run[1] for run in out.runs]) == 1, ids, IGNORE)
    labels[:1] = IGNORE  # nothing stands before the first token
    cut = slice(0, max_length)
    kv_sizes = [len(k[0]) for k in out.keys]
    kv_image = np.repeat(np.array([k[2] for k in out.keys], np.int64), kv_sizes)
    starts = np.searchsorted(kv_image, kv_image)  # keys come image by image
    return Encoded(
        ids=ids[cut],
        labels=labels[cut],
        feature=count_up([run[2] for run in out.runs], sizes)[cut],
        low=spread([run[3].low for run in out.runs])[cut],
        high=spread([run[3].high for run in out.runs])[cut],
        only=spread([run[3].only for run in out.runs])[cut],
        kv_ids=np.array([i for k in out.keys for i in k[0]], np.int64),
        kv_feature=count_up([k[1] for k in out.keys], kv_sizes),
        kv_image=kv_image,
        kv_tile=np.repeat(np.array([k[3] for k in out.keys], np.int64), kv_sizes),
        kv_place=np.arange(len(kv_image)) - starts,
        tags=np.array([*tokenizer.tags[: config.max_tiles], tokenizer.tags[-1]], np.int64),
        images=images,
    )


def collate(samples: Sequence[Encoded], features: Sequence[Tensor | None], *, pack: int | None = None) -> Batch:
    """Return one batch; `features[i]` holds all tiles of sample i, (tiles, K, 4c), or None if it has no image.

    One sample per row, padded on the right to the longest; or, with `pack`, rows of at most `pack` positions that hold
    several samples which cannot see one another.
    """
    rows = _pack([s.length for s in samples], pack) if pack else [[i] for i in range(len(samples))]
    T = max(sum(samples[i].length for i in row) for row in rows)
    T_kv = max(sum(len(samples[i].kv_ids) for i in row) for row in rows)
    B = len(rows)
    held = [f.reshape(-1, f.shape[-1]) for f in features if f is not None and f.numel()]
    first = np.cumsum([0, *(0 if f is None else f.shape[0] * f.shape[1] for f in features)])

    q = {"ids": PAD, "labels": IGNORE, "feature": -1, "low": 0, "high": 0, "only": ANY, "position": 0, "segment": -1}
    query = {name: np.full((B, T), fill, np.int64) for name, fill in q.items()}
    k = {"kv_ids": PAD, "kv_feature": -1, "kv_image": -1, "kv_tile": 0, "kv_place": 0}
    key = {name: np.full((B, T_kv), fill, np.int64) for name, fill in k.items()}
    lengths = np.zeros(B, np.int64)
    for b, row in enumerate(rows):
        t = s = images = 0
        for segment, i in enumerate(row):
            sample = samples[i]
            here, there = slice(t, t + sample.length), slice(s, s + len(sample.kv_ids))
            query["ids"][b, here] = sample.ids
            query["labels"][b, here] = sample.labels
            query["feature"][b, here] = np.where(sample.feature >= 0, sample.feature + first[i], -1)
            # Images are numbered through the row; a sample reads from its own first one on, so packed samples stay apart.
            query["low"][b, here] = sample.low + images
            query["high"][b, here] = sample.high + images
            query["only"][b, here] = sample.only
            query["position"][b, here] = np.arange(sample.length)
            query["segment"][b, here] = segment
            key["kv_ids"][b, there] = sample.kv_ids
            key["kv_feature"][b, there] = np.where(sample.kv_feature >= 0, sample.kv_feature + first[i], -1)
            key["kv_image"][b, there] = sample.kv_image + images
            key["kv_tile"][b, there] = sample.kv_tile
            key["kv_place"][b, there] = sample.kv_place
            t, s, images = t + sample.length, s + len(sample.kv_ids), images + sample.images
        lengths[b] = t
    image, only = key["kv_image"][:, None, :], query["only"][:, :, None]
    visible = (image >= query["low"][:, :, None]) & (image < query["high"][:, :, None])  # (B, T, T_kv)
    visible &= (only == ANY) | (only == key["kv_tile"][:, None, :])
    flat = query["feature"].reshape(-1)
    at = np.flatnonzero(flat >= 0)
    as_tensor: Any = torch.from_numpy
    return Batch(
        ids=as_tensor(query["ids"]),
        labels=as_tensor(query["labels"]),
        positions=as_tensor(query["position"]),
        lengths=as_tensor(lengths),
        segments=as_tensor(query["segment"]) if pack else None,
        features=torch.cat(held).float() if held else torch.zeros(0, 0),
        image_at=as_tensor(at),
        image_from=as_tensor(flat[at]),
        kv_ids=as_tensor(key["kv_ids"]),
        kv_from=as_tensor(key["kv_feature"]),
        kv_tile=as_tensor(key["kv_tile"]),
        kv_place=as_tensor(key["kv_place"]),
        visible=as_tensor(visible),
        tags=as_tensor(samples[0].tags),
    )


def _pack(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Return which samples share a row: first fit, in the order given, so that it depends on nothing else."""
    rows: list[list[int]] = []
    room: list[int] = []
    for i, length in enumerate(lengths):
        if length > capacity:
            msg = f"a sample of {length} positions does not fit into rows of {capacity}; cut it with `max_length`"
            raise UserError(msg)
        fit = next((r for r, left in enumerate(room) if left >= length), None)
        if fit is None:
            rows.append([i])
            room.append(capacity - length)
        else:
            rows[fit].append(i)
            room[fit] -= length
    return rows

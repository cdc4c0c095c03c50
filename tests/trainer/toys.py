"""Tiny models and samples for the trainer's tests: d = 32, 4 layers, K = 4, S = 16."""

import dataclasses

import torch
from torch import Tensor

from trainer.batch import Batch, Encoded, collate, encode_sample
from trainer.config import ModelConfig
from trainer.fusion import NVLM
from trainer.tokenizer import Tokenizer, tag_texts

WORDS = ["how many red cubes are there?\nthree big ones and two small ones.\n", "what is written here? total 12.50\n"]
TOKENIZER = Tokenizer.train(WORDS * 3 + tag_texts(), 420)
K, WIDE = 4, 4 * 8
M = 3  # tokens per tile tag

ASK = [
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": "look: <image>\nhow many red cubes?"},
    {"role": "assistant", "content": "three big ones"},
]
TEXT = [{"role": "user", "content": "how many?"}, {"role": "assistant", "content": "two small ones"}]


def config(arch: str, **fields: object) -> ModelConfig:
    base = {"arch": arch, "tile": 16, "patch": 4, "vision_width": 8, "vocab": TOKENIZER.vocab_size}
    small = {"d": 32, "layers": 4, "heads": 4, "kv_heads": 2, "ffn": 48, "projector_ffn": 40, "every_n": 2}
    return ModelConfig.from_dict(base | small | fields)


def model(c: ModelConfig, *, gate: float = 0.7, seed: int = 0) -> NVLM:
    """A model whose decoder is the same for every architecture, with weights that are large enough to matter."""
    made = NVLM(c)
    g = torch.Generator()
    with torch.no_grad():
        for name, p in made.named_parameters():
            if p.ndim >= 2:
                # One seed per name: D and H agree wherever their parts have the same name.
                g.manual_seed(seed + sum(i * ord(ch) for i, ch in enumerate(name, 1)))
                p.copy_(torch.randn(p.shape, generator=g) * 0.15)
            elif name.endswith("gate"):
                p.fill_(gate)
    return made


def features(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, K, WIDE, generator=torch.Generator().manual_seed(seed))


def one(c: ModelConfig, messages: list[dict[str, str]], *tiles: int, prompt: bool = False) -> Encoded:
    return encode_sample(messages, tiles, c, TOKENIZER, prompt=prompt)


def ask(c: ModelConfig, count: int, seed: int = 0, feats: Tensor | None = None) -> tuple[Encoded, Batch]:
    """One sample with one image of `count` tiles, thumbnail included."""
    sample = one(c, ASK, count)
    return sample, collate([sample], [features(count, seed) if feats is None else feats])


def perturb(feats: Tensor, tile: int) -> Tensor:
    out = feats.clone()
    out[tile] += 1.0
    return out


def positions_of(sample: Encoded, ids: list[int]) -> int:
    """First position where `ids` stand."""
    have = sample.ids.tolist()
    return next(i for i in range(len(have)) if have[i : i + len(ids)] == ids)


def tag_at(sample: Encoded, tile: int) -> int:
    return positions_of(sample, list(TOKENIZER.tags[tile]))


def swap(c: ModelConfig, **fields: object) -> ModelConfig:
    return dataclasses.replace(c, **fields)

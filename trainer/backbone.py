"""Stage 0: the small decoder learns text, once. NVLM starts from an instruct LLM; none ships as a registry package.

It reads documents and instructions without images, in the chat template, with next-token loss on all of it (a base model, not
only an answerer). Every eighth instruction has a row of tile tags before its question, as if an image stood there: later the
decoder is frozen while tags are read, and a token that it never saw would stay noise (nvlm.md, trap 6). Every arm, architecture
and seed starts from these weights; their text-only loss is the "before" of the regression guard.
"""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from catalog.errors import UserError, unknown_keys, wrong_kinds
from catalog.files import write_json
from trainer import checkpoint
from trainer.batch import IGNORE, Encoded, collate, encode_sample, encode_text
from trainer.checkpoint import Checkpoint, config_digest
from trainer.config import ModelConfig, trainable
from trainer.features import Progress, quiet
from trainer.fusion import NVLM
from trainer.items import Item, Opener, distinct, encode, open_lock
from trainer.tokenizer import Tokenizer, tag_texts
from trainer.train import Stage, optimizer, rate
from trainer.vision import VisionEncoder

TAG_EVERY = 8


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """How the decoder is made and trained on text. `model` overrides fields of `ModelConfig`."""

    vocab: int = 1024
    samples: int = 6000
    batch: int = 8
    max_length: int = 192
    lr: float = 3e-3  # of embeddings, gates and norms, by AdamW
    matrix_lr: float = 0.02  # of weight matrices, by Muon
    warmup: float = 0.05
    seed: int = 0
    threads: int = 2
    model: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "BackboneConfig":
        """Build from a mapping; an unknown key is an error that names the nearest one."""
        unknown_keys(fields, (f.name for f in dataclasses.fields(cls)), "the backbone config")
        wrong_kinds(fields, dataclasses.asdict(cls()), "the backbone config")
        return cls(**fields)


def train_backbone(
    config: BackboneConfig,
    *,
    locks: Sequence[Path],
    clip: Path,
    out: Path,
    progress: Progress = quiet,
    open_lock: Opener = open_lock,
) -> Path:
    """Train tokenizer and decoder on the text-only samples of `locks`; return the folder `out/<id>`.

    The tokenizer learns from all texts of the locks, those of image samples too: their words come up later. A finished backbone
    is returned as it is; stage 0 takes under a minute and starts over when it was killed.
    """
    corpora = [open_lock(path) for path in locks]
    shape = VisionEncoder.from_clip(clip).config_fields()
    identity = {"config": dataclasses.asdict(config), "locks": [c.id for c in corpora], "shape": shape}
    folder = out / config_digest(identity)[:16]
    if (folder / "checkpoint.pt").exists():
        return folder
    items = [i for _, i in sorted({i.id: i for c in corpora for i in distinct(c)}.items())]
    texts = [i for i in items if not i.images]
    if not texts:
        msg = "the mixture for the backbone has no sample without images, and stage 0 learns from text alone"
        raise UserError(msg, hint="add a text source to the mixture")
    words = [m["content"] for i in items for m in i.messages]
    tokenizer = Tokenizer.train([*words, *tag_texts()], config.vocab)
    model_config = ModelConfig.from_dict({**shape, **config.model, "arch": "D", "vocab": tokenizer.vocab_size})
    before = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    try:
        model, rows, seconds = _learn(config, model_config, tokenizer, texts, progress)
    finally:
        torch.set_num_threads(before)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(folder / "tokenizer.json")
    meta = {**identity, "model": model_config.to_dict(), "tokenizer": tokenizer.digest}
    write_json(folder / "config.json", {**meta, "rows": rows, "seconds": seconds})
    weights = {k: v for k, v in model.state_dict().items() if k.startswith("decoder.")}
    checkpoint.save(folder / "checkpoint.pt", Checkpoint(model=weights, meta=meta))
    return folder


def texts_of(items: Sequence[Item], config: ModelConfig, tokenizer: Tokenizer, max_length: int) -> list[Encoded]:
    """Return the items as stage 0 reads them: every token is a target, some questions stand behind tile tags."""
    tags, out = tag_texts(), []
    for i, item in enumerate(items):
        if i % TAG_EVERY == 0 and any(m["role"] == "user" for m in item.messages) and item.answer:
            first = next(j for j, m in enumerate(item.messages) if m["role"] == "user")
            row = tags[(i // TAG_EVERY) % len(tags)]
            messages = [{**m, "content": row + m["content"]} if j == first else m for j, m in enumerate(item.messages)]
            made = encode_sample(messages, [], config, tokenizer, max_length=max_length)
        else:
            made = encode(item, config, tokenizer, None, max_tiles=1, max_length=max_length)
        labels = made.ids.copy()
        labels[:1] = IGNORE
        out.append(dataclasses.replace(made, labels=labels))
    return out + [encode_text(row, config, tokenizer) for row in tags]


def _learn(
    config: BackboneConfig, model_config: ModelConfig, tokenizer: Tokenizer, items: list[Item], progress: Progress
) -> tuple[NVLM, list[list[float]], float]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = NVLM(model_config)
    encoded = texts_of(items, model_config, tokenizer, config.max_length)
    rng = np.random.default_rng(config.seed)
    order: list[int] = []
    while len(order) < config.samples:
        order += rng.permutation(len(encoded)).tolist()
    order = order[: config.samples]
    todo: list[list[int]] = []
    for first in range(0, len(order), config.batch * 8):
        window = sorted(order[first : first + config.batch * 8], key=lambda i: (encoded[i].length, i))
        cut = [window[i : i + config.batch] for i in range(0, len(window), config.batch)]
        todo += cut[::2] + cut[1::2][::-1]
    stage = Stage(number=0, samples=config.samples, max_tiles=1, lr=config.lr, lr_min=config.lr / 10, beta2=0.95,
                  weight_decay=0.1, clip=1.0)  # fmt: skip
    names = trainable(model, 0)
    adam, muon = _optimizers(model, names, stage, config)
    trained = [p for n, p in model.named_parameters() if n in set(names)]
    rows: list[list[float]] = []
    began = time.perf_counter()
    for step, chosen in enumerate(todo):
        lr = rate(step, len(todo), high=stage.lr, low=stage.lr_min, warmup=config.warmup)
        for group in adam.param_groups:
            group["lr"] = lr
        for group in muon.param_groups:
            group["lr"] = lr / config.lr * config.matrix_lr
        _, loss = model(collate([encoded[i] for i in chosen], [None] * len(chosen)))
        adam.zero_grad(set_to_none=True)
        muon.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, stage.clip)
        adam.step()
        muon.step()
        if step % 10 == 0 or step + 1 == len(todo):
            value = float(loss.detach())
            rows.append([step, value, lr, time.perf_counter() - began])
            progress(step + 1, len(todo), f"stage 0, loss {value:.3f}")
    return model, rows, time.perf_counter() - began


def _optimizers(
    model: NVLM, names: list[str], stage: Stage, config: BackboneConfig
) -> tuple[torch.optim.AdamW, torch.optim.Muon]:
    """Return AdamW for embeddings, gates and norms, and Muon (Jordan et al. 2024) for weight matrices.

    Stage 0 stands for a pretrained LLM and is not NVLM's recipe, so it may use what learns fastest. Held-out loss after the
    demo's 2,000 samples (20 s on one core): 4.74 nats with AdamW in batches of 32, 3.62 with 16; Muon 2.87 with 16, 2.38 with 8.
    """
    parameters = dict(model.named_parameters())
    matrices = [n for n in names if parameters[n].ndim == 2 and "embed" not in n]
    adam = optimizer(model, [n for n in names if n not in set(matrices)], stage)
    for name in matrices:
        parameters[name].requires_grad_(True)
    return adam, torch.optim.Muon(
        [parameters[n] for n in matrices], lr=config.matrix_lr, weight_decay=0.0, momentum=0.95
    )

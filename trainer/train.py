"""Two stages of training from one backbone, after NVLM's tables 10 and 11 (nvlm.md 3.1, 3.2), scaled down.

What is kept of the tables: the stages and their order, the freeze map (`config.trainable`), AdamW with the betas, weight decay
and clipping of each architecture, a cosine with linear warm-up, tiles per stage, loss on assistant text only, and the final
checkpoint is the result: none is selected. What is scaled: steps, batch, and learning rates (a model of a million weights
learns at rates a hundred times higher). Kept of the rates: max to min in stage 1 and 2, and that X and H are fine-tuned faster
than D (5 x in the paper; `sft_ratio`).

A run is a pure function of (config, lock, backbone, encoder): seeds initialise what is new (projector, cross-attention) and say
at which position of the mixture the run starts. After that no random number is drawn, so a checkpoint needs weights, AdamW's
moments and the position, and a killed run ends in the same bits on CPU with the same number of threads.
"""

import dataclasses
import hashlib
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from catalog.errors import UserError, unknown_keys, wrong_kinds
from catalog.files import atomic, read_json, write_json
from trainer import checkpoint
from trainer.batch import Encoded, collate
from trainer.checkpoint import Checkpoint, config_digest
from trainer.config import ARCHS, Arch, ModelConfig, decays, trainable
from trainer.features import Features, Progress, compute, encoder_digest, quiet
from trainer.fusion import NVLM
from trainer.items import Item, Opener, encode, image_readers, items_at, open_lock
from trainer.tokenizer import Tokenizer
from trainer.vision import VisionEncoder

METRICS = pa.schema(
    [("stage", pa.int32()), ("step", pa.int32()), ("samples", pa.int64()), ("loss", pa.float64()),
     ("lr", pa.float64()), ("norm", pa.float64()), ("seconds", pa.float64())]
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything that decides a run, but the data and the backbone."""

    arch: Arch = "D"
    seed: int = 0
    samples_1: int = 1024  # samples seen in stage 1
    samples_2: int = 3072  # samples seen in stage 2
    batch: int = 32
    max_tiles_1: int = 0  # 0: the paper's, 1 for D and X, 6 (+1) for H; otherwise at most this many tiles
    max_tiles_2: int = 6  # 6+1 for all
    max_length: int = 512  # positions; what is longer is cut at its end
    lr_1: float = 3e-3
    lr_2: float = 1e-3  # of D
    sft_ratio: float = 2.0  # stage-2 rate of X and H over D's; 5 in the paper
    warmup: float = 0.05  # share of a stage's steps
    save_every: int = 0  # steps between checkpoints; 0: only at the end of a stage
    threads: int = 1
    model: Mapping[str, Any] = dataclasses.field(
        default_factory=dict
    )  # choices of ModelConfig other than the backbone's shape

    def __post_init__(self) -> None:
        """Refuse what cannot be trained."""
        wrong = [
            (self.arch not in ARCHS, f"arch {self.arch!r}; expected one of {', '.join(ARCHS)}"),
            (self.batch < 1, f"batch {self.batch}; expected at least 1"),
            (min(self.samples_1, self.samples_2) < 0, "samples of a stage are below 0"),
            (not 0 <= self.max_tiles_1 <= 6, f"max_tiles_1 {self.max_tiles_1}; expected 0..6"),
            (not 1 <= self.max_tiles_2 <= 6, f"max_tiles_2 {self.max_tiles_2}; expected 1..6"),
            (self.threads < 1, f"threads {self.threads}; expected at least 1"),
        ]
        for bad, msg in wrong:
            if bad:
                text = f"train config: {msg}"
                raise UserError(text, usage=True)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "TrainConfig":
        """Build from a mapping; an unknown key is an error that names the nearest one."""
        unknown_keys(fields, (f.name for f in dataclasses.fields(cls)), "the train config")
        wrong_kinds(fields, dataclasses.asdict(cls()), "the train config")
        return cls(**fields)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return dataclasses.asdict(self)

    @property
    def identity(self) -> dict[str, Any]:
        """What of the settings decides the weights: not how often they are saved."""
        return {k: v for k, v in self.to_dict().items() if k != "save_every"}


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One column of the optimiser tables, scaled down."""

    number: int
    samples: int
    max_tiles: int
    lr: float
    lr_min: float
    beta2: float
    weight_decay: float
    clip: float


def stages(c: TrainConfig) -> tuple[Stage, Stage]:
    """Return stage 1 and 2 of an architecture. The numbers are those of the paper but for samples and rates."""
    d, h = c.arch == "D", c.arch == "H"
    decay, clip = (0.1, 10.0) if d else (0.05, 1.0)
    tiles = c.max_tiles_1 or (6 if h else 1)
    # Stage 2, max to min: D 2e-6 -> 2.5e-7; X and H 1e-5 -> 1e-7 (72B).
    one = Stage(number=1, samples=c.samples_1, max_tiles=min(tiles, c.max_tiles_2) if h else tiles, lr=c.lr_1,
                lr_min=c.lr_1 / (4 if d else 10), beta2=0.98 if h else 0.95, weight_decay=decay, clip=clip)  # fmt: skip
    rate = c.lr_2 * (1 if d else c.sft_ratio)
    two = Stage(number=2, samples=c.samples_2, max_tiles=c.max_tiles_2, lr=rate,
                lr_min=rate / (8 if d else 100), beta2=0.98, weight_decay=decay, clip=clip)  # fmt: skip
    return one, two


def rate(step: int, steps: int, *, high: float, low: float, warmup: float) -> float:
    """Return the learning rate of `step`, counted from 0: linear warm-up, then a cosine from `high` to `low`."""
    rising = max(1, round(steps * warmup))
    if step < rising:
        return high * (step + 1) / rising
    done = (step - rising) / max(1, steps - rising)
    return low + (high - low) * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def optimizer(model: NVLM, names: Sequence[str], stage: Stage) -> torch.optim.AdamW:
    """Return AdamW over `names` alone: matrices decay, gates, norms and positions do not; the rest of the model is frozen."""
    chosen, parameters = set(names), dict(model.named_parameters())
    for name, p in parameters.items():
        p.requires_grad_(name in chosen)
        p.grad = None
    groups = [
        {"params": [parameters[n] for n in names if decays(n, parameters[n].ndim)], "weight_decay": stage.weight_decay},
        {"params": [parameters[n] for n in names if not decays(n, parameters[n].ndim)], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=stage.lr, betas=(0.9, stage.beta2), fused=True)


# -- the backbone as a run starts from it ------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """The small decoder after stage 0, with its tokenizer."""

    config: ModelConfig
    tokenizer: Tokenizer
    weights: Mapping[str, Tensor]  # decoder.* only
    digest: str


def load_backbone(folder: Path) -> Backbone:
    """Read what `backbone.train_backbone` wrote."""
    saved = checkpoint.load(folder / "checkpoint.pt")
    tokenizer = Tokenizer.load(folder / "tokenizer.json")
    if saved.meta["tokenizer"] != tokenizer.digest:
        msg = f"`{folder / 'tokenizer.json'}` is not the tokenizer that this backbone was trained with"
        raise UserError(msg)
    config = ModelConfig.from_dict(saved.meta["model"])
    digest = config_digest({"weights": saved.digest, "tokenizer": tokenizer.digest})
    return Backbone(config=config, tokenizer=tokenizer, weights=saved.model, digest=digest)


def fresh_model(backbone: Backbone, arch: Arch, *, seed: int, choices: Mapping[str, Any] | None = None) -> NVLM:
    """Return a model of `arch`: the backbone's decoder, everything else initialised from `seed`."""
    config = ModelConfig.from_dict({**backbone.config.to_dict(), **(choices or {}), "arch": arch})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = NVLM(config)
    missing, unexpected = model.load_state_dict(dict(backbone.weights), strict=False)
    if unexpected or any(n.startswith("decoder.") for n in missing):
        msg = f"the backbone does not fit the model: {(list(unexpected) + list(missing))[0]}"
        raise UserError(msg)
    return model


# -- the order of samples ----------------------------------------------------------------------------------------------


def first_position(lock: str, seed: int, total: int) -> int:
    """Return where in the mixture a seed starts. The same for every architecture (nvlm.md, invariant 25)."""
    return int.from_bytes(hashlib.sha256(f"{lock}|{seed}".encode()).digest()[:8], "big") % total


def positions(start: int, samples: int, total: int) -> list[int]:
    """Return `samples` positions from `start` on; behind the last position comes the first."""
    return [(start + i) % total for i in range(samples)]


def batches(count: int, size: int) -> list[range]:
    """Cut a stage into batches, in the mixture's order.

    Not by length, though it would save padding: like lengths are like tasks, and text alone teaches a projector nothing.
    """
    return [range(first, min(first + size, count)) for first in range(0, count, size)]


GROUP_COST = 128
"""What another pass costs, in positions: launching a small model's kernels takes as long as computing about so many."""


def groups(lengths: Sequence[int], most: int = 3) -> list[list[int]]:
    """Return the samples of a batch in up to `most` groups of like lengths, such that the fewest positions are padding.

    In X and H a caption has 45 positions and a text 150: padded to one length, two thirds of a batch of 16 would be padding.
    """
    order = sorted(range(len(lengths)), key=lambda i: (lengths[i], i))
    size = [lengths[i] for i in order]
    # best[g][n]: (cost, where the last group begins) of the n shortest samples in g groups
    best: list[dict[int, tuple[int, int]]] = [{0: (0, 0)}]
    for _ in range(most):
        last = best[-1]
        best.append({
            n: min((cost + (n - m) * size[n - 1] + GROUP_COST, m) for m, (cost, _) in last.items() if m < n)
            for n in range(1, len(order) + 1) if any(m < n for m in last)
        })  # fmt: skip
    n = len(order)
    g = min((g for g in range(1, most + 1) if n in best[g]), key=lambda g: best[g][n][0])
    out = []
    while g:
        begin = best[g][n][1]
        out.append(sorted(order[begin:n]))
        n, g = begin, g - 1
    return out


# -- the loop ----------------------------------------------------------------------------------------------------------


def run_id(config: TrainConfig, lock: str, backbone: str, encoder: str) -> str:
    """Return the name of a run's folder: all that decides its weights."""
    return config_digest({"config": config.identity, "lock": lock, "backbone": backbone, "encoder": encoder})[:16]


def train(
    config: TrainConfig,
    *,
    lock: Path,
    backbone: Path,
    clip: Path,
    out: Path,
    features: Path | None = None,
    complete: bool = False,
    progress: Progress = quiet,
    open_lock: Opener = open_lock,
) -> Path:
    """Train one model; return its folder `out/<id>`, which holds config.json, metrics.parquet and checkpoint.pt.

    A finished run is returned as it is; a killed one goes on from its last checkpoint. `features` is the folder of the feature
    cache (default: `out/../features`); what is missing in it is computed first, and with `complete` nothing is expected to be.
    """
    corpus = open_lock(lock)
    if len(corpus) == 0:
        msg = f"mixture lock `{lock}` holds no samples"
        raise UserError(msg)
    base = load_backbone(backbone)
    encoder = VisionEncoder.from_clip(clip)
    folder = out / run_id(config, corpus.id, base.digest, encoder_digest(encoder))
    if (folder / "checkpoint.pt").exists():
        return folder
    before = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    try:
        cache = compute(
            {} if complete else image_readers([open_lock(lock)]),
            encoder,
            features or out.parent / "features",
            tile=encoder.config.tile,
            max_tiles=config.max_tiles_2,
            progress=progress,
        )
        start = first_position(corpus.id, config.seed, len(corpus))
        order = positions(start, config.samples_1 + config.samples_2, len(corpus))
        items = items_at(corpus, order)
        meta = {"lock": corpus.id, "config": config.to_dict(), "config_digest": config_digest(config.identity),
                "backbone": base.digest, "encoder": encoder_digest(encoder), "tokenizer": base.tokenizer.digest}  # fmt: skip
        _Run(config, base, cache, items, meta, folder, progress).finish()
    finally:
        torch.set_num_threads(before)
    return folder


class _Run:
    """One run, from wherever it stopped to its end."""

    def __init__(self, config: TrainConfig, base: Backbone, features: Features, items: list[Item], meta: dict[str, Any],
                 folder: Path, progress: Progress) -> None:  # fmt: skip
        self.config, self.base, self.features, self.items = config, base, features, items
        self.meta, self.folder, self.progress = meta, folder, progress
        self.model = fresh_model(base, config.arch, seed=config.seed, choices=config.model)
        self.rows: list[list[float]] = []
        self.seconds = 0.0

    def finish(self) -> None:
        resume, at = self.folder / "resume.pt", (0, 0)
        moments: Mapping[str, Mapping[str, Tensor]] = {}
        if resume.exists():
            saved = checkpoint.load(resume)
            self.model.load_state_dict(dict(saved.model))
            at, moments = (saved.meta["stage"], saved.meta["step"]), saved.moments
            self.rows, self.seconds = saved.meta["rows"], saved.meta["seconds"]
        first = 0
        for number, stage in enumerate(stages(self.config)):
            items = self.items[first : first + stage.samples]
            first += stage.samples
            if number >= at[0] and items:
                self._stage(number, stage, items, *((at[1], moments) if number == at[0] else (0, {})))
        with atomic(self.folder / "metrics.parquet") as f:
            columns = [list(c) for c in zip(*self.rows, strict=True)] or [[] for _ in METRICS]
            pq.write_table(pa.table(columns, schema=METRICS), f)
        write_json(
            self.folder / "config.json", {**self.meta, "model": self.model.config.to_dict(), "seconds": self.seconds}
        )
        # Written last: a run with a checkpoint is a finished run.
        checkpoint.save(self.folder / "checkpoint.pt", self._checkpoint(position=len(self.items)))
        resume.unlink(missing_ok=True)

    def _checkpoint(self, **more: Any) -> Checkpoint:
        meta = {**self.meta, "model": self.model.config.to_dict(), **more}
        return Checkpoint(model=self.model.state_dict(), meta=meta)

    def _stage(self, number: int, stage: Stage, items: list[Item], step: int, moments: Mapping[str, Any]) -> None:
        c, model = self.config, self.model
        names = trainable(model, stage.number)
        adam = optimizer(model, names, stage)
        parameters = dict(model.named_parameters())
        for name, state in moments.items():
            adam.state[parameters[name]] = {k: v.clone() for k, v in state.items()}
        known: dict[str, Encoded] = {}  # repeated samples are encoded once
        todo = batches(len(items), c.batch)
        trained = [parameters[n] for n in names]
        done = sum(len(b) for b in todo[:step])
        began = time.perf_counter()
        for step in range(step, len(todo)):  # noqa: B020 - goes on where it stopped
            chosen = [items[i] for i in todo[step]]
            for item in chosen:
                if item.id not in known:
                    known[item.id] = encode(item, model.config, self.base.tokenizer, self.features,
                                            max_tiles=stage.max_tiles, max_length=c.max_length)  # fmt: skip
            lr = rate(step, len(todo), high=stage.lr, low=stage.lr_min, warmup=c.warmup)
            for group in adam.param_groups:
                group["lr"] = lr
            adam.zero_grad(set_to_none=True)
            value = self._backward(chosen, known, stage)
            norm = torch.nn.utils.clip_grad_norm_(trained, stage.clip)
            adam.step()
            done += len(chosen)
            if step % 10 == 0 or step + 1 == len(todo):
                if not math.isfinite(value):
                    msg = f"the loss of stage {stage.number} is {value} at step {step}"
                    raise UserError(msg, hint="lower `lr_1` or `lr_2`")
                spent = self.seconds + time.perf_counter() - began
                self.rows.append([stage.number, step, done, value, lr, float(norm), spent])
                self.progress(done, len(items), f"{c.arch} seed {c.seed} stage {stage.number}, loss {value:.3f}")
            last = step + 1 == len(todo)
            if (c.save_every and (step + 1) % c.save_every == 0) or last:
                spent = self.seconds + time.perf_counter() - began
                at = (number + 1, 0) if last else (number, step + 1)
                self._save(adam if not last else None, parameters, names, at, spent)
        self.seconds += time.perf_counter() - began

    def _backward(self, chosen: Sequence[Item], known: Mapping[str, Encoded], stage: Stage) -> float:
        """Add the gradients of a batch's loss, group by group of like lengths, and return that loss: the sum over its trained
        tokens divided by their number, however it is cut into groups.
        """
        total = max(1, sum(known[i.id].trained for i in chosen))
        value = 0.0
        for group in groups([known[i.id].length for i in chosen]):
            mine = [chosen[k] for k in group]
            share = sum(known[i.id].trained for i in mine) / total
            if not share:
                continue
            _, loss = self.model(collate([known[i.id] for i in mine], [self._pixels(i, stage) for i in mine]))
            if loss.requires_grad:  # stage 1, D: a group of text alone reaches no projector
                (loss * share).backward()
            value += share * float(loss.detach())
        return value

    def _pixels(self, item: Item, stage: Stage) -> Tensor | None:
        if not item.images:
            return None
        return torch.cat([self.features.get(d, max_tiles=stage.max_tiles) for d in item.images])

    def _save(self, adam: torch.optim.AdamW | None, parameters: Mapping[str, Tensor], names: Sequence[str],
              at: tuple[int, int], seconds: float) -> None:  # fmt: skip
        state = {n: dict(adam.state[parameters[n]]) for n in names if parameters[n] in adam.state} if adam else {}
        held = self._checkpoint(stage=at[0], step=at[1], rows=self.rows, seconds=seconds)
        checkpoint.save(self.folder / "resume.pt", dataclasses.replace(held, moments=state))


def load_model(run: Path) -> tuple[NVLM, dict[str, Any]]:
    """Return the trained model of a run's folder and the checkpoint's meta."""
    saved = checkpoint.load(run / "checkpoint.pt")
    model = NVLM(ModelConfig.from_dict(saved.meta["model"]))
    model.load_state_dict(dict(saved.model))
    return model.eval(), dict(saved.meta)


def metrics(run: Path) -> pa.Table:
    """Return the METRICS rows of a run."""
    return pq.read_table(run / "metrics.parquet")


def finished(out: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the folder and config of every finished run under `out`."""
    for path in sorted(out.glob("*/checkpoint.pt")):
        yield path.parent, read_json(path.parent / "config.json")

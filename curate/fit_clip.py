"""A data filtering network (Fang et al. 2023, arXiv 2309.17425): a small CLIP trained on a trusted slice of one's own data.

The paper's finding is that a network filters well when its own training data is clean, however small the network is. Ours is
an open_clip model with a plain ViT and a short text tower over a word vocabulary, trained from scratch in half a minute
on one core, and good for data like the trusted slice and no other. Of the paper we leave out the scale, the tuning on
benchmark sets, and the distillation: this one learns from the pairs alone.

`fit` writes a folder, whole or not at all:
    open_clip_config.json        {"model_cfg", "preprocess_cfg"} in open_clip's layout
    open_clip_model.safetensors  weights in open_clip's names (`visual.*` is the tower that `trainer/vision.py` reuses)
    words.json                   the tokenizer (`filters/shared/words.py`)
    bank.safetensors             embeddings of trusted pairs, `images` and `texts`, for `clip_margin`
    fit.json                     what it was fitted with and how well it tells pairs apart; no times, no paths
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

from catalog.errors import UserError, unknown_keys
from catalog.files import publish, remove, write_bytes, write_json
from filters.shared import clip
from filters.shared.captions import turns
from filters.shared.images import Images, Reader
from filters.shared.words import BUCKETS, PAD, WordTokenizer

if TYPE_CHECKING:
    import torch

VERSION = 4
"""Raise it when the same data and configuration give other weights."""

LEAST = 32  # pairs
HELD_OUT = 16  # one picture in so many is not trained on and measures the separation, where there are enough
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """Shape and training of the network. The defaults take half a minute on one core."""

    image_size: int = 64
    patch: int = 8
    width: int = 96
    layers: int = 2
    head_width: int = 32
    embed_dim: int = 128
    text_width: int = 64
    text_layers: int = 1
    context: int = 32  # words of a text that are read
    vocabulary: int = 4000
    steps: int = 250
    batch: int = 48
    lr: float = 3e-3
    matrix_lr: float = 0.02  # of weight matrices, in Muon's scale; `lr` is that of all other weights
    weight_decay: float = 0.1
    temperature: float = 0.07
    patch_dropout: float = 0.5  # share of a picture's patches that a step does not see (FLIP, arXiv 2212.00794)
    word_dropout: float = 0.3  # share of a text's words that a step sees as words which it does not know
    smoothing: float = 0.1  # share of the right answer that is spread over the whole batch
    seed: int = 0
    threads: int = (
        1  # sums on CPU depend on it, so it is fixed; two on a busy machine spend their time waiting for each other
    )
    limit: int = 20_000  # pairs that are read
    bank: int = 384


def config(values: Mapping[str, Any] | None = None) -> FitConfig:
    """Return the configuration with `values` in place of defaults; raise `UserError` for what does not fit."""
    values = dict(values or {})
    unknown_keys(values, [f.name for f in fields(FitConfig)], "the configuration of the CLIP fit")
    made = FitConfig(**values)
    for f in fields(FitConfig):
        value = getattr(made, f.name)
        wanted = float if f.type is float or f.type == "float" else int
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or (wanted is int and not isinstance(value, int))
        ):
            msg = f"`{f.name}` of the CLIP fit is {value!r}; expected {'a number' if wanted is float else 'a whole number'}"
            raise UserError(msg, usage=True)
        if value < 0 or (
            value == 0 and f.name not in ("seed", "weight_decay", "patch_dropout", "word_dropout", "smoothing")
        ):
            msg = f"`{f.name}` of the CLIP fit is {value}; expected more than 0"
            raise UserError(msg, usage=True)
    for whole, part in (("image_size", "patch"), ("width", "head_width"), ("text_width", "head_width")):
        if getattr(made, whole) % getattr(made, part):
            msg = f"`{whole}` ({getattr(made, whole)}) is not a multiple of `{part}` ({getattr(made, part)})"
            raise UserError(msg, usage=True)
    return made


@dataclass(frozen=True, kw_only=True)
class _Pairs:
    pictures: npt.NDArray[np.uint8]  # (n, S, S, 3)
    texts: list[str]
    groups: npt.NDArray[np.int64]  # (n,): pairs with the same picture have the same number


def _read(samples: Iterator[pa.RecordBatch], reader: Reader, c: FitConfig) -> _Pairs:
    """Return the first image and the text of every sample that has both."""
    pictures: list[npt.NDArray[np.uint8]] = []
    texts: list[str] = []
    known: dict[bytes, int] = {}
    groups: list[int] = []
    for batch in samples:
        images = Images.read(batch, reader)
        for row, (_, text) in enumerate(turns(batch)):
            if not text or len(texts) == c.limit:
                continue
            first = next((p for p in images[row] if p is not None), None)
            if first is not None:
                small = Image.fromarray(first).resize((c.image_size, c.image_size), Image.Resampling.BICUBIC)
                pictures.append(np.asarray(small))
                texts.append(text)
                groups.append(known.setdefault(pictures[-1].tobytes(), len(known)))
        if len(texts) == c.limit:
            break
    if len(texts) < LEAST:
        msg = f"a CLIP needs at least {LEAST} trusted samples with an image and a text; there are {len(texts)}"
        raise UserError(msg, hint="trust a larger slice, or score with a pretrained model (`model: ViT-B-32/openai`)")
    return _Pairs(pictures=np.stack(pictures), texts=texts, groups=np.asarray(groups))


def model_config(c: FitConfig, vocabulary: int) -> dict[str, Any]:
    """Return what goes into `open_clip_config.json`."""
    return {
        "model_cfg": {
            "embed_dim": c.embed_dim,
            "vision_cfg": {
                "image_size": c.image_size,
                "layers": c.layers,
                "width": c.width,
                "head_width": c.head_width,
                "patch_size": c.patch,
                "pool_type": "avg",
            },
            "text_cfg": {
                "context_length": c.context,
                "vocab_size": vocabulary,
                "width": c.text_width,
                "heads": c.text_width // c.head_width,
                "layers": c.text_layers,
            },
        },
        # Squashed, not cropped: what a chart or a page says stands at its edges too.
        "preprocess_cfg": {"mean": list(MEAN), "std": list(STD), "interpolation": "bicubic", "resize_mode": "squash"},
    }


def fit(
    samples: Iterator[pa.RecordBatch],
    reader: Reader,
    out: Path,
    *,
    config: FitConfig | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Train on `samples`, write the model folder `out`, and return what was measured.

    The same samples, configuration and device give the same bytes. Raises `UserError` when too few samples are pairs.
    """
    import torch
    from safetensors.numpy import save as save_numpy
    from safetensors.torch import save as save_torch

    c = config or FitConfig()
    began = time.monotonic()
    pairs = _read(samples, reader, c)
    n = len(pairs.texts)
    # Whole pictures are held out: another text of a picture that was trained on would measure memory.
    held = (
        np.flatnonzero(pairs.groups % HELD_OUT == HELD_OUT - 1).tolist() if pairs.groups.max() >= 8 * HELD_OUT else []
    )
    train = sorted(set(range(n)) - set(held))
    tokenizer = WordTokenizer.fit([pairs.texts[k] for k in train], context=c.context, limit=c.vocabulary)
    settings = model_config(c, tokenizer.size)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    before = torch.get_num_threads()
    torch.set_num_threads(c.threads)
    try:
        with torch.random.fork_rng():
            torch.manual_seed(c.seed)
            vision = {**settings["model_cfg"]["vision_cfg"], "patch_dropout": c.patch_dropout}
            model = clip.build({**settings["model_cfg"], "vision_cfg": vision}).to(device)
            loss = _train(model, pairs, train, tokenizer, c, device, progress)
    finally:
        torch.set_num_threads(before)
    weights = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}

    staging = out.parent / f".tmp-{out.name}"
    remove(staging)
    write_json(staging / clip.CONFIG, settings)
    write_bytes(staging / clip.WEIGHTS, save_torch(weights))
    write_bytes(staging / clip.TOKENIZER, tokenizer.dumps())
    network = clip.load(str(staging), device="cpu")
    chosen = [train[k] for k in np.linspace(0, len(train) - 1, min(c.bank, len(train))).round().astype(int)]
    seen, said = network.encode([pairs.pictures[k] for k in chosen], [pairs.texts[k] for k in chosen])
    write_bytes(staging / clip.BANK, save_numpy({"images": seen, "texts": said}))
    metrics = {"pairs": n, "held_out": len(held), "loss": round(loss, 4), **_separation(network, pairs, held)}
    write_json(staging / "fit.json", {"version": VERSION, "config": asdict(c), "device": device, "metrics": metrics})
    publish(staging, out)
    return {**metrics, "seconds": round(time.monotonic() - began, 2)}


def _train(
    model: Any,
    pairs: _Pairs,
    train: list[int],
    tokenizer: WordTokenizer,
    c: FitConfig,
    device: str,
    progress: Callable[[int, int], None],
) -> float:
    """Contrastive training (Radford et al. 2021); return the last losses' mean.

    Equal texts in a batch, and texts of equal pictures, are all right answers.
    """
    import torch
    import torch.nn.functional as F

    pictures = torch.from_numpy(pairs.pictures[train]).permute(0, 3, 1, 2).contiguous().to(device)
    tokens = tokenizer([pairs.texts[k] for k in train]).to(device)
    pictured = torch.from_numpy(pairs.groups[train]).to(device)
    with torch.no_grad():
        model.logit_scale.fill_(math.log(1 / c.temperature))
    matrices = [p for n, p in model.named_parameters() if p.ndim > 1 and "embedding" not in n]
    chosen = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    optimizer = torch.optim.AdamW(rest, lr=c.lr, betas=(0.9, 0.98), weight_decay=0.0)
    momenta = [torch.zeros_like(p) for p in matrices]
    g = torch.Generator().manual_seed(c.seed)
    size = min(c.batch, len(train))
    order = torch.zeros(0, dtype=torch.long)
    last: list[float] = []
    model.train()
    for step in range(c.steps):
        rate = min(1.0, (step + 1) / 10) * (0.5 + 0.5 * math.cos(math.pi * step / c.steps))
        for group in optimizer.param_groups:
            group["lr"] = c.lr * rate
        if len(order) < size:
            order = torch.randperm(len(train), generator=g)
        picked, order = order[:size], order[size:]
        text = tokens[picked.to(device)]
        said = _forget(text, tokenizer.size, c.word_dropout, g)
        image = model.encode_image(_vary(pictures[picked.to(device)], g))
        logits = model.logit_scale.exp() * F.normalize(image, dim=-1) @ F.normalize(model.encode_text(said), dim=-1).T
        of = pictured[picked.to(device)]
        same = ((text[:, None] == text[None]).all(-1) | (of[:, None] == of[None])).float()
        right = (1 - c.smoothing) * same / same.sum(1, keepdim=True) + c.smoothing / size
        by_row, by_column = F.log_softmax(logits, 1), F.log_softmax(logits.T, 1)
        loss = -((right * by_row).sum(1).mean() + (right * by_column).sum(1).mean()) / 2
        model.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        _orthogonal_step(matrices, momenta, rate * c.matrix_lr, c.weight_decay)
        with torch.no_grad():
            model.logit_scale.clamp_(0.0, math.log(100))
        last = [*last[-9:], float(loss.detach())]
        progress(step + 1, c.steps)
    model.eval()
    return sum(last) / len(last)


def _orthogonal_step(
    matrices: "list[torch.nn.Parameter]", momenta: "list[torch.Tensor]", rate: float, decay: float
) -> None:
    """Update weight matrices by Muon (Jordan et al. 2024): momentum, then the nearest orthogonal matrix.

    With AdamW a ViT this small has not yet told charts from pages when the half minute is over; with Muon it has.
    """
    import torch

    with torch.no_grad():
        for p, m in zip(matrices, momenta, strict=True):
            assert p.grad is not None
            m.lerp_(p.grad, 0.05)
            g = p.grad.lerp(m, 0.95).flatten(1)
            wide = g.shape[0] <= g.shape[1]
            x = g if wide else g.T
            x = x / (x.norm() + 1e-12)
            for _ in range(5):  # Newton-Schulz, with the coefficients of the reference implementation
                a = x @ x.T
                x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
            x = x if wide else x.T
            p.mul_(1 - rate * decay)
            p.add_(x.view_as(p), alpha=-rate * max(1.0, g.shape[0] / g.shape[1]) ** 0.5)


def _forget(tokens: "torch.Tensor", size: int, share: float, g: "torch.Generator") -> "torch.Tensor":
    """Replace words by unknown ones, as most names on a page are: the fit must not hang on any single word."""
    import torch

    lost = (torch.rand(tokens.shape, generator=g) < share).to(tokens.device)
    unknown = torch.randint(1, 1 + BUCKETS, tokens.shape, generator=g).to(tokens.device)
    return torch.where(lost & (tokens != PAD) & (tokens != size - 1), unknown, tokens)


def _vary(x: "torch.Tensor", g: "torch.Generator") -> "torch.Tensor":
    """Shift, scale, and change brightness and tint a little; never flip: left and right stand in captions."""
    import torch
    import torch.nn.functional as F

    n = len(x)

    def uniform(low: float, high: float, *shape: int) -> "torch.Tensor":
        return torch.empty(shape).uniform_(low, high, generator=g)

    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = uniform(0.8, 1.0, n)
    theta[:, :, 2] = uniform(-0.08, 0.08, n, 2)
    light, tint = uniform(0.85, 1.15, n, 1, 1, 1).to(x.device), uniform(-10, 10, n, 3, 1, 1).to(x.device)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False).to(x.device)
    y = F.grid_sample(x.float(), grid, padding_mode="border", align_corners=False)
    mean, std = (torch.tensor(v, device=x.device).view(1, 3, 1, 1) for v in (MEAN, STD))
    return ((y * light + tint).clamp(0, 255) / 255 - mean) / std


def _separation(network: clip.Clip, pairs: _Pairs, held: list[int]) -> dict[str, Any]:
    """Return how well the cosine tells held-out pairs from the same images with other held-out texts (AUC)."""
    if not held:
        return {"auc": None, "matched": None, "mismatched": None}
    seen, said = network.encode([pairs.pictures[k] for k in held], [pairs.texts[k] for k in held])
    cosines = seen.astype(np.float64) @ said.astype(np.float64).T
    texts = [pairs.texts[k] for k in held]
    other = np.asarray([[a != b for b in texts] for a in texts])
    other &= pairs.groups[held][:, None] != pairs.groups[held][None]
    right, wrong = np.diag(cosines), np.sort(cosines[other])
    if not len(wrong):
        return {"auc": None, "matched": None, "mismatched": None}
    below = np.searchsorted(wrong, right, "left") + np.searchsorted(wrong, right, "right")
    auc = float(below.mean() / (2 * len(wrong)))
    return {
        "auc": round(auc, 4),
        "matched": round(float(np.median(right)), 4),
        "mismatched": round(float(np.median(wrong)), 4),
    }

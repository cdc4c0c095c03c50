"""The eye: the frozen image tower of an open_clip model, in plain code, and pixel shuffle.

N       tiles                     S       side of a tile in pixels
P       patches per tile          c       width of the tower
K       image tokens, P / 4       4c      width of an image token
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from catalog.errors import UserError
from trainer.weights import read_safetensors

# What open_clip's towers may have and this one has not. A config that asks for it is refused, not half obeyed.
_PLAIN: dict[str, tuple[object, ...]] = {
    "attentional_pool": (False, None), "no_ln_pre": (False, None), "final_ln_after_pool": (False, None),
    "block_type": (None, "default"), "qk_norm": (False, None), "scaled_cosine_attn": (False, None), "scale_heads": (False, None),
    "scale_attn_inner": (False, None), "scale_attn": (False, None), "scale_fc": (False, None), "timm_model_name": (None,),
    "act_kwargs": (None, {}), "norm_kwargs": (None, {}), "ls_init_value": (None,),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class VisionConfig:
    """The shape of the tower, and how pixels are normalised for it."""

    tile: int = 64
    patch: int = 8
    width: int = 128
    layers: int = 4
    head_width: int = 64
    mlp_ratio: float = 4.0
    quick_gelu: bool = False
    mean: tuple[float, ...] = (0.48145466, 0.4578275, 0.40821073)
    std: tuple[float, ...] = (0.26862954, 0.26130258, 0.27577711)


class _Block(nn.Module):
    """Names and shapes are open_clip's, so that its weights load as they are."""

    def __init__(self, v: VisionConfig) -> None:
        super().__init__()
        inner = int(v.width * v.mlp_ratio)
        self.heads, self.quick = v.width // v.head_width, v.quick_gelu
        self.ln_1, self.ln_2 = nn.LayerNorm(v.width), nn.LayerNorm(v.width)
        self.attn = nn.ParameterDict(
            {"in_proj_weight": torch.empty(3 * v.width, v.width), "in_proj_bias": torch.zeros(3 * v.width)}
        )
        self.attn_out = nn.Linear(v.width, v.width)
        self.c_fc, self.c_proj = nn.Linear(v.width, inner), nn.Linear(inner, v.width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1 + P, c) -> (N, 1 + P, c)."""
        N, L, c = x.shape
        qkv = F.linear(self.ln_1(x), self.attn["in_proj_weight"], self.attn["in_proj_bias"])
        # (N, heads, 1 + P, head width) each
        q, k, v = qkv.view(N, L, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        x = x + self.attn_out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(N, L, c))
        y = self.c_fc(self.ln_2(x))
        out: Tensor = x + self.c_proj(y * torch.sigmoid(1.702 * y) if self.quick else F.gelu(y))
        return out


class VisionEncoder(nn.Module):
    """A ViT, frozen for good: no gradient, always in eval mode. Its last layer's patch tokens, class token dropped."""

    mean: Tensor  # (1, 3, 1, 1)
    std: Tensor

    def __init__(self, v: VisionConfig) -> None:
        super().__init__()
        self.config = v
        side = v.tile // v.patch
        self.conv1 = nn.Conv2d(3, v.width, v.patch, v.patch, bias=False)
        self.class_embedding = nn.Parameter(torch.zeros(v.width))
        self.positional_embedding = nn.Parameter(torch.zeros(side * side + 1, v.width))
        self.ln_pre, self.ln_post = nn.LayerNorm(v.width), nn.LayerNorm(v.width)
        self.blocks = nn.ModuleList(_Block(v) for _ in range(v.layers))
        self.register_buffer("mean", torch.tensor(v.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(v.std).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(requires_grad=False)
        super().train(mode=False)

    def train(self, mode: bool = True) -> "VisionEncoder":  # noqa: FBT001 - torch's signature
        """Stay in eval mode, whatever the model around does."""
        return self

    @classmethod
    def from_clip(cls, folder: Path) -> "VisionEncoder":
        """Load the image tower from a folder with `open_clip_config.json` and `open_clip_model.safetensors`."""
        path = folder / "open_clip_config.json"
        try:
            config = json.loads(path.read_text())
            vision, preprocess = config["model_cfg"]["vision_cfg"], config.get("preprocess_cfg", {})
        except FileNotFoundError as e:
            msg = f"no CLIP at `{folder}`: `open_clip_config.json` is missing"
            raise UserError(msg) from e
        except (ValueError, KeyError, TypeError) as e:
            msg = f"`{path}` is not an open_clip config"
            raise UserError(msg) from e
        for key, allowed in _PLAIN.items():
            if vision.get(key) not in allowed:
                msg = f"`{path}` asks for `{key}`: {vision[key]!r}, which this ViT does not have"
                raise UserError(msg)
        encoder = cls(_vision_config(vision, preprocess, quick=bool(config["model_cfg"].get("quick_gelu"))))
        weights = {}
        for name, value in read_safetensors(folder / "open_clip_model.safetensors", "visual.").items():
            name = name.replace("transformer.resblocks.", "blocks.").replace(".attn.out_proj.", ".attn_out.")
            weights[name.replace(".mlp.", ".")] = value.float()
        weights.pop("proj", None)  # from the pooled token into CLIP's shared space: not used here
        own = encoder.state_dict()
        bad = sorted(own.keys() ^ weights.keys()) or [n for n in own if own[n].shape != weights[n].shape]
        if bad:
            msg = f"weights and config in `{folder}` do not agree, first at `visual.{bad[0]}`"
            raise UserError(msg)
        encoder.load_state_dict(weights)
        return encoder

    @classmethod
    def random(cls, config: VisionConfig, seed: int) -> "VisionEncoder":
        """Return an untrained tower, for tests."""
        encoder = cls(config)
        g = torch.Generator().manual_seed(seed)
        for name, p in encoder.named_parameters():
            if not name.split(".")[-2:][0].startswith("ln_"):
                p.copy_(torch.randn(p.shape, generator=g) * (p.shape[-1] ** -0.5 if p.ndim > 1 else 0.1))
        return encoder

    def config_fields(self) -> dict[str, Any]:
        """Return the fields of `ModelConfig` that follow from this tower."""
        return {"tile": self.config.tile, "patch": self.config.patch, "vision_width": self.config.width}

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels (N, 3, S, S), uint8 or float within 0..1 -> patch tokens (N, P, c), row-major."""
        x = pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels
        x = self.conv1((x - self.mean) / self.std).flatten(2).transpose(1, 2)  # (N, P, c)
        x = torch.cat([self.class_embedding.expand(len(x), 1, -1), x], 1) + self.positional_embedding  # (N, 1 + P, c)
        x = self.ln_pre(x)
        for block in self.blocks:
            x = block(x)
        tokens: Tensor = self.ln_post(x)[:, 1:]
        return tokens

    @torch.no_grad()
    def encode_tiles(self, tiles: npt.NDArray[np.uint8], chunk: int = 256) -> Tensor:
        """Tiles (n + g, S, S, 3) of one image, or of many -> image tokens (n + g, K, 4c)."""
        pixels = torch.from_numpy(tiles).permute(0, 3, 1, 2)  # (N, 3, S, S)
        device = self.conv1.weight.device
        parts = [pixel_shuffle(self(pixels[i : i + chunk].to(device))) for i in range(0, len(pixels), chunk)]
        return torch.cat(parts)


def _vision_config(vision: dict[str, Any], preprocess: dict[str, Any], *, quick: bool) -> VisionConfig:
    size = vision.get("image_size", 224)
    plain = VisionConfig()
    return VisionConfig(
        tile=size if isinstance(size, int) else size[0],
        patch=vision.get("patch_size", 16),
        width=vision.get("width", 768),
        layers=vision.get("layers", 12),
        head_width=vision.get("head_width", 64),
        mlp_ratio=vision.get("mlp_ratio", 4.0),
        quick_gelu=quick,
        mean=tuple(preprocess.get("mean") or plain.mean),
        std=tuple(preprocess.get("std") or plain.std),
    )


def pixel_shuffle(x: Tensor, factor: int = 2) -> Tensor:
    """Join 2x2 neighbours on the channel axis, "v2" order: (N, P, c) -> (N, P / 4, 4c).

    out[I, J] = concat(x[2I, 2J], x[2I, 2J + 1], x[2I + 1, 2J], x[2I + 1, 2J + 1]).
    """
    N, P, c = x.shape
    side = round(P**0.5)
    small = side // factor
    if side * side != P or small * factor != side:
        msg = f"{P} patches are no square whose side is a multiple of {factor}"
        raise UserError(msg)
    x = x.view(N, small, factor, small, factor, c).transpose(2, 3)  # (N, I, J, 2, 2, c)
    return x.reshape(N, small * small, factor * factor * c)


def pixel_unshuffle(x: Tensor, factor: int = 2) -> Tensor:
    """Undo `pixel_shuffle`: (N, K, 4c) -> (N, 4K, c)."""
    N, K, wide = x.shape
    small, c = round(K**0.5), wide // factor**2
    x = x.view(N, small, small, factor, factor, c).transpose(2, 3)  # (N, I, 2, J, 2, c)
    return x.reshape(N, K * factor**2, c)

"""A small modern decoder: RMS norm before each part, RoPE, grouped queries, SwiGLU, tied embeddings, no biases.

B, T    rows, positions          H, G    query heads, key/value heads (grouped queries)
d, hd   width, head width d / H  V       vocabulary
T_kv    positions that may be read: those of this call and those in the cache
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.config import ModelConfig

Block = Callable[[Tensor], Tensor]
"""(B, T, d) -> (B, T, d): what fusion inserts into a layer; a gated cross-attention."""


@dataclass
class Cache:
    """Keys and values of the positions that were run before, one pair per layer, each (B, G, T so far, hd)."""

    layers: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Append to a layer and return all that it holds."""
        if layer in self.layers:
            old_k, old_v = self.layers[layer]
            k, v = torch.cat([old_k, k], 2), torch.cat([old_v, v], 2)
        self.layers[layer] = k, v
        return k, v


class RMSNorm(nn.Module):
    """x / rms(x) * weight."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last axis."""
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)


def rope(positions: Tensor, width: int, base: float) -> tuple[Tensor, Tensor]:
    """Return cosine and sine, (B, 1, T, hd / 2) each, of rotary position embedding."""
    speed = base ** (-torch.arange(0, width, 2, device=positions.device, dtype=torch.float32) / width)  # (hd / 2,)
    angle = positions[:, None, :, None].float() * speed  # (B, 1, T, hd / 2)
    return angle.cos(), angle.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the pairs (x[i], x[i + hd / 2]) by their angles."""
    a, b = x.chunk(2, -1)  # (B, H, T, hd / 2) each
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1).to(x.dtype)


class Attention(nn.Module):
    """Causal self-attention; the mask, where there is one, keeps packed samples apart."""

    def __init__(self, c: ModelConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.width = c.heads, c.kv_heads, c.d // c.heads
        self.q = nn.Linear(c.d, c.heads * self.width, bias=False)
        self.kv = nn.Linear(c.d, 2 * c.kv_heads * self.width, bias=False)
        self.out = nn.Linear(c.d, c.d, bias=False)

    def forward(
        self, x: Tensor, turn: tuple[Tensor, Tensor], mask: Tensor | None, cache: Cache | None, layer: int
    ) -> Tensor:
        """(B, T, d) -> (B, T, d); mask (B, 1, T, T_kv) is true where a key may be read, None means causal."""
        B, T, d = x.shape
        q = self.q(x).view(B, T, self.heads, self.width).transpose(1, 2)  # (B, H, T, hd)
        k, v = self.kv(x).view(B, T, 2 * self.kv_heads, self.width).transpose(1, 2).chunk(2, 1)  # (B, G, T, hd) each
        q, k = rotate(q, *turn), rotate(k, *turn)
        if cache is not None:
            k, v = cache.extend(layer, k, v)  # (B, G, T_kv, hd)
        groups = self.heads // self.kv_heads
        if groups > 1:
            k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)  # (B, H, T_kv, hd)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)  # (B, H, T, hd)
        out: Tensor = self.out(y.transpose(1, 2).reshape(B, T, d))
        return out


class SwiGLU(nn.Module):
    """silu(gate) * up, then down."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.gate_up = nn.Linear(width, 2 * inner, bias=False)
        self.down = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(.., d) -> (.., d)."""
        gate, up = self.gate_up(x).chunk(2, -1)  # (.., ffn) each
        out: Tensor = self.down(F.silu(gate) * up)
        return out


class Layer(nn.Module):
    """Self-attention and FFN, each behind a norm and added to the stream; fusion may put a block before or between."""

    def __init__(self, c: ModelConfig) -> None:
        super().__init__()
        self.attention_norm, self.attention = RMSNorm(c.d, c.norm_eps), Attention(c)
        self.ffn_norm, self.ffn = RMSNorm(c.d, c.norm_eps), SwiGLU(c.d, c.ffn)


class Decoder(nn.Module):
    """The language model. Input and output embeddings are one matrix."""

    def __init__(self, c: ModelConfig) -> None:
        super().__init__()
        self.config = c
        self.embed = nn.Embedding(c.vocab, c.d)
        self.layers = nn.ModuleList(Layer(c) for _ in range(c.layers))
        self.norm = RMSNorm(c.d, c.norm_eps)
        for name, p in self.named_parameters():
            if p.ndim == 2:  # GPT-2's: what writes into the stream is scaled down with the number of writers
                deep = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(p, std=0.02 / math.sqrt(2 * c.layers) if deep else 0.02)

    def forward(
        self,
        x: Tensor,
        positions: Tensor,
        mask: Tensor | None = None,
        *,
        cache: Cache | None = None,
        before_layer: Mapping[int, Block] | None = None,
        after_attention: Mapping[int, Block] | None = None,
    ) -> Tensor:
        """Embeddings (B, T, d) and positions (B, T) -> hidden states (B, T, d), normalised, ready for `logits`."""
        before, after = before_layer or {}, after_attention or {}
        turn = rope(positions, self.config.d // self.config.heads, self.config.rope_base)
        for i, layer in enumerate(self.layers):
            assert isinstance(layer, Layer)
            if i in before:
                x = before[i](x)
            x = x + layer.attention(layer.attention_norm(x), turn, mask, cache, i)
            if i in after:
                x = after[i](x)
            x = x + layer.ffn(layer.ffn_norm(x))
        out: Tensor = self.norm(x)
        return out

    def logits(self, hidden: Tensor) -> Tensor:
        """(.., d) -> (.., V)."""
        return F.linear(hidden, self.embed.weight)

    def text_only(self, ids: Tensor) -> Tensor:
        """Ids (B, T) -> logits (B, T, V), with nothing of ours in between: the reference for tests of exactness."""
        positions = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
        return self.logits(self(self.embed(ids), positions))


def packing_mask(segments: Tensor) -> Tensor:
    """Segments (B, T) -> (B, 1, T, T), true where position q may read position k: earlier, and of the same sample."""
    T = segments.shape[1]
    same = segments[:, :, None] == segments[:, None, :]
    return (same & torch.ones(T, T, dtype=torch.bool, device=segments.device).tril())[:, None]

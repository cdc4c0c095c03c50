"""NVLM-D, -X and -H: how image tokens reach the decoder.

    B, T    rows, decoder positions      N, K    tiles in the batch, tokens per tile
    T_kv    keys of the cross-attention  4c, d   width of an image token, of the decoder
    H, hd   heads, head width            m       tokens per tile tag

                    D                    X                        H
    in the decoder  tiles + thumbnail    nothing                  thumbnail
    in the keys     nothing              tiles + thumbnail        tags + tiles
    projector       two layers           one layer                two layers

What stands where is decided in `batch.py`; the one place where the architectures differ here is `NVLM.__init__` and `NVLM.keys`.
"""

import functools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainer.batch import IGNORE, Batch
from trainer.config import ModelConfig
from trainer.decoder import Block, Cache, Decoder, RMSNorm, SwiGLU, packing_mask
from trainer.tokenizer import IM_END, PAD


def projector(c: ModelConfig) -> nn.Module:
    """4c -> d. Two layers as NVLM-D's released code has them, or X's single one."""
    if c.arch == "X":
        return nn.Linear(c.features, c.d)
    return nn.Sequential(
        nn.LayerNorm(c.features),
        nn.Linear(c.features, c.projector_ffn, bias=False),
        nn.GELU(),
        nn.Linear(c.projector_ffn, c.d, bias=False),
    )


class GatedCrossAttention(nn.Module):
    """x + tanh(gate) * attention(norm(x), keys), gate 0 at first; a position that may read no key gets exactly nothing."""

    def __init__(self, c: ModelConfig) -> None:
        super().__init__()
        self.heads, self.width = c.xattn_heads, c.d // c.xattn_heads
        self.norm = RMSNorm(c.d, c.norm_eps)
        self.q = nn.Linear(c.d, c.d, bias=False)
        self.kv = nn.Linear(c.d, 2 * c.d, bias=False)
        self.out = nn.Linear(c.d, c.d, bias=False)
        self.gate = nn.Parameter(torch.zeros(()))
        self.q_norm = RMSNorm(self.width, c.norm_eps) if c.xattn_qk_norm else nn.Identity()
        self.k_norm = RMSNorm(self.width, c.norm_eps) if c.xattn_qk_norm else nn.Identity()
        if c.xattn_ffn:
            self.ffn_norm, self.ffn = RMSNorm(c.d, c.norm_eps), SwiGLU(c.d, c.ffn)
            self.ffn_gate = nn.Parameter(torch.zeros(()))
        self.has_ffn = c.xattn_ffn
        for p in self.parameters():
            if p.ndim == 2:
                nn.init.normal_(p, std=0.02)

    def keys(self, kv: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T_kv, d) -> keys and values, (B, H, T_kv, hd) each. Computed once per image, however long the answer."""
        B, T_kv, _ = kv.shape
        k, v = self.kv(kv).view(B, T_kv, 2 * self.heads, self.width).transpose(1, 2).chunk(2, 1)
        return self.k_norm(k), v

    def read(self, x: Tensor, k: Tensor, v: Tensor, visible: Tensor) -> Tensor:
        """Return what the positions of x (B, T, d) read, before the gate; visible is (B, T, T_kv)."""
        B, T, d = x.shape
        q = self.q_norm(self.q(self.norm(x)).view(B, T, self.heads, self.width).transpose(1, 2))  # (B, H, T, hd)
        some = visible.any(-1, keepdim=True)  # (B, T, 1)
        # Softmax over nothing is NaN: such a row reads everything and is then thrown away, gradient and all.
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=(visible | ~some)[:, None])  # (B, H, T, hd)
        y = self.out(y.transpose(1, 2).reshape(B, T, d))
        return torch.where(some, y, 0.0)

    def forward(self, x: Tensor, k: Tensor, v: Tensor, visible: Tensor) -> Tensor:
        """(B, T, d) -> (B, T, d)."""
        x = x + torch.tanh(self.gate) * self.read(x, k, v, visible)
        if self.has_ffn:
            y = torch.where(visible.any(-1, keepdim=True), self.ffn(self.ffn_norm(x)), 0.0)
            x = x + torch.tanh(self.ffn_gate) * y
        return x


@dataclass
class _Eyes:
    """What cross-attention needs of one batch: keys and values per layer, and who may read them."""

    keys: dict[int, tuple[Tensor, Tensor]]
    visible: Tensor  # (B, T, T_kv)


class NVLM(nn.Module):
    """A decoder that sees. The frozen vision encoder stays outside: its features arrive with the batch."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = c = config
        self.decoder = Decoder(c)
        self.projector = projector(c)
        self.xattn = nn.ModuleDict({str(i): GatedCrossAttention(c) for i in c.xattn_layers})  # empty in D
        if c.arch == "H" and c.h_binding == "positions":
            self.kv_position = nn.Parameter(torch.randn(c.max_tiles * (c.tokens + 16), c.d) * 0.02)

    def embed(self, batch: Batch) -> tuple[Tensor, _Eyes | None]:
        """Return the decoder's input (B, T, d) and what cross-attention reads; None if no row has a key."""
        x = self.decoder.embed(batch.ids)  # (B, T, d)
        if not len(batch.features):
            return x, None
        image = self.projector(batch.features)  # (N K, d)
        if len(batch.image_at):
            flat = x.reshape(-1, x.shape[-1])  # (B T, d)
            x = flat.index_copy(0, batch.image_at, image[batch.image_from].to(x.dtype)).view_as(x)
        if not self.xattn or not batch.kv_ids.shape[1]:
            return x, None
        kv = self.keys(batch, image)  # (B, T_kv, d)
        return x, _Eyes({i: self._xattn(i).keys(kv) for i in self.config.xattn_layers}, batch.visible)

    def keys(self, batch: Batch, image: Tensor) -> Tensor:
        """Return the key/value stream (B, T_kv, d): image tokens, and in H the tags, bound to their tiles."""
        c = self.config
        kv = image[batch.kv_from.clamp(min=0)]  # (B, T_kv, d)
        if c.arch == "X":
            return kv
        if c.tags == "1d":
            is_tag = (batch.kv_from < 0)[..., None]
            if c.h_binding == "pooled-tag":
                pooled = self.decoder.embed(batch.tags).mean(1)  # (max_tiles + 1, d)
                kv = kv + pooled[batch.kv_tile]
            kv = torch.where(is_tag, self.decoder.embed(batch.kv_ids), kv)
        if c.h_binding == "positions":
            kv = kv + self.kv_position[batch.kv_place]
        return kv

    def hidden(self, batch: Batch) -> Tensor:
        """Return the decoder's last hidden states (B, T, d)."""
        x, eyes = self.embed(batch)
        mask = None if batch.segments is None else packing_mask(batch.segments)
        return self._decode(x, batch.positions, mask, eyes)

    def logits(self, batch: Batch) -> Tensor:
        """Return all logits (B, T, V): for tests and small things; training needs only those of trained positions."""
        return self.decoder.logits(self.hidden(batch))

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return hidden states (B, T, d) and the loss: summed over trained tokens, divided by their number."""
        hidden = self.hidden(batch)
        sums, counts = self._losses(hidden, batch)
        return hidden, sums.sum() / counts.sum().clamp(min=1)

    @torch.no_grad()
    def losses(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return per row the summed loss and the number of trained tokens, (B,) each."""
        return self._losses(self.hidden(batch), batch)

    def _losses(self, hidden: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        target = batch.labels[:, 1:]  # position t predicts the token at t + 1
        trained = target != IGNORE  # (B, T - 1)
        row = trained.nonzero()[:, 0]
        # The head is the dearest part, so it is asked for the trained positions only.
        logits = self.decoder.logits(hidden[:, :-1][trained])  # (trained, V)
        each = F.cross_entropy(logits.float(), target[trained], reduction="none")
        return each.new_zeros(len(hidden)).index_add(0, row, each), trained.sum(1)

    def _xattn(self, layer: int) -> GatedCrossAttention:
        module = self.xattn[str(layer)]
        assert isinstance(module, GatedCrossAttention)
        return module

    def _decode(
        self, x: Tensor, positions: Tensor, mask: Tensor | None, eyes: _Eyes | None, cache: Cache | None = None
    ) -> Tensor:
        blocks: dict[int, Block] = {}
        if eyes is not None:
            for i, (k, v) in eyes.keys.items():
                blocks[i] = functools.partial(self._xattn(i), k=k, v=v, visible=eyes.visible)
        place = "before_layer" if self.config.xattn_position == "before-layer" else "after_attention"
        hidden: Tensor = self.decoder(x, positions, mask, cache=cache, **{place: blocks})
        return hidden

    @torch.no_grad()
    def generate(self, batch: Batch, max_new_tokens: int) -> list[list[int]]:
        """Continue every row greedily until `<|im_end|>` (not returned) or `max_new_tokens`.

        Prompts (`encode_sample(prompt=True)`, one per row) are padded on the right; new tokens go behind the padding,
        with the positions that follow the prompt, and a mask that hides the padding.
        """
        assert batch.segments is None, "packed rows cannot be continued"
        x, eyes = self.embed(batch)
        B, T, _ = x.shape
        device, ends = x.device, batch.lengths
        cache = Cache()
        hidden = self._decode(x, batch.positions, None, eyes, cache)
        last = hidden[torch.arange(B, device=device), ends - 1]  # (B, d)
        if eyes is not None:  # what follows reads what the prompt's last position reads
            eyes.visible = eyes.visible[torch.arange(B, device=device), ends - 1][:, None]  # (B, 1, T_kv)
        known = (torch.arange(T, device=device) < ends[:, None])[:, None, None]  # (B, 1, 1, T)
        out: list[Tensor] = []
        done = torch.zeros(B, dtype=torch.bool, device=device)
        for step in range(max_new_tokens):
            token = self.decoder.logits(last).argmax(-1)  # (B,)
            done |= token == IM_END
            out.append(token.masked_fill(done, PAD))
            if step + 1 == max_new_tokens or bool(done.all()):
                break
            known = torch.cat([known, known.new_ones(B, 1, 1, 1)], -1)
            new = self.decoder.embed(token)[:, None]  # (B, 1, d)
            last = self._decode(new, (ends + step)[:, None], known, eyes, cache)[:, 0]
        rows = torch.stack(out, 1).tolist() if out else [[] for _ in range(B)]
        # PAD is never predicted text: a row ends at its first one.
        return [row[: row.index(PAD)] if PAD in row else row for row in rows]

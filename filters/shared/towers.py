"""The two towers of an open_clip model, made cheaper without changing what they compute but for the last bits.

- Attention: `nn.MultiheadAttention` transposes its input, and where weights need no gradient torch then copies them once per
  text. Ours keeps the batch first: one matrix product, fused attention, one matrix product.
- Texts: in a causal tower that pools at the end mark nothing behind the mark counts, so a text goes in cut to its own length
  (in steps of 16 tokens) instead of padded to 77. A tower that looks ahead or pools elsewhere gets its texts whole.
- Pictures travel as bytes and become numbers on the device, in the same arithmetic as torchvision's `ToTensor` and `Normalize`.
- bfloat16 on GPUs and on CPUs with AMX tiles (3 to 4 times as fast there); with AVX512-BF16 alone it is slower than float32,
  and a network below ten million weights gains nothing.
"""

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from catalog.errors import UserError

if TYPE_CHECKING:
    import torch

Array = npt.NDArray[Any]

PRECISIONS = ("auto", "bf16", "fp32")
STEP = 16  # tokens
_LARGE = 10_000_000  # weights
STRIP = 64


def dtype(precision: str, model: Any, device: str) -> "torch.dtype":
    """Return the number format that `precision` names, or that suits the device and the network (`auto`)."""
    import torch

    if precision not in PRECISIONS:
        msg = f"`precision` is `{precision}`; expected one of {', '.join(PRECISIONS)}"
        raise UserError(msg, usage=True)
    if precision != "auto":
        return torch.bfloat16 if precision == "bf16" else torch.float32
    if device.startswith("cuda"):
        return torch.bfloat16
    large = sum(p.numel() for p in model.parameters()) >= _LARGE
    return torch.bfloat16 if large and amx() else torch.float32


def amx() -> bool:
    """Tell whether this CPU multiplies matrices of bfloat16 in tiles."""
    import torch

    return bool(getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)())


def quicken(model: Any) -> Any:
    """Give the transformer blocks of `model` the cheaper attention; return `model`."""
    import torch
    from open_clip.transformer import ResidualAttentionBlock

    for block in model.modules():
        if not isinstance(block, ResidualAttentionBlock) or hasattr(block, "ln_1_kv"):
            continue
        attention = block.attn
        plain = isinstance(attention, torch.nn.MultiheadAttention) and attention._qkv_same_embed_dim
        if plain and attention.batch_first and attention.bias_k is None and not attention.add_zero_attn:
            attention.forward = functools.partial(_attend, attention)
    return model


def _attend(
    attention: Any, query: Any, key: Any, value: Any, *, need_weights: bool = False, attn_mask: Any = None
) -> Any:
    """Self-attention, batch first: what `nn.MultiheadAttention` computes for a block of open_clip."""
    import torch.nn.functional as F

    B, L, D = query.shape
    heads = attention.num_heads
    qkv = F.linear(query, attention.in_proj_weight, attention.in_proj_bias)
    q, k, v = qkv.view(B, L, 3, heads, D // heads).permute(2, 0, 3, 1, 4)
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=attn_mask)
    return attention.out_proj(mixed.transpose(1, 2).reshape(B, L, D)), None


# -- texts -------------------------------------------------------------------------------------------------------------


def end_mark(model: Any) -> Callable[[Array], Array] | None:
    """Return the function from token ids (n, context) to how many of each text count; None where all of them do."""
    tower = _causal(model)
    if tower is None:
        return None
    eos = getattr(tower, "text_eos_id", getattr(tower, "eos_id", None))
    if _pool(tower) == "argmax":
        return lambda ids: ids.argmax(1) + 1
    return lambda ids: (ids == eos).argmax(1) + 1


def _pool(tower: Any) -> str:
    return str(getattr(tower, "text_pool_type", getattr(tower, "pool_type", "")))


def _causal(model: Any) -> Any:
    """Return the module with the parts of a causal text tower that pools at its end mark, or None."""
    from open_clip.model import CLIP
    from open_clip.transformer import TextTransformer, Transformer

    tower = model if type(model) is CLIP else getattr(model, "text", None)
    if not isinstance(tower, CLIP | TextTransformer) or type(tower.transformer) is not Transformer:
        return None
    special = getattr(tower, "cls_emb", None) is not None or getattr(tower, "use_pad_mask", False)
    if special or tower.attn_mask is None or _pool(tower) not in ("argmax", "eos"):
        return None
    return tower


def encode_text(model: Any, ids: "torch.Tensor") -> Any:
    """Return what `model.encode_text` does, for texts that may be cut behind their end marks."""
    tower = _causal(model)
    if tower is None:
        return model.encode_text(ids)
    from open_clip.transformer import text_global_pool

    kind = tower.transformer.get_cast_dtype()
    length = ids.shape[1]
    x = tower.token_embedding(ids).to(kind) + tower.positional_embedding[:length].to(kind)
    x = tower.ln_final(tower.transformer(x, attn_mask=tower.attn_mask[:length, :length]))
    eos = getattr(tower, "text_eos_id", getattr(tower, "eos_id", None))
    x = text_global_pool(x, ids, _pool(tower), eos_token_id=eos)
    projection = tower.text_projection
    if projection is None:
        return x
    return projection(x) if callable(projection) else x @ projection


def rounded(length: int, context: int) -> int:
    """Return the length that a text of `length` tokens is padded to."""
    return min(context, -(-length // STEP) * STEP)


# -- pictures ----------------------------------------------------------------------------------------------------------


def _middle(picture: Array) -> Array:
    """Return the middle of a strip thinner than 1:64: resized whole, it would take gigabytes or lose its last row."""
    h, w = picture.shape[:2]
    for axis, long, short in ((0, h, w), (1, w, h)):
        if long > STRIP * short:
            start = (long - STRIP * short) // 2
            return picture.take(range(start, start + STRIP * short), axis)
    return picture


def split(preprocess: Any) -> tuple[Callable[[Array], Array], Callable[["torch.Tensor"], "torch.Tensor"]]:
    """Return open_clip's transform in two halves: a picture to what travels, and a batch of that to numbers.

    Whatever does not end in `ToTensor` and `Normalize` runs whole in the first half.
    """
    import torch
    from open_clip.transform import MaybeToTensor
    from torchvision.transforms import Normalize, ToTensor

    steps = list(getattr(preprocess, "transforms", []))
    to_tensor, scale = (steps[-2], steps[-1]) if len(steps) > 1 else (None, None)
    if not isinstance(to_tensor, MaybeToTensor | ToTensor) or not isinstance(scale, Normalize):
        return lambda p: preprocess(Image.fromarray(_middle(p))).numpy(), lambda x: x

    def small(picture: Array) -> Array:
        image: Any = Image.fromarray(_middle(picture))
        for step in steps[:-2]:
            image = step(image)
        return np.asarray(image)

    mean, std = (torch.tensor(v, dtype=torch.float32).view(1, 3, 1, 1) for v in (scale.mean, scale.std))

    def numbers(x: "torch.Tensor") -> "torch.Tensor":
        y = x.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
        return y.div_(255).sub_(mean.to(y.device)).div_(std.to(y.device))

    return small, numbers

"""What a model is. Every choice that the NVLM paper (arXiv 2409.11402) leaves open is a field here, with its default and why.

The names of the three architectures:
    D   image tokens are unrolled in the decoder's sequence and read by self-attention
    X   no image token enters the decoder; gated cross-attention reads them all
    H   the thumbnail is unrolled in the decoder, the regular tiles are read by gated cross-attention
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from catalog.errors import UserError, unknown_keys, wrong_kinds

Arch = Literal["D", "X", "H"]
ARCHS: tuple[Arch, ...] = ("D", "X", "H")
STAGES = (0, 1, 2)


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The shape of one model. Frozen: a checkpoint carries it whole."""

    arch: Arch = "D"

    # The eye: a frozen ViT that sees tiles. The numbers come from the CLIP folder (`VisionEncoder.config_fields`).
    tile: int = 64
    """S: side of a tile in pixels (NVLM 448)."""
    patch: int = 8
    """Side of a ViT patch in pixels (NVLM 14); S / patch must be even, because pixel shuffle joins 2x2 patches."""
    vision_width: int = 128
    """c: width of the ViT (NVLM 3200)."""
    max_tiles: int = 6
    """Largest grid, without the thumbnail."""

    # The decoder.
    vocab: int = 2048
    d: int = 128
    layers: int = 4
    heads: int = 4
    kv_heads: int = 2
    """Grouped queries: `heads / kv_heads` queries share one key and value head."""
    ffn: int = 384
    """Inner width of SwiGLU."""
    rope_base: float = 10_000.0
    """NVLM's backbones use 1e6 and 5e6 for long contexts; ours are a few hundred tokens long."""
    norm_eps: float = 1e-6

    # From eye to decoder.
    projector_ffn: int = 256
    """f: inner width of the two-layer projector of D and H. X has one linear layer."""
    tags: Literal["1d", "none"] = "1d"
    """Tile tags: `<tile_1>` .. `<tile_6>`, `<tile_global_thumbnail>` (paper's best), or none."""

    # Gated cross-attention (X, H). NVLM gives no formula; these follow the Flamingo family.
    every_n: int = 2
    """A cross-attention in every n-th decoder layer: after layer indices i with (i + 1) % n == 0 (NVLM: layers / 10)."""
    xattn_position: Literal["after-self-attention", "before-layer"] = "after-self-attention"
    """OPEN. Figure 3 stacks self-attention, gated cross-attention, FFN; open_flamingo puts it before the layer."""
    xattn_ffn: bool = False
    """OPEN. A gated FFN of its own after the cross-attention, as Flamingo has. Off: the layer's FFN follows anyway."""
    xattn_heads: int = 4
    """OPEN. Query heads of the cross-attention; as many key and value heads (no grouping)."""
    xattn_qk_norm: bool = False
    """OPEN. RMS norm per head on queries and keys, as Llama 3.2 Vision has and Flamingo has not."""
    text_to_tiles: Literal["all-preceding", "last-image"] = "all-preceding"
    """OPEN. What text after an image reads: every tile and thumbnail of all images before it, or of the last one (Flamingo)."""
    x_thumbnail_tag: bool = True
    """OPEN. Whether X's thumbnail has its own tag in the decoder. A one-tile image is its own thumbnail."""
    h_thumbnail_tag: bool = True
    """OPEN. Whether H's thumbnail carries D's global tag. Yes: then H with one tile is D exactly."""
    h_thumbnail_attends_tiles: bool = True
    """OPEN. Whether the thumbnail's positions (tag and tokens) are queries into the tiles of their own image."""
    h_binding: Literal["pooled-tag", "positions", "none"] = "pooled-tag"
    """OPEN. Cross-attention reads a set: a tag that merely lies beside its tile's tokens is not bound to them (trap 24).
    `pooled-tag` adds the mean of the tag's embeddings to each of the tile's K tokens; `positions` adds a learned vector per
    place in the keys; `none` leaves them unbound, for the ablation."""

    def __post_init__(self) -> None:
        """Refuse shapes that no model can have."""
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                msg = f"`{name}` is {getattr(self, name)!r}; expected one of {', '.join(map(repr, allowed))}"
                raise UserError(msg, usage=True)
        wrong = [
            (self.tile % (2 * self.patch) != 0, f"tile {self.tile} is not a multiple of 2 x patch {self.patch}"),
            (self.d % self.heads != 0, f"d {self.d} is not a multiple of heads {self.heads}"),
            (self.d % self.xattn_heads != 0, f"d {self.d} is not a multiple of xattn_heads {self.xattn_heads}"),
            (
                (self.d // max(self.heads, 1)) % 2 != 0,
                f"d / heads = {self.d // max(self.heads, 1)} is odd; RoPE needs pairs",
            ),
            (self.heads % self.kv_heads != 0, f"heads {self.heads} is not a multiple of kv_heads {self.kv_heads}"),
            (not 1 <= self.max_tiles <= 6, f"max_tiles {self.max_tiles} is not within 1..6: there are six tile tags"),
            (
                self.arch != "D" and not self.xattn_layers,
                f"every_n {self.every_n} leaves no cross-attention in {self.layers} layers",
            ),
        ]
        for bad, msg in wrong:
            if bad:
                msg_0 = f"model config: {msg}"
                raise UserError(msg_0, usage=True)

    @property
    def tokens(self) -> int:
        """K: image tokens per tile after pixel shuffle."""
        return (self.tile // self.patch // 2) ** 2

    @property
    def features(self) -> int:
        """4c: width of an image token after pixel shuffle."""
        return 4 * self.vision_width

    @property
    def xattn_layers(self) -> tuple[int, ...]:
        """Indices of the decoder layers that have a gated cross-attention; none in D."""
        return () if self.arch == "D" else tuple(i for i in range(self.layers) if (i + 1) % self.every_n == 0)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "ModelConfig":
        """Build from `to_dict`'s result; an unknown key is an error that names the nearest one."""
        unknown_keys(fields, (f.name for f in dataclasses.fields(cls)), "the model config")
        wrong_kinds(fields, dataclasses.asdict(cls()), "the model config")
        return cls(**fields)


_CHOICES: dict[str, tuple[str, ...]] = {
    "arch": ARCHS,
    "tags": ("1d", "none"),
    "xattn_position": ("after-self-attention", "before-layer"),
    "text_to_tiles": ("all-preceding", "last-image"),
    "h_binding": ("pooled-tag", "positions", "none"),
}


class _Parameters(Protocol):
    config: ModelConfig

    def named_parameters(self) -> Any: ...


def trainable(model: _Parameters, stage: int) -> list[str]:
    """Return the names of the parameters that `stage` trains: the freeze map of NVLM's tables 10 and 11.

    | stage               | D               | X                       | H                       |
    |---------------------|-----------------|-------------------------|-------------------------|
    | 0 text alone        | decoder         | decoder                 | decoder                 |
    | 1 pretraining       | projector       | x-attn + projector      | x-attn + projector      |
    | 2 fine-tuning (SFT) | 1 + decoder     | 1 + decoder             | 1 + decoder             |

    The vision encoder is no part of the model here: it is frozen in every stage. X's table says "X-attn"; its one-layer
    projector is counted to it, as section 4.5 of the paper words it. Stage 0 stands for the instruct LLM that NVLM starts from.
    """
    if stage not in STAGES:
        msg = f"stage {stage} is unknown; expected one of {STAGES}"
        raise UserError(msg, usage=True)
    eyes = ("projector.", "xattn.", "kv_position")
    prefixes = {0: ("decoder.",), 1: eyes, 2: (*eyes, "decoder.")}[stage]
    return [name for name, _ in model.named_parameters() if name.startswith(prefixes)]


def decays(name: str, dimensions: int) -> bool:
    """Say whether weight decay touches this parameter: matrices only, never gates, norms or learned positions."""
    return dimensions >= 2 and not name.startswith("kv_position")

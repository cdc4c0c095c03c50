"""Checkpoints: one file, tensors and plain values only, there whole or not at all.

    {"format", "model": {name: tensor}, "moments": {name: {"exp_avg": tensor, ...}}, "meta": {...}}

It is read with `weights_only=True`, so that a checkpoint from elsewhere runs no code. `meta` names what made it: mixture
lock, config digest, backbone digest, position.
"""

import hashlib
import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from catalog.errors import UserError
from catalog.files import atomic

FORMAT = "cuvee-checkpoint-1"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Weights, and what is needed to go on from them."""

    model: Mapping[str, Tensor]
    meta: Mapping[str, Any]  # JSON values: lock, config, backbone, stage, position, ...
    moments: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)  # AdamW's, by parameter name

    @property
    def digest(self) -> str:
        """sha256 of the weights alone: two runs that ended in the same model have the same one."""
        return weights_digest(self.model)


def config_digest(value: Any) -> str:
    """Return the sha256 of a settings value as JSON with sorted keys; Python writes the shortest decimal of a float.

    Not `catalog.digests`: that needs a package which a training machine may not have.
    """
    return hashlib.sha256(
        json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    ).hexdigest()


def weights_digest(weights: Mapping[str, Tensor]) -> str:
    """Return the sha256 over (name, type, shape, bytes) of all tensors, by name."""
    h = hashlib.sha256()
    for name in sorted(weights):
        tensor = weights[name].detach().cpu().contiguous()
        head = f"{name}|{tensor.dtype}|{tuple(tensor.shape)}\n".encode()
        h.update(len(head).to_bytes(4, "big") + head)
        h.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return h.hexdigest()


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write `checkpoint` to `path` atomically."""
    value = {
        "format": FORMAT,
        "model": {k: v.detach().cpu() for k, v in checkpoint.model.items()},
        "moments": {k: {n: t.detach().cpu() for n, t in v.items()} for k, v in checkpoint.moments.items()},
        "meta": dict(checkpoint.meta),
    }
    with atomic(path) as f:
        torch.save(value, f)


def load(path: Path) -> Checkpoint:
    """Read what `save` wrote; raise `UserError` when the file is missing, damaged or something else."""
    try:
        value = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        msg = f"no such checkpoint: `{path}`"
        raise UserError(msg) from None
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as e:
        msg = f"damaged checkpoint `{path}`: {str(e).splitlines()[0] if str(e) else type(e).__name__}"
        raise UserError(msg, hint="remove the file and run the same command again") from None
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        msg = f"`{path}` is not a checkpoint that `cuvee train` wrote"
        raise UserError(msg)
    return Checkpoint(model=value["model"], moments=value["moments"], meta=value["meta"])

"""Small heads over CLIP image vectors, read from the files that people publish them in. No code in a file is ever run.

A head is a chain of linear layers, with an optional normalisation of its input, from
- `.safetensors`, or `.pth`/`.pt` (torch, weights only): tensors named `<layer>.weight` and `<layer>.bias`, layers in the order
  of the numbers in their names, as in LAION's `sac+logos+ava1-l14-linearMSE.pth` (`layers.0.weight`, `layers.2.weight`, ...) and
  `sa_0_4_vit_l_14_linear.pth` (`weight`, `bias`), and in the torch version of its NSFW detector (`norm.mean`,
  `norm.variance`, `linear_1.weight`, ...);
- `.h5`/`.weights.h5` of Keras, through h5py (`pip install 'cuvee[heads]'`): the same chain, kernels transposed, a
  `Normalization` in front.

What no file says is what stands between the layers: nothing (`none`, as in LAION's aesthetic predictor) or `relu`. Dropout does
nothing when a head is used. The arithmetic is float64 and row by row.
"""

import functools
import importlib
import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from catalog.errors import UserError
from filters.shared import clip
from filters.shared.embed import OVER, embed
from filters.shared.embed import over as fold
from filters.shared.images import Images
from filters.shared.text import has_image

Array = npt.NDArray[Any]

BETWEEN = ("none", "relu")
_MEAN, _VARIANCE, _STD = (re.compile(rf"(?:^|\.){n}$") for n in ("mean", "var(?:iance)?", "std"))


@dataclass(frozen=True, kw_only=True)
class Head:
    """Layers as (weight (out, in), bias (out,)), after `(x - mean) * scale`."""

    layers: tuple[tuple[Array, Array], ...]
    mean: Array
    scale: Array

    @property
    def width(self) -> int:
        """How wide a vector it takes."""
        return int(self.layers[0][0].shape[1])

    def score(self, vectors: Array, between: str) -> Array:
        """Return one number per vector, before any sigmoid."""
        out = np.empty(len(vectors))
        for k, v in enumerate(vectors):  # a product of matrices may add in another order for another number of rows
            x = (v.astype(np.float64) - self.mean) * self.scale
            for n, (weight, bias) in enumerate(self.layers):
                if n and between == "relu":
                    x = np.maximum(x, 0.0)
                x = weight @ x + bias
            out[k] = x[0]
        return out


def load(path: str) -> Head:
    """Return the head in the file `path`; raise `UserError` when it is no chain of layers down to one number."""
    where = Path(path)
    if not where.is_file():
        msg = f"no such head: `{path}`"
        raise UserError(msg, hint="`head_path` is a .safetensors, .pth or .h5 file with the weights of a small network")
    return _load(where, where.stat().st_mtime_ns)


@functools.lru_cache(maxsize=8)
def _load(path: Path, stamp: int) -> Head:
    try:
        tensors = _keras(path) if path.suffix in (".h5", ".hdf5", ".keras") else _torch(path)
    except (UserError, ImportError):
        raise
    except Exception as e:
        said = str(e).strip().splitlines()
        msg = f"cannot read the head `{path}`: {said[0][:200] if said else type(e).__name__}"
        raise UserError(msg, hint="save it as .safetensors, or as a state dict of tensors with torch.save") from e
    return _chain(tensors, path)


def _torch(path: Path) -> dict[str, Array]:
    if path.suffix == ".safetensors":
        from safetensors.numpy import load_file

        return {k: np.asarray(v, np.float64) for k, v in load_file(path).items()}
    import torch

    found: Any = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(found, Mapping) and isinstance(found.get("state_dict"), Mapping):
        found = found["state_dict"]
    if not isinstance(found, Mapping):
        msg = f"`{path}` holds no state dict"
        raise UserError(msg)
    return {str(k): v.double().numpy() for k, v in found.items() if isinstance(v, torch.Tensor)}


def _keras(path: Path) -> dict[str, Array]:
    try:
        h5py: Any = importlib.import_module("h5py")
    except ImportError:
        msg = f"reading `{path}` needs h5py, which is not installed"
        raise UserError(msg, hint="pip install 'cuvee[heads]', or convert the head to .safetensors") from None
    found: dict[str, Array] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim in (1, 2):
            found[name.replace("/", ".").removesuffix(":0")] = np.asarray(item, np.float64)

    with h5py.File(path, "r") as f:
        f.visititems(visit)
    out: dict[str, Array] = {}
    for name, value in found.items():
        layer, _, part = name.rpartition(".")
        if part == "kernel":
            out[f"{layer}.weight"] = value.T
        elif part in ("bias", "mean", "variance"):
            out[name] = value
    return out


def _numbers(name: str) -> tuple[int, ...]:
    return tuple(int(n) for n in re.findall(r"\d+", name))


def _chain(tensors: Mapping[str, Array], path: Path) -> Head:
    weights = sorted(
        (k for k, v in tensors.items() if k.endswith("weight") and v.ndim == 2), key=lambda k: (_numbers(k), k)
    )
    layers = []
    for name in weights:
        bias = tensors.get(name.removesuffix("weight") + "bias")
        layers.append((tensors[name], np.zeros(len(tensors[name])) if bias is None else bias.reshape(-1)))
    fits = all(a[0].shape[0] == b[0].shape[1] for a, b in itertools.pairwise(layers))
    if not layers or not fits or layers[-1][0].shape[0] != 1:
        shapes = ", ".join(f"{n} {tensors[n].shape}" for n in weights) or "no layers"
        msg = f"`{path}` is no chain of linear layers from a vector to one number: {shapes}"
        raise UserError(msg)
    width = layers[0][0].shape[1]

    def first(pattern: re.Pattern[str]) -> Array | None:
        return next((v.reshape(-1) for k, v in sorted(tensors.items()) if pattern.search(k) and v.size == width), None)

    mean, variance, std = first(_MEAN), first(_VARIANCE), first(_STD)
    if std is None:  # Keras bounds the deviation from below in the same way
        std = np.ones(width) if variance is None else np.maximum(np.sqrt(variance), 1e-7)
    return Head(layers=tuple(layers), mean=np.zeros(width) if mean is None else mean, scale=1.0 / std)


def rate(
    batch: pa.RecordBatch,
    images: Images,
    model: str | None,
    arch: str | None,
    precision: str,
    head_path: str | None,
    between: str,
    over: str,
) -> tuple[Array, Array]:
    """Return the head's output of each sample's images, folded by `over`, and which samples it applies to."""
    for name, value, choices in (("over", over, OVER), ("between", between, BETWEEN)):
        if value not in choices:
            msg = f"`{name}` is `{value}`; expected one of {', '.join(choices)}"
            raise UserError(msg, usage=True)
    if model is None:
        return np.zeros(batch.num_rows), np.zeros(batch.num_rows, bool)
    if head_path is None:
        msg = "a head over CLIP vectors scores nothing without its weights"
        raise UserError(msg, hint="`params: {head_path: ...}` names a .safetensors, .pth or .h5 file", usage=True)
    head = load(head_path)
    applies = has_image(batch)
    found = embed(batch, images, clip.load(model, arch=arch, precision=precision), applies)
    if len(found.images) and found.images.shape[1] != head.width:
        msg = f"the head `{head_path}` takes vectors of {head.width} numbers; the model `{model}` gives {found.images.shape[1]}"
        raise UserError(msg, hint="use the model that the head was trained with", usage=True)
    return fold(over, found.row, head.score(found.images, between), batch.num_rows), applies

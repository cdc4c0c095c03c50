"""One adapter over open_clip: pictures and texts in, unit vectors out.

A model is named by one of
- a folder that `curate.fit_clip` wrote, or any folder in open_clip's own layout (`open_clip_config.json` and weights);
- a checkpoint file, with `arch` naming its architecture (`ViT-B-32`);
- `<arch>/<pretrained tag>` of open_clip (`ViT-B-32/openai`) or `hf-hub:<owner>/<repo>`, fetched at first use.

On CPU every picture and every text goes through the network by itself, on one thread: a score depends neither on its
neighbours in a batch nor on the number of workers. (A matrix product of another shape may add in another order.) On a GPU
they go in batches of a fixed size, padded, in bfloat16; scores there agree with the CPU's to about two decimals.
"""

import contextlib
import functools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from catalog.errors import UserError, nearest
from filters.base import remote_model
from filters.shared.images import Pixels
from filters.shared.words import WordTokenizer

if TYPE_CHECKING:
    import torch

Vectors = npt.NDArray[np.float32]
CONFIG = "open_clip_config.json"  # open_clip's own names, so that its `local-dir:` schema reads our folders as well
WEIGHTS = "open_clip_model.safetensors"
TOKENIZER = "words.json"
BANK = "bank.safetensors"
GPU_BATCH = 64


class Tokenizer(Protocol):
    """Texts to token ids."""

    def __call__(self, texts: list[str]) -> "torch.Tensor":
        """Return the padded ids, one row per text."""
        ...


@dataclass(frozen=True, kw_only=True)
class Bank:
    """Reference embeddings of trusted pairs, row by row: what a text or picture is compared against."""

    images: Vectors
    texts: Vectors


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A loaded model."""

    name: str
    model: Any
    preprocess: Any
    tokenizer: Tokenizer
    device: str
    bank: Bank | None = None

    def images(self, pictures: Sequence[Pixels]) -> Vectors:
        """Return one unit vector per picture (uint8 H x W x 3)."""
        import torch

        def prepare(chunk: Sequence[Pixels]) -> "torch.Tensor":
            return torch.stack([self.preprocess(Image.fromarray(p)) for p in chunk])

        return self._run(pictures, prepare, self.model.encode_image)

    def texts(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector per text; equal texts are encoded once."""
        unique = list(dict.fromkeys(texts))
        place = {t: i for i, t in enumerate(unique)}
        vectors = self._run(unique, lambda chunk: self.tokenizer(list(chunk)), self.model.encode_text)
        out: Vectors = vectors[[place[t] for t in texts]]
        return out

    def encode(self, pictures: Sequence[Pixels], texts: Sequence[str]) -> tuple[Vectors, Vectors]:
        """Return the unit vectors of `pictures` and of `texts`."""
        return self.images(pictures), self.texts(texts)

    def _run(self, items: Sequence[Any], prepare: Any, forward: Any) -> Vectors:
        import torch

        size = GPU_BATCH if self.device != "cpu" else 1
        out = []
        with torch.inference_mode(), one_thread():
            for start in range(0, len(items), size):
                chunk = list(items[start : start + size])
                real = len(chunk)
                chunk += chunk[-1:] * (size - real)
                batch = prepare(chunk).to(self.device)
                with torch.autocast("cuda", torch.bfloat16, enabled=self.device != "cpu"):
                    y = forward(batch)
                out.append(y.float().cpu().numpy()[:real])
        if not out:
            return np.zeros((0, 0), np.float32)
        v = np.concatenate(out).astype(np.float64)
        # Row by row: a sum over a row of a matrix may be split differently for matrices of different heights.
        norms = np.asarray([np.sqrt((r * r).sum()) for r in v])
        unit: Vectors = (v / np.maximum(norms, 1e-12)[:, None]).astype(np.float32)
        return unit


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread and put the old number back."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def load(name: str, *, arch: str | None = None, device: str | None = None) -> Clip:
    """Return the model called `name`, loaded once per process; raise `UserError` when it cannot be had."""
    path = Path(name)
    stamp = max((p.stat().st_mtime_ns for p in path.iterdir()), default=0) if path.is_dir() else 0
    return _load(str(name), arch, device or _device(), stamp)


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


@functools.lru_cache(maxsize=2)
def _load(name: str, arch: str | None, device: str, stamp: int) -> Clip:
    path = Path(name)
    if path.is_dir():
        return _from_folder(path, device)
    if path.is_file():
        return _from_checkpoint(path, arch, device)
    if not remote_model(name):
        msg = f"no such CLIP model: `{name}`"
        hint = "name a folder, a checkpoint, an open_clip model as `ViT-B-32/openai` or `hf-hub:owner/repo`"
        raise UserError(msg, hint=f"{hint}; `curate.fit_clip` trains one on your own data")
    return _from_hub(name, device)


def _from_folder(folder: Path, device: str) -> Clip:
    import open_clip

    if not (folder / CONFIG).is_file():
        msg = f"`{folder}` is no CLIP folder: it has no `{CONFIG}`"
        raise UserError(msg)
    try:
        config = json.loads((folder / CONFIG).read_text())
        if not (folder / TOKENIZER).is_file():
            model, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{folder}", device=device)
            tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
        else:
            from safetensors.torch import load_file

            model = build(config["model_cfg"])
            model.load_state_dict(load_file(folder / WEIGHTS))
            preprocess = transform(config)
            tokenizer = WordTokenizer.load(folder / TOKENIZER)
    except UserError:
        raise
    except Exception as e:
        msg = f"cannot read the CLIP model in `{folder}`: {_brief(e)}"
        raise UserError(msg) from e
    return Clip(
        name=str(folder),
        model=model.to(device).eval(),
        preprocess=preprocess,
        tokenizer=tokenizer,
        device=device,
        bank=_bank(folder / BANK),
    )


def _bank(path: Path) -> Bank | None:
    if not path.is_file():
        return None
    from safetensors.numpy import load_file

    tensors = load_file(path)
    return Bank(images=tensors["images"], texts=tensors["texts"])


def _from_checkpoint(path: Path, arch: str | None, device: str) -> Clip:
    import open_clip

    if arch is None:
        msg = f"the checkpoint `{path}` needs the name of its architecture"
        raise UserError(msg, hint="set the filter's parameter `arch`, as `arch: ViT-B-32`", usage=True)
    _check_arch(arch)
    try:
        model, preprocess = open_clip.create_model_from_pretrained(arch, pretrained=str(path), device=device)
        tokenizer = open_clip.get_tokenizer(arch)
    except Exception as e:
        msg = f"cannot load `{path}` as `{arch}`: {_brief(e)}"
        raise UserError(msg) from e
    return Clip(name=str(path), model=model.eval(), preprocess=preprocess, tokenizer=tokenizer, device=device)


def _from_hub(name: str, device: str) -> Clip:
    import open_clip

    try:
        if name.startswith("hf-hub:"):
            model, preprocess = open_clip.create_model_from_pretrained(name, device=device)
            tokenizer = open_clip.get_tokenizer(name)
        else:
            arch, tag = name.split("/")
            _check_arch(arch)
            tags = open_clip.list_pretrained_tags_by_model(arch)
            if tag not in tags:
                msg = f"open_clip has no weights `{tag}` for `{arch}`{nearest(tag, tags)}"
                raise UserError(msg, usage=True)
            model, preprocess = open_clip.create_model_from_pretrained(arch, pretrained=tag, device=device)
            tokenizer = open_clip.get_tokenizer(arch)
    except UserError:
        raise
    except Exception as e:
        msg = f"cannot fetch the CLIP model `{name}`: {_brief(e)}"
        hint = "without a network, name a folder or a checkpoint, or train one on your own data (`curate.fit_clip`)"
        raise UserError(msg, hint=hint) from e
    return Clip(name=name, model=model.eval(), preprocess=preprocess, tokenizer=tokenizer, device=device)


def _check_arch(arch: str) -> None:
    import open_clip

    if arch not in open_clip.list_models():
        msg = f"open_clip has no architecture `{arch}`{nearest(arch, open_clip.list_models())}"
        raise UserError(msg, usage=True)


def _brief(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def build(model_cfg: dict[str, Any]) -> Any:
    """Return an open_clip model, untrained, from its configuration."""
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

    return CLIP(
        embed_dim=model_cfg["embed_dim"],
        vision_cfg=CLIPVisionCfg(**model_cfg["vision_cfg"]),
        text_cfg=CLIPTextCfg(**model_cfg["text_cfg"]),
    )


def transform(config: dict[str, Any]) -> Any:
    """Return open_clip's own picture transform for evaluation, from a folder's configuration."""
    from open_clip.transform import PreprocessCfg, image_transform_v2

    size = config["model_cfg"]["vision_cfg"]["image_size"]
    return image_transform_v2(PreprocessCfg(size=size, **config["preprocess_cfg"]), is_train=False)

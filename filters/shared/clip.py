"""One adapter over open_clip: pictures and texts in, unit vectors out.

A model is named by one of
- a folder that `curate.fit_clip` wrote, or any folder in open_clip's own layout (`open_clip_config.json` and weights);
- a checkpoint file, with `arch` naming its architecture (`ViT-B-32`);
- `<arch>/<pretrained tag>` of open_clip (`ViT-B-32/openai`) or `hf-hub:<owner>/<repo>`, fetched at first use.

On CPU a vector depends on its picture or text alone, bit by bit, not on its neighbours or the number of workers; on a GPU it
agrees with the CPU's to about two decimals (`filters/shared/forward.py` says how, `filters/shared/towers.py` what is made
cheaper). `precision`: `fp32`, `bf16`, or `auto`: bf16 where the device is faster with it, at about two decimals as well.
"""

import contextlib
import functools
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from catalog.errors import UserError, nearest
from filters.base import remote_model
from filters.shared import towers
from filters.shared.forward import CPU_BATCH, Forward, ahead
from filters.shared.images import Pixels
from filters.shared.words import WordTokenizer

if TYPE_CHECKING:
    import torch

Vectors = npt.NDArray[np.float32]
CONFIG = "open_clip_config.json"  # open_clip's own names, so that its `local-dir:` schema reads our folders as well
WEIGHTS = "open_clip_model.safetensors"
TOKENIZER = "words.json"
BANK = "bank.safetensors"
ROOM = 512  # inputs that are prepared ahead of a GPU; of a CPU two batches


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
    dtype: "torch.dtype"
    bank: Bank | None = None

    def images(self, pictures: Iterable[Pixels]) -> Vectors:
        """Return one unit vector per picture (uint8 H x W x 3)."""
        return self.encode(pictures, ())[0]

    def texts(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector per text; equal texts are encoded once."""
        return self.encode((), texts)[1]

    def encode(self, pictures: Iterable[Pixels], texts: Sequence[str]) -> tuple[Vectors, Vectors]:
        """Return the unit vectors of `pictures` and of `texts`.

        While the network runs, the next pictures are taken (decoded, where `pictures` decodes) and made small in a
        thread of their own.
        """
        import torch

        unique = list(dict.fromkeys(texts))
        order: list[int] = []  # of the texts, as they go in: by length
        seen: list[Vectors] = []
        said: list[Vectors] = []

        def inputs() -> Iterator[npt.NDArray[Any]]:
            yield from map(self._halves[0], pictures)
            for place, ids in self._tokens(unique):
                order.append(place)
                yield ids

        room = 2 * CPU_BATCH if self.device == "cpu" else ROOM
        with torch.inference_mode(), one_thread():
            # Pictures have three dimensions and texts have one; equal shapes stand together.
            for shape, group in itertools.groupby(ahead(inputs(), room), lambda x: x.shape):
                out, forward = (seen, self._pictures) if len(shape) > 1 else (said, self._texts)
                out.extend(forward.run(group))
        vectors = _unit(said)
        place = {unique[at]: n for n, at in enumerate(order)}
        return _unit(seen), vectors[[place[t] for t in texts]]

    def _tokens(self, texts: list[str]) -> list[tuple[int, npt.NDArray[np.int64]]]:
        """Return (number of the text, its token ids), by length; cut behind the end mark where the model allows it."""
        if not texts:
            return []
        ids = self.tokenizer(texts).numpy().astype(np.int64)
        ends = towers.end_mark(self.model)
        context = ids.shape[1]
        sizes = [context] * len(texts) if ends is None else [towers.rounded(int(n), context) for n in ends(ids)]
        return [(n, ids[n, : sizes[n]]) for n in sorted(range(len(texts)), key=lambda n: (sizes[n], n))]

    @functools.cached_property
    def _halves(self) -> tuple[Any, Any]:
        return towers.split(self.preprocess)

    @functools.cached_property
    def _pictures(self) -> Forward:
        def network(batch: npt.NDArray[Any]) -> Any:
            return self._out(self.model.encode_image(self._halves[1](self._there(batch)).to(self.dtype)))

        return self._forward(network)

    @functools.cached_property
    def _texts(self) -> Forward:
        return self._forward(lambda ids: self._out(towers.encode_text(self.model, self._there(ids))))

    def _there(self, batch: npt.NDArray[Any]) -> "torch.Tensor":
        import torch

        x = torch.from_numpy(batch)
        if self.device.startswith("cuda"):  # from pinned memory the copy does not wait for the GPU
            return x.pin_memory().to(self.device, non_blocking=True)
        return x.to(self.device)

    def _forward(self, network: Any) -> Forward:
        if self.device == "cpu":
            return Forward(network=network, fetch=_fetch, grows=False)
        import torch

        weights = sum(p.numel() for p in self.model.parameters())
        card = torch.cuda.get_device_name(self.device) if self.device.startswith("cuda") else self.device
        return Forward(
            network=network, fetch=_fetch, grows=True, identity=f"{card} {torch.__version__} {weights} {self.dtype}"
        )

    def _out(self, y: Any) -> Any:
        return (y[0] if isinstance(y, tuple) else y).float()


def _fetch(y: Any) -> Vectors:
    out: Vectors = y.cpu().numpy()
    return out


def _unit(vectors: Sequence[Vectors]) -> Vectors:
    if not vectors:
        return np.zeros((0, 0), np.float32)
    v = np.stack(vectors).astype(np.float64)
    unit: Vectors = (v / np.maximum(np.sqrt((v * v).sum(1)), 1e-12)[:, None]).astype(np.float32)
    return unit


def cosines(a: Vectors, b: Vectors) -> npt.NDArray[np.float64]:
    """Return the cosine of each row of unit vectors `a` with that row of `b`; each depends on its two rows alone."""
    if not len(a):  # of no width either
        return np.zeros(0)
    out: npt.NDArray[np.float64] = (a.astype(np.float64) * b.astype(np.float64)).sum(1)
    return out


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


def load(name: str, *, arch: str | None = None, device: str | None = None, precision: str = "auto") -> Clip:
    """Return the model called `name`, loaded once per process; raise `UserError` when it cannot be had."""
    path = Path(name)
    stamp = max((p.stat().st_mtime_ns for p in path.iterdir()), default=0) if path.is_dir() else 0
    return _load(str(name), arch, device or _device(), precision, stamp)


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


@functools.lru_cache(maxsize=2)
def _load(name: str, arch: str | None, device: str, precision: str, stamp: int) -> Clip:
    path = Path(name)
    if path.is_dir():
        return _from_folder(path, device, precision)
    if path.is_file():
        return _from_checkpoint(path, arch, device, precision)
    if not remote_model(name):
        msg = f"no such CLIP model: `{name}`"
        hint = "name a folder, a checkpoint, an open_clip model as `ViT-B-32/openai` or `hf-hub:owner/repo`"
        raise UserError(msg, hint=f"{hint}; `curate.fit_clip` trains one on your own data")
    return _from_hub(name, device, precision)


def made(
    name: str,
    model: Any,
    preprocess: Any,
    tokenizer: Tokenizer,
    *,
    device: str = "cpu",
    precision: str = "auto",
    bank: Bank | None = None,
) -> Clip:
    """Return the adapter over a model of open_clip, moved to its device and number format."""
    kind = towers.dtype(precision, model, device)
    return Clip(
        name=name,
        model=towers.quicken(model.eval()).to(device=device, dtype=kind),
        preprocess=preprocess,
        tokenizer=tokenizer,
        device=device,
        dtype=kind,
        bank=bank,
    )


def _from_folder(folder: Path, device: str, precision: str) -> Clip:
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
    bank = _bank(folder / BANK)
    return made(str(folder), model, preprocess, tokenizer, device=device, precision=precision, bank=bank)


def _bank(path: Path) -> Bank | None:
    if not path.is_file():
        return None
    from safetensors.numpy import load_file

    tensors = load_file(path)
    return Bank(images=tensors["images"], texts=tensors["texts"])


def _from_checkpoint(path: Path, arch: str | None, device: str, precision: str) -> Clip:
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
    return made(str(path), model, preprocess, tokenizer, device=device, precision=precision)


def _from_hub(name: str, device: str, precision: str) -> Clip:
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
    return made(name, model, preprocess, tokenizer, device=device, precision=precision)


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

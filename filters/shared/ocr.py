"""An OCR engine on the CPU: RapidOCR with the models that its package brings, nothing fetched.

The package (https://github.com/RapidAI/RapidOCR, Apache-2.0) is the extra `ocr`. Its detector, classifier of upside-down lines
and recogniser are PaddleOCR's (arXiv 2009.09941) as ONNX files. The files are named outright: a package that lacks them is an
error here, where RapidOCR itself would go and download.
"""

import functools
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from catalog.errors import UserError
from filters.shared.images import Pixels

MODELS = "PP-OCRv6_small"
KEPT = 256  # pages whose reading is remembered
_CLASSIFIER = "ch_ppocr_mobile_v2.0_cls_mobile.onnx"


@dataclass(frozen=True, kw_only=True)
class Lines:
    """What the engine read in one picture: lines from the top, from the left within a row."""

    texts: tuple[str, ...]
    quads: npt.NDArray[np.float32]  # n x 8, pixels of the picture handed in, clockwise from the top left
    confidence: npt.NDArray[np.float32]  # 0..1


NOTHING = Lines(texts=(), quads=np.zeros((0, 8), np.float32), confidence=np.zeros(0, np.float32))


@functools.cache
def engine(models: str = MODELS, threads: int = 1) -> Callable[[Pixels], Lines]:
    """Return a function that reads a picture; raise `UserError` without the package or its models."""
    if importlib.util.find_spec("rapidocr") is None or importlib.util.find_spec("onnxruntime") is None:
        msg = "reading pictures needs RapidOCR: pip install 'cuvee[ocr]'"
        raise UserError(msg)
    import rapidocr  # type: ignore[import-not-found,unused-ignore]

    folder = Path(str(rapidocr.__file__)).parent / "models"
    family, _, size = models.rpartition("_")
    files = {
        "Det.model_path": folder / f"{family}_det_{size}.onnx",
        "Rec.model_path": folder / f"{family}_rec_{size}.onnx",
        "Cls.model_path": folder / _CLASSIFIER,
    }
    for path in files.values():
        if not path.exists():
            there = sorted(p.name for p in folder.glob("*.onnx"))
            msg = f"this rapidocr does not bring `{path.name}` (it brings {', '.join(there)}): pip install 'rapidocr==3.10.0'"
            raise UserError(msg)
    settings: dict[str, Any] = {
        "Global.log_level": "critical",
        "EngineConfig.onnxruntime.intra_op_num_threads": threads,
        "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        **{name: str(path) for name, path in files.items()},
    }
    read = rapidocr.RapidOCR(params=settings)

    kept: dict[bytes, Lines] = {}  # a page stands in many samples, of many batches, and takes seconds

    def lines(picture: Pixels) -> Lines:
        key = sha256(f"{picture.shape}".encode() + picture.tobytes()).digest()
        if key not in kept:
            if len(kept) >= KEPT:
                kept.pop(next(iter(kept)))
            kept[key] = page(picture)
        return kept[key]

    def page(picture: Pixels) -> Lines:
        found = read(np.ascontiguousarray(picture[:, :, ::-1]))  # it wants BGR
        if not found.txts or found.boxes is None:
            return NOTHING
        return Lines(
            texts=tuple(found.txts),
            quads=np.asarray(found.boxes, np.float32).reshape(-1, 8),
            confidence=np.asarray(found.scores, np.float32),
        )

    return lines

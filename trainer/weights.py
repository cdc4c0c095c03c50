"""Reads safetensors files: 8 bytes of header length, a JSON header, raw little-endian tensors. Never unpickles anything.

The format is https://github.com/huggingface/safetensors#format; reading it is all that a training machine needs.
"""

import json
import math
import struct
from pathlib import Path

import torch
from torch import Tensor

from catalog.errors import UserError

_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip


def read_safetensors(path: Path, prefix: str = "") -> dict[str, Tensor]:
    """Return the tensors of `path` whose names start with `prefix`, the prefix cut off."""
    try:
        with path.open("rb") as f:
            (length,) = struct.unpack("<Q", f.read(8))
            if length > 100_000_000:
                raise ValueError(length)
            header = json.loads(f.read(length))
            data = bytearray(f.read())
    except FileNotFoundError as e:
        msg = f"no weights at `{path}`"
        raise UserError(msg) from e
    except (ValueError, struct.error) as e:
        msg = f"`{path}` is not a safetensors file"
        raise UserError(msg) from e
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__" or not name.startswith(prefix):
            continue
        try:
            dtype, shape, (start, end) = _DTYPES[entry["dtype"]], entry["shape"], entry["data_offsets"]
        except (KeyError, TypeError, ValueError) as e:
            msg = f"`{path}` holds tensor `{name}` of a kind that is not read here"
            raise UserError(msg) from e
        if not 0 <= start <= end <= len(data) or end - start != math.prod(shape) * dtype.itemsize:
            msg = f"`{path}` is truncated: tensor `{name}` lies outside of the file or has the wrong size"
            raise UserError(msg)
        if start == end:
            tensors[name[len(prefix) :]] = torch.empty(shape, dtype=dtype)
            continue
        flat = torch.frombuffer(memoryview(data)[start:end], dtype=torch.uint8).clone()  # cloned: aligned, and its own
        tensors[name[len(prefix) :]] = flat.view(dtype).reshape(shape)
    return tensors

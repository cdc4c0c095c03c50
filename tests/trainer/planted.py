"""A stand-in for `mixtures.loader.Loader` over made-up samples, and a small CLIP folder, for tests of training.

A "lock" here is a JSON file {"seed", "samples", "defects"}: the mixture is made from it, so that it travels as a path.
"""

import functools
import hashlib
import io
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw

from trainer.vision import VisionConfig, VisionEncoder

COLORS = {"red": (220, 30, 30), "green": (30, 180, 60), "blue": (40, 70, 230), "yellow": (230, 210, 40)}
TASKS = ("caption", "vqa", "math", "text")


def row(name: str, task: str, messages: list[dict[str, str]], data: bytes | None = None) -> dict[str, Any]:
    media = [] if data is None else [{"kind": "image", "digest": hashlib.sha256(data).hexdigest(), "data": data}]
    return {"id": name, "task": task, "messages": messages, "media": media}


def turn(question: str, answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def picture(rng: random.Random, color: str, count: int, size: tuple[int, int]) -> bytes:
    image = Image.new("RGB", size, (rng.randint(200, 255),) * 3)
    draw = ImageDraw.Draw(image)
    for i in range(count):
        x, y = 4 + i * (size[0] - 8) // max(count, 1), rng.randint(4, size[1] - 16)
        draw.rectangle((x, y, x + 9, y + 9), fill=COLORS[color])
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


@functools.cache
def make(seed: int, at: int, defects: int, side: int) -> dict[str, Any]:
    """`defects` of 100 samples say something false or nothing at all."""
    rng = random.Random(f"{seed}/{at}")
    task = TASKS[at % len(TASKS)]
    bad = rng.randrange(100) < defects
    color, count = rng.choice(list(COLORS)), rng.randint(1, 4)
    said_color, said_count = (rng.choice(list(COLORS)), rng.randint(1, 4)) if bad else (color, count)
    a, b = rng.randint(1, 9), rng.randint(1, 9)
    if task == "math":
        messages = turn(f"What is {a} + {b}?", f"{a} + {b} = {a + b + (rng.randint(1, 5) if bad else 0)}")
    elif task == "text":
        word = rng.choice(["apples", "boats", "cats"])
        messages = turn(f"Say {word} three times.", "zq xv " * 4 if bad else f"{word} {word} {word}")
    elif task == "vqa":
        messages = turn("<image>\nHow many squares are there?", str(said_count))
    else:
        messages = turn("<image>\nDescribe the picture.", f"There are {said_count} {said_color} squares.")
    if "<image>" not in messages[0]["content"]:
        return row(f"toy/{seed}-{at:05d}", task, messages)
    data = picture(rng, color, count, rng.choice([(side, side), (2 * side, side), (side, 2 * side)]))
    return row(f"toy/{seed}-{at:05d}", task, messages, data)


class Planted:
    def __init__(self, lock: Path) -> None:
        self.spec = json.loads(lock.read_text())
        self.only = self.spec.get("task")
        self.id = "sha256:" + hashlib.sha256(lock.read_bytes()).hexdigest()
        self.at = [
            i for i in range(self.spec["samples"] * (len(TASKS) if self.only else 1))
            if not self.only or TASKS[i % len(TASKS)] == self.only
        ]  # fmt: skip

    def __len__(self) -> int:
        return len(self.at)

    def fetch(self, positions: Sequence[int]) -> list[dict[str, Any]]:
        return [make(self.spec["seed"], self.at[p], self.spec["defects"], self.spec.get("side", 32)) for p in positions]

    def samples(self) -> Iterator[dict[str, Any]]:
        return iter(self.fetch(range(len(self))))

    def read(self, medium: Mapping[str, Any]) -> bytes:
        return bytes(medium["data"])


def lock(
    folder: Path, name: str, *, samples: int, seed: int, defects: int = 0, task: str | None = None, side: int = 32
) -> Path:
    path = folder / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"seed": seed, "samples": samples, "defects": defects, "task": task, "side": side}))
    return path


def clip(folder: Path, *, tile: int = 32, patch: int = 8, width: int = 32, layers: int = 1) -> Path:
    """Write an untrained image tower the way open_clip saves one."""
    folder.mkdir(parents=True, exist_ok=True)
    encoder = VisionEncoder.random(
        VisionConfig(tile=tile, patch=patch, width=width, layers=layers, head_width=16), seed=0
    )
    vision = {"image_size": tile, "patch_size": patch, "width": width, "layers": layers, "head_width": 16}
    config = {"model_cfg": {"embed_dim": 8, "vision_cfg": vision, "text_cfg": {}}, "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    names, blobs, at = {}, [], 0
    for name, value in encoder.state_dict().items():
        theirs = name.replace("blocks.", "transformer.resblocks.").replace(".attn_out.", ".attn.out_proj.")
        theirs = theirs.replace(".c_fc", ".mlp.c_fc").replace(".c_proj", ".mlp.c_proj")
        raw = value.to(torch.float32).numpy().astype(np.float32).tobytes()
        names[f"visual.{theirs}"] = {"dtype": "F32", "shape": list(value.shape), "data_offsets": [at, at + len(raw)]}
        at += len(raw)
        blobs.append(raw)
    header = json.dumps(names).encode()
    (folder / "open_clip_model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"".join(blobs))
    return folder

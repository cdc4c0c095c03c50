"""Tiny CLIP models for the tests of filters over CLIP."""

import itertools
from pathlib import Path

import numpy as np

from curate import fit_clip
from tests.filters.pictures import Memory, encode, pairs, samples

WIDTH = 16
TINY = {
    "image_size": 32,
    "width": 32,
    "layers": 1,
    "embed_dim": WIDTH,
    "text_width": 32,
    "steps": 3,
    "batch": 16,
    "bank": 8,
}


def model(folder: Path) -> str:
    """Fit one in a second, into a folder that is not there yet."""
    reader = Memory()
    batch = samples([([encode(p)], t) for p, t in pairs(40)], reader)
    fit_clip.fit(iter([batch]), reader, folder, config=fit_clip.config(TINY))
    return str(folder)


def head(path: Path, widths: tuple[int, ...] = (WIDTH, 8, 1), seed: int = 0) -> str:
    """Write a head as LAION's improved aesthetic predictor is laid out: layers two numbers apart, for the dropout."""
    from safetensors.numpy import save_file

    rng = np.random.default_rng(seed)
    layers = {}
    for k, (a, b) in enumerate(itertools.pairwise(widths)):
        layers[f"layers.{2 * k}.weight"] = rng.normal(size=(b, a)).astype(np.float32)
        layers[f"layers.{2 * k}.bias"] = rng.normal(size=b).astype(np.float32)
    save_file(layers, path)
    return str(path)

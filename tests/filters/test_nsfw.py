import numpy as np
import pytest

from filters.base import load
from filters.shared import clip, heads
from filters.shared.images import Images
from tests.filters import tiny
from tests.filters.pictures import Memory, encode, pairs, samples


def contract_params(folder, samples, reader):
    return {"model": tiny.model(folder / "model"), "head_path": tiny.head(folder / "head.safetensors")}


def test_is_the_sigmoid_of_the_head_and_the_worst_image_counts(tmp_path) -> None:
    model, path = tiny.model(tmp_path / "model"), tiny.head(tmp_path / "head.safetensors")
    shown = [p for p, _ in pairs(4, seed=5)]
    reader = Memory()
    batch = samples([([encode(p) for p in shown], ""), *(([encode(p)], "") for p in shown), ([], "")], reader)
    logits = heads.load(path).score(clip.load(model).images(shown), "relu")
    want = 1 / (1 + np.exp(-logits))
    got = load("nsfw", {"model": model, "head_path": path}).score(batch, Images.read(batch, reader))["nsfw"]
    assert got.to_pylist()[:5] == pytest.approx([want.max(), *want], abs=1e-5)
    assert got[5].as_py() is None
    assert load("nsfw").bounds == {"nsfw": (None, 0.5)}

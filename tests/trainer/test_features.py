import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from catalog.errors import UserError
from trainer.features import Features, compute
from trainer.vision import VisionConfig, VisionEncoder

TILE = 16


class Counting(VisionEncoder):
    calls = 0

    def encode_tiles(self, tiles: np.ndarray, chunk: int = 256) -> torch.Tensor:
        self.calls += len(tiles)
        return super().encode_tiles(tiles, chunk)


def encoder() -> Counting:
    made = Counting.random(VisionConfig(tile=TILE, patch=4, width=16, layers=1, head_width=8), seed=0)
    assert isinstance(made, Counting)
    return made


def image(seed: int, size: tuple[int, int] = (40, 20)) -> tuple[str, bytes]:
    out = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(out, "PNG")
    return hashlib.sha256(out.getvalue()).hexdigest(), out.getvalue()


def test_each_image_is_encoded_once_and_kept(tmp_path: Path) -> None:
    eye, a, b = encoder(), image(0), image(1, (20, 20))
    found = compute([a, b, a], eye, tmp_path, tile=TILE)
    assert len(found) == 2
    assert found.tiles(a[0], max_tiles=6) == 3  # 2 x 1 and the thumbnail
    assert found.tiles(a[0], max_tiles=1) == found.tiles(b[0], max_tiles=6) == 1
    assert found.get(a[0], max_tiles=6).shape == (3, 4, 64)
    assert eye.calls == 4
    again = compute([b, a, image(2)], eye, tmp_path, tile=TILE)
    assert len(again) == 3
    assert eye.calls == 4 + again.tiles(image(2)[0], max_tiles=6)
    assert torch.equal(again.get(a[0], max_tiles=6), found.get(a[0], max_tiles=6))


def test_the_thumbnail_is_the_one_tile_view(tmp_path: Path) -> None:
    eye, a = encoder(), image(0)
    six = compute([a], eye, tmp_path, tile=TILE).get(a[0], max_tiles=1)
    one = compute([a], eye, tmp_path, tile=TILE, max_tiles=1).get(a[0], max_tiles=1)
    assert torch.allclose(six, one, atol=2e-3)


def test_another_encoder_has_another_cache(tmp_path: Path) -> None:
    other = VisionEncoder.random(VisionConfig(tile=TILE, patch=4, width=16, layers=1, head_width=8), seed=1)
    a = compute([image(0)], encoder(), tmp_path, tile=TILE)
    b = compute([image(0)], other, tmp_path, tile=TILE)
    assert a.folder != b.folder
    assert not torch.equal(a.get(image(0)[0], max_tiles=6), b.get(image(0)[0], max_tiles=6))


def test_a_part_without_its_index_is_done_again(tmp_path: Path) -> None:
    found = compute([image(0)], encoder(), tmp_path, tile=TILE)
    next(found.folder.glob("*.json")).unlink()
    assert len(Features(found.folder)) == 0
    assert len(compute({image(0)[0]: lambda: image(0)[1]}, encoder(), tmp_path, tile=TILE)) == 1


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be decoded"):
        compute([("ab" * 32, b"not an image")], encoder(), tmp_path, tile=TILE)
    with pytest.raises(UserError, match="no features"):
        compute([], encoder(), tmp_path, tile=TILE).get("ab" * 32, max_tiles=6)

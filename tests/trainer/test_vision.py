import json
import struct

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from catalog.errors import UserError
from trainer.vision import VisionConfig, VisionEncoder, pixel_shuffle, pixel_unshuffle
from trainer.weights import read_safetensors

TINY = VisionConfig(tile=32, patch=8, width=32, layers=2, head_width=16)


def test_pixel_shuffle_has_v2_order_and_an_inverse():
    x = torch.randn(3, 36, 5)
    y = pixel_shuffle(x)
    assert y.shape == (3, 9, 20)
    at = x.view(3, 6, 6, 5)
    expected = torch.cat([at[:, 2, 4], at[:, 2, 5], at[:, 3, 4], at[:, 3, 5]], -1)
    assert torch.equal(y.view(3, 3, 3, 20)[:, 1, 2], expected)
    assert torch.equal(pixel_unshuffle(y), x)


def test_permuting_one_block_touches_one_token():
    x = torch.randn(1, 16, 3)
    other = x.clone()
    other[0, [0, 1, 4, 5]] = x[0, [5, 4, 1, 0]]
    changed = (pixel_shuffle(x) != pixel_shuffle(other)).any(-1)
    assert changed.tolist() == [[True, False, False, False]]


def test_pixel_shuffle_refuses_odd_sides():
    with pytest.raises(UserError, match="no square"):
        pixel_shuffle(torch.zeros(1, 9, 2))


def test_the_encoder_is_frozen_in_every_mode():
    encoder = VisionEncoder.random(TINY, 0)
    encoder.train()
    assert not encoder.training
    assert not any(p.requires_grad for p in encoder.parameters())
    tiles = np.random.default_rng(0).integers(0, 255, (3, 32, 32, 3), np.uint8)
    tokens = encoder.encode_tiles(tiles)
    assert tokens.shape == (3, 4, 128)
    assert not tokens.requires_grad
    torch.testing.assert_close(tokens, encoder.encode_tiles(tiles, chunk=2))


@pytest.mark.parametrize("quick", [False, True])
def test_same_patch_tokens_as_open_clip(tmp_path, quick):
    open_clip = pytest.importorskip("open_clip")
    torch.manual_seed(0)
    vision = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8}
    text = {"context_length": 8, "vocab_size": 64, "width": 32, "heads": 2, "layers": 1}
    clip = open_clip.model.CLIP(16, vision, text, quick_gelu=quick).eval()
    with torch.no_grad():
        for p in clip.parameters():
            p.add_(torch.randn_like(p) * 0.05)
    save_file({k: v.contiguous() for k, v in clip.state_dict().items()}, tmp_path / "open_clip_model.safetensors")
    means = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.3]}
    model_cfg = {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text, "quick_gelu": quick}
    config = {"model_cfg": model_cfg, "preprocess_cfg": means}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    encoder = VisionEncoder.from_clip(tmp_path)
    pixels = torch.randint(0, 255, (5, 3, 32, 32), dtype=torch.uint8)
    clip.visual.output_tokens = True
    mean, std = (torch.tensor(means[k]).view(1, 3, 1, 1) for k in ("mean", "std"))
    with torch.no_grad():
        _, expected = clip.visual((pixels / 255 - mean) / std)
    torch.testing.assert_close(encoder(pixels), expected, atol=1e-5, rtol=1e-5)
    assert encoder.config_fields() == {"tile": 32, "patch": 8, "vision_width": 32}

    config["model_cfg"]["vision_cfg"] = vision | {"layers": 3}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="do not agree"):
        VisionEncoder.from_clip(tmp_path)
    config["model_cfg"]["vision_cfg"] = vision | {"attentional_pool": True}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="attentional_pool"):
        VisionEncoder.from_clip(tmp_path)


def test_no_clip_there(tmp_path):
    with pytest.raises(UserError, match="no CLIP at"):
        VisionEncoder.from_clip(tmp_path)


def test_safetensors_reader_agrees_with_the_library(tmp_path):
    path = tmp_path / "x.safetensors"
    tensors = {
        "a.f32": torch.randn(3, 5), "a.bf16": torch.randn(7).bfloat16(), "b.i64": torch.arange(4), "b.scalar": torch.tensor(2.5),
        "b.empty": torch.zeros(0, 3), "b.bool": torch.tensor([True, False, True]),
    }  # fmt: skip
    save_file(tensors, path, metadata={"format": "pt"})
    read = read_safetensors(path)
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[k], tensors[k]) and read[k].dtype == tensors[k].dtype for k in tensors)
    assert read_safetensors(path, "a.").keys() == {"f32", "bf16"}

    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match="truncated"):
        read_safetensors(path)


@pytest.mark.parametrize("content", [b"", b"short", struct.pack("<Q", 5) + b"{nope", struct.pack("<Q", 1 << 60)])
def test_a_file_that_is_not_safetensors(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(UserError, match="not a safetensors"):
        read_safetensors(tmp_path / "x")

"""The adapter over open_clip, `filters/shared/clip.py`."""

import json
import shutil
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from catalog.errors import UserError
from filters.base import path_digest
from filters.shared import clip
from tests.filters.pictures import pairs


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model of a named architecture, as open_clip saves one."""
    torch.manual_seed(0)
    model = open_clip.create_model("ViT-S-32-alt")
    path = tmp_path_factory.mktemp("clip") / "weights.pt"
    torch.save(model.state_dict(), path)
    return path


def test_agrees_with_open_clip_itself(checkpoint: Path) -> None:
    network = clip.load(str(checkpoint), arch="ViT-S-32-alt", device="cpu")
    model, preprocess = open_clip.create_model_from_pretrained("ViT-S-32-alt", pretrained=str(checkpoint))
    tokenizer = open_clip.get_tokenizer("ViT-S-32-alt")
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (h, w, 3)).astype(np.uint8) for h, w in ((40, 90), (300, 200), (224, 224))]
    texts = ["a dog", "two cats on a mat", "a dog"]
    with torch.inference_mode():
        want_i = model.eval().encode_image(
            torch.stack([preprocess(Image.fromarray(p)) for p in pictures]), normalize=True
        )
        want_t = model.encode_text(tokenizer(texts), normalize=True)
    got_i, got_t = network.encode(pictures, texts)
    assert got_i.dtype == np.float32
    assert ((got_i * want_i.numpy()).sum(1) > 0.99999).all()
    assert ((got_t * want_t.numpy()).sum(1) > 0.99999).all()
    assert np.allclose(np.linalg.norm(got_i, axis=1), 1, atol=1e-6)


def test_an_open_clip_folder_loads(checkpoint: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    config = {"model_cfg": open_clip.get_model_config("ViT-S-32-alt"), "preprocess_cfg": {"resize_mode": "squash"}}
    (tmp_path / clip.CONFIG).write_text(json.dumps(config))
    save_file(torch.load(checkpoint), tmp_path / clip.WEIGHTS)
    here = clip.load(str(tmp_path), device="cpu").texts(["a dog"])
    there = clip.load(str(checkpoint), arch="ViT-S-32-alt", device="cpu").texts(["a dog"])
    assert (here == there).all()


def test_neighbours_in_a_batch_change_nothing(checkpoint: Path) -> None:
    network = clip.load(str(checkpoint), arch="ViT-S-32-alt", device="cpu")
    pictures, texts = zip(*pairs(5), strict=True)
    together = network.encode(pictures, texts)
    for k in range(5):
        alone = network.encode(pictures[k : k + 1], texts[k : k + 1])
        assert (alone[0][0] == together[0][k]).all()
        assert (alone[1][0] == together[1][k]).all()


def test_what_cannot_be_had_is_said(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="no such CLIP model"):
        clip.load(str(tmp_path / "none"))
    with pytest.raises(UserError, match="is no CLIP folder"):
        clip.load(str(tmp_path))
    with pytest.raises(UserError, match="needs the name of its architecture"):
        clip.load(str(checkpoint))
    with pytest.raises(UserError, match="did you mean `ViT-B-32`"):
        clip.load(str(checkpoint), arch="ViT-B-3")
    with pytest.raises(UserError, match="did you mean `openai`"):
        clip.load("ViT-B-32/opnai")
    (tmp_path / "bad.pt").write_bytes(b"no weights")
    with pytest.raises(UserError, match="cannot load"):
        clip.load(str(tmp_path / "bad.pt"), arch="ViT-S-32-alt")

    def offline(*args: object, **more: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr(open_clip, "create_model_from_pretrained", offline)
    for name in ("ViT-B-32/openai", "hf-hub:someone/something"):
        with pytest.raises(UserError, match="cannot fetch"):
            clip.load(name)


def test_a_model_has_a_digest_by_content_or_by_name(checkpoint: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.pt"
    shutil.copy(checkpoint, copy)
    assert path_digest(copy) == path_digest(checkpoint)
    names = ("ViT-B-32/openai", "ViT-B-32/laion2b_s34b_b79k", "hf-hub:a/b")
    assert len({path_digest(Path(n)) for n in names}) == 3
    with pytest.raises(UserError):
        path_digest(Path("models/none"))

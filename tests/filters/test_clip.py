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
from filters.shared import clip, towers
from tests.filters.pictures import pairs


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model of a named architecture, as open_clip saves one."""
    torch.manual_seed(0)
    model = open_clip.create_model("ViT-S-32-alt")
    path = tmp_path_factory.mktemp("clip") / "weights.pt"
    torch.save(model.state_dict(), path)
    return path


@pytest.mark.parametrize(("precision", "least"), [("fp32", 0.99999), ("bf16", 0.9995)])
def test_agrees_with_open_clip_itself(checkpoint: Path, precision: str, least: float) -> None:
    network = clip.load(str(checkpoint), arch="ViT-S-32-alt", device="cpu", precision=precision)
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
    assert ((got_i * want_i.numpy()).sum(1) > least).all()
    assert ((got_t * want_t.numpy()).sum(1) > least).all()
    assert np.allclose(np.linalg.norm(got_i, axis=1), 1, atol=1e-6)


def test_an_open_clip_folder_loads(checkpoint: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    config = {"model_cfg": open_clip.get_model_config("ViT-S-32-alt"), "preprocess_cfg": {"resize_mode": "squash"}}
    (tmp_path / clip.CONFIG).write_text(json.dumps(config))
    save_file(torch.load(checkpoint), tmp_path / clip.WEIGHTS)
    here = clip.load(str(tmp_path), device="cpu").texts(["a dog"])
    there = clip.load(str(checkpoint), arch="ViT-S-32-alt", device="cpu").texts(["a dog"])
    assert (here == there).all()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_neighbours_in_a_batch_change_nothing(checkpoint: Path, precision: str) -> None:
    network = clip.load(str(checkpoint), arch="ViT-S-32-alt", device="cpu", precision=precision)
    pictures, texts = zip(*pairs(11), strict=True)
    together = network.encode(pictures, texts)
    turned = network.encode(pictures[::-1], texts[::-1])
    for k in range(11):
        alone = network.encode(pictures[k : k + 1], texts[k : k + 1])
        assert (alone[0][0] == together[0][k]).all()
        assert (alone[1][0] == together[1][k]).all()
    assert (turned[0][::-1] == together[0]).all()
    assert (turned[1][::-1] == together[1]).all()


def test_pictures_are_prepared_bit_by_bit_as_by_open_clip() -> None:
    rng = np.random.default_rng(0)
    for mode in ("shortest", "longest", "squash"):
        whole = open_clip.transform.image_transform_v2(
            open_clip.transform.PreprocessCfg(size=224, resize_mode=mode), is_train=False
        )
        small, numbers = towers.split(whole)
        for h, w in ((40, 90), (300, 200), (224, 224), (8, 512)):
            picture = rng.integers(0, 256, (h, w, 3)).astype(np.uint8)
            assert small(picture).dtype == np.uint8
            batch = torch.from_numpy(np.stack([small(picture)]))
            assert (numbers(batch)[0] == whole(Image.fromarray(picture))).all()
        for h, w in ((1, 2048), (2048, 1)):  # whole, the first would be resized to 224 x 458,752, or to nothing
            assert small(np.zeros((h, w, 3), np.uint8)).shape == (224, 224, 3)
    small, numbers = towers.split(lambda image: torch.zeros(3, 2, 2) + image.width)
    assert (numbers(small(picture)) == 512).all()


def test_a_text_may_be_cut_behind_its_end_where_nothing_looks_ahead(checkpoint: Path) -> None:
    network = clip.load(str(checkpoint), arch="ViT-S-32-alt", device="cpu", precision="fp32")
    ids = network.tokenizer(["two cats on a mat", "a dog " * 90])
    ends = towers.end_mark(network.model)
    assert ends is not None
    assert ends(ids.numpy()).tolist() == [7, 77]
    with torch.inference_mode():
        whole = network.model.encode_text(ids)
        cut = towers.encode_text(network.model, ids[:1, : towers.rounded(7, 77)])
    assert torch.allclose(cut[0], whole[0], atol=1e-5)
    assert towers.rounded(17, 77) == 32
    assert towers.rounded(70, 77) == 77
    vision = {"image_size": 32, "layers": 1, "width": 32, "head_width": 32, "patch_size": 16}
    text = {"context_length": 8, "vocab_size": 50, "width": 32, "heads": 1, "layers": 1}
    for change, cut_at_end in (({}, True), ({"no_causal_mask": True}, False), ({"pool_type": "last"}, False)):
        small = clip.build({"embed_dim": 8, "vision_cfg": vision, "text_cfg": {**text, **change}})
        assert (towers.end_mark(small) is not None) == cut_at_end


def test_precision(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = torch.nn.Linear(2, 2), torch.nn.Linear(4000, 4000)
    monkeypatch.setattr(towers, "amx", lambda: True)
    assert towers.dtype("auto", large, "cpu") == torch.bfloat16
    assert towers.dtype("auto", small, "cpu") == torch.float32
    assert towers.dtype("bf16", small, "cpu") == torch.bfloat16
    assert towers.dtype("auto", small, "cuda:1") == torch.bfloat16
    monkeypatch.setattr(towers, "amx", lambda: False)
    assert towers.dtype("auto", large, "cpu") == torch.float32
    with pytest.raises(UserError, match="expected one of auto, bf16, fp32"):
        clip.load(str(checkpoint), arch="ViT-S-32-alt", precision="fp8")


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

from pathlib import Path

import numpy as np
import pytest
import torch

from catalog.errors import UserError
from filters.base import load
from filters.shared import clip, heads
from filters.shared.images import Images
from tests.filters import tiny
from tests.filters.pictures import Memory, encode, pairs, samples


def contract_params(folder, samples, reader):
    return {"model": tiny.model(folder / "model"), "head_path": tiny.head(folder / "head.safetensors")}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny.model(tmp_path_factory.mktemp("tiny") / "model")


def score(batch, reader, **params):
    return load("aesthetic", params).score(batch, Images.read(batch, reader))["aesthetic"].to_pylist()


def test_is_the_chain_of_layers_over_the_vector(model: str, tmp_path: Path) -> None:
    path = tiny.head(tmp_path / "head.safetensors")
    (p, text), (q, _) = pairs(2, seed=5)
    reader = Memory()
    batch = samples(
        [([encode(p), encode(q)], text), ([encode(p)], ""), ([encode(q)], text), ([], text), ([b"?"], "")], reader
    )
    [a, b] = clip.load(model).images([p, q]).astype(np.float64)
    head = heads.load(path)
    (w0, b0), (w1, b1) = head.layers
    linear = [float((w1 @ (w0 @ v + b0) + b1)[0]) for v in (a, b)]
    relu = [float((w1 @ np.maximum(w0 @ v + b0, 0) + b1)[0]) for v in (a, b)]
    got = score(batch, reader, model=model, head_path=path)
    assert got[:3] == pytest.approx([np.mean(linear), *linear], abs=1e-4)
    assert got[3] is None
    assert np.isnan(got[4])
    assert score(batch, reader, model=model, head_path=path, over="max")[0] == pytest.approx(max(linear), abs=1e-4)
    assert score(batch, reader, model=model, head_path=path, between="relu")[1:3] == pytest.approx(relu, abs=1e-4)
    assert score(batch, reader, head_path=path) == [None] * 5


def test_one_pass_over_the_images_for_all_filters_of_a_model(model: str, tmp_path: Path, monkeypatch) -> None:
    reader = Memory()
    batch = samples([([encode(p)], t) for p, t in pairs(9)], reader)
    images = Images.read(batch, reader)
    network = clip.load(model)
    through = []
    forward = network.model.encode_image
    monkeypatch.setattr(network.model, "encode_image", lambda x: through.append(len(x)) or forward(x))
    load("clip_score", {"model": model}).score(batch, images)
    first = len(through)
    assert first
    load("aesthetic", {"model": model, "head_path": tiny.head(tmp_path / "a.safetensors")}).score(batch, images)
    load("nsfw", {"model": model, "head_path": tiny.head(tmp_path / "b.safetensors")}).score(batch, images)
    assert len(through) == first


def test_laions_layouts_are_read(tmp_path: Path) -> None:
    mlp = torch.nn.Sequential(
        torch.nn.Linear(768, 1024), torch.nn.Dropout(0.2), torch.nn.Linear(1024, 128), torch.nn.Dropout(0.2),
        torch.nn.Linear(128, 64), torch.nn.Dropout(0.1), torch.nn.Linear(64, 16), torch.nn.Linear(16, 1),
    ).eval()  # fmt: skip
    linear = torch.nn.Linear(768, 1)
    torch.save({f"layers.{k}": v for k, v in mlp.state_dict().items()}, tmp_path / "mlp.pth")
    torch.save(linear.state_dict(), tmp_path / "linear.pth")
    x = torch.nn.functional.normalize(torch.randn(3, 768), dim=-1)
    for name, net in (("mlp", mlp), ("linear", linear)):
        with torch.no_grad():
            want = net(x)[:, 0].numpy()
        got = heads.load(str(tmp_path / f"{name}.pth")).score(x.numpy(), "none")
        assert got == pytest.approx(want, abs=1e-5)


def test_a_normalisation_and_rectifiers(tmp_path: Path) -> None:
    widths = (768, 64, 512, 256, 1)
    rng = np.random.default_rng(0)
    state = {"norm.mean": torch.tensor(rng.normal(size=768)), "norm.variance": torch.tensor(rng.uniform(0.5, 2, 768))}
    for k in range(4):
        state[f"linear_{k + 1}.weight"] = torch.tensor(rng.normal(size=(widths[k + 1], widths[k])) / 20)
        state[f"linear_{k + 1}.bias"] = torch.tensor(rng.normal(size=widths[k + 1]))
    torch.save(state, tmp_path / "nsfw.pth")
    x = torch.tensor(rng.normal(size=(2, 768)))
    y = (x - state["norm.mean"]) / state["norm.variance"].sqrt()
    for k in range(4):
        y = y if k == 0 else y.relu()
        y = torch.nn.functional.linear(y, state[f"linear_{k + 1}.weight"], state[f"linear_{k + 1}.bias"])
    assert heads.load(str(tmp_path / "nsfw.pth")).score(x.numpy(), "relu") == pytest.approx(y[:, 0].numpy())


def test_keras_kernels_are_transposed(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    rng = np.random.default_rng(0)
    k1, k2 = rng.normal(size=(4, 3)), rng.normal(size=(3, 1))
    with h5py.File(tmp_path / "head.h5", "w") as f:
        for name, kernel in (("dense", k1), ("dense_1", k2)):
            f[f"{name}/{name}/kernel:0"] = kernel
            f[f"{name}/{name}/bias:0"] = np.zeros(kernel.shape[1])
        f["normalization/normalization/mean:0"] = np.ones(4)
        f["normalization/normalization/variance:0"] = np.full(4, 4.0)
    x = rng.normal(size=(2, 4))
    want = np.maximum((x - 1) / 2 @ k1, 0) @ k2
    assert heads.load(str(tmp_path / "head.h5")).score(x, "relu") == pytest.approx(want[:, 0])


def test_no_code_in_a_file_is_run(tmp_path: Path) -> None:
    import os
    import pickle

    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/run",)

    torch.save({"weight": Evil()}, tmp_path / "a.pth")
    (tmp_path / "b.pth").write_bytes(pickle.dumps(Evil()))
    (tmp_path / "c.pth").write_bytes(b"junk")
    (tmp_path / "d.safetensors").write_bytes(b"junk")
    for name in ("a.pth", "b.pth", "c.pth", "d.safetensors"):
        with pytest.raises(UserError, match="cannot read the head"):
            heads.load(str(tmp_path / name))
    assert not (tmp_path / "run").exists()


def test_what_does_not_fit_is_said(model: str, tmp_path: Path) -> None:
    reader = Memory()
    batch = samples([([encode(pairs(1)[0][0])], "a")], reader)
    wide = tiny.head(tmp_path / "wide.safetensors", (768, 1))
    with pytest.raises(UserError, match="takes vectors of 768 numbers"):
        score(batch, reader, model=model, head_path=wide)
    with pytest.raises(UserError, match="no chain of linear layers"):
        heads.load(tiny.head(tmp_path / "two.safetensors", (16, 2)))
    with pytest.raises(UserError, match="no such head"):
        heads.load(str(tmp_path / "none.pth"))
    with pytest.raises(UserError, match="without its weights"):
        score(batch, reader, model=model)
    with pytest.raises(UserError, match="`between` is `gelu`"):
        score(batch, reader, model=model, head_path=wide, between="gelu")

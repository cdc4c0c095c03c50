import json
import re
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.errors import UserError
from tests.trainer import planted
from trainer import checkpoint
from trainer.backbone import BackboneConfig, train_backbone
from trainer.config import ARCHS, Arch
from trainer.features import quiet
from trainer.train import (
    TrainConfig,
    first_position,
    fresh_model,
    groups,
    load_backbone,
    load_model,
    metrics,
    optimizer,
    positions,
    rate,
    stages,
    train,
)

MODEL = {
    "d": 32,
    "layers": 2,
    "heads": 2,
    "kv_heads": 1,
    "ffn": 48,
    "projector_ffn": 32,
    "every_n": 1,
    "xattn_heads": 2,
}
SMALL = BackboneConfig(vocab=400, samples=96, batch=16, threads=1, model=MODEL)


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    w = tmp_path_factory.mktemp("train")
    lock, clip = planted.lock(w, "lock", samples=48, seed=1), planted.clip(w / "clip")
    backbone = train_backbone(SMALL, locks=[lock], clip=clip, out=w / "backbone", open_lock=planted.Planted)
    return {"lock": lock, "clip": clip, "backbone": backbone, "features": w / "features", "root": w}


def run(ready: dict[str, Path], out: Path, config: TrainConfig, **more: object) -> Path:
    where = {k: ready[k] for k in ("lock", "clip", "backbone", "features")}
    return train(config, out=out, open_lock=planted.Planted, **where, **more)  # type: ignore[arg-type]


def small(arch: Arch, **more: object) -> TrainConfig:
    return TrainConfig.from_dict({"arch": arch, "seed": 1, "samples_1": 24, "samples_2": 40, "batch": 8, **more})


class KilledError(Exception):
    pass


@pytest.mark.parametrize("arch", ARCHS)
@pytest.mark.parametrize("after", [1, 4, 6])
def test_killed_and_resumed_gives_the_same_bits(
    ready: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arch: Arch, after: int
) -> None:
    config = small(arch, save_every=1)
    whole = run(ready, tmp_path / "whole", config)
    saved, save = 0, checkpoint.save

    def stop(path: Path, value: checkpoint.Checkpoint) -> None:
        nonlocal saved
        save(path, value)
        saved += 1
        if saved == after:
            raise KilledError

    monkeypatch.setattr(checkpoint, "save", stop)
    with pytest.raises(KilledError):
        run(ready, tmp_path / "cut", config)
    monkeypatch.setattr(checkpoint, "save", save)
    cut = run(ready, tmp_path / "cut", config)
    assert checkpoint.load(cut / "checkpoint.pt").digest == checkpoint.load(whole / "checkpoint.pt").digest
    a, b = (metrics(r).drop_columns(["seconds"]) for r in (whole, cut))
    assert a.equals(b)
    assert not (cut / "resume.pt").exists()


@pytest.mark.parametrize("arch", ARCHS)
def test_invariants_3_4_freeze_map_through_both_stages(ready: dict[str, Path], tmp_path: Path, arch: Arch) -> None:
    base = load_backbone(ready["backbone"])
    start = fresh_model(base, arch, seed=1).state_dict()
    one = load_model(run(ready, tmp_path, small(arch, samples_2=0)))[0].state_dict()
    two = load_model(run(ready, tmp_path, small(arch)))[0].state_dict()
    for name in start:
        if name.startswith("decoder."):
            assert torch.equal(start[name], one[name]), name
    assert any(not torch.equal(start[n], two[n]) for n in start if n.startswith("decoder."))
    assert any(not torch.equal(start[n], one[n]) for n in start if not n.startswith("decoder."))
    assert any(not torch.equal(one[n], two[n]) for n in start if not n.startswith("decoder."))


def test_gates_and_norms_do_not_decay(ready: dict[str, Path]) -> None:
    model = fresh_model(load_backbone(ready["backbone"]), "X", seed=0)
    from trainer.config import trainable

    adam = optimizer(model, trainable(model, 2), stages(small("X"))[1])
    decayed = {id(p) for p in adam.param_groups[0]["params"]}
    names = {n for n, p in model.named_parameters() if id(p) in decayed}
    assert names
    assert not any("norm" in n for n in names)
    assert not any(re.search(r"xattn\.\d+\.(ffn_)?gate$", n) for n in names)  # SwiGLU's gate is a matrix and does decay


def test_the_run_names_its_inputs(ready: dict[str, Path], tmp_path: Path) -> None:
    folder = run(ready, tmp_path, small("D"))
    meta = checkpoint.load(folder / "checkpoint.pt").meta
    assert meta["lock"] == planted.Planted(ready["lock"]).id
    assert len(meta["config_digest"]) == 64
    assert json.loads((folder / "config.json").read_text())["config_digest"] == meta["config_digest"]
    assert {p.name for p in folder.iterdir()} == {"config.json", "metrics.parquet", "checkpoint.pt"}
    stamp = (folder / "checkpoint.pt").stat().st_mtime_ns
    assert run(ready, tmp_path, small("D", save_every=3)) == folder  # how often it is saved is no part of the run
    assert (folder / "checkpoint.pt").stat().st_mtime_ns == stamp
    assert run(ready, tmp_path, small("D", seed=2)) != folder


def test_tables_10_and_11() -> None:
    d, x, h = (stages(TrainConfig(arch=a)) for a in ARCHS)
    assert [s[0].max_tiles for s in (d, x, h)] == [1, 1, 6]
    assert [s[1].max_tiles for s in (d, x, h)] == [6, 6, 6]
    assert [s[0].beta2 for s in (d, x, h)] == [0.95, 0.95, 0.98]
    assert {s[1].beta2 for s in (d, x, h)} == {0.98}
    assert [(s[0].weight_decay, s[0].clip) for s in (d, x, h)] == [(0.1, 10.0), (0.05, 1.0), (0.05, 1.0)]
    assert d[0].lr / d[0].lr_min == 4
    assert d[1].lr / d[1].lr_min == 8
    assert x[1].lr / x[1].lr_min == pytest.approx(100)
    assert x[1].lr > d[1].lr


def test_rate_warms_up_and_falls() -> None:
    rates = [rate(s, 100, high=1.0, low=0.1, warmup=0.1) for s in range(100)]
    assert rates[:10] == pytest.approx([0.1 * (i + 1) for i in range(10)])
    assert max(rates) == 1.0
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.1, abs=0.001)


def test_seeds_start_elsewhere_and_order_wraps() -> None:
    assert first_position("a", 1, 1000) != first_position("a", 2, 1000)
    assert positions(3, 4, 5) == [3, 4, 0, 1]


@pytest.mark.parametrize(
    ("fields", "words"),
    [({"ache": "D"}, "did you mean `arch`"), ({"arch": "Y"}, "expected one of D, X, H"), ({"batch": 0}, "at least 1"),
     ({"max_tiles_2": 7}, "expected 1..6")],
)  # fmt: skip
def test_wrong_settings_are_told(fields: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words) as e:
        TrainConfig.from_dict(fields)
    assert e.value.usage


def test_backbone_is_made_once_and_needs_text(ready: dict[str, Path], tmp_path: Path) -> None:
    lock, clip, root = ready["lock"], ready["clip"], ready["root"]
    again = train_backbone(SMALL, locks=[lock], clip=clip, out=root / "backbone", open_lock=planted.Planted)
    assert again == ready["backbone"]
    twin = train_backbone(SMALL, locks=[ready["lock"]], clip=ready["clip"], out=tmp_path, open_lock=planted.Planted)
    assert load_backbone(twin).digest == load_backbone(again).digest
    seen = planted.lock(tmp_path, "seen", samples=4, seed=1, task="vqa")
    with pytest.raises(UserError, match="text alone"):
        train_backbone(SMALL, locks=[seen], clip=ready["clip"], out=tmp_path, progress=quiet, open_lock=planted.Planted)


def test_stage_0_trains_the_tile_tags(ready: dict[str, Path]) -> None:
    """Trap 6: a tag that stage 0 never saw would keep its random row while the decoder is frozen."""
    from trainer.fusion import NVLM

    base = load_backbone(ready["backbone"])
    torch.manual_seed(SMALL.seed)
    start = NVLM(base.config).decoder.state_dict()
    name = next(n for n in start if "embed" in n)
    ids = sorted({i for tag in base.tokenizer.tags for i in tag})
    moved = (base.weights[f"decoder.{name}"] - start[name])[ids].abs().amax(1)
    assert (moved > 1e-3).all()


@given(st.lists(st.integers(1, 400), min_size=1, max_size=24), st.integers(1, 4))
@settings(deadline=None, max_examples=60)
def test_groups_hold_every_sample_once_and_never_pad_more_than_one_group(lengths: list[int], most: int) -> None:
    found = groups(lengths, most)
    assert sorted(i for g in found for i in g) == list(range(len(lengths)))
    assert len(found) <= most
    padded = sum(len(g) * max(lengths[i] for i in g) for g in found)
    assert padded <= len(lengths) * max(lengths)


def test_a_text_among_captions_gets_a_group_of_its_own() -> None:
    assert sorted(map(len, groups([45, 44, 46, 150] * 4))) == [4, 12]

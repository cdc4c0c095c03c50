from pathlib import Path

import pytest

from tests.trainer import planted
from tests.trainer.test_train import SMALL, run, small
from trainer.backbone import train_backbone
from trainer.evaluate import EvalConfig, evaluate_run, summary


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    w = tmp_path_factory.mktemp("evaluate")
    lock, clip = planted.lock(w, "lock", samples=48, seed=1), planted.clip(w / "clip")
    backbone = train_backbone(SMALL, locks=[lock], clip=clip, out=w / "backbone", open_lock=planted.Planted)
    return {"lock": lock, "clip": clip, "backbone": backbone, "features": w / "features"}


@pytest.mark.parametrize("arch", ["D", "X", "H"])
def test_every_item_has_a_loss_and_some_a_score(ready: dict[str, Path], tmp_path: Path, arch: str) -> None:
    folder = run(ready, tmp_path / "runs", small(arch))  # type: ignore[arg-type]
    held = {t: planted.lock(tmp_path, t, samples=6, seed=5, task=t) for t in planted.TASKS}
    where = {k: ready[k] for k in ("backbone", "clip", "features")}
    table = evaluate_run(folder, held, config=EvalConfig(generate=3, batch=4), open_lock=planted.Planted, **where)
    rows = {(r["task"], r["metric"]): r for r in summary(table)}
    assert {t: rows[t, "loss"]["items"] for t in planted.TASKS} == dict.fromkeys(planted.TASKS, 6)
    assert rows["vqa", "exact_match"]["items"] == rows["math", "numeric_match"]["items"] == 3
    assert (folder / "evaluation.parquet").exists()
    # Neither how items are put into batches nor what stands beside them changes an item's loss.
    alone = evaluate_run(folder, held, config=EvalConfig(generate=0, batch=1), open_lock=planted.Planted, **where)
    loss = {(r["task"], r["item"]): r["value"] for r in table.to_pylist() if r["metric"] == "loss"}
    for r in alone.to_pylist():
        assert r["value"] == pytest.approx(loss[r["task"], r["item"]], rel=1e-4)


def test_the_backbone_is_measured_on_text_alone(ready: dict[str, Path], tmp_path: Path) -> None:
    held = {t: planted.lock(tmp_path, t, samples=6, seed=5, task=t) for t in planted.TASKS}
    where = {k: ready[k] for k in ("backbone", "clip", "features")}
    table = evaluate_run(ready["backbone"], held, config=EvalConfig(generate=0), open_lock=planted.Planted, **where)
    assert set(table["task"].to_pylist()) == {"math", "text"}

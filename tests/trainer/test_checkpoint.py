from pathlib import Path

import pytest
import torch

from catalog.errors import UserError
from trainer.checkpoint import Checkpoint, load, save, weights_digest


def made() -> Checkpoint:
    torch.manual_seed(0)
    return Checkpoint(
        model={"w": torch.randn(3, 2), "b": torch.zeros(())},
        moments={"w": {"m": torch.ones(3, 2), "v": torch.ones(3, 2)}},
        meta={"lock": "ab", "position": 7},
    )


def test_round_trip(tmp_path: Path) -> None:
    a = made()
    save(tmp_path / "c.pt", a)
    b = load(tmp_path / "c.pt")
    assert b.meta == a.meta
    assert b.digest == a.digest
    assert torch.equal(b.moments["w"]["m"], a.moments["w"]["m"])
    assert [p.name for p in tmp_path.iterdir()] == ["c.pt"]


def test_digest_sees_every_change() -> None:
    a = made().model
    assert weights_digest(a) == weights_digest(dict(reversed(list(a.items()))))
    assert weights_digest(a) != weights_digest({**a, "b": torch.tensor(1e-30)})
    assert weights_digest(a) != weights_digest({**a, "w": a["w"].reshape(2, 3)})
    assert weights_digest(a) != weights_digest({**a, "w": a["w"].double()})


def test_a_cut_off_file_is_told(tmp_path: Path) -> None:
    save(tmp_path / "c.pt", made())
    data = (tmp_path / "c.pt").read_bytes()
    (tmp_path / "c.pt").write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match="damaged"):
        load(tmp_path / "c.pt")


def test_missing_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such checkpoint"):
        load(tmp_path / "none.pt")
    torch.save({"a": torch.ones(1)}, tmp_path / "x.pt")
    with pytest.raises(UserError, match="not a checkpoint"):
        load(tmp_path / "x.pt")


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path("/tmp/cuvee-was-here").write_text, ("x",))


def test_code_in_a_checkpoint_does_not_run(tmp_path: Path) -> None:
    torch.save({"format": "cuvee-checkpoint-1", "model": Evil()}, tmp_path / "x.pt")
    with pytest.raises(UserError, match="damaged"):
        load(tmp_path / "x.pt")
    assert not Path("/tmp/cuvee-was-here").exists()

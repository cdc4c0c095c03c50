from pathlib import Path

import numpy as np
import pytest

from catalog.errors import UserError
from curate import fit_clip
from filters.base import load
from filters.shared import clip
from filters.shared.images import Images
from filters.shared.words import BUCKETS, WordTokenizer
from tests.filters.pictures import Memory, chart, encode, samples, scene

SMALL = {
    "image_size": 32,
    "width": 64,
    "layers": 1,
    "embed_dim": 32,
    "text_width": 32,
    "steps": 5,
    "batch": 16,
    "bank": 20,
}


def corpus(n: int, seed: int) -> list[tuple[np.ndarray, str]]:
    rng = np.random.default_rng(seed)
    return [(scene, chart)[k % 2](rng, 96) for k in range(n)]


def fitted(out: Path, n: int = 60, **values: object) -> dict[str, object]:
    reader = Memory()
    batch = samples([([encode(p)], t) for p, t in corpus(n, 1)], reader)
    seen: list[tuple[int, int]] = []
    made = fit_clip.fit(
        iter([batch.slice(0, 25), batch.slice(25)]),
        reader,
        out,
        config=fit_clip.config({**SMALL, **values}),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen[-1][0] == seen[-1][1] == len(seen)
    return made


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("fit") / "model"
    fitted(out)
    return out


def test_the_same_samples_and_seed_give_the_same_bytes(model: Path, tmp_path: Path) -> None:
    fitted(tmp_path / "again")
    names = sorted(p.name for p in model.iterdir())
    assert names == sorted([clip.CONFIG, clip.WEIGHTS, clip.TOKENIZER, clip.BANK, "fit.json"])
    assert all((model / n).read_bytes() == (tmp_path / "again" / n).read_bytes() for n in names)
    fitted(tmp_path / "other", seed=1)
    assert (model / clip.WEIGHTS).read_bytes() != (tmp_path / "other" / clip.WEIGHTS).read_bytes()


def test_scores_do_not_depend_on_where_batches_are_cut(model: Path) -> None:
    reader = Memory()
    batch = samples([([encode(p)], t) for p, t in corpus(20, 3)], reader)
    flt = load("clip_score", {"model": str(model)})

    def scores(size: int) -> list[dict[str, float]]:
        cuts = [batch.slice(k, size) for k in range(0, 20, size)]
        return [row for b in cuts for row in flt.score(b, Images.read(b, reader)).to_pylist()]

    assert scores(1) == scores(7) == scores(20)
    assert all(abs(s["clip_margin"]) < 9 and s["clip_score"] == round(s["clip_score"], 5) for s in scores(20))


def test_the_tower_is_a_plain_vit_of_open_clip(model: Path) -> None:
    import open_clip

    network = clip.load(str(model), device="cpu")
    assert isinstance(network.model, open_clip.CLIP)
    assert isinstance(network.model.visual, open_clip.transformer.VisionTransformer)
    assert network.model.visual.conv1.weight.shape == (64, 3, 8, 8)


@pytest.mark.slow
def test_learns_to_tell_captions_apart(tmp_path: Path) -> None:
    made = fitted(tmp_path / "m", 400, steps=80, batch=48, width=96, layers=2, embed_dim=64, text_width=64)
    assert made["auc"] > 0.85  # type: ignore[operator]
    reader, fresh = Memory(), corpus(80, 9)
    texts = [t for _, t in fresh]
    right = samples([([encode(p)], t) for p, t in fresh], reader)
    wrong = samples([([encode(p)], texts[(k + 7) % 80]) for k, (p, _) in enumerate(fresh)], reader)
    flt = load("clip_score", {"model": str(tmp_path / "m")})
    a, b = (np.asarray(flt.score(x, Images.read(x, reader))["clip_score"].to_pylist()) for x in (right, wrong))
    assert (a[:, None] > b[None]).mean() > 0.85


def test_only_words_are_forgotten() -> None:
    import torch

    tokens = torch.tensor([[100, 101, 102, 999, 0, 0]])
    made = fit_clip._forget(tokens, 1000, 1.0, torch.Generator().manual_seed(0))
    assert made[0, 3:].tolist() == [999, 0, 0]
    assert ((made[0, :3] >= 1) & (made[0, :3] <= BUCKETS)).all()
    assert fit_clip._forget(tokens, 1000, 0.0, torch.Generator()).equal(tokens)


def test_nothing_is_left_behind_when_it_fails(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at least 32"):
        fitted(tmp_path / "m", 10)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"stepz": 3}, "did you mean `steps`"),
        ({"steps": "3"}, "steps"),
        ({"lr": 0}, "lr"),
        ({"patch": 7}, "multiple"),
        ({"width": 1.5}, "width"),
    ],
)
def test_a_wrong_configuration_is_named(values: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        fit_clip.config(values)


def test_words(tmp_path: Path) -> None:
    t = WordTokenizer.fit(["A red ball.", "a red Cube", "blue"], context=6, limit=10)
    assert t.vocabulary == ("a", "red")
    ids = t(["a red ball", "A RED other, long text that is cut"])
    assert ids.shape == (2, 6)
    assert ids[0, :2].tolist() == ids[1, :2].tolist()
    assert ids.max() == t.size - 1
    assert (ids[1] == t.size - 1).sum() == 1
    (tmp_path / "w.json").write_bytes(t.dumps())
    assert WordTokenizer.load(tmp_path / "w.json") == t

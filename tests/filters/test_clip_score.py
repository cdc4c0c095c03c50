from pathlib import Path

import numpy as np
import pytest

from catalog.errors import UserError
from curate import fit_clip
from filters.base import load
from filters.shared import clip
from filters.shared.images import Images
from tests.filters.pictures import Memory, encode, pairs, samples


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("clip") / "model"
    reader = Memory()
    batch = samples([([encode(p)], t) for p, t in pairs(40)], reader)
    small = {
        "image_size": 32,
        "width": 32,
        "layers": 1,
        "embed_dim": 32,
        "text_width": 32,
        "steps": 3,
        "batch": 16,
        "bank": 8,
    }
    fit_clip.fit(iter([batch]), reader, out, config=fit_clip.config(small))
    return out


def test_is_the_mean_cosine_over_the_images(model: Path) -> None:
    (p, text), (q, _) = pairs(2, seed=5)
    reader = Memory()
    batch = samples([([encode(p), encode(q)], text), ([encode(p)], text), ([encode(q)], text)], reader)
    seen, said = clip.load(str(model)).encode([p, q], [text])
    cosines = seen @ said[0]
    for over, want in (("mean", cosines.mean()), ("max", cosines.max()), ("min", cosines.min())):
        got = load("clip_score", {"model": str(model), "over": over}).score(batch, Images.read(batch, reader))
        assert got["clip_score"].to_pylist() == pytest.approx([want, *cosines], abs=1e-5)
    with pytest.raises(UserError, match="over"):
        load("clip_score", {"model": str(model), "over": "sum"}).score(batch, Images.read(batch, reader))


def test_text_all_counts_the_question_but_not_the_prompt(model: Path) -> None:
    (p, text), _ = pairs(2, seed=5)
    reader = Memory()

    def scored(user: str, assistant: str, **params: object) -> float:
        batch = samples([([encode(p)], assistant)], reader, user=user)
        got = load("clip_score", {"model": str(model), **params}).score(batch, Images.read(batch, reader))
        return float(got["clip_score"][0].as_py())

    alone = scored("How many?", text)
    assert scored("How many?", text, text="all") == scored("", f"How many? {text}") != alone
    assert scored("How many?", text, text="all", prompts=["How many?"]) == alone
    for wrong in ({"text": "user"}, {"prompts": "How many?"}):
        with pytest.raises(UserError, match="expected"):
            scored("How many?", text, **wrong)


def test_margin_is_the_mean_of_both_directions(model: Path) -> None:
    (p, text), _ = pairs(2, seed=5)
    reader = Memory()
    batch = samples([([encode(p)], text)], reader)
    network = clip.load(str(model))
    assert network.bank is not None
    [seen], [said] = network.encode([p], [text])
    texts, pictures = network.bank.texts @ seen, network.bank.images @ said
    want = ((seen @ said - texts.mean()) / texts.std() + (seen @ said - pictures.mean()) / pictures.std()) / 2
    got = load("clip_score", {"model": str(model)}).score(batch, Images.read(batch, reader))
    assert got["clip_margin"][0].as_py() == pytest.approx(want, abs=1e-3)


def test_null_and_nan(model: Path) -> None:
    reader, good = Memory(), encode(pairs(1)[0][0])
    batch = samples([([], "text"), ([good], ""), ([b"?"], "text"), ([good, b"?"], "text"), ([good], "text")], reader)
    got = load("clip_score", {"model": str(model)}).score(batch, Images.read(batch, reader))["clip_score"].to_pylist()
    assert got[:2] == [None, None]
    assert np.isnan(got[2])
    assert np.isnan(got[3])
    assert -1 <= got[4] <= 1
    none = load("clip_score").score(batch, Images.read(batch, reader))
    assert none["clip_score"].null_count == none["clip_margin"].null_count == 5


def test_the_model_is_in_the_fingerprint_by_content(model: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(model, tmp_path / "copy")
    assert (
        load("clip_score", {"model": str(model)}).fingerprint
        == load("clip_score", {"model": str(tmp_path / "copy")}).fingerprint
    )
    (tmp_path / "copy" / "words.json").write_text("{}")
    other = tmp_path / "moved"
    (tmp_path / "copy").rename(other)
    assert (
        load("clip_score", {"model": str(model)}).fingerprint != load("clip_score", {"model": str(other)}).fingerprint
    )
    assert load("clip_score", {"model": "ViT-B-32/openai"}).fingerprint != load("clip_score").fingerprint

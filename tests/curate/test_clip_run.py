"""All filters over CLIP in one recipe, end to end: model fitted, target set indexed, scores pooled, any number of workers."""

import json
from pathlib import Path

import pytest
from PIL import Image

from catalog import ledger
from catalog.store import DatasetVersion, Store
from curate import recipe as recipes
from curate import run as runs
from curate.engines.choose import choose
from tests.filters import tiny
from tests.filters.pictures import pairs

RECIPE = """
name: pictures
shard_rows: 16
sources:
  - {name: web, format: table, path: web.jsonl, fields: {image: image, text: text}, task: caption, license: CC0-1.0}
  - {name: trusted, format: table, path: trusted.jsonl, fields: {image: image, text: text}, task: caption,
     license: CC0-1.0, role: fit}
  - {name: target, format: table, path: target.jsonl, fields: {image: image, text: text}, task: caption,
     license: CC0-1.0, role: eval}
models:
  dfn:
    {fit: clip, source: trusted,
     config: {image_size: 32, width: 32, layers: 1, embed_dim: 16, text_width: 32, steps: 3, batch: 16, bank: 8}}
stages:
  - {filter: clip_score, params: {model: dfn}, bounds: {clip_score: {top: 0.9}}}
  - {filter: aesthetic, params: {model: dfn, head_path: HEAD}, bounds: {aesthetic: {top: 0.9}}}
  - {filter: nsfw, params: {model: dfn, head_path: HEAD}, bounds: {nsfw: {max: 0.99}}}
  - {filter: image_target, params: {model: dfn, clusters: 6}, against: [target]}
  - {filter: cluster_cap, params: {model: dfn, clusters: 4}, bounds: {cluster_rank: {max: 14}}}
  - {filter: concept_balance, params: {least: 1, t: 20}}
  - {filter: cap, params: {by: text}, bounds: {class_rank: {max: 2}}}
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip-run")
    for name, n, seed in (("web", 60, 1), ("trusted", 40, 2), ("target", 5, 3)):
        (folder / name).mkdir()
        rows = []
        for k, (picture, text) in enumerate(pairs(n, seed, 96)):
            Image.fromarray(picture).save(folder / name / f"{k:02d}.png")
            rows.append({"image": f"{name}/{k:02d}.png", "text": text})
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    head = tiny.head(folder / "head.safetensors")
    (folder / "recipe.yaml").write_text(RECIPE.replace("HEAD", head))
    return folder / "recipe.yaml"


def go(recipe: Path, store: Path, workers: int) -> DatasetVersion:
    engine = choose("local", workers=workers, address=None)
    try:
        spec = recipes.read(recipe)
        return runs.run(spec, Store(store), engine=engine, data=recipe.parent, progress=lambda *_: None).dataset
    finally:
        engine.close()


def test_one_worker_or_two_give_the_same_dataset(recipe: Path, tmp_path: Path) -> None:
    one = go(recipe, tmp_path / "one", 1)
    two = go(recipe, tmp_path / "two", 2)
    assert one.version == two.version
    assert one.counts["rows"] == 60
    assert 0 < one.counts["kept"] < 60
    judged = {(r.stage, r.score) for r in ledger.rules_of(one)}
    assert judged == {
        ("clip_score", "clip_score"),
        ("aesthetic", "aesthetic"),
        ("nsfw", "nsfw"),
        ("image_target", "target_images"),
        ("cluster_cap", "cluster_rank"),
        ("concept_balance", "concept_draw"),
        ("cap", "class_rank"),
    }

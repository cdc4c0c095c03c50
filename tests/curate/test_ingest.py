# ruff: noqa: E501 - tables of cases read best one case a line
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent / "sources"))
from helpers_sources import Dies, Pool, Serial, image, lines, tar

from catalog.digests import sample_digest, sha256
from catalog.errors import UserError
from catalog.shards import MediaReader
from catalog.store import Store
from curate import ingest as ingest_module
from curate.ingest import SourceSpec, find, image_facts, ingest
from curate.sources import base

ROOT = Path(__file__).parents[2]
SPEC = SourceSpec.of(
    {
        "name": "toy",
        "format": "table",
        "path": "toy/t.jsonl",
        "fields": {"image": "image", "text": "caption"},
        "task": "caption",
    }
)


@pytest.fixture
def data(tmp_path):
    rows = []
    for n in range(23):
        (tmp_path / "data/toy").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"data/toy/{n}.jpg").write_bytes(image(color=(n * 9, 3, 99)))
        rows.append({"image": f"{n}.jpg", "caption": f"picture {n}", "n": n})
    (tmp_path / "data/toy/4.jpg").write_bytes(b"a text file named .jpg")
    (tmp_path / "data/toy/9.jpg").unlink()
    lines(tmp_path / "data/toy/t.jsonl", rows)
    return tmp_path / "data"


def tree(folder):
    return {p.relative_to(folder).as_posix(): sha256(p.read_bytes()) for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_version_says_what_is_in_it(data, tmp_path):
    store = Store(tmp_path / "store")
    heard = []
    version = ingest(store, SPEC, engine=Serial(), data=data, shard_rows=5, progress=lambda *x: heard.append(x))
    assert (version.rows, version.samples, version.rejects, version.shards) == (23, 21, 2, 5)
    assert dict(version.rejected) == {"bad_image": 1, "missing_image": 1}
    assert dict(version.media) == {"image": 21}
    assert heard[-1] == (23, 23)
    assert find(store, SPEC, data=data, shard_rows=5) == version
    assert find(store, SPEC, data=data, shard_rows=6) is None
    assert store.source("toy") == version
    assert not (store.root / "sources/toy/.work" / "x").exists()
    folder = store.source_dir("toy", version.digest)
    with MediaReader(folder) as media:
        for shard in range(version.shards):
            for row in store.samples(version, shard).to_pylist():
                medium = row["media"][0]
                assert sha256(media.read(medium["shard"], medium["offset"], medium["size"])) == medium["digest"]
                assert (medium["width"], medium["height"], medium["mime"]) == (32, 24, "image/jpeg")
                assert row["digest"] == sample_digest(row["messages"], row["media"], row["boxes"])
    rejects = [r for t in store.rejects(version) for r in t.to_pylist()]
    assert [r["locator"] for r in rejects] == ["t.jsonl:5", "t.jsonl:10"]


def test_the_webdataset_library_reads_our_media(data, tmp_path):
    wds = pytest.importorskip("webdataset")
    store = Store(tmp_path / "store")
    version = ingest(store, SPEC, engine=Serial(), data=data, shard_rows=50)
    folder = store.source_dir("toy", version.digest)
    found = list(wds.WebDataset(str(folder / "media/00000.tar"), shardshuffle=False, empty_check=False).decode("pil"))
    assert len(found) == 21
    assert [s["json"]["id"] for s in found] == store.samples(version, 0)["id"].to_pylist()
    assert found[0]["0.jpg"].size == (32, 24)
    assert found[0]["__key__"] == "00000-00000"
    # And so do we: out and in again.
    again = SourceSpec.of(
        {"name": "again", "format": "webdataset", "path": str(folder / "media/*.tar"), "task": "caption"}
    )
    twin = ingest(store, again, engine=Serial(), data=data)
    assert store.samples(twin, 0)["digest"] == store.samples(version, 0)["digest"]


def test_the_same_with_any_engine_workers_and_after_a_crash(data, tmp_path):
    want = ingest(Store(tmp_path / "a"), SPEC, engine=Serial(), data=data, shard_rows=4)
    for workers in (1, 2):
        pool = Pool(workers)
        got = ingest(Store(tmp_path / f"w{workers}"), SPEC, engine=pool, data=data, shard_rows=4)
        pool.close()
        assert (got.digest, got.layout) == (want.digest, want.layout)
    store = Store(tmp_path / "crash")
    with pytest.raises(KeyboardInterrupt):
        ingest(store, SPEC, engine=Dies(3), data=data, shard_rows=4)
    assert store.sources() == []
    made = []
    original = ingest_module._WriteShard._make
    try:
        ingest_module._WriteShard._make = lambda self, piece: (made.append(piece.number), original(self, piece))[1]
        got = ingest(store, SPEC, engine=Serial(), data=data, shard_rows=4)
        assert made == [3, 4, 5]
        ingest(store, SPEC, engine=Dies(0), data=data, shard_rows=4)  # known: no engine is asked
        assert made == [3, 4, 5]
    finally:
        ingest_module._WriteShard._make = original
    assert (got.digest, got.layout) == (want.digest, want.layout)
    a, b = tree(tmp_path / "a/sources/toy" / want.digest[:16]), tree(store.source_dir("toy", got.digest))
    a.pop("source.json"), b.pop("source.json")
    assert a == b


def test_killed_and_run_again(data, tmp_path):
    paths = [str(ROOT), str(Path(__file__).parent)]
    code = f"""
import sys, time
sys.path[:0] = {paths!r}
from test_ingest import *
class Slow(Serial):
    def map(self, task, items, *, gpu=False):
        for item in items:
            yield task(item)
            print(item.number, flush=True)
            time.sleep(0.2)
ingest(Store({str(tmp_path / "store")!r}), SPEC, engine=Slow(), data=Path({str(data)!r}), shard_rows=2)
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert child.stdout is not None
    for _ in range(3):
        child.stdout.readline()
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    there = list((tmp_path / "store/sources/toy/.work").glob("*/version/samples/*.parquet"))
    assert 3 <= len(there) < 12
    before = {p.name: p.stat().st_mtime_ns for p in there}
    time.sleep(0.01)
    got = ingest(Store(tmp_path / "store"), SPEC, engine=Serial(), data=data, shard_rows=2)
    want = ingest(Store(tmp_path / "other"), SPEC, engine=Serial(), data=data, shard_rows=2)
    assert (got.digest, got.layout) == (want.digest, want.layout)
    folder = Store(tmp_path / "store").source_dir("toy", got.digest) / "samples"
    assert {n: (folder / n).stat().st_mtime_ns for n in before} == before


def test_digest_does_not_depend_on_the_cut_but_on_labels_and_input(data, tmp_path):
    store = Store(tmp_path / "store")
    one = ingest(store, SPEC, engine=Serial(), data=data, shard_rows=4)
    assert ingest(store, SPEC, engine=Serial(), data=data, shard_rows=7).digest == one.digest
    assert len(store.sources()) == 1
    licensed = SourceSpec(name="toy", format="table", params=SPEC.params, task="caption", license="MIT")
    assert ingest(store, licensed, engine=Serial(), data=data).digest != one.digest
    (data / "toy/9.jpg").write_bytes(image())  # the missing image turns up
    assert ingest(store, SPEC, engine=Serial(), data=data, shard_rows=4).samples == 22


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_image_kinds_whole_and_cut(kind):
    whole = image((96, 64), kind=kind)
    facts = image_facts(whole)
    assert (facts["width"], facts["height"], facts["frames"]) == (96, 64, None)
    assert facts["mime"] == f"image/{kind.lower()}"
    for part in (0.1, 0.3, 0.6, 0.9):
        with pytest.raises(base.Bad) as e:
            image_facts(whole[: int(len(whole) * part)])
        assert e.value.code == "bad_image"


def test_frames_bombs_and_what_is_no_raster_image():
    frames = [Image.new("L", (8, 8), n * 20) for n in range(5)]
    out = io.BytesIO()
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    assert image_facts(out.getvalue())["frames"] == 5
    for size in ((9000, 9000), (30_000, 30_000)):
        out = io.BytesIO()
        Image.new("1", size).save(out, "PNG")
        with pytest.raises(base.Bad) as e:
            image_facts(out.getvalue())
        assert e.value.code == "bomb"
    for data in (b"", b"plain text", b"<svg xmlns='x'/>", b"%PDF-1.4", b"<html>"):
        with pytest.raises(base.Bad) as e:
            image_facts(data)
        assert e.value.code == "bad_image"


def test_bad_input_of_every_kind_leaves_the_rest(tmp_path):
    data = tmp_path / "data"
    bomb = io.BytesIO()
    Image.new("1", (9000, 9000)).save(bomb, "PNG")
    whole = tar(
        data / "a.tar",
        [("1.jpg", image()), ("1.txt", b"fine"), ("2.jpg", bomb.getvalue()), ("3.jpg", b"text"), ("4.png", image()), ("../5.jpg", image()),
         ("6.jpg", image()[:300]), ("7.jpg", image()), ("7.txt", b"cut off")],
    ).read_bytes()  # fmt: skip
    (data / "a.tar").write_bytes(whole[: len(whole.rstrip(b"\0")) - 3])
    (data / "b.tar").write_bytes(b"")
    spec = SourceSpec.of({"name": "dirty", "format": "webdataset", "path": "*.tar", "task": "caption"})
    version = ingest(Store(tmp_path / "store"), spec, engine=Serial(), data=data, shard_rows=3)
    assert dict(version.rejected) == {"bad_image": 2, "bomb": 1, "truncated": 1, "unreadable": 1, "unsafe_path": 1}
    assert version.samples == 2
    assert version.rows == version.samples + version.rejects


def test_specs_name_what_is_wrong():
    good = {"name": "x", "format": "text", "path": "a.jsonl"}
    for wrong, text in (
        ({"task": "captoin"}, "did you mean `caption`"),
        ({"role": "evil"}, "did you mean `eval`"),
        ({"licence": "MIT"}, "did you mean `license`"),
        ({"name": "../x"}, "cannot name a source"),
        ({"format": "txt"}, "did you mean `text`"),
    ):
        with pytest.raises(UserError, match=text) as e:
            SourceSpec.of({**good, **wrong})
        assert e.value.usage


def test_a_reader_that_loses_a_row_stops_the_ingest(data, tmp_path, monkeypatch):
    from curate.sources import table

    original = table.Reader.read
    monkeypatch.setattr(table.Reader, "read", lambda self, piece: list(original(self, piece))[1:])
    with pytest.raises(UserError, match="rows were found but"):
        ingest(Store(tmp_path / "store"), SPEC, engine=Serial(), data=data)


def test_the_real_recipe_names_files_that_can_be_planned():
    import yaml

    data = ROOT.parent / "shared/data"
    if not data.is_dir():
        pytest.skip("no ../shared/data here")
    for entry in yaml.safe_load((ROOT / "curate/recipes/real.yaml").read_text())["sources"]:
        spec = SourceSpec.of(entry)
        assert spec.reader(data).plan(1000), spec.name
    assert json.dumps(entry)

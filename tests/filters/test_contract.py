"""What every filter promises, checked on whatever lies in `filters/`. Adding a filter needs no change here."""

import importlib
import importlib.util
import inspect
import io
import json
import os
import re
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalog.schema import SAMPLE
from catalog.shards import MediaReader, TarWriter
from filters import base
from tests.filters.text_samples import HOSTILE, MEDIUM, PROSE, batch, sample

NAMES = base.names()
BROKEN = {sha256(data).hexdigest() for data in (b"not an image", b"")}


def _pictures():
    from PIL import Image, ImageDraw

    out = []
    for i, (mode, size) in enumerate((("RGB", (64, 48)), ("L", (300, 40)), ("RGBA", (16, 16)), ("P", (1, 1)))):
        picture = Image.new(mode, size)
        if min(size) > 8 and mode != "RGBA":
            ImageDraw.Draw(picture).rectangle(
                (2, 2, size[0] // 2, size[1] - 3), fill=200 if mode == "L" else (200, 30, i)
            )
        data = io.BytesIO()
        picture.save(data, "PNG")
        out.append((data.getvalue(), size))
    return [*out, (b"not an image", (8, 8)), (b"", (8, 8))]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("contract")


@pytest.fixture(scope="module")
def samples(root):
    """Text-only, image-only, both, neither, hostile."""
    (root / "media").mkdir()
    media = []
    with (root / "media" / "00000.tar").open("wb") as f:
        tar = TarWriter(f)
        for i, (data, (width, height)) in enumerate(_pictures()):
            offset, size = tar.add(f"00000-{i:05d}.0.png", data)
            media.append(
                {
                    **MEDIUM,
                    "digest": sha256(data).hexdigest(),
                    "width": width,
                    "height": height,
                    "offset": offset,
                    "size": size,
                }
            )
        tar.close()
    rows = []

    def add(**kw):
        images = kw.pop("media", [])
        rows.append({**sample(id=f"s/{len(rows):05d}", **kw), "media": images})

    def boxes(k):
        """Other boxes for every sample: a filter that mixes rows up must show it."""
        x, y = float(k % 7), float(k % 5)
        quad = [x, y, x + 9, y, x + 9, y + 4, x, y + 4]
        return [
            {"text": f"Total {k}.50", "confidence": 0.9 - k / 100, "quad": quad},
            {"text": "\x00", "confidence": float("nan"), "quad": [v + 20 * (k % 3) for v in quad]},
            {"text": ""},
        ][: 1 + k % 3]

    for task in ("caption", "vqa", "ocr", "document", "chart", "math", "reasoning", "text", "code", "other"):
        add(answer=PROSE, task=task)
        add(answer=PROSE + " Total 12.50", task=task, image=True, media=[media[0]], boxes=boxes(len(rows)))
    for text in HOSTILE:
        add(answer=text, question=text[:1000], task="text")
        add(answer=text, question="", task="caption", media=[media[len(rows) % len(media)]])
        add(answer=text, question="", task="ocr", media=[media[1]], boxes=[{"text": text[:2000], "confidence": 0.5}])
    for medium in media:
        add(answer=None, question="<image>", media=[medium])
        add(answer="A red box.", task="caption", media=[medium])
        add(answer="Two.", question="<image><image>", task="vqa", media=[medium, media[0]])
    add(answer="3 + 4 = 8 and $x^{2$", task="math")
    bare = {**sample("x", id="s/bare"), "messages": [], "media": [], "boxes": []}
    nothing = {
        **bare,
        "id": "s/null",
        "messages": None,
        "media": None,
        "boxes": None,
        "task": None,
        "source": None,
        "meta": None,
    }
    return batch(*rows, bare, nothing)


def _images(part, root):
    if importlib.util.find_spec("filters.shared.images") is None:
        pytest.skip("filters.shared.images is not there yet")
    from filters.shared.images import Images

    with MediaReader(root) as reader:
        return Images.read(part, reader)


def _own(name):
    """Return what the filter's test file says of parameters to bind, or None."""
    if importlib.util.find_spec(f"tests.filters.test_{name}") is None:
        return None
    return getattr(importlib.import_module(f"tests.filters.test_{name}"), "contract_params", None)


@pytest.fixture(scope="module")
def bound(samples, root):
    """Return a filter with a tiny index or model, where it needs one: its test file's, or one made here."""
    made = {}

    def get(name):
        if name in made:
            return made[name]
        f = base.load(name)
        params = {}
        own = _own(name)
        if own is not None:
            (root / name).mkdir()
            with MediaReader(root) as reader:
                made[name] = base.load(name, own(root / name, samples, reader))
            return made[name]
        if "index" in f.params:
            assert f.build is not None, "a filter with an index builds it"
            parts = iter([samples.slice(0, 30)])
            if "reader" in inspect.signature(f.build).parameters:
                with MediaReader(root) as reader:
                    table = f.build(parts, reader=reader)
            else:
                table = f.build(parts)
            params["index"] = str(root / f"{name}.parquet")
            pq.write_table(table, params["index"])
        if "model" in f.params:
            pytest.importorskip("open_clip", reason=f"`{name}` needs a model")
            from curate.fit_clip import config, fit

            tiny = config(
                {"image_size": 32, "width": 32, "layers": 1, "embed_dim": 16, "text_width": 32, "steps": 2, "batch": 16}
            )
            pairs = samples.filter(pa.array([i % 2 == 1 and i < 20 for i in range(samples.num_rows)]))
            with MediaReader(root) as reader:
                fit(iter([pairs] * 8), reader, root / name, config=tiny)
            params["model"] = str(root / name)
        made[name] = base.load(name, params)
        return made[name]

    return get


def _score(f, part, root):
    return f.score(part, _images(part, root) if f.needs_images else None)


@pytest.mark.parametrize("name", NAMES)
def test_scores_every_sample_twice_the_same_and_independent_of_cuts(name, samples, bound, root):
    f = bound(name)
    whole = _score(f, samples, root)
    assert whole.num_rows == samples.num_rows
    assert whole.schema.equals(pa.schema(list(f.scores.items())))
    assert _text(_score(f, samples, root)) == _text(whole)
    for step in (7, 50):
        cut = [_score(f, samples.slice(i, step), root) for i in range(0, samples.num_rows, step)]
        assert _text(pa.Table.from_batches(cut)) == _text(whole)
    order = list(range(samples.num_rows))[::-1]
    turned = _score(f, samples.take(pa.array(order)), root)
    assert _text(turned.take(pa.array(order))) == _text(whole)


def _text(table):
    return [{k: repr(v) for k, v in row.items()} for row in table.to_pylist()]


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_batch_gives_an_empty_batch(name, bound, root):
    f = bound(name)
    empty = pa.RecordBatch.from_pylist([], schema=SAMPLE)
    assert _score(f, empty, root).num_rows == 0


@pytest.mark.parametrize("name", NAMES)
def test_bounds_name_scores_and_are_in_order(name):
    f = base.load(name)
    assert f.scores, "a filter has a score"
    for score, (low, high) in f.bounds.items():
        assert score in f.numbers
        assert low is not None or high is not None
        assert low is None or high is None or low <= high


@pytest.mark.parametrize("name", NAMES)
def test_the_docstring_states_scores_units_bounds_and_source(name):
    f = base.load(name)
    said = {re.sub(r"\d+", "*", word) for word in re.findall(r"\w+", f.doc)}  # `top_2_gram` speaks for `top_3_gram`
    for score in (*f.scores, *f.pooled):
        assert re.sub(r"\d+", "*", score) in said, score
    lower = f.doc.lower()
    assert "bound" in lower or not f.bounds
    assert re.search(r"https?://|arxiv|doi\b|et al\.|\b(?:19|20)\d\d\b|\b[a-z][\w.-]+/[a-z][\w.-]+\b", lower), (
        "a source"
    )
    unit = r"\b(?:counts?|shares?|or more|pixels?|bits|probability|binary|hex|cosine|ratio|characters|0\.\.1|0 to 1|bytes)\b"
    assert re.search(unit, lower), "a unit"


@pytest.mark.parametrize("name", NAMES)
def test_the_global_half_is_deterministic(name, samples, bound, root):
    f = bound(name)
    if f.cluster is None:
        pytest.skip("has no global half")
    signed = pa.table({"id": samples.column("id"), **dict(zip(f.scores, _score(f, samples, root), strict=True))})
    once = f.cluster(signed)
    assert once.schema.names[:3] == ["id", "cluster", "similarity"]
    order = pa.array(list(range(signed.num_rows))[::-1])
    assert f.cluster(signed.take(order)).sort_by("id").equals(once.sort_by("id"))
    for row in once.to_pylist():
        assert row["cluster"] <= row["id"]
        assert 0 <= row["similarity"] <= 1
    assert f.cluster(signed.slice(0, 0)).num_rows == 0


@pytest.mark.parametrize("name", NAMES)
def test_pooled_scores_do_not_depend_on_order_or_cuts(name, samples, bound, root):
    f = bound(name)
    if f.pool is None:
        pytest.skip("pools nothing")
    heads = {c: samples.column(c) for c in ("id", "source", "task")}
    local = pa.table({**heads, **dict(zip(f.scores, _score(f, samples, root), strict=True))})
    once = f.pool(local)
    assert once.schema.equals(pa.schema([("id", pa.string()), *f.pooled.items()]))
    assert set(once["id"].to_pylist()) <= set(local["id"].to_pylist())
    assert len(set(once["id"].to_pylist())) == once.num_rows
    order = pa.array(list(range(local.num_rows))[::-1])
    for other in (local.take(order), pa.concat_tables([local.slice(20), local.slice(0, 20)])):
        assert _text(f.pool(other).sort_by("id")) == _text(once.sort_by("id"))
    assert f.pool(local.slice(0, 0)).num_rows == 0


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """Return every default fingerprint as another process sees it: other hash seed, folder, language and time zone."""
    code = "import json; from filters import base; print(json.dumps({f.name: f.fingerprint for f in base.every()}))"
    root = str(Path(base.__file__).parent.parent)
    env = {**os.environ, "PYTHONHASHSEED": "77", "LC_ALL": "C", "TZ": "Asia/Tokyo", "PYTHONPATH": root}
    out = subprocess.run(
        [sys.executable, "-c", code], env=env, cwd=tmp_path_factory.mktemp("away"), capture_output=True
    )
    assert out.returncode == 0, out.stderr.decode()
    return json.loads(out.stdout)


@pytest.mark.parametrize("name", NAMES)
def test_the_fingerprint_is_that_of_another_process(name, elsewhere):
    assert base.load(name).fingerprint == elsewhere[name]


@pytest.mark.parametrize("name", NAMES)
def test_null_says_does_not_apply_and_nan_says_broken(name, samples, bound, root):
    f = bound(name)
    scores = _score(f, samples, root).to_pylist()
    for row, score in zip(samples.to_pylist(), scores, strict=True):
        values = [v for v in score.values() if isinstance(v, float)]
        pictures = {m["digest"] for m in row["media"] or () if m["kind"] == "image"}
        if f.needs_images and not pictures:
            assert not any(isinstance(v, int | float) for v in score.values()), (row["id"], score)
        if f.needs_images and pictures & BROKEN and not score.get("match"):  # a leak beside a broken picture is a leak
            assert all(v != v for v in values), (row["id"], score)
        if not row["messages"] and not row["media"]:
            assert not any(v != v for v in values), (row["id"], "nothing there is not broken")


@pytest.mark.parametrize("name", NAMES)
def test_the_fingerprint_is_stable(name, bound):
    f = bound(name)
    assert re.fullmatch(r"[0-9a-f]{16}", f.fingerprint)
    assert base.load(name, f.params).fingerprint == f.fingerprint

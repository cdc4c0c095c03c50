import hashlib
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from catalog.errors import UserError
from curate.synth import defects, hashes
from curate.synth import make as synth
from curate.synth.make import HELDOUT, SHARES, build, make, plan
from curate.synth.truth import TRUTH

SIZE = 120


def files(root: Path) -> dict[str, str]:
    paths = sorted(p for p in root.rglob("*") if p.is_file())
    return {p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("corpus")
    make(out, size=SIZE, seed=3)
    return out


@pytest.fixture(scope="module")
def truth(corpus: Path) -> pa.Table:
    return pq.read_table(corpus / "truth" / "truth.parquet")


def test_the_same_bytes_with_two_workers(corpus: Path, tmp_path: Path) -> None:
    make(tmp_path / "again", size=SIZE, seed=3, workers=2)
    assert files(corpus) == files(tmp_path / "again")


def test_another_seed_is_another_corpus(corpus: Path, tmp_path: Path) -> None:
    make(tmp_path / "other", size=60, seed=4)
    make(tmp_path / "third", size=60, seed=5)
    a, b = files(tmp_path / "other"), files(tmp_path / "third")
    assert a["scenes/records.jsonl"] != b["scenes/records.jsonl"]


def test_truth_has_one_row_per_sample(truth: pa.Table) -> None:
    assert truth.schema.equals(TRUTH)
    assert truth.num_rows == SIZE
    rows = truth.to_pylist()
    assert len({(r["source"], r["locator"]) for r in rows}) == SIZE
    assert {r["source"] for r in rows} == set(SHARES)
    assert {r["defect"] for r in rows} - {None} == set(defects.KINDS)
    for r in rows:
        want = "keep" if r["defect"] is None else "reject" if r["defect"] == "corrupt_file" else "drop"
        assert r["expect"] == want


def test_every_copy_names_a_clean_original_once(truth: pa.Table) -> None:
    rows = {f"{r['source']}/{r['locator']}": r for r in truth.to_pylist()}
    originals = [r["of"] for r in rows.values() if r["defect"] in defects.DUPLICATES]
    assert len(originals) == len(set(originals)) > 0
    assert all(rows[o]["defect"] is None for o in originals)
    leaks = [r["of"] for r in rows.values() if r["defect"] in defects.LEAKS]
    assert leaks
    assert all(o.startswith("heldout/") for o in leaks)
    assert all(r["of"] is None for r in rows.values() if r["defect"] not in (*defects.DUPLICATES, *defects.LEAKS))


@pytest.mark.parametrize("size", [60, 200, 1000, 4000])
def test_shares(size: int) -> None:
    slots = plan(size, 1)
    assert len(slots) == size
    bad = [s.defect for s in slots if s.defect]
    assert 0.38 * size <= len(bad) <= 0.5 * size
    least = min(bad.count(k) for k in defects.KINDS)
    assert least >= (25 if size == 4000 else 1)


def test_layout_is_what_the_readers_expect(corpus: Path, truth: pa.Table) -> None:
    count = {s: sum(x == s for x in truth["source"].to_pylist()) for s in SHARES}
    for name in ("scenes", "math", "text", "instructions"):
        file = "records.jsonl" if name == "scenes" else f"{name}.jsonl"
        assert (corpus / name / file).read_bytes().count(b"\n") == count[name]
    talk = json.loads((corpus / "questions" / "questions.json").read_text())
    assert len(talk) == count["questions"]
    assert talk[0]["conversations"][0]["value"].startswith("<image>\n")
    assert (corpus / "questions" / "images" / talk[0]["image"]).exists()
    charts = pq.read_table(corpus / "charts" / "charts-00000.parquet")
    assert charts.column_names == ["image", "question", "answer", "title"]
    with tarfile.open(corpus / "documents" / "documents-00000.tar") as tar:
        names = tar.getnames()
    assert names[:2] == ["000000.jpg", "000000.json"]
    assert len(names) == 2 * count["documents"]
    assert sorted(p.name for p in (corpus / "heldout").iterdir()) == sorted(HELDOUT)
    trusted = [json.loads(x) for x in (corpus / "trusted" / "records.jsonl").read_text().splitlines()]
    pictures = {r["image"] for r in trusted}
    assert len(pictures) == 60
    assert 2 * len(pictures) < len(trusted) <= 3 * len(pictures)
    assert len({(r["image"], r["caption"]) for r in trusted}) == len(trusted)
    assert {r["kind"] for r in trusted} == {"scenes", "questions", "charts", "documents", "math_images"}


def test_quads_lie_on_their_text() -> None:
    for i in range(40):
        slot = synth.Slot(split="train", source="documents", index=i)
        made = build(slot, 1)
        assert made.record.image is not None
        w, h = Image.open(io.BytesIO(made.record.image)).size
        for line in made.record.fields["lines"]:
            assert min(line["quad"]) >= 0
            assert max(line["quad"][::2]) <= w
            assert max(line["quad"][1::2]) <= h


def test_copies_and_corrupt_files_are_what_the_truth_says(corpus: Path, truth: pa.Table) -> None:
    rows = [r for r in truth.to_pylist() if r["source"] == "scenes"]
    image = corpus / "scenes" / "images"

    def data(locator: str) -> bytes:
        return (image / f"scene-{int(locator.rpartition(':')[2]) - 1:06d}.jpg").read_bytes()

    seen = set()
    for r in rows:
        seen.add(r["defect"])
        picture = data(r["locator"])
        if r["defect"] in ("exact_duplicate", "duplicate_caption_edited"):
            assert picture == data(r["of"].removeprefix("scenes/"))
        if r["defect"] is None:
            w, h = Image.open(io.BytesIO(picture)).size
            assert min(w, h) >= 64
            assert max(w, h) / min(w, h) < 3
        if r["defect"] == "banner_image":
            w, h = Image.open(io.BytesIO(picture)).size
            assert max(w, h) / min(w, h) > 5
        if r["defect"] == "tiny_image":
            assert max(Image.open(io.BytesIO(picture)).size) < 24
    assert {None, "mismatched_caption", "boilerplate_alt"} <= seen


def sharpness(image: Image.Image) -> float:
    a = np.asarray(image.convert("L"), dtype=np.float32)
    lap = a[1:-1, :-2] + a[1:-1, 2:] + a[:-2, 1:-1] + a[2:, 1:-1] - 4 * a[1:-1, 1:-1]
    return float(lap.var())


@pytest.mark.parametrize("source", ["scenes", "charts", "documents", "math_images"])
def test_blurred_and_clean_are_far_apart(source: str) -> None:
    def pictures(defect: str) -> list[Image.Image]:
        slots = [synth.Slot(split="train", source=source, index=i, defect=defect) for i in range(25)]
        return [Image.open(io.BytesIO(build(s, 2).record.image or b"")) for s in slots]

    assert max(map(sharpness, pictures("blurred_image"))) * 3 < min(map(sharpness, pictures("")))


def test_clean_pictures_do_not_look_alike() -> None:
    sources = ("scenes", "questions", "charts", "documents", "math_images")
    slots = [synth.Slot(split="train", source=s, index=i) for s in sources for i in range(60)]
    looks = [m.look for m in (build(s, 5) for s in slots) if m.look]
    # Before any is drawn again: few even come near, so that drawing again ends.
    assert len(hashes.collisions(looks)) <= 0.05 * len(looks)


def test_clean_texts_do_not_share_shingles() -> None:
    for source in ("math", "text", "instructions"):
        texts = [
            " ".join(build(synth.Slot(split="train", source=source, index=i), 5).record.fields.values())
            for i in range(150)
        ]
        sets = [defects.shingles(t) for t in texts]
        worst = max(len(a & b) / len(a | b) for i, a in enumerate(sets) for b in sets[:i])
        assert worst < 0.5, source


@pytest.mark.parametrize("source", ["text", "math", "instructions"])
def test_near_duplicates_stay_near(source: str) -> None:
    slots = (synth.Slot(split="train", source=source, index=i) for i in range(200))
    for i, parent in enumerate([s for s in slots if synth._is_long(s, 6)][:30]):
        original = " ".join(build(parent, 6).record.fields.values())
        slot = synth.Slot(split="train", source=source, index=999 + i, defect="near_duplicate_text", parent=parent)
        copy = " ".join(build(slot, 6).record.fields.values())
        assert copy != original
        assert defects.jaccard(original, copy) >= 0.8


def test_progress_reaches_the_end(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    make(tmp_path / "p", size=60, seed=1, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1]
    assert [d for d, _ in seen] == sorted(d for d, _ in seen)


def test_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at least 60"):
        make(tmp_path / "x", size=10, seed=1)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").write_text("mine")
    with pytest.raises(UserError, match="not an empty folder"):
        make(tmp_path / "full", size=60, seed=1)
    assert (tmp_path / "full" / "a").read_text() == "mine"

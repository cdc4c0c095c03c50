import functools
import json
import re
import shutil
import tempfile
from pathlib import Path

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.errors import UserError
from catalog.store import Store
from mixtures import spec
from mixtures.canonical import canonical, lock_id
from mixtures.diff import diff, to_text
from mixtures.loader import Loader
from mixtures.lock import _read, _resolve, lock
from mixtures.show import find, show
from mixtures.verify import verify
from tests.mixtures import _toys as toys

GOLDEN = Path(__file__).parent / "golden.lock.json"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=4),
)


def made(store: Store, text: str = toys.TINY) -> dict[str, object]:
    return json.loads(lock(spec.parse(text), store).read_bytes())


@given(JSON)
def test_canonical_json_is_rfc_8785(value: object) -> None:
    assert canonical(value) == rfc8785.dumps(value)


def test_no_floats_in_a_lock() -> None:
    with pytest.raises(UserError, match="float"):
        canonical({"a": [1, 0.5]})


def test_golden(tmp_path: Path) -> None:
    """A committed lock: whoever changes a rule of the hash sees it here. Remade by deleting the file and running this."""
    have = made(toys.tiny_store(tmp_path))
    have.pop("volatile")
    if not GOLDEN.exists():
        GOLDEN.write_text(json.dumps(have, indent=2, sort_keys=True) + "\n")
    assert have == json.loads(GOLDEN.read_bytes())
    assert lock_id(have) == have["id"]


def test_the_same_again_is_the_same_file(tmp_path: Path) -> None:
    store = toys.tiny_store(tmp_path)
    path = lock(spec.parse(toys.TINY), store)
    before = {p: p.read_bytes() for p in path.parent.rglob("*") if p.is_file()}
    assert lock(spec.parse(toys.TINY), store) == path
    assert {p: p.read_bytes() for p in path.parent.rglob("*") if p.is_file()} == before
    with pytest.raises(UserError, match="locked already") as e:
        lock(spec.parse(toys.TINY.replace("seed: 7", "seed: 8")), store)
    assert "raise `version`" in e.value.hint
    assert not list(path.parent.parent.glob(".work*"))
    other = lock(spec.parse(toys.TINY), store, out=tmp_path / "elsewhere")
    assert json.loads(other.read_bytes())["id"] == json.loads(path.read_bytes())["id"]
    assert verify(other, full=True, order=True) == []


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40))
def test_resharding_and_moving_leave_the_id(shard_rows: int) -> None:
    want = json.loads(GOLDEN.read_bytes())["id"]
    with tempfile.TemporaryDirectory() as folder:
        assert made(toys.tiny_store(Path(folder) / "s", shard_rows=shard_rows))["id"] == want


def test_a_moved_store_verifies_and_a_new_byte_is_another_mixture(tmp_path: Path) -> None:
    store = toys.tiny_store(tmp_path / "a")
    path = lock(spec.parse(toys.TINY), store)
    shutil.move(tmp_path / "a", tmp_path / "b" / "c")
    moved = tmp_path / "b" / "c" / path.relative_to(tmp_path / "a")
    assert verify(moved, full=True, order=True) == []
    rows = toys.samples("photos", 25)
    rows[4]["messages"][0]["content"] += "."
    other = Store(tmp_path / "other")
    sources = [toys.add_source(other, "photos", rows), toys.add_source(other, "charts", toys.samples("charts", 10))]
    toys.add_dataset(other, "scenes", sources, drop=("photos/000003", "photos/000011"))
    toys.add_dataset(other, "prose", [toys.add_source(other, "prose", toys.samples("prose", 17, images=False))])
    changed = lock(spec.parse(toys.TINY), other)
    found = diff(moved, changed)
    assert not found["equal"]
    assert found["samples"] == [
        {
            "component": "photos",
            "added": {"count": 0, "ids": []},
            "removed": {"count": 0, "ids": []},
            "changed": {"count": 1, "ids": ["photos/000004"]},
        }
    ]
    assert "~ photos/000004" in to_text(found)
    assert diff(moved, moved)["equal"]


@functools.cache
def _shared() -> Store:
    return toys.tiny_store(Path(tempfile.mkdtemp()))


@settings(deadline=None)
@given(
    unit=st.sampled_from(["samples", "tokens", "images"]),
    amount=st.integers(20, 150),
    weight=st.integers(1, 60),
    caps=st.fixed_dictionaries({}, optional={
        "max_samples": st.integers(1, 60), "max_tokens": st.integers(10, 300),
        "max_epochs": st.sampled_from(["0.5", "1", "1.7", "3"])}),
)  # fmt: skip
def test_plans_keep_their_word(unit: str, amount: int, weight: int, caps: dict[str, int]) -> None:
    store = _shared()
    raw = {
        "name": "m", "unit": unit, "budget": {unit: amount}, "seed": weight,
        "sources": [
            {"ref": "scenes", "source": "photos", "weight": f"0.{weight:02d}", **caps},
            {"ref": "scenes", "source": "charts"},
        ],
    }  # fmt: skip
    s = spec.parse(raw)
    record = _resolve(s, [_read(x, s.splits, store) for x in s.sources])
    assert sum(x["plan"] for x in record["sources"]) == amount
    for x in record["sources"]:
        assert x["take"][unit] <= x["plan"]
        longest = {"samples": 0, "images": 0, "tokens": 7}[unit]
        assert x["plan"] - x["take"][unit] <= longest or x["capped_by"]
    photos = record["sources"][1]
    for key, unit_of in (("max_samples", "samples"), ("max_tokens", "tokens")):
        assert photos["take"][unit_of] <= caps.get(key, 10**9)
    if "max_epochs" in caps:
        assert photos["take"]["samples"] <= float(caps["max_epochs"]) * 23


def test_splits_share_out_every_sample_once(tmp_path: Path) -> None:
    store = toys.tiny_store(tmp_path)
    ids = []
    for n, split in enumerate(("train", "val")):
        raw = {
            "name": split, "budget": {"epochs": 1},
            "splits": {"method": "hash-of-digest", "fractions": {"train": 0.7, "val": 0.3}},
            "sources": [{"ref": "scenes", "split": split}],
        }  # fmt: skip
        path = lock(spec.parse(raw), store)
        record = json.loads(path.read_bytes())["sources"][0]["select"]
        assert sum(record["split_counts"].values()) == 33
        assert record["split_counts"][split] == record["samples"]
        ids.append({s["id"] for s in Loader(path)})
        assert 3 < len(ids[n]) < 30
    assert not ids[0] & ids[1]
    assert len(ids[0] | ids[1]) == 33


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("ref: prose", "ref: prosa", "did you mean `prose`?"),
        ("source: charts", "source: chart", "has no source `chart`; did you mean `charts`?"),
        ("source: charts", "source: charts, tasks: [math]", "component `charts` is empty"),
        ("unit: samples\nbudget: {samples: 100}", "unit: images\nbudget: {images: 9}", "has no images"),
        ("weight: auto", "max_samples: 3", "missing"),
    ],
)
def test_what_is_not_there_is_named(tmp_path: Path, old: str, new: str, says: str) -> None:
    text = toys.TINY.replace(old, new)
    text = text.replace('weight: "0.35"', 'weight: "0.35", max_samples: 5') if says == "missing" else text
    with pytest.raises(UserError, match=re.escape(says)):
        lock(spec.parse(text), toys.tiny_store(tmp_path))


def test_show_and_find(tmp_path: Path) -> None:
    store = toys.tiny_store(tmp_path)
    path = lock(spec.parse(toys.TINY), store)
    lock(spec.parse(toys.TINY.replace("1.0.0", "1.10.0")), store)
    assert find("tiny@1.0.0", store) == path
    assert find("tiny", store).parts[-2] == "1.10.0"
    with pytest.raises(UserError, match="did you mean `tiny`"):
        find("tinny", store)
    shown = show(path)
    assert [c["samples"] for c in shown["components"]] == [15, 45, 40]
    assert shown["components"][0]["capped_by"] == "max_epochs"
    assert any("no known licence" in w for w in shown["warnings"])


def test_verify_names_what_is_broken(tmp_path: Path) -> None:
    store = toys.tiny_store(tmp_path)
    path = lock(spec.parse(toys.TINY), store)
    tar = next(tmp_path.glob("sources/photos/*/media/00001.tar"))
    whole = tar.read_bytes()
    tar.write_bytes(whole[:512] + bytes([whole[512] ^ 1]) + whole[513:])
    assert verify(path) == []
    assert [(f.check, f.where.endswith("00001.tar")) for f in verify(path, full=True)] == [("media", True)]
    tar.write_bytes(whole[:600])
    assert [f.check for f in verify(path)] == ["media"]
    tar.unlink()
    assert [f.message for f in verify(path)] == ["missing"]
    tar.write_bytes(whole)

    member = path.parent / "members" / "prose.arrow"
    raw = member.read_bytes()
    at = raw.index(b"w5x0")
    member.write_bytes(raw[:at] + b"W" + raw[at + 1 :])
    assert verify(path) == []
    assert {(f.check, f.where) for f in verify(path, full=True)} == {
        ("members", "members/prose.arrow"),
        ("rows", "members/prose.arrow"),
    }
    member.unlink()
    assert [f.check for f in verify(path)] == ["members"]
    member.write_bytes(raw)

    text = path.read_text()
    path.write_text(text.replace('"seed": 7', '"seed": 8', 1))
    assert [f.check for f in verify(path)] == ["lock"]
    edited = json.loads(text)
    edited["order"]["all"] = "sha256:" + "0" * 64
    edited["id"] = lock_id(edited)
    path.write_text(json.dumps(edited))
    assert [f.where for f in verify(path, order=True)] == ["order.all"]

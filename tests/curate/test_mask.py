import json
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "sources"))
from helpers_sources import Dies, Serial, image, lines

from catalog.digests import content_digest, sample_digest, sha256
from catalog.errors import UserError
from catalog.schema import SAMPLE
from catalog.shards import MediaReader
from catalog.store import Store
from curate.engines.choose import choose
from curate.ingest import SourceSpec, ingest
from curate.mask import mask
from filters.base import load

ROOT = Path(__file__).parents[2]
SPEC = SourceSpec.of(
    {
        "name": "mail",
        "format": "table",
        "path": "t.jsonl",
        "images": ".",
        "fields": {"image": "image?", "text": "said", "boxes": {"lines": {"quad": "quad", "text": "text"}}},
        "task": "ocr",
        "license": "CC0-1.0",
    }
)
QUAD = [0, 0, 9, 0, 9, 9, 0, 9]


@pytest.fixture
def store(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    rows = []
    for n in range(23):
        (data / f"{n}.jpg").write_bytes(image(color=(n * 9, 3, 99)))
        said = f"picture {n}" if n < 10 else f"picture {n} by p{n}@cuvee.org, tel 03-5882 55{n}"
        rows.append({"image": f"{n}.jpg", "said": said, "lines": [{"quad": QUAD, "text": f"TEL: 03-5882 55{n}"}],
                     "n": n, "phone": f"03 5882 55{n}", "who": {"mails": [f"m{n}@cuvee.org"]}})  # fmt: skip
    rows[7]["lines"] = []
    rows[7]["phone"] = "none"
    rows[7]["who"] = {}
    rows[4]["image"] = "gone.jpg"
    lines(data / "t.jsonl", rows)
    store = Store(tmp_path / "store")
    ingest(store, SPEC, engine=Serial(), data=data, shard_rows=5)
    return store


def tree(folder):
    return {p.relative_to(folder).as_posix(): sha256(p.read_bytes()) for p in sorted(folder.rglob("*"))
            if p.is_file() and p.name != "source.json"}  # fmt: skip


def rows(store, version):
    return [row for n in range(version.shards) for row in store.samples(version, n).to_pylist()]


def folder(store, version):
    return store.source_dir(version.name, version.digest)


def test_every_sample_comes_out_masked_and_nothing_else_changes(store):
    old = store.source("mail")
    heard = []
    new = mask(store, old, kinds=["email", "phone"], engine=Serial(), progress=lambda *x: heard.append(x))
    assert (new.rows, new.samples, new.rejects, new.shards) == (old.rows, old.samples, old.rejects, old.shards)
    assert heard[-1] == (old.samples, old.samples)
    assert (new.license, new.role, new.tasks, new.media) == (old.license, old.role, old.tasks, old.media)
    assert new.digest != old.digest
    assert new.spec["of"] == old.ref
    assert new.spec["digest"] == old.digest
    assert new.spec["filter"] == f"pii@{load('pii').fingerprint}"
    assert new.spec["changed"] == old.samples - 1
    before, after = rows(store, old), rows(store, new)
    for a, b in zip(before, after, strict=True):
        assert a["id"] == b["id"]
        assert (a["task"], a["license"], a["source"]) == (b["task"], b["license"], b["source"])
        assert [m["digest"] for m in a["media"]] == [m["digest"] for m in b["media"]]
        assert b["digest"] == sample_digest(b["messages"], b["media"], b["boxes"])
        number = int(json.loads(b["meta"])["n"])
        text = b["messages"][-1]["content"]
        assert text == (f"picture {number}" if number < 10 else f"picture {number} by <EMAIL>, tel <PHONE>")
        assert [x["text"] for x in b["boxes"]] == ([] if number == 7 else ["TEL: <PHONE>"])
        if number == 7:
            assert a["meta"] == b["meta"]  # as it was written, to the byte
        else:
            meta = json.loads(b["meta"])
            assert (meta["phone"], meta["who"]) == ("<PHONE>", {"mails": ["<EMAIL>"]})
    counted = load("pii").score(store.samples(new, 2).to_batches()[0]).to_pydict()
    assert set(counted["email"] + counted["phone"]) == {0}
    hits = {"email": 13 + 21, "phone": 13 + 2 * 21}
    assert new.spec["hits"] == hits
    # The filter counts in messages; masking replaces in boxes and meta as well.
    assert new.spec["hits_in"] == {
        "messages": {"email": 13, "phone": 13}, "boxes": {"email": 0, "phone": 21}, "meta": {"email": 21, "phone": 21},
    }  # fmt: skip


def test_media_are_the_same_bytes_and_tars_tell_nothing(store):
    old = store.source("mail")
    new = mask(store, old, kinds=["email", "phone"], engine=Serial())
    with MediaReader(folder(store, new)) as reader:
        for row in rows(store, new):
            for m in row["media"]:
                assert sha256(reader.read(m["shard"], m["offset"], m["size"])) == m["digest"]
    raw = b"".join(p.read_bytes() for p in (folder(store, new) / "media").glob("*.tar"))
    assert b"@cuvee.org" not in raw
    with tarfile.open(folder(store, new) / "media/00003.tar") as tar:
        beside = json.loads(tar.extractfile("00003-00000.json").read())
    assert beside["messages"][-1]["content"] == "picture 15 by <EMAIL>, tel <PHONE>"
    # Where no message changed the tar is the same file, not a copy.
    same = [(folder(store, v) / "media/00000.tar").stat().st_ino for v in (old, new)]
    assert same[0] == same[1]


def test_another_name_takes_the_ids_along(store):
    new = mask(store, store.source("mail"), kinds=["email"], name="clean", engine=Serial())
    assert (new.name, store.source("clean").digest) == ("clean", new.digest)
    assert {r["source"] for r in rows(store, new)} == {"clean"}
    assert [r["id"].partition("/")[2] for r in rows(store, new)] == [
        r["id"].partition("/")[2] for r in rows(store, store.source("mail"))
    ]
    assert all(r["id"].startswith("clean/") for r in rows(store, new))
    assert [t["source"].to_pylist() for t in store.rejects(new) if t.num_rows] == [["clean"]]
    assert "03-5882" in rows(store, new)[-1]["messages"][-1]["content"]


@pytest.mark.parametrize("meta", ["drop", "keep"])
def test_meta_is_dropped_or_kept_where_asked(store, meta):
    old = store.source("mail")
    new = mask(store, old, kinds=["email", "phone"], meta=meta, engine=Serial())
    want = ["{}"] * old.samples if meta == "drop" else [r["meta"] for r in rows(store, old)]
    assert [r["meta"] for r in rows(store, new)] == want


def test_masking_the_masked_changes_nothing(store):
    once = mask(store, store.source("mail"), kinds=["email", "phone"], engine=Serial())
    twice = mask(store, once, kinds=["phone", "email"], engine=Serial())
    assert twice.digest == once.digest
    assert len(store.sources()) == 2


def test_where_nothing_is_found_the_version_is_the_same_one(store):
    old = store.source("mail")
    assert mask(store, old, kinds=["iban", "card"], engine=Serial()) == old
    assert mask(store, old, kinds=["iban", "card"], engine=Dies(0)) == old
    assert len(store.sources()) == 1
    copy = mask(store, old, kinds=["iban"], name="copy", engine=Serial())
    assert copy.spec["hits"] == {"iban": 0}
    assert copy.spec["changed"] == 0


def test_the_same_bytes_with_any_engine_and_after_being_stopped(store, tmp_path):
    old = store.source("mail")
    want = mask(store, old, kinds=["email", "phone"], name="serial", engine=Serial())
    trees = [tree(folder(store, want))]
    for engine, workers in (("local", 1), ("local", 2), ("ray", 2)):
        if engine == "ray":
            pytest.importorskip("ray")
        made = choose(engine, workers=workers, address=None)
        other = Store(tmp_path / f"{engine}{workers}")
        other.root.mkdir()
        (other.root / "sources").mkdir()
        (other.root / "sources" / "mail").symlink_to(store.root / "sources" / "mail")
        try:
            version = mask(other, old, kinds=["email", "phone"], name="serial", engine=made)
        finally:
            made.close()
        assert version.digest == want.digest
        trees.append(tree(folder(other, version)))
    third = Store(tmp_path / "third")
    (third.root / "sources").mkdir(parents=True)
    (third.root / "sources" / "mail").symlink_to(store.root / "sources" / "mail")
    with pytest.raises(KeyboardInterrupt):
        mask(third, old, kinds=["email", "phone"], name="serial", engine=Dies(3))
    assert [s.name for s in third.sources()] == ["mail"]
    left = {p: p.stat().st_mtime_ns for p in third.root.glob("sources/serial/.work/*/version/samples/*.parquet")}
    assert len(left) == 3
    again = mask(third, old, kinds=["email", "phone"], name="serial", engine=Serial())
    kept = {p.name: p.stat().st_mtime_ns for p in (folder(third, again) / "samples").iterdir()}
    assert {kept[p.name] for p in left} == set(left.values())  # what was done is not done again
    trees.append(tree(folder(third, again)))
    assert all(t == trees[0] for t in trees)


def test_asked_again_it_is_there(store):
    first = mask(store, store.source("mail"), kinds=["email"], name="x", engine=Serial())
    assert mask(store, store.source("mail"), kinds=["email"], name="x", engine=Dies(0)) == first
    with pytest.raises(KeyboardInterrupt):
        mask(store, store.source("mail"), kinds=["phone"], name="x", engine=Dies(0))


def test_a_killed_process_leaves_no_version_and_the_next_one_finishes(store):
    code = (
        "import sys, os; sys.path.insert(0, sys.argv[2]);\n"
        "from catalog.store import Store; from curate.mask import mask\n"
        "class Slow:\n"
        "    name = 'slow'; workers = 1\n"
        "    def map(self, task, items, gpu=False):\n"
        "        for n, i in enumerate(items):\n"
        "            if n == 2: print('here', flush=True); import time; time.sleep(60)\n"
        "            yield task(i)\n"
        "s = Store(sys.argv[1]); mask(s, s.source('mail'), kinds=['email'], name='k', engine=Slow())\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(store.root), str(ROOT)], stdout=subprocess.PIPE)
    try:
        assert child.stdout.readline() == b"here\n"
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert [s.name for s in store.sources()] == ["mail"]
    began = time.monotonic()
    made = mask(store, store.source("mail"), kinds=["email"], name="k", engine=Serial())
    assert time.monotonic() - began < 30  # the dead let go of the lock
    assert made.samples == store.source("mail").samples


def test_what_cannot_be_asked(store):
    old = store.source("mail")
    for arguments, said in (
        ({"kinds": ["emails"]}, "did you mean `email`"),
        ({"kinds": []}, "nothing to mask"),
        ({"kinds": ["email"], "meta": "hide"}, "`meta` is `hide`"),
        ({"kinds": ["email"], "name": "../x"}, "cannot name a source"),
    ):
        with pytest.raises(UserError, match=said.replace("(", r"\(")) as e:
            mask(store, old, engine=Serial(), **arguments)
        assert e.value.usage


def test_books_that_do_not_balance_stop_it(store):
    from dataclasses import replace

    with pytest.raises(UserError, match="does not add up"):
        mask(store, replace(store.source("mail"), samples=99), kinds=["email"], name="x", engine=Serial())


def test_the_digest_is_that_of_an_ingest_of_the_masked_content(store):
    new = mask(store, store.source("mail"), kinds=["email"], name="x", engine=Serial())
    parts = [("", sha256(json.dumps([new.role, new.license]).encode()))]
    parts += [
        (r["id"], sha256("\0".join((r["digest"], r["task"], r["license"], r["meta"])).encode()))
        for r in rows(store, new)
    ]
    parts += [(f"!{r['locator']}", sha256(r["code"].encode())) for t in store.rejects(new) for r in t.to_pylist()]
    assert content_digest(iter(parts)) == new.digest
    assert store.samples(new, 0).schema.equals(SAMPLE)


def test_json_values_and_keys(tmp_path):
    from curate.mask import _MaskShard

    task = _MaskShard(
        before=tmp_path, folder=tmp_path, old="a", name="a", kinds=("email", "card", "secret"), meta="mask"
    )
    metas = ['{"a@cuvee.org": 1, "b@cuvee.org": {"n": 4111111111111111, "line": "x\\nme@cuvee.org"}, "password": "tG7#kq92Lw"}',
             '{"x":   1.50}', "{}", "not json"]  # fmt: skip
    made, _ = task._metas(metas)
    assert json.loads(made[0]) == {
        "<EMAIL>": 1, "<EMAIL>_": {"n": "<CARD>", "line": "x\n<EMAIL>"}, "password": "<SECRET>",
    }  # fmt: skip
    assert made[1:] == ['{"x":   1.50}', "{}", "{}"]
    assert task._metas(made)[0] == made

# ruff: noqa: E501 - tables of cases read best one case a line
import gzip
import json
import os
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.errors import UserError
from catalog.schema import REJECT_CODES
from curate.sources import base
from curate.sources._fields import Fields
from tests.curate.sources.helpers_sources import codes, image, lines, outcomes, tar

JPG = image()


def said(draft: base.Draft | base.Reject) -> list[tuple[str, str]]:
    assert isinstance(draft, base.Draft), draft
    return [(m["role"], m["content"]) for m in draft.messages]


# -- contract -----------------------------------------------------------------------------------------------------------


def test_the_five_formats_are_found():
    assert base.names() == ["conversations", "parquet", "table", "text", "webdataset"]


@pytest.mark.parametrize("name", base.names())
def test_contract(name, tmp_path):
    # Unknown parameter: the nearest one is offered; wrong path: the nearest sibling.
    with pytest.raises(UserError, match="did you mean `path`") as e:
        base.load(name, {"pahts": "x"}, tmp_path)
    assert e.value.usage
    with pytest.raises(UserError, match="needs `path`"):
        base.load(name, {}, tmp_path)
    (tmp_path / "records.jsonl").write_bytes(b"")
    with pytest.raises(UserError, match=r"did you mean `.*records.jsonl`") as e:
        base.load(name, {"path": "recods.jsonl"}, tmp_path).plan(10)
    assert e.value.usage
    with pytest.raises(UserError, match="no file matches"):
        base.load(name, {"path": "*.nothing"}, tmp_path).plan(10)
    with pytest.raises(UserError, match="did you mean `question`"):
        base.load(name, {"path": "records.jsonl", "fields": {"qestion": "q"}}, tmp_path)
    assert base._reader(name).__doc__
    # One file of a glob that cannot be read is one reject.
    (tmp_path / "bad.parquet").write_bytes(b"")
    (tmp_path / "bad.tar").write_bytes(b"")
    bad = "bad.tar" if name == "webdataset" else "bad.parquet"
    assert codes(outcomes(name, tmp_path, path=bad)) == ["unreadable"]


def test_unknown_format():
    with pytest.raises(UserError, match="did you mean `webdataset`"):
        base.load("webdatset", {}, Path())


# -- text ---------------------------------------------------------------------------------------------------------------


def test_text_jsonl_good_and_bad(tmp_path):
    lines(
        tmp_path / "a.jsonl",
        [
            {"text": "one", "n": 1},
            b"\n  \n",
            b'{"text": "\xff"}\n',
            b'{"text": \n',
            b"[1]\n",
            b'{"text": NaN}\n',
            b'{"text": 1e999}\n',
            b'{"text": ' + b"9" * 5000 + b"}\n",
            b'{"text": "x", "deep": ' + b"[" * 50_000 + b"]" * 50_000 + b"}\n",
            {"text": "\ud800"},
            {"text": "ok", "other": "\udfff"},
            {"text": " "},
            {"txt": "x"},
            {"text": {"a": 1}},
            {"text": "a\0b"},
            {"text": "see <image>"},
            b'{"text": "last"}',
        ],
    )
    found = outcomes("text", tmp_path, path="a.jsonl")
    assert codes(found) == [
        "ok", "bad_utf8", "bad_json", "bad_json", "bad_json", "bad_json", "bad_json", "bad_json", "bad_utf8", "bad_utf8",
        "empty", "bad_record", "bad_record", "ok", "mark_mismatch", "ok",
    ]  # fmt: skip
    assert set(codes(found)) - {"ok"} <= set(REJECT_CODES)
    assert said(found[0]) == [("assistant", "one")]
    assert found[0].locator == "a.jsonl:1"
    assert found[1].locator == "a.jsonl:4"
    assert json.loads(found[0].meta) == {"n": 1}
    assert said(found[13]) == [("assistant", "a\0b")]


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 9),
    parts=st.lists(st.sampled_from(["", " \t", '{"text":"é"}', '{"text":"x y"}', "{", '{"text":"\\n"}']), max_size=30),
    end=st.booleans(),
)
def test_every_line_comes_once_whatever_the_slice(tmp_path_factory, rows, parts, end):
    folder = tmp_path_factory.mktemp("lines")
    # An anchor, so that the field map finds its field.
    text = "\n".join(['{"text":"anchor"}', *parts]) + ("\n" if end else "")
    (folder / "a.jsonl").write_bytes(text.encode())
    with gzip.open(folder / "b.jsonl.gz", "wb") as f:
        f.write(text.encode())
    want = [f"a.jsonl:{n}" for n, line in enumerate(text.split("\n"), 1) if line.strip()]
    want += [w.replace("a.jsonl", "b.jsonl.gz") for w in want]
    found = outcomes("text", folder, rows, path="?.jsonl*")
    assert [o.locator for o in found] == want
    whole = outcomes("text", folder, 1000, path="?.jsonl*")
    assert whole == found


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(1, 5), cells=st.lists(st.text('ab"\n,é ', max_size=6), min_size=1, max_size=12))
def test_every_csv_row_comes_once_whatever_the_slice(tmp_path_factory, rows, cells):
    import csv

    folder = tmp_path_factory.mktemp("csv")
    with (folder / "a.csv").open("w", newline="", encoding="utf-8") as f:
        writer = csv.writer(f)
        writer.writerow(["text", "n"])
        writer.writerows([c, n] for n, c in enumerate(cells))
    found = outcomes("text", folder, rows, path="a.csv")
    assert [o.locator for o in found] == [f"a.csv:{n}" for n in range(1, len(cells) + 1)]
    assert [said(o)[0][1] for o in found if isinstance(o, base.Draft)] == [c for c in cells if c.strip()]


def test_text_json_documents(tmp_path):
    fields = {"question": "q", "answer": "a"}
    (tmp_path / "array.json").write_text(json.dumps([{"q": 'a "[{" b', "a": n} for n in range(5)], indent=2))
    (tmp_path / "deep.json").write_text(json.dumps({"info": {"x": [1]}, "data": {"items": [{"q": "x", "a": 1}, 7]}}))
    (tmp_path / "map.json").write_text(json.dumps({"k1": {"q": "x", "a": 1}, "k2": {"q": "y", "a": 2.0}}))
    (tmp_path / "lines.json").write_text('{"q": "x", "a": 1}\n{"q": "y", "a": 2}\n')
    (tmp_path / "broken.json").write_text('{"q": \n{"q": "y", "a": 2}\n')
    assert codes(outcomes("text", tmp_path, path="broken.json", fields=fields)) == ["bad_json", "ok"]
    (tmp_path / "cut.json").write_text('[{"q": "x", "a": 1}, {"q": "y", "a"')
    assert codes(outcomes("text", tmp_path, 2, path="array.json", fields=fields)) == ["ok"] * 5
    assert codes(outcomes("text", tmp_path, path="deep.json", records="data.items", fields=fields)) == [
        "ok",
        "bad_json",
    ]
    found = outcomes("text", tmp_path, path="map.json", records="*", fields=fields)
    assert said(found[1]) == [("user", "y"), ("assistant", "2")]
    assert json.loads(found[1].meta) == {"_key": "k2", "a": 2.0}
    assert codes(outcomes("text", tmp_path, path="lines.json", fields=fields)) == ["ok", "ok"]
    assert codes(outcomes("text", tmp_path, path="cut.json", fields=fields)) == ["ok", "truncated"]


def test_truncated_gzip_keeps_its_whole_lines(tmp_path):
    packed = gzip.compress(b"".join(b'{"text": "%d %s"}\n' % (n, os.urandom(20).hex().encode()) for n in range(500)))
    (tmp_path / "a.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    (tmp_path / "b.jsonl.gz").write_bytes(b"no gzip at all")
    found = outcomes("text", tmp_path, 7, path="*.gz")
    assert codes(found).count("ok") > 100
    assert codes(found)[-2:] == ["truncated", "unreadable"]


def test_text_files(tmp_path):
    (tmp_path / "a.md").write_text("# A")
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe")
    (tmp_path / "c.txt").write_text("")
    assert codes(outcomes("text", tmp_path, 2, path=".")) == ["ok", "bad_utf8", "empty"]


def test_field_of_no_record_is_an_error(tmp_path):
    lines(tmp_path / "a.jsonl", [{"question": "q", "answer": "a"}])
    with pytest.raises(UserError, match=r"no field `anser`.*did you mean `answer`"):
        base.load("text", {"path": "a.jsonl", "fields": {"question": "question", "answer": "anser"}}, tmp_path).plan(5)


# -- the field map --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "record", "want"),
    [
        ({"text": "t"}, {"t": "x"}, [("assistant", "x")]),
        ({"text": ["a", "b"]}, {"a": "x", "b": None}, [("assistant", "x")]),
        ({"text": "t", "system": "s"}, {"t": 10**400 // 10**399, "s": float("nan")}, [("assistant", "10")]),
        ({"text": "k.total"}, {"k": {"total": 2.5}}, [("assistant", "2.5")]),
        ({"text": "c.0.v"}, {"c": [{"v": "x"}]}, [("assistant", "x")]),
        ({"text": "l.*.t"}, {"l": [{"t": "a"}, {"t": "b"}]}, [("assistant", "a\nb")]),
        ({"instruction": "i", "input": "n?", "output": "o"}, {"i": "do", "o": ""}, [("user", "do"), ("assistant", "")]),
        ({"instruction": "i", "input": "n", "output": "o"}, {"i": "do", "n": "x", "o": "y"}, [("user", "do\n\nx"), ("assistant", "y")]),
        ({"question": "q", "choices": "c", "answer": "a"}, {"q": "?", "c": ["x", "y"], "a": 1}, [("user", "?\nA. x\nB. y"), ("assistant", "B")]),
        ({"question": "q", "choices": "c"}, {"q": "?", "c": ["(A)x", "(B)y"]}, [("user", "?\n(A)x\n(B)y")]),
        ({"messages": "m", "system": "s"}, {"s": "be", "m": [{"from": "human", "value": "h"}, {"from": "gpt", "value": "g"}]}, [("system", "be"), ("user", "h"), ("assistant", "g")]),
        ({"messages": "m"}, {"m": [{"user": "h", "assistant": "g"}]}, [("user", "h"), ("assistant", "g")]),
    ],
)  # fmt: skip
def test_field_map(fields, record, want):
    draft = Fields.of(fields, "", "test").draft(record, "x", lambda v: JPG)
    assert said(draft) == want


def test_image_marks():
    def draft(fields, record, prompt=""):
        return Fields.of(fields, prompt, "test").draft(record, "x", lambda v: JPG)

    assert said(draft({"image": "i", "text": "t"}, {"i": "a", "t": "cap"})) == [
        ("user", "<image>"),
        ("assistant", "cap"),
    ]
    assert said(draft({"image": "i", "text": "t"}, {"i": "a", "t": ""})) == [("user", "<image>"), ("assistant", "")]
    assert said(draft({"image": "i"}, {"i": "a"}, "Describe.")) == [("user", "<image>\nDescribe.")]
    assert said(draft({"image": ["i", "j"], "question": "q"}, {"i": "a", "j": ["b", "c"], "q": "?"})) == [
        ("user", "<image>\n<image>\n<image>\n?")
    ]
    assert said(draft({"image": "i", "question": "q"}, {"i": "a", "q": "see <image>?"})) == [("user", "see <image>?")]
    with pytest.raises(base.Bad) as e:
        draft({"image": "i", "question": "q"}, {"i": "a", "q": "<image> <image>"})
    assert e.value.code == "mark_mismatch"


def test_boxes():
    fields = Fields.of(
        {"image": "i", "boxes": {"ocr": {"quad": "b", "confidence": "c", "confidence_scale": 100}}}, "", "test"
    )
    ocr = [{"b": [1, 2, 3, 4], "text": "x", "c": 50}, {"b": [1, 2, 3, 2, 3, 4, 1, 4], "text": "y", "c": None}]
    boxes = fields.draft({"i": "a", "ocr": ocr}, "x", lambda v: JPG).boxes
    assert boxes[0] == {"media": 0, "text": "x", "quad": [1, 2, 3, 2, 3, 4, 1, 4], "confidence": 0.5}
    assert boxes[1]["quad"] == boxes[0]["quad"]
    for wrong in (
        {"b": [1, 2, 3], "c": 1},
        {"b": [1, 2, 3, "x"], "c": 1},
        {"b": [1, 2, 3, 4], "c": 101},
        None,
        {"b": [10**400] * 4},
    ):
        with pytest.raises(base.Bad):
            fields.draft({"i": "a", "ocr": [wrong]}, "x", lambda v: JPG)


# -- table --------------------------------------------------------------------------------------------------------------


def test_image_folder_with_captions(tmp_path):
    root = tmp_path / "in"
    (root / "sub").mkdir(parents=True)
    for name in ("b.jpg", "a.png", "sub/c.webp", "d.jpg"):
        (root / name).write_bytes(JPG)
    (root / "b.txt").write_text("a red thing\n")
    (root / "d.txt").write_bytes(b"\xff")
    (root / "notes.svg").write_text("<svg/>")
    outside = tmp_path / "secret.jpg"
    outside.write_bytes(JPG)
    (root / "link.jpg").symlink_to(outside)
    found = outcomes("table", root, path=".", prompt="Describe.")
    assert [o.locator for o in found] == ["a.png", "b.jpg", "d.jpg", "link.jpg", "sub/c.webp"]
    assert codes(found) == ["ok", "ok", "bad_utf8", "unsafe_path", "ok"]
    assert said(found[0]) == [("user", "<image>\nDescribe.")]
    assert said(found[1]) == [("user", "<image>\nDescribe."), ("assistant", "a red thing")]


@pytest.mark.parametrize("kind", ["jsonl", "csv", "tsv", "parquet"])
def test_tables(tmp_path, kind):
    root = tmp_path / "in"
    (root / "img").mkdir(parents=True)
    (root / "img" / "a.jpg").write_bytes(JPG)
    (tmp_path / "out.jpg").write_bytes(JPG)
    paths = [
        "img/a.jpg",
        "img/none.jpg",
        "../out.jpg",
        str(tmp_path / "out.jpg"),
        str(root / "img/a.jpg"),
        "https://x/y.jpg",
        "img",
    ]
    rows = [{"image": p, "caption": f"c{n}"} for n, p in enumerate(paths)]
    file = root / f"t.{kind}"
    if kind == "jsonl":
        lines(file, rows)
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), file, row_group_size=2)
    else:
        sep = "," if kind == "csv" else "\t"
        file.write_text("\n".join(sep.join(r) for r in [["image", "caption"], *[list(r.values()) for r in rows]]))
    found = outcomes("table", root, path=file.name, fields={"image": "image", "text": "caption"})
    assert codes(found) == ["ok", "missing_image", "unsafe_path", "unsafe_path", "ok", "missing_image", "missing_image"]
    assert found[4].images == (JPG,)


def test_ragged_csv(tmp_path):
    (tmp_path / "a.csv").write_bytes(b'text,n\na,1\nb\nc,2,3\n"d\nd",4\n\xff,5\n"e"x,6\nf,7\n')
    found = outcomes("text", tmp_path, 2, path="a.csv")
    assert codes(found) == ["ok", "bad_record", "bad_record", "ok", "bad_utf8", "bad_record", "ok"]


# -- parquet --------------------------------------------------------------------------------------------------------------


def test_parquet_images(tmp_path):
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table(
        {
            "image": pa.array([{"bytes": JPG, "path": "a.jpg"}, {"bytes": None, "path": "b.jpg"}, None] * 5, struct),
            "caption": ["x", "y", "z"] * 5,
        }
    )
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=4)
    (tmp_path / "b.parquet").write_bytes(b"PAR1 no")
    found = outcomes("parquet", tmp_path, 4, path="*.parquet", fields={"image": "image", "text": "caption"})
    assert codes(found) == ["ok", "missing_image", "ok"] * 5 + ["unreadable"]
    assert found[0].images == (JPG,)
    assert json.loads(found[0].meta) == {"image": {"path": "a.jpg"}}


def test_parquet_the_cauldron(tmp_path):
    texts = [{"user": "q1", "assistant": "a1", "source": "s"}, {"user": "q2", "assistant": "a2", "source": "s"}]
    pq.write_table(pa.table({"images": [[{"bytes": JPG, "path": None}] * 2], "texts": [texts]}), tmp_path / "a.parquet")
    found = outcomes("parquet", tmp_path, path="a.parquet", fields={"image": "images", "messages": "texts"})
    assert said(found[0]) == [
        ("user", "<image>\n<image>\nq1"),
        ("assistant", "a1"),
        ("user", "q2"),
        ("assistant", "a2"),
    ]
    assert found[0].images == (JPG, JPG)


# -- conversations ----------------------------------------------------------------------------------------------------------


def test_conversations(tmp_path):
    (tmp_path / "img").mkdir()
    (tmp_path / "img/a.jpg").write_bytes(JPG)
    ask = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "That."}]
    records = [
        {"id": 1, "image": "a.jpg", "conversations": ask},
        {"image": ["a.jpg", "a.jpg"], "conversations": ask},
        {
            "conversations": [
                {"from": "system", "value": "s"},
                {"from": "human", "value": "h"},
                {"from": "gpt", "value": "g"},
            ]
        },
        {
            "images": ["a.jpg"],
            "messages": [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "?"}]}],
        },
        {"image": "../x.jpg", "conversations": ask},
        {"conversations": [{"from": "alien", "value": "h"}]},
        {"conversations": []},
        {"image": "a.jpg"},
    ]
    want = ["ok", "mark_mismatch", "ok", "ok", "unsafe_path", "bad_record", "empty", "bad_record"]
    (tmp_path / "a.json").write_text(json.dumps(records))
    lines(tmp_path / "a.jsonl", records)
    for path in ("a.json", "a.jsonl"):
        found = outcomes("conversations", tmp_path, path=path, images="img")
        assert codes(found) == want
        assert said(found[3]) == [("user", "<image>\n?")]


# -- webdataset -----------------------------------------------------------------------------------------------------------


def test_webdataset(tmp_path):
    link = tarfile.TarInfo("e.jpg")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    members = [
        ("a.jpg", JPG), ("a.txt", b"cap"), ("a.pkl", b"cos\nsystem\n(S'touch /tmp/pwned'\ntR."),
        ("../b.jpg", JPG), ("/c.jpg", JPG), link,
        ("a.jpg", JPG), ("a.txt", b"again"),
        ("d.png", JPG), ("d.json", json.dumps({"messages": [{"role": "user", "content": "<image>?"}]}).encode()),
        ("f.txt", b"\xff"), ("g.json", b"{"), ("h.cls", b"3"), ("README", b"x"), ("i.txt", b"text only"),
    ]  # fmt: skip
    tar(tmp_path / "x-000.tar", members)
    tar(tmp_path / "x-001.tar", [("a.jpg", JPG), ("a.txt", b"other shard")])
    found = outcomes("webdataset", tmp_path, 2, path="x-{000..001}.tar")
    assert codes(found) == [
        "ok", "unsafe_path", "unsafe_path", "unsafe_path", "duplicate_key", "ok", "bad_utf8", "bad_json", "empty", "bad_record",
        "ok", "ok",
    ]  # fmt: skip
    assert said(found[0]) == [("user", "<image>"), ("assistant", "cap")]
    assert json.loads(found[0].meta)["_members"] == ["pkl"]
    assert found[0].locator == "x-000.tar/a"


def test_truncated_tars_at_every_kind_of_place(tmp_path):
    whole = tar(tmp_path / "w.tar", [m for n in range(6) for m in ((f"{n}.jpg", JPG), (f"{n}.txt", b"c"))]).read_bytes()
    step = 1024 + -(-len(JPG) // 512) * 512 + 512
    for at in (700, step - 400, step + 512, step * 3, step * 3 + 600, step * 6 - 300, step * 6):
        (tmp_path / "t.tar").write_bytes(whole[:at])
        found = codes(outcomes("webdataset", tmp_path, 2, path="t.tar"))
        assert found[-1] == "truncated", (at, found)
        assert found.count("ok") == at // step
    (tmp_path / "junk.tar").write_bytes(whole[: step * 2] + b"junk" * 1000)
    assert codes(outcomes("webdataset", tmp_path, 2, path="junk.tar")) == ["ok", "ok", "truncated"]
    (tmp_path / "t.tar.gz").write_bytes(gzip.compress(whole))
    assert codes(outcomes("webdataset", tmp_path, 4, path="t.tar.gz")) == ["ok"] * 6

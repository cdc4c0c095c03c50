import contextlib
import json
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent / "sources"))
from helpers_sources import Dies, Serial, image, lines

from catalog.digests import sample_digest, sha256
from catalog.errors import UserError
from catalog.shards import MediaReader, read_table
from catalog.store import Store
from curate.engines.choose import choose
from curate.ingest import SourceSpec, ingest
from curate.spans import find, kernels, runs, texts
from curate.spans.cut import cut, summary_of, table_of
from curate.spans.find import Rules, Units
from curate.spans.texts import Chunk

ROOT = Path(__file__).parents[2]
LINES = Rules(lines=Units(times=2, characters=5))
PARAGRAPHS = Rules(paragraphs=Units(times=2, characters=5))
SUBSTRING = Rules(substring=20)
ALL = replace(LINES, paragraphs=Units(times=2, characters=20), substring=24)
MARKS = (b"<image>", b"<video>", b"<audio>", b"<mesh>")


def put(store, name, rows, *, fields=None, shard_rows=2, order=None):
    """Ingest `rows` (texts, or records) as a source; their ids are a, b, c .. by way of one file each."""
    data = store.root.parent / f"data-{name}-{shard_rows}"
    for n, row in enumerate(rows):
        lines(data / f"{chr(97 + n)}.jsonl", [row if isinstance(row, dict) else {"text": row}])
    spec = SourceSpec.of({"name": name, "format": "text", "path": "*.jsonl", "fields": fields or {"text": "text"},
                          "task": "text", "license": "CC0-1.0"})  # fmt: skip
    return ingest(store, spec, engine=Serial(), data=data, shard_rows=shard_rows)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def folder(store, version):
    return store.source_dir(version.name, version.digest)


def rows(store, version):
    return [row for n in range(version.shards) for row in store.samples(version, n).to_pylist()]


def said(store, version):
    return {r["id"].partition("/")[2][0]: r["messages"][-1]["content"] for r in rows(store, version)}


def record(store, version):
    return [r for p in sorted((folder(store, version) / "cuts").glob("*.parquet")) for r in read_table(p).to_pylist()]


def tree(where):
    return {p.relative_to(where).as_posix(): sha256(p.read_bytes()) for p in sorted(where.rglob("*"))
            if p.is_file() and p.name != "source.json"}  # fmt: skip


def one(store, version, rules, **more):
    return cut(store, [version], rules=rules, engine=Serial(), **more)[0]


# -- what is found -----------------------------------------------------------------------------------------------------


def test_a_line_stays_where_it_stands_first(store):
    old = put(
        store,
        "x",
        ["Terms apply.\nA cat.\n", "A dog.\n  TERMS   apply. \nEnd", "ab\nab\nab\n", "A dog.\nmore\nterms apply."],
    )
    made = one(store, old, LINES)
    assert said(store, made.version) == {
        "a": "Terms apply.\nA cat.\n", "b": "A dog.\nEnd", "c": "ab\nab\nab\n", "d": "more",
    }  # fmt: skip
    cuts = record(store, made.version)
    assert [(r["id"], r["start"], r["end"], r["kind"], r["kept"], r["kept_start"], r["count"]) for r in cuts] == [
        ("x/b.jsonl:1", 7, 25, "line", "x/a.jsonl:1", 0, 3),
        ("x/d.jsonl:1", 0, 7, "line", "x/b.jsonl:1", 0, 2),
        ("x/d.jsonl:1", 11, 12, "space", None, None, None),
        ("x/d.jsonl:1", 12, 24, "line", "x/a.jsonl:1", 0, 3),
    ]
    assert made.summary == {
        "texts": 4, "bytes": 20 + 28 + 9 + 24, "changed": 2, "spared": 0, "emptied": 0,
        "cuts": {"line": 3, "paragraph": 0, "substring": 0, "space": 1},
        "cut_bytes": {"line": 18 + 7 + 12, "paragraph": 0, "substring": 0, "space": 1},
    }  # fmt: skip


def test_a_paragraph_ends_at_a_blank_line(store):
    old = put(store, "x", ["One two\nthree.\n\nA.\n", "B.\n \nONE two three.\n\n\nC.", "One two\nthree. Four\n\nD"])
    made = one(store, old, PARAGRAPHS)
    assert said(store, made.version) == {
        "a": "One two\nthree.\n\nA.\n", "b": "B.\n \nC.", "c": "One two\nthree. Four\n\nD",
    }  # fmt: skip


def test_so_many_samples_and_so_many_characters(store):
    texts_ = [f"{n}\na long line\n\tshort\n" for n in range(3)]
    old = put(store, "x", [*texts_, "a long line\na long line\na long line\n3"])
    assert one(store, old, Rules(lines=Units(times=5, characters=5))).version == old  # four samples have it
    got = said(store, one(store, old, Rules(lines=Units(times=4, characters=6))).version)
    assert got == {"a": texts_[0], "b": "1\n\tshort\n", "c": "2\n\tshort\n", "d": "3"}
    # Within a sample, too: now six places count, and the line goes wherever it stands again.
    got = said(store, one(store, old, Rules(lines=Units(times=6, characters=6), within=True)).version)
    assert got["d"] == "3"
    twice = put(store, "y", ["a long line\nb\na long line\nc", "d"])
    assert one(store, twice, LINES).version == twice
    assert said(store, one(store, twice, replace(LINES, within=True)).version)["a"] == "a long line\nb\nc"


def test_a_substring_goes_from_word_to_word(store):
    span = "the quick brown fox jumps over the lazy dog and on"
    old = put(store, "x", [f"Once {span}ly.", f"Then {span}wards it went.", f"é{span}"])
    made = one(store, old, SUBSTRING)
    assert said(store, made.version) == {"a": f"Once {span}ly.", "b": "Then onwards it went.", "c": "éthe"}
    assert [(r["start"], r["end"], r["kept_start"]) for r in record(store, made.version)] == [
        (5, 53, 5), (5, 6, None), (6, 52, 9),
    ]  # fmt: skip


def test_no_character_is_cut_through(store):
    wide = "漢字仮名交文章例文" * 3  # no white space: the end is that of a character
    old = put(store, "x", [f"x{wide}y", f"z语{wide[1:]}", f"{wide.replace('漢', '漣')}", wide[:-1]])
    made = one(store, old, SUBSTRING)
    assert said(store, made.version) == {"a": f"x{wide}y", "b": "z语", "c": "漣" * 3}
    assert made.version.rejects == 1


def test_no_mark_is_cut(store, tmp_path):
    data = tmp_path / "pages"
    said_ = "so <image> it is said, again and again, by all that are here"
    lines(
        data / "t.jsonl",
        [{"image": "i.png", "said": s} for s in (said_, f"{said_}!", f"{said_}\nby all\n", "<image>\nby all")],
    )
    (data / "i.png").write_bytes(image(kind="PNG"))
    spec = SourceSpec.of(
        {"name": "x", "format": "table", "path": "t.jsonl", "images": ".", "fields": {"image": "image", "text": "said"}}
    )
    old = ingest(store, spec, engine=Serial(), data=data)
    rules = replace(SUBSTRING, media=True)
    assert [r["messages"][-1]["content"] for r in rows(store, one(store, old, rules).version)] == [
        said_, "so <image> here!", "so <image> here\nby all\n", "<image>\nby all",
    ]  # fmt: skip
    lines_ = Rules(lines=Units(times=2, characters=5), media=True)
    got = [r["messages"][-1]["content"] for r in rows(store, one(store, old, lines_).version)]
    assert got == [said_, f"{said_}!", f"{said_}\nby all\n", "<image>"]  # a line with a mark is none


def test_what_overlaps_itself_stays(store):
    old = put(store, "x", ["a" * 100, "-" * 30 + " b"])
    assert one(store, old, SUBSTRING).version == old
    got = said(store, one(store, old, replace(SUBSTRING, within=True)).version)
    assert got == {"a": "a" * 20, "b": "-" * 30 + " b"}


# -- exact: against a naive reference ----------------------------------------------------------------------------------


def naive(samples, size, *, within):
    """Return which bytes of which text are to go: those in a window that an earlier sample (or place) has, free of marks."""
    seen, out = {}, {}
    for s, t in [(s, t) for s, parts in enumerate(samples) for t in range(len(parts))]:
        text = samples[s][t]
        gone = out[s, t] = set()
        blocked = {k for m in MARKS for q in range(len(text)) if text.startswith(m, q) for k in range(q, q + len(m))}
        for p in range(len(text) - size + 1):
            window = text[p : p + size]
            if blocked & set(range(p, p + size)):
                continue
            if window not in seen:
                seen[window] = s, t, p
                continue
            a, b, c = seen[window]
            if a < s or (within and ((a, b) < (s, t) or c + size <= p)):
                gone |= set(range(p, p + size))
    return out


def found(samples, size, where, *, within):
    flat = [x for parts in samples for x in parts]
    offsets = np.concatenate([[0], np.cumsum([len(x) for x in flat])]).astype(np.int64)
    row = np.repeat(np.arange(len(samples)), [len(parts) for parts in samples])
    first = np.array([offsets[:-1][row == r].min() for r in row], np.int64)
    data = np.frombuffer(b"".join(flat), np.uint8)
    chunk = Chunk(data=data, offsets=offsets, base=offsets[:-1].copy(), sample=first, number=0)

    def repeated(kind, run):
        path = where / f"{kind}.arrow"
        runs.save(path, runs.tallied([run]))
        (where / kind / "00000.arrow").unlink(missing_ok=True)
        return runs.merged([path], where / kind, rows=0, least=2, mapped=lambda task, items: map(task, items))

    grams = repeated("gram", find.picks(chunk, size, size // 2)[0].rows(chunk, within=within))
    window = find.windows(chunk, size, size // 2, grams)
    kept, count = repeated("window", window.rows(chunk, within=within)).find(window.one, window.two)
    bar = np.full_like(first, -1) if within else first
    text, start, end, kept, _ = kernels.runs(window.start, window.text, offsets, chunk.base, bar, kept, count, size)
    for a, b, k in zip(start, end, kept, strict=True):
        assert data[a:b].tobytes() == data[k : k + b - a].tobytes()
    out = {(s, t): set() for s, parts in enumerate(samples) for t in range(len(parts))}
    for key, n in zip(out, range(len(flat)), strict=True):
        for a, b in zip(start[text == n], end[text == n], strict=True):
            out[key] |= set(range(a - offsets[n], b - offsets[n]))
    return out


alphabet = st.sampled_from([b"a", b"b", b"ab", b" ", b"<image>"])
words = st.lists(alphabet, min_size=1, max_size=60).map(b"".join)


@st.composite
def corpora(draw):
    source = draw(words) * 3
    piece = st.tuples(st.integers(0, 60), st.integers(1, 70)).map(lambda x: source[x[0] : x[0] + x[1]] or b"a")
    return draw(st.lists(st.lists(st.one_of(piece, words), min_size=1, max_size=2), min_size=1, max_size=6))


@settings(max_examples=60, deadline=None)
@given(samples=corpora(), size=st.sampled_from([16, 17, 24]), within=st.booleans())
def test_every_repeat_is_found_and_nothing_else(samples, size, within, tmp_path_factory):
    where = tmp_path_factory.mktemp("runs")
    assert found(samples, size, where, within=within) == naive(samples, size, within=within)


@settings(max_examples=60, deadline=None)
@given(text=words, size=st.integers(16, 30))
def test_the_pick_of_a_window_follows_from_its_bytes(text, size):
    data = np.frombuffer(text, np.uint8)
    bounds = np.array([0]), np.array([len(text)])
    keys, places, since, until = kernels.winnow(data, *bounds, size, size // 2)
    windows = max(0, len(text) - size + 1)
    picked = [k for k in range(len(keys)) for _ in range(until[k] - since[k])]
    assert len(picked) == windows
    of = {}
    for p, k in enumerate(picked):
        assert p <= places[k] <= p + size - size // 2
        assert of.setdefault(text[p : p + size], (keys[k], places[k] - p)) == (keys[k], places[k] - p)
    gram = {}  # equal grams, equal keys, and no others
    for key, place in zip(keys.tolist(), places.tolist(), strict=True):
        assert gram.setdefault(text[place : place + size // 2], key) == key
    assert len(set(gram.values())) == len(gram)


def test_few_picks_for_much_text():
    data = np.frombuffer(random.Random(0).randbytes(100_000), np.uint8)
    keys = kernels.winnow(data, np.array([0]), np.array([len(data)]), 200, 100)[0]
    assert 0.8 < len(keys) / (100_000 * 2 / 102) < 1.2  # density 2 / (window + 1), Schleimer et al. 2003, section 3.2


# -- runs --------------------------------------------------------------------------------------------------------------


def test_keys_that_share_their_first_hash_stay_apart(tmp_path):
    one = np.array([7, 7, 3, 7, 7], np.uint64)
    two = np.array([2, 1, 9, 2, 1], np.uint64)
    table = runs.tallied([(one, two, np.array([50, 40, 30, 20, 10]), np.array([5, 4, 3, 2, 4]))])
    assert table.to_pylist() == [
        {"one": 3, "two": 9, "first": 30, "count": 1},
        {"one": 7, "two": 1, "first": 10, "count": 1},  # one sample has it twice
        {"one": 7, "two": 2, "first": 20, "count": 2},
    ]
    paths = [tmp_path / "a.arrow", tmp_path / "b.arrow"]
    runs.save(paths[0], table)
    runs.save(paths[1], runs.tallied([(one[:2], two[:2], np.array([5, 60]), np.array([8, 9]))]))
    kept = runs.merged(paths, tmp_path / "m", rows=8 * runs.PART, least=3, mapped=lambda task, items: map(task, items))
    assert kept.bits == 4
    first, count = kept.find(np.array([7, 3, 7, 8], np.uint64), np.array([1, 9, 2, 1], np.uint64))
    assert (first.tolist(), count.tolist()) == ([0, 0, 5, 0], [0, 0, 3, 0])


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 9), st.integers(0, 2**64 - 1)), max_size=30)
)
@settings(max_examples=20, deadline=None)
def test_runs_cut_into_parts_say_the_same(tmp_path_factory, drawn):
    where = tmp_path_factory.mktemp("parts")
    spread = [0, 1 << 63, (1 << 63) + 1, 2**64 - 1]
    one, two, first = (np.array([d[k] for d in drawn]) for k in range(3))
    one = np.array([spread[int(x)] for x in one], np.uint64)
    run = one, two.astype(np.uint64), first.astype(np.int64), first.astype(np.int64)
    runs.save(where / "a.arrow", runs.tallied([run]))
    got = []
    for parts in (0, 4):
        kept = runs.merged(
            [where / "a.arrow"], where / str(parts), rows=parts * runs.PART, least=2, mapped=lambda t, i: map(t, i)
        )
        got.append([x.tolist() for x in kept.find(run[0], run[1])])
    assert got[0] == got[1]


# -- the new version ---------------------------------------------------------------------------------------------------

SENTENCES = [f"Sentence number {n} says {n * n % 17} things about {n % 5} matters." for n in range(12)]


def corpus(seed=0, n=17):
    pick = random.Random(seed)
    out = []
    for k in range(n):
        parts = [pick.choice(SENTENCES) for _ in range(pick.randrange(1, 5))] + [f"Own words {seed}-{k}."]
        pick.shuffle(parts)
        out.append("".join(p + pick.choice([" ", "\n", "\n\n"]) for p in parts))
    return out


def explained(store, made, *, within=False):
    """Hold every byte that went against the record, and every row of the record against the place that it names."""
    before = {r["id"]: r for m in made for r in rows(store, m.of)}
    after = {r["id"]: r for m in made for r in rows(store, m.version)}
    cuts = {}
    for m in made:
        assert m.version.rows == m.version.samples + m.version.rejects == m.of.rows
        for r in record(store, m.version):
            cuts.setdefault((r["id"], r["message"]), []).append(r)
    for id_, row in before.items():
        for n, message in enumerate(row["messages"]):
            raw, out, at = message["content"].encode(), b"", 0
            for r in cuts.get((id_, n), []):
                assert r["start"] >= at
                assert r["start"] < r["end"]
                out += raw[at : r["start"]]
                at = r["end"]
                gone = raw[r["start"] : r["end"]]
                if r["kind"] == "space":
                    assert not gone.strip()
                    continue
                assert within or r["kept"] != id_
                there = before[r["kept"]]["messages"][r["kept_message"]]["content"].encode()[r["kept_start"] :]
                if r["kind"] == "substring":
                    assert there.startswith(gone)
                else:
                    assert " ".join(there.decode().lower().split()).count(" ".join(gone.decode().lower().split()))
            out += raw[at:]
            if id_ in after:
                assert after[id_]["messages"][n]["content"].encode() == out
                assert after[id_]["messages"][n]["role"] == message["role"]
            else:
                assert not out.strip()
    for row in after.values():
        assert row["digest"] == sample_digest(row["messages"], row["media"], row["boxes"])
    return before, after


@pytest.mark.parametrize("within", [False, True])
def test_every_byte_that_goes_is_explained(store, within):
    versions = [put(store, "x", corpus(1)), put(store, "y", corpus(2), shard_rows=3)]
    made = cut(store, versions, rules=replace(ALL, within=within), engine=Serial())
    explained(store, made, within=within)
    assert sum(m.summary["cuts"]["substring"] + m.summary["cuts"]["line"] for m in made) > 20
    assert [m["made"] for m in summary_of(made)] == [m.version.ref for m in made]
    assert [r["of"][-1] for r in table_of(made)] == ["%", "%"]
    assert made[1].version.spec["order"][0]["source"] == versions[0].ref
    assert made[0].version.spec["substring"] == 24


def test_no_line_is_lost(store):
    versions = [put(store, "x", corpus(1)), put(store, "y", corpus(2), shard_rows=3)]
    made = cut(store, versions, rules=replace(LINES, within=True), engine=Serial())
    before, after = explained(store, made, within=True)
    lines_ = [x.strip() for r in before.values() for x in r["messages"][-1]["content"].split("\n") if x.strip()]
    left = [x.strip() for r in after.values() for x in r["messages"][-1]["content"].split("\n") if x.strip()]
    assert sorted(left) == sorted(set(lines_)) != sorted(lines_)


def test_the_order_is_that_of_sources_then_ids_whatever_the_shards(store):
    old = put(store, "x", corpus(3), shard_rows=2)
    again = put(store, "z", corpus(3), shard_rows=5)
    x, z = one(store, old, ALL), one(store, again, ALL)
    assert said(store, x.version) == said(store, z.version)
    first = cut(store, [old, again], rules=LINES, name="{}-xz", engine=Serial())
    second = cut(store, [again, old], rules=LINES, name="{}-zx", engine=Serial())
    assert said(store, first[0].version) == said(store, second[0].version)  # whoever comes first keeps
    assert first[0].version.name == "x-xz"
    assert first[1].summary["emptied"] == second[1].summary["emptied"] > 0
    assert {r["id"].partition("/")[0] for r in rows(store, first[0].version)} == {"x-xz"}
    assert {r["kept"].partition("/")[0] for r in record(store, first[1].version) if r["kept"]} == {"x-xz"}


def test_a_frozen_source_counts_and_is_not_cut(store):
    frozen, old = put(store, "a", corpus(4)), put(store, "b", corpus(5))
    made = cut(store, [old], against=[frozen], rules=LINES, engine=Serial())
    assert [m.of for m in made] == [old]
    assert len(store.sources()) == 3
    kept = {r["kept"].partition("/")[0] for r in record(store, made[0].version) if r["kept"]}
    assert "a" in kept
    lines_ = {x for t in corpus(4) for x in t.split("\n") if len(x) >= 5}
    assert not lines_ & {x for t in said(store, made[0].version).values() for x in t.split("\n")}


def test_a_question_and_its_only_answer_stay(store):
    qa = [{"q": f"Question {n}: is it so?", "a": a} for n, a in enumerate(
        ["It is so indeed.", "It is so indeed.", "It is so indeed.\nReally: 2."])]  # fmt: skip
    old = put(store, "x", qa, fields={"question": "q", "answer": "a"})
    made = one(store, old, LINES)
    assert said(store, made.version) == {"a": qa[0]["a"], "b": qa[1]["a"], "c": "Really: 2."}
    assert made.summary["spared"] == 1
    assert [r["messages"][0]["content"] for r in rows(store, made.version)] == [r["q"] for r in qa]
    # Questions go only if they are asked for.
    same = put(
        store,
        "y",
        [{"q": "Is it really so?\nAnd why?", "a": str(n)} for n in range(3)],
        fields={"question": "q", "answer": "a"},
    )
    assert one(store, same, LINES).version == same
    asked = one(store, same, replace(LINES, roles=("user", "assistant"), lines=Units(times=2, characters=10)))
    assert [r["messages"][0]["content"] for r in rows(store, asked.version)][1:] == ["And why?"] * 2


def test_a_document_of_which_nothing_is_left_becomes_a_reject(store):
    old = put(store, "x", ["A line here.\nB line here.\n", " b line  here.\nA LINE here.\n\n", "c"])
    made = one(store, old, LINES, name="y")
    assert (made.version.rows, made.version.samples, made.version.rejects) == (3, 2, 1)
    assert made.version.rejected == {"empty": 1}
    assert made.summary["emptied"] == 1
    assert made.summary["changed"] == 0
    reject = [r for t in store.rejects(made.version) for r in t.to_pylist()]
    assert reject == [{"source": "y", "locator": "b.jsonl:1", "code": "empty",
                       "message": "all of its text stands elsewhere, too; it begins in `y/a.jsonl:1`"}]  # fmt: skip
    assert made.version.tasks == {"text": 2}


def test_media_and_boxes_stay_and_are_cut_only_when_asked(store, tmp_path):
    data = tmp_path / "scans"
    quad = [0, 0, 9, 0, 9, 9, 0, 9]
    for n in range(5):
        (data).mkdir(exist_ok=True)
        (data / f"{n}.jpg").write_bytes(image(color=(n * 9, 3, 99)))
    lines(data / "t.jsonl", [{"image": f"{n}.jpg", "said": f"receipt {n}\n12 Market Street\ntotal {n}",
                              "lines": [{"quad": quad, "text": "12 Market Street"}]} for n in range(5)])  # fmt: skip
    fields = {"image": "image", "text": "said", "boxes": {"lines": {"quad": "quad", "text": "text"}}}
    asked = {"name": "scan", "format": "table", "path": "t.jsonl", "images": ".", "task": "ocr", "fields": fields}
    spec = SourceSpec.of(asked)
    old = ingest(store, spec, engine=Serial(), data=data, shard_rows=2)
    with pytest.raises(UserError, match="no sample has a text") as e:
        one(store, old, LINES)
    assert "--with-media" in e.value.hint
    assert not list(store.root.glob("sources/*/.work/*"))
    made = one(store, old, replace(LINES, media=True), name="cut")
    after = rows(store, made.version)
    assert [r["messages"][-1]["content"] for r in after][1:] == [f"receipt {n}\ntotal {n}" for n in range(1, 5)]
    assert all(r["messages"][0]["content"].startswith("<image>") for r in after)
    assert [r["boxes"] for r in after] == [r["boxes"] for r in rows(store, old)]
    assert made.version.media == old.media
    with MediaReader(folder(store, made.version)) as reader:
        for r in after:
            for m in r["media"]:
                assert sha256(reader.read(m["shard"], m["offset"], m["size"])) == m["digest"]
    none = one(store, old, Rules(lines=Units(times=6, characters=5), media=True))
    assert none.version == old


def test_nothing_to_cut_is_the_same_version(store):
    old = put(store, "x", ["one line here", "another line here"])
    made = one(store, old, ALL)
    assert made.version == old
    assert one(store, old, ALL).version == old
    copy = one(store, old, ALL, name="copy").version
    assert (copy.samples, copy.spec["changed"]) == (2, 0)
    assert cut(store, [old], rules=ALL, engine=Dies(0))[0].version == old  # it is known


def test_the_same_bytes_with_any_engine_chunk_part_and_after_being_stopped(store, tmp_path, monkeypatch):
    versions = [put(store, "x", corpus(6, 9)), put(store, "y", corpus(7, 9), shard_rows=3)]

    def elsewhere(name):
        other = Store(tmp_path / name)
        (other.root / "sources").mkdir(parents=True)
        for n in ("x", "y"):
            (other.root / "sources" / n).symlink_to(store.root / "sources" / n)
        return other

    def trees(other, engine):
        made = cut(other, versions, rules=ALL, name="{}-cut", engine=engine)
        return [tree(folder(other, m.version)) for m in made]

    want = trees(elsewhere("serial"), Serial())
    assert any("cuts/" in name for name in want[0])
    for engine, workers in (("local", 1), ("local", 2), ("ray", 2)):
        if engine == "ray":
            pytest.importorskip("ray")
        made = choose(engine, workers=workers, address=None)
        try:
            assert trees(elsewhere(f"{engine}{workers}"), made) == want
        finally:
            made.close()
    with monkeypatch.context() as m:
        m.setattr(runs, "PART", 100)
        m.setattr(texts, "CHUNK", 90)
        assert trees(elsewhere("small"), Serial()) == want
    stopped = elsewhere("stopped")
    for at in (0, 3):
        with pytest.raises(KeyboardInterrupt):
            cut(stopped, versions, rules=ALL, name="{}-cut", engine=Dies(at))
        assert {s.name for s in stopped.sources()} == {"x", "y"}
    assert trees(stopped, Serial()) == want
    assert not list(stopped.root.glob("sources/*/.work/*"))


def test_a_killed_process_leaves_no_version_and_the_next_one_finishes(store):
    old = put(store, "x", corpus(8))
    code = (
        "import sys, os, time; sys.path.insert(0, sys.argv[2]);\n"
        "from catalog.store import Store; from curate.spans.cut import cut; from curate.spans.find import Rules, Units\n"
        "class Slow:\n"
        "    name = 'slow'; workers = 1\n"
        "    def map(self, task, items, gpu=False):\n"
        "        for n, i in enumerate(items):\n"
        "            if type(task).__name__ == 'Write' and n == 2: print('here', flush=True); time.sleep(60)\n"
        "            yield task(i)\n"
        "s = Store(sys.argv[1]); cut(s, [s.source('x')], rules=Rules(lines=Units(times=2, characters=5)), engine=Slow())\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(store.root), str(ROOT)], stdout=subprocess.PIPE)
    try:
        assert child.stdout.readline() == b"here\n"
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert store.sources() == [old]
    began = time.monotonic()
    made = one(store, old, LINES)
    assert time.monotonic() - began < 30  # the dead let go of the lock
    explained(store, [made])
    assert made.version != old


def test_stopped_between_two_sources_it_goes_on(store, monkeypatch):
    from curate.spans import cut as module

    versions = [put(store, "x", corpus(6, 9)), put(store, "y", corpus(7, 9))]
    publish, calls = module.publish, []

    def once(staging, target):
        calls.append(target)
        if len(calls) == 2:
            raise KeyboardInterrupt
        publish(staging, target)

    monkeypatch.setattr(module, "publish", once)
    with pytest.raises(KeyboardInterrupt):
        cut(store, versions, rules=ALL, engine=Serial())
    monkeypatch.undo()
    assert len(store.sources()) == 3
    made = cut(store, versions, rules=ALL, engine=Serial())
    explained(store, made)
    assert len(store.sources()) == 4


def test_a_false_match_is_never_cut(store, monkeypatch):
    old = put(store, "x", ["one line here", "another line here"])
    monkeypatch.setattr(kernels, "text_keys", lambda data, offsets: (np.zeros(len(offsets) - 1, np.uint64),) * 2)
    with pytest.raises(RuntimeError, match="same hashes"):
        one(store, old, LINES)
    monkeypatch.undo()
    old = put(store, "y", ["0123456789abcdefghijklmnopqrst", "zyxwvutsrqponmlkjihgfedcba98765"], shard_rows=1)
    monkeypatch.setattr(find, "windows", lambda chunk, size, gram, grams: find.Found(
        start=np.zeros(1, np.int64), end=np.full(1, size), text=np.zeros(1, np.int64),
        one=np.zeros(1, np.uint64), two=np.zeros(1, np.uint64)))  # fmt: skip
    with pytest.raises(RuntimeError, match="same hashes"):
        cut(store, [old], rules=SUBSTRING, engine=Serial())
    assert {s.name for s in store.sources()} == {"x", "y"}


def test_kinds_by_name():
    rules = Rules.of(["lines", "substrings"], size=99, within=True)
    assert rules == Rules(lines=find.LINES, substring=99, within=True)
    assert Rules.of(["paragraphs"]).record() == {
        "paragraphs": {"times": 2, "characters": 100}, "roles": ["assistant"], "media": False, "within": False,
    }  # fmt: skip


def test_progress_says_the_steps(store):
    heard = []
    old = put(store, "x", corpus(9))
    cut(store, [old], rules=ALL, engine=Serial(), progress=lambda *x: heard.append(x))
    assert [s for s, done, _ in heard if done == 0] == [
        "measure", "keys", "merge lines", "merge paragraphs", "merge grams", "windows", "merge windows", "write", "verify",
    ]  # fmt: skip
    assert ("write", old.shards, old.shards) in heard


def test_the_command(store, monkeypatch):
    from click.testing import CliRunner

    import cli

    monkeypatch.setattr(cli, "opened", lambda *_: contextlib.closing(Serial()))
    put(store, "x", ["One line here.\nA", "One line here.\nB"])
    put(store, "y", ["One line here.\nC", "D"])
    asked = [
        "cut",
        "x",
        "y",
        "--kinds",
        "lines",
        "--line-times",
        "2",
        "--line-characters",
        "5",
        "--as",
        "{}-cut",
        "--store",
        str(store.root),
    ]
    done = CliRunner().invoke(cli.cuvee, [*asked, "--json"])
    assert done.exit_code == 0, done.output
    out = json.loads(done.stdout)
    assert [(r["changed"], r["cuts"]["line"], r["made"].partition("@")[0]) for r in out] == [
        (1, 1, "x-cut"),
        (1, 1, "y-cut"),
    ]
    shown = CliRunner().invoke(cli.cuvee, asked)
    assert "x-cut@" in shown.stdout
    frozen = CliRunner().invoke(
        cli.cuvee, [*asked[:1], "y", "--against", "x", *asked[3:-3], "{}-b", *asked[-2:], "--json"]
    )
    assert [r["changed"] for r in json.loads(frozen.stdout)] == [1]
    assert [s.name for s in store.sources()] == ["x", "x-cut", "y", "y-b", "y-cut"]


def test_what_cannot_be_asked(store):
    x, y = put(store, "x", ["a line here"]), put(store, "y", ["b line here"])
    for make, said_ in (
        (lambda: Rules(), "nothing to cut"),
        (lambda: Rules(lines=Units(times=1, characters=5)), "2 places or more"),
        (lambda: Rules(substring=5), "16 bytes or more"),
        (lambda: Rules(substring=50, roles=()), "no role"),
        (lambda: Rules(substring=50, roles=("asistant",)), "did you mean `assistant`"),
        (lambda: Rules.of(["line"]), "did you mean `lines`"),
        (lambda: Rules.of([]), "nothing to cut"),
        (lambda: cut(store, [x, x], rules=ALL, engine=Serial()), "named twice"),
        (lambda: cut(store, [x], against=[x], rules=ALL, engine=Serial()), "named twice"),
        (lambda: cut(store, [x, y], name="z", rules=ALL, engine=Serial()), "cannot all be named `z`"),
        (lambda: cut(store, [], rules=ALL, engine=Serial()), "no source"),
        (lambda: cut(store, [x], name="../x", rules=ALL, engine=Serial()), "cannot name a source"),
        (
            lambda: cut(store, [x], rules=replace(ALL, roles=("system",)), engine=Serial()),
            "no sample has a text of `system`",
        ),
    ):
        with pytest.raises(UserError, match=said_.replace("(", r"\(")) as e:
            make()
        assert e.value.usage


def test_books_that_do_not_balance_stop_it(store):
    old = put(store, "x", ["a line here"])
    with pytest.raises(UserError, match="does not add up"):
        cut(store, [replace(old, samples=99, rows=99)], rules=ALL, engine=Serial())

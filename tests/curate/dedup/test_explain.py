import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

import cli
from catalog.errors import UserError
from catalog.ledger import Ledger
from catalog.store import DatasetVersion, Store
from curate import recipe as recipes
from curate import run as runs
from curate import show
from curate.dedup.explain import compare, page, pairs, stages
from curate.why import why
from tests.curate.dedup.test_find import Serial

HOSTILE = "<script>alert(1)</script> & \u202e reversed \x1b[31m"


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, DatasetVersion]:
    """Two copies of one picture and text, three near copies of a hostile text, and one of each alone."""
    data = tmp_path_factory.mktemp("data")
    records = []
    for k, name in enumerate(("a", "a", "b")):
        image = Image.new("RGB", (64, 48), "white")
        ImageDraw.Draw(image).ellipse((5, 5, 30 + 10 * k * (name == "b"), 40), fill="red")
        image.save(data / f"{name}.png")
        records.append({"image": f"{name}.png", "text": f"a red shape, {name}"})
    (data / "pictures.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    said = " ".join(f"word{i}" for i in range(50))
    lines = [
        f"{said} {HOSTILE} end",
        f"{said} {HOSTILE} END2",
        f"{said} {HOSTILE} end three",
        "something else altogether " * 9,
    ]
    (data / "texts.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in lines))
    common = {"license": "CC0-1.0"}
    sources = [
        {"name": "pictures", "format": "table", "path": "pictures.jsonl", "task": "caption",
         "fields": {"image": "image", "text": "text"}, **common},
        {"name": "texts", "format": "text", "path": "texts.jsonl", "task": "text", "fields": {"text": "text"}, **common},
    ]  # fmt: skip
    dedup = ["dedup_exact", {"filter": "dedup_minhash", "prefer": ["length"]}]
    spec = recipes.parse({"name": "x", "sources": sources, "stages": dedup}, "test")
    store = Store(tmp_path_factory.mktemp("store"))
    return store, runs.run(spec, store, engine=Serial(), data=data, progress=lambda *_: None).dataset


def test_stages_say_what_each_found(ran: tuple[Store, DatasetVersion]) -> None:
    exact, minhash = stages(ran[1], Ledger(*ran))
    assert exact == {
        "stage": "dedup_exact", "prefer": [], "clusters": 1, "members": 2, "dropped": 1, "largest": 2, "least": 1.0,
    }  # fmt: skip
    assert (minhash["clusters"], minhash["members"], minhash["dropped"], minhash["prefer"]) == (1, 3, 2, ["length"])
    assert 0.7 <= minhash["least"] < 1


def test_a_pair_shows_both_sides(ran: tuple[Store, DatasetVersion]) -> None:
    (pair,) = pairs(*ran, id_="pictures/pictures.jsonl:2")
    assert (pair["dropped"]["id"], pair["kept"]["id"]) == ("pictures/pictures.jsonl:2", "pictures/pictures.jsonl:1")
    assert pair["similarity"] == 1
    assert pair["dropped"]["picture"].startswith("data:image/webp;base64,")
    assert pair["dropped"]["media"] == pair["kept"]["media"]
    assert [kind for kind, _ in pair["kept"]["diff"]] == ["same"]
    (near,) = pairs(*ran, id_="texts/texts.jsonl:1")
    assert near["reason"] == "length"
    assert near["kept"]["diff"][-1] == ["only", " three"]
    assert "".join(words for _, words in near["dropped"]["diff"]) == near["dropped"]["text"]


def test_orders(ran: tuple[Store, DatasetVersion]) -> None:
    doubtful, sure = (pairs(*ran, order=o) for o in ("doubtful", "sure"))
    assert [p["similarity"] for p in doubtful] == sorted(p["similarity"] for p in doubtful)
    assert sure[0]["stage"] == "dedup_exact"
    assert [p["size"] for p in pairs(*ran, order="large")] == [3, 2]
    assert len(pairs(*ran, stage="dedup_minhash")) == 2
    assert len(pairs(*ran, most=1)) == 1
    with pytest.raises(UserError, match="did you mean `large`"):
        pairs(*ran, order="larg")
    with pytest.raises(UserError, match="did you mean `dedup_minhash`"):
        pairs(*ran, stage="dedup_minhas")
    with pytest.raises(UserError, match="has no duplicate"):
        pairs(*ran, id_="texts/texts.jsonl:4")


def test_who_survives_in_the_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two equal texts, and a longer one that is nearly the same: the first goes for the second, and that one for the third."""
    said = " ".join(f"word{i}" for i in range(60))
    lines = [said, said, f"{said} and more"]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in lines))
    source = {
        "name": "t",
        "format": "text",
        "path": "t.jsonl",
        "task": "text",
        "license": "MIT",
        "fields": {"text": "text"},
    }
    stages = ["dedup_exact", {"filter": "dedup_minhash", "prefer": ["length"]}]
    spec = recipes.parse({"name": "x", "sources": [source], "stages": stages}, "test")
    store = Store(tmp_path / "store")
    found = runs.run(spec, store, engine=Serial(), data=tmp_path, progress=lambda *_: None).dataset
    out = why(store, found, "t/t.jsonl:2")
    assert out["onward"] == [{"id": "t/t.jsonl:1", "stage": "dedup_minhash", "match": "t/t.jsonl:3"}]
    assert why(store, found, "t/t.jsonl:1")["onward"] == why(store, found, "t/t.jsonl:3")["onward"] == []
    show.why(out)
    assert "t/t.jsonl:1 itself went for t/t.jsonl:3 (dedup_minhash)" in capsys.readouterr().out


def test_the_page_loads_and_runs_nothing(ran: tuple[Store, DatasetVersion]) -> None:
    html = page(ran[1].ref, pairs(*ran))
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert not re.search(r"(?:src|href)=.(?!data:)", html)
    assert html.count("<section>") == 3
    assert html.count("<img ") == 2


@settings(deadline=None)
@given(st.text(max_size=60), st.text(max_size=60))
def test_what_is_the_same_on_both_sides_is_the_same(a: str, b: str) -> None:
    one, other = compare(a, b)
    assert "".join(words for _, words in one) == a
    assert "".join(words for _, words in other) == b
    assert [w for kind, w in one if kind == "same"] == [w for kind, w in other if kind == "same"]


def test_on_the_command_line(ran: tuple[Store, DatasetVersion], tmp_path: Path) -> None:
    def run(*words: str) -> Any:
        found = CliRunner().invoke(cli.cuvee, ["dedup", *words], standalone_mode=False)
        assert found.exception is None, found.output
        return found.output

    store = ["--store", str(ran[0].root)]
    assert "dedup_minhash" in run("ls", *store)
    assert json.loads(run("ls", "x", "--json", *store))[0]["dropped"] == 1
    said = run("explain", "texts/texts.jsonl:1", *store)
    assert "{+ three+}" in " ".join(said.split())
    assert "the other comes first by `length`" in said
    assert "\x1b" not in said
    found = json.loads(run("explain", "--json", *store))
    assert len(found) == 3
    assert "picture" not in found[0]["kept"]
    run("explain", "--out", str(tmp_path / "pairs.html"), *store)
    assert (tmp_path / "pairs.html").read_text().count("<section>") == 3
    assert "half of the pairs at Jaccard 0.685" in run("curve")
    assert json.loads(run("curve", "--bands", "1", "--rows", "1", "--json"))["curve"][10] == [0.5, 0.5]


def test_texts_of_few_words_over_and_over_are_compared_in_seconds() -> None:
    """Word by word against word by word took minutes."""
    one, other = ("a " * 2000)[:4000], ("a b " * 1000)[:4000]
    found = compare(one, other)
    assert ["".join(words for _, words in side) for side in found] == [one, other]
    assert compare("a b c d", "a b x d")[0] == [["same", "a b "], ["only", "c"], ["same", " d"]]

import shutil
from pathlib import Path

import pytest
import yaml

from catalog.store import DatasetVersion, Store
from curate import show
from curate.why import common, short, text, why
from tests.curate import corpus
from tests.curate.serial import go

Done = tuple[Store, DatasetVersion]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("corpus")
    raw = yaml.safe_load(corpus.write(folder).read_text())
    del raw["mixture"]
    return Store(folder / "store"), go(raw, folder / "store", folder).dataset


def test_a_sample_comes_with_its_text_and_where_its_picture_lies(done: Done) -> None:
    out = why(*done, "pairs/pairs.jsonl:1")
    assert out["outcome"] == "dropped"
    assert out["sample"]["text"].startswith("user: <image>")
    (medium,) = out["sample"]["media"]
    assert (medium["mime"], medium["width"], medium["height"]) == ("image/png", 96, 16)
    with Path(medium["tar"]).open("rb") as tar:
        tar.seek(medium["offset"])
        data = tar.read(medium["bytes"])
    assert data.startswith(b"\x89PNG")
    assert out["others"] == []


def test_a_duplicate_comes_with_the_sample_that_stays(done: Done, capsys: pytest.CaptureFixture[str]) -> None:
    out = why(*done, "texts/texts.jsonl:6")
    (other,) = out["others"]
    assert other["id"] == "texts/texts.jsonl:5"
    assert other["by"] == [{"stage": s, "similarity": 1.0} for s in ("dedup_exact", "dedup_minhash")]
    assert out["others"][0]["text"] == out["sample"]["text"]
    show.why(out)
    shown = capsys.readouterr().out
    assert "alike by dedup_exact 1, dedup_minhash 1\n" in shown
    line = next(
        x for x in shown.splitlines() if "texts/texts.jsonl:6" in x and "texts/texts.jsonl:5" in x and "dedup" not in x
    )
    assert line.index("texts/texts.jsonl:6") < line.index("texts/texts.jsonl:5"), "side by side"
    assert max(map(len, shown.splitlines())) <= 110


def test_a_keeper_comes_with_what_it_stands_for(done: Done) -> None:
    out = why(*done, "texts/texts.jsonl:5")
    assert out["outcome"] == "kept"
    assert ("dedup_exact", "texts/texts.jsonl:6") in [(b["stage"], o["id"]) for o in out["others"] for b in o["by"]]


def test_a_leak_comes_with_the_evaluation_item(done: Done) -> None:
    out = why(*done, "texts/texts.jsonl:10")
    (leak,) = out["others"]
    assert (leak["by"][0]["stage"], leak["id"]) == ("decontaminate_text", "test/test.jsonl:3")
    assert leak["text"].startswith("user: ")
    asked = leak["text"].removeprefix("user: ").partition(" assistant:")[0]
    assert leak["common"] in asked
    assert len(leak["common"].split()) > 15, "the leaked question, wherever it stands in the sample"


def test_pictures_stand_beside_each_other(done: Done, capsys: pytest.CaptureFixture[str]) -> None:
    out = why(*done, "pairs/pairs.jsonl:61")
    assert out["others"][0]["id"] == "pairs/pairs.jsonl:4"
    show.why(out)
    assert capsys.readouterr().out.count("image/png 96 x 64") >= 3


def test_a_rejected_row_has_no_text(done: Done, capsys: pytest.CaptureFixture[str]) -> None:
    out = why(*done, "pairs/pairs.jsonl:62")
    assert "sample" not in out
    show.why(out)
    assert "bad_image" in capsys.readouterr().out


def test_a_removed_source_costs_the_text_only(done: Done, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, dataset = done
    shutil.copytree(store.root, tmp_path / "store")
    shutil.rmtree(tmp_path / "store" / "sources")
    out = why(Store(tmp_path / "store"), dataset, "texts/texts.jsonl:10")
    assert (out["sample"], out["others"]) == (None, [])
    show.why(out)
    assert "decontaminate_text" in capsys.readouterr().out


def test_text_is_on_one_line_and_cut() -> None:
    assert (
        text([{"role": "user", "content": "a\n b"}, {"role": "assistant", "content": "c"}]) == "user: a b assistant: c"
    )
    assert text([]) == ""
    assert short("abcdef", 3) == "abc..."


def test_what_two_texts_have_in_common() -> None:
    assert common("x One two three four FIVE y", "q one two three four five") == "One two three four FIVE"
    assert common("one two three four", "one two three four") == "", "too few to tell anything"
    assert common("", "a b c d e f") == ""

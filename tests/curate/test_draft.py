import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from catalog.errors import UserError
from catalog.ledger import Ledger
from catalog.store import Store
from curate import draft as drafts
from curate import explain, shipped
from curate import recipe as recipes
from tests.curate.serial import go
from tests.curate.test_run import Serial, corpus

TEXTS = {"name": "texts", "format": "text", "path": "texts.jsonl", "task": "text", "license": "MIT"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    corpus.write(folder)
    lines = (json.dumps({"text": " ".join(["word"] * n)}) for n in range(1, 401))
    (folder / "texts2.jsonl").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def store(data: Path) -> Store:
    raw = yaml.safe_load((data / "recipe.yaml").read_text())
    words = {**TEXTS, "name": "words", "path": "texts2.jsonl"}
    go({"name": "x", "shard_rows": 50, "sources": [words]}, data / "store", data)
    go({k: raw[k] for k in ("name", "shard_rows", "sources")}, data / "store", data)
    return Store(data / "store")


def draft(store: Store, *names: str, **options: Any) -> drafts.Draft:
    given: dict[str, Any] = {"name": "mine", "progress": lambda *_: None, **options}
    return drafts.draft(store, [store.source(n) for n in names], **given)


def test_bounds_are_quantiles_on_the_sides_of_the_published_bound(store: Store) -> None:
    made = draft(store, "words", filters=["gopher_quality"], params={"gopher_quality": {"min_words": 1}}, drop=0.1)
    (stage,) = yaml.safe_load(made.text)["stages"]
    # 1..400 words, published 50..100,000: a twentieth from each side.
    assert stage["bounds"]["words"] == {"min": 21, "max": 380}
    assert stage["params"] == {"min_words": 1}
    # All 4: the published bound stands where a quantile would drop nothing and it drops nothing.
    assert stage["bounds"]["mean_word_length"] == {"min": 3, "max": 10}
    # All 0 stop words: published 2 would drop all, and a quantile of 0 bounds nothing.
    assert "stop_words" not in stage["bounds"]
    assert "the end of the scale: none set" in made.text
    assert "published 50..100000 would drop 12.2 % of the 400 samples" in made.text
    assert "published 2.. would drop 100 % of the 400 samples that have it, all 0" in made.text
    assert (made.looked_at, made.dropped) == (400, 40)


def test_the_draft_runs_as_it_is_and_drops_what_it_says(store: Store, data: Path) -> None:
    made = draft(store, "pairs", "texts", "test", drop=0.1, rows=0)
    (data / "mine.yaml").write_text(made.text)
    spec = recipes.read(data / "mine.yaml")
    assert made.data == str(data)
    filters = [s.filter for s in spec.stages]
    assert {"caption_rules", "dedup_exact", "dedup_minhash", "dedup_phash", "decontaminate_text"} <= set(filters)
    assert "clip_score" not in filters
    assert "image_size" not in filters
    assert "the published bound of " in made.left_out["image_size"]
    assert made.left_out["clip_score"] == "a neural network: `--filters` or `--params` names it"
    assert made.left_out["decontaminate_image"] == "no source has role `eval` and images"
    engine = Serial()
    found = go(yaml.safe_load(made.text), store.root, data, engine).dataset
    kinds = {type(i).__name__ for i in engine.done}
    assert "ScoreItem" in kinds
    assert "Slice" not in kinds, "no source is read again"
    ledger = Ledger(store, found)
    bounded = [k for k, r in enumerate(ledger.rules) if not r.cluster and not r.stage.startswith("decontaminate")]
    keep = np.logical_and.reduce([ledger.column(k, "keep").to_numpy() for k in bounded])
    assert int((~keep).sum()) == made.dropped
    for k in bounded:
        has = int(ledger.column(k, "value").is_not_null().sum())
        published = "too few samples" in made.text.split(f"# {ledger.rules[k].score}: ")[1].split("\n")[0]
        assert published or int((~ledger.column(k, "keep")).sum()) <= 0.1 * has, ledger.rules[k].key


def test_a_whole_recipe_is_made_of_one_source_of_the_other_role(store: Store) -> None:
    raw = yaml.safe_load(draft(store, "test", filters=["dedup_exact"]).text)
    assert raw["role"] == "eval"
    assert recipes.parse(raw, "test").members


def test_a_sample_is_enough(store: Store) -> None:
    made = draft(store, "words", filters=["gopher_quality"], params={"gopher_quality": {"min_words": 1}}, rows=100)
    assert made.looked_at == 100
    assert "100 of 400, as many of each source, samples" in made.text
    bound = yaml.safe_load(made.text)["stages"][0]["bounds"]["words"]
    assert abs(bound["max"] - 390) <= 5
    assert "min" not in bound, "a quantile of fewer than 10 words is too coarse"


def test_sources_read_from_other_folders_get_absolute_paths(store: Store, tmp_path: Path) -> None:
    (tmp_path / "more.jsonl").write_text('{"text": "one more text"}')
    go({"name": "y", "sources": [{**TEXTS, "name": "more", "path": "more.jsonl"}]}, store.root, tmp_path)
    made = draft(store, "words", "more", filters=["dedup_exact"])
    assert made.data == ""
    paths = [s["path"] for s in yaml.safe_load(made.text)["sources"]]
    assert paths == [
        str(Path(store.source(n).volatile["data"]) / p) for n, p in (("words", "texts2.jsonl"), ("more", "more.jsonl"))
    ]
    assert "a run reads them again: more" in made.text or "a run reads them again: words" in made.text


def test_what_cannot_be_meant_is_refused(store: Store) -> None:
    for options, expected in (
        ({"drop": 0.0}, "between 0 and 1"),
        ({"filters": ["gopher_qualty"]}, "did you mean `gopher_quality`"),
        ({"filters": ["clip_score"]}, "scores nothing without a model"),
        ({"params": {"gopher_quality": {"min_word": 3}}}, "did you mean `min_words`"),
    ):
        with pytest.raises(UserError, match=expected):
            draft(store, "words", **options)
    with pytest.raises(UserError, match="given twice"):
        draft(store, "words", "words")


@given(
    st.lists(st.floats(-1e6, 1e6) | st.integers(-4, 4).map(float), min_size=1, max_size=200),
    st.sampled_from([(None, 1.0), (0.0, None), (-1.0, 1.0)]),
    st.floats(0.01, 0.5),
)
def test_never_more_is_dropped_than_was_said(scores: list[float], published: Any, drop: float) -> None:
    values = np.array(scores)
    low, high, why = drafts.chosen(values, published, drop, whole=bool((values % 1 == 0).all()))
    assert "-0" not in {str(b) for b in (low, high)}
    if "too few" not in why:
        share = (~explain.inside(values, low, high)).sum()
        assert share <= (1 + (": the published" in why)) * drop * len(values) + 1e-9
    if "published" not in why:
        assert (low is None, high is None) == (published[0] is None, published[1] is None)


@pytest.mark.parametrize(
    ("scores", "published", "whole", "expected"),
    [
        ([0] * 98 + [1, 1], (None, 9.0), True, (None, 9.0)),  # keywords: a quantile of 0, the published 9 drops none
        ([0] * 98 + [20, 20], (None, 9.0), True, (None, 9.0)),  # published drops 2 %, no more than was asked for
        ([0] * 90 + [20] * 10, (None, 9.0), True, (None, 20.0)),  # 20 is neither the end of the scale nor a small count
        ([0] * 96 + [3] * 4, (None, 1.0), True, (None, None)),  # 3 is too coarse, published 1 would drop 4 %
        ([0.0] * 50 + [1.0] * 50, (None, 0.5), False, (None, None)),  # a share: 1 is the end
        ([0.0] * 50 + [1.0] * 50, (0.1, None), False, (None, None)),  # 0 is the end
    ],
)
def test_a_bound_that_bounds_nothing_sensibly_is_the_published_one_or_none(
    scores: list[float], published: Any, whole: bool, expected: Any
) -> None:
    assert drafts.chosen(np.array(scores, float), published, 0.02, whole=whole)[:2] == expected


def test_no_number_is_a_negative_zero() -> None:
    low, _, _ = drafts.chosen(np.array([-1.0] + [0.0] * 99), (-5.0, None), 0.02, whole=False)
    assert low is None or str(low) != "-0.0"
    assert drafts._number(-0.0) == "0"


def test_a_source_that_bounds_would_cut_away_is_left_out_of_the_stage(store: Store, data: Path) -> None:
    short = "\n".join(json.dumps({"text": " ".join(["incomprehensibilities"] * 200)}) for n in range(30))
    (data / "short.jsonl").write_text(short)
    go(
        {"name": "z", "shard_rows": 50, "sources": [{**TEXTS, "name": "short", "path": "short.jsonl"}]},
        store.root,
        data,
    )
    # Words of 21 letters are 7 % of all samples: an upper bound that drops 7.5 % drops them all.
    asked: dict[str, Any] = {"params": {"gopher_quality": {"min_words": 1}}, "drop": 0.15}
    made = draft(store, "words", "short", filters=["gopher_quality"], **asked)
    (stage,) = yaml.safe_load(made.text)["stages"]
    assert stage["sources"] == ["words"]
    assert "# not for short: bounds over all sources would drop" in made.text
    assert made.losses["short"] == (0, 30)
    assert stage["bounds"]["words"] == {"min": 31, "max": 370}
    # Not asked for by name, its published bounds say that it is about other data.
    free = draft(store, "words", "short", **asked, rows=0)
    assert "the published bound of " in free.left_out["gopher_quality"]
    assert free.looked_at == 430


def test_a_source_that_would_lose_much_is_warned_of() -> None:
    made = drafts.Draft(
        text="",
        data="",
        stages=1,
        left_out={},
        looked_at=90,
        dropped=30,
        losses={"a": (8, 40), "b": (22, 50), "c": (0, 0)},
    )
    assert made.warnings == ["warning: all bounds together would drop 44 % of `b` (22 of the 50 samples looked at)"]


def test_a_small_source_is_looked_at_whole() -> None:
    rows = explain._spread(np.array([0] * 1000 + [1] * 10 + [2] * 100), 100)
    assert [sum(a <= r < b for r in rows) for a, b in ((0, 1000), (1000, 1010), (1010, 1110))] == [45, 10, 45]
    assert rows == sorted(set(rows))


def test_names_follow_the_file() -> None:
    assert drafts.named(Path("out/web photos.v2.yaml")) == "web-photos-v2"
    assert drafts.named(None) == "draft"


# -- shipped recipes ---------------------------------------------------------------------------------------------------


def test_a_shipped_recipe_is_found_by_name_and_a_file_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path, folder = shipped.find("demo")
    assert path == shipped.FOLDER / "demo.yaml"
    assert folder == Path()
    (tmp_path / "demo").write_text("name: mine")
    assert shipped.find("demo") == (Path("demo"), Path())
    assert shipped.find("sub/demo.yaml") == (Path("sub/demo.yaml"), Path("sub"))
    with pytest.raises(UserError, match="did you mean `demo`"):
        shipped.find("demoo")
    with pytest.raises(UserError, match="did you mean `demo`"):
        shipped.text("dmo")


@pytest.mark.parametrize("name", shipped.names())
def test_every_shipped_recipe_says_first_what_it_is(name: str) -> None:
    assert len(shipped.first_line(shipped.FOLDER / f"{name}.yaml")) > 10

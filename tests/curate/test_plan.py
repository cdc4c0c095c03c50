import json
from pathlib import Path
from typing import Any

import pytest

from catalog.errors import UserError
from catalog.store import Store
from curate import recipe as recipes
from curate.plan import plan, shares
from filters import base
from tests.curate.serial import go
from tests.curate.test_run import Serial

SOURCES = [
    {"name": "a", "format": "text", "path": "a.jsonl", "task": "text", "license": "MIT"},
    {"name": "b", "format": "text", "path": "b.jsonl", "task": "text", "license": "MIT"},
    {"name": "test", "format": "text", "path": "test.jsonl", "task": "text", "role": "eval"},
]
STAGES: list[Any] = [
    {"filter": "gopher_quality", "sources": ["a"], "bounds": {"words": {"min": 3}}},
    "latex_balance",
    "decontaminate_text",
    "dedup_exact",
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name, rows in (("a", 25), ("b", 7), ("test", 3)):
        lines = (json.dumps({"text": f"{name} number {i} of some words"}) for i in range(rows))
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    return tmp_path


def recipe(stages: list[Any], **more: Any) -> dict[str, Any]:
    return {"name": "x", "shard_rows": 10, "sources": SOURCES, "stages": stages, **more}


def planned(data: Path, raw: dict[str, Any]) -> dict[str, Any]:
    out = plan(recipes.parse(raw, "test"), Store(data / "store"), data=data)
    json.dumps(out)
    return out


def steps(out: dict[str, Any]) -> dict[str, tuple[int, int | None]]:
    return {s["step"]: (s["items"], s["cached"]) for s in out["steps"]}


def test_before_anything_is_read(data: Path) -> None:
    out = planned(data, recipe(STAGES))
    assert out["passes"] == {"shards": None, "samples": None, "decoding": None}
    assert steps(out) == {
        "ingest": (3, 0), "fit": (0, 0), "index": (1, None), "score": (4, None), "pool": (0, None), "cluster": (1, None),
        "judge": (4, None),
    }  # fmt: skip
    assert not (data / "store").exists(), "a plan writes nothing"


def test_after_a_run_nothing_is_left_whatever_the_bounds(data: Path) -> None:
    go(recipe(STAGES), data / "store", data)
    # `a` has 3 shards and `b` 1: gopher_quality looks at `a` only.
    want = {"ingest": (3, 3), "fit": (0, 0), "index": (1, 1), "score": (15, 15), "pool": (0, 0), "cluster": (1, 1)}
    other: list[Any] = [{**STAGES[0], "bounds": {"words": {"min": 9}, "alpha_words": {"top": 0.5}}}, *STAGES[1:]]
    for stages in (STAGES, other):
        out = planned(data, recipe(stages))
        assert out["passes"] == {"shards": 0, "samples": 0, "decoding": 0}
        assert {k: v for k, v in steps(out).items() if k != "judge"} == want
    engine = Serial()
    go(recipe(other), data / "store", data, engine)
    assert engine.done == []


def test_another_parameter_is_scored_again_and_counted(data: Path) -> None:
    go(recipe(STAGES), data / "store", data)
    stages: list[Any] = [{**STAGES[0], "params": {"min_words": 2}}, *STAGES[1:]]
    out = planned(data, recipe(stages))
    assert out["passes"] == {"shards": 3, "samples": 25, "decoding": 0}
    assert steps(out)["score"] == (15, 12)
    assert [s["cached"] for s in out["stages"]] == [0, 4, 4, 4]
    assert [(s["samples"], s["shards"]) for s in out["stages"]][:2] == [(25, 3), (32, 4)]


def test_what_is_made_once_is_named() -> None:
    names = ("blur", "image_entropy", "aspect_ratio", "dedup_minhash", "decontaminate_text")
    out = {s["work"]: s["filters"] for s in shares([(base.load(n), "") for n in names])}
    assert out["decoding"] == ["blur", "image_entropy"]
    assert out["planes of pictures"] == ["blur", "image_entropy"]
    assert out["message_tokens"] == ["dedup_minhash", "decontaminate_text"]
    models = shares([(base.load("clip_score"), "dfn"), (base.load("clip_score"), "dfn"), (base.load("blur"), "")])
    assert {s["work"] for s in models} >= {"decoding", "model dfn"}


def test_one_filter_alone_shares_nothing() -> None:
    assert shares([(base.load("gopher_quality"), "")]) == []


@pytest.mark.parametrize(
    ("stage", "sources", "expected"),
    [
        ("decontaminate_text", SOURCES[:2], "needs evaluation sets"),
        ({"filter": "clip_score", "params": {"model": "ViT-B-32/opneai"}}, SOURCES, "did you mean `openai`"),
        ({"filter": "clip_score", "params": {"model": "nowhere/at/all"}}, SOURCES, "no file, folder or model"),
    ],
)
def test_a_plan_refuses_what_a_run_would_refuse_later(
    stage: Any, sources: list[Any], expected: str, data: Path
) -> None:
    with pytest.raises(UserError, match=expected) as e:
        planned(data, recipe([stage], sources=sources))
    assert e.value.usage


def test_a_model_that_is_to_be_fitted_is_no_missing_file(data: Path) -> None:
    fit = {**SOURCES[1], "name": "fit", "role": "fit"}
    stage = {"filter": "clip_score", "params": {"model": "dfn"}}
    out = planned(data, recipe([stage], sources=[*SOURCES, fit], models={"dfn": {"fit": "clip", "source": "fit"}}))
    assert out["models"] == [{"model": "dfn", "fit": "clip", "source": "fit", "cached": False}]
    assert out["stages"][0]["model"]

import json
import math

import pytest

from catalog.errors import UserError
from filters.base import load
from tests.filters.dialogues import dialogue, picture, pooled
from tests.filters.text_samples import batch

f = load("caption_agreement")


def caption(i, text, digest=None, meta=None, task="caption"):
    row = {**dialogue("u:<image>", f"a:{text}", id=f"s/{i}", task=task), "media": [picture(digest)] if digest else []}
    return {**row, "meta": json.dumps(meta or {})}


def test_by_hand():
    # Three captions: "a" is in all, "cat" in two, "sat" and "dog" in one each.
    found = pooled(f, batch(caption(0, "a cat", "aa"), caption(1, "A cat sat", "aa"), caption(2, "a dog", "bb")))
    a, cat, sat = math.log1p(1), math.log1p(3 / 2), math.log1p(3)
    cosine = (a * a + cat * cat) / (math.hypot(a, cat) * math.hypot(a, cat, sat))
    assert set(found) == {"s/0", "s/1"}  # the dog is alone
    assert found["s/0"] == {"agreement": pytest.approx(cosine, abs=1e-6), "confirmed": 1.0, "compared": 1}
    assert found["s/1"]["confirmed"] == pytest.approx((a + cat) / (a + cat + sat), abs=1e-6)


def test_the_odd_one_out_of_three_is_known():
    found = pooled(
        f,
        batch(
            caption(0, "a black cat on a sofa", "aa"),
            caption(1, "cat on the sofa", "aa"),
            caption(2, "best price shoes", "aa"),
        ),
    )
    assert found["s/2"] == {"agreement": 0, "confirmed": 0, "compared": 2}
    assert found["s/0"]["agreement"] > 0.1


def test_a_duplicate_does_not_confirm_itself():
    found = pooled(
        f,
        batch(
            caption(0, "a cat", "aa"),
            caption(1, "A CAT!", "aa"),
            caption(2, "dogs", "aa"),
            caption(3, "owl", "bb"),
            caption(4, "owl", "bb"),
        ),
    )
    assert [found[k]["agreement"] for k in sorted(found)] == [0, 0, 0]
    assert {r["compared"] for r in found.values()} == {1}


def test_another_caption_in_meta():
    g = load("caption_agreement", {"other": "captions.1.text"})
    meta = {"captions": [{"text": "x"}, {"text": "a cat"}]}
    found = pooled(
        g,
        batch(
            caption(0, "a cat", meta=meta),
            caption(1, "fish", "aa", meta),
            caption(2, "bird", "aa"),
            caption(3, "owl", meta={"captions": 3}),
        ),
    )
    assert found["s/0"] == {"agreement": 1, "confirmed": 1, "compared": 1}
    assert found["s/1"] == {"agreement": 0, "confirmed": 0, "compared": 2}
    assert found["s/2"]["compared"] == 2  # what is said of a picture is said of it for all its samples
    assert set(found) == {"s/0", "s/1", "s/2"}


def test_meta_that_is_no_json():
    g = load("caption_agreement", {"other": "text"})
    rows = batch(
        {**caption(0, "a cat"), "meta": "{"},
        {**caption(1, "a cat"), "meta": None},
        caption(2, "a cat", meta={"text": "a cat"}),
    )
    assert set(pooled(g, rows)) == {"s/2"}


@pytest.mark.parametrize("key", ["a..b", "a[0]", "'", "."])
def test_a_key_that_is_none(key):
    with pytest.raises(UserError, match="must name a key of `meta`"):
        load("caption_agreement", {"other": key}).score(batch(caption(0, "a cat")))


def test_captions_only():
    assert (
        pooled(
            f,
            batch(
                caption(0, "a cat", "aa", task="vqa"), caption(1, "a cat", "aa", task="vqa"), caption(2, "...", "aa")
            ),
        )
        == {}
    )

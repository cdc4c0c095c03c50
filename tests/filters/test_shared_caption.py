from filters.base import load
from tests.filters.dialogues import dialogue, picture, pooled
from tests.filters.text_samples import batch

f = load("shared_caption")


def caption(i, text, digest=None, task="caption"):
    return {**dialogue("u:<image>", f"a:{text}", id=f"s/{i}", task=task), "media": [picture(digest)] if digest else []}


def test_pictures_under_a_caption_are_counted_once_each():
    part = batch(
        caption(0, "Image", "aa"), caption(1, "image!", "bb"), caption(2, "IMAGE", "bb"), caption(3, "A cat", "aa"),
        caption(4, "image"), caption(5, "image"), caption(6, "...", "cc"), caption(7, "image", "dd", task="vqa"),
    )  # fmt: skip
    found = pooled(f, part)
    assert {k: v["pictures"] for k, v in found.items()} == {"s/0": 4, "s/1": 4, "s/2": 4, "s/3": 1, "s/4": 4, "s/5": 4}


def test_more_than_ten_is_over_the_bound():
    part = batch(*(caption(i, "logo", f"{i:02x}") for i in range(11)))
    assert {r["pictures"] for r in pooled(f, part).values()} == {11}
    assert f.bounds["pictures"] == (None, 10)

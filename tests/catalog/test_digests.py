import unicodedata
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from catalog.digests import (
    canonical_json,
    columns_digest,
    content_digest,
    fingerprint,
    json_digest,
    layout_digest,
    rows_digest,
    sample_digest,
    sha256,
)

words = st.text(max_size=12)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
digests = names.map(lambda s: sha256(s.encode()))
messages = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": words}), max_size=4
)
media = st.lists(st.fixed_dictionaries({"kind": st.sampled_from(["image", "video"]), "digest": digests}), max_size=3)


@given(st.dictionaries(names, digests), st.randoms())
def test_content_does_not_depend_on_order(rows: dict[str, str], random: Any) -> None:
    shuffled = list(rows.items())
    random.shuffle(shuffled)
    assert content_digest(shuffled) == content_digest(rows.items())
    ids = [k for k, _ in shuffled]
    assert rows_digest(ids) == rows_digest(rows)
    columns = (pa.array(c, pa.string()) for c in (ids, [v for _, v in shuffled]))
    assert columns_digest(*columns) == content_digest(rows.items())


@given(st.sets(names), st.sets(names))
def test_sets_of_ids_do_not_collide(a: set[str], b: set[str]) -> None:
    assert (rows_digest(a) == rows_digest(b)) == (a == b)


@given(messages, messages, media, media)
def test_equal_content_and_only_that_gives_equal_digests(m: Any, n: Any, a: Any, b: Any) -> None:
    def plain(messages: Any, media: Any) -> Any:
        text = [(x["role"], unicodedata.normalize("NFC", x["content"])) for x in messages]
        return text, [(x["kind"], x["digest"]) for x in media]

    assert (sample_digest(m, a) == sample_digest(n, b)) == (plain(m, a) == plain(n, b))


@given(words, words)
def test_text_does_not_flow_between_messages(a: str, b: str) -> None:
    one = sample_digest([{"role": "user", "content": a + b}], [])
    two = sample_digest([{"role": "user", "content": a}, {"role": "user", "content": b}], [])
    assert one != two


@given(words)
def test_composed_and_decomposed_text_are_the_same(text: str) -> None:
    forms = {sample_digest([{"role": "user", "content": unicodedata.normalize(f, text)}], []) for f in ("NFC", "NFD")}
    assert len(forms) == 1


def test_boxes_count_to_a_hundredth_of_a_pixel() -> None:
    def of(x: float, text: str = "a") -> str:
        return sample_digest([], [], [{"media": 0, "text": text, "quad": [x, 0, 1, 0, 1, 1, 0, 1]}])

    assert of(0.001) == of(0.002)
    assert of(0.01) != of(0.02)
    assert of(0, "a") != of(0, "b")


@given(st.lists(st.tuples(names, st.integers(0, 2**40), digests), max_size=4))
def test_layout_depends_on_order(files: list[tuple[str, int, str]]) -> None:
    assert (layout_digest(files) == layout_digest(files[::-1])) == (files == files[::-1])


@given(st.dictionaries(names, st.integers(-(2**53) + 1, 2**53 - 1)))
def test_canonical_json_does_not_depend_on_the_order_of_keys(value: dict[str, int]) -> None:
    turned = dict(reversed(value.items()))
    assert canonical_json(value) == canonical_json(turned)
    assert fingerprint(value) == json_digest(turned)[:16]

"""The benchmark's comparison with DataComp's basic filter, on made-up captions and sizes, and on real ones where they are."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.datacomp_parity import Pair, compare, fasttext_words, pairs, published_basic
from filters.base import load

DATA = Path("../shared/data")
pair = st.builds(
    Pair,
    text=st.text(alphabet=st.characters(exclude_categories=("Cs",), exclude_characters="<"), max_size=12),
    width=st.one_of(st.none(), st.integers(0, 700)),
    height=st.one_of(st.none(), st.integers(0, 700)),
    english=st.booleans(),
)


def test_bounds_are_the_filters_own():
    assert load("image_size").bounds == {"image_size": (200.0, None)}
    assert load("aspect_ratio").bounds == {"aspect_ratio": (None, 3.0)}
    bounds = load("caption_rules").bounds
    assert (bounds["words"], bounds["characters"]) == ((3, None), (6, None))


def test_the_plain_reading_by_hand():
    keep = lambda text, w, h: published_basic(Pair(text=text, width=w, height=h, english=True))  # noqa: E731
    assert keep("a b cd", 200, 600)
    assert not keep("a b c", 200, 600)  # five characters
    assert not keep("ab cdef", 200, 600)
    assert not keep("a b cd", 199, 300)
    assert not keep("a b cd", 200, 601)
    assert [fasttext_words(t) for t in ("a b", "a\nb", "a\u00a0b", "a\x00b", "")] == [2, 3, 1, 2, 0]


def test_made_up_captions_and_sizes():
    result = compare(pairs(None))
    assert result["pairs"] > 2000
    assert 0 < result["basic"]["kept"] < result["pairs"]
    assert result["basic"]["differences"] == result["image_based_caption"]["differences"] == 0


@settings(deadline=None)  # the first call compiles
@given(st.lists(pair, min_size=1, max_size=20))
def test_any_caption_and_size(every):
    result = compare(every)
    assert result["basic"]["differences"] == result["image_based_caption"]["differences"] == 0


@pytest.mark.skipif(not DATA.is_dir(), reason="the shared data is not here")
def test_real_captions():
    result = compare(pairs(DATA, 3000))
    assert result["texts"] > 1000
    assert result["basic"]["differences"] == result["image_based_caption"]["differences"] == 0

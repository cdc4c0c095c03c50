import re
import unicodedata

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.base import load
from filters.shared import text
from tests.filters.text_samples import PROSE, answers, batch, sample

TEXT_FILTERS = (
    "arithmetic_check", "c4", "caption_rules", "dedup_minhash", "fineweb", "gibberish", "gopher_quality", "gopher_repetition",
    "language", "latex_balance", "ocr_confidence", "ocr_coverage", "refinedweb_lines",
)  # fmt: skip


def words(value):
    tokens = text.tokenise(pa.array([value]))
    return tokens.lengths.tolist()


def test_words_of_texts():
    assert words("Don't stop-2 me, Ünï!") == [3, 1, 4, 1, 2, 3]
    assert words("日本 ok") == [1, 1, 2]
    assert words("soft\u00adhyphen zero\u200bwidth") == [10, 9]
    assert words("\x00a\x00") == [1]
    assert words("") == []
    assert words("ﬁne") == [4]  # NFKC


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.characters(max_codepoint=0x24F, blacklist_categories=("Cs", "Cf", "M")), max_size=60))
def test_words_agree_with_a_regular_expression(value):
    plain = unicodedata.normalize("NFKC", value)
    lowered = pa.compute.utf8_lower(pa.array([plain]))[0].as_py()
    kept = "".join(c if unicodedata.category(c)[0] in "LNM" else " " for c in lowered)
    if max(kept, default="") >= "\u0300" or any(unicodedata.category(c) == "Cf" for c in lowered):
        return
    assert words(value) == [len(w) for w in re.findall(r"\S+", kept)]


def test_texts_of_a_sliced_batch():
    whole = answers("one", None, "three", "", "five")
    assert text.assistant(whole).to_pylist() == ["one", None, "three", "", "five"]
    assert text.assistant(whole.slice(1, 3)).to_pylist() == [None, "three", ""]
    raw = text.buffers(pa.array(["a", None, "bcd", ""])[1:])
    assert np.diff(raw.offsets).tolist() == [0, 3, 0]
    assert raw.valid.tolist() == [False, True, True]


def test_turns_are_joined_and_marks_blanked():
    row = {**sample(), "messages": [
        {"role": "user", "content": "<image> hi"}, {"role": "assistant", "content": "a <image>"},
        {"role": "user", "content": "more"}, {"role": "assistant", "content": "b"},
    ]}  # fmt: skip
    b = batch(row)
    assert text.assistant(b).to_pylist() == ["a  \nb"]
    assert text.everything(b).to_pylist() == ["  hi\na  \nmore\nb"]


def test_the_cache_forgets_a_batch_that_is_gone():
    b = answers(PROSE)
    first = text.assistant_tokens(b)
    assert text.assistant_tokens(b) is first
    before = len(text._caches)
    del b
    assert len(text._caches) == before - 1


nasty = st.text(st.sampled_from("ab Z1+=$\\{}<>%.,\n\x00\u200bé中👍\u0301[]()#-*…"), max_size=80)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(nasty, st.sampled_from(["caption", "ocr", "math", "text"]), st.booleans()), min_size=2, max_size=8
    ),
    st.data(),
)
def test_scores_do_not_depend_on_batch_cuts(rows, data):
    at = data.draw(st.integers(1, len(rows) - 1))
    b = batch(
        *(
            sample(t, t[::-1], id=str(i), task=k, image=m, boxes=[{"text": t, "confidence": 0.5}])
            for i, (t, k, m) in enumerate(rows)
        )
    )
    for name in TEXT_FILTERS:
        f = load(name, {"min_words": 1} if "min_words" in load(name).params else {})
        whole = pa.Table.from_batches([f.score(b)])
        cut = pa.Table.from_batches([f.score(b.slice(0, at)), f.score(b.slice(at))])
        assert cut.equals(whole), name


def _slowly(texts):
    return pc.utf8_lower(pc.utf8_normalize(texts, form="NFKC"))


def test_texts_that_go_the_faster_way_are_normalised_all_the_same():
    every = pa.array([chr(cp) for cp in range(0x30000) if not 0xD800 <= cp < 0xE000], pa.large_string())
    assert text.normalised(every).equals(_slowly(every))
    settled = np.flatnonzero(text._settled())
    rng = np.random.default_rng(0)
    mixed = rng.choice(settled, (3000, 16))
    mixed[::3, 8] = rng.integers(0x80, 0xD800, 1000)
    some = pa.array(["".join(map(chr, row)) for row in mixed], pa.large_string())
    assert text.normalised(some).equals(_slowly(some))
    assert not text._settled()[[0x301, 0x1161, 0x9BE, 0x130, ord("É"), ord("ﬁ"), ord("²")]].any()
    assert text._settled()[[ord(c) for c in "éß’“”–•€→≤你の한"]].all()


@given(st.lists(st.text(max_size=8), max_size=6))
def test_normalised_is_nfkc_in_lower_case(values):
    texts = pa.array(values, pa.large_string())
    assert text.normalised(texts).equals(_slowly(texts))

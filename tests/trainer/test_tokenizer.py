import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.errors import UserError
from trainer.tokenizer import GLOBAL_TAG, IM_END, IM_START, SPECIALS, Tokenizer, tag_texts, tile_tag

TEXTS = ["the red cube is left of the blue sphere. 12 + 30 = 42\n", "naïve café, 日本 ☃ user_name\n"] * 4 + tag_texts()
TOKENIZER = Tokenizer.train(TEXTS, 400)


@given(st.text())
def test_round_trip_of_any_unicode(text):
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text


@given(
    st.lists(
        st.sampled_from([*SPECIALS, "<tile_", "<tile_1>", GLOBAL_TAG, "<Image>", "</Image>", "\n ", "_", "\ud800", "a"])
    )
)
def test_round_trip_of_what_looks_like_markup_and_no_special_id_from_text(parts):
    ids = TOKENIZER.encode("".join(parts))
    assert TOKENIZER.decode(ids) == "".join(parts)
    assert all(i >= len(SPECIALS) for i in ids)


def test_every_tag_has_the_same_length_and_no_special_token():
    assert {len(t) for t in TOKENIZER.tags} == {3}
    assert len(set(TOKENIZER.tags)) == 7
    for k in range(1, 7):
        assert tuple(TOKENIZER.encode(tile_tag(k))) == TOKENIZER.tags[k - 1]
    # Beside each other they do not merge, so D's ids and H's ids are the same.
    assert TOKENIZER.encode(tile_tag(1) + GLOBAL_TAG) == [*TOKENIZER.tags[0], *TOKENIZER.tags[-1]]


def test_roles_are_one_token_whatever_the_texts():
    assert [len(Tokenizer.train(["zzz"], 300).encode(r)) for r in ("user", "assistant", "system")] == [1, 1, 1]


def test_same_texts_same_digest_whatever_their_order():
    assert Tokenizer.train(reversed(TEXTS), 400).digest == TOKENIZER.digest
    assert Tokenizer.train(TEXTS, 300).digest != TOKENIZER.digest


def test_merges_shorten_text():
    text = "the red cube is left of the blue sphere."
    assert len(TOKENIZER.encode(text)) < len(text) / 2


def test_merging_within_a_run_of_one_letter():
    assert Tokenizer.train(["aaaa aaaa aaaa"], 350).decode(TOKENIZER.encode("aaaaa")) == "aaaaa"


def test_save_and_load(tmp_path):
    TOKENIZER.save(tmp_path / "t.json")
    loaded = Tokenizer.load(tmp_path / "t.json")
    assert loaded.digest == TOKENIZER.digest
    assert loaded.encode("the red cube") == TOKENIZER.encode("the red cube")


def test_decode_shows_specials_on_request_and_survives_broken_bytes():
    assert TOKENIZER.decode([IM_START, IM_END]) == ""
    assert TOKENIZER.decode([IM_START, IM_END], specials=True) == "<|im_start|><|im_end|>"
    assert TOKENIZER.decode([7 + 0xFF]) == "\ufffd"


@pytest.mark.parametrize(
    "content", ["{", '{"format":"other","merges":[]}', '{"format":"cuvee-bpe-1","merges":[[999,1]]}', "[]"]
)
def test_a_file_that_is_no_tokenizer(tmp_path, content):
    (tmp_path / "t.json").write_text(content)
    with pytest.raises(UserError, match="is not a tokenizer"):
        Tokenizer.load(tmp_path / "t.json")


def test_a_vocabulary_that_cannot_hold_the_bytes():
    with pytest.raises(UserError, match="too small"):
        Tokenizer.train([], 100)

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from catalog.errors import UserError
from tests.trainer import toys
from trainer.batch import IGNORE, collate, encode_sample, encode_text
from trainer.config import ARCHS, ModelConfig
from trainer.tokenizer import IM_END, IM_START

TOK = toys.TOKENIZER
FIELDS = ("ids", "labels", "feature", "low", "high", "only")


def said(sample):
    return TOK.decode(sample.labels[sample.labels != IGNORE].tolist(), specials=True)


@pytest.mark.parametrize("arch", ARCHS)
@pytest.mark.parametrize("count", [1, 3, 7])
def test_columns_have_one_length(arch, count):
    sample = toys.one(toys.config(arch), toys.ASK, count)
    assert {len(getattr(sample, f)) for f in FIELDS} == {sample.length}
    assert said(sample) == "three big ones<|im_end|>\n"


def test_the_template_is_chatml():
    c = toys.config("X", tags="none")
    shown = TOK.decode(toys.one(c, toys.ASK, 3).ids.tolist(), specials=True)
    assert shown == (
        "<|im_start|>system\nbe brief<|im_end|>\n<|im_start|>user\nlook: <Image></Image>\nhow many red cubes?<|im_end|>\n"
        "<|im_start|>assistant\nthree big ones<|im_end|>\n"
    )


def test_what_stands_where():
    wrap = {a: TOK.decode([i for i in toys.one(toys.config(a), toys.ASK, 3).ids.tolist() if i]) for a in ARCHS}
    assert "<Image><tile_1><tile_2><tile_global_thumbnail></Image>" in wrap["D"]
    assert wrap["X"] == wrap["D"]
    assert "<Image><tile_global_thumbnail></Image>" in wrap["H"]
    d = toys.one(toys.config("D"), toys.ASK, 3)
    assert d.feature[d.feature >= 0].tolist() == list(range(12))
    h = toys.one(toys.config("H"), toys.ASK, 3)
    assert h.feature[h.feature >= 0].tolist() == [8, 9, 10, 11]  # the thumbnail
    assert h.kv_feature.tolist() == [-1, -1, -1, 0, 1, 2, 3, -1, -1, -1, 4, 5, 6, 7]
    assert h.kv_tile.tolist() == [0] * 7 + [1] * 7


def test_a_user_cannot_write_template_tokens():
    sample = toys.one(
        toys.config("D"), [{"role": "user", "content": "<|im_end|>"}, {"role": "assistant", "content": "no"}]
    )
    assert sample.ids.tolist().count(IM_END) == 2


def test_a_prompt_ends_before_the_answer():
    c = toys.config("D")
    prompt, whole = toys.one(c, toys.ASK, 3, prompt=True), toys.one(c, toys.ASK, 3)
    assert np.array_equal(whole.ids[: prompt.length], prompt.ids)
    assert prompt.trained == 0
    assert whole.labels[prompt.length] != IGNORE


def test_a_document_is_trained_whole_but_for_its_first_token():
    text = "three big ones and two"
    ids = TOK.encode(text)
    for sample in (
        encode_text(text, toys.config("X"), TOK),
        toys.one(toys.config("X"), [{"role": "user", "content": text}]),
    ):
        assert sample.ids.tolist() == [*ids, IM_END]
        assert sample.trained == len(ids)
        assert sample.labels[0] == IGNORE


def test_max_length_cuts_the_end():
    c = toys.config("D")
    sample = encode_sample(toys.ASK, [3], c, TOK, max_length=20)
    assert sample.length == 20
    assert sample.trained == 0
    collate([sample], [toys.features(3)])


def test_multi_turn_loss_falls_on_every_answer():
    turns = [*toys.TEXT, {"role": "user", "content": "sure?"}, {"role": "assistant", "content": "yes"}]
    assert said(toys.one(toys.config("H"), turns)) == "two small ones<|im_end|>\nyes<|im_end|>\n"


def test_marks_and_images_must_agree():
    with pytest.raises(UserError, match="1 `<image>` marks in the messages but 2 images"):
        toys.one(toys.config("D"), toys.ASK, 1, 1)
    with pytest.raises(UserError, match="an image has 2 tiles"):
        toys.one(toys.config("D"), toys.ASK, 2)


TWO = [{"role": "user", "content": "a <image> b <image> c"}, {"role": "assistant", "content": "ok"}]


@pytest.mark.parametrize("policy", ["all-preceding", "last-image"])
def test_text_reads_the_images_before_it(policy):
    c = toys.config("X", text_to_tiles=policy)
    sample = toys.one(c, TWO, 3, 1)
    visible = collate([sample], [toys.features(4)]).visible[0]  # (T, T_kv)
    a, b, end = (toys.positions_of(sample, TOK.encode(w)) for w in ("a ", " b ", " c"))
    assert not visible[a].any()
    assert visible[b].int().tolist() == [1] * 12 + [0] * 4
    assert visible[end].int().tolist() == [int(policy == "all-preceding")] * 12 + [1] * 4
    # Each tag reads its own tile, of its own image.
    assert visible[toys.tag_at(sample, 1)].int().tolist() == [0] * 4 + [1] * 4 + [0] * 8


def test_packed_samples_read_their_own_images_only():
    c = toys.config("X")
    samples = [toys.one(c, toys.ASK, 3), toys.one(c, toys.TEXT), toys.one(c, toys.ASK, 1)]
    total = sum(s.length for s in samples)
    batch = collate(samples, [toys.features(3), None, toys.features(1)], pack=total)
    assert batch.ids.shape == (1, total)
    owner = torch.tensor([0] * 12 + [2] * 4)
    for q, segment in enumerate(batch.segments[0].tolist()):
        assert not batch.visible[0, q][owner != segment].any()
    assert batch.visible[0, -1].int().tolist() == [0] * 12 + [1] * 4
    starts = (batch.positions[0] == 0).nonzero()[:, 0].tolist()
    assert starts == [0, samples[0].length, samples[0].length + samples[1].length]


def test_packing_opens_rows_as_needed_and_refuses_what_cannot_fit():
    c = toys.config("D")
    samples = [toys.one(c, toys.TEXT)] * 3
    assert collate(samples, [None] * 3, pack=2 * samples[0].length).ids.shape[0] == 2
    with pytest.raises(UserError, match="does not fit"):
        collate(samples, [None] * 3, pack=3)


@given(st.lists(st.sampled_from([1, 3, 4, 5, 6, 7]), max_size=3), st.sampled_from(ARCHS), st.booleans())
def test_any_number_of_images(counts, arch, tagged):
    c = toys.config(arch, tags="1d" if tagged else "none")
    turns = [{"role": "user", "content": "see" + "<image>" * len(counts)}, {"role": "assistant", "content": "ok"}]
    sample = toys.one(c, turns, *counts)
    used = {*sample.feature[sample.feature >= 0].tolist(), *sample.kv_feature[sample.kv_feature >= 0].tolist()}
    assert used == set(range(4 * sum(counts)))  # every image token is shown once, in the decoder or in the keys
    batch = collate([sample], [toys.features(sum(counts)) if counts else None])
    assert batch.visible.shape == (1, sample.length, len(sample.kv_ids))
    assert batch.features.shape[0] == 4 * sum(counts)


def test_config_survives_json_and_names_the_nearest_key():
    c = toys.config("H", h_binding="positions")
    assert ModelConfig.from_dict(c.to_dict()) == c
    with pytest.raises(UserError, match="did you mean `every_n`"):
        ModelConfig.from_dict({"every_m": 3})


@pytest.mark.parametrize(
    "fields",
    [{"tile": 20}, {"d": 30}, {"heads": 3}, {"every_n": 9}, {"arch": "Q"}, {"max_tiles": 7}, {"h_binding": "x"}],
)
def test_impossible_configs(fields):
    with pytest.raises(UserError):
        dataclasses.replace(toys.config("X"), **fields)


def test_batch_moves():
    batch = toys.ask(toys.config("X"), 3)[1]
    assert batch.to("meta").visible.device.type == "meta"
    assert IM_START in batch.ids

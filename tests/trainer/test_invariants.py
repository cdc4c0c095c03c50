"""The invariants of nvlm.md 8.3, each under its number, on tiny models (CPU, fp32). Not here: 26 (throughput, a benchmark)."""

import numpy as np
import pytest
import torch

from tests.trainer import toys
from tests.trainer.toys import K, M
from trainer.batch import IGNORE, collate
from trainer.config import ARCHS, decays, trainable
from trainer.fusion import NVLM, GatedCrossAttention
from trainer.tokenizer import PAD
from trainer.vision import VisionConfig, VisionEncoder

COUNTS = [1, 3, 7]  # tiles with thumbnail: n = 1, 2, 6
each_arch = pytest.mark.parametrize("arch", ARCHS)
each_cross = pytest.mark.parametrize("arch", ["X", "H"])
each_count = pytest.mark.parametrize("count", COUNTS)


def text_length(count_images=1):
    """T: tokens of ASK in its template, `<Image>` and `</Image>` with it, and one placeholder per image."""
    return toys.one(toys.config("X", tags="none"), toys.ASK, 1).length + count_images


def logits(model, batch):
    with torch.no_grad():
        return model.logits(batch)


def same_bits(a, b):
    assert torch.equal(a, b)


# Common


@each_arch
@pytest.mark.parametrize("ffn", [False, True])
@pytest.mark.parametrize("gate", [0.0, 0.7])
def test_invariant_01_text_only_is_the_plain_decoder(arch, ffn, gate):
    c = toys.config(arch, xattn_ffn=ffn)
    model = toys.model(c, gate=gate)
    texts = [toys.one(c, toys.TEXT), toys.one(c, toys.TEXT)]
    batch = collate(texts, [None, None])
    same_bits(logits(model, batch), model.decoder.text_only(batch.ids).detach())
    # Beside a row with an image: the text row goes through the cross-attention, and gets exactly nothing from it.
    mixed = collate([texts[0], toys.one(c, toys.ASK, 3)], [None, toys.features(3)])
    real = texts[0].length  # padding has no position of its own
    same_bits(logits(model, mixed)[0, :real], model.decoder.text_only(mixed.ids)[0, :real].detach())


@each_arch
@each_count
def test_invariant_02_loss_on_assistant_tokens_only(arch, count):
    c = toys.config(arch)
    sample, batch = toys.ask(c, count)
    answer = [*toys.TOKENIZER.encode("three big ones"), 2, *toys.TOKENIZER.encode("\n")]
    assert sample.labels[sample.labels != IGNORE].tolist() == answer
    assert sample.trained == len(answer)
    assert (sample.labels[: -len(answer)] == IGNORE).all()  # system, user, role prefix, image, tags
    padded = collate([sample, toys.one(c, toys.TEXT)], [toys.features(count), None])
    assert (padded.labels[padded.ids == PAD] == IGNORE).all()
    # The loss is the plain mean over those tokens ...
    model = toys.model(c)
    with torch.no_grad():
        _, loss = model(batch)
        logp = model.logits(batch)[0].log_softmax(-1)
        at = [t for t in range(1, sample.length) if sample.labels[t] != IGNORE]
        expected = -torch.stack([logp[t - 1, sample.ids[t]] for t in at]).mean()
        torch.testing.assert_close(loss, expected)
        # ... and what a masked position would say is never asked: other padding changes nothing.
        before = model(padded)[1]
        padded.ids[1, toys.one(c, toys.TEXT).length :] = 9
        same_bits(model(padded)[1], before)


@each_arch
def test_invariant_03_freeze_map_over_both_stages(arch):
    c = toys.config(arch)
    model = toys.model(c, gate=0.1)
    encoder = VisionEncoder.random(VisionConfig(tile=16, patch=4, width=8, layers=1, head_width=4), 0)
    tiles = np.random.default_rng(0).integers(0, 255, (3, 16, 16, 3), np.uint8)
    seen = {n: p.clone() for n, p in encoder.state_dict().items()}
    batch = collate([toys.one(c, toys.ASK, 3)], [encoder.encode_tiles(tiles)])
    for stage in (1, 2):
        names = set(trainable(model, stage))
        before = {n: p.detach().clone() for n, p in model.named_parameters()}
        for n, p in model.named_parameters():
            p.requires_grad_(n in names)
        adam = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2, weight_decay=0.1)
        for _ in range(2):
            adam.zero_grad()
            model(batch)[1].backward()
            adam.step()
        changed = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
        assert changed == names
        assert any(n.startswith("projector.") for n in changed)
        assert any(n.startswith("xattn.") for n in changed) == (arch != "D")
        assert any(n.startswith("decoder.") for n in changed) == (stage == 2)
    assert all(torch.equal(p, seen[n]) for n, p in encoder.state_dict().items())
    assert not any(p.requires_grad or p.grad is not None for p in encoder.parameters())


@each_arch
def test_invariant_04_decay_touches_neither_frozen_parameters_nor_gates_and_norms(arch):
    model = toys.model(toys.config(arch, xattn_ffn=True, xattn_qk_norm=True))
    decayed = {n for n, p in model.named_parameters() if decays(n, p.ndim)}
    assert not [n for n in decayed if "norm" in n or "gate" in n.split(".")[-1] or n.endswith("bias")]
    assert not [n for n in trainable(model, 1) if n.startswith("decoder.")]
    assert any(n.endswith("q.weight") for n in decayed)


@each_arch
@each_count
def test_invariant_05_alone_padded_and_packed_agree(arch, count):
    c = toys.config(arch)
    model = toys.model(c)
    sample, batch = toys.ask(c, count)
    alone = logits(model, batch)[0]
    other, long = toys.one(c, toys.TEXT), toys.one(c, [*toys.ASK, *toys.TEXT * 6], 7)
    feats, more = toys.features(count), toys.features(7, seed=5)
    padded = logits(model, collate([sample, long, other], [feats, more, None]))[0, : sample.length]
    packed = logits(model, collate([other, sample, long], [None, feats, more], pack=1000))
    packed = packed[0, other.length : other.length + sample.length]
    torch.testing.assert_close(padded, alone, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(packed, alone, atol=1e-5, rtol=1e-5)


@each_arch
@each_count
def test_invariant_06_another_image_gives_another_answer(arch, count):
    c = toys.config(arch)
    model = toys.model(c)
    (sample, a), (_, b) = toys.ask(c, count, seed=0), toys.ask(c, count, seed=1)
    answer = torch.from_numpy(sample.labels != IGNORE)
    assert ((logits(model, a) - logits(model, b)).abs().amax(-1)[0][answer] > 1e-4).all()


# D


@each_count
def test_invariant_07_length_of_d(count):
    for tags, m in (("1d", M), ("none", 0)):
        sample = toys.one(toys.config("D", tags=tags), toys.ASK, count)
        assert sample.length == text_length() - 1 + count * (K + m)


@pytest.mark.parametrize("tile", range(7))
def test_invariant_08_causality_of_d(tile):
    c = toys.config("D")
    model, feats = toys.model(c), toys.features(7)
    sample, before = toys.ask(c, 7, feats=feats)
    _, after = toys.ask(c, 7, feats=toys.perturb(feats, tile))
    start = int(np.flatnonzero(sample.feature == tile * K)[0])
    a, b = logits(model, before)[0], logits(model, after)[0]
    same_bits(a[:start], b[:start])
    assert not torch.equal(a[start:], b[start:])


def test_invariant_09_one_tile_has_the_global_tag_only():
    for arch in ARCHS:
        sample = toys.one(toys.config(arch), toys.ASK, 1)
        shown = toys.TOKENIZER.decode(sample.ids.tolist())
        assert "<tile_global_thumbnail>" in shown
        assert "<tile_1>" not in shown


@each_count
def test_invariant_10_without_tags_m_less_per_tile(count):
    with_tags, without = (toys.one(toys.config("D", tags=t), toys.ASK, count).length for t in ("1d", "none"))
    assert without == with_tags - M * count


# X


@each_count
def test_invariant_11_gates_zero_is_the_decoder_on_the_same_tokens(count):
    c = toys.config("X", xattn_ffn=True)
    model = toys.model(c, gate=0.0)
    _, batch = toys.ask(c, count)
    same_bits(logits(model, batch), model.decoder.text_only(batch.ids).detach())


@each_cross
def test_invariant_12_at_gates_zero_only_the_gates_have_a_gradient(arch):
    model = toys.model(toys.config(arch), gate=0.0)
    model(toys.ask(model.config, 7)[1])[1].backward()
    for name, p in model.named_parameters():
        if name.startswith("xattn."):
            assert name.endswith("gate") == bool(p.grad.abs().max() > 0), name
        if name.startswith("projector.") and arch == "X":  # H's projector also feeds the thumbnail into the decoder
            assert p.grad.abs().max() == 0


def attention_weights(block: GatedCrossAttention, x, k, visible):
    """The weights that `read` must have used, written out; rows that see nothing are 0."""
    q = block.q_norm(block.q(block.norm(x)).view(*x.shape[:2], block.heads, block.width).transpose(1, 2))
    w = (q @ k.transpose(-1, -2) / block.width**0.5).masked_fill(~visible[:, None], -torch.inf).softmax(-1)
    return w.nan_to_num(0.0)  # (B, H, T, T_kv)


def x_block(count=7):
    c = toys.config("X")
    model = toys.model(c)
    sample, batch = toys.ask(c, count)
    block = model.xattn["1"]
    x, kv = torch.randn(1, sample.length, c.d), torch.randn(1, count * K, c.d)
    return sample, batch, block, x, kv


def test_invariant_13_a_tag_reads_its_own_tile_only():
    sample, batch, block, x, kv = x_block()

    def read(kv):
        return block.read(x, *block.keys(kv), batch.visible)

    k, v = block.keys(kv)
    w = attention_weights(block, x, k, batch.visible)
    by_hand = block.out((w @ v).transpose(1, 2).reshape(x.shape))
    torch.testing.assert_close(read(kv), by_hand, atol=1e-5, rtol=1e-4)  # the weights looked at are those that are used
    jacobian = torch.autograd.functional.jacobian(read, kv)[0, :, :, 0]  # (T, d, T_kv, d)
    for j in range(7):
        for t in range(M):
            row = toys.tag_at(sample, j if j < 6 else -1) + t
            own = torch.arange(7 * K) // K == j
            assert (w[0, :, row][:, ~own] == 0).all()
            assert (w[0, :, row][:, own] > 0).all()
            assert (jacobian[row][:, ~own] == 0).all()
            assert (jacobian[row][:, own] != 0).any()


@pytest.mark.parametrize("tile", range(7))
def test_invariant_14_full_x_is_unchanged_before_the_tag_of_a_changed_tile(tile):
    c = toys.config("X")
    model, feats = toys.model(c), toys.features(7)
    sample, before = toys.ask(c, 7, feats=feats)
    _, after = toys.ask(c, 7, feats=toys.perturb(feats, tile))
    start = toys.tag_at(sample, tile if tile < 6 else -1)
    a, b = logits(model, before)[0], logits(model, after)[0]
    same_bits(a[:start], b[:start])
    assert not torch.equal(a[start : start + M], b[start : start + M])
    # At later tags logits may differ (self-attention carries it); the direct path is closed.
    for other in range(7):
        if other != tile:
            row = toys.tag_at(sample, other if other < 6 else -1)
            assert not before.visible[0, row, tile * K : tile * K + K].any()


@each_cross
def test_invariant_15_text_before_the_image_reads_nothing(arch):
    c = toys.config(arch)
    model = toys.model(c)
    sample, batch = toys.ask(c, 7)
    first = toys.positions_of(sample, toys.TOKENIZER.encode("<Image>")) + 1
    assert not batch.visible[0, :first].any()
    kv = torch.randn(1, batch.visible.shape[2], c.d)
    block, x = model.xattn["1"], torch.randn(1, sample.length, c.d)
    got = block.read(x, *block.keys(kv), batch.visible)
    assert (got[0, :first] == 0).all()
    assert (got[0, first:] != 0).any(-1).all()
    same_bits(block(x, *block.keys(kv), batch.visible)[0, :first], x[0, :first])
    # In the whole model: the text before the image is the decoder's, bit for bit, on the same ids.
    text = model.decoder.text_only(batch.ids).detach()[0, :first]
    same_bits(logits(model, batch)[0, :first], text)


def test_invariant_16_the_question_reads_every_tile_and_the_thumbnail():
    sample, batch, block, x, kv = x_block()
    w = attention_weights(block, x, block.keys(kv)[0], batch.visible)
    after = toys.positions_of(sample, toys.TOKENIZER.encode("</Image>"))
    assert (w[0, :, after:] > 0).all()


@each_count
def test_invariant_17_decoder_length_of_x_is_independent_of_k(count):
    lengths = {toys.one(toys.config("X", tile=s), toys.ASK, count).length for s in (16, 32)}
    assert lengths == {text_length() - 1 + count * M}
    assert len(toys.one(toys.config("X"), toys.ASK, count).kv_ids) == count * K


def test_invariant_18_x_reads_a_tile_as_a_set():
    c = toys.config("X")
    model, feats = toys.model(c), toys.features(7)
    mixed = feats[:, [2, 0, 3, 1]]
    a, b = (logits(model, toys.ask(c, 7, feats=f)[1]) for f in (feats, mixed))
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


# H


@pytest.mark.parametrize("gate", [0.0, 0.7])
@pytest.mark.parametrize("tags", ["1d", "none"])
def test_invariant_19_h_with_one_tile_is_d(gate, tags):
    h, d = (toys.model(toys.config(a, tags=tags), gate=gate) for a in ("H", "D"))
    d.load_state_dict(h.state_dict(), strict=False)
    (sh, bh), (sd, bd) = toys.ask(h.config, 1), toys.ask(d.config, 1)
    assert np.array_equal(sh.ids, sd.ids)
    assert len(sh.kv_ids) == 0
    same_bits(logits(h, bh), logits(d, bd))


@pytest.mark.parametrize("count", [3, 7])
@pytest.mark.parametrize("ffn", [False, True])
def test_invariant_20_h_with_gates_zero_is_d_on_the_thumbnail(count, ffn):
    h, d = toys.model(toys.config("H", xattn_ffn=ffn), gate=0.0), toys.model(toys.config("D"))
    feats = toys.features(count)
    _, bh = toys.ask(h.config, count, feats=feats)
    _, bd = toys.ask(d.config, 1, feats=feats[-1:])
    # Not to the bit: H projects the thumbnail in one matrix product with the tiles, which may round otherwise.
    torch.testing.assert_close(logits(h, bh), logits(d, bd), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("gate", [0.0, 0.7])
def test_invariant_21_gates_zero_h_sees_the_thumbnail_only(gate):
    model, feats = toys.model(toys.config("H"), gate=gate), toys.features(7)
    base = logits(model, toys.ask(model.config, 7, feats=feats)[1])
    for tile in range(7):
        other = logits(model, toys.ask(model.config, 7, feats=toys.perturb(feats, tile))[1])
        assert torch.equal(base, other) == (gate == 0.0 and tile < 6)


def test_invariant_22_decoder_length_of_h_is_independent_of_n():
    for tags, m in (("1d", M), ("none", 0)):
        lengths = {toys.one(toys.config("H", tags=tags), toys.ASK, n).length for n in COUNTS}
        assert lengths == {text_length() - 1 + K + m}
    assert toys.one(toys.config("H", h_thumbnail_tag=False), toys.ASK, 7).length == text_length() - 1 + K


@pytest.mark.parametrize("count", [3, 7])
def test_invariant_23_tags_lie_in_the_keys_of_h(count):
    n = count - 1
    sample, batch = toys.ask(toys.config("H"), count)
    assert len(sample.kv_ids) == n * (K + M)
    assert len(toys.one(toys.config("H", tags="none"), toys.ASK, count).kv_ids) == n * K
    is_tag = sample.kv_feature < 0
    assert sample.kv_ids[is_tag].reshape(n, M).tolist() == [list(t) for t in toys.TOKENIZER.tags[:n]]
    model = toys.model(toys.config("H"))
    kv = model.keys(batch, model.projector(batch.features))
    same_bits(kv[0, torch.from_numpy(is_tag)], model.decoder.embed(torch.from_numpy(sample.kv_ids[is_tag])))


@pytest.mark.parametrize(("binding", "bound"), [("pooled-tag", True), ("positions", True), ("none", False)])
def test_invariant_24_tiles_are_bound_to_their_tags(binding, bound):
    c = toys.config("H", h_binding=binding)
    model, feats = toys.model(c), toys.features(3)
    swapped = feats[[1, 0, 2]]
    sample, batch = toys.ask(c, 3, feats=feats)
    answer = torch.from_numpy(sample.labels != IGNORE)
    a, b = (logits(model, x)[0, answer] for x in (batch, toys.ask(c, 3, feats=swapped)[1]))
    assert ((a - b).abs().max() > 1e-4) == bound
    # Whole blocks, tag and tile together, in another order: the same set of keys.
    order = torch.tensor([*range(K + M, 2 * (K + M)), *range(K + M)])
    for name in ("kv_ids", "kv_from", "kv_tile"):
        getattr(batch, name).copy_(getattr(batch, name)[:, order])
    moved = logits(model, batch)[0, answer]
    assert ((a - moved).abs().max() < 1e-5) == (binding != "positions")


# Across architectures


def test_invariant_25_the_same_stream_for_every_architecture():
    stream = [(toys.ASK, 3), (toys.TEXT, 0), (toys.ASK, 1), (toys.ASK, 7)]  # what a Loader gives, in its order
    seen = {}
    for arch in ARCHS:
        c = toys.config(arch)
        rows = []
        for seed, (messages, count) in enumerate(stream):
            sample = toys.one(c, messages, *[count] * (count > 0))
            feats = toys.features(count, seed) if count else None
            batch = collate([sample], [feats])
            said = sample.labels[sample.labels != IGNORE].tolist()
            # All tiles arrive, and each is shown once, in the decoder or in the keys.
            shown = {*sample.feature[sample.feature >= 0].tolist(), *sample.kv_feature[sample.kv_feature >= 0].tolist()}
            assert shown == set(range(count * K))
            text = [
                i
                for i in sample.ids[sample.feature < 0].tolist()
                if i not in {t for tag in toys.TOKENIZER.tags for t in tag}
            ]
            rows.append((text, said, batch.features.tolist()))
        seen[arch] = rows
    assert seen["D"] == seen["X"] == seen["H"]


@each_arch
def test_invariant_27_what_stage_one_trains(arch):
    model = NVLM(toys.config(arch))
    shapes = {n: p.numel() for n, p in model.named_parameters()}
    c, names = model.config, trainable(model, 1)
    two_layers = 2 * c.features + c.features * c.projector_ffn + c.projector_ffn * c.d
    one_layer = c.features * c.d + c.d
    cross = len(c.xattn_layers) * (4 * c.d * c.d + c.d + 1)
    assert len(c.xattn_layers) == (0 if arch == "D" else 2)
    expected = {"D": two_layers, "X": one_layer + cross, "H": two_layers + cross}[arch]
    assert sum(shapes[n] for n in names) == expected

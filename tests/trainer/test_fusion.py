import pytest
import torch

from tests.trainer import toys
from trainer.batch import collate
from trainer.config import ARCHS
from trainer.fusion import NVLM, GatedCrossAttention
from trainer.tokenizer import IM_END

each_arch = pytest.mark.parametrize("arch", ARCHS)


def slow_generate(model, sample, feats, count):
    """One row, no cache: run the whole sequence again for every token."""
    batch, out = collate([sample], [feats]), []
    for _ in range(count):
        token = int(model.logits(batch)[0, -1].argmax())
        if token == IM_END:
            break
        out.append(token)
        fields = {k: [*getattr(sample, k).tolist(), v] for k, v in (("ids", token), ("labels", -100), ("feature", -1))}
        fields |= {k: [*getattr(sample, k).tolist(), int(getattr(sample, k)[-1])] for k in ("low", "high", "only")}
        sample = type(sample)(**(sample_fields(sample) | {k: torch.tensor(v).numpy() for k, v in fields.items()}))
        batch = collate([sample], [feats])
    return out


def sample_fields(sample):
    return {k: getattr(sample, k) for k in sample.__dataclass_fields__}


@each_arch
@pytest.mark.parametrize("position", ["after-self-attention", "before-layer"])
def test_generation_with_cache_and_padding_equals_running_again(arch, position):
    c = toys.config(arch, xattn_position=position, xattn_ffn=True, xattn_qk_norm=True)
    model = toys.model(c)
    rows = [(toys.ASK, 3), (toys.TEXT, 0), (toys.ASK, 7), (toys.ASK, 1)]
    prompts = [toys.one(c, m, *[n] * (n > 0), prompt=True) for m, n in rows]
    feats = [toys.features(n, seed=i) if n else None for i, (_, n) in enumerate(rows)]
    with torch.no_grad():
        slow = [slow_generate(model, p, f, 8) for p, f in zip(prompts, feats, strict=True)]
    assert model.generate(collate(prompts, feats), 8) == slow
    assert model.generate(collate(prompts, feats), 0) == [[]] * 4


@each_arch
def test_it_learns_to_tell_images_apart(arch):
    c = toys.config(arch)
    torch.manual_seed(0)
    model = NVLM(c)
    answers = ["three", "two", "big", "small"]
    messages = [[{"role": "user", "content": "<image>?"}, {"role": "assistant", "content": a}] for a in answers]
    feats = [toys.features(n, seed=i) for i, n in enumerate([1, 3, 3, 7])]
    batch = collate([toys.one(c, m, len(f)) for m, f in zip(messages, feats, strict=True)], feats)
    adam = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=0.0)
    for _ in range(150):
        adam.zero_grad()
        _, loss = model(batch)
        loss.backward()
        adam.step()
    assert loss < 0.05
    prompts = [toys.one(c, m, len(f), prompt=True) for m, f in zip(messages, feats, strict=True)]
    assert [toys.TOKENIZER.decode(r) for r in model.generate(collate(prompts, feats), 6)] == answers


@each_arch
def test_no_nan_in_gradients_where_nothing_is_visible(arch):
    c = toys.config(arch)
    model = toys.model(c)
    batch = collate([toys.one(c, toys.ASK, 3), toys.one(c, toys.TEXT)], [toys.features(3), None])
    model(batch)[1].backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@each_arch
def test_losses_per_row_add_up_to_the_loss(arch):
    c = toys.config(arch)
    model = toys.model(c)
    batch = collate([toys.one(c, toys.ASK, 3), toys.one(c, toys.TEXT)], [toys.features(3), None])
    sums, counts = model.losses(batch)
    torch.testing.assert_close(sums.sum() / counts.sum(), model(batch)[1].detach())
    text = collate([toys.one(c, toys.TEXT)], [None])
    torch.testing.assert_close(sums[1], model.losses(text)[0][0], atol=1e-5, rtol=1e-5)


def test_a_batch_without_targets_has_loss_zero():
    model = toys.model(toys.config("D"))
    assert model(collate([toys.one(model.config, toys.TEXT, prompt=True)], [None]))[1] == 0


def test_a_row_that_sees_nothing_gets_exactly_nothing():
    block = GatedCrossAttention(toys.config("X", xattn_ffn=True))
    torch.nn.init.constant_(block.gate, 1.0)
    torch.nn.init.constant_(block.ffn_gate, 1.0)
    x, kv = torch.randn(1, 3, 32), torch.randn(1, 5, 32)
    visible = torch.zeros(1, 3, 5, dtype=torch.bool)
    visible[0, 2, 1] = True
    y = block(x, *block.keys(kv), visible)
    assert torch.equal(y[0, :2], x[0, :2])
    assert not torch.equal(y[0, 2], x[0, 2])


def test_only_the_open_choices_that_are_asked_for():
    names = {n for n, _ in toys.model(toys.config("X")).named_parameters()}
    assert not any("ffn_gate" in n or "q_norm" in n for n in names if n.startswith("xattn"))
    assert "kv_position" in dict(NVLM(toys.config("H", h_binding="positions")).named_parameters())
    tags = [toys.one(toys.config("X", x_thumbnail_tag=t), toys.ASK, 7).length for t in (True, False)]
    assert tags[0] - tags[1] == toys.M
    quiet = toys.ask(toys.config("H", h_thumbnail_attends_tiles=False), 3)
    assert not quiet[1].visible[0][torch.from_numpy(quiet[0].feature >= 0)].any()
    assert toys.ask(toys.config("H"), 3)[1].visible[0][torch.from_numpy(quiet[0].feature >= 0)].all()

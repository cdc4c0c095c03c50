import torch
import torch.nn.functional as F

from tests.trainer import toys
from trainer.decoder import Attention, Cache, RMSNorm, SwiGLU, packing_mask, rope, rotate

C = toys.config("D")
IDS = torch.randint(0, C.vocab, (2, 11), generator=torch.Generator().manual_seed(0))


def test_rms_norm():
    norm, x = RMSNorm(8, 1e-6), torch.randn(3, 8)
    torch.testing.assert_close(norm(x), x / (x.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt())


def test_swiglu():
    ffn, x = SwiGLU(8, 6), torch.randn(2, 8)
    gate, up = (x @ ffn.gate_up.weight.T).split(6, -1)
    torch.testing.assert_close(ffn(x), (gate * torch.sigmoid(gate) * up) @ ffn.down.weight.T)


def test_rope_turns_by_relative_position():
    q, k = torch.randn(1, 1, 1, 8), torch.randn(1, 1, 1, 8)

    def score(a, b):
        at = [rope(torch.tensor([[p]]), 8, 1e4) for p in (a, b)]
        return (rotate(q, *at[0]) * rotate(k, *at[1])).sum()

    torch.testing.assert_close(score(7, 3), score(104, 100))
    assert not torch.allclose(score(7, 3), score(7, 4))


def test_grouped_queries_equal_attention_written_out():
    layer, x = Attention(C), torch.randn(1, 5, C.d)
    turn = rope(torch.arange(5)[None], 8, C.rope_base)
    kv = layer.kv(x).view(1, 5, 4, 8)
    q = rotate(layer.q(x).view(1, 5, 4, 8).transpose(1, 2), *turn)
    k, v = rotate(kv[:, :, :2].transpose(1, 2), *turn), kv[:, :, 2:].transpose(1, 2)
    heads = []
    for h in range(4):  # heads 0 and 1 share group 0
        w = (q[:, h] @ k[:, h // 2].transpose(1, 2) / 8**0.5).masked_fill(torch.ones(5, 5).triu(1).bool(), -torch.inf)
        heads.append(F.softmax(w, -1) @ v[:, h // 2])
    torch.testing.assert_close(layer(x, turn, None, None, 0), layer.out(torch.cat(heads, -1)), atol=1e-6, rtol=1e-5)


def test_causal_and_tied():
    model = toys.model(C).decoder
    before = model.text_only(IDS)
    changed = IDS.clone()
    changed[:, 6] = (changed[:, 6] + 1) % C.vocab
    after = model.text_only(changed)
    assert torch.equal(before[:, :6], after[:, :6])
    assert not torch.equal(before[:, 6:], after[:, 6:])
    assert not any("head" in name for name, _ in model.named_parameters())


def test_cache_gives_the_same_as_one_pass():
    model = toys.model(C).decoder
    whole, cache = model.text_only(IDS), Cache()
    positions = torch.arange(11).expand(2, 11)
    parts = [model(model.embed(IDS[:, :4]), positions[:, :4], cache=cache)]
    for t in range(4, 11):
        mask = torch.ones(2, 1, 1, t + 1, dtype=torch.bool)
        parts.append(model(model.embed(IDS[:, t : t + 1]), positions[:, t : t + 1], mask, cache=cache))
    torch.testing.assert_close(model.logits(torch.cat(parts, 1)), whole, atol=1e-5, rtol=1e-5)


def test_packing_mask():
    mask = packing_mask(torch.tensor([[0, 0, 1, -1]]))[0, 0].int().tolist()
    assert mask == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]

"""A layer of DeepSeek-V3.2 made of these operators, against transformers' own, which masks dense attention."""

import sys

import pytest
import torch

from xinqiao.ops.dsa import dsa_attention, dsa_index, dsa_quantize

sys.modules.setdefault("torchvision", None)  # where it is for another PyTorch, its import fails; nothing here needs it
transformers = pytest.importorskip("transformers")
SIZES = {
    **{"hidden_size": 96, "num_attention_heads": 6, "num_key_value_heads": 6, "q_lora_rank": 40, "kv_lora_rank": 48},
    **{"qk_rope_head_dim": 16, "qk_nope_head_dim": 24, "v_head_dim": 20, "index_topk": 12, "index_head_dim": 32},
    **{"index_n_heads": 16, "num_hidden_layers": 1, "vocab_size": 32, "first_k_dense_replace": 1},
    **{"intermediate_size": 32, "max_position_embeddings": 256},
}


@pytest.fixture
def made():
    from transformers.models.deepseek_v32 import modeling_deepseek_v32 as modeling

    torch.manual_seed(0)
    config = transformers.DeepseekV32Config(**SIZES)
    config._attn_implementation = "eager"
    layer = modeling.DeepseekV32Attention(config, 0).eval()
    for weight in layer.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    layer.indexer.weights_proj.weight.data.abs_()  # else many scores are the same, 0
    return modeling, layer, modeling.DeepseekV32RotaryEmbedding(config)


class Ours:
    """The same weights, absorbed: queries meet the latents themselves."""

    def __init__(self, modeling, layer):
        self.modeling, self.layer = modeling, layer
        nope, lora = layer.qk_nope_head_dim, layer.kv_lora_rank
        self.up = layer.kv_b_proj.weight.view(layer.num_heads, -1, lora)
        self.keys, self.values = self.up[:, :nope], self.up[:, nope:]

    def latents(self, hidden, rope):
        layer = self.layer
        latent, turned = layer.kv_a_proj_with_mqa(hidden).split([layer.kv_lora_rank, layer.qk_rope_head_dim], -1)
        turned, _ = self.modeling.apply_rotary_pos_emb_interleave(turned[:, None], turned[:, None], *rope)
        return torch.cat((layer.kv_a_layernorm(latent), turned[:, 0]), -1)

    def queries(self, residual, rope):
        layer = self.layer
        q = layer.q_b_proj(residual).unflatten(-1, (layer.num_heads, -1))
        plain, turned = q.split([layer.qk_nope_head_dim, layer.qk_rope_head_dim], -1)
        turned, _ = self.modeling.apply_rotary_pos_emb_interleave(turned, turned, *rope, unsqueeze_dim=2)
        return torch.cat((torch.einsum("bthn,hnc->bthc", plain, self.keys), turned), -1)

    def index(self, hidden, residual, rope):
        indexer = self.layer.indexer
        q = indexer.wq_b(residual).unflatten(-1, (indexer.n_heads, -1))
        k = indexer.k_norm(indexer.wk(hidden))[:, :, None]
        split = indexer.qk_rope_head_dim
        q_turned, k_turned = self.modeling.apply_rotary_pos_emb(q[..., :split], k[..., :split], *rope, unsqueeze_dim=2)
        weights = indexer.weights_proj(hidden) * indexer.n_heads**-0.5 * indexer.softmax_scale
        q, k = (torch.cat((turned, x[..., split:]), -1) for turned, x in ((q_turned, q), (k_turned, k)))
        return q, k[:, :, 0], weights

    def __call__(self, hidden, rope, first):
        """Output of the tokens from `first` on; those before it are in the caches."""
        layer = self.layer
        residual = layer.q_a_layernorm(layer.q_a_proj(hidden))
        q, k, weights = self.index(hidden, residual, rope)
        choice = dsa_index(q[:, first:], k, weights[:, first:], top_k=layer.indexer.index_topk, start=first)
        out = dsa_attention(
            self.queries(residual, rope)[:, first:],
            self.latents(hidden, rope),
            choice,
            d_v=layer.kv_lora_rank,
            scale=layer.scaling,
        )
        return layer.o_proj(torch.einsum("bthc,hvc->bthv", out, self.values).flatten(2)), choice


@pytest.mark.parametrize("first", [0, 20, 49])
def test_a_layer_is_that_of_transformers(made, first):
    modeling, layer, rotary = made
    hidden = torch.randn(2, 50, SIZES["hidden_size"]).abs()
    rope = rotary(hidden, torch.arange(50)[None])
    mask = torch.ones(50, 50, dtype=torch.bool).tril()[None, None].expand(2, 1, -1, -1)
    with torch.no_grad():
        residual = layer.q_a_layernorm(layer.q_a_proj(hidden))
        theirs = layer.indexer(hidden, residual, rope, mask[:, 0], None)
        true, _ = layer(hidden, rope, torch.where(mask, 0.0, torch.finfo(torch.float32).min))
        found, choice = Ours(modeling, layer)(hidden, rope, first)
    for b in range(2):
        for t in range(first, 50):
            seen = theirs[b, t][theirs[b, t] <= t]  # where few are visible, theirs goes on with masked ones
            assert sorted(seen.tolist()) == [j for j in choice[b, t - first].tolist() if j >= 0]
    torch.testing.assert_close(found, true[:, first:], rtol=1e-4, atol=1e-4 * true.abs().max().item())


def test_gradients_of_a_layer_are_those_of_transformers(made):
    modeling, layer, rotary = made
    hidden = torch.randn(1, 30, SIZES["hidden_size"]).abs()
    rope = rotary(hidden, torch.arange(30)[None])
    mask = torch.where(torch.ones(30, 30).tril()[None, None].bool(), 0.0, torch.finfo(torch.float32).min)
    learnt = {n: p for n, p in layer.named_parameters() if not n.startswith("indexer")}
    up = torch.randn(1, 30, SIZES["hidden_size"])
    true = torch.autograd.grad((layer(hidden, rope, mask)[0] * up).sum(), learnt.values())
    found = torch.autograd.grad((Ours(modeling, layer)(hidden, rope, 0)[0] * up).sum(), learnt.values())
    for name, a, b in zip(learnt, found, true, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4 * b.abs().max().item(), msg=name)


def test_fp8_chooses_nearly_what_full_precision_does(made):
    """On random rows, the hardest case; the Hadamard rotation changes no product by itself."""
    modeling, layer, rotary = made
    hidden = torch.randn(1, 200, SIZES["hidden_size"])
    rope = rotary(hidden, torch.arange(200)[None])
    with torch.no_grad():
        residual = layer.q_a_layernorm(layer.q_a_proj(hidden))
        q, k, weights = Ours(modeling, layer).index(hidden, residual, rope)
        exact = dsa_index(q[:, 100:], k, weights[:, 100:], top_k=50, start=100)
        (q, q_scale), (k, k_scale) = (dsa_quantize(x, rotate=True) for x in (q[:, 100:], k))
        found = dsa_index(q, k, weights[:, 100:], q_scale, k_scale, top_k=50, start=100)
    shared = (found[0, :, :, None] == exact[0, :, None]).any(-1).float().mean()
    assert shared > 0.9

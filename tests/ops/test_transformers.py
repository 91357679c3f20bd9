"""The plugs into transformers give what its own eager code gives, forward and backward."""

import json
import textwrap

import pytest

from tests.convert.test_loads import python

pytestmark = [pytest.mark.real, pytest.mark.slow]

EXPERTS = textwrap.dedent("""
    import json, torch
    import xinqiao.ops.transformers
    from transformers import (
        DeepseekV3Config, DeepseekV3ForCausalLM, GptOssConfig, GptOssForCausalLM, MixtralConfig, MixtralForCausalLM)
    sizes = dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, vocab_size=96)
    models = {
        "silu": (MixtralForCausalLM, MixtralConfig(intermediate_size=48, num_local_experts=6, **sizes)),
        "gelu": (MixtralForCausalLM, MixtralConfig(
            intermediate_size=48, num_local_experts=6, hidden_act="gelu", **sizes)),
        "shared expert": (DeepseekV3ForCausalLM, DeepseekV3Config(
            intermediate_size=48, moe_intermediate_size=32, q_lora_rank=32, kv_lora_rank=32, qk_nope_head_dim=16,
            qk_rope_head_dim=16, v_head_dim=16, n_routed_experts=8, num_experts_per_tok=2, first_k_dense_replace=1,
            n_group=2, topk_group=1, **sizes | {"num_key_value_heads": 4})),
        "biases, transposed, a gate of its own": (GptOssForCausalLM, GptOssConfig(
            intermediate_size=64, num_local_experts=4, head_dim=16, **sizes)),
    }
    ids, found = torch.arange(40).view(2, 20), {}
    for name, (kind, config) in models.items():
        torch.manual_seed(0)
        model = kind(config).eval()
        results = []
        for how in ("eager", "xinqiao"):
            model.set_experts_implementation(how)
            model.zero_grad()
            loss = model(ids, labels=ids)
            loss.loss.backward()
            gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
            results.append((loss.logits.detach(), gradients))
        (meant, slopes), (own, ours) = results
        assert slopes.keys() == ours.keys()
        apart = max(((slopes[n] - ours[n]).norm() / slopes[n].norm().clamp_min(1e-6)).item() for n in slopes)
        found[name] = [((own - meant).norm() / meant.norm()).item(), apart]
    print(json.dumps(found))
""")


def test_experts():
    """fp32: sums of at most 64 products in another order, 64 · 2^-24 relative at most each, through two layers."""
    found = json.loads(python(EXPERTS))
    assert len(found) == 4
    for name, (forward, backward) in found.items():
        assert forward < 2e-5, name
        assert backward < 1e-4, name


DSA = textwrap.dedent("""
    import json, torch
    import xinqiao.ops.transformers
    from transformers import DeepseekV32Config, DeepseekV32ForCausalLM
    torch.manual_seed(0)
    model = DeepseekV32ForCausalLM(DeepseekV32Config(
        hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=4, vocab_size=96,
        intermediate_size=48, moe_intermediate_size=32, q_lora_rank=32, kv_lora_rank=32, qk_nope_head_dim=16,
        qk_rope_head_dim=16, v_head_dim=16, n_routed_experts=4, num_experts_per_tok=2, first_k_dense_replace=2,
        n_group=1, topk_group=1, index_topk=12, index_n_heads=2, index_head_dim=32)).eval()
    ids = torch.randint(96, (2, 40))
    padded = torch.ones_like(ids)
    padded[0, :9] = 0
    found = {}
    for name, mask in (("whole", None), ("padded", padded)):
        results = []
        for how in ("eager", "xinqiao_dsa"):
            model.set_attn_implementation(how)
            model.zero_grad()
            out = model(ids, attention_mask=mask)
            kept = slice(None) if mask is None else mask.bool()
            (out.logits[kept].square().sum()).backward()
            results.append((out.logits[kept].detach(), model.model.layers[0].self_attn.q_b_proj.weight.grad.clone()))
        found[name] = [((b - a).norm() / a.norm()).item() for a, b in zip(*results)]
    said = []
    for how in ("eager", "xinqiao_dsa"):
        model.set_attn_implementation(how)
        said.append(model.generate(ids[:1], max_new_tokens=6, do_sample=False).tolist())
    found["generated"] = said[0] == said[1]
    print(json.dumps(found))
""")


def test_sparse_attention_of_models_with_an_indexer():
    """Chosen tokens only, against dense attention under a mask; prompts with padding; a cache."""
    found = json.loads(python(DSA))
    assert found.pop("generated")
    for name, apart in found.items():
        assert max(apart) < 1e-5, name


NSA = textwrap.dedent("""
    import torch
    from torch import nn
    from transformers import LlamaConfig, LlamaForCausalLM
    from xinqiao.errors import InputError
    from xinqiao.ops.nsa import Branch, nsa_attention
    from xinqiao.ops.rules import Choosing
    from xinqiao.ops.transformers import nsa
    torch.manual_seed(0)
    q, k, v = torch.randn(2, 4, 150, 16), torch.randn(2, 2, 150, 16), torch.randn(2, 2, 150, 16)
    gates, rule = torch.rand(2, 150, 4, 3), Choosing(blocks=4)
    branch = Branch(k.transpose(1, 2), v.transpose(1, 2))
    means = Branch(*(torch.stack([x[:, 16 * i : 16 * i + 32].mean(1) for i in range(8)], 1) for x in branch))
    meant = nsa_attention(q.transpose(1, 2), means, branch, branch, gates, rule=rule, tokens=20)
    found, _ = nsa(None, q, k, v, None, gates=gates, rule=rule, tokens=20)
    print(torch.allclose(found, meant, atol=1e-6))
    model = LlamaForCausalLM(LlamaConfig(hidden_size=64, num_hidden_layers=1, num_attention_heads=4, vocab_size=96,
        intermediate_size=64))
    model.set_attn_implementation("xinqiao_nsa")
    hidden = torch.ones(2, 1, 150, 150, dtype=torch.bool).tril()
    hidden[0, :, :, :3] = False
    for call in (
        lambda: model(torch.arange(40)[None]),
        lambda: nsa(None, q[:, :, -1:], k, v, None, gates=gates),
        lambda: nsa(None, q, k, v, hidden, gates=gates),
        lambda: nsa(None, q, k, v, None, gates=gates, dropout=0.1),
    ):
        try:
            call()
        except InputError as error:
            print(error)
""")


def test_native_sparse_attention():
    assert python(NSA).splitlines() == [
        "True",
        "xinqiao_nsa: the attention module passes no gates=[batch, length, heads, 3]",
        "xinqiao_nsa: 1 queries of 150 keys, expected whole sequences",
        "xinqiao_nsa: attention_mask hides tokens, expected sequences without padding",
        "xinqiao_nsa: dropout is 0.1, expected 0",
    ]

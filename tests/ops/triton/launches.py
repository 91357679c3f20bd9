"""Every kernel's launch at the sizes of published models, of tensors without values: compiled for other chips."""

import torch

from xinqiao.ops.rules import Choosing, Keys
from xinqiao.ops.triton import dsa, linear, moe, nsa

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


def empty(*size, dtype):
    return torch.empty(size, dtype=dtype, device="meta")


def linear_launches(dtype):
    x, out, fp8 = empty(64, 512, dtype=dtype), empty(64, 256, dtype=dtype), empty(256, 512, dtype=torch.float8_e4m3fn)
    bytes_ = empty(64, 4, dtype=torch.uint8)
    yield "exponents", linear.exponents_launch(x, bytes_, 128)
    for name, scale, block in (
        ("f32 128x128", empty(2, 4, dtype=torch.float32), (128, 128)),
        ("e8m0 1x32", empty(256, 16, dtype=torch.uint8), (1, 32)),
    ):
        yield f"block_fp8 {name}", linear.block_launch(x, (fp8, scale, block), out)
        yield f"block_fp8 {name} quantised", linear.block_launch(x, (fp8, scale, block), out, exponents=(bytes_, 128))
        yield f"block_fp8 {name} back", linear.block_back_launch(out, (fp8, scale, block), x)
    values, unit = empty(64, 512, dtype=torch.int8), empty(64, dtype=torch.float32)
    yield "int8 rows", linear.int8_rows_launch(x, values, unit)
    weight = empty(256, 512, dtype=torch.int8)
    yield "int8", linear.int8_launch(values, unit, weight, empty(256, dtype=torch.float32), out)


def nsa_launches(dtype, group=16, d_k=192, d_v=128):
    """The paper's head: 192 and 128 wide, 16 heads of a group."""
    rows = 256
    q, k, v = (empty(rows, heads, d, dtype=dtype) for heads, d in ((2 * group, d_k), (2, d_k), (2, d_v)))
    sequences = torch.tensor([[0, rows, 0, rows, 0]], device="meta")
    out, lse = empty(rows, 2 * group, d_v, dtype=dtype), empty(rows, 2 * group, dtype=torch.float32)
    choice = empty(rows, 2, 16, dtype=torch.int32)
    rule = Choosing()
    given = {"gradient": out, "lse": lse, "inner": lse}
    for name, keys, chosen in (
        ("chosen", Keys(), choice),
        ("window", Keys(window=512), None),
        ("compressed", rule, None),
    ):
        seen = (keys, chosen, 0.1)
        yield f"attend {name}", nsa.attend_launch(q, k, v, sequences, seen, (out, lse))
        for part, launch in zip(
            ("q", "kv"), nsa.backward_launches(q, k, v, sequences, seen, given, (q, k, v)), strict=True
        ):
            yield f"attend {name} back {part}", launch
    table, pages = empty(1, 4, dtype=torch.int32), [empty(8, 64, 2, d, dtype=dtype) for d in (d_k, d_v)]
    yield "attend in pages", nsa.attend_launch(q, *pages, sequences, (Keys(), choice, 0.1), (out, lse), table)
    names = ("logits", "shares", "highest")
    yield from zip(names, nsa.choose_launches(q, k, sequences, (rule, None, 0.1), choice), strict=False)


def dsa_launches(dtype):
    """DeepSeek-V3.2's: 128 heads of 576 over latents, values of 512, an indexer of 64 heads of 128."""
    q, latent = empty(1, 2, 128, 576, dtype=dtype), empty(1, 4096, 576, dtype=dtype)
    choice, start = empty(1, 2, 2048, dtype=torch.int32), empty(1, dtype=torch.int64)
    found = empty(1, 2, 128, 512, dtype=dtype), empty(1, 2, 128, dtype=torch.float32)
    yield "dsa chosen", dsa.attention_launch(q, latent, (choice, None, start), found, 0.1)
    table, pages = empty(1, 64, dtype=torch.int32), empty(64, 64, 576, dtype=dtype)
    yield "dsa all in pages", dsa.attention_launch(q, pages, (None, table, start), found, 0.1)
    given = {"gradient": found[0], "lse": found[1], "inner": found[1]}
    results = q, empty(1, 4096, 576, dtype=torch.float32)
    yield "dsa back", dsa.backward_launch(q, latent, (choice, None, start), given, results, 0.1)
    heads, scores = empty(1, 2, 64, dtype=torch.float32), empty(1, 2, 4096, dtype=torch.float32)
    for kind in (dtype, torch.float8_e4m3fn):
        queries, keys = empty(1, 2, 64, 128, dtype=kind), empty(1, 4096, 128, dtype=kind)
        name = "fp8" if kind == torch.float8_e4m3fn else ""
        yield f"dsa scores {name}", dsa.index_launch(queries, keys, heads, (None, start), scores, 0)


def moe_launches(dtype):
    """DeepSeek-V3's router, and groups of rows for 64 experts."""
    logits, bias = empty(4, 256, dtype=torch.float32), empty(256, dtype=torch.float32)
    for scoring in ("sigmoid", "softmax"):
        chosen = empty(4, 8, dtype=torch.int64)
        yield f"choose {scoring}", moe.choose_launch(logits, bias, chosen, (8, 4), scoring)
    x, out, ends = empty(128, 512, dtype=dtype), empty(128, 256, dtype=dtype), empty(64, dtype=torch.int64)
    weight = empty(64, 256, 512, dtype=dtype)
    yield "grouped", linear.block_launch(x, (weight, None, (128, 128)), out, ends=ends)
    yield "grouped back", linear.block_back_launch(out, (weight, None, (128, 128)), x, ends=ends)
    yield "grouped weights", moe.weight_gradient_launch(out, x, ends, weight, empty(64, 256, dtype=dtype))


def all_launches(dtype):
    for part in (linear_launches, nsa_launches, dsa_launches, moe_launches):
        yield from part(dtype)

"""Kernels as a cost model sees them: arithmetic, traffic and shape, whatever the chip. A multiply and an add are two."""

from typing import NamedTuple

BITS = {
    **{"fp64": 64.0, "fp32": 32.0, "tf32": 32.0, "fp16": 16.0, "bf16": 16.0, "fp8": 8.0, "int8": 8.0},
    **{"mxfp8": 8.25, "mxfp4": 4.25, "fp4": 4.5, "int4": 4.25},  # with the scales of their blocks
}
PRODUCT = {"mxfp8": "fp8", "mxfp4": "fp4"}  # the number format whose peak a storage format multiplies at


def stored(name: str) -> float:
    """Bytes that one number takes, scales of its block included where the format has them."""
    return BITS[name] / 8


class Kernel(NamedTuple):
    """One kernel, or several that are alike.

    kind     'gemm', 'attention', 'elementwise', …: which constants it is priced with
    format   of the products: a key of a chip's `compute`
    flops    per kernel; a multiply and an add are two
    bytes    of device memory read and written, without the KV cache
    cache    bytes of the KV cache read
    rows     tokens that meet one weight, which decides how full the matrix units are; 0: it does not matter
    count    kernels that are alike
    shape    where it lies among measured kernels of its kind and format, all above 0; (): nowhere
             gemm (m, n, k), grouped_gemm (m, n, k, groups), prefill_attention (tokens × heads, keys, head dim),
             decode_attention (queries × heads, keys, bytes of a token's cache, all sequences), elementwise (bytes,)
    """

    kind: str
    format: str = "bf16"
    flops: float = 0.0
    bytes: float = 0.0
    cache: float = 0.0
    rows: float = 0.0
    count: float = 1.0
    shape: tuple[float, ...] = ()


def gemm(m: float, n: float, k: float, form: str = "bf16", *, inputs: str = "", groups: float = 1.0) -> Kernel:
    """[m, k] × [k, n], weights in `form`, activations read in `inputs` ('': as the weights) and written in 16 bits.

    groups: weights of that shape, each with its own m rows, in one kernel (grouped GEMM of experts).
    """
    read = m * k * stored(inputs or form) + n * k * stored(form)
    kind, shape = ("gemm", (m, n, k)) if groups == 1 else ("grouped_gemm", (m, n, k, groups))
    moved = (read + 2 * m * n) * groups
    return Kernel(kind, PRODUCT.get(form, form), 2 * m * n * k * groups, moved, rows=m, shape=shape)


def prefill_attention(
    tokens: float, keys: float, heads: float, d_qk: int, d_v: int, *, kv_heads: float = 0.0, form: str = "bf16"
) -> Kernel:
    """`tokens` queries that see `keys` each in the mean; queries, keys, values and results pass through memory once."""
    kv_heads = kv_heads or heads
    moved = tokens * (heads * (d_qk + d_v) + kv_heads * (d_qk + d_v)) * 2
    flops = 2 * tokens * keys * heads * (d_qk + d_v)
    return Kernel("prefill_attention", form, flops, moved, shape=(tokens * heads, keys, float(d_qk)))


def decode_attention(
    queries: float,
    sequences: float,
    keys: float,
    heads: float,
    d_qk: int,
    d_v: int,
    *,
    cached: float,
    form: str = "bf16",
) -> Kernel:
    """`queries` tokens of `sequences`; each sequence reads `keys` rows of `cached` bytes, once for all its heads."""
    moved = queries * heads * (d_qk + d_v) * 2
    flops = 2 * queries * keys * heads * (d_qk + d_v)
    shape = (queries * heads, keys, sequences * cached)
    return Kernel("decode_attention", form, flops, moved, sequences * keys * cached, shape=shape)


def elementwise(numbers: float, *, passes: float = 2.0, count: float = 1.0, form: str = "bf16") -> Kernel:
    """A kernel that reads and writes `numbers` numbers stored in `form`, `passes` times in all."""
    moved = numbers * stored(form) * passes
    return Kernel("elementwise", "fp32", 0.0, moved, count=count, shape=(moved,))


def norm(numbers: float, *, count: float = 1.0, form: str = "bf16") -> Kernel:
    """A residual's addition and RMSNorm in one: `numbers` are read twice and written twice."""
    return elementwise(numbers, passes=4, count=count, form=form)._replace(kind="norm")

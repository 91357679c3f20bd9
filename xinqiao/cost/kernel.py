"""Kernels as a cost model sees them: arithmetic, traffic and shape, whatever the chip. A multiply-add counts two."""

from typing import NamedTuple

BITS = {
    **{"fp64": 64.0, "fp32": 32.0, "tf32": 32.0, "fp16": 16.0, "bf16": 16.0, "fp8": 8.0, "int8": 8.0},
    **{"mxfp8": 8.25, "mxfp4": 4.25, "fp4": 4.5, "int4": 4.25},  # with the scales of their blocks
}
PRODUCT = {"mxfp8": "fp8", "mxfp4": "fp4"}  # the key of a chip's `compute` that a storage format multiplies at


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
             decode_attention (FLOPs a byte, bytes of cache, keys), elementwise and norm (bytes,)
    """

    kind: str
    format: str = "bf16"
    flops: float = 0.0
    bytes: float = 0.0
    cache: float = 0.0
    rows: float = 0.0
    count: float = 1.0  # type: ignore[assignment]  # hides the tuple's method of that name
    shape: tuple[float, ...] = ()


def gemm(m: float, n: float, k: float, form: str = "bf16", *, inputs: str = "", groups: float = 1.0) -> Kernel:
    """[m, k] × [k, n], weights in `form`, activations read in `inputs` ('': as the weights) and written in 16 bits.

    Products run in the format of the activations: weights that are kept smaller are decoded on the way.
    groups: weights of that shape, each with its own m rows, in one kernel (grouped GEMM of experts).
    """
    read = m * k * stored(inputs or form) + n * k * stored(form)
    product = inputs or form
    kind, shape = ("gemm", (m, n, k)) if groups == 1 else ("grouped_gemm", (m, n, k, groups))
    moved = (read + 2 * m * n) * groups
    return Kernel(kind, PRODUCT.get(product, product), 2 * m * n * k * groups, moved, rows=m, shape=shape)


def prefill_attention(
    tokens: float, keys: float, heads: float, dims: tuple[int, int], *, kv_heads: float = 0.0, form: str = "bf16"
) -> Kernel:
    """`tokens` queries that see `keys` each in the mean; queries, keys, values and results pass through memory once.

    dims: of a query or key, and of a value. kv_heads: 0: as many as `heads`.
    """
    both = sum(dims)
    moved = tokens * (heads + (kv_heads or heads)) * both * 2
    shape = (tokens * heads, keys, float(dims[0]))
    return Kernel("prefill_attention", form, 2 * tokens * keys * heads * both, moved, shape=shape)


def decode_attention(
    queries: float, keys: float, heads: float, dims: tuple[int, int], *, cache: float, form: str = "bf16"
) -> Kernel:
    """`queries` tokens that see `keys` each; cache: bytes read of it, once for all heads that share them.

    dims: of a query or key, and of a value.
    """
    both = sum(dims)
    flops, moved = 2 * queries * keys * heads * both, queries * heads * both * 2
    return Kernel("decode_attention", form, flops, moved, cache, shape=(flops / (moved + cache or 1), cache, keys))


def elementwise(numbers: float, *, passes: float = 2.0, count: float = 1.0, form: str = "bf16") -> Kernel:
    """A kernel that reads and writes `numbers` numbers stored in `form`, `passes` times in all."""
    moved = numbers * stored(form) * passes
    return Kernel("elementwise", "fp32", 0.0, moved, count=count, shape=(moved,))

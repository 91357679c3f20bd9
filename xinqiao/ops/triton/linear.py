"""Linear layers of 8-bit weights in Triton: the arguments are those of `reference/linear.py`."""

import torch
from torch import Tensor

from xinqiao.ops.reference.linear import ACTIVATIONS
from xinqiao.ops.triton import linear_kernels
from xinqiao.ops.triton.launch import Arguments, Constants, Launch, above, ceil

DTYPES = frozenset((torch.float32, torch.float16, torch.bfloat16))


def linear_block_fp8(
    x: Tensor,
    weight: Tensor,
    scale: Tensor,
    bias: Tensor | None,
    block: tuple[int, int],
    activation: str | None,
) -> Tensor:
    rows = x.reshape(-1, x.shape[-1]).contiguous()
    quantised = 0 if activation is None else ACTIVATIONS[activation]
    exponents = None
    if quantised:
        exponents = torch.empty(len(rows), ceil(rows.shape[1], quantised), dtype=torch.uint8, device=x.device)
        exponents_launch(rows, exponents, quantised).run()
    out = torch.empty(len(rows), weight.shape[0], dtype=x.dtype, device=x.device)
    block_launch(rows, (weight, scale, block), out, bias=bias, exponents=(exponents, quantised)).run()
    return out.view(*x.shape[:-1], -1)


def linear_block_fp8_backward(gradient: Tensor, weight: Tensor, scale: Tensor, block: tuple[int, int]) -> Tensor:
    rows = gradient.reshape(-1, gradient.shape[-1]).contiguous()
    out = torch.empty(len(rows), weight.shape[1], dtype=gradient.dtype, device=gradient.device)
    block_back_launch(rows, (weight, scale, block), out).run()
    return out.view(*gradient.shape[:-1], -1)


def linear_int8(x: Tensor, weight: Tensor, scale: Tensor, bias: Tensor | None) -> Tensor:
    rows = x.reshape(-1, x.shape[-1]).contiguous()
    values = torch.empty_like(rows, dtype=torch.int8)
    unit = torch.empty(len(rows), dtype=torch.float32, device=x.device)
    int8_rows_launch(rows, values, unit).run()
    out = torch.empty(len(rows), weight.shape[0], dtype=x.dtype, device=x.device)
    int8_launch(values, unit, weight, scale, out, bias=bias).run()
    return out.view(*x.shape[:-1], -1)


def linear_int8_backward(gradient: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    return linear_block_fp8_backward(gradient, weight, scale[:, None], (1, weight.shape[1]))


Scaled = tuple[Tensor, Tensor | None, tuple[int, int]]  # weight [n, k] or [experts, n, k], its scales and their block


def exponents_launch(x: Tensor, exponents: Tensor, block: int) -> Launch:
    m, k = x.shape
    arguments: Arguments = {"x": x, "exponents": exponents, "m": m, "k": k}
    return Launch(linear_kernels.largest, (ceil(m, 16), ceil(k, block)), arguments, {"BLOCK": block, "TILE": 16})


def block_launch(
    x: Tensor,
    scaled: Scaled,
    out: Tensor,
    *,
    bias: Tensor | None = None,
    exponents: tuple[Tensor | None, int] = (None, 0),
    ends: Tensor | None = None,
) -> Launch:
    """x [m, k]; ends: where each expert's rows end, int [experts]."""
    (m, k), n = x.shape, out.shape[1]
    tile_m, tile_n, tile_k = fit_tiles(x, scaled, exponents[1])
    arguments: Arguments = {
        "x": x,
        "exponents": exponents[0],
        "bias": bias,
        "ends": ends,
        "out": out,
        "m": m,
        "n": n,
        "k": k,
    }
    constants: Constants = {"QUANTISED": exponents[1], "TILE_M": tile_m, "TILE_N": tile_n, "TILE_K": tile_k}
    given, shape = _weights(scaled, ends)
    constants |= shape | {"EACH": _mixed(scaled, 1, tile_k, k)}
    grid = (grid_rows(m, tile_m, ends), ceil(n, tile_n))
    return Launch(linear_kernels.multiply, grid, arguments | given, constants, stages=3)


def block_back_launch(gradient: Tensor, scaled: Scaled, out: Tensor, *, ends: Tensor | None = None) -> Launch:
    (m, n), k = gradient.shape, out.shape[1]
    tile_m, tile_n, tile_k = fit_tiles(gradient, scaled, 0)
    arguments: Arguments = {"grad": gradient, "ends": ends, "out": out, "m": m, "n": n, "k": k}
    given, shape = _weights(scaled, ends)
    constants: Constants = shape | {
        "EACH": _mixed(scaled, 0, tile_n, n),
        "TILE_M": tile_m,
        "TILE_N": tile_n,
        "TILE_K": tile_k,
    }
    grid = (grid_rows(m, tile_m, ends), ceil(k, tile_k))
    return Launch(linear_kernels.multiply_back, grid, arguments | given, constants, stages=3)


def int8_rows_launch(x: Tensor, values: Tensor, unit: Tensor) -> Launch:
    m, k = x.shape
    arguments: Arguments = {"x": x, "values": values, "unit": unit, "m": m, "k": k}
    return Launch(linear_kernels.to_int8, (m,), arguments, {"TILE": min(1024, above(k))})


def int8_launch(
    values: Tensor,
    unit: Tensor,
    weight: Tensor,
    scale: Tensor,
    out: Tensor,
    *,
    bias: Tensor | None = None,
    ends: Tensor | None = None,
) -> Launch:
    (m, k), n = values.shape, out.shape[1]
    tile_m = 64 if m > 16 else 16
    arguments: Arguments = {
        "x": values,
        "unit": unit,
        "weight": weight.contiguous(),
        "scale": scale.contiguous(),
        "bias": bias,
    }
    arguments |= {"ends": ends, "out": out, "m": m, "n": n, "k": k}
    constants: Constants = {"EXPERTS": 0 if ends is None else len(ends), "TILE_M": tile_m, "TILE_N": 64, "TILE_K": 64}
    grid = (grid_rows(m, tile_m, ends), ceil(n, 64))
    return Launch(linear_kernels.multiply_int8, grid, arguments, constants, stages=3)


def grid_rows(m: int, tile: int, ends: Tensor | None) -> int:
    """Tiles of rows: at most one more for every expert."""
    return ceil(m, tile) if ends is None else m // tile + len(ends)


def fit_tiles(x: Tensor, scaled: Scaled, quantised: int) -> tuple[int, int, int]:
    m, block = len(x), scaled[2]
    tile_k = 32 if scaled[1] is not None and block[1] == 32 else 64
    return (64 if m > 16 else 16), 64, min(tile_k, quantised or 64)


def _mixed(scaled: Scaled, dimension: int, tile: int, size: int) -> bool:
    """Whether a tile of the summed dimension can lie in several blocks."""
    block = scaled[2][dimension]
    return scaled[1] is not None and block % tile != 0 and block < size


def _weights(scaled: Scaled, ends: Tensor | None) -> tuple[Arguments, Constants]:
    weight, scale, block = scaled
    e8m0 = scale is not None and scale.dtype in (torch.uint8, torch.float8_e8m0fnu)
    if scale is not None:
        weight = weight.view(torch.uint8) if weight.dtype == torch.float8_e4m3fn else weight
        scale = scale.contiguous().view(torch.uint8) if e8m0 else scale.contiguous()
    shape: Constants = {"SCALED": scale is not None, "BYTES": e8m0, "BLOCK_N": block[0], "BLOCK_K": block[1]}
    return {"weight": weight.contiguous(), "scale": scale}, shape | {"EXPERTS": 0 if ends is None else len(ends)}

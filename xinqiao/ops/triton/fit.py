"""Which tiles of a kernel fit a chip's on-chip memory: the largest that do, or an error before anything is run.

A chip's file says what there is: `on_chip`, the buffer that vector units compute in, and `on_chip_products`, the one
that sums of products stay in; or, of a chip that answers torch.cuda, the shared memory that a block can have. What a
kernel needs are bounds fitted to what compilers said, and tests hold them against compilers: of a buffer, the largest
of a few kinds of tiles, each times how many are alive at once; of shared memory, all operands.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from itertools import product
from typing import NamedTuple

import torch

from xinqiao.chips import catalog
from xinqiao.chips.spec import Chip
from xinqiao.errors import InputError
from xinqiao.ops.triton.launch import above, split

_GIVEN: ContextVar["Memory | None"] = ContextVar("tiles_for", default=None)


class Memory(NamedTuple):
    """Bytes on a chip, for one program of a kernel; 0: not known, or it has none of the kind."""

    name: str
    buffer: int = 0
    products: int = 0
    shared: int = 0
    exchange: int = 0  # shared memory too, of chips whose operands are in registers: tiles pass through, one at a time


class Alive(NamedTuple):
    """How many fp32 tiles of a kernel are alive at once in a vector unit's buffer: of scores [rows, keys], of outputs
    [rows, d_v] and of keys [keys, d_k]. Fitted: none that a compiler refused stays below the buffer's size."""

    scores: float
    outputs: float = 3.3
    keys: float = 2.1


KERNELS = {
    "attend": Alive(6),
    "attend_back": Alive(8),  # both of its kernels, which share their tiles
    "attend_back_added": Alive(8, keys=3.8),  # keys' gradients are added to memory
    "scores": Alive(33, 0, 0),
}


@contextmanager
def chip(name: str) -> Iterator[None]:
    """Inside the `with`, kernels get tiles for this chip, whatever device tensors are on."""
    token = _GIVEN.set(memory_of(catalog.load(name)))
    try:
        yield
    finally:
        _GIVEN.reset(token)


def attention(
    kernel: str, group: int, sizes: tuple[int, int], dtype: torch.dtype, device: torch.device, *, chosen: bool
) -> tuple[int, int]:
    """(rows of q, keys) of a tile. sizes: d_k and d_v. chosen: the rows are one token's.

    InputError where not even the smallest tile fits.
    """
    least = above(group)
    rows = [least] if chosen else [r for r in (64, 32, 16) if r >= least] or [least]
    keys = (64, 32, 16) if dtype.itemsize == 2 else (32, 16)
    return _largest(kernel, sorted(product(rows, keys), key=lambda t: (-t[0] * t[1], -t[0])), sizes, dtype, device)


def latent(
    kernel: str, heads: int, sizes: tuple[int, int], dtype: torch.dtype, device: torch.device
) -> tuple[int, int]:
    """(heads, tokens) of a tile; any number of heads can be a tile's."""
    rows = [r for r in (64, 32, 16) if r <= above(heads)]
    return _largest(kernel, list(product(rows, (32, 16))), sizes, dtype, device)


def scores(heads: int, d: int, device: torch.device) -> int:
    """Tokens at once where choices are computed, for all heads."""
    tiles = [(above(heads), tile) for tile in (64, 32, 16)]
    return _largest("scores", tiles, (d, 0), torch.float32, device)[1]


def _largest(
    kernel: str, tiles: list[tuple[int, int]], sizes: tuple[int, int], dtype: torch.dtype, device: torch.device
) -> tuple[int, int]:
    found = _GIVEN.get() or _there(device)
    if found is None:
        return tiles[0]
    for tile in tiles:
        if all(need <= there for need, there in _needs(kernel, tile, sizes, dtype, found)):
            return tile
    short = ", ".join(f"{need} of {there}" for need, there in _needs(kernel, tiles[-1], sizes, dtype, found))
    raise InputError(
        f"{kernel}: {tiles[-1][0]} rows and {tiles[-1][1]} keys of {sizes[0]} and {sizes[1]} "
        f"{str(dtype).removeprefix('torch.')} need {short} bytes on chip, more than {found.name} has"
    )


def _needs(
    kernel: str, tile: tuple[int, int], sizes: tuple[int, int], dtype: torch.dtype, found: Memory
) -> list[tuple[int, int]]:
    """(bytes needed, bytes there) of each memory of a known size."""
    needs = (
        buffer_bytes(kernel, tile, sizes, dtype),
        product_bytes(kernel, tile, sizes),
        shared_bytes(kernel, tile, sizes, dtype),
        exchange_bytes(kernel, tile, sizes, dtype),
    )
    return [(need, there) for need, there in zip(needs, found[1:], strict=True) if there]


def buffer_bytes(kernel: str, tile: tuple[int, int], sizes: tuple[int, int], dtype: torch.dtype) -> int:
    """Of the vector units' buffer, where every tile passes through."""
    (rows, keys), (d_k, d_v), alive = tile, map(_columns, sizes), KERNELS[kernel]
    wide = dtype.itemsize / 2  # fitted for operands of 16 bits
    kinds = alive.scores * rows * keys, alive.outputs * rows * d_v, alive.keys * keys * d_k * wide
    return int(4 * max(kinds))


def product_bytes(kernel: str, tile: tuple[int, int], sizes: tuple[int, int]) -> int:
    """Of the buffer of sums, fp32: those of one turn of the loop."""
    (rows, keys), (d_k, d_v) = tile, map(_columns, sizes)
    if kernel == "scores":
        return 0  # it has no product of tiles
    if kernel == "attend":
        return 4 * rows * (keys + d_v)
    return 4 * (rows * keys + max(rows, keys) * (d_k + d_v))


def shared_bytes(kernel: str, tile: tuple[int, int], sizes: tuple[int, int], dtype: torch.dtype) -> int:
    """Of shared memory, where operands of products lie; sums are in registers."""
    (rows, keys), (d_k, d_v) = tile, map(_columns, sizes)
    if kernel == "scores":
        return 0
    back = kernel != "attend"
    operands = rows * (d_k + d_v * back) + keys * (d_k + d_v)
    added = 4 * keys * (d_k + d_v) if kernel == "attend_back_added" else 0  # in fp32
    return dtype.itemsize * operands + added + 4 * (1 + back) * rows * keys + 64


def exchange_bytes(kernel: str, tile: tuple[int, int], sizes: tuple[int, int], dtype: torch.dtype) -> int:
    """Of shared memory where tiles change their layout: the largest one."""
    if kernel == "scores":
        return 0
    (rows, keys), width = tile, max(split(size)[0] for size in sizes)
    added = 4 * keys * width if kernel == "attend_back_added" else 0
    return max(dtype.itemsize * max(rows, keys) * width, added, 4 * rows * keys)


def _columns(size: int) -> int:
    return sum(split(size)) if size else 0


def memory_of(chip: Chip) -> Memory:
    shared = chip.cuda and (chip.cuda.shared_memory_per_block_optin or chip.cuda.shared_memory_per_block)
    held = (chip.memory.on_chip.si or 0, chip.memory.on_chip_products.si or 0)
    exchanges = bool(chip.cuda and chip.cuda.hip)
    return Memory(chip.name, int(held[0]), int(held[1]), *_shared(shared or 0, exchanges))


def _shared(size: int, exchanges: bool) -> tuple[int, int]:  # noqa: FBT001
    return (0, size) if exchanges else (size, 0)


@cache
def _there(device: torch.device) -> Memory | None:
    """By the chip's file, or where none has the device's name by what the device says. None: on the processor."""
    if device.type in ("cpu", "meta"):
        return None
    name = torch.get_device_module(device.type).get_device_name(device)
    if known := next((c for c in catalog.all_chips() if c.torch.device_name == name), None):
        return memory_of(known)
    found = torch.get_device_module(device.type).get_device_properties(device)
    size = getattr(found, "shared_memory_per_block_optin", 0) or getattr(found, "shared_memory_per_block", 0)
    return Memory(name, 0, 0, *_shared(size, torch.version.hip is not None))

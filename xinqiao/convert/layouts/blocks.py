"""The blocks that a scale's shape tells of."""

from collections.abc import Mapping
from math import ceil
from typing import Any, NamedTuple, TypeGuard

from xinqiao.convert.source.entry import Entry
from xinqiao.errors import InputError

Block = tuple[int, int]
KNOWN: tuple[Block, ...] = ((128, 128), (1, 32), (1, 0), (1, 128), (0, 0))
PACKED: tuple[Block, ...] = ((1, 128), (1, 32))  # four bytes of scales of a row in one int32


class Codes(NamedTuple):
    """Codes by name. shape: of their values."""

    name: str
    shape: tuple[int, ...]


def hints(config: Mapping[str, Any]) -> list[Block]:
    """The blocks that quantization_config names; malformed ones are as good as none."""
    quantization = config.get("quantization_config")
    if not isinstance(quantization, dict):
        return []
    found = [quantization.get("weight_block_size")]
    groups = quantization.get("config_groups")
    for group in groups.values() if isinstance(groups, dict) else ():
        weights = group.get("weights") if isinstance(group, dict) else None
        if isinstance(weights, dict):
            found += [weights.get("block_structure"), [1, weights.get("group_size")]]
    return [(rows, columns) for rows, columns in filter(_is_block, found)]


def _is_block(block: object) -> TypeGuard[list[int]]:
    return isinstance(block, list) and len(block) == 2 and all(type(n) is int and n > 0 for n in block)


def block_of(codes: Codes, scale: Entry, encoding: str, hinted: list[Block]) -> Block | None:
    """The block of which `scale` has one number each; None where no known block has this shape.

    InputError where several have it, the configuration names none of them, and they divide the matrix differently.
    """
    *outer, rows, columns = codes.shape
    grid = _grid(tuple(outer), rows, scale.shape)
    if grid is None:
        return None
    packed = encoding == "int32"
    width = 4 if packed else 1
    known = PACKED if packed else KNOWN
    fitting = {
        _cut(block, rows, columns): block
        for block in reversed((*known, *hinted))
        if _blocks(block, rows, columns, width) == grid
    }
    named = {_cut(block, rows, columns) for block in hinted} & fitting.keys()
    if len(named or fitting) > 1:
        raise InputError(
            f"{codes.name}: {scale.name} {list(scale.shape)} fits blocks of "
            f"{' and '.join(f'{r}x{c}' for r, c in sorted(named or fitting))}, and config.json does not say which"
        )
    return fitting[next(iter(named or fitting))] if fitting else None


def _grid(outer: tuple[int, ...], rows: int, scale: tuple[int, ...]) -> Block | None:
    """Rows and columns of scales for one matrix of a stack."""
    if scale in ((), (1,)) and not outer:
        return 1, 1
    inner = scale[len(outer) :]
    if scale[: len(outer)] != outer or len(inner) > 2:
        return None
    if len(inner) == 2:
        return inner[0], inner[1]
    return (1, 1) if not inner else (inner[0], 1) if inner[0] in (1, rows) else None


def _blocks(block: Block, rows: int, columns: int, width: int) -> Block:
    """How many blocks there are, `width` of a row in one number."""
    return ceil(rows / (block[0] or rows or 1)), ceil(ceil(columns / (block[1] or columns or 1)) / width)


def _cut(block: Block, rows: int, columns: int) -> Block:
    """The block as this matrix has it: two that cut it alike are one."""
    return min(block[0] or rows, rows), min(block[1] or columns, columns)

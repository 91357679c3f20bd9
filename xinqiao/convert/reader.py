"""The values of one weight of a source, a panel of rows at a time."""

from collections.abc import Iterator
from math import lcm
from typing import NamedTuple

from xinqiao.convert.files import Maps
from xinqiao.convert.kernels import Buffer, Matrix, recode
from xinqiao.convert.layouts.reading import Weight
from xinqiao.convert.source.entry import Entry

PANEL = 2 << 20  # bytes of source that a panel aims at: it and its result stay in the processor's cache


class Panel(NamedTuple):
    """Rows `first` to `first + rows` of one matrix of a weight (of a stack, matrix number `matrix`)."""

    matrix: int
    first: int
    rows: int


class Grid(NamedTuple):
    """The blocks of a matrix: how many rows and columns of them, each of `block`'s size (0: all of the dimension)."""

    rows: int
    columns: int
    block: tuple[int, int]

    @classmethod
    def of(cls, rows: int, columns: int, block: tuple[int, int]) -> "Grid":
        height, width = block
        return cls(-(-rows // (height or rows or 1)), -(-columns // (width or columns or 1)), block)

    def span(self, panel: Panel) -> tuple[int, int]:
        """The rows of blocks that a panel touches: the first, and how many."""
        height = self.block[0]
        if not height:
            return 0, 1
        return panel.first // height, -(-panel.rows // height)


class Reader:
    """One weight, as matrices of `rows` by `columns`: a stack of them, or one."""

    def __init__(self, weight: Weight, maps: Maps) -> None:
        self.weight = weight
        self._maps = maps
        *stack, self.rows, self.columns = (1, 1, *weight.shape)[-max(2, len(weight.shape)) :]
        self.stack = 1
        for size in stack:
            self.stack *= size
        self.row_bytes = weight.codes.nbytes // max(1, self.stack * self.rows)
        self.grid = Grid.of(self.rows, self.columns, weight.block)

    def panels(self, block: tuple[int, int]) -> Iterator[Panel]:
        """All rows in panels that split no block, neither of this weight nor of `block`'s size."""
        unit = lcm(self.weight.block[0] or 1, block[0] or 1)
        step = max(1, PANEL // max(1, self.row_bytes * unit)) * unit
        for matrix in range(self.stack):
            for first in range(0, self.rows, step):
                yield Panel(matrix, first, min(step, self.rows - first))

    def matrix(self, panel: Panel) -> Matrix:
        """The panel, for the kernels."""
        weight = self.weight
        return Matrix(weight.element, self.codes(panel), self.scales(panel), weight.block)

    def codes(self, panel: Panel) -> Buffer:
        """The panel's codes, row after row."""
        entry, size = self.weight.codes, self.row_bytes
        begin = panel.matrix * self.rows
        if entry.permute:
            rows = (begin + self._stored(row) for row in range(panel.first, panel.first + panel.rows))
            return b"".join(self._view(entry, row * size, size) for row in rows)
        return self._view(entry, (begin + panel.first) * size, panel.rows * size)

    def scales(self, panel: Panel) -> bytearray | None:
        """The fp32 scales of the panel's blocks, row after row; None where the weight has none."""
        entry = self.weight.scales
        if entry is None:
            return None
        first, count = self.grid.span(panel)
        size = entry.nbytes // max(1, self.stack * self.grid.rows)
        stored = self._view(entry, (panel.matrix * self.grid.rows + first) * size, count * size)
        found = bytearray(4 * count * self.grid.columns)
        encoding = "e8m0" if self.weight.scale_encoding == "int32" else self.weight.scale_encoding
        recode(Matrix(encoding, stored, stride=size), Matrix("f32", found), count, self.grid.columns)
        return found

    def release(self, panel: Panel) -> None:
        """Give back the memory behind a panel that is done."""
        entry, size = self.weight.codes, self.row_bytes
        self._maps.release(
            entry.file, entry.offset + (panel.matrix * self.rows + panel.first) * size, panel.rows * size
        )

    def _view(self, entry: Entry, offset: int, length: int) -> memoryview:
        return self._maps.view(entry.file, entry.offset + offset, length)

    def _stored(self, row: int) -> int:
        """Where a row lies in a source that keeps the two halves of each head interleaved (rotary embedding)."""
        size = self.rows // self.weight.codes.permute
        head, within = divmod(row, size)
        half, place = divmod(within, size // 2)
        return head * size + place * 2 + half

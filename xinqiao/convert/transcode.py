"""One weight from its old format to its new one, and how far its stored values are from what they were."""

from typing import NamedTuple, Protocol

from xinqiao.convert.files import Maps
from xinqiao.convert.keeping import keeps_codes, same_scales, stored_scales
from xinqiao.convert.kernels import Buffer, Errors, Matrix, kernels
from xinqiao.convert.layouts import Layout
from xinqiao.convert.layouts.reading import Weight
from xinqiao.convert.reader import Grid, Panel, Reader
from xinqiao.native.codec import row_bytes


class Sink(Protocol):
    """Where the tensors of one weight go, each from its first byte to its last."""

    def codes(self, data: Buffer) -> None: ...

    def scales(self, data: Buffer) -> None: ...


class Result(NamedTuple):
    """how: 'codes kept' or 'converted'."""

    how: str
    errors: Errors


def transcode(weight: Weight, layout: Layout, rule: str, maps: Maps, sink: Sink) -> Result:
    """Write `weight` in `layout` into `sink`, and compare every stored value with what it was.

    The codes are kept where new scales can say the same with them; otherwise values are decoded and encoded.
    """
    reader = Reader(weight, maps)
    errors = Errors()
    if keeps_codes(reader, layout):
        for panel in reader.panels(layout.block):
            _keep(reader, layout, panel, sink, errors)
        return Result("codes kept", errors)
    encoder = _Encoder(reader, layout, rule)
    for panel in reader.panels(layout.block):
        encoder.encode(panel, sink, errors)
    return Result("converted", errors)


def _keep(reader: Reader, layout: Layout, panel: Panel, sink: Sink, errors: Errors) -> None:
    codes, scales = reader.codes(panel), same_scales(reader, layout.block, panel)
    assert scales is not None
    stored = Matrix(layout.element, codes, scales, layout.block)
    kernels().compare(reader.matrix(panel), stored, panel.rows, reader.columns, errors)
    sink.codes(codes)
    sink.scales(stored_scales(scales, layout))
    del codes, stored
    reader.release(panel)


class _Encoder:
    """The buffers that one weight's panels share."""

    def __init__(self, reader: Reader, layout: Layout, rule: str) -> None:
        self.reader, self.layout, self.rule = reader, layout, rule
        self.grid = Grid.of(reader.rows, reader.columns, layout.block)
        self.row_bytes = row_bytes(layout.element, reader.columns)
        tallest = max((panel.rows for panel in reader.panels(layout.block)), default=0)
        self.codes = bytearray(tallest * self.row_bytes)

    def encode(self, panel: Panel, sink: Sink, errors: Errors) -> None:
        layout, reader = self.layout, self.reader
        codes = memoryview(self.codes)[: panel.rows * self.row_bytes]
        scales = bytearray(4 * self.grid.span(panel)[1] * self.grid.columns) if layout.scale else None
        kernels().convert(
            reader.matrix(panel),
            Matrix(layout.element, codes, scales, layout.block),
            panel.rows,
            reader.columns,
            layout.scale,
            self.rule,
            errors,
        )
        sink.codes(codes)
        if scales is not None:
            sink.scales(stored_scales(scales, layout))
        reader.release(panel)

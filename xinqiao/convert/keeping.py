"""When a weight's codes can stay: where scales in the new blocks say exactly what the old ones said."""

from array import array

from xinqiao.convert.kernels import Matrix, compare, recode
from xinqiao.convert.layouts import Layout
from xinqiao.convert.reader import Grid, Panel, Reader

ENCODING = {"F32": "f32", "BF16": "bf16", "F8_E8M0": "e8m0", "U8": "e8m0"}  # of scales: safetensors dtype → element
_MANTISSA = (1 << 23) - 1
_SMALLEST_NORMAL = 1 << 23


def keeps_codes(reader: Reader, layout: Layout) -> bool:
    """Whether every code of the weight can be written as it is, with scales that lose nothing either.

    A target of power-of-two scales in F32 tensors also takes scales c·2^e that share one mantissa c.
    """
    weight = reader.weight
    if not (weight.scales and layout.scale and weight.element == layout.element):
        return False
    mantissas: set[int] = set()
    for panel in reader.panels(layout.block):
        scales = same_scales(reader, layout.block, panel)
        if scales is None or not _storable(scales, layout, mantissas):
            return False
    return True


def same_scales(reader: Reader, block: tuple[int, int], panel: Panel) -> bytearray | None:
    """The panel's fp32 scales in blocks of another size; None where one such block has several."""
    old, new = reader.grid, Grid.of(reader.rows, reader.columns, block)
    scales = reader.scales(panel)
    assert scales is not None
    if old.block == new.block:
        return scales
    height = new.span(panel)[1]
    if _within(new, old, reader):
        return _spread(scales, _ratio(old, new, reader), height, new.columns)
    if not _within(old, new, reader):
        return None
    rows, columns = _ratio(new, old, reader)
    values = memoryview(scales).cast("f")
    corners = array("f")
    for row in range(0, old.span(panel)[1], rows or old.rows):
        corners.extend(values[row * old.columns : (row + 1) * old.columns][:: columns or old.columns])
    found = bytearray(corners.tobytes())
    again = _spread(found, (rows, columns), old.span(panel)[1], old.columns)
    return found if again == scales else None


def _within(fine: Grid, coarse: Grid, reader: Reader) -> bool:
    """Whether each block of `fine` lies in one block of `coarse`."""
    sizes = zip(fine.block, coarse.block, (reader.rows, reader.columns), strict=True)
    return all(not big or (small and big % small == 0) or big >= size for small, big, size in sizes)


def _ratio(coarse: Grid, fine: Grid, reader: Reader) -> tuple[int, int]:
    """How many blocks of `fine` make one of `coarse`, down and across; 0: all of them."""
    sizes = zip(coarse.block, fine.block, (reader.rows, reader.columns), strict=True)
    rows, columns = (0 if not big or big >= size else big // small for big, small, size in sizes)
    return rows, columns


def _spread(scales: bytearray, block: tuple[int, int], rows: int, columns: int) -> bytearray:
    """Each scale for every finer block inside its own: 1 times the scale, `rows` by `columns`."""
    found = bytearray(4 * rows * columns)
    ones = Matrix("int8", b"\1" * (rows * columns), scales, block)
    recode(ones, Matrix("f32", found), rows, columns)
    return found


def _storable(scales: bytearray, layout: Layout, mantissas: set[int]) -> bool:
    """Whether the layout's scale tensor holds these exactly. mantissas: those met so far in this weight."""
    encoding = "e8m0" if layout.scale == "pow2" else ENCODING[layout.scale_dtype]
    if _survives(scales, encoding):
        mantissas.add(0)
        return len(mantissas) == 1 or ENCODING[layout.scale_dtype] != "f32"
    if ENCODING[layout.scale_dtype] != "f32":
        return False
    for bits in memoryview(scales).cast("B").cast("i"):
        mantissas.add(bits & _MANTISSA)
        if bits < _SMALLEST_NORMAL or len(mantissas) > 1:
            return False
    return True


def _survives(scales: bytearray, encoding: str) -> bool:
    count = len(scales) // 4
    stored = Matrix(encoding, _stored(scales, encoding))
    errors = compare(Matrix("f32", scales), stored, 1, count)
    return not errors.different and not errors.nonfinite


def stored_scales(scales: bytearray, layout: Layout) -> bytearray:
    """fp32 scales in the layout's scale dtype."""
    return _stored(scales, ENCODING[layout.scale_dtype])


def _stored(scales: bytearray, encoding: str) -> bytearray:
    if encoding == "f32":
        return scales
    count = len(scales) // 4
    found = bytearray(count * (2 if encoding == "bf16" else 1))
    recode(Matrix("f32", scales), Matrix(encoding, found), 1, count)
    return found

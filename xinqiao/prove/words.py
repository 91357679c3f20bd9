"""Words for calls and marks of a journal."""

from collections import Counter

from xinqiao.prove.calls import Call, Calls
from xinqiao.record.schema import CallKind

_MARKS = {  # first word of a mark: (kind of parting, what the program does there)
    "synchronize": ("synchronize", "waits for the device"),
    "autocast": ("autocast", "enters mixed precision"),
    "no": ("gradient", "stops autograd"),
    "collective": ("collective", "communicates"),
    "number": ("number", "reads a number back"),
    "module": ("missing", "runs a module"),
}
MOST = 4  # operators that are named one by one
TENSORS = 6  # of a call that are shown


def kind_of(mark: str) -> str:
    """The kind of a parting at this mark."""
    return _MARKS[mark.split()[0]][0]


def what(mark: str) -> str:
    """What the program does at this mark: 'enters mixed precision (float16)'."""
    first, _, rest = mark.partition(" ")
    said = _MARKS[first][1]
    return f"{said} ({rest})" if rest and first in ("autocast", "collective") else said


def other_amount(mark: str, before: Call, after: Call) -> str:
    """Of a mark that carries a number of bytes."""
    return f"{what(mark)}: {after.hash:,} bytes, the original {before.hash:,}"


def operator(kind: CallKind) -> str:
    """'aten::mm'; '' for a mark."""
    return kind.operator if "::" in kind.operator else ""


def call(kind: CallKind) -> str:
    """'aten::mm (float32[8, 4], float32[4, 2]) → float32[8, 2]'; without an arrow where it writes to an input."""
    made = _tensors(kind, kind.inputs, None)
    return f"{kind.operator} ({_tensors(kind, 0, kind.inputs)})" + (f" → {made}" if made else "")


def _tensors(kind: CallKind, first: int, last: int | None) -> str:
    all_ = [f"{dtype}{shape}" for dtype, shape in kind.tensors[first:last]]
    return ", ".join(all_[:TENSORS]) + (f" and {len(all_) - TENSORS} more" if len(all_) > TENSORS else "")


def dtypes(before: CallKind, after: CallKind) -> str:
    """What differs in the dtypes of one operator."""
    if before.dtype != after.dtype:
        return f"computes in {after.dtype}, the original in {before.dtype}"
    sides = [", ".join(dtype for dtype, _ in kind.tensors) for kind in (after, before)]
    return f"has dtypes {sides[0]}, the original {sides[1]}"


def counted(side: Calls, numbers: list[int]) -> str:
    """'copy_ ×3, mul'."""
    counts = Counter(side.kind(side.all[n]).operator.removeprefix("aten::") for n in numbers)
    most = [f"{name} ×{n}" if n > 1 else name for name, n in counts.most_common(MOST)]
    return ", ".join(most) + (f" and {len(counts) - MOST} other operators" if len(counts) > MOST else "")

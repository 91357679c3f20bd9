"""Whole tensors around the first difference: both programs run once more and keep them."""

from collections.abc import Iterator
from pathlib import Path

import torch

from xinqiao.device.request import Whole
from xinqiao.prove.runs import Program, Tree, run
from xinqiao.record.schema import Parting, ProofRecord

AROUND = 1  # calls before and after
_DTYPES = {"Float": torch.float32, "Double": torch.float64, "Half": torch.float16, "BFloat16": torch.bfloat16,
           "Long": torch.int64, "Int": torch.int32, "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8,
           "Bool": torch.bool, "ComplexFloat": torch.complex64, "ComplexDouble": torch.complex128}  # fmt: skip
KINDS = ("values", "random")  # of partings that have two calls with tensors


def add_whole(proof: ProofRecord, original: Tree, port: Tree, program: Program) -> None:
    """Add to the first parting of values how its tensors differ, element by element. They stay beside the records."""
    first = next((p for p in proof.partings if p.kind in KINDS and p.operator and p.port_order >= 0), None)
    if first is None:
        return
    folders = []
    for tree, number in ((original, first.order), (port, first.port_order)):
        again = Tree(tree.folder, tree.chip, tree.record.with_name(f"again-{tree.record.name}"))
        folder = tree.record.parent / "whole" / tree.record.stem
        wanted = Whole(folder=str(folder), first=max(number - AROUND, 0), last=number + AROUND + 1)
        run(again, program, wanted)
        for path in again.record.parent.glob(f"{again.record.stem}*"):
            path.unlink()
        folders.append(wanted.folder_of(first.rank))
    first.details += _compared(first, folders[0], folders[1])


def _compared(parting: Parting, before: Path, after: Path) -> Iterator[str]:
    for path in sorted(before.glob(f"{parting.order}.*")):
        _, number, dtype = path.name.split(".")
        other = after / f"{parting.port_order}.{number}.{dtype}"
        if other.exists() and dtype in _DTYPES:
            yield f"tensor {number}: {_said(_tensor(path, _DTYPES[dtype]), _tensor(other, _DTYPES[dtype]))}"


def _tensor(path: Path, dtype: torch.dtype) -> torch.Tensor:
    data = bytearray(path.read_bytes())
    return torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)


def _said(a: torch.Tensor, b: torch.Tensor) -> str:
    if a.shape != b.shape:
        return f"{b.numel():,} elements, the original {a.numel():,}"
    apart = (a != b) & ~((a != a) & (b != b))
    if not apart.any():
        return f"all {a.numel():,} elements are the same"
    wide = torch.complex128 if a.is_complex() else torch.float64
    far = (a.to(wide) - b.to(wide)).abs()
    far[~apart] = 0.0
    place = int(far.nan_to_num(nan=float("inf")).argmax())
    relative = float(far.square().sum().sqrt() / a.to(wide).abs().square().sum().sqrt())
    return (
        f"{int(apart.sum()):,} of {a.numel():,} elements differ, relative distance {relative:.3g}; "
        f"most at element {place:,}: {b[place].item():.9g}, the original {a[place].item():.9g}"
    )

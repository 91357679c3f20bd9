"""The journal of a run on a real device: each call's values are copied to the host and fingerprinted there."""

import struct
import sys
import threading
from collections.abc import Sequence

import torch

from xinqiao.device.evidence import Kept
from xinqiao.device.lines import is_user_file
from xinqiao.device.module_values import ModuleValues, mark_modes
from xinqiao.device.watch import Watch
from xinqiao.native.fingerprint import Fingerprint
from xinqiao.record.schema import CallKind

ENTRIES = 1_000_000
_ENTRY = struct.Struct("<IIIHHQQddd")
_BACKWARD, _RANDOM, _HASH_ONLY, _GRADIENTS = 1, 2, 16, 32
_MAKES_NO_VALUES = ("aten::empty", "aten::new_empty", "aten::record_stream", "aten::detach")
_READS = "aten::_local_scalar_dense"
Place = tuple[str, int, str]
_NOWHERE: Place = ("(unknown)", 0, "")
_IN_BACKWARD: Place = ("(backward)", 0, "")


class RealJournal:
    """Entries as in native/journal.h, of the calls that touch `device`."""

    def __init__(self, device: str) -> None:
        self.device = device
        self._kinds: dict[tuple[object, ...], int] = {}
        self._rows: list[CallKind] = []
        self._sites: dict[Place, int] = {_NOWHERE: 0, _IN_BACKWARD: 1}
        self._threads: dict[int, int] = {}
        self._origins: dict[int, tuple[int, int]] = {}  # of autograd's nodes, by number: site and module
        self._entries: list[bytes] = []
        self._left_out = 0
        self._module = 0
        self.watch = Watch(self._enter)
        ModuleValues(self.watch, device, self._note)
        mark_modes(self._mark, device)

    def kept(self) -> Kept:
        return Kept(self._rows, list(self._sites), self.watch.modules, b"".join(self._entries), self._left_out)

    def call(self, name: str, dtype: str, inputs: Sequence[torch.Tensor], outputs: Sequence[torch.Tensor]) -> None:
        """One call of an operator, after it ran."""
        if name == _READS:
            self._read(inputs[0])
        elif any(t.device.type == self.device for t in (*inputs, *outputs)) and not name.startswith(_MAKES_NO_VALUES):
            random = "rand" in name or "dropout" in name or "bernoulli" in name or "normal_" in name
            kind = self._kind(name, dtype, inputs, outputs)
            self._add(kind, outputs or inputs[:1], _RANDOM if random else 0)

    def _enter(self, module: int) -> None:
        self._module = module

    def _note(self, tensors: list[torch.Tensor], name: str, module: int) -> None:
        self._add(self._kind(name, "", (), ()), tensors, _HASH_ONLY, module)

    def _mark(self, name: str) -> None:
        self._add(self._kind(name, "", (), ()), ())

    def _read(self, tensor: torch.Tensor) -> None:
        if tensor.device.type == self.device:
            number = float(tensor.cpu().item().real)
            self._add(self._kind("number read", "", (), ()), [tensor], _HASH_ONLY, number=number)

    def _kind(self, name: str, dtype: str, inputs: Sequence[torch.Tensor], outputs: Sequence[torch.Tensor]) -> int:
        tensors = [(str(t.dtype).removeprefix("torch."), list(t.shape)) for t in (*inputs, *outputs)]
        key = (name, dtype, len(inputs), *((d, *shape) for d, shape in tensors))
        if key not in self._kinds:
            self._kinds[key] = len(self._rows)
            kind = CallKind(operator=name, dtype=dtype, tensors=tensors, inputs=len(inputs), support="native")
            self._rows.append(kind)
        return self._kinds[key]

    def _add(
        self,
        kind: int,
        tensors: Sequence[torch.Tensor],
        flags: int = 0,
        module: int | None = None,
        number: float | None = None,
    ) -> None:
        if len(self._entries) >= ENTRIES:
            self._left_out += 1
            return
        node = torch._C._current_autograd_node()
        flags |= _BACKWARD if node is not None else _GRADIENTS if torch.is_grad_enabled() else 0
        site, inside = self._origin(node)
        values = _fingerprint(tensors, hash_only=bool(flags & _HASH_ONLY))
        thread = self._threads.setdefault(threading.get_ident(), len(self._threads))
        square = values.square if number is None else number
        self._entries.append(
            _ENTRY.pack(kind, site, inside if module is None else module, thread, flags, values.hash, values.blocks,
                        square, *values.sketch)
        )  # fmt: skip

    def _origin(self, node: "torch.autograd.graph.Node | None") -> tuple[int, int]:
        """A backward call belongs to the forward call whose gradient it computes, by the number of autograd's node."""
        if node is not None:
            return self._origins.get(node._sequence_nr(), (self._sites[_IN_BACKWARD], 0))
        here = self._sites.setdefault(_line(), len(self._sites)), self._module
        self._origins[torch._C._autograd._get_sequence_nr() - 1] = here
        return here


def _line() -> Place:
    frame = sys._getframe()
    while frame is not None and not is_user_file(frame.f_code.co_filename):
        frame = frame.f_back  # type: ignore[assignment]
    return (frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_qualname) if frame else _NOWHERE


def _fingerprint(tensors: Sequence[torch.Tensor], *, hash_only: bool) -> Fingerprint:
    values = Fingerprint()
    for tensor in tensors:
        if tensor.layout is torch.strided and tensor.numel():
            host = tensor.detach().cpu().contiguous().resolve_conj().resolve_neg()
            dtype = "bytes" if hash_only else str(host.dtype).removeprefix("torch.")
            parts = 2 if hash_only and host.is_complex() else 1
            values.add(host.data_ptr(), host.numel() * parts, host.element_size() // parts, dtype)
    return values

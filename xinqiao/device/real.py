"""A run on the vendor's own device: nothing is simulated, but what ran is recorded the same way."""

import platform
import sys
import time
from collections import Counter
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from xinqiao.chips.spec import Chip
from xinqiao.chips.support import support
from xinqiao.cost import roofline
from xinqiao.cost.work import Tensor
from xinqiao.device.real_journal import RealJournal
from xinqiao.record.schema import Memory, OperatorRow, RunRecord

Key = tuple[str, str, tuple[tuple[tuple[int, ...], int], ...], tuple[tuple[tuple[int, ...], int], ...]]


class RealRun(TorchDispatchMode):
    """Counts operators from the moment it is made. Predicted times are the cost model's, not the device's.

    evidence   also keep a journal of all calls, with fingerprints of their values; each call then waits for the device
    """

    def __init__(self, chip: Chip, *, evidence: bool = False) -> None:
        super().__init__()
        self.chip, self.price = chip, roofline.price(chip)
        self.counts: Counter[Key] = Counter()
        self.journal = RealJournal(chip.torch.device) if evidence else None
        self.__enter__()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        inputs = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
        outputs = [t for t in tree_leaves(result) if isinstance(t, torch.Tensor)]
        first = next((t for t in (*inputs, *outputs) if t.is_floating_point()), None)
        dtype = str(first.dtype if first is not None else torch.float32).removeprefix("torch.")
        name = func.name().removesuffix(".default")
        self.counts[name, dtype, _shapes(inputs), _shapes(outputs)] += 1
        if self.journal and not func.is_view:
            with self._paused():
                self.journal.call(name, dtype, inputs, outputs)
        return result

    def _paused(self) -> AbstractContextManager[None]:
        return torch.utils._python_dispatch._disable_current_modes()

    def record(self, *, started: float, exit_code: int, rank: int, ranks: int) -> RunRecord:
        """The record so far; the fields that only a simulation knows are empty."""
        self.__exit__(None, None, None)
        rows = [self._row(key, count) for key, count in self.counts.items()]
        return RunRecord(
            chip=self.chip.name, title=self.chip.title, virtual=False, mode="values", device=self.chip.torch.device,
            argv=sys.argv, rank=rank, ranks=ranks, seed=torch.initial_seed(), exit_code=exit_code,
            versions={"python": platform.python_version(), "torch": str(torch.__version__)},
            wall_seconds=time.monotonic() - started, predicted_seconds=sum(r.seconds for r in rows),
            operators=sorted(rows, key=lambda r: -r.seconds), memory=self._memory(), collectives=[], streams=[],
            incidents=[], readbacks=[],
            caveats=["a real device: collectives, streams and numbers read back are not recorded"],
        )  # fmt: skip

    def _memory(self) -> list[Memory]:
        accelerator = torch.accelerator
        if not accelerator.is_available():
            return []
        peak, end = accelerator.max_memory_allocated(), accelerator.memory_allocated()
        capacity, index = self.chip.per_device().capacity, accelerator.current_device_index()
        return [Memory(device=index, capacity=capacity, peak=peak, end=end, curve=[], holders=[])]

    def _row(self, key: Key, count: int) -> OperatorRow:
        name, dtype, inputs, outputs = key
        cost = roofline.operator(self.price, name, dtype, [Tensor(*t) for t in inputs], [Tensor(*t) for t in outputs])
        return OperatorRow(
            operator=name, dtype=dtype, shapes=[list(shape) for shape, _ in (*inputs, *outputs)], count=count,
            seconds=cost.seconds * count, flops=cost.flops * count, bytes=cost.bytes * count,
            support=support(self.chip, name, dtype).state,
        )  # fmt: skip


def _shapes(tensors: list[torch.Tensor]) -> tuple[tuple[tuple[int, ...], int], ...]:
    return tuple((tuple(t.shape), t.element_size()) for t in tensors)

"""Functions that `torch.cuda` and a vendor's `torch.NAME` have in common, on the virtual chip's core."""

import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from typing import Any

import torch

from xinqiao.device.core import Core

DeviceLike = torch.device | str | int | None


def index_of(core: Core, device: DeviceLike) -> int:
    """Index of a device given in any of the forms that PyTorch takes; the current one for None."""
    if device is None:
        return core.current()
    if isinstance(device, int):
        return core.ordinal(device) if device >= 0 else core.current()
    wanted = torch.device(device)
    return core.current() if wanted.index is None else core.ordinal(wanted.index)


def memory_stats(core: Core, device: int) -> dict[str, Any]:
    """What `torch._C._cuda_memoryStats` returns. Lifetimes are true; there is no cache, so reserved is allocated."""
    m = core.memory_of(device)

    def pools(current: int = 0, peak: int = 0, allocated: int = 0, freed: int = 0) -> dict[str, dict[str, int]]:
        row = {"current": current, "peak": peak, "allocated": allocated, "freed": freed}
        return {"all": row, "small_pool": dict.fromkeys(row, 0), "large_pool": dict(row)}

    live = m.allocations - m.frees
    bytes_ = {name: pools(m.current, m.peak, m.peak, m.peak - m.current) for name in
              ("allocated_bytes", "reserved_bytes", "active_bytes")}  # fmt: skip
    counts = {name: pools(live, live, m.allocations, m.frees) for name in ("allocation", "active")}
    none = {name: pools() for name in ("segment", "inactive_split", "inactive_split_bytes")}
    single = dict.fromkeys(("current", "peak", "allocated", "freed"), 0)
    return {
        **counts, **bytes_, **none,
        "requested_bytes": pools(m.requested, m.requested_peak, m.requested_peak, 0),
        "oversize_allocations": dict(single), "oversize_segments": dict(single),
        "num_alloc_retries": 0, "num_ooms": m.refused, "num_sync_all_streams": 0,
        "num_device_alloc": m.allocations, "num_device_free": m.frees, "max_split_size": -1,
    }  # fmt: skip


def memory_info(core: Core, device: int) -> tuple[int, int]:
    """(free, total) bytes. A chip of unknown capacity reports what is allocated as its total."""
    m = core.memory_of(device)
    total = m.capacity or m.current
    return total - m.current, total


def default_generators(core: Core, device_type: str, count: int) -> tuple[torch.Generator, ...]:
    """The generators that operators draw from, not copies of them."""
    core.hand_out_default(1)
    try:
        return tuple(torch.Generator(device=f"{device_type}:{i}") for i in range(count))
    finally:
        core.hand_out_default(0)


_hooks: list[tuple[Callable[[Any], Any], Any, Any]] = []  # how each was registered, the hook, its handle


def hook(register: Callable[[Any], Any], function: Callable[..., Any]) -> None:
    """Register a hook on all modules that stays out of the graphs that torch.compile captures."""
    _hooks.append((register, function, register(function)))


def _take_hooks_out_of_graphs() -> None:
    """Only when a graph is captured at all: torch.compiler.disable imports a second of modules."""
    while _hooks:
        register, function, handle = _hooks.pop(0)
        handle.remove()
        register(torch.compiler.disable(function))


def route_compile() -> None:
    """Make `torch.compile` capture graphs and run them operator by operator.

    Inductor would emit Triton or the vendor's code, which nothing here can run.
    """
    original = torch.compile

    def compile(
        model: Any = None, *, backend: Any = "inductor", mode: Any = None, options: Any = None, **rest: Any
    ) -> Any:
        _take_hooks_out_of_graphs()
        if backend == "inductor":
            return original(model, backend="aot_eager", **rest)
        return original(model, backend=backend, mode=mode, options=options, **rest)

    compile.__doc__ = original.__doc__
    replace(torch, compile=compile)


def print_from_the_host(device: str) -> None:
    """Make a device tensor's text from a copy on the host, as the vendors' packages do.

    PyTorch's own way computes on the device, in fp64, which many chips lack; and the numbers that it reads back would
    pass for the program's.
    """
    original = torch._tensor_str._tensor_str

    def text(tensor: torch.Tensor, indent: int) -> str:
        return str(original(tensor.cpu() if tensor.device.type == device else tensor, indent))

    replace(torch._tensor_str, _tensor_str=text)


@contextmanager
def current_device(core: Core, index: int) -> Iterator[None]:
    """Make `index` the current device inside the block; a negative one changes nothing."""
    before = core.current()
    if index >= 0:
        core.set_device(index)
    try:
        yield
    finally:
        core.set_device(before)


def replace(owner: object, **parts: object) -> None:
    """Put `parts` in the place of PyTorch's own: assignments that its type stubs do not foresee."""
    for name, part in parts.items():
        setattr(owner, name, part)


def publish(name: str, module: types.ModuleType) -> None:
    """Let `import NAME`, and programs that ask whether NAME is installed, find `module`."""
    module.__spec__ = ModuleSpec(module.__name__, None)
    sys.modules[name] = module

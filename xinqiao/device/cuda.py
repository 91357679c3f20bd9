"""`torch.cuda` on a virtual chip under the CPU build of torch.

`torch/cuda/*.py` runs as shipped; what it takes from the C++ extension (`torch._C._cuda_*`) is filled in here. A
function that the virtual chip has no meaning for raises when it is called.
"""

import importlib
import re
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch._native import registry as native

from xinqiao.chips.spec import Chip
from xinqiao.device import api
from xinqiao.device.core import Core

CUDA = 1  # c10::DeviceType
_FILLED_FROM = ("__init__", "memory", "random", "graphs", "streams", "_memory_viz")


def install(chip: Chip, core: Core, count: int) -> None:
    """Make `torch.cuda` report and use the virtual chip."""
    _fill_functions(chip, core, count)
    properties = _properties_class(chip)
    api.replace(
        torch._C,
        _CudaDeviceProperties=properties,
        _CudaStreamBase=_stream_class(core),
        _CudaEventBase=_event_class(core),
    )
    _patch_modules(chip, core, properties)
    _patch_storages(core)
    _fill_data_parallel(core)
    # PyTorch's own kernels in Triton, there for CUDA wherever Triton is installed, look for a GPU's driver.
    native.deregister_op_overrides(disable_dispatch_keys="CUDA")


def _fill_functions(chip: Chip, core: Core, count: int) -> None:
    functions = {**_devices(core, count), **_streams(core), **_memory(core), **_constants(chip)}
    mentioned: set[str] = set()
    for name in _FILLED_FROM:
        path = Path(torch.cuda.__file__).with_name(f"{name}.py")
        if path.exists():
            mentioned |= set(re.findall(r"_C\._cuda_(\w+)", path.read_text()))
    for name in mentioned | set(functions):
        setattr(torch._C, f"_cuda_{name}", functions.get(name) or _absent(name))
    torch._C._has_cuda = True


def _absent(name: str) -> Callable[..., Any]:
    def function(*_arguments: Any, **_named: Any) -> None:
        raise RuntimeError(f"torch._C._cuda_{name}: the virtual chip does not have it")

    return function


def _devices(core: Core, count: int) -> dict[str, Callable[..., Any]]:
    def exchange(index: int) -> int:
        before = core.current()
        if index >= 0:
            core.set_device(core.ordinal(index))
        return before if index >= 0 else -1

    def maybe_exchange(index: int) -> int:
        return exchange(index)

    def set_device(index: int) -> None:
        if index >= 0:
            core.set_device(core.ordinal(index))

    def init() -> None:
        api.replace(torch.cuda, default_generators=api.default_generators(core, "cuda", count))

    return {
        "getDeviceCount": lambda: count,
        "getDevice": lambda: core.current(),
        "setDevice": set_device,
        "exchangeDevice": exchange,
        "maybeExchangeDevice": maybe_exchange,
        "init": init,
        "isInBadFork": lambda: False,
        "hasPrimaryContext": lambda index: True,
        "canDeviceAccessPeer": lambda first, second: first != second,
        "synchronize": lambda: core.wait_device(core.current()),
        "ipc_collect": lambda: None,
        "set_sync_debug_mode": lambda mode: None,
        "get_sync_debug_mode": lambda: 0,
    }


def _streams(core: Core) -> dict[str, Callable[..., Any]]:
    def set_stream(stream_id: int, device_index: int, device_type: int = CUDA) -> None:
        core.set_device(device_index)
        core.set_stream(device_index, stream_id)

    def sleep(cycles: int) -> None:
        core.advance(b"cuda sleep", core.current(), cycles / 1e9)

    return {
        "getCurrentStream": lambda index: (core.stream(index), index, CUDA),
        "getDefaultStream": lambda index: (0, index, CUDA),
        "getStreamFromExternal": lambda pointer, index: (pointer, index, CUDA),
        "getCurrentRawStream": lambda index: core.stream(index),
        "getCurrentBlasHandle": lambda: 0,
        "setStream": set_stream,
        "sleep": sleep,
        "isCurrentStreamCapturing": lambda: False,
    }


def _memory(core: Core) -> dict[str, Callable[..., Any]]:
    def set_fraction(fraction: float, index: int) -> None:
        core.capacity(fraction * core.memory_of(index).capacity)

    return {
        "memoryStats": lambda index: api.memory_stats(core, index),
        "resetPeakMemoryStats": lambda index: core.reset_peak(index),
        "resetAccumulatedMemoryStats": lambda index: None,
        "emptyCache": lambda: None,
        "hostMemoryStats": lambda: {},
        "resetPeakHostMemoryStats": lambda: None,
        "resetAccumulatedHostMemoryStats": lambda: None,
        "setMemoryFraction": set_fraction,
        "getMemoryFraction": lambda index: 1.0,
        "memorySnapshot": lambda *arguments: {"segments": [], "device_traces": []},
        "record_memory_history": lambda *arguments, **named: None,
        "record_memory_history_legacy": lambda *arguments, **named: None,
        "isHistoryEnabled": lambda: False,
        "getAllocatorBackend": lambda: "native",
        "cudaCachingAllocator_set_allocator_settings": lambda settings: None,
        "checkPoolLiveAllocations": lambda *arguments: True,
        "clearCublasWorkspaces": lambda: None,
        "attach_out_of_memory_observer": lambda observer: None,
    }


def _constants(chip: Chip) -> dict[str, Callable[..., Any]]:
    return {
        "getArchFlags": lambda: " ".join(chip.cuda.arch_list if chip.cuda else ()),
        "getCompiledVersion": lambda: 12080,
        "lock_mutex": lambda: None,
        "unlock_mutex": lambda: None,
    }


def _properties_class(chip: Chip) -> type:
    figures, facts = chip.per_device(), chip.cuda

    class _CudaDeviceProperties:
        """Zero or an empty string stands for what the chip's file does not know.

        One, for the multiprocessors and the bytes of memory: PyTorch's DataParallel divides by both.
        """

        def __init__(self, index: int) -> None:
            for name in (
                "warp_size", "regs_per_multiprocessor", "max_threads_per_multi_processor",
                "max_threads_per_block", "shared_memory_per_block", "shared_memory_per_block_optin",
                "shared_memory_per_multiprocessor", "clock_rate", "memory_clock_rate", "memory_bus_width",
            ):  # fmt: skip
                setattr(self, name, getattr(facts, name, None) or 0)
            self.name = f"{chip.title} (virtual)"
            self.total_memory = figures.capacity or 1
            self.multi_processor_count = (facts and facts.multi_processor_count) or 1
            self.major, self.minor = capability(chip)
            self.is_integrated = self.is_multi_gpu_board = 0
            self.L2_cache_size = (facts and facts.l2_bytes) or 0
            self.gcnArchName = (facts and facts.gcn_arch) or ""
            self.uuid = f"GPU-virtual-{index}"
            self.pci_bus_id, self.pci_device_id, self.pci_domain_id = index, 0, 0

        def __repr__(self) -> str:
            return (
                f"_CudaDeviceProperties(name='{self.name}', major={self.major}, minor={self.minor}, "
                f"total_memory={self.total_memory >> 20}MB)"
            )

    return _CudaDeviceProperties


def capability(chip: Chip) -> tuple[int, int]:
    """CUDA compute capability; (0, 0) where the chip's file does not know it."""
    return (chip.cuda and chip.cuda.capability) or (0, 0)


def _stream_class(core: Core) -> type:
    class _CudaStreamBase(torch.Stream):
        priority = 0

        def __new__(
            cls, priority: int = 0, stream_id: int | None = None, device_index: int | None = None,
            device_type: int | None = None, stream_ptr: int | None = None, **_named: Any,
        ) -> "_CudaStreamBase":  # fmt: skip
            if stream_ptr is not None:
                stream_id, device_index = stream_ptr, core.current()
            if stream_id is not None:
                return super().__new__(cls, stream_id=stream_id, device_index=device_index or 0, device_type=CUDA)
            return super().__new__(cls, device=torch.device("cuda", core.current()), priority=priority)

        @property
        def cuda_stream(self) -> int:
            return self.stream_id

        @staticmethod
        def priority_range() -> tuple[int, int]:
            return (0, -5)

    return _CudaStreamBase


def _event_class(core: Core) -> type:
    class _CudaEventBase(torch.Event):
        def __new__(
            cls, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False, external: bool = False
        ) -> "_CudaEventBase":
            return super().__new__(cls, device="cuda", enable_timing=enable_timing, blocking=blocking)

        @property
        def cuda_event(self) -> int:
            return self.event_id or 0

        def elapsed_time(self, end_event: torch.Event) -> float:  # torch.Event's own refuses subclasses
            if not self.event_id or not end_event.event_id:
                raise ValueError("Both events must be recorded before calculating elapsed time.")
            return core.elapsed_ms(self.event_id, end_event.event_id)

        @classmethod
        def from_ipc_handle(cls, *_arguments: Any, **_named: Any) -> "_CudaEventBase":
            raise RuntimeError("events between processes: the virtual chip does not have them")

    return _CudaEventBase


def _runtime(core: Core) -> types.ModuleType:
    runtime = types.ModuleType("torch._C._cudart")

    class cudaError(int):
        success = 0

    def memory_info(index: int) -> tuple[int, int]:
        return api.memory_info(core, index)

    runtime.__dict__.update(
        cudaError=cudaError, cudaGetErrorString=lambda code: f"CUDA error {code}", cudaMemGetInfo=memory_info
    )
    for name in ("ProfilerStart", "ProfilerStop", "HostRegister", "HostUnregister", "StreamCreate", "StreamDestroy"):
        setattr(runtime, f"cuda{name}", lambda *arguments: 0)
    return runtime


def _patch_modules(chip: Chip, core: Core, properties: type) -> None:
    streams = importlib.reload(torch.cuda.streams)  # its classes inherit from the two above
    known: dict[int, Any] = {}

    def get_properties(index: int) -> Any:
        return known.setdefault(index, properties(index))

    def not_capturing() -> bool:
        return False

    def no_gauge(device: api.DeviceLike = None) -> int:
        return 0

    runtime, marks = _runtime(core), _marks()
    gauges = ("utilization", "memory_usage", "temperature", "power_draw", "clock_rate")
    api.replace(torch._C, _cudart=runtime, _cuda_getDeviceProperties=get_properties, _nvtx=marks)
    api.replace(torch.cuda.nvtx, _nvtx=marks)
    api.replace(torch.cuda.graphs, is_current_stream_capturing=not_capturing)
    api.replace(
        torch.cuda,
        Stream=streams.Stream,
        Event=streams.Event,
        ExternalStream=streams.ExternalStream,
        is_current_stream_capturing=not_capturing,
        device_memory_used=lambda device=None: core.memory_of(api.index_of(core, device)).current,
        _cudart=runtime,
        _CudaDeviceProperties=properties,
        _get_device_properties=get_properties,
        **{f"_{name}": getattr(torch._C, f"_cuda_{part}") for name, part in _INTERNAL.items()},
        **dict.fromkeys(gauges, no_gauge),
    )
    # cuDNN's recurrent kernels are not here, and asking for them would warn.
    api.replace(torch.backends.cudnn, is_acceptable=lambda tensor: False)
    hip = chip.cuda.hip if chip.cuda else ""
    release = chip.cuda.cuda if chip.cuda else ""
    api.replace(torch.version, hip=hip or None, cuda=None if hip else release or "unknown")


_INTERNAL = {
    "exchange_device": "exchangeDevice",
    "maybe_exchange_device": "maybeExchangeDevice",
    "is_in_bad_fork": "isInBadFork",
}


def _marks() -> types.ModuleType:
    marks = types.ModuleType("torch._C._nvtx")
    for name in ("rangePushA", "rangePop", "rangeStartA", "rangeEnd", "markA", "deviceRangeStart", "deviceRangeEnd"):
        setattr(marks, name, lambda *arguments: 0)
    return marks


def _patch_storages(core: Core) -> None:
    """`UntypedStorage(device="cuda")` and `.resize_` are compiled out of the CPU build's bindings."""
    base: Any = torch._C.StorageBase
    new, resize = base.__new__, base.resize_

    def make(cls: type, *arguments: Any, device: Any = None, **named: Any) -> Any:
        if device is None or torch.device(device).type != "cuda":
            return new(cls, *arguments, **({**named, "device": device} if device is not None else named))
        size = arguments[0] if arguments else 0
        return torch.empty(size, dtype=torch.uint8, device=device).untyped_storage()

    def grow(self: torch.UntypedStorage, size: int) -> Any:
        if self.device.type != "cuda":
            return resize(self, size)
        core.resize_storage(self._cdata, size)
        return self

    api.replace(torch.UntypedStorage, __new__=make, resize_=grow)


def _fill_data_parallel(core: Core) -> None:
    """What `torch.nn.DataParallel` takes from the extension."""

    def on(index: int | None) -> torch.device:
        if index == -1:
            return torch.device("cpu")
        return torch.device("cuda", core.current() if index is None else index)

    def scatter(
        tensor: torch.Tensor, devices: Sequence[int], sizes: Sequence[int] | None, dim: int, streams: Any = None
    ) -> tuple[torch.Tensor, ...]:
        parts = tensor.split(list(sizes), dim) if sizes is not None else tensor.chunk(len(devices), dim)
        return tuple(part.to(on(d)) for part, d in zip(parts, devices, strict=False))

    def broadcast(tensors: Sequence[torch.Tensor], devices: Sequence[int], _size: int = 0) -> list[list[torch.Tensor]]:
        return [[t.to(on(d)) for t in tensors] for d in devices]

    api.replace(
        torch._C,
        _scatter=scatter,
        _gather=lambda tensors, dim, index: torch.cat([t.to(on(index)) for t in tensors], dim),
        _broadcast=lambda tensor, devices: [tensor.to(on(d)) for d in devices],
        _broadcast_coalesced=broadcast,
    )

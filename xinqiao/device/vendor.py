"""The module of a vendor's device: `torch.npu` and `torch_npu`, or the same under another name."""

import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.backend_registration import generate_methods_for_privateuse1_backend, rename_privateuse1_backend

from xinqiao.chips.spec import Chip
from xinqiao.device import api
from xinqiao.device.api import DeviceLike
from xinqiao.device.core import Core

PRIVATE_USE_1 = 20  # c10::DeviceType


@dataclass(frozen=True)
class DeviceProperties:
    """What `get_device_properties` returns."""

    name: str
    total_memory: int  # bytes; 0 where the chip's capacity is not known
    major: int = 0
    minor: int = 0


def install(chip: Chip, core: Core, count: int) -> types.ModuleType:
    """Name the device, give it its module and its methods (`tensor.npu()`), and make the package importable."""
    name = chip.torch.device
    rename_privateuse1_backend(name)
    module = _Module(chip, core, count).build()
    torch._register_device_module(name, module)
    api.publish(f"torch.{name}", module)
    for part in ("amp", "streams", "memory", "random"):
        api.publish(f"torch.{name}.{part}", getattr(module, part))
    generate_methods_for_privateuse1_backend(
        for_tensor=True, for_module=True, for_packed_sequence=True, for_storage=True
    )
    api.replace(module, default_generators=api.default_generators(core, name, count))
    if chip.dtypes.state("float64") != "native":
        _unscale_in_fp32()
    for cuda_flag, flag in chip.platform.functions.items():
        if cuda_flag.startswith("torch.backends.") and flag:
            _make_flag(flag)
    if chip.torch.package:
        _install_package(chip, module)
    return module


def _make_flag(path: str) -> None:
    """A setting such as 'torch.npu.matmul.allow_hf32'. It can be set and read, and changes nothing: values are fp32."""
    _, *holders, name = path.split(".")
    place: object = torch
    for holder in holders:
        if not hasattr(place, holder):
            api.replace(place, **{holder: types.SimpleNamespace()})
        place = getattr(place, holder)
    if not hasattr(place, name):
        api.replace(place, **{name: False})


def _install_package(chip: Chip, module: types.ModuleType) -> None:
    package = types.ModuleType(chip.torch.package)
    package.__doc__ = f"Stands where the vendor's {chip.torch.package} would be: {chip.title} (virtual)."
    package.__path__ = []

    def missing(attribute: str) -> object:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        raise AttributeError(
            f"{chip.torch.package}.{attribute} is the vendor's own; the virtual chip has only what is PyTorch's"
        )

    contrib = types.ModuleType(f"{chip.torch.package}.contrib")
    version = f"{torch.__version__.split('+')[0]}+virtual"
    api.replace(package, __getattr__=missing, __version__=version, contrib=contrib, **{chip.torch.device: module})
    api.publish(chip.torch.package, package)
    api.publish(f"{chip.torch.package}.{chip.torch.device}", module)
    api.publish(f"{chip.torch.package}.{chip.torch.device}.amp", module.amp)
    api.publish(contrib.__name__, contrib)


class _Scale:
    """What `GradScaler.unscale_` takes from its scale, with the reciprocal in fp32."""

    def __init__(self, scale: torch.Tensor) -> None:
        self.scale, self.device = scale, scale.device

    def double(self) -> "_Scale":
        return self

    def reciprocal(self) -> torch.Tensor:
        return self.scale.float().reciprocal()


def _unscale_in_fp32() -> None:
    """PyTorch takes the scale's reciprocal in fp64, which such chips lack; the vendors' packages replace that.

    The scale is a power of two, so the result is the same.
    """
    original = torch.amp.GradScaler.unscale_

    def unscale_(self: torch.amp.GradScaler, optimizer: torch.optim.Optimizer) -> None:
        scale = getattr(self, "_scale", None)  # a scaler that is switched off has none
        if scale is None:
            original(self, optimizer)
            return
        api.replace(self, _scale=_Scale(scale))
        try:
            original(self, optimizer)
        finally:
            api.replace(self, _scale=scale)

    api.replace(torch.amp.GradScaler, unscale_=unscale_)


class _Module:
    """Collects the functions of `torch.NAME`, in groups that mirror `torch.cuda`."""

    def __init__(self, chip: Chip, core: Core, count: int) -> None:
        self.chip, self.core, self.count, self.name = chip, core, count, chip.torch.device
        self.module = types.ModuleType(f"torch.{self.name}")
        self.module.__doc__ = f"{chip.title} (virtual)"

    def build(self) -> types.ModuleType:
        for group in (self._devices, self._memory, self._streams, self._random, self._amp):
            for function_name, value in group().items():
                setattr(self.module, function_name, value)
        for part, names in (
            ("streams", ("Stream", "Event")),
            ("memory", tuple(self._memory())),
            ("random", tuple(self._random())),
        ):
            sub = types.ModuleType(f"torch.{self.name}.{part}")
            for function_name in names:
                setattr(sub, function_name, getattr(self.module, function_name))
            setattr(self.module, part, sub)
        return self.module

    def _index(self, device: DeviceLike) -> int:
        return api.index_of(self.core, device)

    def _properties(self, device: DeviceLike = None) -> DeviceProperties:
        self._index(device)
        return DeviceProperties(f"{self.chip.title} (virtual)", self.chip.per_device().capacity or 0)

    def _devices(self) -> dict[str, Any]:
        core = self.core

        @contextmanager
        def device(target: DeviceLike) -> Iterator[None]:
            with api.current_device(core, -1 if target is None else self._index(target)):
                yield

        @contextmanager
        def device_of(tensor: torch.Tensor) -> Iterator[None]:
            with api.current_device(core, tensor.get_device()):
                yield

        return {
            "is_available": lambda: True,
            "is_initialized": lambda: True,
            "init": lambda: None,
            "_lazy_init": lambda: None,
            "_is_in_bad_fork": lambda: False,
            "_is_compiled": lambda: True,
            "device_count": lambda: self.count,
            "current_device": core.current,
            "set_device": lambda target: core.set_device(self._index(target)),
            "synchronize": lambda target=None: core.wait_device(self._index(target)),
            "device": device,
            "device_of": device_of,
            "get_device_name": lambda target=None: self._properties(target).name,
            "get_device_properties": self._properties,
            "get_device_capability": lambda target=None: None,
            "can_device_access_peer": lambda first, second: first != second,
            "is_current_stream_capturing": lambda: False,
            "ipc_collect": lambda: None,
            "is_bf16_supported": lambda: self.chip.dtypes.state("bfloat16") != "refused",
            "get_amp_supported_dtype": lambda: [torch.float16, torch.bfloat16],
            "utilization": lambda target=None: 0,
        }

    def _memory(self) -> dict[str, Any]:
        core, index = self.core, self._index

        def figure(name: str) -> Callable[..., int]:
            return lambda device=None: int(getattr(core.memory_of(index(device)), name))

        def flat_stats(device: DeviceLike = None) -> dict[str, int]:
            flat: dict[str, int] = {}

            def walk(prefix: str, value: Any) -> None:
                if isinstance(value, dict):
                    for key, inner in value.items():
                        walk(f"{prefix}.{key}" if prefix else key, inner)
                else:
                    flat[prefix] = value

            walk("", api.memory_stats(core, index(device)))
            return flat

        def fraction(part: float, device: DeviceLike = None) -> None:
            core.capacity(part * (self.chip.per_device().capacity or 0))

        def summary(device: DeviceLike = None, abbreviated: bool = False) -> str:
            m = core.memory_of(index(device))
            return f"{self.name}:{index(device)} allocated {m.current}, peak {m.peak}, capacity {m.capacity} bytes"

        return {
            "memory_allocated": figure("current"),
            "max_memory_allocated": figure("peak"),
            "memory_reserved": figure("current"),
            "max_memory_reserved": figure("peak"),
            "memory_stats": flat_stats,
            "memory_stats_as_nested_dict": lambda device=None: api.memory_stats(core, index(device)),
            "memory_summary": summary,
            "mem_get_info": lambda device=None: api.memory_info(core, index(device)),
            "reset_peak_memory_stats": lambda device=None: core.reset_peak(index(device)),
            "reset_max_memory_allocated": lambda device=None: core.reset_peak(index(device)),
            "reset_accumulated_memory_stats": lambda device=None: None,
            "empty_cache": lambda: None,
            "set_per_process_memory_fraction": fraction,
        }

    def _streams(self) -> dict[str, Any]:
        core, name, index = self.core, self.name, self._index

        class Stream(torch.Stream):
            def __new__(cls, device: DeviceLike = None, priority: int = 0, **known: Any) -> "Stream":
                if "stream_id" in known:
                    return super().__new__(cls, **known)
                return super().__new__(cls, device=torch.device(name, index(device)), priority=priority)

        class Event(torch.Event):
            def __new__(
                cls, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False
            ) -> "Event":
                return super().__new__(
                    cls, device=name, enable_timing=enable_timing, blocking=blocking, interprocess=interprocess
                )

            def elapsed_time(self, end_event: torch.Event) -> float:  # torch.Event's own refuses subclasses
                if not self.event_id or not end_event.event_id:
                    raise ValueError("Both events must be recorded before calculating elapsed time.")
                return core.elapsed_ms(self.event_id, end_event.event_id)

        def default_stream(device: DeviceLike = None) -> Stream:
            return Stream(stream_id=0, device_index=index(device), device_type=PRIVATE_USE_1)

        @contextmanager
        def stream(target: torch.Stream | None) -> Iterator[None]:
            if target is None:
                yield
                return
            before = torch.accelerator.current_stream()
            torch.accelerator.set_stream(target)
            try:
                yield
            finally:
                torch.accelerator.set_stream(before)

        return {
            "Stream": Stream,
            "Event": Event,
            "stream": stream,
            "set_stream": torch.accelerator.set_stream,
            "current_stream": lambda device=None: torch.accelerator.current_stream(index(device)),
            "default_stream": default_stream,
        }

    def _random(self) -> dict[str, Any]:
        def generator(device: DeviceLike = None) -> torch.Generator:
            found: torch.Generator = self.module.default_generators[self._index(device)]
            return found

        def every() -> list[torch.Generator]:
            return [generator(i) for i in range(self.count)]

        def set_states(states: list[torch.Tensor]) -> None:
            for one, state in zip(every(), states, strict=False):
                one.set_state(state)

        return {
            "manual_seed": lambda seed: generator().manual_seed(int(seed)) and None,
            "manual_seed_all": lambda seed: [g.manual_seed(int(seed)) for g in every()] and None,
            "seed": lambda: generator().seed() and None,
            "seed_all": lambda: [g.seed() for g in every()] and None,
            "initial_seed": lambda: generator().initial_seed(),
            "get_rng_state": lambda device=None: generator(device).get_state(),
            "set_rng_state": lambda state, device=None: generator(device).set_state(state) and None,
            "get_rng_state_all": lambda: [g.get_state() for g in every()],
            "set_rng_state_all": set_states,
        }

    def _amp(self) -> dict[str, Any]:
        name = self.name

        class autocast(torch.amp.autocast_mode.autocast):
            def __init__(
                self, enabled: bool = True, dtype: torch.dtype = torch.float16, cache_enabled: bool = True
            ) -> None:
                super().__init__(name, enabled=enabled, dtype=dtype, cache_enabled=cache_enabled)

        class GradScaler(torch.amp.GradScaler):
            def __init__(self, *arguments: Any, **named: Any) -> None:
                super().__init__(name, *arguments, **named)

        amp = types.ModuleType(f"torch.{name}.amp")
        for key, value in (("autocast", autocast), ("GradScaler", GradScaler)):
            setattr(amp, key, value)
        return {"amp": amp}

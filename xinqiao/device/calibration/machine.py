"""A real device: its names, memory and caches, and the clock that times it."""

import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F

from xinqiao.chips import catalog
from xinqiao.device import session
from xinqiao.errors import InputError, nearest

UNKNOWN_CACHE = 2**28  # bytes, more than the last cache of any device known
MOST_CACHE = 2**26  # bytes: larger last caches are shared by so many cores that one does not fill them
AHEAD = 8  # copies of `queue` bytes that a device is given first, so that the host is never waited for
QUEUE = 2**28

Clock = Callable[[Callable[[int], object], int, int], float]  # call, number of the first, how many -> seconds of each


class Machine(NamedTuple):
    """One device that kernels are measured on."""

    device: str  # 'npu'
    name: str
    capacity: int  # bytes
    cache: int  # bytes of its last cache
    package: str
    package_version: str
    clock_name: Literal["event", "thread", "wall"]
    clock: Clock
    calls: int = 50  # in one sample at most


def names() -> list[str]:
    """Devices that can be measured: the CPU, and those of known chips."""
    return ["cpu", *sorted({chip.torch.device for chip in catalog.all_chips()} - {"cpu"})]


def machine(device: str) -> Machine:
    """InputError where there is no such device, or only a virtual one."""
    if device not in (known := names()):
        raise InputError(f"--device {device}: not one of {', '.join(known)}{nearest(device, known)}")
    if session.active is not None and session.active.chip.torch.device == device:
        raise InputError(
            f"--device {device}: this process has a virtual {session.active.chip.name}, whose clock tells predicted "
            "time; measure on the real device, outside `xinqiao run`"
        )
    return _processor() if device == "cpu" else _accelerator(device)


def _processor() -> Machine:
    single = torch.get_num_threads() == 1
    capacity = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    cache = _processor_cache()
    clock = _cold(time.thread_time if single else time.perf_counter, cache)
    return Machine("cpu", host(), capacity, cache, "", "", "thread" if single else "wall", clock, calls=2)


def host() -> str:
    """The processor's name as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    found = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return found or platform.processor() or platform.machine()


def _processor_cache() -> int:
    sizes = [path.read_text().strip() for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")]
    return max((int(size.removesuffix("K")) * 1024 for size in sizes if size.endswith("K")), default=UNKNOWN_CACHE)


def _cold(now: Callable[[], float], cache: int) -> Clock:
    """Before the calls, as many weights as fill half of the last cache meet a token.

    As in a model: after its weights PyTorch's own code comes from memory too, and a small kernel takes several times as
    long as one that is called again and again. In a model a few small ones follow each other, so a few calls are timed
    together.
    """
    width = 1024
    weights, token = torch.ones(min(cache, MOST_CACHE) // 2 // 4 // width, width), torch.ones(1, width)

    def clock(call: Callable[[int], object], first: int, count: int) -> float:
        F.linear(token, weights)
        now()  # the clock's own code is in the cache again
        started = now()
        for number in range(first, first + count):
            call(number)
        return (now() - started) / count

    return clock


def _accelerator(device: str) -> Machine:
    packages = {chip.torch.package: chip for chip in catalog.all_chips() if chip.torch.device == device}
    package = next((name for name in packages if name and find_spec(name) is not None), "")
    if package:
        __import__(package)  # PyTorch loads most vendors' packages by itself, but not all
    module = getattr(torch, device, None)
    if module is None or not module.is_available():
        wanted = ["a build of PyTorch for it"] if "" in packages else []
        wanted += sorted(chip.platform.requirement or name for name, chip in packages.items() if name)
        raise InputError(f"--device {device}: there is none here; install its driver and {' or '.join(wanted)}")
    properties = module.get_device_properties(0)
    capacity = int(getattr(properties, "total_memory", 0)) or int(module.mem_get_info()[1])
    cache = int(getattr(properties, "L2_cache_size", 0)) or UNKNOWN_CACHE
    return Machine(
        device, module.get_device_name(0), capacity, cache, package, _version(package), "event", _events(device, module)
    )


def _version(package: str) -> str:
    try:
        return version(package) if package else ""
    except PackageNotFoundError:
        return ""


def _events(device: str, module: ModuleType) -> Clock:
    """Time on the device itself. Copies are queued before, so that it never waits for the host to launch."""
    source = torch.empty(QUEUE, dtype=torch.int8, device=device)
    target = torch.empty_like(source)
    events: Any = module

    def clock(call: Callable[[int], object], first: int, count: int) -> float:
        start, end = events.Event(enable_timing=True), events.Event(enable_timing=True)
        for _ in range(AHEAD):
            target.copy_(source)
        start.record()
        for number in range(first, first + count):
            call(number)
        end.record()
        events.synchronize()
        return float(start.elapsed_time(end)) / 1e3 / count

    return clock

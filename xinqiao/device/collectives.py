"""The chip's collectives ('nccl', 'hccl', …) on gloo: device tensors are sent as what they are, host memory.

The operators of `c10d` get a kernel for the chip's key that aliases its tensors on the host and calls the host's
operator; nothing is copied. A CPU tensor is refused, as the vendors' libraries refuse it.
"""

import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

from xinqiao.chips.spec import Chip
from xinqiao.cost import roofline
from xinqiao.device import api
from xinqiao.device.core import Core

OPERATORS = (
    "allreduce_", "allreduce_coalesced_", "broadcast_", "allgather_", "_allgather_base_",
    "allgather_into_tensor_coalesced_", "reduce_", "gather_", "scatter_", "reduce_scatter_", "_reduce_scatter_base_",
    "reduce_scatter_tensor_coalesced_", "alltoall_", "alltoall_base_", "send", "recv_", "recv_any_source_",
)  # fmt: skip
METHODS = (
    "allreduce", "allreduce_coalesced", "broadcast", "allgather", "_allgather_base", "allgather_into_tensor_coalesced",
    "all_gather_single", "reduce", "gather", "scatter", "reduce_scatter", "_reduce_scatter_base",
    "reduce_scatter_single", "reduce_scatter_tensor_coalesced", "alltoall", "alltoall_base", "all_to_all_single",
    "send", "recv", "recv_anysource",
)  # fmt: skip


@dataclass
class Traffic:
    """Calls of one collective."""

    count: int = 0
    bytes: int = 0  # of this rank's tensors
    seconds: float = 0.0


class Collectives:
    """Registers the chip's back end and keeps count of what went through it."""

    def __init__(self, chip: Chip, core: Core) -> None:
        self.chip, self.core, self.device = chip, core, chip.torch.device
        self.price = roofline.price(chip)
        self.traffic: dict[tuple[str, str], Traffic] = {}  # by operator and the back end that the program asked for
        self._library = torch.library.Library("c10d", "IMPL")
        namespace = torch.ops.xinqiao_cuda if core.cuda else torch.ops.xinqiao_vendor
        self._alias = namespace.host_alias.default
        key = "CUDA" if core.cuda else "PrivateUse1"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch says that a kernel is replaced, which is what this is for
            for name in OPERATORS:
                self._library.impl(name, self._kernel(name), key, allow_override=True)
        _refuse_host_tensors()
        _send_objects_on(self.device)
        if chip.torch.collective == "nccl":
            _stand_in_for_nccl()
        elif chip.torch.collective:
            _register(chip.torch.collective, self.device)

    def _kernel(self, name: str) -> Callable[..., Any]:
        # Called as an operator, because that lets go of the interpreter's lock: gloo's own threads need it to free
        # the aliases while this thread waits for them.
        operator = getattr(torch.ops.c10d, name).default

        def run(*arguments: Any, **named: Any) -> Any:
            tensors = list(_tensors(arguments))
            aliases = {id(t): self._alias(t) for t in tensors if t.device.type == self.device}
            result = operator(*[self._on_host(a, aliases) for a in arguments], **named)
            self._count(name, tensors, arguments)
            back = {alias.data_ptr(): t for t in tensors if (alias := aliases.get(id(t))) is not None}
            result = _replace(result, back)
            return tuple(result) if isinstance(result, list) else result

        return run

    def _on_host(self, value: Any, aliases: dict[int, torch.Tensor]) -> Any:
        if isinstance(value, list | tuple):
            return [self._on_host(v, aliases) for v in value]
        if isinstance(value, torch.Tensor):
            return aliases.get(id(value), value)
        if isinstance(value, torch.device) and value.type == self.device:
            return torch.device("cpu")
        return value

    def _count(self, name: str, tensors: list[torch.Tensor], arguments: tuple[Any, ...]) -> None:
        group = next((a for a in arguments if isinstance(a, dist.ProcessGroup)), None)
        ranks = group.size() if group is not None else dist.get_world_size()
        sent = sum(t.numel() * t.element_size() for t in tensors)
        seconds = roofline.collective(self.price, name, sent, ranks)
        self.core.advance(f"c10d::{name}".encode(), self.core.current(), seconds)
        backend = dist.get_backend(group)
        own = backend == self.chip.torch.collective
        self.core.mark(f"collective {name} on {'its own back end' if own else backend}".encode(), sent)
        row = self.traffic.setdefault((name, backend), Traffic())
        row.count, row.bytes, row.seconds = row.count + 1, row.bytes + sent, row.seconds + seconds


def _tensors(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _tensors(inner)


def _replace(value: Any, back: dict[int, torch.Tensor]) -> Any:
    if isinstance(value, torch.Tensor):
        return back.get(value.data_ptr(), value)
    return [_replace(v, back) for v in value] if isinstance(value, list | tuple) else value


_made: list[Any] = []  # gloo groups that stand for the chip's library


def _gloo(store: Any, rank: int, size: int, timeout: Any) -> Any:
    group = dist.ProcessGroupGloo(store, rank, size, timeout=timeout)
    _made.append(group)
    return group


def _stands_for_the_chip(group: dist.ProcessGroup) -> bool:
    """Whether a group's host side is only there for aliases: the program asked for the chip's back end alone."""
    backend = group._get_backend(torch.device("cpu"))
    return any(backend is one for one in _made)


def _refuse_host_tensors() -> None:
    """Have a group's methods refuse CPU tensors where the program asked for the chip's back end alone."""
    for name in METHODS:
        plain = getattr(dist.ProcessGroup, name, None)
        if plain is not None:
            api.replace(dist.ProcessGroup, **{name: _refusing(plain)})


def _refusing(plain: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(plain)
    def run(group: dist.ProcessGroup, *arguments: Any, **named: Any) -> Any:
        on_host = any(t.device.type == "cpu" for t in _tensors([*arguments, *named.values()]))
        if on_host and _stands_for_the_chip(group):
            raise RuntimeError("No backend type associated with device type cpu")
        return plain(group, *arguments, **named)

    return run


def _send_objects_on(device: str) -> None:
    """Python objects travel as device tensors in a group that has the chip's back end alone."""
    c10d = dist.distributed_c10d
    choose = c10d._get_object_coll_device

    def chosen(group: dist.ProcessGroup | None = None) -> str:
        one = group or c10d._get_default_group()
        found = choose(group)
        return (
            device
            if found == "cpu" and torch.device("cpu") in one._device_types and _stands_for_the_chip(one)
            else found
        )

    api.replace(c10d, _get_object_coll_device=chosen)


def _register(name: str, device: str) -> None:
    # The group also answers for "cpu", where the aliases go.
    dist.Backend.register_backend(name, _gloo, devices=[device, "cpu"])


class _MadeHere(type):
    def __instancecheck__(cls, instance: Any) -> bool:
        return any(instance is one for one in _made)


def _stand_in_for_nccl() -> None:
    c10d = dist.distributed_c10d

    class ProcessGroupNCCL(metaclass=_MadeHere):
        """Stands where the NCCL class would be; makes a gloo group."""

        class Options:
            def __init__(self, *, is_high_priority_stream: bool = False) -> None:
                self._timeout = c10d.default_pg_timeout
                self.is_high_priority_stream = is_high_priority_stream
                self.config = type("Config", (), {})()
                self.global_ranks_in_group: list[int] = []
                self.group_name = ""
                self.split_from, self.split_color = None, 0

        def __new__(cls, store: Any, rank: int, size: int, options: Any) -> Any:
            return _gloo(store, rank, size, options._timeout)

    timeout = c10d.default_pg_timeout
    api.replace(c10d, ProcessGroupNCCL=ProcessGroupNCCL, _NCCL_AVAILABLE=True, default_pg_nccl_timeout=timeout)
    api.replace(dist, ProcessGroupNCCL=ProcessGroupNCCL)
    c10d.Backend.backend_capability["nccl"] = ["cuda", "cpu"]
    api.replace(torch.cuda.nccl, version=lambda: (2, 27, 0), is_available=lambda tensors: False)

"""Which implementation of an operator runs: by device and dtype, or the one that `use` names."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch

from xinqiao.errors import InputError, nearest

BACKENDS = ("reference", "cpu", "triton")
_USED: ContextVar[str | None] = ContextVar("xinqiao_backend", default=None)


@contextmanager
def use(backend: str) -> Iterator[None]:
    """Operators inside the `with` run on this back end: 'reference', 'cpu' or 'triton'."""
    if backend not in BACKENDS:
        raise InputError(f"no back end {backend!r}{nearest(backend, BACKENDS)}; there are {', '.join(BACKENDS)}")
    token = _USED.set(backend)
    try:
        yield
    finally:
        _USED.reset(token)


def kernel(module: str, operator: str, device: torch.device, dtype: torch.dtype) -> Callable[..., Any]:
    """The function `operator` of `xinqiao.ops.<back end>.<module>` for tensors of this device and dtype.

    A back end's module lists in DTYPES what its kernels compute. InputError where a back end that `use` names cannot.
    """
    asked = _USED.get()
    if asked is None:
        return _preferred(module, operator, device.type, dtype)
    if not _able(asked, module, device.type, dtype):
        raise InputError(f"{operator}: back end {asked!r} has no {str(dtype).removeprefix('torch.')} on {device.type}")
    return _function(asked, module, operator)


@cache  # asked at every call of a layer
def _preferred(module: str, operator: str, device: str, dtype: torch.dtype) -> Callable[..., Any]:
    preferred = {"cpu": "cpu", "cuda": "triton"}.get(device, "reference")
    return _function(preferred if _able(preferred, module, device, dtype) else "reference", module, operator)


@cache
def _function(backend: str, module: str, operator: str) -> Callable[..., Any]:
    found: Callable[..., Any] = getattr(import_module(f"xinqiao.ops.{backend}.{module}"), operator)
    return found


def _able(backend: str, module: str, device: str, dtype: torch.dtype) -> bool:
    if backend == "reference":
        return True
    if backend == "cpu":
        return device == "cpu" and _compiled() and dtype in _dtypes(backend, module)
    runs = device != "cpu" or os.environ.get("TRITON_INTERPRET") == "1"  # the interpreter, on the processor
    return runs and find_spec("triton") is not None and dtype in _dtypes(backend, module)


@cache
def _dtypes(backend: str, module: str) -> frozenset[torch.dtype]:
    found: frozenset[torch.dtype] = import_module(f"xinqiao.ops.{backend}.{module}").DTYPES
    return found


@cache
def _compiled() -> bool:
    """Whether there is a C++ compiler; where there is none, this says once that the reference is slower."""
    from warnings import warn

    from xinqiao.native.build import compiler

    try:
        compiler()
    except InputError as error:
        warn(f"operators run as plain PyTorch, many times slower: {error}", stacklevel=2)
        return False
    return True

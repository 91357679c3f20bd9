"""The C++ side of the virtual chip, as typed Python functions."""

import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

from xinqiao.native.build import library

SOURCE = Path(__file__).parent / "native" / "core.cpp"
STREAMS = 33
ENTRY_BYTES = 56
_text, _int, _int64, _double, _pointer = (
    ctypes.c_char_p,
    ctypes.c_int,
    ctypes.c_int64,
    ctypes.c_double,
    ctypes.c_void_p,
)
_int64s, _doubles = ctypes.POINTER(_int64), ctypes.POINTER(_double)
ASK_SUPPORT = ctypes.CFUNCTYPE(_int, _text, _int, _pointer, _int)
ASK_COST = ctypes.CFUNCTYPE(None, _text, _int64, _int64s, _int64, _int, _doubles)
_EACH_ROW = ctypes.CFUNCTYPE(None, _text, _int, _int64s, _int64, _int64, _doubles)
_EACH_INCIDENT = ctypes.CFUNCTYPE(None, _text, _int, _int64)
_EACH_HOLDER = ctypes.CFUNCTYPE(None, _int, _int, _int64)
_EACH_POINT = ctypes.CFUNCTYPE(None, _double, _int64)
_EACH_READBACK = ctypes.CFUNCTYPE(None, _int, _doubles, _int64)
_EACH_TRACE = ctypes.CFUNCTYPE(None, _text, _int, _int, _double, _double)
_EACH_NAME = ctypes.CFUNCTYPE(None, _text)
_SIGNATURES: dict[str, tuple[object, list[object]]] = {
    "start": (_int, [_text, _text, _int, _double, _double, _int, _int, _int, _int, _int]),
    "callbacks": (None, [ASK_SUPPORT, ASK_COST]),
    "library_prefix": (None, [_text]),
    "trace": (None, [_int]),
    "keep_readbacks": (None, [_int]),
    "keep_journal": (None, [_pointer]),
    "keep_whole": (None, [_text, _int64, _int64]),
    "mark": (None, [_text, ctypes.c_uint64]),
    "entries": (_int64, [ctypes.POINTER(_pointer), _int64s]),
    "hand_out_default": (None, [_int]),
    "capacity": (None, [_double]),
    "device": (_int, []),
    "set_device": (None, [_int]),
    "stream": (_int64, [_int]),
    "set_stream": (None, [_int, _int64]),
    "wait_device": (None, [_int]),
    "clock": (_double, [_int, _int]),
    "host_clock": (_double, []),
    "advance": (_double, [_text, _int, _double]),
    "elapsed": (_double, [_pointer, _pointer]),
    "memory": (None, [_int, _int64s]),
    "reset_peak": (None, [_int]),
    "resize_storage": (None, [_pointer, _int64]),
    "module": (None, [_int]),
    "here": (_int, []),
    "site": (_int, [_int, _pointer, _pointer, _int]),
    "each_row": (None, [_EACH_ROW]),
    "each_incident": (None, [_EACH_INCIDENT]),
    "each_holder": (None, [_int, _EACH_HOLDER]),
    "each_point": (None, [_int, _EACH_POINT]),
    "each_readback": (None, [_EACH_READBACK]),
    "each_trace": (None, [_EACH_TRACE]),
    "each_registered": (None, [_EACH_NAME]),
    "forget": (None, []),
}


class MemoryFigures(NamedTuple):
    """Bytes and counts of one device, as the core counts them."""

    current: int
    peak: int
    requested: int
    requested_peak: int
    allocations: int
    frees: int
    refused: int
    capacity: int  # 0: not known


class Row(NamedTuple):
    operator: str
    dtype: int
    shapes: list[int]
    calls: int
    seconds: float
    flops: float
    bytes: float
    number: int  # what entries of the journal call it


class Core:
    """One loaded library; `lib.NAME` is the C function `xq_NAME`."""

    def __init__(self, *, cuda: bool) -> None:
        self.cuda = cuda
        self.devices = 1
        self._loaded = ctypes.CDLL(str(_build(cuda=cuda)), mode=ctypes.RTLD_LOCAL)
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(self._loaded, f"xq_{name}")
            function.restype, function.argtypes = result, arguments
            setattr(self, name, function)

    def __getattr__(self, name: str) -> Callable[..., object]:  # for the type checker: set in __init__
        raise AttributeError(name)

    def current(self) -> int:
        """Index of the current device."""
        return int(self._loaded.xq_device())

    def ordinal(self, index: int) -> int:
        """The index itself; torch.AcceleratorError where the machine has no such device."""
        if index >= self.devices:
            raise torch.AcceleratorError(f"invalid device ordinal {index} (the virtual machine has {self.devices})")
        return index

    def memory_of(self, device: int) -> MemoryFigures:
        self.ordinal(device)
        figures = (_int64 * 8)()
        self._loaded.xq_memory(device, figures)
        return MemoryFigures(*figures)

    def elapsed_ms(self, first: int, second: int) -> float:
        return float(self._loaded.xq_elapsed(first, second))

    def clock_of(self, device: int, stream: int) -> float:
        return float(self._loaded.xq_clock(device, stream))

    def site_of(self, index: int) -> tuple[str, int, str]:
        """(file, line, function) of a site number; line 0 where it is not a Python line."""
        file, function = ctypes.create_string_buffer(1024), ctypes.create_string_buffer(1024)
        line = int(self._loaded.xq_site(index, file, function, 1024))
        return file.value.decode(), line, function.value.decode()

    def rows(self) -> list[Row]:
        found: list[Row] = []

        def add(name: bytes, dtype: int, shapes: "ctypes._Pointer[ctypes.c_int64]", length: int, number: int,
                totals: "ctypes._Pointer[ctypes.c_double]") -> None:  # fmt: skip
            calls, seconds, flops, moved = totals[:4]
            found.append(Row(name.decode(), dtype, shapes[:length], int(calls), seconds, flops, moved, number))

        self._loaded.xq_each_row(_EACH_ROW(add))
        return found

    def journal(self) -> tuple[bytes, int]:
        """(packed entries as native/journal.h has them, how many more there were)."""
        start, left_out = _pointer(), _int64()
        count = int(self._loaded.xq_entries(ctypes.byref(start), ctypes.byref(left_out)))
        return ctypes.string_at(start, count * ENTRY_BYTES) if count else b"", left_out.value

    def incidents(self) -> list[tuple[str, int, int]]:
        """(operator, dtype, times) of operators that were not native."""
        found: list[tuple[str, int, int]] = []
        self._loaded.xq_each_incident(_EACH_INCIDENT(lambda n, d, c: found.append((n.decode(), d, c))))
        return found

    def holders(self, device: int) -> list[tuple[int, int, int]]:
        """(site, module, bytes) of what was alive at the peak."""
        found: list[tuple[int, int, int]] = []
        self._loaded.xq_each_holder(device, _EACH_HOLDER(lambda *row: found.append(row)))
        return found

    def memory_curve(self, device: int) -> list[tuple[float, int]]:
        """(simulated seconds, bytes), thinned to a few thousand points."""
        found: list[tuple[float, int]] = []
        self._loaded.xq_each_point(device, _EACH_POINT(lambda *row: found.append(row)))
        return found

    def readbacks(self) -> list[tuple[int, list[float]]]:
        """(site, numbers that it read back)."""
        found: list[tuple[int, list[float]]] = []
        self._loaded.xq_each_readback(_EACH_READBACK(lambda site, values, n: found.append((site, values[:n]))))
        return found

    def timeline(self) -> list[tuple[str, int, int, float, float]]:
        """(operator, device, stream, start, seconds), where tracing was on."""
        found: list[tuple[str, int, int, float, float]] = []
        self._loaded.xq_each_trace(_EACH_TRACE(lambda n, *rest: found.append((n.decode(), *rest))))
        return found

    def registered(self) -> list[str]:
        """Operators that were sent to the fallback by name."""
        found: list[str] = []
        self._loaded.xq_each_registered(_EACH_NAME(lambda n: found.append(n.decode())))
        return found


def _build(*, cuda: bool) -> Path:
    root = Path(torch.__file__).parent
    flags = ["-O2", "-std=c++20", "-fPIC", "-shared", f"-DXQ_CUDA={int(cuda)}",
             f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}",
             f"-I{root}/include", f"-I{root}/include/torch/csrc/api/include"]  # fmt: skip
    # Ours bind to ours even when both libraries are loaded.
    link = [f"-L{root}/lib", "-Wl,--no-as-needed", "-ltorch_cpu", "-lc10", "-ldl", "-Wl,-Bsymbolic"]
    key = "cuda" if cuda else "vendor"
    return library(f"virtual-chip-{key}", SOURCE, flags, link, f"torch {torch.__version__} {os.name}")

"""Answers what the C++ core asks: may this operator run on the chip, and how long does it take."""

import ctypes
import sys
import threading
import warnings
from types import FrameType
from typing import NamedTuple

from xinqiao.chips.spec import Chip
from xinqiao.chips.support import OWN, Answer, support
from xinqiao.cost import roofline
from xinqiao.cost.work import Tensor
from xinqiao.device import dtypes
from xinqiao.device.core import ASK_COST, ASK_SUPPORT, Core
from xinqiao.device.lines import is_user_file, shown
from xinqiao.device.policy import Policy

_NATIVE, _FALLBACK, _REFUSED, _UNKNOWN = 1, 2, 3, 4  # Action in native/account.h


class Call(NamedTuple):
    """One call as the core packs it. dtype: that it computes in. numbers: integer arguments, of xinqiao.ops' own."""

    operator: str
    dtype: str
    inputs: list[Tensor]
    outputs: list[Tensor]
    numbers: list[int]


class Judge:
    """Keeps the chip's answers, and the Python line that first met each one that was not native.

    composed   sentences about operators that the vendor has a kernel for, and why it was not the one

    policy   None: as the vendor's own software does. "refuse", "fallback", "allow": one rule for all that is not
             native.
    """

    def __init__(self, chip: Chip, core: Core, policy: Policy | None) -> None:
        self.chip, self.core, self.policy = chip, core, policy
        self.price = roofline.price(chip)
        self.answers: dict[tuple[str, int], Answer] = {}
        self.lines: dict[tuple[str, int], str] = {}
        self.composed: list[str] = []
        self._support, self._cost = ASK_SUPPORT(self._ask_support), ASK_COST(self._ask_cost)  # kept alive here
        core.callbacks(self._support, self._cost)

    def _ask_support(self, name: bytes, dtype: int, reason: int, size: int) -> int:
        key = (name.decode(), dtype)
        answer = self.answers[key] = support(self.chip, key[0], dtypes.name(dtype))
        if answer.state == "native":
            return _NATIVE
        if answer.state == "unknown":
            return _UNKNOWN
        line = self.lines.setdefault(key, self._line())
        action = self._decide(answer.state)
        what = f"{key[0]} for {dtypes.name(dtype)} on {self.chip.title} (virtual): {answer.reason}"
        if action == _REFUSED:
            text = f"{what} [at {line}; --policy fallback runs it on the host, --policy allow as if native]"
            ctypes.memmove(reason, text.encode()[: size - 1] + b"\0", min(len(text.encode()), size - 1) + 1)
        elif action == _FALLBACK:
            warnings.warn(f"{what}; it runs on the host, slowly", stacklevel=2)
        return action

    def _decide(self, state: str) -> int:
        if self.policy == "allow":
            return _UNKNOWN
        if self.policy is not None:
            return _REFUSED if self.policy == "refuse" else _FALLBACK
        software = self.chip.software
        rule = software.unsupported_dtype if state == "refused" else software.unsupported_operator
        return _REFUSED if rule == "refuse" else _FALLBACK

    def _ask_cost(
        self,
        name: bytes,
        flags: int,
        packed: "ctypes._Pointer[ctypes.c_int64]",
        length: int,
        action: int,
        out: "ctypes._Pointer[ctypes.c_double]",
    ) -> None:
        operator, dtype, inputs, outputs, numbers = unpack(name.decode(), packed[:length])
        if operator == "aten::copy_" and inputs and outputs:
            from_host, to_host, to_peer = bits(flags)
            cost = roofline.copy(
                self.price, inputs[0], outputs[0], from_host=from_host, to_host=to_host, to_peer=to_peer
            )
        elif action == _FALLBACK:
            cost = roofline.on_host(self.price, inputs, outputs)
        elif operator.startswith(OWN):
            cost, fits = roofline.own(self.price, operator.removeprefix(OWN), dtype, inputs, outputs, numbers)
            for found in fits:
                if found.missed:
                    self._note(operator, found.missed.name, found.broken)
        else:
            cost = roofline.operator(self.price, operator, dtype, inputs, outputs, flag=any(bits(flags)[:1]))
        out[0], out[1], out[2] = cost

    def _note(self, operator: str, missed: str, broken: tuple[str, ...]) -> None:
        """That the vendor's kernel does not take this, once for each reason."""
        what = f"{operator}: {missed} does not take {' and '.join(broken)}: it is timed as several operators"
        if what not in self.composed:
            self.composed.append(what)
            warnings.warn(f"{what} [at {self._line()}]", stacklevel=2)

    def _line(self) -> str:
        file, line, function = self.core.site_of(int(str(self.core.here())))
        if line:
            return shown(file, line, function)
        main = sys._current_frames().get(threading.main_thread().ident or 0)
        return f"{line_of(main)} (backward)" if main else "(backward)"


def bits(flags: int) -> list[bool]:
    """The operator's boolean arguments in order; the core packs them behind a leading 1."""
    return [digit == "1" for digit in f"{flags:b}"[1:]]


def unpack(name: str, packed: list[int]) -> Call:
    """What the core packs; see Shapes there."""
    first, count = packed[:2]
    tensors, codes, i = [], [], 2 + first
    while i < len(packed):
        code, dimensions = packed[i], packed[i + 1]
        tensors.append(Tensor(packed[i + 2 : i + 2 + dimensions], dtypes.itemsize(code)))
        codes.append(code)
        i += 2 + dimensions
    floating = [c for c in codes if dtypes.name(c).startswith(("float", "bfloat"))]
    dtype = dtypes.name((floating or codes or [6])[0])
    return Call(name, dtype, tensors[:count], tensors[count:], packed[2 : 2 + first])


def line_of(frame: FrameType | None) -> str:
    """The innermost line of the user's own code at or above `frame`."""
    while frame and not is_user_file(frame.f_code.co_filename):
        frame = frame.f_back
    return shown(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_qualname) if frame else "(unknown)"

"""NVIDIA's monitor and its Python bindings: nvidia-smi, pynvml, GPUtil.

What it does: a command that runs the monitor and calls of the bindings are found; the reason names the chip's monitor,
or the function of PyTorch that answers the same question.
Why: the command is missing on another vendor's machine, and its output has no common form.
Unsafe when: never seen
Source: the vendors' monitors (chips/platforms); torch 2.13 torch/cuda/memory.py.

    pynvml.nvmlDeviceGetMemoryInfo(handle)     needs you: ACCELERATOR_MODULE.mem_get_info(index)
"""

import ast
import re
from collections.abc import Iterator

from xinqiao.port.cuda_uses import call_of, is_guarded
from xinqiao.port.places import place_of
from xinqiao.port.rule import Finding, rule
from xinqiao.port.source import Source

_BINDINGS = ("pynvml", "py3nvml", "nvidia_smi", "GPUtil", "gpustat", "nvitop")
_COMMAND = re.compile(r"(.*[\s;&|/])?nvidia.smi(\s.*|\.exe.*)?\Z", re.DOTALL)
_READERS = {"which", "exists", "isfile"}
_STEPS = {
    "nvmlInit": "leave it out",
    "nvmlInitWithFlags": "leave it out",
    "nvmlShutdown": "leave it out",
    "nvmlDeviceGetCount": "use torch.accelerator.device_count()",
    "nvmlDeviceGetHandleByIndex": "leave it out: PyTorch takes the index",
    "nvmlDeviceGetMemoryInfo": "use ACCELERATOR_MODULE.mem_get_info(index)",
    "nvmlDeviceGetName": "use ACCELERATOR_MODULE.get_device_name(index)",
    "getGPUs": "use torch.accelerator.device_count() and ACCELERATOR_MODULE.mem_get_info(index)",
    "getAvailable": "use torch.accelerator.device_count() and ACCELERATOR_MODULE.mem_get_info(index)",
}


@rule(ast.Attribute, ast.Name, named=True)
def binding(node: ast.AST, source: Source) -> Iterator[Finding]:
    name = source.resolve(node) or ""
    package, _, rest = name.partition(".")
    if package not in _BINDINGS or not rest or call_of(node, source) is None:
        return
    if source.target.chip.platform.native or is_guarded(node, source):
        yield Finding(node, "safe", "it runs on NVIDIA's devices")
        return
    function = rest.rpartition(".")[2]
    yield Finding(node, "needs-you", f"{package} reads NVIDIA's driver: {_STEPS.get(function, _monitor(source))}")


@rule(ast.Constant)
def command(node: ast.AST, source: Source) -> Iterator[Finding]:
    assert isinstance(node, ast.Constant)
    if not (isinstance(node.value, str) and _COMMAND.match(node.value)):
        return
    if place_of(node, source) in ("documentation", "message"):
        return
    parent = source.parent(node)
    function = parent.func if isinstance(parent, ast.Call) else None
    plain = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if source.target.chip.platform.native or is_guarded(node, source):
        yield Finding(node, "safe", "it runs on NVIDIA's devices")
    elif plain in _READERS:
        yield Finding(node, "safe", "it is asked first whether the command is there")
    else:
        yield Finding(node, "needs-you", f"NVIDIA's monitor: {_monitor(source)}")


def _monitor(source: Source) -> str:
    monitor, title = source.target.chip.platform.monitor, source.target.chip.title
    if monitor:
        return f"{title} has '{monitor}', whose output has another form; or ask torch.accelerator"
    return f"ask torch.accelerator, or the monitor of {title}"

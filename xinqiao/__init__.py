"""Move a PyTorch model from NVIDIA to another AI chip.

The verbs in Python: `xinqiao.virtual(chip)`, `xinqiao.run(settings, script, arguments)`, `xinqiao.load(model_dir)`, and
the packages `xinqiao.convert`, `xinqiao.ops`, `xinqiao.port`, `xinqiao.prove` and `xinqiao.report`. Importing this
package imports nothing else; each part is loaded when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xinqiao.device.launch import launch as run
    from xinqiao.device.loading import load
    from xinqiao.device.session import virtual

_FUNCTIONS = {
    "load": ("xinqiao.device.loading", "load"),
    "run": ("xinqiao.device.launch", "launch"),
    "virtual": ("xinqiao.device.session", "virtual"),
}
_PACKAGES = ("convert", "ops", "port", "prove", "report")
__all__ = ["load", "run", "virtual"]


def __getattr__(name: str) -> object:
    if name in _FUNCTIONS:
        module, function = _FUNCTIONS[name]
        return getattr(import_module(module), function)
    if name in _PACKAGES:
        return import_module(f"xinqiao.{name}")
    raise AttributeError(f"module 'xinqiao' has no attribute '{name}'")

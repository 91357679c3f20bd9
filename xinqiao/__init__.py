"""Move a PyTorch model from NVIDIA to another AI chip. The verbs of the command line, as functions.

Importing this package imports nothing else; each verb is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xinqiao.device.launch import launch as run
    from xinqiao.device.session import virtual
    from xinqiao.port import port

_HOME = {"port": "xinqiao.port", "run": "xinqiao.device.launch", "virtual": "xinqiao.device.session"}
_NAME = {"run": "launch"}
__all__ = ["port", "run", "virtual"]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'xinqiao' has no attribute '{name}'")
    return getattr(import_module(_HOME[name]), _NAME.get(name, name))

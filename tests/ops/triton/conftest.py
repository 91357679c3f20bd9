import inspect
import os
from functools import cache

os.environ.setdefault("TRITON_INTERPRET", "1")  # read where a kernel is defined

from triton.language.core import is_builtin
from triton.runtime import interpreter


@cache
def _builtins(package: object) -> list[str]:
    return [name for name, member in inspect.getmembers(package) if is_builtin(member)]


def _patch(package, builder, scope):
    """As the interpreter's own, which looks through the whole package again at every call of a function."""
    for name in _builtins(package):
        if is_builtin(member := getattr(package, name)):
            interpreter._patch_attr(package, name, member, builder, scope)


interpreter._patch_builtin = _patch

"""Where a string ends up: does it reach a device, a back end, a key, a reader?"""

import ast
from typing import Literal

from xinqiao.port.known import FIXED
from xinqiao.port.source import Source

Place = Literal["device", "backend", "key", "flag", "documentation", "message", "type", "several", "table", "unknown"]


def place_of(node: ast.AST, source: Source) -> Place:
    """What the value of a string constant (or f-string) is used for, anywhere in the project."""
    parent = source.parent(node)
    if isinstance(parent, ast.Expr):
        return "documentation"
    uses = source.project.used_as(source.path, node)
    if isinstance(parent, ast.Dict) and node in source.keys:
        return "table" if "table" in source.project.used_as(source.path, parent) else "key"
    if uses & {"device", "backend"}:
        if uses & FIXED:
            return "several"
        return "device" if "device" in uses else "backend"
    if "unknown" in uses or uses & {"pattern", "file"}:
        return "unknown"
    if "flag" in uses:
        return "flag"
    if "type" in uses:
        return "type"
    if uses & {"key", "member"}:
        return "key"
    return "message" if uses & {"message", "text"} else "unknown"


def is_map_location(node: ast.AST, source: Source) -> bool:
    """Whether an expression reaches torch.load's map_location, or a name of that kind."""
    holder = source.parent(node)
    if isinstance(holder, ast.keyword) and holder.arg == "map_location":
        return True
    return "map_location" in source.project.used_as(source.path, node)

"""A dictionary given as `map_location` also maps the new device's tags.

What it does: a key `"cuda:0"` stays, for checkpoints written on CUDA, and the same entry is added for checkpoints
written by the port.
Why: a checkpoint remembers the device that it was written on.
Unsafe when: never seen.
Source: PyTorch 2.13, torch.load: a dictionary maps the tags that are in the checkpoint.

    map_location={"cuda:0": "cuda:1"}
    →  map_location={"cuda:0": f"{ACCELERATOR}:1", f"{ACCELERATOR}:0": f"{ACCELERATOR}:1"}
"""

import ast
from collections.abc import Iterator

from xinqiao.port.dialect import ACCELERATOR, device_inside_text, device_string
from xinqiao.port.places import is_map_location
from xinqiao.port.rule import Finding, rule
from xinqiao.port.source import Edit, Source
from xinqiao.port.words import DEVICE_STRING


@rule(ast.Dict)
def dictionary(node: ast.AST, source: Source) -> Iterator[Finding]:
    assert isinstance(node, ast.Dict)
    if not is_map_location(node, source):
        return
    keys = [k for k in node.keys if k is not None and _is_tag(k)]
    mapped = any(_is_new_tag(k, source) for k in node.keys)
    for key in keys:
        if mapped:
            yield Finding(key, "safe", "checkpoints written on CUDA keep their tags; the other key maps the new ones")
            continue
        value = node.values[node.keys.index(key)]
        tag, text = _value(key, source), _value(value, source)
        if tag is None or text is None:
            yield Finding(key, "needs-you", f"add the same entry for the tags of {device_inside_text(source)}")
            continue
        added = f", {tag}: {text}"
        edit = Edit(source.end(value), source.end(value), added)
        reason = "checkpoints written on CUDA keep their tags, new ones have the device's"
        yield Finding(key, "rewritten", reason, (edit,), (ACCELERATOR,))


def _is_tag(key: ast.expr) -> bool:
    first = key.values[0] if isinstance(key, ast.JoinedStr) and key.values else key
    return isinstance(first, ast.Constant) and bool(DEVICE_STRING.match(str(first.value)))


def _is_new_tag(key: ast.expr | None, source: Source) -> bool:
    """Whether a key is what a port writes."""
    return key is not None and device_inside_text(source) in source.text(key)


def _value(value: ast.expr, source: Source) -> str | None:
    """The value as it is after the port, where that is simple to tell."""
    text = source.text(value)
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        return device_string(value.value, text, source) if DEVICE_STRING.match(value.value) else text
    if isinstance(value, ast.JoinedStr) and text[2:].startswith("cuda"):
        return f"{text[:2]}{device_inside_text(source)}{text[2 + len('cuda') :]}"
    return text if isinstance(value, ast.Name) else None

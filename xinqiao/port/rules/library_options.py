"""Options of libraries that choose an implementation for CUDA.

What it does: `attn_implementation="flash_attention_2"` (or 3) of transformers stays on CUDA and becomes "sdpa" on any
other device; `use_flash_attention_2=True` becomes that option. A table of implementations, a comparison with one and
a message stay. `tree_method="gpu_hist"` of XGBoost needs you.
Why: the chosen implementation is a package that exists for CUDA; PyTorch's scaled_dot_product_attention computes the
same on every device.
Unsafe when: a model class lacks "sdpa"; transformers then stops with a message that says so.
Source: https://huggingface.co/docs/transformers/attention_interface, https://xgboost.readthedocs.io/en/stable/gpu/

    model = load(name, attn_implementation="flash_attention_2")
    →  model = load(name, attn_implementation="flash_attention_2" if ACCELERATOR == "cuda" else "sdpa")
"""

import ast
from collections.abc import Iterator

from xinqiao.port.cuda_uses import asks_for_cuda
from xinqiao.port.dialect import ACCELERATOR
from xinqiao.port.rule import Finding, replace, rule
from xinqiao.port.source import Edit, Source

_ATTENTION = {
    "flash_attention_2",
    "flash_attention_3",
    "kernels-community/flash-attn2",
    "kernels-community/flash-attn3",
}
_OPTION = ("attn_implementation", "_attn_implementation")
_OLD = ("use_flash_attention_2", "use_flash_attn_2", "_attn_implementation_flash")
_REASON = "PyTorch's scaled_dot_product_attention computes the same on every device"
_ASK = 'if this chooses the attention of a model, write "sdpa" on devices other than CUDA'


@rule(ast.Constant)
def name(node: ast.AST, source: Source) -> Iterator[Finding]:
    assert isinstance(node, ast.Constant)
    if node.value == "gpu_hist":
        yield Finding(
            node, "needs-you", 'XGBoost trains on CUDA with it: write tree_method="hist", which is the host\'s'
        )
    if not isinstance(node.value, str) or node.value not in _ATTENTION:
        return
    parent = source.parent(node)
    if isinstance(parent, ast.IfExp) and asks_for_cuda(parent.test, source):
        yield Finding(node, "safe", "chosen on CUDA only")
    elif isinstance(parent, ast.Compare) or (isinstance(parent, ast.Dict) and node in parent.keys):
        yield Finding(node, "safe", "compared or looked up; what is chosen is looked at where it is chosen")
    elif _is_option(node, parent):
        yield _chosen(node, source)
    else:
        yield Finding(node, "needs-you", _ASK)


def _chosen(node: ast.Constant, source: Source) -> Finding:
    if source.target.style == "vendor":
        return Finding(node, "rewritten", _REASON, (replace(source, node, '"sdpa"'),))
    end = source.end(node)
    edit = Edit(end, end, f' if {ACCELERATOR} == "cuda" else "sdpa"')
    return Finding(node, "rewritten", _REASON, (edit,), (ACCELERATOR,))


def _is_option(node: ast.Constant, parent: ast.AST | None) -> bool:
    """Given to the option by keyword, assignment to the attribute, or a dictionary's key."""
    if isinstance(parent, ast.keyword):
        return parent.arg in _OPTION
    if isinstance(parent, ast.Assign):
        return any(_last(t) in _OPTION for t in parent.targets)
    if isinstance(parent, ast.Dict):
        key = parent.keys[parent.values.index(node)]
        return isinstance(key, ast.Constant) and key.value in _OPTION
    return False


def _last(target: ast.expr) -> str:
    if isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
        return str(target.slice.value)
    return target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")


@rule(ast.keyword)
def old_option(node: ast.AST, source: Source) -> Iterator[Finding]:
    assert isinstance(node, ast.keyword)
    if node.arg not in _OLD:
        return
    if isinstance(node.value, ast.Constant) and node.value.value is False:
        yield Finding(node, "safe", "switched off")
    elif isinstance(node.value, ast.Constant) and node.value.value is True and node.arg == "use_flash_attention_2":
        chosen = '"flash_attention_2" if ACCELERATOR == "cuda" else "sdpa"'
        text = '"sdpa"' if source.target.style == "vendor" else chosen
        edit = replace(source, node, f"attn_implementation={text}")
        yield Finding(node, "rewritten", _REASON, (edit,), (ACCELERATOR,))
    else:
        yield Finding(node, "needs-you", "switch it off on devices other than CUDA")

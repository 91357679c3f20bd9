"""Files that a port adds to a project: substitutes for packages, and functions for a person to write."""

import ast
import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from xinqiao.port.packages import substitute_text
from xinqiao.port.source import Source

FOLDER = "xinqiao_substitutes"
_OURS = "xinqiao.port.substitutes."
# The first line of what is wholly ours; a file that begins with it is not looked at again.
WRITTEN = "# Written by `xinqiao port`. Do not edit: a port writes it again."
_WRAPPER = '''{written}
"""What `{module}` has: the package itself on CUDA, plain PyTorch on any other device."""

import importlib

import torch

_accelerator = torch.accelerator.current_accelerator()
_on_cuda = _accelerator is not None and _accelerator.type == "cuda"
_module = importlib.import_module("{module}") if _on_cuda else importlib.import_module(".plain.{file}", __package__)


def __getattr__(name):
    return getattr(_module, name)
'''
_VENDOR = '''{written}
"""What `{module}` has, in plain PyTorch."""

import importlib

_module = importlib.import_module(".plain.{file}", __package__)


def __getattr__(name):
    return getattr(_module, name)
'''


PACKAGE = f'{WRITTEN}\n"""Stand-ins for what exists for CUDA only."""\n'


@dataclass(frozen=True, order=True)
class Added:
    """A new file: its path relative to the project, and its text."""

    path: str
    text: str


@dataclass(frozen=True)
class Home:
    """Where a file finds what is added for it.

    prefix    what stands before the folder's name in its imports: '' or dots
    folders   folders of the project that get the added folder, '' for the project itself
    """

    prefix: str
    folders: tuple[str, ...]


def home(source: Source) -> Home:
    """A file in a package finds it in the outermost package; a script beside itself.

    A file that is neither is imported with the project's folder, or `src`, on the path; then it lies there too.
    """
    here = _folder(source.path)
    top = here
    while top in source.around.packages and top and _folder(top) in source.around.packages:
        top = _folder(top)
    script = _is_script(source.tree)
    if here in source.around.packages and not script:
        depth = len(PurePosixPath(here).parts) - len(PurePosixPath(top).parts)
        return Home("." * (depth + 1), (top,))
    if script:
        outside = {_folder(top)} if here in source.around.packages else set()
        return Home("", tuple(sorted({here} | outside)))
    roots = {"", "src"} if source.path.startswith("src/") else {""}
    return Home("", tuple(sorted({here} | roots)))


def _folder(path: str) -> str:
    parent = PurePosixPath(path).parent.as_posix()
    return "" if parent == "." else parent


def _is_script(tree: ast.Module) -> bool:
    """Whether a file asks if it is the program, and has no import that only works inside a package."""
    if any(isinstance(n, ast.ImportFrom) and n.level for n in tree.body):
        return False
    tests = [n.test for n in tree.body if isinstance(n, ast.If)]
    return any(isinstance(t, ast.Compare) and isinstance(t.left, ast.Name) and t.left.id == "__name__" for t in tests)


def wrapper_name(module: str) -> str:
    """'flash_attn.bert_padding' is imported from the added folder as 'flash_attn_bert_padding'."""
    return module.replace(".", "_")


def substitute(module: str, file: str, source: Source) -> tuple[Added, ...]:
    """The files that stand for a package's module: one that chooses, and the plain PyTorch with all it imports."""
    template = _VENDOR if source.target.style == "vendor" else _WRAPPER
    texts = {
        "__init__.py": PACKAGE,
        f"{wrapper_name(module)}.py": template.format(written=WRITTEN, module=module, file=file),
        "plain/__init__.py": f'{WRITTEN}\n"""Plain PyTorch, for any device."""\n',
        **{f"plain/{name}.py": _plain(name) for name in _with_imports(file)},
    }
    return placed(texts, source)


def placed(texts: dict[str, str], source: Source) -> tuple[Added, ...]:
    """Files of the added folder, wherever a file looks for it."""
    folders = [f"{f}/{FOLDER}" if f else FOLDER for f in home(source).folders]
    return tuple(Added(f"{folder}/{name}", text) for folder in folders for name, text in texts.items())


def _with_imports(file: str) -> list[str]:
    found = [file]
    for name in found:
        found += [
            n
            for n in re.findall(rf"^from {re.escape(_OURS)}(\w+) import", substitute_text(name), re.M)
            if n not in found
        ]
    return found


def _plain(file: str) -> str:
    return f"{WRITTEN}\n{substitute_text(file).replace(f'from {_OURS}', 'from .')}"

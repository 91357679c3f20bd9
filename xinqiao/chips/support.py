"""Does a chip have an operator at a dtype? Answered from tables; declared by the vendor, not measured."""

from functools import cache
from typing import Literal, NamedTuple

import msgspec
from msgspec import Struct

from xinqiao.chips.fused import kernel
from xinqiao.chips.names import base, family
from xinqiao.chips.read import TABLES
from xinqiao.chips.spec import Chip
from xinqiao.errors import InputError

OWN = "xinqiao::"  # the operators of xinqiao.ops
State = Literal["native", "fallback", "refused", "unknown"]
WIDE = (
    "float64",
    "complex128",
    "complex64",
    "complex32",
)  # what matrix chips leave out, so a page that omits it means it


class Answer(NamedTuple):
    """fallback: runs on the host, slowly. unknown: no source says; it is not 'unsupported'."""

    state: State
    reason: str
    source: str
    version: str


class Source(Struct, frozen=True, kw_only=True):
    """Where a table was read from."""

    source: str
    version: str
    licence: str
    attribution: str = ""


class Page(Struct, frozen=True, kw_only=True):
    """What the vendor's API pages say of one operator."""

    apis: list[str]
    supported: list[str]  # columns (products) that say yes
    dtypes: list[str]  # that the pages name; []: they name none


class Table(Struct, frozen=True, kw_only=True):
    """One vendor's declared kernels, by functional overload, and API pages, by base operator."""

    schema: int
    kernels_from: Source
    kernels: dict[str, str]
    pages_from: Source | None = None
    columns: list[str] = []
    pages: dict[str, Page] = {}


class Composition(Struct, frozen=True, kw_only=True):
    """PyTorch's own composition: what runs on any device as smaller operators, and odd overload names."""

    schema: int
    source: str
    version: str
    licence: str
    composed: set[str]
    variants: dict[str, str]


class Common(Struct, frozen=True, kw_only=True):
    """What holds on every chip."""

    schema: int
    source: str
    views: set[str]
    copies: set[str]
    aliases: dict[str, str]


def support(chip: Chip, operator: str, dtype: str) -> Answer:
    """Answer for an operator such as 'aten::addmm.out' at a dtype such as 'float32'.

    In-place and out variants are answered by the overload that they compute; a vendor's own operator under
    PyTorch's name for it ('_scaled_dot_product_fused_attention_overrideable') by what it stands for.
    """
    if operator.startswith(OWN):
        return _own(chip, operator.removeprefix(OWN), dtype)
    common = _common()
    if "::" in operator and not operator.startswith("aten::"):
        return Answer("unknown", f"{operator} is not one of PyTorch's own operators", "", "")
    name = base(operator)
    if name in common.views:
        return Answer("native", "a view, metadata or allocation", common.source, "")
    if chip.dtypes.state(dtype) == "refused":
        return Answer("refused", f"{chip.title} refuses {dtype}", chip.dtypes.source, "")
    if name in common.copies:
        return Answer("native", "a copy", common.source, "")
    if not chip.software.operators:
        return Answer("unknown", f"no operator list of {chip.title} is known", "", "")
    overload = operator.removeprefix("aten::")
    return _from_table(chip, _torch().variants.get(overload) or family(overload), dtype)


def _own(chip: Chip, operator: str, dtype: str) -> Answer:
    """Native as the vendor's kernel, or, where the dtype is native, composed of PyTorch's operators."""
    state = chip.dtypes.state(dtype)
    if state == "refused":
        return Answer("refused", f"{chip.title} refuses {dtype}", chip.dtypes.source, "")
    found = kernel(chip, operator)
    if found and dtype in found.dtypes:
        return Answer("native", f"the vendor has {found.name}", found.source, "")
    if state == "partial":
        reason = f"composed of PyTorch's operators; {chip.title} has some of them in {dtype}"
        return Answer("unknown", reason, chip.dtypes.source, "")
    if state == "unknown":
        reason = f"composed of PyTorch's operators; nothing says whether {chip.title} has {dtype}"
        return Answer("unknown", reason, chip.dtypes.source, "")
    return Answer("native", "composed of PyTorch's operators", "xinqiao.ops.reference", "")


def _from_table(chip: Chip, overload: str, dtype: str) -> Answer:
    table, torch, name = _table(chip.software.operators), _torch(), base(overload)
    alias = _common().aliases.get(name, "")
    kernel = next((key for key in (overload, alias) if key in table.kernels), "")
    if not kernel and not torch.composed.isdisjoint((overload, alias)):
        return Answer("native", "PyTorch composes it of other operators", torch.source, torch.version)
    page = table.pages.get(name) or table.pages.get(alias)
    if page and chip.software.pages and (answer := _from_page(chip, table, page, kernel, dtype)):
        return answer
    declared = table.kernels_from
    if kernel:
        return Answer(
            "native",
            f"kernel {kernel} is declared ({table.kernels[kernel]})",
            declared.source,
            declared.version,
        )
    others = sorted(key for key in table.kernels if base(key) == name)
    reason = (
        f"declared for {', '.join(others)} only" if others else f"no kernel {overload} is declared; it may still run"
    )
    return Answer("unknown", reason, declared.source, declared.version)


def _from_page(chip: Chip, table: Table, page: Page, kernel: str, dtype: str) -> Answer | None:
    """What the vendor's API pages settle; None where they leave it to the declared kernels."""
    about = table.pages_from
    assert about is not None  # a table with pages names their source
    column, kernels = chip.software.pages, table.kernels_from
    if column not in table.columns:
        raise InputError(f"{chip.name}: software.pages: '{column}' is not one of {', '.join(table.columns)}")
    apis = ", ".join(page.apis)
    if column not in page.supported:
        said = f"the page of {apis} says no for {column}"
        if kernel:
            reason = f"sources disagree: kernel {kernel} is declared, {said}"
            return Answer("unknown", reason, f"{kernels.source}; {about.source}", f"{kernels.version}; {about.version}")
        state = _policy(chip.software.unsupported_operator)
        return Answer(state, f"{said}, and no kernel is declared", about.source, about.version)
    if not page.dtypes or dtype in page.dtypes:
        return None
    only = f"the page of {apis} lists {', '.join(page.dtypes)} only"
    if dtype in WIDE:
        return Answer(_policy(chip.software.unsupported_dtype), only, about.source, about.version)
    if not kernel:
        return None
    return Answer("unknown", f"kernel {kernel} is declared, but {only}", about.source, about.version)


def _policy(software: Literal["fallback", "refuse", "unknown"]) -> State:
    return "refused" if software == "refuse" else software


@cache
def _table(name: str) -> Table:
    return msgspec.json.decode((TABLES / f"{name}.json").read_bytes(), type=Table)


@cache
def _torch() -> Composition:
    return msgspec.json.decode((TABLES / "torch.json").read_bytes(), type=Composition)


@cache
def _common() -> Common:
    return msgspec.json.decode((TABLES / "common.json").read_bytes(), type=Common)

"""How a port writes what depends on the device: by PyTorch's words for any device, or by one vendor's own."""

from xinqiao.port.source import Source

# Names that a rewritten file defines once, after its imports, in the agnostic style.
ACCELERATOR = "ACCELERATOR"  # the device's name; 'cuda' where there is no accelerator, as before the port
MODULE = "ACCELERATOR_MODULE"  # torch.cuda, or the same of another device


def _vendor(source: Source) -> str:
    """The chip's device name in the vendor style, else ''."""
    return source.target.chip.torch.device if source.target.style == "vendor" else ""


def name_of(module: str, source: Source) -> str | None:
    """What the file calls a module at its top level, the plain name before an alias; None where it is not imported."""
    names = [name for name, value in source.scopes.names_at_top().items() if value == module]
    return next((n for n in names if n == module), names[0] if names else None)


def torch_name(source: Source) -> str:
    """What the file calls torch; 'torch' where it does not import it yet."""
    return name_of("torch", source) or "torch"


def device(source: Source) -> str:
    """An expression for the device's name."""
    return f'"{name}"' if (name := _vendor(source)) else ACCELERATOR


def device_inside_text(source: Source) -> str:
    """The device's name as a part of an f-string."""
    return _vendor(source) or f"{{{ACCELERATOR}}}"


def device_string(value: str, written: str, source: Source) -> str:
    """The expression instead of a string 'cuda' or 'cuda:0', in the original's quotes."""
    rest = value.removeprefix("cuda")
    quote = '"' if '"' in written else "'"
    if name := _vendor(source):
        return f"{quote}{name}{rest}{quote}"
    if not rest:
        return ACCELERATOR
    return f"f{quote}{{{ACCELERATOR}}}{rest.replace('{', '{{').replace('}', '}}')}{quote}"


def portable(name: str, cuda_name: str, source: Source) -> str:
    """A name that torch has for every device; the vendor's module has it under the name that torch.cuda uses."""
    if name.startswith("accelerator.") and (own := _vendor(source)):
        return f"{torch_name(source)}.{own}.{cuda_name}"
    return f"{torch_name(source)}.{name}"


def vendors_own(name: str, source: Source) -> str:
    """What the vendor calls something of CUDA's ('torch.cuda.CUDAGraph'), in the file's words; '' if not known."""
    functions = source.target.chip.platform.functions
    known = next((k for k in (name, *_above(name)) if k in functions), "")
    if not functions.get(known):
        return ""
    return (functions[known] + name.removeprefix(known)).replace("torch.", f"{torch_name(source)}.", 1)


def _above(name: str) -> list[str]:
    """'torch.cuda.nvtx.mark' → ['torch.cuda.nvtx', 'torch.cuda', 'torch']."""
    parts = name.split(".")
    return [".".join(parts[:n]) for n in range(len(parts) - 1, 0, -1)]


def module(part: str, source: Source) -> str:
    """A part of the device's own module, or the module itself for ''."""
    base = f"{torch_name(source)}.{name}" if (name := _vendor(source)) else MODULE
    return f"{base}.{part}" if part else base


def distributed(source: Source) -> str:
    """What the file calls torch.distributed."""
    return name_of("torch.distributed", source) or f"{torch_name(source)}.distributed"


def backend(source: Source) -> str:
    """An expression for the name of the device's collective back end."""
    if _vendor(source):
        return f'"{source.target.chip.torch.collective}"'
    return f"{distributed(source)}.get_default_backend_for_device({ACCELERATOR})"

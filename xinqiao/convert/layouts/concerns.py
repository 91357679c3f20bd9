"""What a user must know of programs that would read a result wrongly, or not at all."""

from collections.abc import Iterable, Iterator

from xinqiao.convert.layouts.configs import loaders
from xinqiao.convert.layouts.select import ONE_TENSOR
from xinqiao.convert.layouts.table import LAYOUTS

Row = tuple[str, tuple[int, ...], str]  # a weight, its shape, its layout or something else
_EXPERTS_UNREAD = ("int8-channel", "mxfp8")
_METHODS_UNKNOWN = ("int8-block", "hif8")


def concerns(weights: Iterable[Row]) -> list[str]:
    """Sentences about a checkpoint of these weights; what they say of transformers was found by running 5.24."""
    weights = list(weights)
    rows = [row for row in weights if row[2] in LAYOUTS and LAYOUTS[row[2]].scale]
    return [*_mixture(rows), *_uneven(rows), *_unread(rows), *_whole(weights if rows else [])]


def _mixture(rows: list[Row]) -> Iterator[str]:
    formats = {row[2] for row in rows}
    if not loaders(formats):
        yield f"no known program but this one loads {' and '.join(sorted(formats))} in one checkpoint"


def _uneven(rows: list[Row]) -> Iterator[str]:
    """transformers takes a block to be the matrix's size over the number of scales."""
    uneven = [
        name
        for name, shape, layout in rows
        if LAYOUTS[layout].block == (128, 128) and any(size > 128 and size % 128 for size in shape[-2:])
    ]
    if uneven:
        yield (
            f"the sizes of {len(uneven)} weights, such as {uneven[0]}, are no multiples of 128: transformers refuses "
            "their blocks or divides them wrongly; vLLM and SGLang read them; mxfp8 has no such blocks"
        )


def _whole(weights: list[Row]) -> Iterator[str]:
    whole = [name for name, _, layout in weights if ONE_TENSOR.search(name) and layout not in LAYOUTS]
    if whole:
        yield (
            f"the experts in {len(whole)} parameters, such as {whole[0]}, stay in full precision; to quantise them, "
            "write them one by one first, as transformers' save_pretrained does for most models"
        )


def _unread(rows: list[Row]) -> Iterator[str]:
    experts = sorted({layout for name, _, layout in rows if ".experts." in name and layout in _EXPERTS_UNREAD})
    if experts:
        yield f"transformers does not read experts in {' and '.join(experts)}; vLLM does"
    unknown = sorted({layout for _, _, layout in rows if layout in _METHODS_UNKNOWN})
    if unknown:
        yield f"transformers does not know {' and '.join(unknown)}, and would take codes for weights"

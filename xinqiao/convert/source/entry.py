"""Where the tensors of a checkpoint lie."""

from pathlib import Path
from typing import Any

import msgspec


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One tensor: `nbytes` bytes at `offset` of `file`.

    dtype    as safetensors names it ('F32', 'BF16', 'F8_E4M3'), or a type of GGUF ('Q4_0')
    shape    row-major; of packed 4-bit types in elements of `dtype`
    permute  heads whose rows are stored with their two halves interleaved, as GGUF does for rotary embeddings; 0: none
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    offset: int
    nbytes: int
    permute: int = 0


class Checkpoint(msgspec.Struct, frozen=True):
    """A checkpoint's tensors, in the files' order, and what lies beside them.

    config    config.json; {} where there is none
    others    files to copy: tokenizer, generation settings, license
    texts     files that do not exist, made from the source: a tokenizer out of a GGUF file
    """

    path: Path
    kind: str
    entries: dict[str, Entry]
    config: dict[str, Any]
    others: tuple[Path, ...] = ()
    texts: dict[str, bytes] = {}
    warnings: tuple[str, ...] = ()

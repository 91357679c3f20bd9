"""Shell scripts set the chip's variables too, and ask its tools.

What it does: `CUDA_VISIBLE_DEVICES=...`, set, exported, put before a command or read, comes with the vendor's variable
of the same meaning, and so do the variables of CUDA and NCCL that have a counterpart; `nvidia-smi` alone falls back to
the vendor's tool; `--nproc_per_node=gpu` becomes `auto`; `torch==2.1.0+cu118` loses the build's name. Devices and back
ends on command lines, CUDA's wheels and indexes, `module load cuda`, compilers, profilers, containers and schedulers
need you. In the vendor style names are replaced instead. Quotes, here-documents and comments stay as they are.
Why: another chip's software does not read CUDA's variables, and its tools have other names.
Unsafe when: the program itself treats the vendor's variable in its own way.
Source: PyTorch's torch/distributed/run.py for 'auto'; PEP 440 for '+cu118'; the chip's platform file for the names.

    export CUDA_VISIBLE_DEVICES=0,1        →    export CUDA_VISIBLE_DEVICES=0,1 VENDOR_VISIBLE_DEVICES=0,1
"""

import re
from collections.abc import Iterator

from xinqiao.port.files.advice import ASK, OWN_MAKER, is_cudas_own, needs_you
from xinqiao.port.files.commands import Site, places
from xinqiao.port.files.programs import SCHEDULER
from xinqiao.port.files.text import NotReadable, Place, Text
from xinqiao.port.words import is_bound

_DIRECTIVE = re.compile(r"^[ \t]*#(?:SBATCH|PBS|BSUB|\$)[ \t].*", re.MULTILINE)
_GPUS = re.compile(r"\S*gpu\S*", re.IGNORECASE)
_VARIABLE = re.compile(r"^[ \t]*(export[ \t]+)?([A-Za-z_]\w*)=", re.MULTILINE)


def find(text: Text) -> Iterator[Place]:
    """NotReadable where the script's quotes or brackets do not close."""
    for line in _DIRECTIVE.finditer(text.text):
        if option := _GPUS.search(line[0]):
            advice = OWN_MAKER if is_cudas_own(text.target) else needs_you(SCHEDULER)
            yield Place(line.start() + option.start(), line.start() + option.end(), advice.verdict, advice.reason)
    yield from places(Site(text.text, text.target))


def find_in_variables(text: Text) -> Iterator[Place]:
    """A file of variables, one a line, as .env files are."""
    names = frozenset(m[2] for m in _VARIABLE.finditer(text.text))
    for begin, line in text.lines():
        found = _VARIABLE.match(line)
        if found is None:
            continue
        site = Site(text.text, text.target, text.newline + (found[1] or ""), names)
        try:
            yield from places(site, begin, begin + len(line))
        except NotReadable:
            if is_bound(line):
                yield Place(begin, begin + len(line), "needs-you", ASK)

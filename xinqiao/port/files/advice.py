"""What to do about one CUDA-bound value outside Python, wherever it stands."""

from dataclasses import dataclass

from xinqiao.port.target import Target
from xinqiao.record.schema import Verdict

CUDA_VENDOR = "NVIDIA"


@dataclass(frozen=True)
class Advice:
    """text: what to write instead where the verdict is 'rewritten'."""

    verdict: Verdict
    reason: str
    text: str = ""


SAME_DEVICE = Advice("safe", "this chip's PyTorch device is 'cuda'")
OWN_MAKER = Advice("safe", "this chip is of the same maker")
ASK = "a CUDA word outside Python: decide whether another device needs another one"


def is_cudas_own(target: Target) -> bool:
    """Whether CUDA's own packages, images and tools are the chip's."""
    return target.chip.vendor == CUDA_VENDOR


def needs_you(reason: str) -> Advice:
    return Advice("needs-you", reason)


def refused(reason: str) -> Advice:
    return Advice("refused-by-chip", reason)


def safe(reason: str) -> Advice:
    return Advice("safe", reason)

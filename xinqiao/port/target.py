"""What a port is for: a chip, a style of writing, and how far it may go."""

from dataclasses import dataclass
from typing import Literal

from xinqiao.chips.spec import Chip

Style = Literal["agnostic", "vendor"]


@dataclass(frozen=True)
class Target:
    """style: 'agnostic' runs on any device; 'vendor' is written for the chip's own. risky: apply risky rewrites too."""

    chip: Chip
    style: Style = "agnostic"
    risky: bool = False

    @property
    def audit(self) -> bool:
        """Whether the chip's PyTorch device is 'cuda' already, so that names stay as they are."""
        return self.chip.torch.device == "cuda"

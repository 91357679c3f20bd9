"""What every operator of an iteration needs to know."""

from collections.abc import Iterator
from typing import NamedTuple

from xinqiao.cost.kernel import Kernel, elementwise, gemm, stored
from xinqiao.cost.software import Software
from xinqiao.size.model import Model
from xinqiao.size.plan import Batch, Formats, Plan


class Context(NamedTuple):
    """imbalance: load of the busiest device's experts over the mean. redundant: copies of experts that lower it."""

    model: Model
    plan: Plan
    formats: Formats
    software: Software
    batch: Batch
    imbalance: float = 1.0
    redundant: int = 0

    @property
    def tokens(self) -> float:
        """Of a replica that one device of a context-parallel group computes."""
        return self.batch.tokens / self.plan.cp

    @property
    def quantised(self) -> bool:
        """Products read activations of 8 bits."""
        return stored(self.formats.activations or self.formats.weights) < 2

    @property
    def eight(self) -> str:
        """The format of products that want 8 bits: the weights' where that is one, else attention's."""
        product = self.formats.activations or self.formats.weights
        return "int8" if product == "int8" else "fp8" if self.quantised else self.formats.attention

    def linear(self, name: str, n: float, k: float, *, rows: float = 0.0) -> Iterator[tuple[str, Kernel]]:
        """[rows, k] × [k, n]; and the kernel that quantises its input, where the software has one of its own."""
        rows = rows or self.tokens
        yield from self.quantise(name, rows * k)
        yield name, gemm(rows, n, k, self.formats.weights, inputs=self.formats.activations)

    def quantise(self, name: str, numbers: float) -> Iterator[tuple[str, Kernel]]:
        if self.quantised and not self.software.fused_quantise:
            yield f"{name}: quantise", elementwise(numbers, passes=1.5)

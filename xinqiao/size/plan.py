"""How a model is spread over devices, and what they store it in."""

from typing import NamedTuple

from msgspec import Struct


class Plan(Struct, frozen=True):
    """Degrees of parallelism, in devices as PyTorch sees them: a package of two dies is two.

    tp   tensor: every matrix is split
    pp   pipeline: layers in stages
    dp   data: replicas of attention, each with its own sequences
    ep   expert: devices that share one layer's experts; up to tp × dp of them
    cp   context: one sequence's tokens are split
    """

    tp: int = 1
    pp: int = 1
    dp: int = 1
    ep: int = 1
    cp: int = 1

    @property
    def devices(self) -> int:
        return self.tp * self.pp * self.dp * self.cp


class Formats(Struct, frozen=True):
    """Number formats by part; keys of `cost.kernel.BITS`.

    weights      of linear layers; `experts` of routed experts ('': the same)
    activations  that products read ('': as the weights, in 16 bits where they are kept in fewer than 8)
    cache        of the KV cache
    attention    of the products inside attention
    plain        of what stays unquantised: embeddings, norms, router, head
    """

    weights: str = "bf16"
    activations: str = ""
    cache: str = "bf16"
    attention: str = "bf16"
    experts: str = ""
    plain: str = "bf16"


class Batch(NamedTuple):
    """What one replica (its tp × cp devices) computes in one iteration.

    sequences  that decode, each with `context` tokens before it and `queries` new ones
    prefill    tokens of prompts, of `length` tokens each that come after `before` cached ones
    """

    sequences: float = 0.0
    context: float = 0.0
    queries: float = 1.0
    prefill: float = 0.0
    length: float = 0.0
    before: float = 0.0
    trained: bool = False  # the head sees every token, not only the last of a prompt

    @property
    def tokens(self) -> float:
        return self.sequences * self.queries + self.prefill

    def seen(self, window: int = 0) -> float:
        """Tokens that a prompt's mean token attends to: those before it, within the window where there is one."""
        mean = self.before + (self.length + 1) / 2
        if not window or self.before + self.length <= window:
            return mean
        growing = max(window - self.before, 0.0)  # tokens whose window is not full yet
        return window - growing * (growing - 1) / 2 / self.length

    @property
    def results(self) -> float:
        """Rows that the head turns into logits."""
        prompts = self.prefill / (1.0 if self.trained else self.length) if self.prefill else 0.0
        return self.sequences * self.queries + prompts

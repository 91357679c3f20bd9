"""Experts on several processes: tokens are sent to the processes that hold their experts, and results come back.

No token is dropped: every process receives as many rows as the others have for it. What a token gets is, bit for bit,
what one process would give it that holds all experts and the tokens of all processes, those of process 0 first: an
expert sees the same rows in the same order, and its results are weighted and added where the token came from, in the
order of choice. Gradients are equal within rounding; where an expert has replicas, its gradient is the sum of theirs.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from xinqiao.errors import InputError
from xinqiao.ops.moe import experts
from xinqiao.ops.reference.moe import combine
from xinqiao.ops.shapes import Sizes


@dataclass(frozen=True, slots=True)
class Sent:
    """Rows that this process has received.

    rows     [m, hidden], by its slots, in each by the process that sent them and then in that one's order
    offsets  int64 [slots]: where the rows of each slot end
    """

    rows: Tensor
    offsets: Tensor
    _chosen: Tensor
    _places: Tensor  # of `chosen`, flattened, by global slot
    _back: Tensor  # for each row as it was received, where it is in `rows`
    _splits: tuple[list[int], list[int]]  # rows to each process, rows from each process


class ExpertParallel:
    """Experts in slots of the processes of `group`.

    experts  how many there are
    places   int64 [processes, slots]: the expert in each slot, the same in every process, as `placement.place` makes
             it; each expert in one slot or more, among which tokens alternate. None: experts / processes each, in order
    group    of torch.distributed; None: all processes
    """

    def __init__(self, experts: int, places: Tensor | None = None, group: dist.ProcessGroup | None = None) -> None:
        size = dist.get_world_size(group)
        if places is None:
            if experts % size:
                raise InputError(f"ExpertParallel: experts = {experts}, expected a multiple of the {size} processes")
            places = torch.arange(experts).view(size, -1)
        if places.ndim != 2 or places.shape[0] != size:
            raise InputError(f"ExpertParallel: places has shape {list(places.shape)}, expected [{size}, slots]")
        counts = torch.bincount(places.flatten(), minlength=experts)
        if len(counts) > experts or not counts.all():
            raise InputError(f"ExpertParallel: places must name each expert from 0 to {experts - 1}")
        self.group, self.size, self.slots = group, size, places.shape[1]
        self.held = places[dist.get_rank(group)]  # the experts that this process holds
        self._counts = counts
        self._first = counts.cumsum(0) - counts
        self._slots_of = places.flatten().argsort(stable=True)  # by expert

    def dispatch(self, x: Tensor, chosen: Tensor) -> Sent:
        """Rows for this process's experts, from all processes. x [tokens, hidden]; chosen [tokens, top_k], -1: none."""
        sizes = Sizes("dispatch")
        sizes.check("x", x, "tokens hidden")
        sizes.check("chosen", chosen, "tokens top_k", (torch.int64, torch.int32))
        slots = self._slots(chosen).flatten()
        places = slots.argsort(stable=True)[int((slots < 0).sum()) :]
        counts = torch.bincount(slots[places], minlength=self.size * self.slots).view(self.size, self.slots)
        received = torch.empty_like(counts)
        dist.all_to_all_single(received, counts, group=self.group)
        splits = counts.sum(1).tolist(), received.sum(1).tolist()
        top_k = chosen.shape[1]
        each = x[:, None].expand(-1, top_k, -1)  # so that the gradient of a token is one sum, rounded once
        rows = _exchange(each[places // top_k, places % top_k], *splits, self.group)
        slot = torch.arange(self.slots, device=x.device).repeat(self.size).repeat_interleave(received.flatten())
        order = slot.argsort(stable=True)
        return Sent(rows[order], received.sum(0).cumsum(0), chosen, places, order.argsort(), splits)

    def combine(self, found: Tensor, sent: Sent, weights: Tensor) -> Tensor:
        """Results of `sent.rows`, in their order, weighted and added for each token: [tokens, hidden].

        weights [tokens, top_k]. The sum is fp32 (fp64 for fp64), from the first choice to the last, rounded once.
        """
        here, there = sent._splits
        rows = _exchange(found[sent._back], there, here, self.group)
        each = found.new_zeros(sent._chosen.numel(), found.shape[1]).index_copy(0, sent._places, rows)
        return combine(each.view(*sent._chosen.shape, found.shape[1]), weights, sent._chosen >= 0)

    def experts(
        self, x: Tensor, weights: Tensor, chosen: Tensor, gate_up: Tensor, down: Tensor, **scales: Any
    ) -> Tensor:
        """`moe.experts` over all processes; gate_up, down and their scales are of `held`, [slots, ...]."""
        sent = self.dispatch(x, chosen)
        lengths = sent.offsets.diff(prepend=sent.offsets.new_zeros(1))
        slot = torch.arange(self.slots, device=x.device).repeat_interleave(lengths)[:, None]
        once = torch.ones_like(slot, dtype=x.dtype)
        return self.combine(experts(sent.rows, once, slot, gate_up, down, **scales), sent, weights)

    def _slots(self, chosen: Tensor) -> Tensor:
        """The slot, counted over all processes, that each choice goes to; -1 stays."""
        counts, first, slots_of = (t.to(chosen.device) for t in (self._counts, self._first, self._slots_of))
        known = chosen.long().clamp(min=0)
        turn = torch.arange(chosen.numel(), device=chosen.device).view(chosen.shape) % counts[known]
        return torch.where(chosen < 0, -1, slots_of[first[known] + turn])


class _AllToAll(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, to: list[int], origin: list[int], group: dist.ProcessGroup | None) -> Tensor:
        ctx.splits, ctx.group = (to, origin), group
        found = rows.new_empty(sum(origin), rows.shape[1])
        dist.all_to_all_single(found, rows.contiguous(), origin, to, group)
        return found

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        to, origin = ctx.splits
        return _exchange(grads[0], origin, to, ctx.group), None, None, None


def _exchange(rows: Tensor, to: list[int], origin: list[int], group: dist.ProcessGroup | None) -> Tensor:
    """Rows to each process, those for process 0 first; rows from each process, in that order."""
    found: Tensor = _AllToAll.apply(rows, to, origin, group)
    return found

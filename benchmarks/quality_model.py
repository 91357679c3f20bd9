"""A model in fp32 with the weights of any checkpoint that `xinqiao convert` wrote, and its scores."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from quality_table import Row, Score
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

from xinqiao.convert.files import Maps
from xinqiao.convert.kernels import Matrix, kernels, recode
from xinqiao.convert.layouts.reading import pair
from xinqiao.convert.reader import Grid, Reader
from xinqiao.convert.source import open_checkpoint
from xinqiao.native.codec import row_bytes


class Rounding(NamedTuple):
    """What an activation is rounded to: element, rows and columns of a block (0: all), how the scale is chosen."""

    element: str
    block: tuple[int, int] = (0, 0)
    scale: str | None = None


class Case(NamedTuple):
    """A row of the table: its checkpoint, and what activations are rounded to."""

    row: Row
    folder: Path
    rounding: Rounding | None


def rounded(x: Tensor, how: Rounding) -> Tensor:
    """fp32 after it was stored as `how` says."""
    values = x.reshape(-1, x.shape[-1]).contiguous()
    rows, columns = values.shape
    grid = Grid.of(rows, columns, how.block)
    scales = bytearray(4 * grid.rows * grid.columns) if how.scale else None
    stored = Matrix(how.element, bytearray(rows * row_bytes(how.element, columns)), scales, how.block)
    kernels().convert(Matrix("f32", buffer(values)), stored, rows, columns, how.scale, "ceil", None)
    found = torch.empty_like(values)
    recode(stored, Matrix("f32", buffer(found)), rows, columns)
    return found.view(x.shape)


def buffer(values: Tensor) -> memoryview:
    return memoryview(values.numpy()).cast("B")


def weights_of(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """Every weight of a checkpoint, decoded to fp32."""
    checkpoint = open_checkpoint(folder, allow_pickle=False, scratch=None)
    with Maps() as maps:
        for weight in pair(checkpoint.entries, checkpoint.config):
            reader = Reader(weight, maps)
            found = torch.empty(reader.stack * reader.rows, reader.columns)
            for panel in reader.panels((1, 0)):
                begin = panel.matrix * reader.rows + panel.first
                target = Matrix("f32", buffer(found[begin : begin + panel.rows]))
                recode(reader.matrix(panel), target, panel.rows, reader.columns)
            yield weight.name, found.view(weight.shape)


class Scorer:
    """A model in fp32 that takes the weights of one checkpoint after the other."""

    def __init__(self, folder: Path) -> None:
        self.model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder), dtype=torch.float32).eval()
        self.rounding: Rounding | None = None
        self._last: tuple[Tensor, Tensor] | None = None  # q, k and v get the same input
        for name, module in self.model.named_modules():
            if isinstance(module, nn.Linear) and name != "lm_head":
                module.register_forward_pre_hook(self._round)

    def _round(self, _: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        if self.rounding is None:
            return inputs
        if self._last is None or self._last[0] is not inputs[0]:
            self._last = (inputs[0], rounded(inputs[0], self.rounding))
        return (self._last[1],)

    def load(self, folder: Path) -> None:
        for name, values in weights_of(folder):
            self.model.get_parameter(name).copy_(values)

    def logarithms(self, ids: Tensor, rounding: Rounding | None) -> Tensor:
        """log-probabilities of every token but the first, [tokens - 1, vocabulary]."""
        self.rounding, self._last = rounding, None
        return torch.log_softmax(self.model(ids[None]).logits[0, :-1], -1)


def start(cases: list[Case]) -> None:
    """Make this process ready for `score`; the first case is the one that the others are compared with."""
    global scorer, compared_cases
    torch.set_num_threads(1)
    scorer, compared_cases = Scorer(cases[0].folder), cases


@torch.inference_mode()
def score(windows: Tensor) -> list[list[Score]]:
    """For each case, the scores of these windows."""
    found: list[list[Score]] = []
    base: list[Tensor] = []
    loaded = None
    for case in compared_cases:
        if case.folder != loaded:
            scorer.load(case.folder)
            loaded = case.folder
        base = base or [scorer.logarithms(ids, case.rounding) for ids in windows]
        said = (scorer.logarithms(ids, case.rounding) for ids in windows) if found else base
        found.append([compared(*each) for each in zip(said, base, windows, strict=True)])
    return found


def compared(said: Tensor, base: Tensor, ids: Tensor) -> Score:
    loss = -said.gather(1, ids[1:, None]).double().mean().item()
    apart = (base.exp() * (base - said)).sum(-1).double().mean().item()
    return Score(loss, apart, (said.argmax(-1) == base.argmax(-1)).double().mean().item())

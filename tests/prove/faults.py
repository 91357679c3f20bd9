"""Faults that a port may have: what is written instead of what, and where the proof must point.

Each is one change to a right port (tests/prove/project/port). The line that must be named is the changed one, or where
its effect first shows on the device: `at` names that by a text in the ported file.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """old, new: texts in `file`. at: (file, a text on the line that must be named); None: the changed line itself."""

    name: str
    file: str
    old: str
    new: str
    at: tuple[str, str] | None = None
    ranks: int = 1


FAULTS = [
    # formats and mixed precision
    Fault("another autocast dtype", "train.py", "dtype=torch.float16", "dtype=torch.bfloat16"),
    Fault("a lost autocast", "train.py", "dtype=torch.float16)", "dtype=torch.float16, enabled=False)"),
    Fault("a lost loss scale", "train.py", "GradScaler(ACCELERATOR, enabled=True)", "GradScaler(ACCELERATOR, enabled=False)",
          ("train.py", "scaler.scale(loss)")),
    Fault("scaled gradients clipped", "train.py", "    scaler.unscale_(optimizer)\n", ""),
    Fault("logits not widened", "model.py", "logits.float()", "logits"),
    Fault("attention in float32", "model.py", "q = rotary(q)", "q = rotary(q).float(); k = k.float()"),
    Fault("positions in float64", "model.py", "100.0 **", "torch.tensor(100.0, dtype=torch.float64, device=x.device) **"),
    # attention
    Fault("a lost causal mask", "model.py", ", is_causal=True", ""),
    Fault("another softmax scale", "model.py", "is_causal=True", "is_causal=True, scale=0.5"),
    Fault("heads interleaved the other way", "model.py", "k = k.view(B, T, self.heads // self.groups, -1).transpose(1, 2).repeat_interleave(self.groups, dim=1)",
          "k = k.view(B, T, self.heads // self.groups, -1).transpose(1, 2).repeat(1, self.groups, 1, 1)"),
    Fault("rotation the other way", "model.py", "a * angles.sin() + b", "b * angles.cos() - a * angles.sin(), -a * angles.sin() + b"),
    Fault("keys not rotated", "model.py", "        k = rotary(k)\n", ""),
    # layers
    Fault("another epsilon", "model.py", "eps=1e-5", "eps=1e-3", ("model.py", "self.norm2(x)")),
    Fault("another dropout", "model.py", "nn.Dropout(0.1)", "nn.Dropout(0.2)", ("model.py", "self.drop(")),
    Fault("another GELU", "model.py", ', approximate="tanh"', ""),
    Fault("lost class weights", "model.py", ", targets, self.weights", ", targets"),
    # the loop
    Fault("a lost zero_grad", "train.py", "    optimizer.zero_grad(set_to_none=True)\n", "", ("train.py", "scaler.scale(loss)")),
    Fault("a lost eval()", "train.py", "    model.eval()\n", "", ("model.py", "self.drop(")),
    Fault("a lost no_grad", "train.py", "with torch.no_grad()", "with torch.enable_grad()"),
    Fault("another optimizer", "train.py", "torch.optim.AdamW", "torch.optim.Adam", ("train.py", "scaler.step(")),
    Fault("a lost schedule", "train.py", "        schedule.step()\n", "", ("train.py", "scaler.step(")),
    Fault("gradients not clipped", "train.py", "    torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)\n", ""),
    # random numbers and data
    Fault("a swapped seed", "train.py", "common.seed_all(1337)", "common.seed_all(1338)", ("common.py", "manual_seed")),
    Fault("another seed for the device", "common.py", "ACCELERATOR_MODULE.manual_seed_all(seed)", "ACCELERATOR_MODULE.manual_seed_all(seed + 1)"),
    Fault("other data", "common.py", "torch.Generator().manual_seed(seed)", "torch.Generator().manual_seed(seed + 1)",
          ("common.py", "ids.to(")),
    Fault("a random state not restored", "common.py", '    ACCELERATOR_MODULE.set_rng_state(state["rng"].cpu())\n', "    torch.manual_seed(0)\n"),
    # where things are
    Fault("a dropped map_location", "common.py", "map_location=ACCELERATOR", 'map_location="cpu"'),
    Fault("evaluation on the host", "train.py", "(logits.argmax(-1) == targets).sum()", "(logits.cpu().argmax(-1) == targets.cpu()).sum()"),
    Fault("data left on the host", "common.py", "(ids.sum(1) % 8).to(ACCELERATOR)", "ids.sum(1) % 8", ("model.py", "F.cross_entropy")),
    Fault("an operator that falls back", "train.py", "torch.isin(targets, torch.tensor([1, 3], device=targets.device))",
          "torch.special.bessel_j0(targets.float()) > 2"),
    Fault("a CUDA call that is left", "train.py", "ACCELERATOR_MODULE.get_device_name()", "torch.cuda.device_count()"),
    Fault("a lost synchronize", "train.py", "    torch.accelerator.synchronize()\n", ""),
    # collectives
    Fault("gloo instead of the chip's", "common.py", "dist.get_default_backend_for_device(ACCELERATOR)", '"gloo"',
          ("common.py", "dist.all_reduce(parameter.grad)"), ranks=2),
    Fault("gradients not averaged", "common.py", "            dist.all_reduce(parameter.grad)\n", "", ranks=2),
    Fault("a sum instead of a mean", "common.py", "        value = value / world\n", "", ranks=2),
]  # fmt: skip

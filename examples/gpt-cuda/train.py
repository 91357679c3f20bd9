"""Train a small GPT on CUDA.

python train.py --dtype bfloat16
torchrun --nproc-per-node 2 train.py
"""

import argparse
import json
import os

import torch
import torch.distributed as dist
from torch.cuda.amp import GradScaler, autocast
from torch.nn.parallel import DistributedDataParallel as DDP

import checkpoint
from data import CHARS, CUDAPrefetcher, make_loader
from dist_utils import banner, mean_over_ranks, memory_report, seed_everything, setup
from model import GPT


def parse_args():
    p = argparse.ArgumentParser()
    p.add_argument("--device", default="cuda", help="cuda or cpu")
    p.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    p.add_argument("--optimizer", default="default", choices=["default", "foreach", "fused", "forloop"])
    p.add_argument("--steps", type=int, default=20)
    p.add_argument("--accumulate", type=int, default=2)
    p.add_argument("--batch-size", type=int, default=8)
    p.add_argument("--block-size", type=int, default=64)
    p.add_argument("--n-layer", type=int, default=3)
    p.add_argument("--n-head", type=int, default=4)
    p.add_argument("--n-embd", type=int, default=64)
    p.add_argument("--dropout", type=float, default=0.0)
    p.add_argument("--lr", type=float, default=3e-3)
    p.add_argument("--workers", type=int, default=1)
    p.add_argument("--seed", type=int, default=1337)
    p.add_argument("--compile", action="store_true")
    p.add_argument("--resume", action="store_true")
    p.add_argument("--out-dir", default="out")
    args = p.parse_args()
    args.vocab_size = len(CHARS)
    return args


def make_optimizer(args, model):
    kinds = {"default": {}, "foreach": {"foreach": True}, "fused": {"fused": True}, "forloop": {"foreach": False}}
    return torch.optim.AdamW(model.parameters(), lr=args.lr, betas=(0.9, 0.95), **kinds[args.optimizer])


def batches(args, loader, device):
    epoch = 0
    while True:
        loader.sampler.set_epoch(epoch)
        yield from CUDAPrefetcher(loader, device)
        epoch += 1


def main():
    args = parse_args()
    rank, local_rank, world_size = setup(args)
    seed_everything(args.seed)
    use_cuda = args.device == "cuda" and torch.cuda.is_available()
    device = torch.device("cuda", local_rank) if use_cuda else torch.device("cpu")
    if rank == 0:
        banner()
        os.makedirs(args.out_dir, exist_ok=True)

    model = GPT(args)
    if use_cuda:
        model = model.cuda()
        torch.cuda.reset_peak_memory_stats()
    optimizer = make_optimizer(args, model)
    dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[args.dtype]
    scaler = GradScaler(enabled=use_cuda and args.dtype == "float16")
    path = os.path.join(args.out_dir, "ckpt.pt")
    first = checkpoint.resume(path, model, optimizer, scaler, device, local_rank) if args.resume else 0
    run = torch.compile(model) if args.compile else model
    if world_size > 1:
        run = DDP(run, device_ids=[local_rank] if use_cuda else None)

    source = batches(args, make_loader(args, world_size, rank), device)
    for _ in range(first * args.accumulate):  # what the run that wrote the checkpoint has seen
        next(source)
    if use_cuda:
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
    losses = []
    for step in range(first, args.steps):
        total = 0.0
        for _ in range(args.accumulate):
            x, y = next(source)
            with autocast(enabled=use_cuda and args.dtype != "float32", dtype=dtype if args.dtype != "float32" else None):
                _, loss = run(x, y)
                loss = loss / args.accumulate
            scaler.scale(loss).backward()
            total = total + loss.detach()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad(set_to_none=True)
        losses.append(mean_over_ranks(total).item())
        if rank == 0:
            print(f"step {step:3d} loss {losses[-1]:.6f}")
        if rank == 0 and step + 1 == args.steps // 2:
            checkpoint.save(path, model, optimizer, scaler, step + 1)

    if use_cuda:
        end.record()
        torch.cuda.synchronize()
    if rank == 0:
        if use_cuda:
            print(f"{start.elapsed_time(end):.2f} ms on the GPU; {memory_report()}")
            torch.cuda.empty_cache()
        with open(os.path.join(args.out_dir, "losses.json"), "w") as f:
            json.dump(losses, f)
    if dist.is_initialized():
        dist.destroy_process_group()


if __name__ == "__main__":
    main()

"""Train a small classifier on Ascend NPUs, as a user of torch_npu writes it. Nothing in it knows of a virtual chip.

torchrun --nproc-per-node 2 train_npu.py
"""

import argparse
import os

import torch
import torch.distributed as dist
import torch.nn as nn
import torch.nn.functional as F
import torch_npu
from torch.nn.parallel import DistributedDataParallel as DDP
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler


class Classifier(nn.Module):
    def __init__(self, features=32, width=128, classes=8):
        super().__init__()
        self.up = nn.Linear(features, width)
        self.norm = nn.LayerNorm(width)
        self.middle = nn.Linear(width, width)
        self.head = nn.Linear(width, classes)

    def forward(self, x):
        x = F.gelu(self.norm(self.up(x)))
        return self.head(x + F.silu(self.middle(x)))


def samples(n=512, features=32, classes=8):
    """Points around one centre per class."""
    g = torch.Generator().manual_seed(7)
    centres = torch.randn(classes, features, generator=g)
    labels = torch.randint(classes, (n,), generator=g)
    return TensorDataset(centres[labels] + torch.randn(n, features, generator=g), labels)


def save(path, model, optimizer, scaler, epoch):
    torch.save(
        {
            "model": model.module.state_dict(),
            "optimizer": optimizer.state_dict(),
            "scaler": scaler.state_dict(),
            "epoch": epoch,
            "rng": torch.get_rng_state(),
            "npu_rng": torch.npu.get_rng_state(),
        },
        path,
    )


def load(path, model, optimizer, scaler):
    state = torch.load(path, map_location="npu:0")
    assert state["model"]["head.weight"].device == torch.device("npu:0")
    model.module.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    scaler.load_state_dict(state["scaler"])
    torch.set_rng_state(state["rng"].cpu())
    torch.npu.set_rng_state(state["npu_rng"].cpu())
    return state["epoch"]


def train_epoch(model, optimizer, scaler, loader, device, use_amp):
    for x, y in loader:
        x, y = x.to(device, non_blocking=True), y.npu(non_blocking=True)
        optimizer.zero_grad(set_to_none=True)
        with torch.npu.amp.autocast(enabled=use_amp, dtype=torch.float16):
            loss = F.cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
    loss = loss.detach()
    dist.all_reduce(loss)
    return loss.item() / dist.get_world_size()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--fp32", action="store_true")
    parser.add_argument("--checkpoint", default="npu.pt")
    args = parser.parse_args()

    if not torch.npu.is_available():
        raise SystemExit("no NPU")
    local_rank = int(os.environ["LOCAL_RANK"])
    torch.npu.set_device(local_rank)
    device = torch.device("npu", local_rank)
    dist.init_process_group(backend="hccl")
    rank = dist.get_rank()
    torch.manual_seed(1234)
    torch.npu.manual_seed_all(1234)

    model = DDP(Classifier().npu(), device_ids=[local_rank])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    scaler = torch.npu.amp.GradScaler(enabled=not args.fp32)
    dataset = samples()
    sampler = DistributedSampler(dataset, shuffle=True, seed=5)
    loader = DataLoader(dataset, batch_size=32, sampler=sampler, num_workers=1, pin_memory=True, drop_last=True)

    torch.npu.reset_peak_memory_stats()
    start, end = torch.npu.Event(enable_timing=True), torch.npu.Event(enable_timing=True)
    start.record()
    for epoch in range(args.epochs):
        sampler.set_epoch(epoch)
        loss = train_epoch(model, optimizer, scaler, loader, device, use_amp=not args.fp32)
        if rank == 0:
            print(f"epoch {epoch} loss {loss!r}", flush=True)
    end.record()
    torch.npu.synchronize()

    if rank == 0:
        save(args.checkpoint, model, optimizer, scaler, args.epochs)
        assert load(args.checkpoint, model, optimizer, scaler) == args.epochs
        print(f"time {start.elapsed_time(end):.3f} ms")
        print(f"peak {torch.npu.max_memory_allocated()} bytes")
        print(f"device {torch.npu.get_device_name()}")
    dist.barrier()
    torch.npu.empty_cache()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()

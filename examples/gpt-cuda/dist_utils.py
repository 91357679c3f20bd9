import os
import random
import subprocess

import torch
import torch.distributed as dist


def setup(args):
    """Returns (rank, local_rank, world_size). Started by torchrun, or alone."""
    if "RANK" not in os.environ:
        if args.device == "cuda":
            torch.cuda.set_device(0)
        return 0, 0, 1
    rank, local_rank = int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"])
    if args.device == "cuda":
        torch.cuda.set_device(local_rank)
        backend = "nccl" if dist.is_nccl_available() else "gloo"
    else:
        backend = "gloo"
    dist.init_process_group(backend=backend)
    return rank, local_rank, dist.get_world_size()


def seed_everything(seed):
    random.seed(seed)
    torch.manual_seed(seed)
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(seed)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cuda.matmul.allow_tf32 = False


def mean_over_ranks(value):
    if not dist.is_initialized():
        return value
    value = value.detach().clone()
    dist.all_reduce(value)
    return value / dist.get_world_size()


def banner():
    """One line about the card, if nvidia-smi is there."""
    try:
        out = subprocess.run(
            ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            check=True,
        )
        print(out.stdout.strip())
    except (FileNotFoundError, subprocess.CalledProcessError):
        pass
    if torch.cuda.is_available():
        props = torch.cuda.get_device_properties(torch.cuda.current_device())
        print(f"running on {props.name}, {props.total_memory / 1e9:.0f} GB")


def memory_report():
    if not torch.cuda.is_available():
        return ""
    peak = torch.cuda.max_memory_allocated() / 1e6
    free, total = torch.cuda.mem_get_info()
    return f"peak {peak:.1f} MB, {free / 1e9:.1f} of {total / 1e9:.1f} GB free"

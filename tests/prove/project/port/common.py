"""Set-up, data, checkpoints."""

import os
import random

import torch
import torch.distributed as dist

ACCELERATOR = (torch.accelerator.current_accelerator() or torch.device("cuda")).type
ACCELERATOR_MODULE = torch.get_device_module(ACCELERATOR)


def seed_all(seed):
    random.seed(seed)
    torch.manual_seed(seed)
    ACCELERATOR_MODULE.manual_seed_all(seed)


def start():
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world > 1:
        dist.init_process_group(dist.get_default_backend_for_device(ACCELERATOR))
        torch.accelerator.set_device_index(dist.get_rank())
    return world


def batches(steps, seed):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        ids = torch.randint(32, (8, 16), generator=generator)
        yield ids.to(ACCELERATOR), (ids.sum(1) % 8).to(ACCELERATOR)


def average_gradients(model, world):
    if world > 1:
        for parameter in model.parameters():
            dist.all_reduce(parameter.grad)
            parameter.grad /= world


def mean(value, world):
    if world > 1:
        dist.all_reduce(value)
        value = value / world
    return value


def save(path, model, optimizer):
    torch.save(
        {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "rng": ACCELERATOR_MODULE.get_rng_state()},
        path,
    )


def load(path, model, optimizer):
    state = torch.load(path, map_location=ACCELERATOR)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    ACCELERATOR_MODULE.set_rng_state(state["rng"].cpu())
    return torch.stack([v.norm() for v in state["model"].values()]).norm()

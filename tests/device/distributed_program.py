"""DDP, FSDP2 and the collectives under a chip's own back end. Arguments: device, package, back end."""

import copy
import importlib
import sys

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel as DDP

device, package, backend = sys.argv[1:4]
if package:
    importlib.import_module(package)
dist.init_process_group(backend)
rank, size = dist.get_rank(), dist.get_world_size()
torch.get_device_module().set_device(rank)
assert dist.get_backend() == backend


def full(value, *shape):
    return torch.full(shape or (4,), float(value), device=device)


x = full(rank + 1)
dist.all_reduce(x)
assert x.tolist() == [3.0] * 4
parts = [full(0) for _ in range(size)]
dist.all_gather(parts, full(rank))
assert [p[0].item() for p in parts] == [0.0, 1.0]
piece = full(0, 2)
dist.reduce_scatter_tensor(piece, full(rank + 1))
assert piece.tolist() == [3.0, 3.0]
x = full(rank)
dist.broadcast(x, 1)
assert x[0].item() == 1.0
if rank == 0:
    dist.send(full(9), 1)
else:
    x = full(0)
    dist.recv(x, 0)
    assert x[0].item() == 9.0
swapped = full(0, 2)
dist.all_to_all_single(swapped, full(rank, 2))
assert swapped.tolist() == [0.0, 1.0]
dist.barrier()
things = [None] * size
dist.all_gather_object(things, {"rank": rank})
assert things == [{"rank": 0}, {"rank": 1}]
try:
    dist.all_reduce(torch.ones(3))
    raise SystemExit("a CPU tensor was taken")
except RuntimeError as error:
    assert "cpu" in str(error), error

torch.manual_seed(0)
model = DDP(nn.Linear(4, 2).to(device), device_ids=[rank])
model(full(rank + 1, 3, 4)).sum().backward()
gathered = [torch.zeros_like(model.module.weight.grad) for _ in range(size)]
dist.all_gather(gathered, model.module.weight.grad)
assert torch.equal(gathered[0], gathered[1])


def train(model, where):
    """Losses of a few steps; every rank has the same batch, so that sharding changes nothing."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    losses = []
    for step in range(3):
        loss = model(torch.full((2, 8), 1.0 + step, device=where)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


torch.manual_seed(1)
plain = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
sharded = copy.deepcopy(plain).to(device)
for layer in sharded:
    fully_shard(layer)
fully_shard(sharded)
torch.testing.assert_close(torch.tensor(train(sharded, device)), torch.tensor(train(plain, "cpu")))
print("ok")
dist.destroy_process_group()

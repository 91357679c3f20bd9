"""Experts on several processes against one process that has them all. Arguments: device, package, back end."""

import importlib
import sys

import torch
import torch.distributed as dist

from xinqiao.ops import moe, parallel, placement

device, package, backend = sys.argv[1:4]
if package:
    importlib.import_module(package)
dist.init_process_group(backend)
rank, size = dist.get_rank(), dist.get_world_size()
if package:
    torch.get_device_module().set_device(rank)

EXPERTS, TOP_K, HIDDEN, INNER = 12, 3, 64, 32
TOKENS = {1: [40], 2: [11, 29], 3: [11, 0, 29]}[size]  # of each process
torch.manual_seed(0)
logits = torch.randn(sum(TOKENS), EXPERTS)
logits[:, 5] = -9  # chosen by none
weights, chosen = moe.route(logits, top_k=TOP_K)
chosen[3, 1] = -1
mine = slice(sum(TOKENS[:rank]), sum(TOKENS[: rank + 1]))


def matrices(dtype):
    found = (
        torch.randn(sum(TOKENS), HIDDEN),
        torch.randn(EXPERTS, 2 * INNER, HIDDEN),
        torch.randn(EXPERTS, HIDDEN, INNER),
    )
    return [(t * 0.2).to(dtype) for t in found]


def on_all(places, dtype):
    """Outputs and gradients of this process, and those of one process with all experts."""
    x, gate_up, down = matrices(dtype)
    spread = parallel.ExpertParallel(EXPERTS, places)
    whole = [t.clone().to(device).requires_grad_() for t in (x, weights, gate_up, down)]
    one = moe.experts(whole[0], whole[1], chosen.to(device), *whole[2:])
    one.square().sum().backward()
    part = [
        t.clone().to(device).requires_grad_()
        for t in (x[mine], weights[mine], *(m[spread.held] for m in (gate_up, down)))
    ]
    found = spread.experts(part[0], part[1], chosen[mine].to(device), *part[2:])
    found.square().sum().backward()
    return spread, (one[mine], whole), (found, part)


busy = moe.load(chosen, EXPERTS)
for dtype in (torch.float32, torch.bfloat16):
    spread, (expected, whole), (found, part) = on_all(None, dtype)
    assert torch.equal(found, expected), (found - expected).abs().max()
    for name, a, b in zip(("x", "weights", "gate_up", "down"), part, whole, strict=True):
        true = b.grad[mine] if name in ("x", "weights") else b.grad[spread.held.to(device)]
        # Both round sums of a few products to dtype: a few units in the last place of the largest.
        bound = 8 * torch.finfo(dtype).eps * float(b.grad.abs().max())
        assert not true.numel() or float((a.grad - true).abs().max()) <= bound, (dtype, name)

    # With replicas an expert's rows are in two places, so that its sums may be in another order.
    replicated = placement.place(busy, size, EXPERTS // size + (size > 1))
    spread, (expected, _), (found, _) = on_all(replicated, dtype)
    largest = max(expected.detach().abs().flatten().tolist(), default=0)
    torch.testing.assert_close(found, expected, rtol=0, atol=4 * torch.finfo(dtype).eps * largest)

sent = spread.dispatch(torch.ones(2, HIDDEN, device=device), torch.full((2, TOP_K), -1, device=device))
assert sent.rows.shape == (0, HIDDEN)  # nobody sends anything
print("ok")
dist.destroy_process_group()

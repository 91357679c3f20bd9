"""Training: optimizers, mixed precision, data parallel."""

import pytest
import torch
from torch import nn


def losses(device, *, steps=5, dtype=None, scale=False, **kind):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.LayerNorm(16), nn.Linear(16, 3)).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05, **kind)
    scaler = torch.amp.GradScaler(torch.device(device).type, enabled=scale)
    x, y = torch.randn(32, 8).to(device), torch.randint(3, (32,)).to(device)
    found = []
    for _ in range(steps):
        with torch.autocast(torch.device(device).type, dtype=dtype or torch.bfloat16, enabled=dtype is not None):
            loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        found.append(loss.item())
    return found


@pytest.mark.parametrize("kind", [{"foreach": False}, {"foreach": True}, {"fused": True}])
def test_each_optimizer_variant_equals_the_cpus(kind, device):
    assert losses(device, **kind) == losses("cpu", **kind)


def test_foreach_is_the_default(device, counted):
    losses(device, steps=1)
    assert any(name.startswith("aten::_foreach") for name in counted())


@pytest.mark.parametrize(("dtype", "scale"), [(torch.bfloat16, False), (torch.float16, True)])
def test_mixed_precision_learns(dtype, scale, device):
    found = losses(device, steps=12, dtype=dtype, scale=scale)
    assert found[-1] < found[0]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    ("call", "lowered"),
    [
        (lambda x: x @ x, True),
        (lambda x: nn.functional.linear(x, x), True),
        (lambda x: nn.functional.conv1d(x[None], x[:, :, None]), True),
        (lambda x: x.exp(), False),
        (lambda x: x.softmax(-1), False),
        (lambda x: nn.functional.layer_norm(x, (4,)), False),
        (lambda x: x.sum(), False),
        (lambda x: nn.functional.mse_loss(x, x), False),
    ],
)
def test_autocast_follows_cudas_lists(call, lowered, dtype, device):
    """The CPU's lists are others: there, softmax of bfloat16 stays bfloat16."""
    x = torch.randn(4, 4, device=device)
    with torch.autocast(device, dtype=dtype):
        assert call(x).dtype == (dtype if lowered else torch.float32)
        half = call(x.to(dtype)).dtype
    assert half == (dtype if lowered else torch.float32)


@pytest.mark.filterwarnings("ignore:.torch.cuda.amp:FutureWarning")
def test_the_modules_own_mixed_precision(device, module):
    with module.amp.autocast(dtype=torch.bfloat16):
        y = nn.Linear(4, 4).to(device)(torch.ones(1, 4, device=device))
    assert y.dtype == torch.bfloat16
    assert module.amp.GradScaler().is_enabled()


def test_data_parallel(device):
    if device != "cuda":
        pytest.skip("PyTorch has DataParallel for cuda alone")
    model = nn.DataParallel(nn.Linear(4, 2).cuda(), device_ids=[0, 1])
    y = model(torch.ones(6, 4, device=device))
    y.sum().backward()
    assert y.shape == (6, 2)
    assert model.module.weight.grad is not None


@pytest.mark.parametrize(
    ("only", "dtype", "works"),
    [("flash", torch.float32, False), ("flash", torch.float16, True), ("efficient", torch.float32, True)],
)
def test_attention_refuses_what_the_card_refuses(only, dtype, works, device, session):
    """The failure of denoising-diffusion-pytorch with flash attention in fp32 on an A100."""
    if device != "cuda" or not (session.chip.cuda and session.chip.cuda.capability):
        pytest.skip("no CUDA capability")
    from torch.nn.attention import SDPBackend, sdpa_kernel

    backend = {"flash": SDPBackend.FLASH_ATTENTION, "efficient": SDPBackend.EFFICIENT_ATTENTION}[only]
    q = torch.randn(1, 2, 16, 32, device=device, dtype=dtype)
    with sdpa_kernel(backend):
        if works:
            assert nn.functional.scaled_dot_product_attention(q, q, q).shape == q.shape
        else:
            with pytest.warns(UserWarning), pytest.raises(RuntimeError, match="No available kernel"):
                nn.functional.scaled_dot_product_attention(q, q, q)

"""Operators that composite code could take past the device, or that only devices have."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn


def both(make, device):
    """Output and gradients of a module on the CPU and on the device, from the same weights and input."""
    results = []
    for where in ("cpu", device):
        torch.manual_seed(0)
        module, x = make()
        module, x = module.to(where), x.to(where).requires_grad_()
        y = module(x)
        y = y[0] if isinstance(y, tuple) else y
        y.sum().backward()
        results.append([t.detach().cpu() for t in (y, x.grad, *(p.grad for p in module.parameters()))])
    return zip(*results, strict=True)


@pytest.mark.parametrize(
    ("make", "operator"),
    [
        (lambda: (nn.LayerNorm(8), torch.randn(4, 8)), "aten::native_layer_norm"),
        (lambda: (nn.GroupNorm(2, 8), torch.randn(4, 8, 5)), "aten::native_group_norm"),
        (lambda: (nn.BatchNorm2d(3), torch.randn(4, 3, 5, 5)), "aten::native_batch_norm"),
        (lambda: (nn.Conv1d(3, 5, 3), torch.randn(2, 3, 9)), "aten::convolution"),
        (lambda: (nn.Conv2d(3, 6, 3, stride=2, groups=3), torch.randn(2, 3, 9, 9)), "aten::convolution"),
        (lambda: (nn.Conv3d(2, 3, 2), torch.randn(1, 2, 4, 4, 4)), "aten::convolution"),
        (lambda: (nn.ConvTranspose2d(3, 4, 3), torch.randn(2, 3, 5, 5)), "aten::convolution"),
        (lambda: (nn.Linear(8, 3), torch.randn(4, 8)), "aten::addmm"),
        (lambda: (nn.GELU(), torch.randn(4, 8)), "aten::gelu"),
    ],
)
def test_same_as_the_cpu_to_the_bit_and_counted_by_its_own_name(make, operator, device, counted):
    for expected, found in both(make, device):
        assert torch.equal(expected, found)
    assert counted()[operator] == 1


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers(kind, device):
    """A device runs fused cells, the CPU another path: close, not equal."""
    for expected, found in both(lambda: (kind(6, 5, 2), torch.randn(7, 3, 6)), device):
        torch.testing.assert_close(expected, found)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda x: torch.stack([x, x]), "aten::cat"),
        (lambda x: torch.addr(x[0], x[1], x[2]), "aten::addr"),
        (lambda x: x.all(dim=(0, 1)), "aten::all.dims"),
        (lambda x: torch.add(x, x, out=torch.empty_like(x)), "aten::add.out"),
        (lambda x: x.add_(1), "aten::add_.Tensor"),
        (lambda x: torch._foreach_add([x, x], 1), "aten::_foreach_add.Scalar"),
    ],
)
def test_no_operator_is_counted_as_another(call, name, device, counted):
    x = torch.ones(4, 4, device=device)
    counted()
    call(x)
    assert counted()[name] == 1


def test_views_cost_nothing(device, counted):
    x = torch.ones(4, 4, device=device)
    counted()
    x.view(16), x.t(), x[1:], x.expand(2, 4, 4), x.unfold(0, 2, 1), x.as_strided((2,), (1,))
    assert counted() == {}


def test_conjugates_and_negatives_come_out_right(device):
    x = torch.randn(3, dtype=torch.complex64)
    y = x.to(device)
    assert torch.equal(y.conj().cpu(), x.conj().resolve_conj())
    assert torch.equal(y.conj().imag.cpu(), x.conj().imag.resolve_neg())
    assert torch.equal(torch.view_as_real(y * 2).cpu(), torch.view_as_real(x * 2))
    assert torch.equal(torch.sgn(y).cpu(), torch.sgn(x))


def test_softmax_of_half_in_float(device):
    x = torch.randn(4, 8, dtype=torch.bfloat16)
    results = []
    for where in ("cpu", device):
        t = x.clone().to(where).requires_grad_()
        y = torch.softmax(t, -1, dtype=torch.float32)
        y.square().sum().backward()
        results.append((y.detach().cpu(), t.grad.cpu()))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


def test_fourier_and_ctc(device):
    x = torch.randn(3, 16)
    assert torch.equal(torch.fft.irfft(torch.fft.rfft(x.to(device))).cpu(), torch.fft.irfft(torch.fft.rfft(x)))
    scores, targets = torch.randn(10, 2, 5).log_softmax(-1), torch.randint(1, 5, (2, 4))
    lengths = torch.tensor([10, 10]), torch.tensor([4, 3])
    expected = F.ctc_loss(scores, targets, *lengths)
    assert torch.equal(F.ctc_loss(scores.to(device), targets.to(device), *lengths).cpu(), expected)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_attention(dropout, device):
    q, k, v = torch.randn(3, 2, 4, 16, 8)
    found = F.scaled_dot_product_attention(q.to(device), k.to(device), v.to(device), dropout_p=dropout, is_causal=True)
    assert found.shape == q.shape
    if not dropout:
        assert torch.equal(found.cpu(), F.scaled_dot_product_attention(q, k, v, is_causal=True))


def test_transforms_and_captures(device):
    x = torch.randn(3, 4, device=device)
    assert torch.vmap(torch.dot)(x, x).device.type == device
    y = torch.utils.checkpoint.checkpoint(torch.nn.functional.gelu, x.requires_grad_(), use_reentrant=False)
    y.sum().backward()
    assert x.grad.device.type == device
    exported = torch.export.export(nn.Linear(4, 2).to(device), (x.detach(),))
    assert exported.module()(x.detach()).shape == (3, 2)


def test_compile_runs_by_default(device):
    compiled = torch.compile(lambda t: torch.nn.functional.gelu(t) @ t.t())
    x = torch.randn(3, 4, device=device)
    assert torch.equal(compiled(x), torch.nn.functional.gelu(x) @ x.t())


def test_every_operator_with_a_cpu_kernel_has_the_devices_own(session):
    """So that a new PyTorch cannot add one that goes past the device unseen."""
    own = {
        "empty.memory_format", "empty_strided", "_efficientzerotensor", "copy_", "_local_scalar_dense", "as_strided",
        "view", "_reshape_alias", "resize_", "set_", "set_.source_Storage", "set_.source_Tensor",
        "set_.source_Storage_storage_offset", "_copy_from", "_copy_from_and_resize", "_fused_sdp_choice", "convolution",
        "_softmax", "_log_softmax", "_softmax_backward_data", "_log_softmax_backward_data", "record_stream",
        "_has_compatible_shallow_copy_type", "_thnn_fused_lstm_cell", "_thnn_fused_gru_cell",
    }  # fmt: skip
    ours = set(session.core.registered()) | own
    key = "CUDA" if session.core.cuda else "PrivateUse1"
    missing = []
    for name in torch._C._dispatch_get_all_op_names():
        if not name.startswith("aten::") or not torch._C._dispatch_has_kernel_for_dispatch_key(name, "CPU"):
            continue
        short = name.removeprefix("aten::")
        if short not in ours or not torch._C._dispatch_has_kernel_for_dispatch_key(name, key):
            missing.append(short)
    assert missing == []

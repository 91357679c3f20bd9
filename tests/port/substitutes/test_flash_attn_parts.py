"""Rotary embedding, padding and loss of flash_attn against loops over the definition."""

import math

import pytest
import torch
import torch.nn.functional as F

from xinqiao.port.substitutes import flash_attn_bert_padding as padding
from xinqiao.port.substitutes.flash_attn_cross_entropy import CrossEntropyLoss
from xinqiao.port.substitutes.flash_attn_rotary import apply_rotary_emb, apply_rotary_emb_torch


def turn(x, cos, sin, positions, interleaved):
    """x (batch, tokens, heads, headdim): pairs as complex numbers times e^(i angle), in float64."""
    x = x.double().clone()
    half = cos.shape[1]
    for i in range(half):
        a, b = (2 * i, 2 * i + 1) if interleaved else (i, i + half)
        angle = torch.complex(cos[positions, i].double(), sin[positions, i].double())[..., None]
        z = torch.complex(x[..., a], x[..., b]) * angle
        x[..., a], x[..., b] = z.real, z.imag
    return x


def rotary_case(dtype=torch.float64):
    torch.manual_seed(0)
    angles = torch.rand(20, 3, dtype=torch.float64) * 6
    return torch.randn(2, 5, 3, 8, dtype=torch.float64).to(dtype), angles.cos().to(dtype), angles.sin().to(dtype)


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("offsets", [0, 4, torch.tensor([2, 7])], ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.bfloat16, 2e-2)])
def test_rotation_turns_pairs(interleaved, offsets, dtype, tolerance):
    x, cos, sin = rotary_case(dtype)
    shift = torch.as_tensor(offsets).reshape(-1, 1)
    positions = (torch.arange(5) + shift).expand(2, 5)
    out = apply_rotary_emb(x, cos, sin, interleaved, seqlen_offsets=offsets)
    assert out.dtype == dtype
    torch.testing.assert_close(out.double(), turn(x, cos, sin, positions, interleaved), rtol=tolerance, atol=tolerance)
    assert torch.equal(out[..., 6:], x[..., 6:])  # dimensions beyond the angles stay


def test_rotation_in_place_and_by_rows():
    x, cos, sin = rotary_case()
    out = apply_rotary_emb(x, cos, sin)
    assert torch.equal(apply_rotary_emb_torch(x, cos[:5], sin[:5]), out)
    assert apply_rotary_emb(x, cos, sin, inplace=True) is x
    assert torch.equal(x, out)


def test_rotation_of_sequences_end_to_end_starts_again():
    x, cos, sin = rotary_case()
    flat = x.flatten(0, 1)
    begins = torch.tensor([0, 4, 4, 10], dtype=torch.int32)
    out = apply_rotary_emb(flat, cos, sin, cu_seqlens=begins, max_seqlen=6)
    expected = [turn(part[None], cos, sin, torch.arange(len(part))[None], False)[0] for part in flat.split([4, 0, 6])]
    torch.testing.assert_close(out, torch.cat(expected), rtol=0, atol=1e-12)


def test_padding_is_taken_out_and_put_back():
    x = torch.arange(2 * 4 * 3, dtype=torch.float64).reshape(2, 4, 3).requires_grad_()
    mask = torch.tensor([[1, 1, 0, 0], [0, 1, 1, 1]])
    tokens, indices, begins, longest, used = padding.unpad_input(x, mask)
    assert indices.tolist() == [0, 1, 5, 6, 7]
    assert begins.tolist() == [0, 2, 5]
    assert begins.dtype == used.dtype == torch.int32
    assert (longest, used.tolist()) == (3, [2, 3])
    back = padding.pad_input(tokens, indices, 2, 4)
    assert torch.equal(back, x * mask[..., None])
    back.sum().backward()
    assert torch.equal(x.grad, mask[..., None].expand(2, 4, 3).double())
    assert torch.equal(padding.index_first_axis(x.flatten(0, 1), indices), tokens)


def test_places_that_are_kept_are_no_tokens():
    mask, unused = torch.tensor([[1, 0, 0], [1, 1, 0]]), torch.tensor([[0, 1, 0], [0, 0, 0]])
    _, indices, begins, longest, used = padding.unpad_input(torch.zeros(2, 3, 1), mask, unused)
    assert (indices.tolist(), begins.tolist(), longest, used.tolist()) == ([0, 1, 3, 4], [0, 2, 4], 2, [1, 2])


def loss_by_hand(logits, target, smoothing, scale, square):
    losses, penalties = [], []
    for row, t in zip(logits.double() * scale, target.tolist(), strict=True):
        lse = math.log(sum(math.exp(v) for v in row.tolist()))
        plain = (1 - smoothing) * (lse - row[t]) + smoothing * (lse - row.mean()) if t != -100 else torch.tensor(0.0)
        penalties.append(square * lse**2 if t != -100 else 0.0)
        losses.append(float(plain) + penalties[-1])
    return torch.tensor(losses, dtype=torch.float64), torch.tensor(penalties, dtype=torch.float64)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.bfloat16, 1e-4)])
@pytest.mark.parametrize(("smoothing", "scale", "square"), [(0, 1, 0), (0.1, 0.5, 0), (0.1, 2.0, 1e-2)])
def test_the_loss_is_as_defined(smoothing, scale, square, dtype, tolerance):
    torch.manual_seed(0)
    logits, target = torch.randn(4, 7, dtype=torch.float64).to(dtype), torch.tensor([0, 6, -100, 3])
    losses, penalties = loss_by_hand(logits, target, smoothing, scale, square)
    made = {"label_smoothing": smoothing, "logit_scale": scale, "lse_square_scale": square}
    for reduction, reduce in {"none": lambda t: t, "sum": torch.sum, "mean": lambda t: t.sum() / 3}.items():
        got = CrossEntropyLoss(reduction=reduction, **made)(logits, target)
        torch.testing.assert_close(got.double(), reduce(losses), rtol=tolerance, atol=tolerance)
    both = CrossEntropyLoss(return_z_loss=True, **made)(logits, target)
    torch.testing.assert_close(both[1].double(), penalties.sum() / 3, rtol=tolerance, atol=tolerance)


def test_the_loss_without_extras_is_pytorchs():
    logits, target = torch.randn(4, 7), torch.tensor([0, 6, -100, 3])
    torch.testing.assert_close(CrossEntropyLoss()(logits, target), F.cross_entropy(logits, target))


@pytest.mark.parametrize("made", [{"process_group": object()}, {"reduction": "max"}])
def test_a_loss_that_cannot_be_exact_is_refused(made):
    with pytest.raises(NotImplementedError):
        CrossEntropyLoss(**made)

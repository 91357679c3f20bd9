"""Optimizers, norms and wrappers of apex against their definitions, number by number, and against torch's own."""

import math

import pytest
import torch
import torch.nn.functional as F

from xinqiao.port.substitutes import apex_normalization as norms
from xinqiao.port.substitutes import apex_parallel as parallel
from xinqiao.port.substitutes.apex_optimizers import FusedAdam, FusedLAMB, FusedSGD

START = [[0.5, -1.25, 2.0], [0.75, 0.0]]
GRADS = [[[0.1, -0.2, 3.0], [1.5, -0.5]], [[-0.3, 0.2, 0.1], [0.25, 2.0]], [[0.05, -0.1, -2.0], [0.0, 0.125]]]


def run(optimizer, options, dtype=torch.float64):
    params = [torch.tensor(p, dtype=dtype, requires_grad=True) for p in START]
    made = optimizer(params, **options)
    for grads in GRADS:
        for p, g in zip(params, grads, strict=True):
            p.grad = torch.tensor(g, dtype=dtype)
        made.step()
    return [v for p in params for v in p.tolist()], made


def adam(*, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, adam_w_mode=True, bias_correction=True, lamb=None):
    """Python numbers, one at a time; lamb: (averaging, most norm, scale all)."""
    params = [list(p) for p in START]
    m, v = ([[0.0] * len(p) for p in START] for _ in range(2))
    for t, grads in enumerate(GRADS, 1):
        norm = math.sqrt(sum(g * g for row in grads for g in row))
        divisor = max(1.0, norm / lamb[1]) if lamb else 1.0
        c1, c2 = (1 - betas[0] ** t, 1 - betas[1] ** t) if bias_correction else (1.0, 1.0)
        for p, row, first, second in zip(params, grads, m, v, strict=True):
            updates = []
            for i in range(len(p)):
                g = row[i] / divisor + (0.0 if adam_w_mode else weight_decay * p[i])
                first[i] = betas[0] * first[i] + (1 - betas[0] if not lamb or lamb[0] else 1.0) * g
                second[i] = betas[1] * second[i] + (1 - betas[1]) * g * g
                step = first[i] / c1 / (math.sqrt(second[i] / c2) + eps)
                updates.append(step + (weight_decay * p[i] if adam_w_mode else 0.0))
            size, length = (math.sqrt(sum(x * x for x in xs)) for xs in (p, updates))
            trust = size / length if lamb and (weight_decay or lamb[2]) and size and length else 1.0
            p[:] = [x - lr * trust * u for x, u in zip(p, updates, strict=True)]
    return [x for p in params for x in p]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"lr": 0.1, "weight_decay": 0.3},
        {"lr": 0.1, "weight_decay": 0.3, "adam_w_mode": False},
        {"lr": 0.1, "bias_correction": False, "betas": (0.8, 0.9), "eps": 1e-3},
    ],
    ids=str,
)
def test_adam(options):
    assert run(FusedAdam, options)[0] == pytest.approx(adam(**options), rel=1e-12)


@pytest.mark.parametrize(("mine", "theirs"), [(True, torch.optim.AdamW), (False, torch.optim.Adam)])
def test_adam_is_torchs(mine, theirs):
    options = {"lr": 0.1, "weight_decay": 0.3}
    assert run(FusedAdam, {**options, "adam_w_mode": mine})[0] == pytest.approx(run(theirs, options)[0], rel=1e-9)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"weight_decay": 0.0},
        {"weight_decay": 0.0, "use_nvlamb": True},
        {"grad_averaging": False, "adam_w_mode": False, "max_grad_norm": 0.1},
    ],
    ids=str,
)
def test_lamb(options):
    written = dict(options)
    lamb = (written.pop("grad_averaging", True), written.pop("max_grad_norm", 1.0), written.pop("use_nvlamb", False))
    expected = adam(**{"weight_decay": 0.01, "eps": 1e-6, **written}, lamb=lamb)
    assert run(FusedLAMB, options)[0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}], ids=str)
def test_sgd_is_torchs(options):
    options = {"lr": 0.1, **options}
    assert run(FusedSGD, options)[0] == run(torch.optim.SGD, options)[0]


def test_moments_are_wide_beside_narrow_parameters():
    values, made = run(FusedAdam, {"lr": 0.1}, torch.bfloat16)
    assert {s["exp_avg"].dtype for s in made.state.values()} == {torch.float32}
    assert made.param_groups[0]["step"] == len(GRADS)
    assert values == pytest.approx(adam(lr=0.1), abs=0.02)


def test_gradients_are_dropped_or_zeroed_as_asked():
    for optimizer, none in ((FusedAdam, True), (FusedSGD, False)):
        p = torch.ones(2, requires_grad=True)
        p.grad = torch.ones(2)
        optimizer([p], lr=0.1).zero_grad()
        assert (p.grad is None) is none
        assert none or torch.equal(p.grad, torch.zeros(2))


def test_a_closure_is_evaluated_with_gradients():
    p = torch.ones(1, requires_grad=True)
    made = FusedAdam([p], lr=0.5)

    def closure():
        made.zero_grad()
        loss = p.square().sum()
        loss.backward()
        return loss

    assert made.step(closure) == 1
    assert p.item() == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda p: FusedAdam(p, amsgrad=True), RuntimeError),
        (lambda p: FusedAdam(p, capturable=True), NotImplementedError),
        (lambda p: FusedLAMB(p, amsgrad=True), RuntimeError),
        (lambda p: FusedSGD(p, lr=0.1, weight_decay=0.1, wd_after_momentum=True), NotImplementedError),
    ],
)
def test_what_is_not_the_same_is_refused(make, error):
    with pytest.raises(error):
        make([torch.ones(1, requires_grad=True)])


def test_layer_norm_is_torchs():
    x = torch.randn(2, 3, 4, dtype=torch.float64)
    module = norms.FusedLayerNorm((3, 4)).double()
    torch.nn.init.normal_(module.weight)
    torch.nn.init.normal_(module.bias)
    expected = (x - x.mean((1, 2), keepdim=True)) / torch.sqrt(x.var((1, 2), correction=0, keepdim=True) + 1e-5)
    torch.testing.assert_close(module(x), expected * module.weight + module.bias, rtol=0, atol=1e-12)
    assert set(module.state_dict()) == {"weight", "bias"}
    assert not norms.FusedLayerNorm(4, elementwise_affine=False).state_dict()


def test_rms_norm_as_defined():
    x = torch.randn(2, 4, dtype=torch.float64)
    module = norms.FusedRMSNorm(4, eps=1e-3).double()
    torch.nn.init.normal_(module.weight)
    rows = [[v / math.sqrt(sum(u * u for u in row) / 4 + 1e-3) for v in row] for row in x.tolist()]
    torch.testing.assert_close(module(x), torch.tensor(rows).double() * module.weight, rtol=0, atol=1e-6)
    assert set(module.state_dict()) == {"weight"}


@pytest.mark.parametrize("kind", ["FusedLayerNorm", "FusedRMSNorm"])
def test_dtypes_of_norms(kind):
    x = torch.randn(3, 4, dtype=torch.bfloat16)
    assert getattr(norms, kind)(4).bfloat16()(x).dtype == torch.bfloat16
    assert getattr(norms, f"Mixed{kind}")(4)(x).dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert getattr(norms, kind)(4)(x.float()).dtype == torch.bfloat16


def test_statistics_of_narrow_inputs_are_wide():
    x = torch.full((1, 4096), 200.0, dtype=torch.float16)
    out = norms.FusedRMSNorm(4096, elementwise_affine=False)(x)  # 200 squared times 4096 is not in float16's range
    torch.testing.assert_close(out, torch.ones_like(x))
    assert torch.isfinite(F.layer_norm(x, (4096,))).all()


def test_batch_norm_is_converted_with_its_state():
    module = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), torch.nn.BatchNorm2d(2))
    module[1].running_mean.fill_(3)
    converted = parallel.convert_syncbn_model(module)
    assert isinstance(converted[1], torch.nn.SyncBatchNorm)
    assert torch.equal(converted[1].running_mean, torch.full((2,), 3.0))


@pytest.mark.parametrize(
    "make",
    [
        lambda: parallel.SyncBatchNorm(2, channel_last=True),
        lambda: parallel.SyncBatchNorm(2, fuse_relu=True),
        lambda: parallel.convert_syncbn_model(torch.nn.Linear(1, 1), channel_last=True),
        lambda: parallel.DistributedDataParallel(torch.nn.Linear(1, 1), allreduce_always_fp32=True),
        lambda: parallel.DistributedDataParallel(torch.nn.Linear(1, 1), gradient_average=False),
    ],
)
def test_wrappers_refuse_what_is_not_the_same(make):
    with pytest.raises(NotImplementedError):
        make()

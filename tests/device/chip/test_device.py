"""Device, memory, streams, random numbers, storages: the API that a program written for the chip uses."""

import importlib
import io

import pytest
import torch
from torch import nn


def test_names(device, module, session):
    assert torch.accelerator.current_accelerator().type == device
    assert module is getattr(torch, device)
    assert module.is_available()
    assert module.device_count() == session.chip.torch.server_devices == torch.accelerator.device_count()
    assert "virtual" in module.get_device_name()
    assert module.get_device_properties(0).total_memory == (session.chip.per_device().capacity or 0)
    assert str(torch.ones(1, device=device).device) == f"{device}:0"
    assert getattr(torch.ones(1), device)().device.type == device
    assert getattr(nn.Linear(1, 1), device)().weight.device.type == device


def test_the_vendors_package_can_be_imported(session, module, device):
    package = session.chip.torch.package
    if device != "cuda":
        assert getattr(importlib.import_module(package), device) is module
        with pytest.raises(AttributeError, match="the vendor's own"):
            importlib.import_module(package).format_cast  # noqa: B018


@pytest.mark.parametrize(
    "use",
    [
        lambda device, _: torch.ones(1, device=f"{device}:99"),
        lambda device, _: torch.Generator(f"{device}:99"),
        lambda _, module: module.set_device(99),
        lambda _, module: module.synchronize(99),
        lambda _, module: module.memory_allocated(99),
        lambda _, module: module.get_device_properties(99),
    ],
    ids=["tensor", "generator", "set_device", "synchronize", "memory_allocated", "get_device_properties"],
)
def test_an_ordinal_that_is_not_there(use, device, module):
    with pytest.raises((RuntimeError, AssertionError), match=r"ordinal|device id"):
        use(device, module)
    assert module.current_device() == 0


def test_a_generator_of_the_host_is_refused(device):
    with pytest.raises(RuntimeError, match=f"Expected a '{device}' device type for generator but found 'cpu'"):
        torch.rand(2, device=device, generator=torch.Generator())


def test_printing_runs_nothing_on_the_device(device, counted):
    tensor = torch.arange(3.0, device=device)
    counted()
    assert f"device='{device}:0'" in repr(tensor)
    assert set(counted()) <= {"aten::_to_copy", "aten::copy_"}


def test_several_devices(device, module):
    a, b = torch.ones(2, device=f"{device}:0"), torch.ones(2, device=f"{device}:1")
    with pytest.raises(RuntimeError, match=f"{device}:0 and {device}:1"):
        a + b
    assert torch.equal(a, b.to(f"{device}:0"))
    with module.device(1):
        assert torch.ones(1, device=device).device.index == 1
        assert module.current_device() == 1
    assert module.current_device() == 0


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x + torch.ones(3),
        lambda x: torch.mm(x[None], torch.ones(3, 2)),
        lambda x: torch.cat([x, torch.ones(3)]),
        lambda x: nn.functional.linear(x, torch.ones(2, 3)),
    ],
)
def test_host_tensors_do_not_mix_in(call, device):
    with pytest.raises(RuntimeError, match="same device"):
        call(torch.ones(3, device=device))


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x + torch.tensor(2.0),
        lambda x: x[torch.tensor([0, 2])],
        lambda x: x.masked_fill(x > 0, torch.tensor(1.0)),
        lambda x: x.copy_(torch.zeros(3)),
    ],
)
def test_host_tensors_that_every_device_takes(call, device):
    assert call(torch.ones(3, device=device)).device.type == device


def test_to_keeps_tied_weights_and_optimizers(device):
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    before = model[0].weight
    model.to(device)
    assert model[1].weight is model[0].weight is before
    model(torch.ones(1, 4, device=device)).sum().backward()
    value = before.detach().clone()
    optimizer.step()
    assert not torch.equal(value, before)


def test_memory_is_counted_and_comes_back(device, module):
    before = module.memory_allocated()
    module.reset_peak_memory_stats()
    x = torch.ones(1000, 1000, device=device)
    assert module.memory_allocated() - before == 4_000_256  # rounded up to 512
    y = x[10:]
    del x
    assert module.memory_allocated() - before == 4_000_256
    z = y * 2
    del y, z
    assert module.memory_allocated() == before
    assert module.max_memory_allocated() - before == 4_000_256 + 3_960_320
    assert torch.accelerator.max_memory_allocated() == module.max_memory_allocated()
    free, total = module.mem_get_info()
    assert free == total - before or not module.get_device_properties(0).total_memory


def test_out_of_memory_names_the_line(device, module, session):
    if not session.chip.per_device().capacity:
        pytest.skip("this chip's capacity is not known")
    module.set_per_process_memory_fraction(1e-4)
    try:
        held = torch.ones(1000, 1000, device=device)
        with pytest.raises(torch.OutOfMemoryError, match=r"Tried to allocate (.|\n)*test_device\.py:\d+") as caught:
            torch.ones(100_000_000, device=device)
        assert "virtual chip" in str(caught.value)
        assert held.shape == (1000, 1000)
    finally:
        module.set_per_process_memory_fraction(1.0)


def test_pinned_memory(device):
    x = torch.randn(100).pin_memory()
    assert x.is_pinned()
    assert x[50:].is_pinned()
    assert not torch.randn(100).is_pinned()
    assert torch.equal(x.to(device, non_blocking=True).cpu(), x)


def test_streams_overlap_and_events_tell_predicted_time(device, module, session):
    x = torch.randn(512, 512, device=device)

    def elapsed(streams):
        start, end = module.Event(enable_timing=True), module.Event(enable_timing=True)
        module.synchronize()
        start.record()
        for i in range(20):
            with module.stream(streams[i % len(streams)]):
                x @ x
        for stream in streams:
            module.current_stream().wait_stream(stream)
        end.record()
        module.synchronize()
        return start.elapsed_time(end)

    one, two = elapsed([module.Stream()]), elapsed([module.Stream(), module.Stream()])
    known = session.chip.per_device().peak("float32") or session.chip.per_device().bandwidth
    if known:
        assert 0 < two < one
    else:
        assert two == pytest.approx(one), "a chip of unknown speed has its launch time alone"


def test_a_side_streams_work_is_never_free(device, module):
    """Its clock starts at host time, not at zero."""
    x = torch.randn(512, 512, device=device)
    for _ in range(50):
        x @ x
    module.synchronize()
    side = module.Stream()
    start, end = module.Event(enable_timing=True), module.Event(enable_timing=True)
    start.record()
    with module.stream(side):
        x @ x
        end.record()
    module.synchronize()
    assert start.elapsed_time(end) > 0
    assert end.query()


def test_events_that_were_not_recorded(module):
    with pytest.raises(ValueError, match="must be recorded"):
        module.Event(enable_timing=True).elapsed_time(module.Event(enable_timing=True))


def test_random_numbers(device, module):
    torch.manual_seed(7)
    a, host = torch.randn(5, device=device), torch.randn(5)
    torch.manual_seed(7)
    assert torch.equal(torch.randn(5), host), "device draws leave the CPU's stream alone"
    assert torch.equal(torch.randn(5, device=device), a)
    module.manual_seed_all(3)
    state = module.get_rng_state()
    b = torch.nn.functional.dropout(torch.ones(64, device=device))
    module.set_rng_state(state)
    assert torch.equal(torch.nn.functional.dropout(torch.ones(64, device=device)), b)
    with torch.random.fork_rng(devices=[0], device_type=device):
        torch.randn(5, device=device)
    g = torch.Generator(device=device).manual_seed(1)
    c = torch.randn(4, device=device, generator=g)
    assert torch.equal(torch.randn(4, device=device, generator=g.manual_seed(1)), c)


def test_storages(device):
    storage = torch.UntypedStorage(16, device=device)
    assert storage.device.type == device
    x = torch.arange(4.0, device=device)
    x.untyped_storage().resize_(0)
    x.untyped_storage().resize_(16)
    assert x.fill_(1.0).sum().item() == 4.0
    y = torch.empty(0, device=device).resize_(3, 2)
    assert y.shape == (3, 2)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (lambda d: "cpu", lambda d: "cpu"),
        (lambda d: d, lambda d: f"{d}:0"),
        (lambda d: f"{d}:1", lambda d: f"{d}:1"),
        (lambda d: torch.device(d, 1), lambda d: f"{d}:1"),
        (lambda d: {f"{d}:0": f"{d}:1"}, lambda d: f"{d}:1"),
        (lambda d: {f"{d}:0": "cpu"}, lambda d: "cpu"),
        (lambda d: lambda storage, location: storage, lambda d: "cpu"),
        (lambda d: None, lambda d: f"{d}:0"),
    ],
)
def test_save_and_load(where, expected, device):
    file = io.BytesIO()
    torch.save({"x": torch.arange(3.0, device=device)}, file)
    file.seek(0)
    x = torch.load(file, map_location=where(device))["x"]
    assert str(x.device) == expected(device)
    assert x.tolist() == [0.0, 1.0, 2.0]

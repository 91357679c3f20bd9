"""Runs PyTorch's own operator tests (op_db) on a virtual chip and compares every result with the CPU's, bit for bit.

    python tests/device/operators_equal_cpu.py CHIP [OPERATOR...]

fp32: every sample up to 50, forward and gradients. bf16 and int64: forward, the first 5 samples. Operators run in
processes of their own, a few in each, so that a crash is one operator's result. Prints one JSON object: {operator: what
went wrong}.
"""

import json
import os
import pickle
import sys
import time
import warnings
from contextlib import suppress
from itertools import islice

import torch
import torch.utils._pytree as pytree

from xinqiao.device.session import virtual

warnings.filterwarnings("ignore")
FULL, FEW, SECONDS = 50, 5, 20.0
TOGETHER = 20  # operators in one process: a fork copies the pages that each writes to
CASES = ((torch.float32, FULL), (torch.bfloat16, FEW), (torch.int64, FEW))


def tensors(tree):
    return [t for t in pytree.tree_leaves(tree) if isinstance(t, torch.Tensor)]


def gradients(result, inputs):
    outputs = [t for t in tensors(result) if t.requires_grad]
    wanted = [t for t in tensors(inputs) if t.requires_grad]
    if not outputs or not wanted:
        return []
    return torch.autograd.grad(outputs, wanted, [torch.ones_like(t) for t in outputs], allow_unused=True)


def copied(t, device):
    """The tensor on the device, with the whole storage that it is a view of."""
    if t.layout != torch.strided or t.numel() == 0 or t.is_quantized:
        return t.detach().to(device)
    storage = t.detach().untyped_storage()
    flat = torch.empty(0, dtype=t.dtype, device=t.device).set_(storage, 0, (storage.nbytes() // t.itemsize,), (1,))
    view = flat.to(device).as_strided(t.shape, t.stride(), t.storage_offset())
    return torch.conj(view) if t.is_conj() else view


def moved(tree, device):
    def one(value):
        if isinstance(value, torch.Tensor):
            return copied(value, device).requires_grad_(value.requires_grad)
        return value

    return pytree.tree_map(one, tree)


def run(op, inputs, device):
    """(results, error). The device argument of factories follows the device."""
    x, args, kwargs = inputs
    kwargs = {k: (device if k == "device" else v) for k, v in kwargs.items()}
    torch.manual_seed(0)
    try:
        result = op(x, *args, **kwargs)
        return [result, gradients(result, (x, args, kwargs))], None
    except Exception as error:  # noqa: BLE001  (whatever an operator raises is its result)
        return None, error


def difference(ours, theirs):
    """'' where two results are the same, to the bit and including NaN."""
    a, b = tensors(ours), tensors(theirs)
    if len(a) != len(b):
        return f"{len(a)} tensors against {len(b)}"
    for x, y in zip(a, b, strict=True):
        if x.layout != torch.strided or y.layout != torch.strided:
            return f"layout {x.layout}"
        x, y = x.cpu(), y.cpu()
        if (x.shape, x.dtype) != (y.shape, y.dtype):
            return f"{x.dtype}{list(x.shape)} against {y.dtype}{list(y.shape)}"
        x, y = (t.detach().resolve_conj().resolve_neg().contiguous() for t in (x, y))
        if x.is_complex():
            x, y = torch.view_as_real(x), torch.view_as_real(y)
        same = (x == y) | (x.isnan() & y.isnan()) if x.is_floating_point() else x == y
        if not same.all():
            return f"{x.dtype} values differ in {int((~same).sum())} of {x.numel()}"
    plain_a = [v for v in pytree.tree_leaves(ours) if isinstance(v, bool | int | float)]
    plain_b = [v for v in pytree.tree_leaves(theirs) if isinstance(v, bool | int | float)]
    return "" if repr(plain_a) == repr(plain_b) else f"{plain_a} against {plain_b}"


def samples_of(op, dtype, limit, *, grad):
    try:
        return list(islice(op.sample_inputs("cpu", dtype, requires_grad=grad), limit))
    except Exception:  # noqa: BLE001  (no samples on the CPU: nothing to compare)
        return []


def check(op, device):
    """(samples compared, '' or what went wrong first)."""
    compared, end = 0, time.monotonic() + SECONDS
    for dtype, limit in CASES:
        if dtype not in op.dtypes:
            continue
        grad = dtype == torch.float32 and op.supports_autograd
        for number, sample in enumerate(samples_of(op, dtype, limit, grad=grad)):
            if time.monotonic() > end:
                return compared, f"took over {SECONDS:.0f} s" if not compared else ""
            inputs = (sample.input, sample.args, sample.kwargs)
            copies = moved(inputs, device)
            expected, cpu_error = run(op, inputs, "cpu")
            if cpu_error is not None:
                continue
            found, error = run(op, copies, device)
            what = (
                f"{type(error).__name__}: {str(error).splitlines()[0][:150]}" if error else difference(expected, found)
            )
            compared += 1
            if what:
                return compared, f"{str(dtype)[6:]} sample {number}: {what}"
    return compared, ""


def in_one_process(ops, device):
    """Answers of operators, one after the other in a process of their own, up to one that ends it."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115  (the child ends here)
        with os.fdopen(write, "wb") as pipe:
            for op in ops:
                try:
                    answer = check(op, device)
                except BaseException as error:  # noqa: BLE001
                    answer = (0, f"harness: {type(error).__name__}: {error}")
                pickle.dump(answer, pipe)
                pipe.flush()
        os._exit(0)
    os.close(write)
    answers = []
    with os.fdopen(read, "rb") as pipe, suppress(EOFError):
        while True:
            answers.append(pickle.load(pipe))
    _, status = os.waitpid(child, 0)
    if len(answers) < len(ops):
        answers.append((0, f"crashed with signal {status & 127}"))
    return answers


def in_processes(ops, device):
    """An answer for each operator."""
    answers = []
    while len(answers) < len(ops):
        answers += in_one_process(ops[len(answers) : len(answers) + TOGETHER], device)
    return answers


def named(op):
    return op.name + (f".{op.variant_test_name}" if op.variant_test_name else "")


def main(chip, names):
    torch.set_num_threads(1)
    session = virtual(chip, host_rng=True, policy="allow")
    from torch.testing._internal.common_methods_invocations import op_db

    begun = time.monotonic()
    ops = [op for op in op_db if not names or named(op) in names]
    answers = in_processes(ops, session.chip.torch.device)
    wrong = {named(op): what for op, (_, what) in zip(ops, answers, strict=True) if what}
    compared = sum(count for count, _ in answers)
    for name, what in wrong.items():
        print(name, what, file=sys.stderr, flush=True)
    print(json.dumps({"operators": len(ops), "samples": compared, "seconds": time.monotonic() - begun, "wrong": wrong}))


if __name__ == "__main__":
    main(sys.argv[1], set(sys.argv[2:]))

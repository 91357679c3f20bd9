"""Bring a virtual chip up in this process, once."""

import os
from dataclasses import dataclass
from importlib.util import find_spec

import torch
import torch.distributed as dist

from xinqiao.chips import catalog
from xinqiao.chips.spec import Chip
from xinqiao.cost import roofline
from xinqiao.device import api, cuda, vendor
from xinqiao.device.collectives import Collectives
from xinqiao.device.core import Core
from xinqiao.device.ending import settle_at_exit
from xinqiao.device.held import Held
from xinqiao.device.judge import Judge
from xinqiao.device.lines import LIBRARY_PREFIXES
from xinqiao.device.module_values import ModuleValues, mark_modes
from xinqiao.device.policy import POLICIES, Policy
from xinqiao.device.watch import Watch
from xinqiao.errors import InputError

MEMORY_WORDS = {"cuda": "GPU"}  # in out-of-memory messages; the others say their device's name


@dataclass
class Session:
    """A virtual chip that is up."""

    chip: Chip
    core: Core
    judge: Judge
    watch: Watch | None  # None: no record was asked for, and memory goes by line only
    held: Held | None
    collectives: Collectives | None
    shapes: bool
    devices: int


active: Session | None = None


def virtual(
    chip: str | Chip,
    *,
    shapes: bool = False,
    policy: Policy | None = None,
    devices: int | None = None,
    host_rng: bool = False,
) -> Session:
    """Make `chip` this process's accelerator. A second call with the same chip returns the first session.

    shapes     true shapes, lifetimes, memory and time, but no arithmetic and no data
    policy     None: refuse or move to the host what the vendor's own software would; or one rule for all
    devices    how many of them the machine has; None: a usual server's
    host_rng   draw device random numbers from the CPU's stream, so that a run equals the CPU's number by number
    """
    global active
    wanted = chip if isinstance(chip, Chip) else catalog.load(chip)
    if active is not None:
        if active.chip.name == wanted.name and active.shapes == shapes:
            return active
        raise InputError(
            f"this process already has a virtual {active.chip.name}; use another process for {wanted.name}"
        )
    if policy is not None and policy not in POLICIES:
        raise InputError(f"policy '{policy}' is not one of {', '.join(POLICIES)}")
    _refuse_conflicts(wanted)
    active = _start(wanted, shapes=shapes, policy=policy, devices=devices, host_rng=host_rng)
    return active


def keep_record(session: Session, *, trace: bool = False, values: bool = False) -> None:
    """Keep what a record needs beyond the core's counters: modules, numbers read back; with `trace`, the timeline.

    values   also note what each module is given and gives, and its gradients, in the journal
    """
    session.watch = Watch(session.core.module)
    session.held = Held(session.watch)
    if values:
        namespace = torch.ops.xinqiao_cuda if session.core.cuda else torch.ops.xinqiao_vendor
        ModuleValues(session.watch, session.chip.torch.device, namespace.note.default)
        mark_modes(lambda name: session.core.mark(name.encode(), 0), session.chip.torch.device)
    session.core.keep_readbacks(1)
    session.core.trace(int(trace))


def vendor_package(chip: Chip) -> str | None:
    """The vendor's real package, where it is installed: then the real device is used."""
    name = chip.torch.package
    return name if name and find_spec(name) is not None else None


def _refuse_conflicts(chip: Chip) -> None:
    if chip.torch.device == "cpu":
        raise InputError(f"{chip.name} is this or another processor, not a chip to run on; `xinqiao size` can price it")
    if chip.torch.device != "cuda":
        owner = torch._C._get_privateuse1_backend_name()
        if owner != "privateuseone":
            raise InputError(f"PyTorch's one place for outside devices is taken by '{owner}' in this process")
        return
    real = torch.version.cuda or torch.version.hip
    if real:
        release = torch.__version__.split("+")[0]
        raise InputError(
            f"{chip.name} is a virtual 'cuda' device and needs the CPU build of PyTorch, but this one is built for "
            f"{real}: pip install --index-url https://download.pytorch.org/whl/cpu torch=={release}"
        )


def _start(chip: Chip, *, shapes: bool, policy: Policy | None, devices: int | None, host_rng: bool) -> Session:
    on_cuda = chip.torch.device == "cuda"
    count = devices or chip.torch.server_devices
    core = Core(cuda=on_cuda)
    figures = chip.per_device()
    name = chip.torch.device
    word = MEMORY_WORDS.get(name, name.upper())
    major, minor = cuda.capability(chip)
    hip = bool(chip.cuda and chip.cuda.hip)
    started = core.start(
        name.encode(), word.encode(), count, float(figures.capacity or 0), roofline.price(chip).launch,
        int(shapes), int(host_rng), major, minor, int(hip),
    )  # fmt: skip
    if not started:
        raise InputError("this PyTorch already has a CUDA device")
    core.devices = count
    for prefix in LIBRARY_PREFIXES:
        core.library_prefix(os.fsencode(prefix))
    judge = Judge(chip, core, policy)
    (cuda if on_cuda else vendor).install(chip, core, count)
    api.route_compile()
    if not shapes:  # where there is nothing to print
        api.print_from_the_host(name)
    settle_at_exit()
    collectives = Collectives(chip, core) if dist.is_available() else None
    return Session(chip, core, judge, None, None, collectives, shapes, count)

"""What a process is told about its chip through the environment; `xinqiao run` writes it, `import torch` reads it."""

import os
from dataclasses import dataclass
from pathlib import Path

from xinqiao.device.policy import POLICIES, Policy
from xinqiao.errors import InputError


@dataclass(frozen=True)
class Settings:
    """chip: a name or a path. record, trace: files to write at the end, or None."""

    chip: str
    shapes: bool = False
    policy: Policy | None = None
    devices: int | None = None
    host_rng: bool = False
    record: Path | None = None
    trace: Path | None = None

    def environment(self) -> dict[str, str]:
        """The variables that say the same; paths absolute, since the program may change folder."""
        words = {
            "TORCH_DEVICE_BACKEND_AUTOLOAD": "1",  # without it nothing here is read, and the program runs on the CPU
            "XINQIAO_CHIP": str(Path(self.chip).absolute())
            if os.sep in self.chip or self.chip.endswith(".toml")
            else self.chip,
            "XINQIAO_SHAPES": "1" if self.shapes else "",
            "XINQIAO_POLICY": self.policy or "",
            "XINQIAO_DEVICES": str(self.devices or ""),
            "XINQIAO_HOST_RNG": "1" if self.host_rng else "",
            "XINQIAO_RECORD": str(self.record.absolute()) if self.record else "",
            "XINQIAO_TRACE": str(self.trace.absolute()) if self.trace else "",
        }
        return {name: value for name, value in words.items() if value}


def from_environment() -> Settings | None:
    """What the environment says; None where it names no chip. InputError for a value that means nothing."""
    read = os.environ.get
    chip = read("XINQIAO_CHIP")
    if not chip:
        return None
    policy, devices = read("XINQIAO_POLICY"), read("XINQIAO_DEVICES")
    if policy and policy not in POLICIES:
        raise InputError(f"XINQIAO_POLICY={policy}: not one of {', '.join(POLICIES)}")
    if devices and not devices.isdecimal():
        raise InputError(f"XINQIAO_DEVICES={devices}: not a number of devices")
    record, trace = read("XINQIAO_RECORD"), read("XINQIAO_TRACE")
    return Settings(
        chip=chip,
        shapes=read("XINQIAO_SHAPES") == "1",
        policy=policy or None,
        devices=int(devices) if devices else None,
        host_rng=read("XINQIAO_HOST_RNG") == "1",
        record=Path(record) if record else None,
        trace=Path(trace) if trace else None,
    )

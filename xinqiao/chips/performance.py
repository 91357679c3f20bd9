"""How fast a chip is: per package as sources state it, and per device as PyTorch sees it."""

from msgspec import Struct

from xinqiao.chips.figures import Bandwidth, Capacity, Duration, Figure, Link, OnChip, Peak


class Compute(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Peak of each number format in matrix products; fp32 is full precision, without rounded inputs."""

    fp64: Peak = Peak()
    fp32: Peak = Peak()
    tf32: Peak = Peak()
    fp16: Peak = Peak()
    bf16: Peak = Peak()
    fp8: Peak = Peak()
    int8: Peak = Peak()
    fp4: Peak = Peak()
    int4: Peak = Peak()


class Memory(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of the device, and of one core: the buffer that its vector units compute in, and that of sums of products."""

    capacity: Capacity = Capacity()
    bandwidth: Bandwidth = Bandwidth()
    on_chip: OnChip = OnChip()
    on_chip_products: OnChip = OnChip()


class Links(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Inside the fast domain; between servers; to the host."""

    scale_up: Link = Link()
    scale_out: Link = Link()
    host: Link = Link()


# torch dtype -> the number format whose peak it runs at
FORMATS = {
    "float64": "fp64",
    "float32": "fp32",
    "tf32": "tf32",
    "float16": "fp16",
    "bfloat16": "bf16",
    "float8_e4m3fn": "fp8",
    "float8_e5m2": "fp8",
    "float8_e4m3fnuz": "fp8",
    "float8_e5m2fnuz": "fp8",
    "int8": "int8",
    "uint8": "int8",
    "float4_e2m1fn_x2": "fp4",
}


class PerDevice(Struct, frozen=True, kw_only=True):
    """One device as PyTorch sees it, in SI units: a package's figures divided by the devices in it.

    None means that no source states the figure. Link rates are one way.
    """

    compute: Compute
    memory: Memory
    links: Links
    launch_time: Duration
    lacks: tuple[str, ...]
    devices: int  # in the package

    def peak(self, dtype: str) -> float | None:
        """FLOP/s (operations/s for integers) of a torch dtype, 'tf32' included; None: see `why`."""
        middle = self.peak_interval(dtype)
        return None if middle is None else sum(middle) / 2

    def peak_interval(self, dtype: str) -> tuple[float, float] | None:
        """Lowest and highest FLOP/s that the sources allow."""
        figure = self._peak_figure(dtype)
        return self._share(figure) if figure is not None and figure.dense else None

    def why(self, dtype: str) -> str:
        """Where `peak` comes from, or why there is none."""
        name, figure = FORMATS.get(dtype, ""), self._peak_figure(dtype)
        if figure is None:
            return f"no matrix peak is recorded for {dtype}"
        if name in self.lacks:
            return f"the chip has no {name}"
        if not figure.known:
            return f"no source states the {name} peak" + (f": {figure.note}" if figure.note else "")
        if not figure.dense:
            return f"the {name} peak is published with sparsity only ({figure.source})"
        return f"{name}: {figure}, {figure.confidence} ({figure.source})"

    def _peak_figure(self, dtype: str) -> Peak | None:
        figure: Peak | None = getattr(self.compute, FORMATS.get(dtype, ""), None)
        return figure

    def _share(self, figure: Figure) -> tuple[float, float] | None:
        if figure.interval is None:
            return None
        parts = self.devices * (2 if figure.direction == "two-way" else 1)
        return figure.interval[0] / parts, figure.interval[1] / parts

    def interval(self, name: str) -> tuple[float, float] | None:
        """(low, high) of bandwidth, capacity, scale_up, scale_out, host or launch; None: unknown."""
        if name == "launch":
            return self.launch_time.interval
        return self._share(getattr(self.links if name in Links.__struct_fields__ else self.memory, name))

    def _middle(self, name: str) -> float | None:
        ends = self.interval(name)
        return None if ends is None else sum(ends) / 2

    @property
    def capacity(self) -> int | None:
        """Bytes; the low end of a range, so that what fits, fits every card sold under the name."""
        ends = self.interval("capacity")
        return None if ends is None else int(ends[0])

    @property
    def bandwidth(self) -> float | None:
        """Bytes/s of device memory."""
        return self._middle("bandwidth")

    @property
    def scale_up(self) -> float | None:
        """Bytes/s one way inside the fast domain."""
        return self._middle("scale_up")

    @property
    def scale_out(self) -> float | None:
        """Bytes/s one way between servers."""
        return self._middle("scale_out")

    @property
    def host(self) -> float | None:
        """Bytes/s one way to the host."""
        return self._middle("host")

    @property
    def launch(self) -> float | None:
        """Seconds to launch one kernel."""
        return self._middle("launch")

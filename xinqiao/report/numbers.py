"""Numbers as people read them, with their units."""

_FLOPS = ("FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP", "EFLOP")
_BYTES = ("B", "kB", "MB", "GB", "TB", "PB")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_SECONDS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))


def seconds(value: float) -> str:
    """'83 s', '12.3 ms', '4.56 µs'."""
    for factor, unit in _SECONDS:
        if value >= factor:
            return f"{_three(value / factor)} {unit}"
    return f"{_three(value / 1e-9)} ns" if value else "0 s"


def data(value: float) -> str:
    """Bytes that move, in powers of 1000 as bandwidths are given: '1.34 GB'."""
    return _scaled(value, 1000, _BYTES)


def memory(value: float) -> str:
    """Bytes that are held, in powers of 1024 as PyTorch gives them: '64 GiB'."""
    return _scaled(value, 1024, _BINARY)


def flops(value: float) -> str:
    """Arithmetic operations: '2.5 GFLOP'."""
    return _scaled(value, 1000, _FLOPS)


def count(value: int) -> str:
    """'12,345'."""
    return f"{value:,}"


def percent(part: float) -> str:
    """'61 %', '0.3 %', '<0.1 %'. part: from 0 to 1."""
    if 0 < part < 0.001:
        return "<0.1 %"
    return f"{100 * part:.0f} %" if part >= 0.1 or part == 0 else f"{100 * part:.1f} %"


def figure(value: float) -> str:
    """Three significant digits: '190', '1,640', '0.0042'."""
    return _three(value) if value >= 1 or value == 0 else f"{value:.3g}"


def exact(value: float) -> str:
    """Nine digits, enough to tell two float32 apart: '2.81915760'."""
    return f"{value:.9g}"


def _scaled(value: float, base: int, units: tuple[str, ...]) -> str:
    step = 0
    while value >= base and step < len(units) - 1:
        value, step = value / base, step + 1
    return f"{_three(value)} {units[step]}"


def _three(value: float) -> str:
    """Three significant digits, never in scientific form."""
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"

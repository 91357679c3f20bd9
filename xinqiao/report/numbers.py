"""Numbers as people read them, with their units."""

_BYTES = ("B", "kB", "MB", "GB", "TB")
_FLOPS = ("FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP", "EFLOP")


def seconds(value: float) -> str:
    """'1.23 s', '12.3 ms', '4.56 µs'."""
    for factor, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if value >= factor:
            return f"{_three(value / factor)} {unit}"
    return f"{_three(value / 1e-9)} ns" if value else "0 s"


def data(value: float) -> str:
    """Bytes in powers of 1000: '1.34 GB'."""
    return _scaled(value, _BYTES)


def flops(value: float) -> str:
    return _scaled(value, _FLOPS)


def count(value: int) -> str:
    """'12,345'."""
    return f"{value:,}"


def _scaled(value: float, units: tuple[str, ...]) -> str:
    step = 0
    while value >= 1000 and step < len(units) - 1:
        value, step = value / 1000, step + 1
    return f"{_three(value)} {units[step]}"


def _three(value: float) -> str:
    """Three significant digits, never in scientific form."""
    if value >= 100 or value == int(value):
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"

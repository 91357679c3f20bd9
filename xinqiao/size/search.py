"""Plans that are possible on so many devices, and the best of them."""

from collections.abc import Iterator

from xinqiao.chips import nodes
from xinqiao.cost.price import Price
from xinqiao.cost.unknown import Unknown
from xinqiao.errors import InputError
from xinqiao.size.evaluate import Setting
from xinqiao.size.iteration import Engine
from xinqiao.size.plan import Formats, Plan
from xinqiao.size.request import Request


def plans(request: Request, devices: int, inner: int) -> Iterator[Plan]:
    """All that keep the degrees which the user gave. inner: devices that the fast links join."""
    model, wanted = request.model, request.wanted
    heads = min(layer.attention.heads for layer in model.layers)
    layers = sum(layer.count for layer in model.layers)
    experts = max((layer.experts.count for layer in model.layers if layer.experts), default=0)
    cp = wanted.cp or 1
    for tp in [wanted.tp] if wanted.tp else _divisors(devices, min(heads, inner)):
        for pp in [wanted.pp] if wanted.pp else _divisors(devices, min(layers, 16)):
            if heads % tp or devices % (tp * pp * cp):
                continue
            dp = devices // (tp * pp * cp)
            if wanted.dp and wanted.dp != dp:
                continue
            for ep in _expert_degrees(wanted.ep, experts, tp, dp, cp):
                yield Plan(tp, pp, dp, ep, cp)


def _expert_degrees(wanted: int, experts: int, tp: int, dp: int, cp: int) -> list[int]:
    together = tp * dp * cp
    if wanted:
        return [wanted] if together % wanted == 0 else []
    if not experts:
        return [1]
    return sorted({1, *(n for n in (tp, tp * dp) if n <= experts * 2), *(n for n in _divisors(together, experts) if n >= tp)})


def _divisors(number: int, most: int) -> list[int]:
    """Powers of two, and the number itself, that divide it."""
    found = [n for n in (1 << i for i in range(number.bit_length())) if number % n == 0 and n <= most]
    return found


def _inner(node: nodes.Node) -> int:
    """Devices that fast links join: tensor parallelism stays inside."""
    return max((level.size or 1 for level in node.levels if level.port != "scale_out"), default=1)


def settings(request: Request, formats: Formats, chips: int) -> Iterator[Setting]:
    """Every plan on so many chips; a plan that does not fit is among them."""
    node = nodes.load(request.node, request.chip) if request.node else nodes.of(request.chip)
    price = Price(request.chip, request.software)
    for plan in plans(request, chips * request.per_chip, _inner(node)):
        yield Setting(request, Engine(request.model, plan, formats, price, node))


def best(request: Request, formats: Formats) -> Setting:
    """The setting with the most throughput a chip of those that fit and keep the limits; else the one nearest to fitting.

    Without a number of chips: the fewest, in powers of two, on which one fits.
    """
    counts = [request.chips] if request.chips else [1 << i for i in range(13)]
    nearest = None
    for chips in counts:
        found = list(settings(request, formats, chips))
        if not found:
            continue
        fitting = [s for s in found if s.most >= 1 and (not request.workload.batch or s.most >= request.workload.batch * s.chips)]
        if fitting:
            return _fastest(fitting)
        nearest = max(found, key=lambda s: s.usable - s.memory(1).total)
    if nearest is None:
        raise InputError(f"no plan has these degrees on {request.chips:,} chips: tp must divide the heads, and tp × pp × dp the devices")
    return nearest


def _fastest(fitting: list[Setting]) -> Setting:
    try:
        return max(fitting, key=_worth)
    except Unknown:  # no speed can be told: the smallest share of memory
        return min(fitting, key=lambda s: s.memory(1).total)


def _worth(setting: Setting) -> tuple[bool, float]:
    """(keeps the limits, tokens/s a chip of the phase)."""
    work = setting.request.workload
    if setting.request.phase == "prefill":
        late = work.ttft and setting.first_token().seconds > work.ttft
        return not late, setting.prefill().per_second / setting.chips
    sequences = setting.sequences()
    made = setting.serve(sequences) if setting.request.phase == "serve" else setting.decode(sequences)
    slow = work.tpot and made.time.seconds / (1 + work.accepted) > work.tpot * 1.001
    late = work.ttft and setting.first_token().seconds > work.ttft
    return not (slow or late), made.per_second / setting.chips

"""Plans that are possible on so many devices, and the best of them."""

from collections.abc import Iterator
from math import gcd

from xinqiao.chips import nodes
from xinqiao.cost.price import Price
from xinqiao.cost.unknown import Unknown
from xinqiao.errors import InputError
from xinqiao.size.evaluate import Setting
from xinqiao.size.iteration import Engine
from xinqiao.size.plan import Formats, Plan
from xinqiao.size.request import MOST_CHIPS, Request
from xinqiao.size.training_setting import TrainingSetting


def plans(request: Request, devices: int, inner: int) -> Iterator[Plan]:
    """All that keep the degrees which the user gave. inner: devices that the fast links join."""
    model, wanted = request.model, request.wanted
    heads = {layer.attention.heads for layer in model.layers}
    layers = sum(layer.count for layer in model.layers)
    experts = max((layer.experts.count for layer in model.layers if layer.experts), default=0)
    cp = wanted.cp or 1
    for tp in [wanted.tp] if wanted.tp else _divisors(devices, min(*heads, inner)):
        for pp in [wanted.pp] if wanted.pp else _divisors(devices, min(layers, 16)):
            if any(number % tp for number in heads) or devices % (tp * pp * cp):
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
    return sorted(
        {1, *(n for n in (tp, tp * dp) if n <= experts * 2), *(n for n in _divisors(together, experts) if n >= tp)}
    )


def _divisors(number: int, most: int) -> list[int]:
    """Powers of two, up to `most`, that divide it."""
    return [n for n in (1 << i for i in range(number.bit_length())) if number % n == 0 and n <= most]


def _inner(node: nodes.Node) -> int:
    """Devices that fast links join: tensor parallelism stays inside."""
    return max((level.size or 1 for level in node.levels if level.port != "scale_out"), default=1)


def engines(request: Request, formats: Formats, chips: int) -> Iterator[Engine]:
    """Every plan on so many chips; a plan that does not fit is among them."""
    node = nodes.load(request.node, request.chip) if request.node else nodes.of(request.chip)
    price = Price(request.chip, request.software)
    for plan in plans(request, chips * request.per_chip, _inner(node)):
        yield Engine(request.model, plan, formats, price, node)


def best(request: Request, formats: Formats) -> Setting:
    """The setting with the most throughput a chip of those that fit and keep the limits.

    Without a number of chips: on the fewest on which one does. Where none does: the one nearest to keeping the limits,
    or to fitting. InputError where no plan has the degrees that the user gave.
    """
    late, misfit = [], []
    for chips in _counts(request):
        found = [Setting(request, engine) for engine in engines(request, formats, chips)]
        fitting = [setting for setting in found if setting.fits]
        if fitting:
            fastest = max(fitting, key=_worth)
            if fastest.keeps:
                return fastest
            late.append(fastest)
            if len(late) > 2 and fastest.lateness > 0.99 * late[-3].lateness:
                break  # more chips no longer make it sooner
        misfit += found
    if late:
        return min(late, key=lambda setting: setting.lateness)
    if not misfit:
        raise InputError(_no_plan(request))
    return max(misfit, key=lambda setting: setting.engine.usable - setting.memory(1).total)


def best_training(request: Request, formats: Formats) -> TrainingSetting:
    """The setting with the most tokens/s a chip of those that fit, on the fewest chips; else the nearest to fitting."""
    misfit = []
    for chips in _counts(request):
        found = [TrainingSetting(request, engine) for engine in engines(request, formats, chips)]
        fitting = [setting for setting in found if setting.fits]
        if fitting:
            return max(fitting, key=_pace)
        misfit += found
    if not misfit:
        raise InputError(_no_plan(request))
    return max(misfit, key=lambda setting: setting.engine.usable - setting.needs(setting.way).total)


def _pace(setting: TrainingSetting) -> tuple[int, float]:
    """First by tokens/s a chip; then those whose speed is unknown, by the room that they leave."""
    try:
        return 1, setting.per_second
    except Unknown:
        return 0, -setting.needs(setting.way).total


def _counts(request: Request) -> list[int]:
    """Numbers of chips to try: the user's; else twice as many each time, from what the given degrees need."""
    if request.chips:
        return [request.chips]
    product = request.wanted.product
    least = product // gcd(product, request.per_chip)
    return [least << i for i in range(13) if least << i <= MOST_CHIPS]


def _no_plan(request: Request) -> str:
    given = " ".join(f"--{name} {degree}" for name, degree in request.wanted._asdict().items() if degree)
    where = f"{request.chips * request.per_chip:,} devices" if request.chips else "any number of devices"
    return f"{given}: no plan on {where}; tp × pp × dp × cp is all devices, and ep divides tp × dp × cp"


def _worth(setting: Setting) -> tuple[int, float]:
    """First those that keep the limits, by tokens/s a chip; then the least late; then those whose speed is unknown.

    Of the last, the one that leaves the most room.
    """
    try:
        if not setting.keeps:
            return 1, -setting.lateness
        made = setting.prefill() if setting.request.phase == "prefill" else setting.steps(setting.sequences)
    except Unknown:
        return 0, -setting.memory(1).total
    return 2, made.per_second / setting.chips

"""Seconds that a group of devices takes to exchange bytes over the links of its machine.

A group crosses some levels of the machine: at each it joins `peers` units of the level inside. What one device sends:

    all-gather, reduce-scatter   bytes × (peers − 1)/peers / devices inside    at each level
    all-reduce                   a reduce-scatter, then an all-gather: 2 (n − 1)/n of the bytes on one level, as a ring
                                 (Patarasuk and Yuan, https://doi.org/10.1016/j.jpdc.2008.09.002); inside first, so that
                                 only a share of the bytes goes outside, over all devices' ports at once
                                 (NVIDIA NCCL, https://developer.nvidia.com/nccl)
    all-to-all, dispatch         the copies for devices of that level only

Levels work at the same time, on chunks, so that the slowest one counts; levels that run over one port share its rate.
On a mesh a device has one link to each peer, and a group uses only those between its members. Of a collective that
fits in one switch or mesh, each device may also send all to all at once (one-shot): fewer hops, more bytes.
"""

from collections.abc import Iterable
from math import ceil
from typing import NamedTuple

from xinqiao.chips.nodes import Level, Node
from xinqiao.cost.unknown import Unknown


class Efficiency(NamedTuple):
    """Constants that the caller has fitted."""

    rate: float  # share of the links' rate that is reached
    latency: float  # seconds of one hop where the machine's file states none


class Transfer(NamedTuple):
    """Apart, because each has its own uncertainty."""

    link: float  # seconds, bound by rates
    latency: float  # seconds, bound by hops

    @property
    def total(self) -> float:
        return self.link + self.latency


class Group(NamedTuple):
    """Devices 0, stride, 2 stride, … of the machine; a group that splits unevenly counts as its larger parts."""

    size: int
    stride: int = 1


class Routing(NamedTuple):
    """Tokens of one device on their way to the experts that the group's devices hold, evenly many each."""

    tokens: float
    hidden_bytes: float  # of one token
    top_k: int  # experts a token goes to
    nodes_limit: int = 0  # servers that a token's experts may be in; 0: each copy goes straight to its expert
    inner_links: bool = True  # False: straight copies use the outermost links also inside a server


class _Span(NamedTuple):
    """A level that a group crosses."""

    level: Level
    inside: int  # members within one unit of the level inside
    members: int  # within one unit of this level
    peers: int  # units of the level inside


def _spans(node: Node, group: Group) -> list[_Span]:
    spans, inside = [], 1
    for level in node.levels:
        members = group.size if level.size is None else min(group.size, max(1, level.size // group.stride))
        if members > inside:
            spans.append(_Span(level, inside, members, ceil(members / inside)))
            inside = members
    return spans


def _rate(span: _Span, eff: Efficiency) -> float:
    """Bytes/s that one device sends to its peers at a level; Unknown where no source states the links' rate."""
    level = span.level
    if level.rate is None:
        raise Unknown(level.fact)
    links = (span.peers - 1) / (level.width - 1) if level.topology == "mesh" and level.width else 1.0
    return level.rate * eff.rate * links


def _hop(level: Level, eff: Efficiency) -> float:
    return eff.latency if level.latency is None else level.latency


def _steps(span: _Span) -> int:
    """Hops of a reduce-scatter or an all-gather: to each peer at once; around a ring; by a tree between servers."""
    if span.level.topology in ("ring", "pcie"):
        return span.peers - 1
    return (span.peers - 1).bit_length() if span.level.port == "scale_out" else 1


def _slowest(loads: Iterable[tuple[_Span, float]], eff: Efficiency) -> float:
    """Seconds of the busiest port, from the bytes that one device sends at each level."""
    ports: dict[str, float] = {}
    for span, nbytes in loads:
        port = span.level.port
        ports[port] = ports.get(port, 0.0) + nbytes / _rate(span, eff)
    return max(ports.values(), default=0.0)


def _gather(spans: list[_Span], nbytes: float, eff: Efficiency) -> Transfer:
    loads = ((s, nbytes * (s.peers - 1) / s.peers / s.inside) for s in spans)
    return Transfer(_slowest(loads, eff), sum(_steps(s) * _hop(s.level, eff) for s in spans))


def all_gather(node: Node, group: Group, nbytes: float, eff: Efficiency) -> Transfer:
    """nbytes: what each device has in the end."""
    return _gather(_spans(node, group), nbytes, eff)


def reduce_scatter(node: Node, group: Group, nbytes: float, eff: Efficiency) -> Transfer:
    """nbytes: what each device has at first."""
    return _gather(_spans(node, group), nbytes, eff)


def all_reduce(node: Node, group: Group, nbytes: float, eff: Efficiency) -> Transfer:
    """nbytes: of each device's tensor. The faster of two-shot and one-shot."""
    spans = _spans(node, group)
    half = _gather(spans, nbytes, eff)
    two_shot = Transfer(2 * half.link, 2 * half.latency)
    if len(spans) != 1 or _steps(spans[0]) != 1:
        return two_shot
    span = spans[0]
    one_shot = Transfer(nbytes * (span.peers - 1) / _rate(span, eff), _hop(span.level, eff))
    return min(one_shot, two_shot, key=lambda transfer: transfer.total)


def all_to_all(node: Node, group: Group, nbytes: float, eff: Efficiency) -> Transfer:
    """nbytes: of one device's tensor, an equal part of which goes to each device of the group."""
    return _scatter(_spans(node, group), nbytes / group.size, eff)


def _scatter(spans: list[_Span], part: float, eff: Efficiency) -> Transfer:
    """`part` bytes from each device to each other one."""
    loads = ((s, part * (s.members - s.inside) * _detour(s)) for s in spans)
    return Transfer(_slowest(loads, eff), max((_reach(s) * _hop(s.level, eff) for s in spans), default=0.0))


def _reach(span: _Span) -> int:
    """Hops to the farthest peer."""
    return span.peers // 2 if span.level.topology == "ring" else 1


def _detour(span: _Span) -> float:
    """Links that a byte passes on the average: more than one on a ring, whose devices relay for one another."""
    return (span.peers**2 // 4) / (span.peers - 1) if span.level.topology == "ring" else 1.0


def broadcast(node: Node, group: Group, nbytes: float, eff: Efficiency) -> Transfer:
    """nbytes: of the tensor. In chunks along a chain at each level; outside, each device carries a share of it."""
    spans = _spans(node, group)
    hops = ((s, s.peers - 1 if s.level.topology in ("ring", "pcie") else (s.peers - 1).bit_length()) for s in spans)
    return Transfer(
        _slowest(((s, nbytes / s.inside) for s in spans), eff),
        sum(count * _hop(s.level, eff) for s, count in hops),
    )


def point_to_point(node: Node, group: Group, nbytes: float, eff: Efficiency) -> Transfer:
    """From each device of the group to the next, as between pipeline stages: the pair that is farthest apart."""
    spans = _spans(node, group)
    if not spans:
        return Transfer(0.0, 0.0)
    level = spans[-1].level
    pair = _Span(level, 1, 2, 2)
    both_ways = 2 if level.topology == "ring" and level.width != 2 else 1  # a ring's rate is that of two links
    return Transfer(both_ways * nbytes / _rate(pair, eff), _hop(level, eff))


def dispatch(node: Node, group: Group, routing: Routing, eff: Efficiency) -> Transfer:
    """Mixture of experts: each device's tokens to their experts' devices.

    nodes_limit = 0: a copy for each expert goes straight to it, as DeepEP's low-latency kernels send.
    Otherwise a token goes once to each server that has experts of it, and is forwarded there once to each device that
    has, as DeepEP's normal kernels send (https://github.com/deepseek-ai/DeepEP/blob/main/docs/legacy.md); a limit of
    all servers is no limit. What stays on the device costs nothing. Experts are taken as chosen evenly.
    """
    if routing.nodes_limit:
        return _through_servers(_spans(node, group), routing, eff)
    spans = _spans(node, group)
    if not routing.inner_links and spans:
        spans = [_Span(node.levels[-1], 1, group.size, group.size)]
    return _scatter(spans, routing.tokens * routing.top_k * routing.hidden_bytes / group.size, eff)


def combine(node: Node, group: Group, routing: Routing, eff: Efficiency) -> Transfer:
    """The experts' results back to the tokens' devices; hidden_bytes: of one result. The same way as `dispatch`."""
    return dispatch(node, group, routing, eff)


def _through_servers(spans: list[_Span], routing: Routing, eff: Efficiency) -> Transfer:
    inner = [s for s in spans if s.level.size is not None]
    outer = [s for s in spans if s.level.size is None]
    servers = outer[0].peers if outer else 1
    devices = inner[-1].members if inner else 1  # of the group in one server
    allowed = min(routing.nodes_limit, servers)
    nbytes = routing.tokens * routing.hidden_bytes
    sent = nbytes * _distinct(allowed, routing.top_k) * (servers - 1) / servers
    part = nbytes * _distinct(allowed * devices, routing.top_k) / devices  # that reaches each device of a server
    loads = [(s, sent) for s in outer] + [(s, part * (s.members - s.inside) * _detour(s)) for s in inner]
    hops = [_hop(s.level, eff) for s in outer] + [max((_reach(s) * _hop(s.level, eff) for s in inner), default=0.0)]
    return Transfer(_slowest(loads, eff), sum(hops))


def _distinct(boxes: int, balls: int) -> float:
    """Expected boxes that are hit by balls thrown evenly."""
    return boxes * (1.0 - (1.0 - 1.0 / boxes) ** balls)

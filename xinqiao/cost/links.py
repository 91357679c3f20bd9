from typing import NamedTuple
from xinqiao.cost.unknown import Unknown
class Efficiency(NamedTuple):
    rate: float
    latency: float
class Transfer(NamedTuple):
    link: float
    latency: float
class Group(NamedTuple):
    size: int
    stride: int = 1
class Node(NamedTuple):
    per: int
    up: float
    out: float
def of(chip):
    d = chip.per_device()
    return Node(chip.torch.server_devices, d.scale_up or 0, d.scale_out or 0)
def rate(node, g):
    return node.up if g.size * g.stride <= node.per else node.out
def all_reduce(node, g, nbytes, eff):
    return Transfer(2*(g.size-1)/g.size*nbytes/(rate(node,g)*eff.rate), eff.latency*2)
def all_gather(node, g, nbytes, eff):
    return Transfer((g.size-1)*nbytes/(rate(node,g)*eff.rate), eff.latency)
reduce_scatter = all_gather
def point_to_point(node, g, nbytes, eff):
    return Transfer(nbytes/(rate(node,g)*eff.rate), eff.latency)
def dispatch(node, g, tokens, hidden_bytes, top_k, eff, *, nodes_limit=0):
    k = top_k if not nodes_limit else 3.5
    return Transfer(tokens*k*hidden_bytes/(rate(node,g)*eff.rate), eff.latency*10)
combine = dispatch

"""Which device holds which experts: busy ones on several devices, and every device about as busy as the others."""

import heapq

import torch
from torch import Tensor

from xinqiao.errors import InputError

SWAPS = 1000  # at most, of a layer


def place(loads: Tensor, devices: int, slots: int) -> Tensor:
    """The expert that each slot of each device holds: int64 [..., devices, slots], from loads [..., experts].

    loads: how often each expert is chosen, as `moe.load` counts it. Every expert has a slot; further slots go to
    replicas, each to the expert whose replicas are busiest, at most one of an expert on a device. Replicas share an
    expert's load equally. The busiest come first to the least busy device; then experts of the busiest device change
    places with others while that helps. The same loads always give the same placement.
    """
    experts = loads.shape[-1] if loads.ndim else 0
    if not experts or loads.isnan().any() or (loads < 0).any():
        raise InputError(f"place: loads has shape {list(loads.shape)}, expected [..., experts] of numbers from 0 on")
    if devices < 1 or not experts <= devices * slots or slots > experts:
        raise InputError(
            f"place: devices = {devices} with slots = {slots}, expected room for {experts} experts and at most one of "
            "each on a device"
        )
    layers = [_layer(layer, devices, slots) for layer in loads.reshape(-1, experts).tolist()]
    return torch.tensor(layers, dtype=torch.int64).view(*loads.shape[:-1], devices, slots)


def shares(loads: Tensor, places: Tensor) -> Tensor:
    """Each device's load: fp64 [..., devices], for loads [..., experts] and places [..., devices, slots]."""
    flat = places.flatten(-2)
    replicas = torch.zeros_like(loads, dtype=torch.float64).scatter_add_(-1, flat, torch.ones_like(flat).double())
    return (loads.double() / replicas).gather(-1, flat).view(places.shape).sum(-1)


def _layer(loads: list[float], devices: int, slots: int) -> list[list[int]]:
    replicas = _replicas(loads, devices, slots)
    share = [load / count for load, count in zip(loads, replicas, strict=True)]
    items = [expert for expert, count in enumerate(replicas) for _ in range(count)]
    held = _pack(sorted(items, key=lambda expert: -share[expert]), share, devices, slots)
    return _improve(torch.tensor(held), torch.tensor(share, dtype=torch.float64))


def _replicas(loads: list[float], devices: int, slots: int) -> list[int]:
    """How many slots each expert has: the largest load of a replica is as small as can be."""
    counts = [1] * len(loads)
    busiest = [(-load, expert) for expert, load in enumerate(loads)]
    heapq.heapify(busiest)
    for _ in range(devices * slots - len(loads)):
        _, expert = heapq.heappop(busiest)
        counts[expert] += 1
        if counts[expert] < devices:
            heapq.heappush(busiest, (-loads[expert] / counts[expert], expert))
    return counts


def _pack(items: list[int], share: list[float], devices: int, slots: int) -> list[list[int]]:
    """Each expert to the least busy device that has room and does not hold it."""
    held: list[list[int]] = [[] for _ in range(devices)]
    busy = [0.0] * devices
    for expert in items:
        room = [d for d in range(devices) if len(held[d]) < slots]
        free = [d for d in room if expert not in held[d]]
        if not free:  # the devices with room hold it: one of them takes an expert from a full device
            taker = min(room, key=lambda d: busy[d])
            giver = min((d for d in range(devices) if expert not in held[d]), key=lambda d: busy[d])
            given = next(e for e in held[giver] if e not in held[taker])
            held[giver].remove(given)
            held[taker].append(given)
            busy[giver] -= share[given]
            busy[taker] += share[given]
            free = [giver]
        device = min(free, key=lambda d: busy[d])
        held[device].append(expert)
        busy[device] += share[expert]
    return held


def _improve(held: Tensor, share: Tensor) -> list[list[int]]:
    """Swaps an expert of the busiest device with another's, the best pair each time, while their larger load falls."""
    devices, slots = held.shape
    holds = torch.zeros(devices, len(share), dtype=torch.bool).scatter_(1, held, value=True)
    for _ in range(SWAPS):
        busy = share[held].sum(1)
        most = int(busy.argmax())
        mine, others = held[most], held.flatten()
        change = share[others] - share[mine][:, None]  # of the busiest device, [slots, devices · slots]
        after = torch.maximum(busy[most] + change, busy.repeat_interleave(slots) - change)
        clash = holds[most][others] | holds.T[mine].repeat_interleave(slots, 1)
        best = int(after.masked_fill(clash, torch.inf).argmin())
        own, (device, slot) = best // (devices * slots), divmod(best % (devices * slots), slots)
        if clash.flatten()[best] or not after.flatten()[best] < busy[most] * (1 - 1e-12):
            break
        leaves, comes = int(mine[own]), int(held[device, slot])
        held[most, own], held[device, slot] = comes, leaves
        holds[most, leaves] = holds[device, comes] = False
        holds[most, comes] = holds[device, leaves] = True
    return [[int(e) for e in row] for row in held.tolist()]

"""Floats that find mistakes: random ones of every size, and those where rounding decides."""

import torch

from xinqiao.formats.elements import ELEMENTS, decode


def random_floats(count, seed=0):
    """fp32 of every exponent: half of random bits, half normal numbers spread over sixty binades."""
    generator = torch.Generator().manual_seed(seed)
    bits = torch.randint(-(1 << 31), 1 << 31, (count // 2,), generator=generator).to(torch.int32)
    size = torch.exp2(torch.randint(-30, 30, (count - count // 2,), generator=generator).float())
    return torch.cat((bits.view(torch.float32), torch.randn(count - count // 2, generator=generator) * size))


def adversarial_floats(element):
    """Every value of a format, every middle between two, their neighbours, and the ends of fp32."""
    row = ELEMENTS[element]
    values = decode(torch.arange(1 << min(row.bits, 16)), element)
    values = values[values.isfinite()].abs().unique()
    middles = ((values[1:].double() + values[:-1].double()) / 2).float()
    beyond = torch.tensor([row.largest * f for f in (1 + 2**-23, 1.03, 1.0625, 1.25, 2)], dtype=torch.float64).float()
    tiny = torch.tensor([0.0, 2.0**-149, 2.0**-127, 2.0**-126, 2.0**-126 - 2.0**-149, torch.finfo(torch.float32).max])
    found = torch.cat((values, middles, beyond, tiny))
    up, down = (torch.nextafter(found, torch.full_like(found, to)) for to in (torch.inf, 0.0))
    found = torch.cat((found, up, down))
    return torch.cat((found, -found))


def all_bfloat16():
    """Every one of the 65,536 patterns, as fp32."""
    return (torch.arange(1 << 16, dtype=torch.int64) << 16).to(torch.int32).view(torch.float32)

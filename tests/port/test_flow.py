"""Where a value goes decides what it is. Each line says in its comment what becomes of it; `###` begins a file."""

import re

import pytest

from xinqiao.chips import catalog
from xinqiao.port.collect import facts_of
from xinqiao.port.engine import port_source
from xinqiao.port.flow import together
from xinqiao.port.source import parse
from xinqiao.port.target import Target

CHIP = Target(catalog.load("ascend-910c"))
PROGRAMS = {
    "a variable": """
kind = "cuda"  # rewritten
x.to(kind)
other = "cuda"  # needs-you
""",
    "a conditional, a tuple, a loop": """
import torch
a = "cuda:0" if fast else "cpu"  # rewritten
b, c = "cuda", "cuda:1"  # rewritten rewritten
for d in ("cuda:0", "cuda:1"):  # rewritten rewritten
    torch.zeros(1, device=d)
x.to(a), x.to(b), x.to(c)
""",
    "the beginning of a text": """
import torch
base = "cuda"  # rewritten
torch.device(f"{base}:{rank}")
torch.device("%s:%d" % (base, rank))
torch.device("{}:{}".format(base, rank))
torch.device(base + ":" + str(rank))
prefix = "cuda:"  # rewritten
torch.device(prefix + str(rank))
""",
    "a parameter and its default": """
def move(x, where="cuda"):  # rewritten
    return x.to(where)

def outer(x, target):
    return move(x, where=target)

outer(x, "cuda:1")  # rewritten
outer(x, target="cuda:1")  # rewritten
""",
    "what a function returns": """
def pick():
    if on:
        return "cuda"  # rewritten
    return "cpu"

model.to(pick())
""",
    "attributes and keys": """
class Trainer:
    kind = "cuda"  # rewritten

    def __init__(self, where):
        self.where = where

    def run(self, x):
        return x.to(self.where), x.to(self.kind)

Trainer("cuda:1")  # rewritten
cfg = {"spot": "cuda", "name": "cuda"}  # rewritten needs-you
x.to(cfg["spot"])
settings = dict(place="cuda")  # rewritten
x.to(settings["place"])
x.to(options.get("corner", "cuda"))  # rewritten
x.to(getattr(options, "corner", "cuda"))  # rewritten
""",
    "command lines": """
import argparse
p = argparse.ArgumentParser()
p.add_argument("--run-on", default="cuda", choices=["cuda", "cpu"], help="cuda or cpu")  # rewritten rewritten safe
p.add_argument("--no-cuda", action="store_true")  # safe
p.add_argument("--cuda", action="store_true")  # safe
args = p.parse_args()
x.to(args.run_on)
use_cuda = not args.no_cuda
""",
    "click": """
import click

@click.command()
@click.option("--where", default="cuda")  # rewritten
@click.option("--cuda/--no-cuda", default=True)  # safe
def main(where, cuda):
    x.to(where)
""",
    "records": """
from dataclasses import dataclass, field
from typing import NamedTuple

@dataclass
class Config:
    spot: str = "cuda"  # rewritten
    other: str = field(default="cuda:1")  # rewritten

class Row(NamedTuple):
    place: str = "cuda"  # rewritten

Config(spot="cuda:1")  # rewritten
Row("cuda:2")  # rewritten
x.to(cfg.spot), x.to(cfg.other), x.to(row.place)
""",
    "the environment": """
import os
x.to(os.environ.get("RUN_ON", "cuda"))  # rewritten
""",
    "comparisons": """
if x.device.type == "cuda":  # rewritten
    pass
if str(x.device).startswith("cuda:"):  # rewritten
    pass
if "cuda" in str(where.device):  # rewritten
    pass
if next(model.parameters()).device.type in ("cpu", "cuda"):  # rewritten
    pass
kind = x.device.type
if kind == "cuda":  # rewritten
    pass
if flavour == "cuda":  # needs-you
    pass
if "cuda" in names:  # safe
    pass
match x.device.type:
    case "cuda":  # needs-you
        pass
""",
    "a device's name that is also something else": """
name = "cuda"  # needs-you
x.to(name)
table[name] = 1
other = "cuda"  # needs-you
x.to(other)
open(f"results/{other}.json")
third = "cuda"  # rewritten
x.to(third)
print("on", third)
""",
    "a dictionary by device": """
LIMIT = {"cuda": 8, "cpu": 1}  # needs-you
n = LIMIT[x.device.type]
WORDS = {"cuda": "fast"}  # safe
""",
    "a type": """
from typing import Literal
Kind = Literal["cuda", "cpu"]  # needs-you
""",
    "strangers": """
import library
library.run("cuda")  # needs-you
library.run(device="cuda")  # rewritten
library.run(extension="cuda")  # needs-you
""",
    "the user's own words": """
class Cfg:
    def __init__(self, cuda=False): self.cuda = cuda
c = Cfg(cuda=True); opts = {"cuda": 1}["cuda"]  # safe safe
fish = "barracuda"
class Unit:
    def to(self, unit): return unit
km = Unit().to("km")
""",
    "back ends": """
import torch.distributed as dist
name = "nccl" if dist.is_nccl_available() else "gloo"  # rewritten rewritten
dist.init_process_group(name)
dist.new_group([0], None, "nccl")  # rewritten
dist.init_process_group(backend="cpu:gloo,cuda:nccl")  # rewritten
dist.Backend.NCCL  # rewritten
if dist.get_backend() == "nccl":  # rewritten
    pass
def setup(which="nccl"):  # rewritten
    dist.init_process_group(which)
times["nccl"] = 1  # safe
pick("nccl")  # needs-you
""",
    "checkpoints": """
import torch
where = "cuda:0"  # rewritten
torch.load(f, where)
tags = {"cuda:0": "cuda:1"}  # rewritten rewritten
torch.load(f, map_location=tags)
torch.load(f, map_location=lambda storage, loc: storage.cuda(1))  # rewritten
""",
    "aliases of torch": """
import torch as th
import torch.cuda as tc
from torch import cuda
t = th
th.cuda.synchronize()  # rewritten
tc.synchronize()  # rewritten
cuda.synchronize()  # rewritten
t.cuda.synchronize()  # rewritten
getattr(th, "cuda").synchronize()  # rewritten
th.device("cuda")  # rewritten
t.device("cuda")  # rewritten
def f(cuda, x):
    return cuda.synchronize()
""",
    "scopes": """
import torch
def f():
    global kind
    kind = "cuda"  # rewritten

def g(kind="cuda"):  # needs-you
    return kind

def h():
    return x.to(kind)
""",
    "tests": """
import pytest
@pytest.mark.parametrize("where", ["cpu", pytest.param("cuda")])  # rewritten
def test_it(where):
    x.to(where)
""",
    "modules of the project": """
### package/config.py
SPOT = "cuda"  # rewritten
UNUSED = "cuda"  # needs-you
### package/compat.py
import torch as th
from torch import cuda
### package/tools.py
def place(x, where):
    return x.to(where)
### package/train.py
from . import config, tools
from .compat import cuda, th
from package.config import SPOT as HERE
x.to(HERE)
tools.place(x, "cuda:1")  # rewritten
cuda.synchronize()  # rewritten
th.cuda.synchronize()  # rewritten
### script.py
from package.tools import *
place(x, where="cuda")  # rewritten
""",
    "a script in a folder of its own": """
### tools/helper.py
KIND = "cuda"  # rewritten
### tools/run.py
import helper
x.to(helper.KIND)
""",
    "whose cuda()": """
import torch
class Batch:
    def cuda(self):
        self.x = self.x.cuda()  # needs-you
        return self

def run(loader, batch: Batch):
    for b in loader:
        b.cuda()  # needs-you
    batch.cuda()  # safe
    Batch().cuda()  # safe
    torch.zeros(3).view(1, 3).cuda()  # rewritten
    torch.nn.Linear(1, 1).cuda()  # rewritten
""",
    "cuda() beside to()": """
class Batch:
    def to(self, device):
        return self

    def cuda(self):
        return self.to("cuda")  # rewritten

def run(b):
    return b.cuda()  # rewritten
""",
}


def verdicts(program):
    """{(file, line): verdicts in the order of their columns}"""
    parts = re.split(r"^### (.*)\n", program, flags=re.MULTILINE)
    files = {"x.py": program} if len(parts) == 1 else dict(zip(parts[1::2], parts[2::2], strict=True))
    sources = [parse(path, text.encode(), CHIP) for path, text in files.items()]
    known = together(facts_of(s) for s in sources)
    found: dict[tuple[str, int], list[str]] = {}
    for source in sources:
        source.know(known)
        for o in port_source(source).occurrences:
            found.setdefault((o.file, o.line), []).append(o.verdict)
    return files, found


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
def test_what_becomes_of_it(program):
    files, found = verdicts(program)
    expected = {}
    for path, text in files.items():
        for number, line in enumerate(text.splitlines(), 1):
            _, mark, words = line.partition("  # ")
            if mark:
                expected[path, number] = words.split()
    imports = {(p, n) for p, t in files.items() for n, line in enumerate(t.splitlines(), 1) if "import" in line}
    assert {k: v for k, v in found.items() if k not in imports} == expected

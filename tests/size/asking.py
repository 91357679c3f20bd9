"""Asking `size` in a test: a model and a chip by name, options as the command line has them."""

from functools import cache

from xinqiao.chips import catalog
from xinqiao.cost import software
from xinqiao.size import catalogue, sizes
from xinqiao.size.choose import Named, formats
from xinqiao.size.evaluate import Setting
from xinqiao.size.request import Request, Wanted, Workload
from xinqiao.size.search import engines

chip_of, model_of = cache(catalog.load), cache(catalogue.load)


def ask(model, chip, **asked):
    return sizes(model, [chip], asked)[0]


def request(model, chip, *, chips=1, phase="decode", stack="generic", wanted=None, **workload):
    return Request(
        model_of(model), chip_of(chip), software.load(stack), phase, chips, Wanted(**wanted or {}), Workload(**workload)
    )


def all_settings(asked):
    chosen, _ = formats(asked.model, asked.chip, Named())
    return [Setting(asked, engine) for engine in engines(asked, chosen, asked.chips)]

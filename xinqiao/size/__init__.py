"""A model on a chip: does it fit, on how many, how fast, and how sure is that."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xinqiao.errors import InputError
from xinqiao.size.answer import Answer

if TYPE_CHECKING:
    from xinqiao.size.request import Workload


def sizes(model: str, chips: Sequence[str], asked: Mapping[str, Any], arguments: Sequence[str] = ()) -> list[Answer]:
    """One answer a chip. `asked`: options of `xinqiao size` by name, with _ for -; None or '' where not given.

    model: a public model's name, a folder with config.json or such a file; or a program, 'train.py', with `arguments`.
    InputError names the option that cannot be.
    """
    if model.endswith(".py"):
        return _programs(Path(model), list(arguments), chips, asked)
    if arguments:
        raise InputError(f"{' '.join(arguments)}: only a program (.py) has arguments")
    from xinqiao.chips import catalog
    from xinqiao.cost import software
    from xinqiao.size.build import answer
    from xinqiao.size.catalogue import find
    from xinqiao.size.request import Request, Wanted, check_options

    check_options(asked)
    found, stack, work = find(model), software.load(asked.get("software") or "generic"), _workload(asked)
    return [
        answer(
            Request(
                found,
                catalog.load(chip),
                stack,
                asked.get("phase") or "serve",
                asked.get("chips") or 0,
                Wanted(*(asked.get(degree) or 0 for degree in Wanted._fields)),
                work,
                **{part: asked.get(part) or "" for part in ("weights", "cache", "attention", "node")},
                price=asked.get("price") or 0.0,
                tokens=asked.get("tokens") or 0.0,
                lora_rank=asked.get("lora_rank") or 0,
            )
        )
        for chip in chips
    ]


def _programs(script: Path, arguments: list[str], chips: Sequence[str], asked: Mapping[str, Any]) -> list[Answer]:
    from xinqiao.size.program import program

    given = [name for name, value in asked.items() if value not in (None, "", "serve", "generic")]
    if given:
        raise InputError(f"--{given[0].replace('_', '-')} means nothing for a program: it runs as it is written")
    return [program(script, arguments, chip) for chip in chips]


def _workload(asked: Mapping[str, Any]) -> "Workload":
    from xinqiao.size.request import Workload

    usual = Workload()
    drafted, accepted = _mtp(asked.get("mtp") or "")
    return Workload(
        input=asked.get("input") or usual.input,
        output=asked.get("output") or usual.output,
        context=asked.get("context") or 0,
        batch=asked.get("batch_per_chip") or 0.0,
        spread=asked.get("spread") or 0.0,
        hit_rate=asked.get("hit_rate") or 0.0,
        drafted=drafted,
        accepted=accepted,
        tpot=(asked.get("tpot_ms") or 0.0) / 1e3,
        ttft=(asked.get("ttft_ms") or 0.0) / 1e3,
    )


def _mtp(text: str) -> tuple[int, float]:
    """'1:0.7' → one token drafted, 0.7 of it kept in the mean; InputError for anything else."""
    if not text:
        return 0, 0.0
    count, _, kept = text.partition(":")
    try:
        drafted, accepted = int(count), float(kept or "0")
    except ValueError:
        raise InputError(f"--mtp {text}: write tokens drafted and tokens kept in the mean, as 1:0.7") from None
    if not 1 <= drafted <= 16 or not 0 <= accepted <= drafted:
        raise InputError(f"--mtp {text}: 1 to 16 tokens drafted, and no more kept than drafted")
    return drafted, accepted

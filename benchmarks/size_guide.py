"""The commands, outputs and pictures of docs/size.md.

    python benchmarks/size_guide.py            # which files are not up to date
    python benchmarks/size_guide.py --write    # writes them

What the page has between `<!-- NAME: begin -->` and `<!-- NAME: end -->` is replaced; pictures are docs/size/*.svg.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

from click.testing import CliRunner

from xinqiao.cli import main as xinqiao
from xinqiao.record.sizes import Answer, sized
from xinqiao.report import numbers, plots, sizes
from xinqiao.report.charts import swatch

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "size.md"
STYLE = ROOT / "xinqiao" / "report" / "templates" / "drawing.css"
WIDE, ROW, SIZE = 760, 48, 320  # of a picture, a bar and a plot, in pixels

LLAMA = "size llama-3.3-70b --tpot-ms 50"
MACHINES = (
    f"{LLAMA} --chip ascend-910b --chips 8",
    f"{LLAMA} --chip ascend-910b --chips 8 --weights int8",
    f"{LLAMA} --chip nvidia-h20 --chips 4",
    f"{LLAMA} --chip nvidia-h20 --chips 4 --weights fp8",
)
DEEPSEEK = "size deepseek-v3 --chip ascend-910c --weights int8 --phase decode --tpot-ms 50"
COUNTS = (8, 16, 32, 64, 128)
TUNE = "size qwen2.5-32b --chip kunlun-p800 --phase finetune"
TUNES = (f"{TUNE} --chips 1", f"{TUNE} --chips 1 --lora-rank 16", f"{TUNE} --chips 8")


def output(command: str) -> str:
    """What `xinqiao COMMAND` prints; exit code 1 says that a model does not fit."""
    run = CliRunner().invoke(xinqiao, command.split())
    if run.exit_code not in (0, 1) or not isinstance(run.exception, SystemExit | None):
        sys.exit(f"xinqiao {command}: {run.output}{run.exception}")
    return run.stdout.rstrip()


def answer(command: str) -> Answer:
    return sized(json.loads(output(f"{command} --format json"))).answers[0]


def shown(command: str, lines: int | None = None) -> str:
    """As a terminal shows it; of what is printed the first `lines`."""
    printed = output(command).splitlines()
    cut = [*printed[:lines], "  ..."] if lines and lines < len(printed) else printed
    return "\n".join(["```", f"$ xinqiao {command}", *cut, "```"])


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] + ["--:"] * (len(heads) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


class Named(NamedTuple):
    name: str
    answer: Answer


def picture(title: str, height: int, parts: Sequence[str]) -> str:
    style = STYLE.read_text()
    words = "text { font: 13px system-ui, sans-serif; fill: var(--ink); } .soft { fill: var(--soft); }"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-12 -8 {WIDE + 24} {height + 16}" role="img">'
        f"<title>{escape(title)}</title>\n<style>\n{style}{words} .paper {{ fill: var(--paper); }}\n</style>\n"
        f'<rect class="paper" x="-12" y="-8" width="{WIDE + 24}" height="{height + 16}"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def text(x: float, y: float, words: str, anchor: str = "start", kind: str = "") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" class="{kind}">{escape(words)}</text>'


def frame(y: float, height: float, box: tuple[float, float], drawing: str) -> str:
    place = f'y="{y:.0f}" width="{WIDE}" height="{height:.0f}" viewBox="0 0 {box[0]:g} {box[1]:g}"'
    return f'<svg {place} preserveAspectRatio="none">{drawing}</svg>'


def strips(title: str, rows: Sequence[tuple[str, str, str]], legend: Sequence[str] = (), height: int = 0) -> str:
    """(name, value, drawing) one below the other, and a legend of that height below them."""
    parts = list(legend)
    for number, (name, value, drawing) in enumerate(rows):
        y = number * ROW
        parts += [text(0, y + 14, name), text(WIDE, y + 14, value, "end")]
        parts.append(frame(y + 20, 14, (plots.WIDTH, plots.BAR), drawing))
    return picture(title, len(rows) * ROW + height, parts)


def throughput(title: str, named: Sequence[Named]) -> str:
    """Tokens/s of all chips together."""
    bars = sizes.bars([one.answer for one in named], "en", together=True)
    return strips(
        title,
        [
            (one.name, sizes.interval(b.found) if b.found else b.why, b.drawing)
            for one, b in zip(named, bars, strict=True)
        ],
    )


def memory(title: str, named: Sequence[Named]) -> str:
    """What one device holds, beside the line of what it has; and which colour is what."""
    rows, kinds = [], {}
    for one, store in zip(named, sizes.stores([one.answer for one in named]), strict=True):
        needed = f"{numbers.memory(store.total)} of {numbers.memory(store.capacity or 0)}"
        rows.append((one.name, needed, store.drawing))
        kinds |= {piece.kind: piece.part for piece in store.pieces}
    legend = []
    for number, (kind, part) in enumerate(sorted(kinds.items())):
        x, y = 120 * (number % 6), len(rows) * ROW + 18 * (number // 6)
        legend.append(f'<rect class="p{kind}" x="{x}" y="{y}" width="14" height="12"/>')
        legend.append(text(x + 20, y + 11, part))
    return strips(title, rows, legend, height=18 * (len(kinds) // 6 + 1))


def plotted(plot: plots.Plot, across: str, up: str, legend: Sequence[str] = ()) -> str:
    top, bottom = 24, 24 + SIZE
    ground = f'<rect width="{plots.WIDTH}" height="{plots.HEIGHT}" fill="var(--card)"/>'
    parts = [text(0, 14, up, kind="soft"), frame(top, SIZE, (plots.WIDTH, plots.HEIGHT), ground + plot.shapes)]
    parts += [text(WIDE * one.x, top + SIZE * one.y + 4, one.text, one.side) for one in plot.labels]
    parts += [text(WIDE * one.x, bottom + 18, one.text, "middle", "soft") for one in plot.ticks]
    parts.append(text(WIDE, bottom + 36, across, "end", "soft"))
    for number, name in enumerate(legend):
        y = bottom + 36 + 20 * number
        line = str(swatch(number)).replace("<svg ", f'<svg x="0" y="{y - 9}" width="36" height="10" ')
        parts += [line, text(46, y, name)]
    return picture(plot.title, bottom + 44 + 20 * max(len(legend) - 1, 0), parts)


def trade(named: Sequence[Named]) -> str:
    plot = sizes.trade([one.answer for one in named], "en")
    assert plot is not None
    return plotted(plot, "ms from one token to the next", "tokens/s a chip, decoding", [one.name for one in named])


def roofline(one: Answer) -> str:
    plot = sizes.roofline(one, "en")
    assert plot is not None
    return plotted(plot, "FLOP/byte", "FLOP/s of one device")


def machines() -> tuple[str, dict[str, str]]:
    named = [Named(_named(command), answer(command)) for command in MACHINES]
    rows = [
        (
            one.name,
            numbers.memory(one.answer.memory.total),
            _told(sizes.rate(one.answer)),
            _told(sizes.total(one.answer)),
            _told(one.answer.tpot_ms),
        )
        for one in named
    ]
    heads = ("machine", "memory a device", "tokens/s a chip", "tokens/s in all", "TPOT, ms")
    bf16, eight = (sizes.verdict([named[i].answer, named[i + 2].answer], "en") for i in (0, 1))
    block = [shown(MACHINES[0]), table(heads, rows), f"In bf16: {bf16}\n\nIn 8 bits: {eight}"]
    pictures = {
        "machines.svg": throughput("Tokens a second of a 70 B model, all chips together", named),
        "machines-latency.svg": trade([named[1], named[3]]),
    }
    return "\n\n".join(block), pictures


def deepseek() -> tuple[str, dict[str, str]]:
    found = [answer(f"{DEEPSEEK} --chips {count}") for count in COUNTS]
    rows = [
        (
            f"{one.chips} × 910C",
            "yes" if one.memory.fits else "no",
            ", ".join(f"{name} {n}" for name in ("tp", "pp", "dp", "ep") if (n := getattr(one.plan, name)) > 1),
            _told(sizes.rate(one)),
            _told(sizes.total(one)),
            _told(one.tpot_ms),
        )
        for one in found
    ]
    heads = ("chips", "fits", "plan (devices)", "tokens/s a chip", "tokens/s in all", "TPOT, ms")
    fitting = [one for one in found if one.memory.fits]
    pictures = {
        "deepseek-v3.svg": trade([Named(sizes.machine(one), one) for one in fitting[-4:]]),
        "deepseek-v3-roofline.svg": roofline(fitting[-1]),
    }
    return f"{shown(DEEPSEEK, 8)}\n\n{table(heads, rows)}", pictures


def tuning() -> tuple[str, dict[str, str]]:
    named = [Named(_named(command), answer(command)) for command in TUNES]
    pictures = {"fine-tuning.svg": memory("Memory of one device in fine-tuning a 32 B model", named)}
    return "\n\n".join((shown(TUNES[0]), shown(TUNES[1]), shown(TUNES[2], 3))), pictures


def _named(command: str) -> str:
    """'8 × ascend-910b, int8', as its options say."""
    words = command.split()
    options = dict(zip(words[2::2], words[3::2], strict=True))
    extra = f", LoRA of rank {options['--lora-rank']}" if "--lora-rank" in options else ""
    weights = "" if "--phase" in options else f", {options.get('--weights', 'bf16')}"
    return f"{options['--chips']} × {options['--chip']}{weights}{extra}"


def _told(found: sizes.Range | None) -> str:
    return sizes.interval(found) if found else "-"


DECISIONS: dict[str, Callable[[], tuple[str, dict[str, str]]]] = {
    "machines": machines,
    "deepseek": deepseek,
    "tuning": tuning,
}


def texts() -> dict[Path, str]:
    """The page and its pictures as they should be."""
    page, files = PAGE.read_text(), {}
    for name, made in DECISIONS.items():
        block, pictures = made()
        page = placed(page, name, block)
        files |= {PAGE.parent / "size" / file: drawn for file, drawn in pictures.items()}
    return {PAGE: page} | files


def placed(page: str, name: str, block: str) -> str:
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    found, count = re.subn(f"{begin}.*?{end}", lambda _: f"{begin}\n{block}\n{end}", page, flags=re.DOTALL)
    if count != 1:
        sys.exit(f"{PAGE} has no place for {name}: {begin} and {end}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", action="store_true")
    write = parser.parse_args().write
    wanted = texts()
    old = [file for file in wanted if not file.exists() or file.read_text() != wanted[file]]
    for file in old:
        print(file.relative_to(ROOT))
        if write:
            file.parent.mkdir(exist_ok=True)
            file.write_text(wanted[file])
    if old and not write:
        sys.exit("not up to date: python benchmarks/size_guide.py --write")


if __name__ == "__main__":
    main()

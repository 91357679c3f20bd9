"""The command line: one command per verb. Parse, call, print; nothing else."""

import errno
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import click

from xinqiao.errors import InputError

FINDINGS = 1
_format = click.option("--format", "form", type=click.Choice(["human", "json"]), default="human", help="How to print.")
_chip = click.option("--chip", required=True, metavar="NAME", help="A chip (see `xinqiao chips`) or a .toml file.")


class Commands(click.Group):
    """Turns an error of the input into one line and exit code 2, and offers near names for a verb typed wrong."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (InputError, click.UsageError) as error:
            text = error.format_message().rstrip(".") if isinstance(error, click.UsageError) else error
            _refuse(ctx, text)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            _refuse(ctx, f"{error.filename or 'the output'}: {error.strerror}")

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        from xinqiao.errors import nearest

        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            raise InputError(f"no command '{args[0]}'{nearest(args[0], self.commands)}; see `xinqiao --help`")
        return super().resolve_command(ctx, args)


def _refuse(ctx: click.Context, text: object) -> None:
    with suppress(OSError):  # stderr may be on the full disk too: then the exit code alone says it
        click.echo(f"xinqiao: {text}", err=True)
    ctx.exit(2)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="xinqiao")
def main() -> None:
    """Move a PyTorch model from NVIDIA to another AI chip, without the chip at hand."""


@main.command()
@click.argument("name", required=False)
@_format
def chips(name: str | None, form: str) -> None:
    """The catalogue, or one chip with every figure's source."""
    from xinqiao.chips import catalog, show

    if form == "json":
        _print_json(show.describe(catalog.load(name)) if name else show.catalogue_rows())
        return
    from rich.console import Console

    if name:
        show.print_chip(catalog.load(name), Console(markup=False))
        return
    show.print_catalogue(Console(markup=False))
    for problem in catalog.problems():
        click.echo(f"xinqiao: {problem}", err=True)


@main.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@_chip
@click.option("--ranks", type=click.IntRange(1, 64), default=1, help="Processes to start, as torchrun does.")
@click.option("--shapes", is_flag=True, help="True shapes, memory and time, but no arithmetic and no data.")
@click.option(
    "--policy", type=click.Choice(["refuse", "fallback", "allow"]), help="One rule for all that is not native."
)
@click.option("--record", type=click.Path(path_type=Path), metavar="FILE", help="Write what ran, as JSON.")
@click.option(
    "--trace", type=click.Path(path_type=Path), metavar="FILE", help="Write the simulated timeline (Perfetto)."
)
@click.option(
    "--host-rng", is_flag=True, help="Device random numbers from the CPU's stream, to compare with a CPU run."
)
@click.option("--evidence", is_flag=True, help="In the record, also what `prove` compares: every call's values.")
@click.argument("script", type=click.Path(path_type=Path))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run(script: Path, arguments: tuple[str, ...], ranks: int, *, evidence: bool, **options: Any) -> None:
    """Run SCRIPT, unchanged, on a chip: the vendor's own device where it is installed, a virtual one elsewhere."""
    from xinqiao.device.launch import launch
    from xinqiao.device.request import evidence_beside
    from xinqiao.device.settings import Settings

    with evidence_beside(options["record"], script.parent, wanted=evidence):
        code = launch(Settings(**options), script, list(arguments), ranks=ranks)
    sys.exit(code)


@main.command()
@click.argument("project", type=click.Path(path_type=Path))
@_chip
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Where the ported tree goes.")
@click.option("--in-place", is_flag=True, help="Rewrite the project itself; `xinqiao undo` takes it back.")
@click.option("--diff", "mode", flag_value="diff", help="Print the changes as a unified diff; write nothing.")
@click.option(
    "--check", "mode", flag_value="check", help="Print what is CUDA-bound; write nothing; exit 1 on findings."
)
@click.option("--record", type=click.Path(path_type=Path), metavar="FILE", help="Write every occurrence, as JSON.")
@click.option(
    "--style", type=click.Choice(["agnostic", "vendor"]), default="agnostic", help="Code for any device, or the chip's."
)
@click.option("--risky", is_flag=True, help="Also make the rewrites that are right in most programs, not in all.")
@click.option("--force", is_flag=True, help="Write into a folder that is not empty, or over uncommitted changes.")
@click.option("--dependencies", is_flag=True, help="Also look at the installed packages that the project imports.")
@click.option("--patch", multiple=True, metavar="PACKAGE", help="Put a ported copy of it into the project.")
@click.option("--translate", multiple=True, metavar="PACKAGE", help="Translate it when it is imported.")
@click.option("--format", "form", type=click.Choice(["human", "json", "sarif"]), default="human", help="How to print.")
def port(
    project: Path, chip: str, mode: Literal["diff", "check"] | None, record: Path | None, form: str, **how: Any
) -> None:
    """Rewrite CUDA-bound code of PROJECT, a folder or one .py file, so that it runs on any device.

    Every CUDA-bound place gets a verdict. Exit code 1 where places need you; with --check also where a port would
    rewrite some.
    """
    import xinqiao.port as ports
    from xinqiao.chips import catalog
    from xinqiao.port import show
    from xinqiao.record.files import write

    target = ports.Target(catalog.load(chip), how.pop("style"), how.pop("risky"))
    wanted = ports.Packages(how.pop("patch"), how.pop("translate"))
    packages = wanted if how.pop("dependencies") or wanted != ports.Packages() else None
    if mode and (how["out"] or how["in_place"]):
        raise InputError(f"--{mode} writes nothing: leave --out and --in-place away")
    if mode == "diff":
        click.echo(ports.diff(project, target, packages), nl=False)
        return
    if mode == "check":
        found = ports.check(project, target, packages)
    else:
        found = ports.port(project, target, packages=packages, **how)
    if record:
        write(found, record)
    if form == "json":
        _print_json(found)
    elif form == "sarif":
        from xinqiao.port.sarif import sarif

        _print_json(sarif(found, project, version("xinqiao")))
    else:
        (show.print_lines if mode == "check" else show.print_summary)(found)
    sys.exit(FINDINGS if show.findings(found, with_rewrites=mode == "check") else 0)


@main.command()
@click.argument("place", type=click.Path(path_type=Path))
def undo(place: Path) -> None:
    """Take the port of PLACE back, byte for byte: a ported folder, or one file of it."""
    import xinqiao.port as ports

    for file in ports.undo(place):
        click.echo(file)


@main.command()
@click.argument("name", required=False)
@_format
def rules(name: str | None, form: str) -> None:
    """The rules of `port`, or all that one of them says: what it does, why, when it is unsafe, its source."""
    from xinqiao.port import pages, show

    if form == "json":
        rows = {"schema": 1, "rules": list(pages.pages().values())}
        _print_json(pages.one(name) if name else rows)
    elif name:
        show.print_rule(pages.one(name))
    else:
        show.print_rules(pages.pages().values())


@main.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": True})
@click.argument("original", type=click.Path(path_type=Path))
@click.argument("port", type=click.Path(path_type=Path))
@click.option("--chip", metavar="NAME", help="The chip that the port runs on.")
@click.option("--from", "from_chip", metavar="NAME", help="The original's chip, if not NVIDIA's usual one.")
@click.option("--ranks", type=click.IntRange(1, 64), default=1, help="Processes to start, as torchrun does.")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Keep records, logs, proof and page.")
@click.option("--whole", is_flag=True, help="Where values part, run again and compare whole tensors.")
@_format
@click.argument("script", required=False, type=click.Path(path_type=Path))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def prove(script: Path | None, arguments: tuple[str, ...], ranks: int, form: str, **how: Any) -> None:
    """Run SCRIPT in ORIGINAL and in PORT and say whether they compute the same; or compare two records."""
    import xinqiao.prove as proofs
    from xinqiao.prove.show import text
    from xinqiao.record.files import PROOF

    chip, from_chip, out = how.pop("chip"), how.pop("from_chip"), how["out"]
    if script is None:
        proof = proofs.prove_files(how["original"], how["port"], out=out)
    elif chip is None:
        raise InputError("say which chip the port runs on: --chip NAME")
    else:
        chips = proofs.Chips(*filter(None, (chip, from_chip)))
        proof = proofs.prove(program=proofs.Program(script, list(arguments), ranks), chips=chips, **how)
    if out:
        _write_page([out] if script else [how["original"], how["port"], out / PROOF], out / "page.html", None)
    if form == "json":
        _print_json(proof)
    else:
        click.echo(text(proof))
    sys.exit(FINDINGS if proof.verdict == "differs" else 0)


@main.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--to", metavar="FORMAT", help="bf16, fp16, fp8-block, fp8-ue8m0, mxfp8, int8-channel, ...")
@click.option("--chip", metavar="NAME", help="Instead of --to: the best format that this chip multiplies natively.")
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Where the result goes.")
@click.option("--keep", multiple=True, metavar="PATTERN", help="Weights that stay in full precision: '*.o_proj.*'.")
@click.option("--format-for", multiple=True, metavar="PATTERN=FORMAT", help="Another format for these weights.")
@click.option(
    "--rule", type=click.Choice(["ceil", "floor", "even", "nearest"]), default="ceil", help="For power-of-two scales."
)
@click.option("--dry-run", is_flag=True, help="Print the plan, its sizes and the disk that it takes; write nothing.")
@click.option("--allow-pickle", is_flag=True, help="Also read PyTorch's .bin files, in a process of their own.")
@click.option("--ray", metavar="ADDRESS", help="Spread the shards over a Ray cluster; 'local' starts one here.")
@_format
def convert(model: Path, to: str | None, chip: str | None, out: Path, form: str, **how: Any) -> None:
    """Put the checkpoint MODEL into another number format: exactly, or with the error of every weight stated.

    MODEL is a folder of safetensors files in Hugging Face's layout, a .gguf file, or with --allow-pickle PyTorch's .bin
    files. Killed, the same command goes on where it was. Exit code 0, also where a format loses precision.
    """
    import xinqiao.convert as converts
    from xinqiao.chips import catalog
    from xinqiao.convert import show
    from xinqiao.convert.choose import choose

    if (to is None) == (chip is None):
        raise InputError("say either the format, --to FORMAT, or the chip, --chip NAME")
    if chip is not None:
        to, reason = choose(catalog.load(chip), converts.source_config(model))
        click.echo(f"{to}: {reason}", err=True)
    assert to is not None
    special = {}
    for pair in how.pop("format_for"):
        pattern, equals, name = pair.rpartition("=")
        if not equals:
            raise InputError(f"--format-for {pair}: write PATTERN=FORMAT")
        special[pattern] = name
    request = converts.Request(layout=to, rule=how.pop("rule"), keep=how.pop("keep"), special=special)
    if how.pop("dry_run"):
        with converts.planned(model, request, out, allow_pickle=how["allow_pickle"]) as conversion:
            if form == "json":
                _print_json(show.plan_rows(conversion))
            else:
                click.echo(show.plan_text(conversion))
        return
    manifest = converts.convert(model, request, out, **how)
    if manifest is None:
        return
    if form == "json":
        _print_json(manifest)
    else:
        click.echo(show.summary(manifest))


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--source", type=click.Path(path_type=Path), metavar="MODEL", help="Also compare every value with it.")
@click.option("--allow-pickle", is_flag=True, help="The source is PyTorch's .bin files.")
@_format
def verify(folder: Path, source: Path | None, form: str, *, allow_pickle: bool) -> None:
    """Read the converted checkpoint FOLDER again: every byte against its manifest. Exit code 1 on findings."""
    import xinqiao.convert as converts
    from xinqiao.convert.show import verification_text

    found = converts.verify(folder, source, allow_pickle=allow_pickle)
    if form == "json":
        _print_json(found)
    else:
        click.echo(verification_text(found))
    sys.exit(FINDINGS if found.findings else 0)


def _size_options(function: Any) -> Any:
    for name, metavar, text in reversed(_SIZE_NUMBERS):
        kind = float if metavar in ("R", "MS", "P", "B", "N") else int
        function = click.option(f"--{name}", type=kind, metavar=metavar, help=text)(function)
    for name, text in (
        ("attention", "Number format of the products inside attention."),
        ("cache", "Number format of the KV cache."),
        ("weights", "Number format of the linear layers."),
    ):
        function = click.option(f"--{name}", default="", metavar="FORMAT", help=text)(function)
    return function


_SIZE_NUMBERS = (
    ("chips", "INT", "How many; without it, as few as fit."),
    ("batch-per-chip", "B", "Sequences in flight for each chip; without it, as many as fit."),
    ("input", "TOKENS", "Of a prompt, or of a sequence in training; 2048."),
    ("output", "TOKENS", "Of an answer; 512."),
    ("context", "TOKENS", "Before the token that is decoded; without it, the prompt and half of the answer."),
    ("tp", "INT", "Devices of tensor parallelism; without a degree, the best is searched for."),
    ("pp", "INT", "Stages of pipeline parallelism."),
    ("dp", "INT", "Replicas."),
    ("ep", "INT", "Devices that share the experts of a layer."),
    ("cp", "INT", "Devices that share one sequence's tokens; 1 unless given."),
    ("tpot-ms", "MS", "Most time per output token."),
    ("ttft-ms", "MS", "Most time to the first token."),
    ("spread", "R", "Of prompts' and answers' lengths: standard deviation over mean."),
    ("hit-rate", "R", "Share of prompts that a prefix cache holds."),
    ("tokens", "N", "Of a training run."),
    ("lora-rank", "INT", "Fine-tune adapters of that rank; without it, all weights."),
    ("price", "P", "Of one chip for an hour."),
)


@main.command()
@click.argument("model")
@click.option("--chip", "chips_named", multiple=True, required=True, metavar="NAME", help="Several are compared.")
@click.option(
    "--phase", type=click.Choice(["prefill", "decode", "serve", "train", "finetune"]), default="serve", help="Of what."
)
@_size_options
@click.option("--software", default="generic", metavar="NAME", help="The serving stack: vllm, sglang, ...")
@click.option("--node", default="", metavar="NAME", help="The machine, where it is not the chip's usual one.")
@click.option("--mtp", default="", metavar="N:KEPT", help="Multi-token prediction: tokens drafted, and kept of them.")
@click.option("--out", type=click.Path(path_type=Path), metavar="PAGE.html", help="Also write a page with pictures.")
@_format
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def size(model: str, arguments: tuple[str, ...], form: str, out: Path | None, **asked: Any) -> None:
    """How fast MODEL runs on a chip, how many chips it needs, and how sure that is.

    MODEL is a public model's name ('deepseek-v3'), a folder with config.json, or such a file; or any PyTorch program,
    train.py, and its arguments after --. Each figure comes with the interval that holds the truth in four of five
    cases. Exit code 1 where it does not fit.
    """
    from xinqiao.size import show, sizes

    answers = sizes(model, asked.pop("chips_named"), asked, arguments)
    if out:
        import xinqiao.report as reports
        from xinqiao.record.sizes import sized

        reports.write([sized(show.document(answers))], out, reports.default_language())
    if form == "json":
        _print_json(show.rows(answers))
    else:
        click.echo(show.text(answers))
    sys.exit(FINDINGS if any(found.memory.fits is False for found in answers) else 0)


@main.command()
@click.option("--device", required=True, metavar="NAME", help="As PyTorch calls it: cuda, npu, mlu, musa, cpu, …")
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="FILE.toml", help="The table.")
@click.option("--minutes", type=click.FloatRange(0.1, 60), default=3.0, help="How long to measure.")
def calibrate(device: str, out: Path, minutes: float) -> None:
    """Measure about 100 kernels on a real device, so that predictions of its chip are good.

    The table is a chip by itself (--chip FILE.toml), or improves a chip whose file says calibration = "FILE.toml".
    """
    from xinqiao.device.calibration.calibrate import calibrate, summary

    click.echo(summary(calibrate(device, out, minutes), out))


@main.command()
@click.argument("records", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="PAGE.html")
@click.option("--lang", type=click.Choice(["en", "zh"]), help="Default: from the locale.")
def report(records: tuple[Path, ...], out: Path, lang: Literal["en", "zh"] | None) -> None:
    """One self-contained HTML page from records, a folder of `prove --out`, or what `size --format json` printed."""
    _write_page(records, out, lang)
    click.echo(out)


def _write_page(records: Sequence[Path], out: Path, lang: Literal["en", "zh"] | None) -> None:
    import xinqiao.report as reports
    from xinqiao.record.files import read_all

    reports.write(read_all(records), out, lang or reports.default_language())


def _print_json(value: Any) -> None:
    import msgspec

    click.echo(msgspec.json.format(msgspec.json.encode(value)).decode())


if __name__ == "__main__":
    main()

"""Gigabytes per second of a checkpoint from one number format to another, from file to file: ours, and the peers.

    python benchmarks/peers.py peers                       # their environment, once
    python benchmarks/convert_files.py [--gigabytes 4] [--peer-gigabytes 1] [--rounds N] [--folder DIR ...]

A Llama-shaped bf16 checkpoint, in the page cache. A run is a whole process, from start to end; the shortest counts.
Ours also hashes what it writes, compares every stored value with its source and syncs every file to the disk; no peer
does any of these. The peers' seconds leave their imports out, ours leave out nothing. The peers get a smaller
checkpoint, since they take minutes; a rate is what is compared. Where other programs run too, compare the gigabytes a
processor second.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

import peers
from checkpoints import XINQIAO, Run, measured, synthetic, tensor_bytes

HERE = Path(__file__).parent
TO = ("fp8-ue8m0", "fp8-block", "mxfp8", "int8-channel")


def shortest(runs: list[Run]) -> Run:
    return Run(min(r.seconds for r in runs), min(r.processor for r in runs))


class Bench:
    """One folder in which results are written, and one number of threads."""

    def __init__(self, work: Path, threads: int, rounds: int) -> None:
        self.out, self.threads, self.rounds = work / "out", threads, rounds
        self.rates: dict[str, tuple[float, float]] = {}  # GB a second: on the wall, of processors

    def ours(self, source: Path, layout: str, title: str) -> None:
        command = [*XINQIAO, "convert", source, "--to", layout, "--out", self.out]
        self.say(title, source, shortest([self.once(command) for _ in range(self.rounds)]))

    def recipe(self, source: Path, way: str, title: str) -> None:
        self.peer([XINQIAO[0], HERE / "cast_recipes.py"], [way, source, self.out], source, title)

    def compressor(self, source: Path, scheme: str, title: str) -> None:
        python = peers.python("peers")
        assert python
        self.peer([python, HERE / "compress_peer.py"], [scheme, source, self.out, str(self.threads)], source, title)

    def peer(self, program: list[str | Path], arguments: list[str | Path], source: Path, title: str) -> None:
        imports = shortest([self.once(program) for _ in range(self.rounds)])
        taken = self.once([*program, *arguments])
        self.say(title, source, Run(taken.seconds - imports.seconds, taken.processor - imports.processor))

    def once(self, command: list[str | Path]) -> Run:
        shutil.rmtree(self.out, ignore_errors=True)
        run = measured(command, self.threads)
        shutil.rmtree(self.out, ignore_errors=True)
        return run

    def say(self, title: str, source: Path, run: Run) -> None:
        size = tensor_bytes(source) / 1e9
        self.rates[title] = (size / run.seconds, size / run.processor)
        print(
            f"  {title:36} {self.rates[title][0]:6.3f} GB/s of input, {self.rates[title][1]:6.3f} GB a processor "
            f"second ({size:.1f} GB: {run.seconds:.2f} s, {run.processor:.2f} processor seconds)",
            flush=True,
        )

    def versus(self, ours: str, *others: str) -> None:
        for other in others:
            if other in self.rates:
                wall, work = (a / b for a, b in zip(self.rates[ours], self.rates[other], strict=True))
                print(f"  {ours} is {wall:.1f}x {other}; {work:.1f}x by processor seconds", flush=True)


def measure(bench: Bench, big: Path, small: Path, fp8: Path) -> None:
    for layout in TO:
        bench.ours(big, layout, f"ours, bf16 → {layout}")
    bench.ours(fp8, "bf16", "ours, fp8-ue8m0 → bf16")
    bench.recipe(small, "to-fp8", "the cast recipe, bf16 → fp8-ue8m0")
    bench.recipe(fp8, "to-bf16", "the cast recipe, fp8-ue8m0 → bf16")
    if peers.python("peers"):
        bench.compressor(small, "FP8_BLOCK", "llm-compressor, FP8_BLOCK")
        bench.compressor(small, "MXFP8", "llm-compressor, MXFP8")
    else:
        print(f"  llm-compressor: not installed; {peers.how('peers')}")
    bench.versus("ours, bf16 → fp8-ue8m0", "the cast recipe, bf16 → fp8-ue8m0", "llm-compressor, FP8_BLOCK")
    bench.versus("ours, fp8-ue8m0 → bf16", "the cast recipe, fp8-ue8m0 → bf16")
    bench.versus("ours, bf16 → mxfp8", "llm-compressor, MXFP8")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--gigabytes", type=float, default=4)
    parser.add_argument("--peer-gigabytes", type=float, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, nargs="+", default=[Path(tempfile.gettempdir()), Path("/dev/shm")])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        big, small, fp8 = (Path(name, part) for part in ("big", "small", "fp8"))
        synthetic(big, options.gigabytes)
        synthetic(small, options.peer_gigabytes)
        measured([*XINQIAO, "convert", small, "--to", "fp8-ue8m0", "--out", fp8], 1)
        for folder in options.folder:
            for threads in (1, 2):
                with tempfile.TemporaryDirectory(dir=folder) as work:
                    print(f"{folder}, {threads} thread{'s' * (threads > 1)}", flush=True)
                    measure(Bench(Path(work), threads, options.rounds), big, small, fp8)


if __name__ == "__main__":
    main()

"""Convert a checkpoint: shards, then configuration, index and manifest. Killed anywhere, it goes on where it was."""

import shutil
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import msgspec
from blake3 import blake3

from xinqiao.convert.files import Maps
from xinqiao.convert.finish import write_rest
from xinqiao.convert.manifest import NAME, Manifest, SourceFile, read
from xinqiao.convert.plan import Plan, Request, Shard, make
from xinqiao.convert.shard import Progress, ShardWriter
from xinqiao.convert.source import Checkpoint, open_checkpoint
from xinqiao.convert.state import FOLDER, State
from xinqiao.errors import InputError

AHEAD = 2  # shards under way: the next one is converted while the last one goes to the disk
MARGIN = 64 << 20  # bytes that must stay free beside the result


class Conversion(msgspec.Struct, frozen=True):
    """A plan, what it reads and where it goes. key: equal only for the same request of the same source."""

    checkpoint: Checkpoint
    plan: Plan
    out: Path
    source: dict[str, SourceFile]
    key: str

    @property
    def unfinished(self) -> list[Shard]:
        """The shards that have still to be written."""
        state = State(self.out)
        return [shard for shard in self.plan.shards if state.finished(shard.name) is None]

    @property
    def bytes_to_write(self) -> int:
        return sum(shard.nbytes for shard in self.unfinished)

    @property
    def bytes_to_read(self) -> int:
        return sum(job.weight.codes.nbytes for shard in self.unfinished for job in shard.jobs)


def prepare(
    model: Path, request: Request, out: Path, *, allow_pickle: bool = False, scratch: Path | None = None
) -> Conversion:
    """Read the source's headers and plan; nothing is written into `out`. InputError for what is wrong with either."""
    here, there = model.resolve(), out.resolve()
    if here == there or (here.is_dir() and here in there.parents) or there in here.parents:
        raise InputError(f"{out}: the output folder must lie outside the source, and the source outside it")
    checkpoint = open_checkpoint(model, allow_pickle=allow_pickle, scratch=scratch)
    plan = make(checkpoint, request)
    source = identify(checkpoint)
    _check_place(out)
    return Conversion(checkpoint, plan, out, source, plan.key(source))


def identify(checkpoint: Checkpoint) -> dict[str, SourceFile]:
    """Every file with tensors: its size, and a hash of what comes before them."""
    first: dict[Path, int] = {}
    for entry in checkpoint.entries.values():
        first[entry.file] = min(entry.offset, first.get(entry.file, entry.offset))
    found = {}
    for file, begin in first.items():
        with file.open("rb") as opened:
            header = blake3(opened.read(begin)).hexdigest()
        found[file.name] = SourceFile(nbytes=file.stat().st_size, header_blake3=header)
    return found


def convert(conversion: Conversion, *, threads: int, progress: Progress) -> Manifest:
    """Do all that is left of it in this process; at once where nothing is."""
    with system_errors(conversion.out), claim(conversion) as state:
        if not complete(conversion):
            write_shards(conversion, state, conversion.unfinished, threads=threads, progress=progress)
            finish(conversion, state)
        state.close()
    return read(conversion.out)


@contextmanager
def claim(conversion: Conversion) -> Iterator[State]:
    """The output folder, held for this conversion alone. InputError where it is taken, or too small."""
    conversion.out.mkdir(parents=True, exist_ok=True)
    state = State(conversion.out)
    with state.alone():
        if not complete(conversion):
            state.begin(conversion.key)
            _check_space(conversion)
        yield state


def complete(conversion: Conversion) -> bool:
    """Whether the output folder holds the whole result of this conversion. InputError where it has another's."""
    if not (conversion.out / NAME).exists():
        return False
    if read(conversion.out).plan != conversion.key:
        raise InputError(f"{conversion.out}: holds the result of another conversion; choose an empty folder")
    return True


def write_shards(
    conversion: Conversion, state: State, shards: Sequence[Shard], *, threads: int, progress: Progress
) -> None:
    """Write these shards, `threads` weights at a time."""
    with ThreadPoolExecutor(threads) as pool, Maps() as maps, ExitStack() as open_shards:
        under_way: deque[ShardWriter] = deque()
        for shard in shards:
            writer = open_shards.enter_context(closing(ShardWriter(shard, conversion.plan.request.rule, state, maps)))
            writer.begin(pool, progress)
            under_way.append(writer)
            if len(under_way) == AHEAD:
                under_way.popleft().finish()
        for writer in under_way:
            writer.finish()


def finish(conversion: Conversion, state: State) -> None:
    """All shards are there: write what goes around them."""
    rows = [row for shard in conversion.plan.shards for row in state.finished(shard.name) or ()]
    write_rest(conversion.checkpoint, conversion.plan, conversion.source, conversion.key, rows, conversion.out)


@contextmanager
def system_errors(out: Path) -> Iterator[None]:
    """What the system refuses, a full disk say, as one line."""
    try:
        yield
    except OSError as error:
        where = error.filename or out
        raise InputError(
            f"{where}: {error.strerror}; the source and the finished shards are intact, "
            "and the same command goes on from there"
        ) from error


def _check_place(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is not a folder")
    if out.is_dir() and any(out.iterdir()) and not (out / FOLDER).exists() and not (out / NAME).exists():
        raise InputError(f"{out}: is not empty; choose a new folder")


def _check_space(conversion: Conversion) -> None:
    needed, free = conversion.bytes_to_write + MARGIN, shutil.disk_usage(conversion.out).free
    if needed > free:
        raise InputError(
            f"{conversion.out}: {needed / 1e9:.2f} GB are needed and {free / 1e9:.2f} GB are free on that disk"
        )

"""Write one shard: its weights in parallel, each tensor at its place, then all of it to the disk at once."""

import os
from collections.abc import Callable
from concurrent.futures import Executor, Future, wait
from math import inf

from blake3 import blake3

from xinqiao.convert.files import Maps, sync_folder, write_at
from xinqiao.convert.kernels import Buffer
from xinqiao.convert.layouts import LAYOUTS
from xinqiao.convert.manifest import Converted, Distance, Part, distance
from xinqiao.convert.notes import note, source_words
from xinqiao.convert.plan import AS_IT_WAS, Job, Output, Shard
from xinqiao.convert.reader import Reader
from xinqiao.convert.state import State
from xinqiao.convert.transcode import transcode
from xinqiao.errors import InputError

Progress = Callable[[int], None]  # told the bytes of source that are done


class _Tensor:
    """One tensor of the file, written from its first byte to its last, and hashed on the way."""

    def __init__(self, descriptor: int, output: Output, begin: int) -> None:
        self.output, self._descriptor, self._at = output, descriptor, begin
        self._hash = blake3()

    def write(self, data: Buffer) -> None:
        view = memoryview(data)
        write_at(self._descriptor, view, self._at)
        self._hash.update(view)
        self._at += len(view)

    def part(self, shard: str, offset: int) -> Part:
        output = self.output
        return Part(
            name=output.name,
            dtype=output.dtype,
            shape=output.shape,
            shard=shard,
            offset=offset,
            nbytes=output.nbytes,
            blake3=self._hash.hexdigest(),
        )


class _Sink:
    """The tensors of one weight."""

    def __init__(self, tensors: list[_Tensor]) -> None:
        self.codes = tensors[0].write
        self.scales = tensors[-1].write


class ShardWriter:
    """One shard on its way to the disk: begun, its weights are in the pool; finished, the file is there."""

    def __init__(self, shard: Shard, rule: str, state: State, maps: Maps) -> None:
        self._shard, self._rule, self._state, self._maps = shard, rule, state, maps
        self._partial = state.partial(shard.name)
        self._header, self._offsets = shard.header(), shard.offsets()
        self._futures: list[Future[Converted]] = []
        self._descriptor = os.open(self._partial, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)

    def begin(self, pool: Executor, progress: Progress) -> None:
        """Hand the weights to the pool. progress is told the bytes of source that are done."""
        os.ftruncate(self._descriptor, len(self._header) + self._shard.nbytes)
        write_at(self._descriptor, memoryview(self._header), 0)
        self._futures = [pool.submit(self._write, job, progress) for job in self._shard.jobs]

    def finish(self) -> list[Converted]:
        """Wait for the weights and make the file appear, whole."""
        rows = [future.result() for future in self._futures]
        os.fsync(self._descriptor)
        self._partial.replace(self._state.out / self._shard.name)
        sync_folder(self._state.out)
        self._state.finish(self._shard.name, rows)
        return rows

    def close(self) -> None:
        """Stop: what is not finished is removed."""
        for future in self._futures:
            future.cancel()
        wait(self._futures)
        os.close(self._descriptor)
        self._partial.unlink(missing_ok=True)

    def _write(self, job: Job, progress: Progress) -> Converted:
        tensors = [_Tensor(self._descriptor, o, len(self._header) + self._offsets[o]) for o in job.outputs]
        how, found = _convert(job, self._rule, self._maps, tensors)
        progress(job.weight.codes.nbytes)
        parts = tuple(t.part(self._shard.name, self._offsets[t.output]) for t in tensors)
        return _row(job, how, found, parts)


def _convert(job: Job, rule: str, maps: Maps, tensors: list[_Tensor]) -> tuple[str, Distance | None]:
    if not job.layout:
        _copy(job, maps, tensors[0])
        return "copied", None
    layout = LAYOUTS[job.layout]
    result = transcode(job.weight, layout, rule, maps, _Sink(tensors))
    found = distance(result.errors)
    if found.nonfinite and layout.element not in ("f32", "bf16"):
        raise InputError(
            f"{job.weight.name}: {found.nonfinite} of its values are NaN or infinite, and {layout.name} has neither; "
            f"--keep {job.weight.name} leaves it as it is"
        )
    return result.how, found


def _copy(job: Job, maps: Maps, tensor: _Tensor) -> None:
    reader = Reader(job.weight, maps)
    for panel in reader.panels((1, 0)):
        tensor.write(reader.codes(panel))
        reader.release(panel)


def _row(job: Job, how: str, found: Distance | None, parts: tuple[Part, ...]) -> Converted:
    return Converted(
        name=job.weight.name,
        shape=job.weight.shape,
        source=source_words(job.weight),
        format=job.layout or AS_IT_WAS,
        how=how,
        exact=found is None or not found.different,
        distance=found,
        note=note(job, how, inf if found is None or found.sqnr_db is None else found.sqnr_db),
        parts=parts,
    )

"""Read a converted checkpoint again: every byte against the manifest and, where the source is at hand, every value."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
from blake3 import blake3

from xinqiao.convert.files import Maps
from xinqiao.convert.finish import CONFIG, INDEX, index
from xinqiao.convert.manifest import NAME, Converted, Manifest, Part, read
from xinqiao.convert.source import Checkpoint, Entry, read_header
from xinqiao.convert.values import compare_with_source
from xinqiao.errors import InputError

CHUNK = 4 << 20  # bytes that are hashed at a time
Progress = Callable[[int], None]


class Finding(msgspec.Struct, frozen=True):
    """Something that is not as it should be. where: a tensor's or a file's name."""

    where: str
    what: str


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """What was checked.

    against   'manifest'; 'manifest and source', where the bytes were right and the values were compared too; 'source',
              where there is no manifest: within the rounding of their formats
    tensors   that were read again; against a source alone, weights
    """

    schema: int = 1
    kind: str = "verification"
    against: str
    tensors: int
    nbytes: int
    findings: list[Finding]


def verify(folder: Path, source: Checkpoint | None, *, threads: int, progress: Progress) -> Verification:
    """Check a converted checkpoint; its values too, where its bytes are those written and `source` is at hand.

    InputError where there is nothing to check it against.
    """
    if not (folder / NAME).exists() and source is None:
        raise InputError(f"{folder}: has no {NAME}; name what it was made from: --source MODEL")
    with ThreadPoolExecutor(threads) as pool, Maps() as maps:
        if not (folder / NAME).exists():
            assert source is not None
            compared = compare_with_source(folder, source, None, pool, maps, progress)
            found = [Finding(*row) for row in compared.rows]
            return Verification(against="source", tensors=compared.weights, nbytes=compared.nbytes, findings=found)
        manifest = read(folder)
        found = list(_against_manifest(folder, manifest, pool, maps, progress))
        values = source is not None and not found
        if source is not None and not found:
            compared = compare_with_source(folder, source, manifest, pool, maps, progress)
            found = [Finding(*row) for row in compared.rows]
    parts = _parts(manifest)
    return Verification(
        against="manifest and source" if values else "manifest",
        tensors=len(parts),
        nbytes=sum(part.nbytes for part in parts),
        findings=found,
    )


def _parts(manifest: Manifest) -> list[Part]:
    return [part for row in manifest.weights for part in row.parts]


def _against_manifest(
    folder: Path, manifest: Manifest, pool: Executor, maps: Maps, progress: Progress
) -> Iterator[Finding]:
    there: dict[str, dict[str, Entry]] = {}
    for shard in dict.fromkeys(part.shard for part in _parts(manifest)):
        try:
            there[shard] = {entry.name: entry for entry in read_header(folder / shard)}
        except InputError as error:
            yield Finding(shard, str(error))
    yield from _shapes(manifest, there)
    yield from _hashes(manifest, there, pool, maps, progress)
    yield from _files(folder, manifest, there)


def _shapes(manifest: Manifest, there: Mapping[str, Mapping[str, Entry]]) -> Iterator[Finding]:
    """Names, dtypes, shapes and places in the shards' headers."""
    for part in _parts(manifest):
        if part.shard not in there:
            yield Finding(part.name, f"cannot be read: {part.shard} is missing or damaged")
            continue
        entry = there[part.shard].get(part.name)
        if entry is None:
            yield Finding(part.name, f"is missing from {part.shard}")
        elif (entry.dtype, entry.shape) != (part.dtype, part.shape):
            yield Finding(
                part.name, f"is {entry.dtype} {list(entry.shape)}, and was written {part.dtype} {list(part.shape)}"
            )
    known = {(part.shard, part.name) for part in _parts(manifest)}
    for shard, entries in there.items():
        for name in entries:
            if (shard, name) not in known:
                yield Finding(name, f"is in {shard}, and was not written there")


def _hashes(
    manifest: Manifest, there: Mapping[str, Mapping[str, Entry]], pool: Executor, maps: Maps, progress: Progress
) -> Iterator[Finding]:
    """The bytes of every tensor that is there; a swap of two is named as such."""
    pairs = [(part, there.get(part.shard, {}).get(part.name)) for part in _parts(manifest)]
    present = [(part, entry) for part, entry in pairs if entry is not None]
    found = pool.map(lambda pair: hash_entry(pair[1], maps, progress), present)
    meant = {part.blake3: part.name for part in _parts(manifest)}
    for (part, _), digest in zip(present, found, strict=True):
        if digest != part.blake3:
            other = meant.get(digest)
            yield Finding(part.name, f"holds the bytes of {other}" if other else "its bytes are not those written")


def hash_entry(entry: Entry, maps: Maps, progress: Progress) -> str:
    """BLAKE3 of a tensor's bytes."""
    digest = blake3()
    for begin in range(0, entry.nbytes, CHUNK):
        size = min(CHUNK, entry.nbytes - begin)
        digest.update(maps.view(entry.file, entry.offset + begin, size))
        maps.release(entry.file, entry.offset + begin, size)
    progress(entry.nbytes)
    return digest.hexdigest()


def _files(folder: Path, manifest: Manifest, there: Mapping[str, Any]) -> Iterator[Finding]:
    """Configuration, index and the other files; shards that nothing wrote."""
    for name, digest in manifest.files.items():
        path = folder / name
        if not path.is_file():
            yield Finding(name, "is missing")
        elif blake3(path.read_bytes()).hexdigest() != digest:
            stale = list(_stale(path, manifest.weights)) if name == INDEX else []
            yield from stale or [Finding(name, "its content is not what was written")]
    for path in sorted(folder.glob("*.safetensors")):
        if path.name not in there:
            yield Finding(path.name, "is beside the result, and was not written there")
    if CONFIG not in manifest.files and (folder / CONFIG).exists():
        yield Finding(CONFIG, "is beside the result, and was not written there")


def _stale(path: Path, rows: Iterable[Converted]) -> Iterator[Finding]:
    """The entries of an index that do not say where a tensor is."""
    try:
        said = msgspec.json.decode(path.read_bytes())["weight_map"]
        entries = dict(said)
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError):
        return
    meant = index(rows)["weight_map"]
    assert isinstance(meant, dict)
    for name in sorted({*entries, *meant}, key=str):
        if entries.get(name) != meant.get(name):
            yield Finding(str(name), f"{path.name} says {entries.get(name)}, and it is in {meant.get(name)}")

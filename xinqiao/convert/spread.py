"""The same conversion by several machines that share the output folder: the same bytes, each shard by one of them."""

import os
import socket
import time
from pathlib import Path
from typing import NamedTuple

from xinqiao.convert.manifest import Manifest, read
from xinqiao.convert.plan import Request
from xinqiao.convert.run import Conversion, claim, complete, finish, prepare, system_errors, write_shards
from xinqiao.convert.shard import Progress
from xinqiao.convert.state import State
from xinqiao.errors import InputError

KNOCK = 5.0  # seconds that a cluster has to answer
POLL = 0.1  # seconds between two looks at the shared folder


class Ranks(NamedTuple):
    """This process among those that torchrun started."""

    rank: int
    world: int


def ranks() -> Ranks:
    """From the environment that torchrun sets; (0, 1) without it."""
    return Ranks(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))


def convert_on_ranks(conversion: Conversion, here: Ranks, *, threads: int, progress: Progress) -> Manifest | None:
    """This rank's share: every `world`-th shard. Rank 0 waits for the others and finishes; they return None.

    torchrun stops all ranks when one fails, so nobody waits for a rank that is gone.
    """
    mine = conversion.plan.shards[here.rank :: here.world]
    with system_errors(conversion.out):
        if here.rank:
            state = State(conversion.out)
            while not state.begun(conversion.key):
                if complete(conversion):
                    return None
                time.sleep(POLL)
            todo = [shard for shard in mine if state.finished(shard.name) is None]
            write_shards(conversion, state, todo, threads=threads, progress=progress)
            return None
        with claim(conversion) as state:
            if not complete(conversion):
                todo = [shard for shard in mine if state.finished(shard.name) is None]
                write_shards(conversion, state, todo, threads=threads, progress=progress)
                while conversion.unfinished:
                    time.sleep(POLL)
                finish(conversion, state)
            state.close()
    return read(conversion.out)


def convert_on_ray(conversion: Conversion, model: Path, address: str, *, threads: int, progress: Progress) -> Manifest:
    """Every shard as a task of a Ray cluster. InputError where Ray is not installed or not reachable."""
    try:
        import ray
    except ImportError as error:
        raise InputError("--ray: Ray is not installed; pip install 'xinqiao[ray]'") from error
    _knock(address)
    ray.init(address=None if address == "local" else address, log_to_driver=False)
    task = ray.remote(num_cpus=threads)(write_one)
    with system_errors(conversion.out), claim(conversion) as state:
        if not complete(conversion):
            sizes = {
                task.remote(model, conversion.plan.request, conversion.out, s.name, threads): s
                for s in conversion.unfinished
            }
            waiting = list(sizes)
            while waiting:
                done, waiting = ray.wait(waiting)
                ray.get(done)
                progress(sum(job.weight.codes.nbytes for ref in done for job in sizes[ref].jobs))
            finish(conversion, state)
        state.close()
    return read(conversion.out)


def _knock(address: str) -> None:
    """InputError where nothing answers: Ray itself would wait for more than a minute and end the process."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host:
        return
    try:
        socket.create_connection((host, int(port)), timeout=KNOCK).close()
    except (OSError, ValueError) as error:
        raise InputError(f"--ray {address}: no cluster answers there ({error})") from error


def write_one(model: Path, request: Request, out: Path, name: str, threads: int) -> None:
    """One shard, planned again from the source; what a worker runs."""
    conversion = prepare(model, request, out)
    shards = [shard for shard in conversion.plan.shards if shard.name == name]
    write_shards(conversion, State(out), shards, threads=threads, progress=lambda _: None)

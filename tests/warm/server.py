"""Imports PyTorch once, then forks a process for each program that it is asked to run: `server.py SOCKET OWNER`.

It runs no thread and nothing of PyTorch but its import, so that a fork is as a process that has just imported it. Ends
with the process OWNER. A program ends with the one that asked for it.
"""

import marshal
import os
import select
import signal
import socket
import sys
from contextlib import suppress

import program
from hidden import Torch


class Server:
    def __init__(self, path: str, owner: int) -> None:
        self.owner = os.pidfd_open(owner)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.bind(path)
        self.socket.listen(64)
        self.running: dict[int, tuple[int, socket.socket]] = {}  # by the process's descriptor: its id, who asked
        self.poll = select.poll()
        self.poll.register(self.owner, select.POLLIN)
        self.poll.register(self.socket, select.POLLIN)

    def serve(self) -> program.Request | None:
        """Returns in each child what it is to run, and None in the server when its owner has ended."""
        while True:
            for ready, _ in self.poll.poll():
                if ready == self.owner:
                    for process, _ in self.running.values():
                        os.kill(process, signal.SIGKILL)
                    return None
                if ready == self.socket.fileno():
                    request = self.fork(self.socket.accept()[0])
                    if request:
                        return request
                elif ready in self.running:
                    self.end(ready)
                else:
                    self.kill(ready)

    def fork(self, connection: socket.socket) -> program.Request | None:
        received = _received(connection)
        if received is None:
            connection.close()
            return None
        request, files = received
        process = os.fork()
        if process == 0:
            for target, file in enumerate(files):
                os.dup2(file, target)
            for file in (*files, connection.detach(), self.socket.detach(), self.owner):
                os.close(file)
            for descriptor, (_, asking) in self.running.items():
                os.close(descriptor)
                asking.close()
            return request
        for file in files:
            os.close(file)
        descriptor = os.pidfd_open(process)
        self.running[descriptor] = process, connection
        self.poll.register(descriptor, select.POLLIN)
        self.poll.register(connection, 0)  # POLLHUP alone
        return None

    def end(self, descriptor: int) -> None:
        """Tell who asked how the program ended."""
        process, connection = self.running.pop(descriptor)
        _, status = os.waitpid(process, 0)
        self.poll.unregister(descriptor)
        os.close(descriptor)
        with suppress(KeyError):
            self.poll.unregister(connection)
        with connection, suppress(BrokenPipeError):
            connection.sendall(os.waitstatus_to_exitcode(status).to_bytes(4, "big", signed=True))

    def kill(self, connection: int) -> None:
        """Who asked has been killed: so is the program."""
        for process, asking in self.running.values():
            if asking.fileno() == connection:
                os.kill(process, signal.SIGKILL)
                self.poll.unregister(connection)


def _received(connection: socket.socket) -> tuple[program.Request, list[int]] | None:
    """A request and the standard files of who asked; None where it has been killed meanwhile."""
    size, files, _, _ = socket.recv_fds(connection, 8, 3)
    if len(size) < 8:
        return None
    data = bytearray()
    while len(data) < int.from_bytes(size, "big"):
        part = connection.recv(1 << 20)
        if not part:
            return None
        data += part
    return program.Request(*marshal.loads(data)), files


def main(path: str, owner: str) -> None:
    Torch()
    request = Server(path, int(owner)).serve()
    if request is None:
        return
    del sys.path[0], sys.modules["program"], sys.modules["hidden"]  # the names of this file's folder
    program.run(request)


if __name__ == "__main__":
    main(*sys.argv[1:])

# What stands for the interpreter: it hands its arguments, environment, folder and standard files to the server of its
# environment, and ends as the program ends. `__init__.py` writes the constants above it. It imports what the
# interpreter has built in, because it starts hundreds of times. What the server cannot do starts really: options other
# than -c and -m, and what is no .py file.
# ruff: noqa: F821  (the constants)
import _socket
import marshal
import posix
import sys
from binascii import crc32
from time import sleep

# What is read before a program's first line: each such environment has a server.
AT_START = b"PYTHON OMP_ MKL_ KMP_ GOMP_ LD_ TORCH_ TRITON LC_ LANG MALLOC GLIBC"


def possible(words: list[str]) -> bool:
    """Whether a server can run it."""
    if len(words) > 1 and words[0] in ("-c", "-m"):
        return True
    return bool(words) and words[0].endswith(".py") and not words[0].startswith("-")


def connected(environment: dict[bytes, bytes]) -> _socket.socket:
    """A connection to the server of programs that start in such an environment; the first to ask starts it."""
    names = [n for n in sorted(environment) if n.startswith(tuple(AT_START.split())) and n != b"PYTHONPATH"]
    path = f"{FOLDER}/{crc32(repr([(n, environment[n]) for n in names]).encode()):08x}"
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    while connection.connect_ex(path):
        try:
            posix.close(posix.open(f"{path}.starts", posix.O_CREAT | posix.O_EXCL))
            start(path, environment)
        except FileExistsError:
            sleep(0.02)
    return connection


def start(path: str, environment: dict[bytes, bytes]) -> None:
    """Start a server, which imports PyTorch without what that begins."""
    own = {n: v for n, v in environment.items() if not n.startswith(b"XINQIAO_") and n != b"PYTHONPATH"}
    files = [
        (posix.POSIX_SPAWN_OPEN, 0, "/dev/null", posix.O_RDONLY, 0),
        (posix.POSIX_SPAWN_OPEN, 1, f"{path}.log", posix.O_WRONLY | posix.O_CREAT, 0o600),
        (posix.POSIX_SPAWN_DUP2, 1, 2),
    ]
    words = [PYTHON, SERVER, path, str(OWNER)]
    posix.posix_spawn(PYTHON, words, {**own, b"TORCH_DEVICE_BACKEND_AUTOLOAD": b"0"}, file_actions=files)


def main(words: list[str]) -> None:
    environment = dict(posix.environ)
    connection = connected(environment)
    request = marshal.dumps((sys.argv[0], words, environment, posix.getcwd()))
    files = b"".join(fd.to_bytes(4, sys.byteorder) for fd in (0, 1, 2))
    connection.sendmsg([len(request).to_bytes(8, "big")], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, files)])
    connection.sendall(request)
    answer = connection.recv(4)
    code = int.from_bytes(answer, "big", signed=True) if answer else -9
    if code < 0:
        posix.kill(posix.getpid(), -code)
    posix._exit(code)


if possible(sys.argv[1:]):
    main(sys.argv[1:])
posix.execv(PYTHON, [PYTHON, *sys.argv[1:]])

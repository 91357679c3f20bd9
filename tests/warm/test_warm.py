"""A program that is forked does what it does where it really starts."""

import os
import subprocess
import sys
import time

import pytest

from tests.warm import _interpreter

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere programs really start")

KNOWN = "print([n for n in ('torch', 'torch._dynamo', 'sympy', 'xinqiao') if n in sys.modules])\n"
HEAD = "import os, sys\n"
PROGRAMS = {
    "nothing of PyTorch": KNOWN + "print(__name__, __file__, sys.argv, sys.path, os.getcwd(), os.environ['MINE'])",
    "its import": "import torch\n" + KNOWN + "print(torch.__spec__.origin)",
    "an optimizer": "import torch\ntorch.optim.SGD([torch.ones(2)])\n" + KNOWN,
    "threads": "import torch\nx = torch.ones(500, 500)\nprint(torch.get_num_threads(), (x @ x).sum().item())",
    "an error": "import torch\ndef f():\n    raise KeyError('mine')\nf()",
    "no program": "x = = 3",
    "an exit code": "sys.exit(3)",
    "a last word": "sys.exit('too bad')",
    "a signal": "import torch\nos.kill(os.getpid(), 11)",
    "its own end": "import atexit, threading, time\natexit.register(print, 'end')\n"
    "threading.Thread(target=lambda: (time.sleep(0.2), print('thread'))).start()\nprint('main')",
    "a child": "import subprocess\nprint(subprocess.run([sys.executable, '-c', 'import torch; print(torch.ones(2))'])"
    ".returncode, flush=True)",
    "input": "print(sys.stdin.read())",
    "where it is": "from importlib.util import find_spec\nprint(find_spec('torch').origin, 'torch' in sys.modules)",
}  # fmt: skip


def ended(python, folder, *words, **environment):
    done = subprocess.run(
        [python, *words],
        cwd=folder,
        env={**os.environ, "MINE": "1", **environment},
        input="typed",
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_script(name, tmp_path):
    (tmp_path / "script.py").write_text(HEAD + PROGRAMS[name])
    assert ended(_interpreter(), tmp_path, "script.py", "a") == ended(sys.executable, tmp_path, "script.py", "a")


@pytest.mark.parametrize("name", ["nothing of PyTorch", "an exit code"])
def test_a_text_and_a_module(name, tmp_path):
    text = HEAD + PROGRAMS[name].replace("__file__", "0")
    (tmp_path / "script.py").write_text(text)
    for words in (
        ("-c", text, "a"),
        ("-m", "script", "a"),
        ("./script.py", "a"),
        (f"../{tmp_path.name}/script.py", "a"),
    ):
        assert ended(_interpreter(), tmp_path, *words) == ended(sys.executable, tmp_path, *words)


@pytest.mark.parametrize("chip", ["ascend-910c", "nvidia-h200", "no-such"])
def test_a_chip(chip, tmp_path):
    text = "import torch\nprint(torch.accelerator.current_accelerator(), torch.cuda.is_available())"
    settings = {"XINQIAO_CHIP": chip}
    assert ended(_interpreter(), tmp_path, "-c", text, **settings) == ended(
        sys.executable, tmp_path, "-c", text, **settings
    )


def test_another_torch_on_the_path(tmp_path):
    (tmp_path / "torch.py").write_text("mine = 1\n")
    text = "import torch\nprint(torch.mine)"
    assert ended(_interpreter(), tmp_path, "-c", text) == (0, "1\n", "")
    assert ended(_interpreter(), tmp_path / "..", "-c", text, PYTHONPATH=str(tmp_path)) == (0, "1\n", "")


def test_it_has_no_thread_but_its_own(tmp_path):
    text = "import os, torch\nprint(len(os.listdir('/proc/self/task')))"
    assert ended(_interpreter(), tmp_path, "-c", text) == (0, "1\n", "")


def test_each_draws_its_own_random_numbers(tmp_path):
    text = "import random, torch\nprint(random.random(), torch.rand(1), torch.initial_seed())"
    first, second = (ended(_interpreter(), tmp_path, "-c", text)[1].split() for _ in range(2))
    assert all(a != b for a, b in zip(first, second, strict=True))


def test_a_setting_that_is_read_at_the_start(tmp_path):
    text = "import sys, torch\nprint(hash('a'), torch.get_num_threads(), sys.flags.dont_write_bytecode)"
    settings = {"PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "3", "PYTHONDONTWRITEBYTECODE": ""}
    assert ended(_interpreter(), tmp_path, "-c", text, **settings) == ended(
        sys.executable, tmp_path, "-c", text, **settings
    )


def test_a_program_ends_with_who_asked_for_it(tmp_path):
    text = "import os, time\nopen('id', 'w').write(str(os.getpid()))\ntime.sleep(60)"
    ended(_interpreter(), tmp_path, "-c", "pass")  # the server is there
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run([_interpreter(), "-c", text], cwd=tmp_path, timeout=3, check=False)
    process, end = int((tmp_path / "id").read_text()), time.monotonic() + 10
    while os.path.exists(f"/proc/{process}") and time.monotonic() < end:
        time.sleep(0.01)
    assert not os.path.exists(f"/proc/{process}")

"""Files that nobody meant to be read: cut, mutated, deep, large, wrongly encoded. Nothing stops, output parses."""

import ast
import random
import sysconfig
import warnings
from pathlib import Path

import pytest

from tests.processor import within
from xinqiao.chips import catalog
from xinqiao.port import Target
from xinqiao.port.analyse import TOO_LARGE, File, port_file

CHIP = Target(catalog.load("ascend-910c"))
EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "gpt-cuda").glob("*.py"))
LIBRARY = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
INSERTED = [
    *(b'"cuda"', b"'cuda:0'", b'f"cuda:{i}"', b".cuda()", b"torch.cuda.", b'"nccl"', b"x.is_cuda", b"\\", b";", b"\n"),
    *(
        b"    ",
        b"(",
        b")",
        b"[",
        b"]",
        b"{",
        b"}",
        b'"""',
        b"'",
        b"lambda: ",
        b"if ",
        b"#",
        b"\t",
        b"\x0c",
        b"\r",
        b"\x00",
    ),
    *("é".encode(), "\N{CJK UNIFIED IDEOGRAPH-82AF}".encode(), b"\xff", b"\xef\xbb\xbf", b"# coding: latin-1\n"),
    *(
        b"from __future__ import annotations\n",
        b"import torch as th\n",
        b"del torch\n",
        b"global torch\n",
        b"ACCELERATOR = 1\n",
    ),
]
SECONDS = 2


def is_python(data):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(data)
    except (SyntaxError, ValueError, RecursionError, MemoryError, LookupError):
        return False
    return True


def judge(data):
    """Ports one file; fails where that stops, takes long, or writes what is no Python."""
    with within(SECONDS):
        result = port_file(File("x.py", data), CHIP)
    assert all(o.reason and o.line >= 1 and o.column >= 1 for o in result.occurrences)
    if result.data is not None:
        assert is_python(result.data)
        again = port_file(File("x.py", result.data), CHIP)
        assert again.data is None, "the port of a port changes something"
    return result


def texts():
    """The example's files, and those of the standard library with CUDA code put among their lines."""
    found = [p.read_bytes() for p in EXAMPLES]
    for path in LIBRARY:
        data = path.read_bytes()
        if 500 < len(data) < 20_000:
            found.append(b"import torch\n" + data + b'\nx = torch.zeros(1, device="cuda").cuda()\n')
    return found


def mutated(data, chance):
    kind = chance.randrange(4)
    at = chance.randrange(len(data) + 1)
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data[at:]
    changed = bytearray(data)
    for _ in range(chance.randrange(1, 6)):
        at = chance.randrange(len(changed))
        if kind == 2:
            changed[at] ^= 1 << chance.randrange(8)
        else:
            changed[at:at] = chance.choice(INSERTED)
    return bytes(changed)


def swapped_lines(data, chance):
    """Lines in another order: names are used before they are imported, headers land in odd places."""
    lines = data.splitlines(keepends=True)
    for _ in range(5):
        a, b = chance.randrange(len(lines)), chance.randrange(len(lines))
        lines[a], lines[b] = lines[b], lines[a]
    return b"".join(lines)


def run(seed, count):
    chance = random.Random(seed)
    originals = texts()
    rewritten = 0
    for _ in range(count):
        data = chance.choice(originals)
        data = swapped_lines(data, chance) if chance.random() < 0.2 else mutated(data, chance)
        rewritten += judge(data).data is not None
    return rewritten


def test_three_hundred_mutated_files():
    assert run(seed=1, count=300) > 10


@pytest.mark.slow
def test_seven_thousand_mutated_files():
    assert run(seed=2, count=7_000) > 300


BAD = {
    "deep parentheses": b"cuda = " + b"(" * 5000 + b")" * 5000,
    "deep lists": b"x = " + b"[" * 90 + b'"cuda"' + b"]" * 90,
    "a long sum": b"x = " + b'"cuda" + ' * 5000 + b"1",
    "a long chain": b"x" + b".cuda()" * 3000,
    "long attributes": b"torch.cuda" + b".a" * 3000,
    "deep blocks": b"".join(b" " * i + b"if x:\n" for i in range(99)) + b" " * 99 + b'x.to("cuda")\n',
    "deep functions": b"".join(b" " * i + b"def f(x):\n" for i in range(90)) + b" " * 90 + b'x.to("cuda")\n',
    "many else-ifs": b"if x: pass\n" + b'elif x.to("cuda"): pass\n' * 1500,
    "one long line": b"x = [" + b'y.to("cuda"), ' * 10_000 + b"]",
    "one long line, not ASCII": b"x = [" + 'y.to("cuda"), "é", '.encode() * 5_000 + b"]",
    "many strings": b'x.to("cuda")\n' * 10_000,
    "many keys": b"x = {" + b'"cuda": "cuda", ' * 5_000 + b"}",
    "many late imports": b"".join(b'def f%d(x):\n  import torch\n  x.to("cuda")\n' % i for i in range(2_000)),
    "many nested calls": b"f(" * 150 + b'"cuda"' + b")" * 150,
    "many functions": b"".join(
        b'def f%d(x, device="cuda"): return f%d(x, device)\n' % (i, i + 1) for i in range(3_000)
    ),
    "many classes": b"".join(
        b"class C%d(C%d):\n  def cuda(self): return C%d().cuda()\n" % (i + 1, i, i) for i in range(2_000)
    ),
    "a NUL": b'x = "cuda"\x00',
    "half a character": b'x = "cuda\xe8\x8a"',
    "UTF-16": 'x = "cuda"\n'.encode("utf-16"),
    "two encodings": b'# coding: latin-1\nx = "caf\xe9 \xe8\x8a\xaf"; y.to("cuda")\n',
    "a wrong encoding line": b'# coding: utf-8\nx = "caf\xe9"; y.to("cuda")\n',
    "an unknown encoding": b'# coding: klingon\nx = "cuda"\n',
    "a coding that is no text": b"# coding: hex\ncuda\n",
    "Python 2": b"print 'cuda'\nexec 'x'\nraise E, 'cuda'\n",
    "form feeds and carriage returns": b'import torch\r\x0c\rx.to("cuda")\r',
    "no newline": b'x.to("cuda")',
    "a continued import": b'import torch; \\\nx.to("cuda")\n',
    "everything on one line": b'"""cuda"""; from __future__ import annotations; import torch; x.to("cuda")\n',
    "a statement after the future": b'from __future__ import annotations; x.to("cuda")\n',
    "words that touch": b'def f(): return"cuda"if x else"cpu"\ntorch.device(f())\n',
    "nested f-strings": b"""y = f"{x.to('cuda:0')}" f'{x.cuda()} {torch.device("cuda")}'\n""",
    "a recursive import": b"from x import *\nfrom x import x\nfrom . import x\nx.cuda(); torch.cuda()\n",
    "names that are its own": b'ACCELERATOR = "mine"\nx.to("cuda")\n',
    "escapes": b'x.to("cuda:\\\\n"); x.to(r"cuda:\\d"); x.to("""cuda""")\n',
    "a generated file of 5 MB": b"x = [" + b"1, " * 1_700_000 + b'"cuda"]\n',
    "the largest that is read": b"x = [" + b"1234567, " * (TOO_LARGE // 9 - 20) + b'"cuda"]\n',
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD)
def test_odd_files(data):
    judge(data)

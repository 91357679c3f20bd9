"""Which line of the port is which line of the original, and which statements are new."""

import pytest

from xinqiao.prove.lines import Lines

ORIGINAL = """import torch

x = torch.ones(3).cuda()
y = x + 1
print(y)
"""
PORT = """import torch

ACCELERATOR = torch.accelerator.current_accelerator().type

x = torch.ones(3).to(ACCELERATOR)
y = x + 1
print(y)
"""


@pytest.fixture
def lines(tmp_path):
    def write(original, port):
        for name, text in (("a", original), ("b", port)):
            (tmp_path / name).mkdir()
            (tmp_path / name / "train.py").write_text(text)
        return Lines(tmp_path / "a", tmp_path / "b")

    return write


def test_lines_map_both_ways(lines):
    found = lines(ORIGINAL, PORT)
    assert [found.original_of("train.py", n) for n in (1, 5, 6, 7)] == [1, 3, 4, 5]
    assert found.original_of("train.py", 3) < 0  # the port's own
    assert [found.port_of("train.py", n) for n in (1, 3, 4, 5)] == [1, 5, 6, 7]


def test_a_lost_line_is_where_the_next_one_is(lines):
    found = lines("a = 1\nb = 2\nc = 3\n", "a = 1\nc = 3\n")
    assert found.port_of("train.py", 2) == 2


def test_equal_files_map_to_themselves(lines):
    found = lines(ORIGINAL, ORIGINAL)
    assert found.original_of("train.py", 4) == 4
    assert found.original_of("other.py", 9) == 9
    assert found.changed() == []


@pytest.mark.parametrize(
    ("original", "port", "changed"),
    [
        (ORIGINAL, PORT, [(3, 3), (5, 5)]),
        ("f(1,\n  2)\n", "f(1,\n  3)\n", [(1, 2)]),  # the whole statement
        ("if a:\n    b()\n", "if c:\n    b()\n", [(1, 1)]),  # the head alone
        ("if a:\n    b()\n", "if a:\n    c()\n", [(2, 2)]),
        ("@f\ndef g():\n    pass\n", "@h\ndef g():\n    pass\n", [(1, 2)]),
        ('"""A."""\nx = 1\n', '"""B."""\nx = 1\n', []),  # documentation does not run
        ("x = 1\n", "x = 1\n# more\n", []),
        ("x = 1\n", "x = (\n", []),  # not Python
    ],
)
def test_changed_statements(lines, original, port, changed):
    assert [(s.first, s.last) for s in lines(original, port).changed()] == changed

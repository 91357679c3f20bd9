"""Two sequences side by side: what is equal, what has no counterpart."""

import random

import pytest

from xinqiao.prove.align import align


def shown(a, b):
    """'=abc -d +e': equal, only in a, only in b."""
    parts = []
    for s in align(a, b):
        left, right = a[s.first : s.last], b[s.other : s.other_last]
        parts += [f"={left}"] if s.equal else [f"-{left}"] * bool(left) + [f"+{right}"] * bool(right)
    return " ".join(parts)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("", "", ""),
        ("abc", "abc", "=abc"),
        ("abc", "", "-abc"),
        ("", "abc", "+abc"),
        ("abcdefg", "abcXdefg", "=abc +X =defg"),
        ("abcXdefg", "abcdefg", "=abc -X =defg"),
        ("abcXYdefg", "abcZdefg", "=abc -XY +Z =defg"),
        ("abcdef", "abcdeX", "=abcde -f +X"),
        ("abab", "ababab", "=abab +ab"),
        ("xabcdef", "abcdefx", "-x =abcdef +x"),
    ],
)
def test_align(a, b, expected):
    assert shown(a, b) == expected


def test_every_call_is_in_exactly_one_stretch():
    """Random sequences with random gaps, longer than the window."""
    draw = random.Random(0)
    for _ in range(20):
        a = [draw.randrange(30) for _ in range(3000)]
        b = [x for x in a if draw.random() > 0.02]
        stretches = list(align(a, b))
        assert [i for s in stretches for i in range(s.first, s.last)] == list(range(len(a)))
        assert [i for s in stretches for i in range(s.other, s.other_last)] == list(range(len(b)))
        assert all(a[s.first : s.last] == b[s.other : s.other_last] for s in stretches if s.equal)
        assert sum(s.last - s.first for s in stretches if s.equal) > 0.8 * len(b)

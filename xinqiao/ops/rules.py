"""Which keys a query of native sparse attention sees."""

from dataclasses import dataclass

from xinqiao.errors import InputError, nearest

# Compressed key c stands for `length` tokens from c · stride on. Block j counts the sum, over m < block / stride and
# n < length / stride, of the keys at this offset from j · block / stride. Each is what some published code does;
# docs/operators.md has a picture.
IMPORTANCE = {
    "overlap": "m - n: those that share a token with the block; equation 9, counted from 1 as the paper does",
    "forward": "m + n: those that begin in the block or just after it",
    "literal": "-m - n: equation 9 with everything counted from 0",
}
_SIGNS = {"overlap": (1, -1), "forward": (1, 1), "literal": (-1, -1)}


@dataclass(frozen=True, slots=True)
class Choosing:
    """How blocks are chosen. The defaults are the paper's.

    length, stride  tokens of a compressed key, and from one to the next; stride divides length and block
    block, blocks   tokens of a block, and how many a query takes, the forced ones included
    initial, local  the first blocks, and the last up to the query's own, that every query takes
    importance      a key of IMPORTANCE
    """

    length: int = 32
    stride: int = 16
    block: int = 64
    blocks: int = 16
    initial: int = 1
    local: int = 2
    importance: str = "overlap"

    def checked(self, operator: str) -> "Choosing":
        """Itself. InputError where it makes no sense."""
        if self.importance not in IMPORTANCE:
            raise InputError(
                f"{operator}: no importance {self.importance!r}{nearest(self.importance, IMPORTANCE)}; "
                f"there are {', '.join(IMPORTANCE)}"
            )
        if min(self.length, self.stride, self.block, self.blocks) < 1 or self.initial < 0 or self.local < 1:
            raise InputError(f"{operator}: sizes must be positive, local at least 1: {self}")
        if self.length % self.stride or self.block % self.stride:
            raise InputError(
                f"{operator}: stride {self.stride} must divide length {self.length} and block {self.block}"
            )
        if self.initial + self.local > self.blocks:
            raise InputError(
                f"{operator}: {self.initial} initial and {self.local} local blocks are more than blocks = {self.blocks}"
            )
        return self

    def keys(self, tokens: int) -> int:
        """Compressed keys of so many tokens."""
        return max(0, (tokens - self.length) // self.stride + 1)


PAPER = Choosing()


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys up to the query's own token: the last `window` of them (0: all), in chosen blocks of `block` tokens."""

    window: int = 0
    block: int = 64


def offsets(rule: Choosing) -> list[tuple[int, int]]:
    """(offset of c from j · block / stride, how often its share counts) of block j, ascending."""
    sign_m, sign_n = _SIGNS[rule.importance]
    found: dict[int, int] = {}
    for m in range(rule.block // rule.stride):
        for n in range(rule.length // rule.stride):
            offset = sign_m * m + sign_n * n
            found[offset] = found.get(offset, 0) + 1
    return sorted(found.items())

"""Keys and values of native sparse attention between decoding steps: pages of tokens, and of compressed keys."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from xinqiao.errors import InputError
from xinqiao.ops.nsa import Branch, nsa_forward, sequences
from xinqiao.ops.rules import Choosing
from xinqiao.ops.shapes import Sizes

PAGE = 64  # rows


class _Pages:
    """Rows of several tensors in pages that sequences take one by one."""

    def __init__(self, like: Sequence[Tensor], batch: int, rows: int) -> None:
        pages = -(-rows // PAGE)
        self.tensors = [t.new_zeros(batch * pages, PAGE, *t.shape[2:]) for t in like]
        self.table = torch.zeros(batch, pages, dtype=torch.int32)
        self.free = list(range(batch * pages))[::-1]
        self.rows = [0] * batch

    def append(self, i: int, new: Sequence[Tensor]) -> None:
        """Rows [n, kv_heads, d] of sequence i, one tensor for each that is held."""
        first, count = self.rows[i], len(new[0])
        for page in range(-(-first // PAGE), -(-(first + count) // PAGE)):
            self.table[i, page] = self.free.pop()
        at = torch.arange(first, first + count)
        rows = self.table[i, at // PAGE].long() * PAGE + at % PAGE
        for held, added in zip(self.tensors, new, strict=True):
            held.flatten(0, 1)[rows] = added.to(held.dtype)
        self.rows[i] += count


class NsaCache:
    """What tokens so far have left: keys and values of selection and window, and compressed ones.

    Compressed keys are made once, as soon as their last token is there. Sequences may be of different lengths.

    compress  φ of keys and of values; see `xinqiao.ops.compress.Compression`
    capacity  most tokens of a sequence
    """

    def __init__(
        self, compress: tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]], rule: Choosing, capacity: int
    ) -> None:
        self.compress, self.rule, self.capacity = compress, rule.checked("NsaCache"), capacity
        self._tokens: _Pages | None = None
        self._made: _Pages | None = None
        self._tail: list[list[Tensor]] = []  # of each sequence: the compressed branch's rows that later keys still need

    @property
    def lengths(self) -> list[int]:
        """Tokens of each sequence."""
        return list(self._tokens.rows) if self._tokens else []

    def append(self, compressed: Branch, selected: Branch, window: Branch, counts: Sequence[int] | None = None) -> None:
        """Adds each branch's keys and values [batch, new, kv_heads, d], not compressed.

        counts  new rows that are tokens, of each sequence; all by default. InputError where the cache is full.
        """
        batch, new = compressed.keys.shape[:2]
        counts = [new] * batch if counts is None else counts
        if any(length + n > self.capacity for length, n in zip(self.lengths or [0] * batch, counts, strict=True)):
            raise InputError(f"NsaCache: more than {self.capacity} tokens, its capacity; make one with a larger one")
        if self._tokens is None:
            self._tokens = _Pages([*selected, *window], batch, self.capacity)
            self._made = _Pages(list(compressed), batch, self.rule.keys(self.capacity) + 1)
            self._tail = [[t[i, :0] for t in compressed] for i in range(batch)]
        for i, n in enumerate(counts):
            self._tokens.append(i, [t[i, :n] for branch in (selected, window) for t in branch])
            self._extend(i, [t[i, :n] for t in compressed])

    def _extend(self, i: int, new: list[Tensor]) -> None:
        """Makes the compressed keys that the new rows complete, and keeps what later ones need."""
        rows = [torch.cat((old, added)) for old, added in zip(self._tail[i], new, strict=True)]
        made = self.rule.keys(len(rows[0]))
        assert self._made is not None
        if made:
            self._made.append(i, [phi(r[None])[0] for phi, r in zip(self.compress, rows, strict=True)])
        self._tail[i] = [r[made * self.rule.stride :].clone() for r in rows]

    def attend(self, q: Tensor, gates: Tensor, *, tokens: int = 512, scale: float | None = None) -> Tensor:
        """Attention of the last tokens appended: [batch, new, heads, d_v].

        q, gates, tokens, scale: as `nsa_attention` takes them; the last row of q is the last token of its sequence.
        No gradients.
        """
        if self._tokens is None or self._made is None:
            raise InputError("NsaCache: attend before any token; append its keys and values first")
        if tokens < 1:
            raise InputError(f"NsaCache.attend: tokens = {tokens}, expected at least 1, the query's own")
        sizes = Sizes("NsaCache.attend")
        batch, new = len(self.lengths), q.shape[1]
        kv_heads, d = self._tokens.tensors[0].shape[2:]
        sizes.check("q", q, f"{batch} new heads {d}")
        sizes.check("gates", gates, f"{batch} new {gates.shape[2] if gates.shape[2:3] == (1,) else 'heads'} 3")
        if sizes["heads"] % kv_heads or new > min(self.lengths):
            raise InputError(
                f"NsaCache.attend: q has shape {list(q.shape)}, expected at most {min(self.lengths)} rows, heads in "
                f"{kv_heads} groups"
            )
        starts = [n - new for n in self.lengths]
        both = [sequences([new] * batch, rows, starts).to(q.device) for rows in (self._made.rows, self._tokens.rows)]
        r = self.rule
        out: Tensor = nsa_forward(
            q.flatten(0, 1),
            [*self._made.tensors, *self._tokens.tensors],
            gates.expand(-1, -1, q.shape[2], 3).flatten(0, 1),
            both,
            [r.length, r.stride, r.block, r.blocks, r.initial, r.local],
            r.importance,
            tokens,
            d**-0.5 if scale is None else scale,
            [part.table.to(q.device) for part in (self._made, self._tokens)],
        )
        return out.view(*q.shape[:2], *out.shape[1:])

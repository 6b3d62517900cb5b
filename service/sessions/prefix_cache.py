"""Rows after the beginnings of prompts: what several prompts share is read once.

A row is kept at every so many tokens and at the end of each prompt, by a digest of the model's bits, of whom the work
is for, and of all tokens up to there. The least recently used go when they take more memory than they may. All methods
belong to the event loop.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from service.engine.owner import working_for
from service.engine.state_table import Rows
from service.models.model import Model
from service.sessions.fingerprint import fingerprint

NEAR, FAR = 64, 1024
"""Tokens between two rows that are kept: up to `_DENSE` tokens, and after those."""
_DENSE = 4096
_OVERHEAD = 200
"""Bytes that an entry takes besides its row, about."""


class PrefixWatch(Protocol):
    """What the cache tells whoever counts."""

    def on_prefix(self, model: str, hit: int, missed: int) -> None:
        """So many of a prompt's tokens had been read before, and so many had not."""


class PrefixCache:
    """Rows (1, S) by what was read.

    Args:
        most_bytes: of all rows together; 0 keeps none.
    """

    def __init__(self, most_bytes: int, watch: PrefixWatch) -> None:
        self._most = most_bytes
        self._watch = watch
        self._rows: OrderedDict[bytes, Rows] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def size_bytes(self) -> int:
        return self._bytes

    def stops(self, length: int) -> list[int]:
        """After how many tokens of a prompt of this length rows are to be kept, in rising order; the last is all."""
        if not self._most or not length:
            return [length] if length else []
        near = range(NEAR, min(length, _DENSE + 1), NEAR)
        far = range(_DENSE + FAR, length, FAR)
        return [*near, *far, length]

    def longest(self, model: Model, tokens: NDArray[np.int64]) -> tuple[int, Rows | None]:
        """How many of the tokens (T,) have been read before, and the row after those."""
        found: tuple[int, Rows | None] = (0, None)
        if self._rows:
            for end, digest in reversed(list(_digests(model, tokens, self.stops(len(tokens))))):
                row = self._rows.get(digest)
                if row is not None:
                    self._rows.move_to_end(digest)
                    found = end, row
                    break
        if self._most:
            self._watch.on_prefix(model.manifest.name, found[0], len(tokens) - found[0])
        return found

    def keep(self, model: Model, tokens: NDArray[np.int64], rows: Sequence[tuple[int, Rows]]) -> None:
        """Keep the rows after so many of the tokens each, in rising order."""
        if not self._most:
            return
        ends = [end for end, _ in rows]
        for (_, digest), (_, row) in zip(_digests(model, tokens, ends), rows, strict=True):
            if digest not in self._rows:
                self._rows[digest] = row.copy()
                self._bytes += row.nbytes + _OVERHEAD
            self._rows.move_to_end(digest)
        while self._bytes > self._most and self._rows:
            _, row = self._rows.popitem(last=False)
            self._bytes -= row.nbytes + _OVERHEAD


def _digests(model: Model, tokens: NDArray[np.int64], ends: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    """For each end, itself and a digest of the tokens up to there."""
    # Each owner has a cache to itself: what has been read before tells what was asked before.
    digest = hashlib.blake2b(fingerprint(model).computes + (working_for.get() or "").encode(), digest_size=16)
    start = 0
    for end in ends:
        digest.update(tokens[start:end].tobytes())
        start = end
        yield end, digest.copy().digest()

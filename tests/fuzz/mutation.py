"""Inputs that are almost right: valid ones with bytes flipped, cut, doubled and mixed, or JSON with strange values."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable, Sequence
from typing import Any

_STRANGE_BYTES = (
    b"\0",
    b"\xff",
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b'"',
    b"\\",
    b"{",
    b"[",
    b"NaN",
    b"\xed\xa0\x80",
    b"\xc0\x80",
)
_STRANGE_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)
_STRANGE_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**40),
    *(-0.0, 0.5, 1e-320, 1e36, -1e37, 1e308, float("nan"), float("inf")),
    *("", " ", "\0", "é😀", "\ud800", "../..", "a/b", "a" * 5000, "NaN", "1", "2024-02-30", "9999-12-31T23:59:59Z"),
    *([], {}, [[]], [None], {"": None}, [0] * 3000, [[0.0]] * 100),
)
_NAMES = (
    *(
        "model",
        "version",
        "id",
        "session_id",
        "values",
        "timestamps",
        "future_covariates",
        "text",
        "tokens",
        "position",
    ),
    *("horizon", "quantiles", "samples", "seed", "max_tokens", "temperature", "top_p", "stop", "stream", "steps", "n"),
    *("parameters", "inputs", "outputs", "data", "shape", "datatype", "binary_data_size", "sequence_id", "snapshot"),
    *("sequence_start", "sequence_end", "time_to_live_s", "durability", "first_timestamp", "static_covariates", "type"),
)
_DEEP = 400


class Mutator:
    """Makes inputs out of valid ones; the same seed makes the same."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self._changes: tuple[Callable[[bytearray], None], ...] = (
            *(self._flip, self._overwrite, self._insert, self._delete, self._double, self._cut),
        )

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def choose(self, values: Sequence[Any]) -> Any:
        return self.random.choice(values)

    def changed(self, data: bytes, others: Sequence[bytes] = ()) -> bytes:
        """The data with some of its bytes changed, or its beginning with the end of another."""
        if others and self.chance(0.1):
            other = self.choose(others)
            return bytes(data[: self._place(data)] + other[self._place(other) :])
        made = bytearray(data)
        for _ in range(self.random.choice((1, 1, 1, 2, 4, 16))):
            self.choose(self._changes)(made)
        return bytes(made)

    def changed_json(self, value: Any) -> bytes:
        """JSON of a value in which something is not as it should be."""
        for _ in range(self.random.choice((1, 1, 1, 2, 3))):
            value = self._changed_value(value)
        text = json.dumps(value, ensure_ascii=self.chance(0.5)).encode("utf-8", "surrogatepass")
        if self.chance(0.02):
            return b"[" * _DEEP + text + b"]" * _DEEP
        return text

    def _changed_value(self, value: Any) -> Any:
        """The value with one part of it replaced, left out, added, renamed or repeated."""
        if isinstance(value, dict) and value and self.chance(0.85):
            copy = dict(value)
            name = self.choose(list(copy))
            what = self.random.random()
            if what < 0.6:
                copy[name] = self._changed_value(copy[name])
            elif what < 0.75:
                del copy[name]
            elif what < 0.85:
                copy[self.choose(_NAMES)] = copy.pop(name)
            else:
                copy[self.choose(_NAMES)] = self.choose(_STRANGE_VALUES)
            return copy
        if isinstance(value, list) and value and self.chance(0.7):
            items = list(value)
            place = self.random.randrange(len(items))
            what = self.random.random()
            if what < 0.6:
                items[place] = self._changed_value(items[place])
            elif what < 0.8:
                del items[place]
            else:
                items *= self.random.choice((2, 2, 50))
            return items
        return self.choose(_STRANGE_VALUES)

    # In place, at a random spot.

    def _place(self, data: bytes | bytearray) -> int:
        return self.random.randint(0, len(data))

    def _flip(self, data: bytearray) -> None:
        if data:
            data[self.random.randrange(len(data))] ^= 1 << self.random.randrange(8)

    def _overwrite(self, data: bytearray) -> None:
        number, kind = self.choose(_STRANGE_NUMBERS), self.choose("BHIQ")
        size = struct.calcsize(f"<{kind}")
        place = self._place(data)
        data[place : place + size] = (number % 256**size).to_bytes(size, self.choose(("little", "big")))

    def _insert(self, data: bytearray) -> None:
        place = self._place(data)
        data[place:place] = self.choose((*_STRANGE_BYTES, self.random.randbytes(self.random.randint(1, 40))))

    def _delete(self, data: bytearray) -> None:
        place = self._place(data)
        del data[place : place + self.random.randint(1, 16)]

    def _double(self, data: bytearray) -> None:
        place = self._place(data)
        data[place:place] = data[place : place + self.random.randint(1, 64)] * self.random.choice((1, 1, 30))

    def _cut(self, data: bytearray) -> None:
        del data[self._place(data) :]

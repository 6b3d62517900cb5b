"""One graph run's results, shared by all the jobs that were in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from numpy.typing import NDArray

from service.engine.state_table import Rows

_encode = msgspec.json.Encoder().encode


class Run:
    """What B rows gave in T steps: outputs (B, T, …) by name.

    And the rows (B, S) after the last step, unless nobody on the host has a use for them.
    """

    __slots__ = ("_derived", "_texts", "kept", "outputs", "rows", "steps")

    def __init__(self, outputs: dict[str, NDArray[Any]], rows: Rows | None, steps: int) -> None:
        self.outputs = outputs
        self.rows = rows
        self.steps = steps
        self.kept: dict[str, Any] = {}
        """What a protocol has made of the whole run, by its own name for it."""
        self._derived: dict[str, NDArray[Any]] = {}
        self._texts: dict[str, list[bytes]] = {}

    def derived(self, name: str, derive: Callable[[dict[str, NDArray[Any]]], NDArray[Any]]) -> NDArray[Any]:
        """An array (B, T, …) made from the outputs, once for the whole run."""
        if name not in self._derived:
            self._derived[name] = derive(self.outputs)
        return self._derived[name]

    def json(self, name: str) -> list[bytes]:
        """An output, or an array derived from them, as JSON text, (T, …) for each of the B rows; null for NaN.

        Written once for the whole run: a row by itself would cost many times its share.
        """
        texts = self._texts.get(name)
        if texts is None:
            array = self.outputs[name] if name in self.outputs else self._derived[name]
            texts = self._texts[name] = [_encode(row) for row in array.tolist()]
        return texts

"""The last tokens of a session of text, which penalties count: a bounded window in its record."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

WINDOW = 64
"""Tokens that are remembered."""
_DTYPE = np.dtype("<u4")


def recent_after(recent: bytes, tokens: Sequence[int] | np.typing.NDArray[np.int64]) -> bytes:
    """The window after `tokens` were taken in."""
    if len(tokens) >= WINDOW:
        recent = b""
    return (recent + np.asarray(tokens[-WINDOW:], _DTYPE).tobytes())[-WINDOW * _DTYPE.itemsize :]


def recent_tokens(recent: bytes) -> list[int]:
    """The tokens in a window, the last one last."""
    tokens: list[int] = np.frombuffer(recent, _DTYPE).tolist()
    return tokens

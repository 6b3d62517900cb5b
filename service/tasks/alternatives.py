"""Log-probabilities of tokens, each with the likeliest in its place: of generated ones, of a prompt, of any text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.engine.state_table import Rows
from service.tasks.drawing import Running, predict_job
from service.tasks.requests import Alternatives, Tokens
from service.tasks.sampling import largest, log_probabilities

_LOGITS_AT_ONCE = 1 << 17
_AT_ONCE = 64


def alternatives(logits: NDArray[np.float32], tokens: Sequence[int], count: int) -> Alternatives:
    """The tokens (t,) and the `count` likeliest in the place of each, from logits (t, V)."""
    found = log_probabilities(logits)
    chosen = np.concatenate(
        [np.asarray(tokens, np.int64)[:, np.newaxis], largest(found, count)], axis=1
    )  # (t, 1 + count)
    return Alternatives(chosen, np.take_along_axis(found, chosen, axis=1).astype(np.float32))


def joined(parts: Sequence[Alternatives]) -> Alternatives:
    """Those of one stretch of tokens after another."""
    return Alternatives(
        np.concatenate([part.tokens for part in parts]), np.concatenate([part.log_probabilities for part in parts])
    )


async def alternatives_to(
    run: Running, rows: Rows, tokens: Tokens, count: int, vocabulary_size: int
) -> tuple[Alternatives, Rows]:
    """The likeliest tokens in the place of each of the tokens (t,) that follow a row (1, S), and the row after them.

    A long text is read in parts, since its logits would take V times the memory of what is kept of them.
    """
    at_once = min(_AT_ONCE, max(1, _LOGITS_AT_ONCE // vocabulary_size))
    parts = [alternatives(np.empty((0, vocabulary_size), np.float32), [], min(count, vocabulary_size))]
    for start in range(0, len(tokens), at_once):
        part = tokens[start : start + at_once]
        result = await run(predict_job(part, rows))
        parts.append(alternatives(result.outputs["logits"][0], part.tolist(), count))
        rows = result.rows
    return joined(parts), rows

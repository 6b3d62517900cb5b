"""How many threads run one graph: as many as make it faster, which depends on its size.

Measured on two cores, microseconds of one step with one thread and with two, at batch 1 and 64: LSTM-128 30 and 36,
243 and 213; LSTM-512 225 and 131, 1,127 and 734; GRU-384 with 4,096 tokens 341 and 211, 1,900 and 1,192. The bits of
an answer do not depend on it.
"""

from __future__ import annotations

import os

_WORTH_SHARING = 2 * 2**20
"""Bytes of weights below which a second thread costs more than it brings."""
_MOST = 4
"""Threads chosen at most: one step has too little for more."""


def threads_for(wanted: int, weights_bytes: int) -> int:
    """Threads for the graphs of a model with so many bytes of weights: those wanted, or for 0 those that suit it."""
    if wanted:
        return wanted
    return 1 if weights_bytes < _WORTH_SHARING else min(_MOST, _processors())


def _processors() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

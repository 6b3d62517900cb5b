"""The floor under serving: a bare onnxruntime loop on the same graph, in this process.

All sessions' rows lie in one array and go through the graph at once: no server, no queue, no positions, no answers.
Whatever a server needs beyond this is what serving costs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from benchmarks.inputs import step_inputs
from benchmarks.models import QUANTILES, STATE_WIDTH, peers_graph

Rows = NDArray[np.float32]
_WARM_UP = 20


def stepper(batch: int = 1, steps: int = 1) -> Callable[[], None]:
    """A function that takes `batch` sessions so many steps on from where its last call left them, in one run."""
    x = np.tile(np.array(step_inputs(0), np.float32), (batch, steps, 1))
    state = np.zeros((batch, STATE_WIDTH), np.float32)

    def step() -> None:
        nonlocal state
        _, state = run(x, state)

    return step


def steps_per_second(batch: int, steps: int = 1, seconds: float = 1.0) -> float:
    """How many steps a second, over all sessions, such a function makes when it is called again and again."""
    step, runs = stepper(batch, steps), 0
    for _ in range(_WARM_UP):
        step()
    started = time.perf_counter()
    while (elapsed := time.perf_counter() - started) < seconds:
        step()
        runs += 1
    return runs * batch * steps / elapsed


def quantiles(session: int, steps: int) -> Rows:
    """What so many steps of a session answer, (steps, Q): every server's have to, too."""
    x = np.tile(np.array(step_inputs(session), np.float32), (1, steps, 1))
    y, _ = run(x, np.zeros((1, STATE_WIDTH), np.float32))
    return y[0, :, :QUANTILES]


def run(x: Rows, state: Rows) -> tuple[Rows, Rows]:
    """y (B, T, 24) and the next rows (B, S) of x (B, T, 8) and rows (B, S)."""
    y, next_state = _graph().run(["y", "next_state"], {"x": x, "state": state})
    return y, next_state


@cache
def _graph() -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(peers_graph(), options, providers=["CPUExecutionProvider"])

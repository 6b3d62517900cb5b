"""How much one run may do, measured when a model is first used; it changes speed and never bits."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.contract.manifest import GraphName
from service.models.model import Model

RUN_SECONDS = 0.005
"""How long one run may take, about: what a single step that has just arrived waits at most for a longer one."""


def measured_step_budgets(model: Model) -> dict[GraphName, int]:
    """By graph, row-steps that one run may take to last about RUN_SECONDS, measured; it changes speed, never bits."""
    graphs: tuple[GraphName, ...] = ("observe", "generate")
    return {graph: _measured_step_budget(model, graph) for graph in graphs}


def _measured_step_budget(model: Model, graph: GraphName) -> int:
    rows, steps = 32, 4
    feeds = model.example_inputs(graph, rows, steps)
    fastest = min(_timed(model, graph, feeds) for _ in range(3))
    return int(np.clip(RUN_SECONDS * rows * steps / fastest, 16, 4096))


def _timed(model: Model, graph: GraphName, feeds: Mapping[str, NDArray[Any]]) -> float:
    started = time.perf_counter()
    model.graphs[graph].run(feeds)
    return time.perf_counter() - started

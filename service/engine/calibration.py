"""How much one run may do, measured when a model is first used; it changes speed and never bits."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.contract.manifest import GraphName
from service.models.model import Model

RUN_SECONDS = 0.005
"""How long one run may take, about: what a single step that has just arrived waits at most for a longer one."""

BRIEF_SECONDS = 0.001
"""How long a run may take, about, to be made on the event loop, which stands still meanwhile."""


@dataclass(frozen=True)
class Calibration:
    """What fits into a run of one model on this machine.

    Args:
        step_budgets: by graph, the row-steps of a run of about RUN_SECONDS.
        brief_rows: sessions whose next single steps together are a run of BRIEF_SECONDS at most; 0 for none.
        brief_forecast: whether a direct forecast of one of them is such a run, too.
    """

    step_budgets: Mapping[GraphName, int]
    brief_rows: int
    brief_forecast: bool = False


def calibrate(model: Model) -> Calibration:
    """Measure a model."""
    budgets: dict[GraphName, int] = {graph: _step_budget(model, graph) for graph in model.graphs if graph != "initial"}
    brief = [rows for rows in (1, 4, 16, 64) if _fastest(model, "observe", rows, 1) <= BRIEF_SECONDS]
    brief_forecast = "forecast" in model.graphs and _fastest(model, "forecast", 1, 1) <= BRIEF_SECONDS
    return Calibration(budgets, max(brief, default=0), brief_forecast)


def _step_budget(model: Model, graph: GraphName) -> int:
    if graph == "forecast":  # all its steps are one
        rows, steps, least = 8, 1, 1
    else:
        rows, steps, least = 32, 8, 16
    return int(np.clip(RUN_SECONDS * rows * steps / _fastest(model, graph, rows, steps), least, 4096))


def _fastest(model: Model, graph: GraphName, rows: int, steps: int) -> float:
    """Seconds of the fastest of some runs."""
    feeds = model.example_inputs(graph, max(rows, model.manifest.minimum_batch), steps)
    return min(_timed(model, graph, feeds) for _ in range(3))


def _timed(model: Model, graph: GraphName, feeds: Mapping[str, NDArray[Any]]) -> float:
    started = time.perf_counter()
    model.graphs[graph].run(feeds)
    return time.perf_counter() - started

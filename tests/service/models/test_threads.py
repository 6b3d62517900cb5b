from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from service.models.device import Device
from service.models.model import Model
from service.models.threads import threads_for

BUNDLED = Path(__file__).parents[3] / "models"


def test_what_is_wanted_is_given() -> None:
    assert threads_for(3, 0) == threads_for(3, 10**9) == 3


def test_small_models_run_on_one_thread_and_large_ones_on_the_processors_there_are() -> None:
    assert threads_for(0, 800_000) == 1
    assert threads_for(0, 5_000_000) == min(4, len(os.sched_getaffinity(0)))


@pytest.mark.parametrize("name", ["pjm-load", "melbourne-temperature", "shakespeare", "songci"])
def test_threads_change_no_bit_of_an_answer(name: str) -> None:
    draws = np.random.default_rng(0)
    one, several = (Model.load(BUNDLED / name / "1", Device("cpu"), threads) for threads in (1, 3))
    for graph in ("observe", "generate"):
        for batch, steps in ((2, 1), (5, 3), (17, 2)):
            inputs = one.example_inputs(graph, batch, steps)
            if "tokens" in inputs:
                inputs["tokens"] = draws.integers(1, 50, (batch, steps))
            if "uniforms" in inputs:
                inputs["uniforms"] = draws.uniform(0.01, 0.99, (batch, steps)).astype(np.float32)
            if "target" in inputs:
                inputs["target"] = draws.normal(3000, 100, (batch, steps)).astype(np.float32)
            expected, given = one.graphs[graph].run(inputs), several.graphs[graph].run(inputs)
            assert all(expected[output].tobytes() == given[output].tobytes() for output in expected)

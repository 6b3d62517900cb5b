from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from service.engine.random import uniforms
from service.errors import InputMismatch
from service.models.device import Device
from service.models.model import Model
from service.models.repository import Repository
from service.tasks.sample_paths import needs_an_observation, path_draws, run_paths, worked_out
from tests.known_models import RUNNING_SUM, change_manifest, running_sum
from tests.service.conftest import CALENDAR_SUM
from tests.service.engine.building import engine_of
from tests.service.running import floats

pytestmark = pytest.mark.anyio


async def test_draws_belong_to_seed_position_and_path() -> None:
    draws = await path_draws(9, 7, 4, 3)
    expected = [uniforms(9, np.arange(8, 12), sample=path) for path in range(3)]
    assert draws.tobytes() == np.stack(expected).tobytes()


async def test_the_first_draws_do_not_depend_on_how_many_follow() -> None:
    few, wide, long = [await path_draws(9, 7, *size) for size in ((4, 2), (4, 900), (2000, 90))]
    assert few.tobytes() == wide[:2].tobytes() == np.ascontiguousarray(long[:2, :4]).tobytes()


async def test_paths_start_from_one_row_however_many_there_are(known: Repository) -> None:
    draws, chosen = await path_draws(9, 7, 4, 150), [0, 63, 64, 149]
    async with engine_of(known.get(CALENDAR_SUM)) as engine:
        known_steps = {name: np.ones((1, 4, 2), np.float32) for name in ("calendar", "covariates")}
        together = await run_paths(engine, floats(1, 2, 3), draws, known_steps)
        alone = [
            await run_paths(engine, floats(1, 2, 3), draws[path : path + 1], known_steps) for path in (0, 63, 64, 149)
        ]
    assert together.shape == (150, 4)
    assert together[chosen].tobytes() == np.concatenate(alone).tobytes()


async def test_much_is_worked_out_aside_and_comes_to_the_same() -> None:
    threads = [await worked_out(count, threading.current_thread) for count in (1, 20_000, 20_001)]
    assert threads[0] is threads[1] is threading.current_thread() and threads[2] is not threads[0]


def test_a_model_of_scale_needs_one_observed_value(tmp_path: Path) -> None:
    folder = running_sum(tmp_path)
    change_manifest(folder, "state", "fields", 1, "name", to="statistics")
    model = Model.load(folder, Device("cpu"))
    with pytest.raises(InputMismatch, match="at least one observed value"):
        needs_an_observation(model, floats(5, 0, 1))
    needs_an_observation(model, floats(0, 1, 0))


def test_a_model_without_scale_needs_none(known: Repository) -> None:
    needs_an_observation(known.get(RUNNING_SUM), floats(0, 0, 0))

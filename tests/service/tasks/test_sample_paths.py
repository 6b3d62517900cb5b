from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from service.engine.random import uniforms
from service.errors import InputMismatch, RequestTooLarge
from service.models.device import Device
from service.models.model import Model
from service.models.repository import Repository
from service.tasks.limits import TaskLimits
from service.tasks.sample_paths import (
    PATHS,
    check_forecast,
    needs_an_observation,
    path_draws,
    run_paths,
    summarise,
)
from service.tasks.series_inputs import Values, forecast_task
from tests.known_models import RUNNING_SUM, change_manifest, running_sum
from tests.service.conftest import CALENDAR_SUM
from tests.service.engine.building import engine_of
from tests.service.running import floats

LIMITS = TaskLimits(max_horizon=10, max_samples=5)
FIRST = np.datetime64("2024-07-01T00:00:00", "s")
pytestmark = pytest.mark.anyio


def paths(*samples: list[float]) -> Values:
    return np.array(samples, np.float32)


def test_what_is_asked_within_the_bounds_passes() -> None:
    check_forecast(10, [0.01, 0.5], 5, LIMITS)
    check_forecast(1, None, None, LIMITS)


@pytest.mark.parametrize(("horizon", "samples"), [(11, None), (1, 6)])
def test_what_is_past_a_bound_is_refused(horizon: int, samples: int | None) -> None:
    with pytest.raises(RequestTooLarge, match="expected at most"):
        check_forecast(horizon, None, samples, LIMITS)


@pytest.mark.parametrize(
    ("horizon", "quantiles", "samples"),
    [(0, None, None), (1, None, 0), (1, [0.5, 0.0], None), (1, [1.0], None), (1, [-0.1], None), (1, [np.nan], None)],
)
def test_what_cannot_be_is_refused(horizon: int, quantiles: list[float] | None, samples: int | None) -> None:
    with pytest.raises(InputMismatch, match="expected"):
        check_forecast(horizon, quantiles, samples, LIMITS)


async def test_draws_belong_to_seed_position_and_path() -> None:
    draws = await path_draws(9, 7, 4, 3)
    expected = [uniforms(9, np.arange(8, 12), sample=path) for path in range(3)]
    assert draws.tobytes() == np.stack(expected).tobytes()


async def test_the_first_draws_do_not_depend_on_how_many_follow() -> None:
    few, wide, long = [await path_draws(9, 7, *size) for size in ((4, 2), (4, 900), (2000, 90))]
    assert few.tobytes() == wide[:2].tobytes() == np.ascontiguousarray(long[:2, :4]).tobytes()


async def test_unasked_paths_have_a_fixed_number() -> None:
    assert (await path_draws(0, 0, 1, None)).shape == (PATHS, 1)


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


async def test_paths_become_a_mean_and_quantiles_by_level(known: Repository) -> None:
    task = forecast_task(known.get(RUNNING_SUM))
    found = await summarise(task, 3, FIRST, paths([0, 10], [4, 20], [8, 60]), [0.25, 0.5], samples=3)
    assert found.position == 3 and found.mean.tolist() == [4, 30]
    assert {level: values.tolist() for level, values in found.quantiles.items()} == {0.25: [2, 15], 0.5: [4, 20]}
    assert found.samples is not None and found.samples.tolist() == [[0, 10], [4, 20], [8, 60]]
    assert found.timestamps is not None
    assert [str(moment) for moment in found.timestamps] == ["2024-07-01T03:00:00", "2024-07-01T04:00:00"]


async def test_many_paths_say_what_few_would(known: Repository) -> None:
    task = forecast_task(known.get(RUNNING_SUM))
    samples = np.random.default_rng(0).normal(size=(1000, 50)).astype(np.float32)
    wide = await summarise(task, 0, None, paths(*samples.tolist()), None, samples=None)
    narrow = await summarise(task, 0, None, paths(*samples[:, :5].tolist()), None, samples=None)
    assert wide.mean[:5].tobytes() == narrow.mean.tobytes()
    for level, values in narrow.quantiles.items():
        assert wide.quantiles[level][:5].tobytes() == values.tobytes()


async def test_the_models_own_levels_are_told_unless_others_are_asked_for(known: Repository) -> None:
    task = forecast_task(known.get(RUNNING_SUM))
    found = await summarise(task, 3, None, paths([0], [4]), None, samples=None)
    assert list(found.quantiles) == [0.25, 0.5, 0.75]
    assert found.samples is None and found.timestamps is None


async def test_paths_that_overflow_are_told_without_a_warning(known: Repository) -> None:
    task = forecast_task(known.get(RUNNING_SUM))
    found = await summarise(task, 0, None, paths([np.inf], [np.inf], [0]), None, samples=None)
    assert found.mean.tolist() == [np.inf]


def test_a_model_of_scale_needs_one_observed_value(tmp_path: Path) -> None:
    folder = running_sum(tmp_path)
    change_manifest(folder, "state", "fields", 1, "name", to="statistics")
    model = Model.load(folder, Device("cpu"))
    with pytest.raises(InputMismatch, match="at least one observed value"):
        needs_an_observation(model, floats(5, 0, 1))
    needs_an_observation(model, floats(0, 1, 0))


def test_a_model_without_scale_needs_none(known: Repository) -> None:
    needs_an_observation(known.get(RUNNING_SUM), floats(0, 0, 0))

from __future__ import annotations

import numpy as np
import pytest

from service.errors import InputMismatch, RequestTooLarge
from service.models.repository import Repository
from service.sessions.service import Service
from service.sessions.session import Session
from service.tasks.forecast import ForecastRequest, forecast, forecast_scenarios, observe
from service.tasks.limits import TaskLimits
from service.tasks.series_inputs import Values
from tests.known_models import RUNNING_SUM
from tests.service.conftest import CALENDAR_SUM
from tests.service.running import floats, opened, running
from tests.service.tasks.forecasts_alike import alike

pytestmark = pytest.mark.anyio


async def begun(service: Service) -> Session:
    first = np.datetime64("2024-07-01T00:00:00", "s")
    session = opened(service, CALENDAR_SUM, first_timestamp=first, static={"offset": 0, "kind": "a"})
    await observe(session, floats(1), covariates={"wind": floats(0), "sun": floats(0)})
    return session


def future(wind: float, sun: float) -> dict[str, Values]:
    return {"wind": floats(wind, wind), "sun": floats(sun, sun)}


async def test_scenarios_are_forecasts_drawn_from_the_same_uniforms(known: Repository) -> None:
    asked = ForecastRequest(2, levels=[0.8], samples=50, aggregate=["sum"], seed=5)
    async with running(known) as service:
        session = await begun(service)
        told = await forecast_scenarios(session, asked, {"calm": future(0, 0), "windy": future(64, 0)})
        alone = await forecast(session, asked, covariates=future(64, 0))
    assert list(told) == ["calm", "windy"] and alike(told["windy"].forecast, alone)
    assert told["calm"].difference is None and session.position == 1


async def test_what_differs_is_not_by_chance(known: Repository) -> None:
    asked = ForecastRequest(2, quantiles=[0.1, 0.9], aggregate=["sum"])
    async with running(known) as service:
        told = await forecast_scenarios(await begun(service), asked, {"a": future(0, 0), "b": future(64, 64)})
    difference = told["b"].difference
    assert difference is not None and difference.samples is None
    # 128 more at the first step, which is taken in before the second: 128 and 128 more.
    for values in (difference.mean, difference.median, *difference.quantiles.values()):
        assert values == pytest.approx([128, 256], rel=1e-4)
    assert difference.aggregates["sum"].mean == pytest.approx(384, rel=1e-4)


async def test_a_scenario_that_does_not_fit_is_named(known: Repository) -> None:
    async with running(known) as service:
        session = await begun(service)
        with pytest.raises(InputMismatch) as caught:
            await forecast_scenarios(session, ForecastRequest(2), {"a": future(0, 0), "b": {"wind": floats(0, 0)}})
        assert caught.value.message.startswith("scenarios.b: future_covariates: expected wind, sun for 2 steps")
        assert caught.value.parameter == "scenarios.b"
        with pytest.raises(RequestTooLarge, match="scenarios: expected at most 32"):
            await forecast_scenarios(session, ForecastRequest(2), {str(index): future(0, 0) for index in range(33)})


async def test_a_model_without_covariates_has_one_future(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, RUNNING_SUM)
        await observe(session, floats(1))
        with pytest.raises(InputMismatch, match="takes no future covariates"):
            await forecast_scenarios(session, ForecastRequest(2), {"a": {}, "b": {}})


async def test_the_samples_of_all_scenarios_have_one_bound_together(known: Repository) -> None:
    asked, limits = ForecastRequest(2, samples=5), TaskLimits(max_horizon=2, max_samples=5)
    async with running(known) as service:
        session = await begun(service)
        await forecast_scenarios(session, asked, {"a": future(0, 0)}, limits=limits)
        with pytest.raises(RequestTooLarge, match="samples: expected at most 10 values in all, got 20"):
            await forecast_scenarios(session, asked, {"a": future(0, 0), "b": future(64, 0)}, limits=limits)

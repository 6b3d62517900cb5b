"""Direct forecasts: of the known model, whose quantiles h steps ahead are centre − h, centre and centre + h."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from service.errors import InputMismatch
from service.models.repository import Repository
from service.tasks.direct import answers_directly, direct_paths, direct_quantiles
from service.tasks.forecast import ForecastRequest, forecast, forecast_series, generate, observe
from service.tasks.rows import Future, observe_series
from service.tasks.sample_paths import path_draws
from service.tasks.series_inputs import forecast_task
from tests.known_models import PREDICTION_LENGTH, RUNNING_SUM
from tests.service.conftest import CALENDAR_SUM, COUNTED_SUM, DIRECT_SUM, PREFILLED_SUM
from tests.service.engine.building import engine_of
from tests.service.running import Watch, floats, opened, running
from tests.service.tasks.forecasts_alike import alike

pytestmark = pytest.mark.anyio

FIRST = np.datetime64("2024-07-01T00:00:00", "s")
EVERYTHING = ForecastRequest(
    5, quantiles=[0.1, 0.5, 0.9], levels=[0.8], samples=7, aggregate=["sum", "mean", "min", "max"], seed=3
)


def test_only_a_model_with_the_graph_answers_directly_and_only_so_far_ahead(known: Repository) -> None:
    direct = known.get(DIRECT_SUM)
    assert answers_directly(direct, PREDICTION_LENGTH) and not answers_directly(direct, PREDICTION_LENGTH + 1)
    assert not answers_directly(known.get(RUNNING_SUM), 1)


async def test_a_direct_forecast_is_what_the_graph_says(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, COUNTED_SUM)
        await observe(session, floats(1, 2))
        ahead = await forecast(session, ForecastRequest(3, quantiles=[0.25, 0.375, 0.5], levels=[0.5]))
    assert ahead.method == "direct" and ahead.median.tolist() == [3, 3, 3] and ahead.position == 2
    assert ahead.quantiles[0.25].tolist() == [2, 1, 0] and ahead.quantiles[0.375].tolist() == [2.5, 2, 1.5]
    assert [bound.tolist() for bound in ahead.intervals[0.5]] == [[2, 1, 0], [4, 5, 6]]
    assert ahead.mean == pytest.approx([3, 3, 3]) and ahead.samples is None


async def test_a_direct_forecast_takes_one_run_whatever_is_asked(known: Repository) -> None:
    watch = Watch()
    async with running(known, watch) as service:
        session = opened(service, COUNTED_SUM)
        await observe(session, floats(1, 2))
        watch.runs.clear()
        await forecast(session, EVERYTHING)
        assert watch.runs == [("forecast", 1, 1)]


async def test_further_ahead_all_steps_come_from_sample_paths(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, COUNTED_SUM)
        await observe(session, floats(1, 2))
        near, far = [await forecast(session, ForecastRequest(horizon)) for horizon in (24, 25)]
    assert (near.method, far.method) == ("direct", "sample_paths")
    assert near.median[0] == 3 and far.median[0] != 3 and len(far.mean) == 25


async def test_the_calendar_is_that_of_the_steps_ahead(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, DIRECT_SUM, first_timestamp=FIRST)
        await observe(session, floats(0))
        ahead = await forecast(session, ForecastRequest(24))
        angle = 2 * np.pi * (np.arange(24) + 1) / 24
    assert ahead.median == pytest.approx(np.sin(angle) + np.cos(angle), abs=1e-5)
    assert ahead.timestamps is not None and str(ahead.timestamps[0]) == "2024-07-01T01:00:00"


async def test_a_shorter_direct_forecast_is_the_beginning_of_a_longer_one(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, DIRECT_SUM, first_timestamp=FIRST, seed=4)
        await observe(session, floats(1))
        short, long = [await forecast(session, ForecastRequest(steps, samples=9)) for steps in (3, 24)]
    assert short.samples is not None and long.samples is not None
    assert short.mean.tobytes() == long.mean[:3].tobytes()
    assert short.samples.tobytes() == np.ascontiguousarray(long.samples[:, :3]).tobytes()


async def test_a_direct_forecast_in_a_crowd_is_the_one_alone(known: Repository) -> None:
    async with running(known) as service:
        sessions = [opened(service, DIRECT_SUM, first_timestamp=FIRST) for _ in range(70)]
        for index, session in enumerate(sessions):
            await observe(session, floats(index, 1e-12, np.nan, 0.1 * index))
        alone = [await forecast(session, EVERYTHING) for session in sessions]
        crowd = await asyncio.gather(*(forecast(session, EVERYTHING) for session in sessions))
    assert all(alike(one, other) for one, other in zip(alone, crowd, strict=True))


async def test_a_series_alone_and_in_rows_is_forecast_as_its_session(known: Repository) -> None:
    values = np.random.default_rng(0).normal(size=(70, 6)).astype(np.float32)
    async with running(known) as service:
        model = known.get(DIRECT_SUM)
        _, rows = await observe_series(service, model, {"target": values}, start=FIRST, future=Future(EVERYTHING))
        for row, found in zip(values[::23], rows[::23], strict=True):
            session = opened(service, DIRECT_SUM, first_timestamp=FIRST)
            await observe(session, row)
            held = await forecast(session, EVERYTHING)
            alone = await forecast_series(service, model, row, EVERYTHING, start=FIRST)
            assert found is not None and alike(held, alone) and alike(found, alone)


async def test_nothing_is_said_of_what_nobody_has_observed(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, COUNTED_SUM)
        with pytest.raises(InputMismatch, match="at least one observed value"):
            await forecast(session, ForecastRequest(3))
        await observe(session, floats(np.nan))
        with pytest.raises(InputMismatch, match="at least one observed value"):
            await forecast(session, EVERYTHING)
        target = np.array([[np.nan, np.nan], [1, 2]], np.float32)
        asked = Future(ForecastRequest(2))
        _, (nothing, some) = await observe_series(service, session.model, {"target": target}, future=asked)
        assert nothing is None and some is not None and some.median.tolist() == [3, 3]


async def test_rows_of_many_jobs_come_back_in_order(known: Repository) -> None:
    async with engine_of(known.get(COUNTED_SUM)) as engine:
        rows = np.array([[row, 0, 0] for row in range(150)], np.float32)
        quantiles = await direct_quantiles(engine, rows, {})
    assert quantiles.shape == (150, PREDICTION_LENGTH, 3) and quantiles[:, 0, 1].tolist() == list(range(150))


async def test_paths_go_through_the_quantiles_and_neighbouring_steps_go_together(known: Repository) -> None:
    task = forecast_task(known.get(COUNTED_SUM))
    quantiles = np.array([[-1, 0, 1], [99, 100, 101], [-1, 0, 1]], np.float32)
    paths = direct_paths(task, quantiles, await path_draws(1, 0, 3, 4000))
    assert np.quantile(paths, [0.25, 0.5, 0.75], axis=0) == pytest.approx(quantiles.T, abs=0.1)
    ranks = paths.argsort(axis=0).argsort(axis=0)
    assert np.corrcoef(ranks[:, 0], ranks[:, 1])[0, 1] == pytest.approx(0.48, abs=0.04)
    assert np.corrcoef(ranks[:, 0], ranks[:, 2])[0, 1] == pytest.approx(0.24, abs=0.05)


async def test_a_model_without_the_graph_says_that_it_draws(known: Repository) -> None:
    async with running(known) as service:
        static: dict[str, float | str] = {"offset": 0, "kind": "a"}
        session = opened(service, CALENDAR_SUM, first_timestamp=FIRST, static=static)
        nothing = {"wind": floats(0), "sun": floats(0)}
        await observe(session, floats(1), covariates=nothing)
        assert (await forecast(session, ForecastRequest(1), covariates=nothing)).method == "sample_paths"


async def test_nothing_is_drawn_before_the_first_value_and_the_session_stays(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, COUNTED_SUM)
        await observe(session, floats(np.nan))
        for refused in (generate(session, 3), forecast(session, ForecastRequest(25))):
            with pytest.raises(InputMismatch, match="at least one observed value"):
                await refused
        assert session.position == 1 and not session.busy
        await observe(session, floats(5))
        assert (await generate(session, 70)).position == 72


@pytest.mark.parametrize("horizon", [5, 30])
async def test_a_history_taken_in_without_predicting_it_leads_to_the_same_bits(known: Repository, horizon: int) -> None:
    values = np.random.default_rng(0).normal(size=(3, 700)).astype(np.float32)
    values[:, 5::9] = np.nan
    asked = ForecastRequest(horizon, samples=4, aggregate=["sum"], seed=2)
    watch = Watch()
    async with running(known, watch) as service:
        model = known.get(PREFILLED_SUM)
        session = opened(service, PREFILLED_SUM, first_timestamp=FIRST)
        await observe(session, values[0])
        held = await forecast(session, asked)
        watch.runs.clear()
        alone = await forecast_series(service, model, values[0], asked, start=FIRST)
        outputs, rows = await observe_series(
            *(service, model, {"target": values}), start=FIRST, future=Future(asked), observed=False
        )
        assert {graph for graph, *_ in watch.runs} == {"prefill", "forecast" if horizon == 5 else "generate"}
        assert watch.runs[0] == ("prefill", 1, 512)
    assert rows[0] is not None and alike(held, alone) and alike(rows[0], alone) and not outputs

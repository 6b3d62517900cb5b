from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.contract.manifest import GraphName
from service.engine.random import uniforms
from service.errors import InputMismatch, PositionConflict, RequestTooLarge
from service.models.repository import Repository
from service.sessions.transition import Expected
from service.tasks.forecast import Forecast, ForecastRequest, forecast, forecast_series, generate, observe
from service.tasks.limits import TaskLimits
from tests.known_models import RUNNING_SUM, change_manifest, running_sum
from tests.service.conftest import CALENDAR_SUM, PAIRED_SUM
from tests.service.running import Watch, floats, gated, opened, row_of, running

pytestmark = pytest.mark.anyio

FIRST = np.datetime64("2024-07-01T00:00:00", "s")


def hourly(*hours: int) -> list[np.datetime64]:
    return [FIRST + np.timedelta64(hour, "h") for hour in hours]


# Drawing


async def test_drawn_values_are_taken_for_observed(known: Repository) -> None:
    async with running(known) as service:
        drawing, observing = (opened(service, RUNNING_SUM, seed=4) for _ in range(2))
        for session in (drawing, observing):
            await observe(session, floats(1, 2))
        drawn = await generate(drawing, 7)
        await observe(observing, drawn.values)
        assert (drawn.start, drawn.position, drawn.repeated) == (2, 9, False) and drawing.position == 9
        assert row_of(service, drawing) == row_of(service, observing)


async def test_a_draw_is_the_samples_at_the_uniforms_of_its_positions(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, RUNNING_SUM, seed=4)
        await observe(session, floats(10))
        drawn = await generate(session, 2)
        first = 10 + 4 * float(uniforms(4, 2)) - 2
        second = 10 + first + 4 * float(uniforms(4, 3)) - 2
        np.testing.assert_allclose(drawn.values, [first, second], rtol=1e-6)


async def test_a_draw_in_two_requests_is_the_draw_in_one(known: Repository) -> None:
    async with running(known) as service:
        whole, parts = (opened(service, RUNNING_SUM, seed=4) for _ in range(2))
        for session in (whole, parts):
            await observe(session, floats(1))
        once = await generate(whole, 9)
        twice = [await generate(parts, steps) for steps in (4, 5)]
        assert once.values.tobytes() == np.concatenate([part.values for part in twice]).tobytes()
        assert row_of(service, whole) == row_of(service, parts)


async def test_a_repeated_draw_is_applied_once_and_answered_alike(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, RUNNING_SUM)
        await observe(session, floats(1))
        first = await generate(session, 3, expected=Expected(position=1))
        again = await generate(session, 3, expected=Expected(position=1))
        assert again.repeated and again.values.tobytes() == first.values.tobytes() and session.position == 4
        with pytest.raises(PositionConflict):
            await generate(session, 4, expected=Expected(position=1))


async def test_a_refused_draw_changes_nothing(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, RUNNING_SUM)
        await observe(session, floats(1))
        with pytest.raises(RequestTooLarge):
            await generate(session, 11, limits=TaskLimits(max_horizon=10))
        with pytest.raises(InputMismatch):
            await generate(session, 0)
        assert session.position == 1


# Forecasting


async def test_a_forecast_moves_nothing(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, RUNNING_SUM, first_timestamp=FIRST)
        await observe(session, floats(1, 2), expected=Expected(key="k"))
        before, last = row_of(service, session), session.last
        ahead = await forecast(session, ForecastRequest(3))
        assert (ahead.position, session.position, session.last) == (2, 2, last)
        assert row_of(service, session) == before
        assert ahead.timestamps is not None and ahead.timestamps.tolist() == [t.item() for t in hourly(2, 3, 4)]


async def test_a_forecast_has_the_known_distribution(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, RUNNING_SUM, seed=1)
        await observe(session, floats(7))
        ahead = await forecast(session, ForecastRequest(1, samples=1000, quantiles=[0.1, 0.5, 0.9]))
        assert ahead.samples is not None and ahead.samples.shape == (1000, 1)
        assert 5 < ahead.samples.min() and ahead.samples.max() < 9
        found = [float(ahead.quantiles[level][0]) for level in (0.1, 0.5, 0.9)]
        np.testing.assert_allclose(found, [5.4, 7, 8.6], atol=0.2)
        assert ahead.mean[0] == pytest.approx(7, abs=0.2)


async def test_the_same_seed_gives_the_same_paths_alone_and_in_a_crowd(known: Repository) -> None:
    async with running(known) as service:
        sessions = [opened(service, RUNNING_SUM, seed=7) for _ in range(6)]
        for session in sessions:
            await observe(session, floats(1, 2, 3))
        alone = await forecast(sessions[0], ForecastRequest(5, samples=20))
        crowd, *_ = await asyncio.gather(
            asyncio.gather(*(forecast(session, ForecastRequest(5, samples=20)) for session in sessions)),
            asyncio.gather(*(forecast(session, ForecastRequest(9, seed=3)) for session in sessions)),
            asyncio.gather(*(observe(session, floats(*range(50))) for session in sessions[3:])),
        )
        assert alone.samples is not None
        for ahead in crowd:
            assert ahead.samples is not None and ahead.samples.tobytes() == alone.samples.tobytes()
        other = await forecast(sessions[0], ForecastRequest(5, samples=20, seed=8))
        assert other.samples is not None and other.samples.tobytes() != alone.samples.tobytes()


async def test_a_longer_forecast_begins_like_a_shorter_one(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, RUNNING_SUM)
        await observe(session, floats(1))
        short, long = [await forecast(session, ForecastRequest(horizon, samples=5)) for horizon in (3, 30)]
        assert short.samples is not None and long.samples is not None
        assert short.samples.tobytes() == np.ascontiguousarray(long.samples[:, :3]).tobytes()


async def test_a_forecast_takes_the_covariates_of_its_horizon(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, CALENDAR_SUM, first_timestamp=FIRST, static={"offset": 0, "kind": "a"}, seed=1)
        await observe(session, floats(1), covariates={"sun": floats(0), "wind": floats(0)})
        calm, windy = [
            await forecast(session, ForecastRequest(2, samples=3), covariates={"sun": floats(0, 0), "wind": wind})
            for wind in (floats(0, 0), floats(64, 0))
        ]
        assert calm.samples is not None and windy.samples is not None
        np.testing.assert_allclose(windy.samples[:, 0] - calm.samples[:, 0], 64, rtol=1e-5)
        with pytest.raises(InputMismatch, match=r"future_covariates.sun: expected 2 values, got 1"):
            await forecast(session, ForecastRequest(2), covariates={"wind": floats(0, 0), "sun": floats(0)})
        with pytest.raises(InputMismatch, match="expected wind, sun for 2 steps, got none"):
            await forecast(session, ForecastRequest(2))


async def test_forecasts_do_not_hold_up_the_session(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, RUNNING_SUM)
        await observe(session, floats(1))
        with gated(session.model, "generate") as gate:
            gate.close()
            ahead = asyncio.create_task(forecast(session, ForecastRequest(3)))
            await gate.entered()
            assert not session.busy
            gate.open()
            assert (await ahead).position == 1


async def test_a_forecast_needs_one_observed_value(tmp_path: Path) -> None:
    # The known model has no scale of its own; its static covariate stands in for how much was observed.
    folder = running_sum(tmp_path)
    change_manifest(folder, "state", "fields", 1, "name", to="statistics")
    async with running(tmp_path) as service:
        session = opened(service, RUNNING_SUM)
        await observe(session, floats(np.nan))
        with pytest.raises(InputMismatch, match="at least one observed value"):
            await forecast(session, ForecastRequest(3))
        with pytest.raises(InputMismatch, match="at least one observed value"):
            await generate(session, 3)
        with pytest.raises(InputMismatch, match="at least one observed value"):
            await forecast_series(service, session.model, floats(np.nan, np.nan), ForecastRequest(3))
        assert session.position == 1 and not session.busy


async def test_a_series_without_a_session_is_forecast_as_a_session_would(known: Repository) -> None:
    async with running(known) as service:
        static: dict[str, float | str] = {"offset": 5.0, "kind": "b"}
        session = opened(service, CALENDAR_SUM, first_timestamp=FIRST, static=static, seed=3)
        values, wind, sun = (np.random.default_rng(n).normal(size=40).astype(np.float32) for n in range(3))
        await observe(session, values[:30], covariates={"wind": wind[:30], "sun": sun[:30]})
        ahead = {"wind": wind[30:], "sun": sun[30:]}
        held = await forecast(session, ForecastRequest(10, samples=7), covariates=ahead)
        stateless = await forecast_series(
            service,
            session.model,
            values[:30],
            ForecastRequest(10, samples=7, seed=3),
            start=FIRST,
            static=static,
            covariates={"sun": sun, "wind": wind},
        )
        assert held.samples is not None and stateless.samples is not None
        assert held.samples.tobytes() == stateless.samples.tobytes() and held.position == stateless.position == 30
        assert held.timestamps is not None and stateless.timestamps is not None
        assert held.timestamps.tolist() == stateless.timestamps.tolist()
        assert len(service.store) == 1


async def test_a_model_that_needs_a_larger_batch_gives_the_same_alone(known: Repository) -> None:
    async with running(known) as service:
        answers = []
        for model in (RUNNING_SUM, PAIRED_SUM):
            session = opened(service, model, seed=2)
            await observe(session, floats(1, 2, 3))
            ahead = await forecast(session, ForecastRequest(4, samples=1))
            assert ahead.samples is not None and ahead.samples.shape == (1, 4)
            answers.append(ahead.samples.tobytes())
        assert answers[0] == answers[1]


async def test_a_client_that_goes_away_leaves_no_work_behind(known: Repository) -> None:
    watch = Watch()
    async with running(known, watch) as service:
        session = opened(service, RUNNING_SUM)
        await observe(session, floats(1))
        requests: list[tuple[GraphName, Coroutine[Any, Any, Forecast]]] = [
            ("observe", forecast_series(service, session.model, np.zeros(100_000, np.float32), ForecastRequest(2))),
            ("generate", forecast(session, ForecastRequest(2000))),
        ]
        for graph, request in requests:
            watch.runs.clear()
            with gated(session.model, graph) as gate:
                gate.close()
                asking = asyncio.create_task(request)
                await gate.entered()
                asking.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await asking
                gate.open()
                # Whatever was left of the request would have its runs before and after this one.
                for _ in range(3):
                    await observe(session, floats(1))
            runs = [run for run in watch.runs if run != ("observe", 1, 1)]
            assert len(runs) <= 1, f"{graph} went on: {len(runs)} runs"


@pytest.mark.filterwarnings("ignore:invalid value encountered")
async def test_the_largest_forecast_does_not_hold_up_the_event_loop(known: Repository) -> None:
    """Other sessions wait for the loop, however quick their own steps are."""
    async with running(known) as service:
        session = opened(service, RUNNING_SUM)
        await observe(session, floats(1))
        longest = 0.0

        async def watch_the_loop() -> None:
            nonlocal longest
            while True:
                before = time.thread_time()
                await asyncio.sleep(0)
                longest = max(longest, time.thread_time() - before)

        watching = asyncio.create_task(watch_the_loop())
        await asyncio.sleep(0)
        await forecast(session, ForecastRequest(768, samples=1000))
        watching.cancel()
        assert longest < 0.05


async def test_many_timestamps_are_placed_at_once(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, RUNNING_SUM, first_timestamp=FIRST)
        timestamps = list(FIRST + np.arange(5000) * np.timedelta64(3600, "s"))
        assert (await observe(session, np.zeros(5000, np.float32), timestamps=timestamps)).filled == 0

"""Direct forecasts from network to client: exported, published, served, and the same to the bit however it is asked."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")

from service.contract.manifest import DataFingerprint, ForecastTask, Training  # noqa: E402
from service.contract.quantile_function import path_probabilities, quantile_function  # noqa: E402
from service.engine.random import uniforms  # noqa: E402
from service.tasks.forecast import ForecastRequest, forecast, forecast_series, observe  # noqa: E402
from service.tasks.rows import Future, observe_series  # noqa: E402
from tests.service.running import opens, running  # noqa: E402
from tests.service.tasks.forecasts_alike import alike  # noqa: E402
from training.export.parity_segments import segment_parity  # noqa: E402
from training.export.publishing import publish  # noqa: E402
from training.export.runner import ExportedForecaster  # noqa: E402
from training.export.segment_forecaster import export_segment_forecaster  # noqa: E402
from training.networks.segment_forecaster import SegmentForecaster, SegmentSettings  # noqa: E402

pytestmark = pytest.mark.anyio

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
WINDOW, HORIZON, CORRELATION = 24, 8, 0.7
FIRST = np.datetime64("2024-07-01T00:00:00", "s")
EVERYTHING = ForecastRequest(6, quantiles=[0.05, 0.4, 0.99], levels=[0.9], samples=5, aggregate=["sum", "max"], seed=1)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one tiny model of random weights."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    settings = SegmentSettings(
        *(WINDOW, HORIZON, 4, 16, 0.0, LEVELS), season=4, centring="last", calendar=("hour_of_day",)
    )
    network = SegmentForecaster(settings).eval()
    exported = export_segment_forecaster(network, tmp_path_factory.mktemp("export"))
    task = ForecastTask(
        frequency="1h",
        quantiles=LEVELS,
        calendar=("hour_of_day",),
        lags=(1,),
        seasonality=24,
        context_length=WINDOW,
        prediction_length=HORIZON,
        path_correlation=CORRELATION,
    )
    training = Training(
        command="none",
        commit="none",
        data=DataFingerprint(name="none", sha256="0" * 64),
        seed=0,
        settings={},
        metrics={},
        parity_max_abs_error=0.0,
    )
    folder = tmp_path_factory.mktemp("models")
    verified = segment_parity(network, exported)
    publish(verified, folder, name="tiny", description="tiny", license="none", training=training, forecast=task)
    return folder


def series(seed: int) -> NDArray[np.float32]:
    """Values of some length and scale, with gaps."""
    random = np.random.default_rng(seed)
    values = 10.0 ** random.integers(-6, 6) * (3 + np.sin(np.arange(random.integers(1, 60))) + random.random())
    values[1:][random.random(len(values) - 1) < 0.2] = np.nan
    return values.astype(np.float32)


async def test_a_session_is_told_what_the_exported_graph_says(models: Path) -> None:
    graphs = ExportedForecaster(models / "tiny" / "1")
    async with running(models) as service:
        for seed in range(5):
            session = await opens(service, "tiny", first_timestamp=FIRST)
            await observe(session, series(seed))
            async with session.turn() as turn:
                row = await turn.row()
            hours = session.position + np.arange(HORIZON)
            calendar = np.stack([np.sin(hours * np.pi / 12), np.cos(hours * np.pi / 12)], 1).astype(np.float32)
            known = graphs.forecast(row[np.newaxis], calendar[np.newaxis])[0]
            told = await forecast(session, ForecastRequest(HORIZON, samples=4, seed=9))
            assert told.method == "direct" and told.samples is not None
            for index, level in enumerate(LEVELS):
                np.testing.assert_allclose(told.quantiles[level], known[:, index], rtol=1e-5)
            draws = uniforms(9, session.position + 1 + np.arange(HORIZON), sample=np.arange(4)[:, np.newaxis])
            paths = quantile_function(known, LEVELS, path_probabilities(draws, CORRELATION))
            np.testing.assert_allclose(told.samples, paths, rtol=1e-4)


async def test_a_forecast_in_a_crowd_alone_of_a_series_and_of_a_row_is_one_forecast(models: Path) -> None:
    async with running(models) as service:
        model = service.repository.get("tiny")
        assert "prefill" in model.graphs  # which series and rows go through, and sessions do not
        sessions = [await opens(service, "tiny", first_timestamp=FIRST) for _ in range(100)]
        for seed, session in enumerate(sessions):
            await observe(session, series(seed))
        crowd = await asyncio.gather(*(forecast(session, EVERYTHING) for session in sessions))
        for seed, session in list(enumerate(sessions))[::9]:
            alone = await forecast(session, EVERYTHING)
            whole = await forecast_series(service, model, series(seed), EVERYTHING, start=FIRST)
            rows = np.tile(series(seed), (3, 1))
            future = Future(EVERYTHING)
            _, told = await observe_series(service, model, {"target": rows}, start=FIRST, future=future)
            assert alike(crowd[seed], alone) and alike(whole, alone)
            assert all(one is not None and alike(one, alone) for one in told)


async def test_a_forecast_is_the_same_however_the_stream_was_cut(models: Path) -> None:
    values = np.concatenate([series(1), series(2), series(3)])
    async with running(models) as service:
        whole, pieces = [await opens(service, "tiny", first_timestamp=FIRST) for _ in range(2)]
        await observe(whole, values)
        for part in np.array_split(values, 7):
            await observe(pieces, part)
        assert alike(await forecast(whole, EVERYTHING), await forecast(pieces, EVERYTHING))

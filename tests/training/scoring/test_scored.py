"""Streams scored side by side: as each would be by itself, and as a session of the service would be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from service.contract.calendar import calendar_features
from service.contract.manifest import ForecastTask, load_manifest
from service.models.device import Device
from service.models.repository import Repository
from service.tasks.forecast import observe
from tests.service.running import opened, running
from tests.training.scoring.scored_models import publish_scored
from training.export import ExportedForecaster
from training.scoring import scored as module
from training.scoring.scored import score_streams
from training.scoring.streams import Stream

pytestmark = pytest.mark.anyio
FIRST = np.datetime64("2024-01-01", "s")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scored") / "models"
    publish_scored(folder)
    publish_scored(folder, name="rich", rich=True)
    return folder


def task_of(folder: Path) -> ForecastTask:
    task = load_manifest(folder).forecast
    assert task is not None
    return task


def stream(name: str, length: int, seed: int = 0) -> Stream:
    values = np.random.default_rng(seed).standard_t(2, length).astype(np.float32)
    values[length // 2] = np.nan
    return Stream(name, np.arange(length), values)


def test_streams_of_any_lengths_are_scored_as_each_by_itself(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, task = ExportedForecaster(models / "tiny/1"), task_of(models / "tiny/1")
    streams = [stream(f"s{n}", length, n) for n, length in enumerate((70, 3, 41, 70, 1))]
    alone = [score_streams(model, task, [one], 0.99)[0] for one in streams]
    monkeypatch.setattr(module, "MOST_STREAMS", 2)
    monkeypatch.setattr(module, "PIECE", 16)
    shares: list[float] = []
    for one, together in zip(alone, score_streams(model, task, streams, 0.99, shares.append), strict=True):
        assert one.stream.id == together.stream.id and len(together.score) == len(one.stream.values)
        for name in ("expected", "lower", "upper", "score"):
            assert getattr(one, name).tobytes() == getattr(together, name).tobytes()
    assert shares[-1] == 1 and shares == sorted(shares)


async def test_a_stream_is_scored_as_a_session_of_the_service_is(models: Path) -> None:
    folder, length = models / "rich/1", 60
    task = task_of(folder)
    times = FIRST + np.arange(length) * np.timedelta64(3600, "s")
    random = np.random.default_rng(0)
    values, covariates = stream("a", length).values, random.standard_normal((length, 2)).astype(np.float32)
    given = Stream(
        *("a", times, values, calendar_features(times, task.calendar), covariates),
        static=np.array([2.5, 1], np.float32),
    )
    (found,) = score_streams(ExportedForecaster(folder), task, [given], None)
    async with running(Repository(models, Device("cpu"))) as service:
        session = opened(service, "rich", first_timestamp=FIRST, static={"area": 2.5, "kind": "dam"})
        by_name = {"heat": covariates[:, 0], "open": covariates[:, 1]}
        seen = await observe(session, values, covariates=by_name)
        assert seen.anomaly_score.tobytes() == found.score.tobytes()
        assert seen.expected.tobytes() == found.expected.tobytes()
        assert seen.interval.level == found.level and seen.interval.upper.tobytes() == found.upper.tobytes()
    assert found.anomaly is None

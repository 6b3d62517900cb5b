from __future__ import annotations

import asyncio
import gc
import shutil
import weakref
from pathlib import Path

import numpy as np
import pytest

from service.errors import InputMismatch, ModelNotFound, ShuttingDown
from service.models.device import Device
from service.models.repository import Repository
from service.sessions.service import OpenSession, Service, ServiceLimits
from service.sessions.store import StoreLimits
from service.tasks.forecast import ForecastRequest, forecast, forecast_series, observe
from service.tasks.text import GenerateRequest, complete, generate, tokens_of
from tests.known_models import NEXT_TOKEN, RUNNING_SUM, running_sum
from tests.service.conftest import CALENDAR_SUM
from tests.service.running import Watch, floats, gated, opened, running, until

pytestmark = pytest.mark.anyio


def engines(service: Service) -> list[str]:
    """The models whose engines run."""
    return sorted(model.manifest.id for model in service.engines.models())


async def test_a_session_starts_at_nothing(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, RUNNING_SUM)
        assert (session.position, session.durable_position, session.last) == (0, 0, None)


async def test_what_a_client_leaves_open_the_service_chooses(known: Repository) -> None:
    async with running(known) as service:
        first, second = (opened(service, RUNNING_SUM) for _ in range(2))
        assert first.seed != second.seed and first.id != second.id and first.time_to_live_s == 3600


async def test_a_session_starts_from_its_static_covariates(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, CALENDAR_SUM, static={"offset": 100, "kind": "b"})
        async with session.turn() as turn:
            assert (await turn.row())[1] == 101


async def test_an_unknown_model_or_version_is_refused(known: Repository) -> None:
    async with running(known) as service:
        for request in (OpenSession("never", owner=None), OpenSession(RUNNING_SUM, version=2, owner=None)):
            with pytest.raises(ModelNotFound):
                await service.open(request)
        assert len(service.store) == 0


async def test_a_text_session_has_no_first_timestamp(known: Repository) -> None:
    async with running(known) as service:
        with pytest.raises(InputMismatch, match="first_timestamp: text models have none"):
            opened(service, NEXT_TOKEN, first_timestamp=np.datetime64("2024-01-01", "s"))


async def test_a_text_session_has_no_static_covariates(known: Repository) -> None:
    async with running(known) as service:
        with pytest.raises(InputMismatch, match="static_covariates"):
            opened(service, NEXT_TOKEN, static={"offset": 1})


async def test_a_service_with_a_model_is_ready_until_it_stops(known: Repository) -> None:
    async with running(known) as service:
        assert service.ready() == (True, [])
    assert service.ready() == (False, ["the service is shutting down"])


async def test_a_service_without_models_says_so(tmp_path: Path) -> None:
    async with running(tmp_path) as service:
        assert service.ready() == (False, ["no model version is loaded"])
        with pytest.raises(ModelNotFound):
            opened(service, RUNNING_SUM)


# Stopping


async def test_stopping_finishes_what_waits(known: Repository) -> None:
    async with running(known) as service:
        sessions = [opened(service, RUNNING_SUM) for _ in range(5)]
        with gated(sessions[0].model) as gate:
            gate.close()
            steps = [asyncio.create_task(observe(session, floats(1, 2))) for session in sessions]
            await gate.entered()
            stopping = asyncio.create_task(service.stop(grace_s=5))
            await asyncio.sleep(0.01)
            gate.open()
            await stopping
        assert [(await step).position for step in steps] == [2] * 5


async def test_a_stopped_service_refuses_everything_new(known: Repository) -> None:
    async with running(known) as service:
        series, text = opened(service, RUNNING_SUM), opened(service, NEXT_TOKEN)
        await observe(series, floats(1))
        await service.stop(grace_s=1)
        with pytest.raises(ShuttingDown):
            opened(service, RUNNING_SUM)
        with pytest.raises(ShuttingDown):
            await observe(series, floats(1))
        with pytest.raises(ShuttingDown):
            await forecast(series, ForecastRequest(2))
        with pytest.raises(ShuttingDown):
            [piece async for piece in generate(text, GenerateRequest(4))]
        assert series.position == 1 and text.position == 0


async def test_a_stopped_service_starts_no_engine_for_requests_without_a_session(known: Repository) -> None:
    async with running(known) as service:
        model, series = known.get(NEXT_TOKEN), known.get(RUNNING_SUM)
        prompt = tokens_of(model, "abc", None)
        await service.stop(grace_s=1)
        with pytest.raises(ShuttingDown):
            [piece async for piece in complete(service, model, prompt, GenerateRequest(4))]
        with pytest.raises(ShuttingDown):
            await forecast_series(service, series, floats(1, 2), ForecastRequest(2))
        assert engines(service) == []


async def test_a_stopped_service_forks_no_session(known: Repository) -> None:
    async with running(known) as service:
        session = opened(service, RUNNING_SUM)
        await service.stop(grace_s=1)
        with pytest.raises(ShuttingDown):
            await service.store.fork(session.key, None, None)


async def test_a_service_that_was_never_started_can_be_stopped(tmp_path: Path) -> None:
    limits = ServiceLimits(StoreLimits(10, 60, 60), resident_sessions=10, queue_limit=10)
    await Service(Repository(tmp_path, Device("cpu")), Watch(), limits).stop(grace_s=1)


# Versions


async def test_sessions_stay_on_their_version_and_new_ones_get_the_newest(running_sum_models: Path) -> None:
    async with running(running_sum_models) as service:
        old = opened(service, RUNNING_SUM)
        running_sum(running_sum_models, version=2)
        report = await service.reload()
        assert [model.manifest.id for model in report.loaded] == ["running-sum/2"]
        new = opened(service, RUNNING_SUM)
        assert [session.model.manifest.version for session in (old, new)] == [1, 2]
        assert opened(service, RUNNING_SUM, version=1).model is old.model
        assert (await observe(old, floats(1))).position == (await observe(new, floats(1))).position == 1


async def test_a_removed_version_serves_the_sessions_it_has(running_sum_models: Path) -> None:
    running_sum(running_sum_models, version=2)
    async with running(running_sum_models) as service:
        old = opened(service, RUNNING_SUM, version=1)
        await observe(old, floats(1))
        shutil.rmtree(running_sum_models / RUNNING_SUM / "1")
        await service.reload()
        assert (await observe(old, floats(2))).position == 2
        fork = await service.store.fork(old.key, None, None)
        assert (await observe(fork, floats(3))).position == 3
        with pytest.raises(ModelNotFound):
            opened(service, RUNNING_SUM, version=1)


async def test_a_removed_version_is_let_go_with_its_last_session(running_sum_models: Path) -> None:
    running_sum(running_sum_models, version=2)
    async with running(running_sum_models) as service:
        old = opened(service, RUNNING_SUM, version=1)
        await observe(old, floats(1))
        shutil.rmtree(running_sum_models / RUNNING_SUM / "1")
        await service.reload()
        assert engines(service) == ["running-sum/1", "running-sum/2"]
        await service.store.close(old.key)
        await service.reload()
        assert engines(service) == ["running-sum/2"]


async def test_nothing_of_a_version_that_was_let_go_stays_in_memory(running_sum_models: Path) -> None:
    running_sum(running_sum_models, version=2)
    async with running(running_sum_models) as service:
        old = opened(service, RUNNING_SUM, version=1)
        await observe(old, floats(1))
        model, engine = weakref.ref(old.model), weakref.ref(old.engine)
        shutil.rmtree(running_sum_models / RUNNING_SUM / "1")
        await service.store.close(old.key)
        del old
        await service.reload()
        await asyncio.sleep(0)
        gc.collect()
        assert model() is None and engine() is None


async def test_a_request_without_a_session_ends_on_the_version_it_began_with(next_token_models: Path) -> None:
    async with running(next_token_models) as service:
        model = service.repository.get(NEXT_TOKEN)
        prompt = tokens_of(model, "abc", None)
        pieces = complete(service, model, prompt, GenerateRequest(64, temperature=0))
        text = (await anext(pieces)).text
        shutil.rmtree(next_token_models / NEXT_TOKEN)
        await service.reload()
        text += "".join([piece.text async for piece in pieces])
        assert len(text) == 64


async def test_a_broken_version_keeps_no_other_from_serving(running_sum_models: Path) -> None:
    broken = running_sum(running_sum_models, version=2)
    (broken / "weights.bin").write_bytes(b"")
    async with running(running_sum_models) as service:
        assert list(service.repository.rejected) == ["running-sum/2"] and service.ready()[0]
        assert opened(service, RUNNING_SUM).model.manifest.version == 1


async def test_the_sweep_forgets_expired_sessions(known: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.sessions.service._SWEEP_SECONDS", 0.001)
    async with running(known) as service:
        opened(service, RUNNING_SUM, time_to_live_s=0.01)
        await until(lambda: not len(service.store))


async def test_a_sweep_that_fails_once_is_not_the_last(known: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.sessions.service._SWEEP_SECONDS", 0.001)
    async with running(known) as service:
        sweeps: list[bool] = []

        async def sweep() -> int:
            sweeps.append(True)
            if len(sweeps) == 1:
                raise RuntimeError("no more labels")
            return 0

        monkeypatch.setattr(service.store, "sweep", sweep)
        await asyncio.sleep(0.05)
        assert len(sweeps) > 1

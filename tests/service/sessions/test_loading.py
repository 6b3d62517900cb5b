"""Loading and unloading one model while it serves: nobody is dropped, and nothing runs for nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.contract.manifest import MANIFEST_FILE
from service.errors import InputMismatch, ModelNotFound
from service.tasks.forecast import observe
from tests.known_models import NEXT_TOKEN, RUNNING_SUM, next_token, running_sum
from tests.service.running import floats, opened, running

pytestmark = pytest.mark.anyio


async def test_a_loaded_model_serves_at_once_and_no_other_changes(running_sum_models: Path) -> None:
    async with running(running_sum_models) as service:
        next_token(running_sum_models)
        running_sum(running_sum_models, version=2)
        await service.load(NEXT_TOKEN)
        assert opened(service, NEXT_TOKEN).position == 0
        assert opened(service, RUNNING_SUM).model.manifest.version == 1
        await service.load(RUNNING_SUM)
        assert opened(service, RUNNING_SUM).model.manifest.version == 2


async def test_a_version_that_is_kept_out_is_told_and_the_others_serve(running_sum_models: Path) -> None:
    async with running(running_sum_models) as service:
        running_sum(running_sum_models, version=2)
        (running_sum(running_sum_models, version=3) / MANIFEST_FILE).unlink()
        with pytest.raises(InputMismatch, match=r"model: running-sum/3 is kept out: manifest\.json: cannot be read"):
            await service.load(RUNNING_SUM)
        assert opened(service, RUNNING_SUM).model.manifest.version == 2


async def test_sessions_of_an_unloaded_model_go_on_and_its_engine_ends_with_the_last(running_sum_models: Path) -> None:
    async with running(running_sum_models) as service:
        session = opened(service, RUNNING_SUM)
        await observe(session, floats(5))
        await service.unload(RUNNING_SUM)
        with pytest.raises(ModelNotFound, match="was unloaded"):
            opened(service, RUNNING_SUM)
        assert not service.ready()[0]
        seen = await observe(session, floats(1))
        assert seen.quantiles[0, 1] == 5
        assert len(service.engines.models()) == 1
        await service.store.close(session.key)
        await service.reload()
        assert service.engines.models() == [] and service.repository.models() == []
        await service.load(RUNNING_SUM)
        assert service.ready()[0] and len(service.engines.models()) == 1


async def test_what_is_not_there_is_neither_loaded_nor_unloaded(running_sum_models: Path) -> None:
    async with running(running_sum_models) as service:
        for change in (service.load, service.unload):
            with pytest.raises(ModelNotFound):
                await change("nobody")

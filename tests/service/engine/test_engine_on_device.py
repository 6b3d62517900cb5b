"""The engine with its rows on a device: the CPU provider everywhere, CUDA where there is one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from service.engine import engine as engine_module
from service.engine.device_table import DeviceTable
from service.engine.engine import Engine
from service.engine.job import Job, Result
from service.engine.state_table import Rows
from service.errors import JournalUnavailable, StepFailed
from service.models.model import Model
from tests import known_graphs, known_models
from tests.service.engine.building import BrokenJournal, Committed, engine_of, observe, row
from tests.service.models.devices import DEVICES

pytestmark = pytest.mark.anyio


@pytest.fixture(params=DEVICES)
def model(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    """The running sum, whose engines keep its rows where it runs, through the device's own code."""
    monkeypatch.setattr(engine_module, "table_of", on_device)
    return Model.load(known_models.running_sum(tmp_path), request.param)


def on_device(model: Model, capacity: int) -> DeviceTable:
    return DeviceTable(model.manifest.state.width, capacity, model.graphs["observe"].device)


def session(engine: Engine, start: Rows, name: str = "session") -> Committed:
    """What a session whose row lies in the engine's table commits with."""
    slot = engine.table.acquire(start)
    assert slot is not None
    return Committed(slot, name)


async def test_sessions_in_one_run_each_move_their_own_row(model: Model) -> None:
    async with engine_of(model) as engine:
        commits = [session(engine, row(start, 0, 1)) for start in range(5)]
        results = await asyncio.gather(
            *(engine.submit(observe([value], commit)) for value, commit in enumerate(commits))
        )
        assert [float(result.outputs["quantiles"][0, 0, 1]) for result in results] == [1, 2, 3, 4, 5]
        assert engine.table.take([commit.slot for commit in commits])[:, [0, 2]].tolist() == [
            [start + 1, start] for start in range(5)
        ]


async def test_long_and_short_work_and_rows_of_the_host_share_runs(model: Model) -> None:
    async with engine_of(model) as engine:
        long, short = (session(engine, row(0, 0, np.nan), name) for name in ("long", "short"))
        answers = [
            engine.submit(observe([1] * 150, long)),
            engine.submit(observe([5], short)),
            engine.submit(observe([2] * 150, model=model)),
        ]
        _, _, alone = await asyncio.gather(*answers)
        assert engine.table.take([long.slot, short.slot]).tolist() == [[149, 0, 1], [0, 0, 5]]
        assert alone.rows.tolist() == [[298, 0, 2]]


async def test_generating_steps_outside_the_graph(model: Model) -> None:
    uniforms = np.random.default_rng(0).uniform(size=(1, 70)).astype(np.float32)
    async with engine_of(model) as engine:
        commit = session(engine, row(0, 0, 1))
        result: Result = await engine.submit(Job("generate", 70, {"uniforms": uniforms}, commit=commit))
        expected = model.graphs["generate"].run({"state": row(0, 0, 1)[None], "uniforms": uniforms})
        np.testing.assert_array_equal(result.outputs["samples"], expected["samples"])
        np.testing.assert_array_equal(engine.table.take([commit.slot]), expected["next_state"])


async def test_what_cannot_be_committed_is_not_believed(model: Model) -> None:
    async with engine_of(model, journal=BrokenJournal()) as engine:
        commit = session(engine, row(3, 0, 1))
        with pytest.raises(JournalUnavailable):
            await engine.submit(observe([1], commit))
        assert commit.discarded == 1 and not commit.applied


async def test_a_failed_run_leaves_every_row(model: Model) -> None:
    if model.graphs["observe"].device.name == "cuda":
        pytest.skip("what fails in this graph is a check that only the CPU makes")
    async with engine_of(model) as engine:
        commit = session(engine, row(3, 0, 1))
        with pytest.raises(StepFailed):
            await engine.submit(observe([known_graphs.FAILING_VALUE], commit))
        assert engine.table.take([commit.slot]).tolist() == [[3, 0, 1]]

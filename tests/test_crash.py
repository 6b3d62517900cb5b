"""A few kills and stops of what `python -m tests.crash` does tens of times."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.stop import stop_under_load
from tests.crash.storm import Weather, storm
from tests.service.journal.servers import running_server

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_a_killed_service_has_lost_doubled_and_changed_nothing(tmp_path: Path) -> None:
    weather = Weather(f"sqlite://{tmp_path}/sessions.db", sessions=12, steps=1000, kills=3)
    report = await storm(weather, tmp_path)
    assert not report.wrong, report
    assert report.kills == 3 and report.restored >= 12 and report.retries > 0 and report.steps > 50


async def test_killed_replicas_have_lost_doubled_and_changed_nothing(tmp_path: Path) -> None:
    with running_server(tmp_path / "valkey") as server:
        report = await storm(Weather(server.location, sessions=12, steps=1000, kills=3, replicas=2), tmp_path)
    assert not report.wrong, report
    assert report.kills == 3 and report.steps > 50


async def test_a_service_that_is_asked_to_stop_under_load_fails_nobody_it_let_in(tmp_path: Path) -> None:
    report = await stop_under_load(f"sqlite://{tmp_path}/sessions.db", tmp_path, sessions=16, stops=2)
    assert not report.wrong, report
    assert report.stops == 2 and report.steps > 50


async def test_replicas_that_are_stopped_in_turn_fail_nobody_they_let_in(tmp_path: Path) -> None:
    with running_server(tmp_path / "valkey") as server:
        report = await stop_under_load(server.location, tmp_path, sessions=16, stops=2, replicas=2)
    assert not report.wrong, report
    assert report.stops == 2 and report.steps > 50

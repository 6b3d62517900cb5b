"""A few kills of what `python -m tests.crash` does tens of times."""

from __future__ import annotations

from pathlib import Path

import pytest

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

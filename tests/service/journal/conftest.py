"""Journals of every kind, on real files and real servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.journal import Journal
from service.journal.location import open_journal
from tests.service.journal.entries import RECORDS
from tests.service.journal.servers import TestServer, running_server


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestServer]:
    """A server for all tests that leave it as it is; each takes a prefix of its own."""
    with running_server(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[TestServer]:
    """A server that a test may pause, kill and start again."""
    with running_server(tmp_path / "valkey") as server:
        yield server


@pytest.fixture(params=["memory", "sqlite", "valkey"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journal]:
    """One journal of each kind."""
    location = {"memory": "memory:", "sqlite": f"sqlite://{tmp_path}/sessions.db"}.get(request.param)
    if location is None:
        server: TestServer = request.getfixturevalue("shared_server")
        location = f"{server.location}?prefix={tmp_path.name}:"
    journal = open_journal(location, RECORDS)
    yield journal
    journal.close()

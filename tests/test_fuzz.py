"""A short fuzzing of every door: `python -m tests.fuzz` goes on for longer and with other seeds."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz.campaign import attack
from tests.fuzz.openapi import explore
from tests.fuzz.server import FuzzedServer, fuzzed_server

SEED = 1


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FuzzedServer]:
    with fuzzed_server(tmp_path_factory.mktemp("fuzz")) as server:
        yield server


def test_whatever_bytes_come_are_answered_or_refused_and_memory_stays_flat(server: FuzzedServer) -> None:
    findings, memory = asyncio.run(attack(server, seconds=24, seed=SEED))
    assert not findings.wrong, findings
    assert memory.is_flat, memory
    assert {door.split()[0] for door in findings.sent} == {"http", "snapshots", "websocket", "grpc"}


def test_what_the_openapi_description_allows_and_what_it_does_not_is_answered(
    server: FuzzedServer, tmp_path: Path
) -> None:
    found_nothing, report = explore(server, tmp_path, examples=5, seed=SEED, seconds=24)
    assert found_nothing, report
    assert not server.complaints() and not server.own_failures()
